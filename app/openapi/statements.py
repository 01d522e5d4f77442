"""Shapes of carbon statements and what goes with them, as `shapes` has those of all other answers."""

from __future__ import annotations

from .shapes import ANY, DAY, FLAG, NAMES, NUMBER, TEXT, TIME, WHOLE, Schema, by_name, many, maybe, page, said, thing

CARBON = thing("Of carbon and as CO2, tonnes", tc=NUMBER, tco2e=NUMBER)
BETWEEN_TONNES = thing("An interval", level=NUMBER, low=CARBON, high=CARBON, basis=TEXT)
SUMMED: dict[str, Schema] = {
    "area_ha": NUMBER,
    "covered_ha": NUMBER,
    "delta_soc": said(CARBON, "Of the period, or of the project over the baseline; positive: the soil gains"),
    "standard_error": CARBON,
    "interval": BETWEEN_TONNES,
}
IF_SCENARIO: dict[str, Schema] = {
    "baseline": said(CARBON, "Change under the baseline since now"),
    "project": said(CARBON, "Change under the project since now"),
}
STATEMENT = thing(
    "A carbon statement. It issues no credits: `in_words` says what it is",
    type={"const": "fieldflux/carbon-statement"},
    format=WHOLE,
    id=TEXT,
    version=said(WHOLE, "1, and one more for each correction"),
    created=TIME,
    name=TEXT,
    supersedes=maybe(thing("What it corrects", id=TEXT, sha256=TEXT, reason=TEXT)),
    use_class={"enum": ["planning", "inventory", "grower_payment", "credit_component"]},
    in_words=said(NAMES, "What to know before using it"),
    kind={"enum": ["scenario", "period"]},
    period=thing("When", {"first": DAY, "last": DAY, "from": TEXT}, years=WHOLE),
    request=said({"type": "object"}, "What was asked, but for the land, which is in `fields`"),
    request_sha256=said(TEXT, "Of the request, the land, model, inputs and ruleset"),
    model=thing(
        "The model, and how well its card says that it tells changes of soil carbon",
        id=TEXT,
        title=TEXT,
        weights_sha256=TEXT,
        commit=TEXT,
        members=WHOLE,
        licence=TEXT,
        skill=thing("Beside its floors", better_than_floors=FLAG, sentence=TEXT, scores=many(ANY)),
        domain=ANY,
        known_faults=NAMES,
    ),
    inputs=thing(
        "What it was computed from",
        cube=TEXT,
        cube_hash=TEXT,
        record=many(DAY),
        synthetic=FLAG,
        statement=TEXT,
        licence=TEXT,
        snapshot=maybe(TEXT),
        origin=NAMES,
    ),
    ruleset=thing("The rules", id=TEXT, title=TEXT, effective=DAY, source=TEXT, status=TEXT, sha256=TEXT),
    software=thing("The program", name=TEXT, version=TEXT, commit=TEXT),
    units=by_name(TEXT),
    correlation=thing("Of errors, as taken", fields=NUMBER, years=NUMBER, scenarios=NUMBER, says=TEXT),
    fields=many(
        thing(
            "A field",
            {**IF_SCENARIO, "stock_now": ANY, "crops": many(ANY), "yields": maybe(many(ANY))},
            index=WHOLE,
            id=ANY,
            external_id=maybe(TEXT),
            version=maybe(WHOLE),
            geometry_sha256=TEXT,
            geometry=ANY,
            **SUMMED,
            coverage=NUMBER,
            cell_count=WHOLE,
            valid_fraction=NUMBER,
            complete=FLAG,
            flags=NAMES,
            model_flags=by_name(NUMBER),
            outside_domain=said(NUMBER, "Share of the covered area"),
        )
    ),
    notes=by_name(TEXT, "A sentence for each flag"),
    total=thing(
        "All fields together, the one figure that counts",
        IF_SCENARIO,
        fields=WHOLE,
        **SUMMED,
        variable=TEXT,
        per_year=CARBON,
        per_ha_and_year=CARBON,
        variance=ANY,
        effective_fields=said(NUMBER, "How many independent fields would be as sure"),
        sensitivity=many(ANY, "Standard errors with other correlations"),
        deduction_inputs=thing(
            "Inputs of a deduction (Eq 74); nothing is credited",
            {"says": TEXT, "left_tco2e_per_year": NUMBER},
            probability=NUMBER,
            df=maybe(WHOLE),
            t=NUMBER,
            unc=maybe(NUMBER),
            left_tco2e=NUMBER,
        ),
    ),
    signature=thing(
        "Ed25519 over the canonical JSON (RFC 8785) of all else", jws=TEXT, kid=TEXT, alg=TEXT, sha256=TEXT, signs=TEXT
    ),
)
STATEMENT_LISTED = thing(
    "A statement in the list",
    id=TEXT,
    name=TEXT,
    kind=TEXT,
    use_class=TEXT,
    model=TEXT,
    version=WHOLE,
    created=TIME,
    sha256=TEXT,
    supersedes=maybe(TEXT),
    superseded_by=maybe(TEXT),
)
VERIFICATION = thing(
    "What became of a verification",
    signature=thing("Whether it fits", ok=FLAG, kid=maybe(TEXT), says=TEXT),
    recomputation=thing(
        "Whether the same numbers came out",
        outcome={"enum": ["identical", "within_tolerance", "different", "not_recomputed"]},
        says=TEXT,
        same=by_name(FLAG, "Whether weights, cube, snapshot, ruleset and software are those of the statement"),
        differences=many(thing("A difference", where=TEXT, stated=ANY, found=ANY)),
        difference_count=WHOLE,
    ),
    good=FLAG,
)

STATEMENT_SHAPES: dict[str, Schema] = {
    "Statement": STATEMENT,
    "Statements": page(STATEMENT_LISTED, "Statements"),
    "Verification": VERIFICATION,
    "Rulesets": thing("Rulesets", rulesets=many(ANY)),
    "Jwks": thing("Public keys (RFC 7517)", keys=many(thing("A key", {"retired": TIME}, kid=TEXT, kty=TEXT, x=TEXT))),
}
