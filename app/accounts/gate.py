"""The gate that each request passes: who calls, whether they may, and whether they have enough left for it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request
from fieldflux.app.problems import Refused, problem_of
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Allowances, Verdict
from .policy import BODY_BYTES, FIELDS_WRITE, Rule, rule_of
from .ring import BadKey, Ring
from .tokens import PREFIX
from .who import LOCAL, NOBODY, Caller, lacking

_STORES = "/v1/stores/"
_IN_PATH = f"{_STORES}{PREFIX}"
_REALM = 'Bearer realm="fieldflux"'


class Gate:
    """Finds the caller, checks the scope, and takes the cost from what they have left.

    What it finds stands in the scope: `fieldflux.caller`, `fieldflux.rule`, `fieldflux.cost`.
    """

    def __init__(self, app: ASGIApp, ring: Ring | None, allowances: Allowances | None, by_address: bool) -> None:
        """ring: None with accounts off. allowances: None where nobody is limited."""
        self.app = app
        self.ring = ring
        self.allowances = allowances
        self.by_address = by_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = _take_token(scope)
        rule = rule_of(scope["method"], scope["path"])
        scope["fieldflux.rule"] = rule
        scope["fieldflux.cost"] = 0.0
        scope["fieldflux.caller"] = NOBODY
        try:
            who = await self._enter(scope, rule, token)
        except ValueError as error:
            problem = problem_of(error)
            if problem is None:
                raise
            await problem.response(scope["path"], self._headers(scope))(scope, receive, send)
            return
        if self.ring is None and not who:
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mark(message, who)
            await send(message)

        await self.app(scope, receive, marked)

    async def _enter(self, scope: Scope, rule: Rule, token: str) -> str:
        """Let a request in; whose bucket it used, or "". Raises Refused, DatabaseFault."""
        if self.ring is None:
            scope["fieldflux.caller"] = LOCAL
        else:
            scope["fieldflux.caller"] = await self._caller(self.ring, scope, rule, token)
        cost = rule.cost
        if rule is FIELDS_WRITE:
            stated = Headers(scope=scope).get("content-length", "")
            cost += int(stated) / BODY_BYTES if stated.isdecimal() and len(stated) < 12 else 0.0
        who = self._who(scope) if cost else ""
        if who and self.allowances is not None:
            verdict = self.allowances.take(who, cost)
            if verdict.refused:
                raise too_much(verdict, cost, self.allowances)
        scope["fieldflux.cost"] = cost
        scope["fieldflux.who"] = who
        return who

    async def _caller(self, ring: Ring, scope: Scope, rule: Rule, token: str) -> Caller:
        headers = Headers(scope=scope)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        key = credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not rule.scope and not key:
            return NOBODY
        try:
            if key:
                found = await ring.by_key(key)
            elif token and rule.door and scope["method"] in ("GET", "HEAD"):
                found = await ring.by_token(token)
                if rule.door not in found.doors:
                    raise _other_door(rule, found)
            else:
                raise _no_key(rule, token, scheme)
        except BadKey as error:
            if not rule.scope:
                return NOBODY
            refused = Refused("invalid-key", str(error))
            refused.headers = {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'}
            raise refused from None
        scope["fieldflux.caller"] = found
        if rule.scope and rule.scope not in found.scopes:
            raise lacking(rule.scope)
        return found

    def _who(self, scope: Scope) -> str:
        if self.ring is not None:
            key: str = scope["fieldflux.caller"].key
            return key
        if self.by_address:
            client = scope.get("client")
            return f"address {client[0]}" if client else "address unknown"
        return ""

    def _headers(self, scope: Scope) -> dict[str, str]:
        who = self._who(scope)
        if self.allowances is None or not who:
            return {}
        return {"RateLimit-Policy": self.allowances.policy, "RateLimit": self.allowances.left(who)}

    def _mark(self, message: Message, who: str) -> None:
        headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
        if self.ring is not None:
            # Behind a key, only the caller's own cache may keep an answer.
            headers = [
                (name, b"private" + value[6:] if name == b"cache-control" and value.startswith(b"public") else value)
                for name, value in headers
            ]
        if who and self.allowances is not None:
            headers += [
                (b"ratelimit-policy", self.allowances.policy.encode()),
                (b"ratelimit", self.allowances.left(who).encode()),
            ]
        message["headers"] = headers


def charge(request: Request, cost: float) -> None:
    """Take the further cost of a request, once it is known, before the work begins. Raises Refused (rate-limited,
    quota-exhausted), with `Retry-After`.

    cost: units (see `policy.COSTS`), beyond what the gate took for any request of its class.
    """
    scope = request.scope
    allowances: Allowances | None = request.app.state.allowances
    who: str = scope.get("fieldflux.who", "")
    if who and allowances is not None and cost > 0:
        verdict = allowances.take(who, cost, begun=True)
        if verdict.refused:
            raise too_much(verdict, cost + scope["fieldflux.cost"], allowances)
    scope["fieldflux.cost"] += cost


def too_much(verdict: Verdict, cost: float, allowances: Allowances) -> Refused:
    """What is answered to a request that its caller has not enough left for."""
    rates = allowances.rates
    if "day" in verdict.refused:
        sentence = (
            f"The request costs {cost:,.1f} units, more than is left of the day's {rates.daily:,.0f}. They are given "
            f"again at midnight UTC, in {verdict.wait:,} s."
        )
        code = "quota-exhausted"
    else:
        sentence = (
            f"The request costs {cost:,.1f} units, more than is left of the {rates.burst:,.0f} that can be saved up; "
            f"{rates.per_second:,.0f} come back each second. Ask again in {verdict.wait:,} s."
        )
        code = "rate-limited"
    error = Refused(code, sentence, **{"cost": round(cost, 3), "violated-policies": list(verdict.refused)})
    error.headers = {"Retry-After": str(verdict.wait)}
    return error


def _no_key(rule: Rule, token: str, scheme: str) -> Refused:
    if token:
        sentence = (
            "A token in the address is for the GET of maps, stores and catalogues. This needs a key, in a header."
        )
    elif scheme:
        sentence = f"The header Authorization is 'Bearer ff_…'; the scheme '{scheme[:20]}' is none of this server."
    else:
        sentence = f"This needs a key with the scope '{rule.scope}': send it as `Authorization: Bearer ff_…`."
    error = Refused("no-key", sentence)
    error.headers = {"WWW-Authenticate": _REALM}
    return error


def _other_door(rule: Rule, found: Caller) -> Refused:
    error = Refused(
        "missing-scope",
        f"This needs a link for {rule.door}; this one is for {' and '.join(sorted(found.doors))}. POST /v1/links makes "
        f"another.",
        scope=rule.scope,
        door=rule.door,
    )
    error.headers = {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{rule.scope}"'}
    return error


def _take_token(scope: MutableMapping[str, Any]) -> str:
    """The token of the address, which is taken out of it, so that it comes into no log and no entity tag.

    It stands in the query, or before a store's name: programs that read Zarr put the names of files behind an address.
    """
    if scope["path"].startswith(_IN_PATH):
        token, _, rest = scope["path"].removeprefix(_STORES).partition("/")
        scope["path"] = _STORES + rest
        scope["raw_path"] = quote(scope["path"]).encode()
        return str(token)
    if b"token=" not in scope["query_string"]:
        return ""
    found = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    tokens = [value for name, value in found if name == "token"]
    if tokens:
        rest = [(name, value) for name, value in found if name != "token"]
        scope["query_string"] = urlencode(rest, encoding="latin-1").encode("latin-1")
    return tokens[0] if tokens else ""
