"""Pages for people: the web map, the API's documentation, what each problem means. All of it from this machine."""

from __future__ import annotations

import hashlib
import html
import mimetypes
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fieldflux.app.problems import KINDS, Refused
from isal import igzip

DIST = Path(__file__).parents[1] / "web" / "dist"

_STYLE = (
    "body{font:16px/1.55 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1d2a1f}"
    "code{background:#eef3ec;padding:.1em .35em;border-radius:4px}h1{font-size:1.5rem}"
    "dt{font-weight:600;margin-top:1em}"
)


@dataclass(frozen=True, slots=True)
class Page:
    """A static file, held in memory in both encodings: the map's files are few and small."""

    plain: bytes
    zipped: bytes | None
    media: str
    etag: str
    cache: str

    def response(self, request: Request) -> Response:
        zipped = self.zipped if "gzip" in request.headers.get("accept-encoding", "") else None
        headers = {"ETag": self.etag, "Cache-Control": self.cache, "Vary": "Accept-Encoding"}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if zipped is not None:
            headers["Content-Encoding"] = "gzip"
        return Response(self.plain if zipped is None else zipped, headers=headers, media_type=self.media)


class Files:
    """Static files of a folder, by their path in it; each read once, and again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._pages: dict[Path, tuple[int, Page]] = {}

    def page(self, path: str) -> Page | None:
        """The file at `path`, or None where the folder has none; a folder stands for its index.html."""
        file = (self._folder / path).resolve()
        if file.is_dir():
            file = file / "index.html"
        if not file.is_relative_to(self._folder) or not file.is_file():
            return None
        changed = file.stat().st_mtime_ns
        held = self._pages.get(file)
        if held is None or held[0] != changed:
            held = (changed, _read(file))
            self._pages[file] = held
        return held[1]


def pages(dist: Path = DIST) -> APIRouter:
    """The pages' router; `dist` is where the web map was built."""
    router = APIRouter(include_in_schema=False)
    web = Files(dist)
    swagger = Files(_swagger_folder())

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Fieldflux API",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "docExpansion": "list", "defaultModelsExpandDepth": 0},
        )

    @router.get("/docs/{name}")
    async def docs_file(name: str, request: Request) -> Response:
        page = swagger.page(name)
        if page is None:
            raise Refused("not-found", f"There is nothing at {request.url.path}.")
        return page.response(request)

    @router.get("/problems")
    async def problems() -> HTMLResponse:
        rows = "".join(_problem(slug) for slug in KINDS)
        return _page(
            "Problems that this API reports", f"<p>As <code>application/problem+json</code>.</p><dl>{rows}</dl>"
        )

    @router.get("/problems/{slug}")
    async def problem(slug: str, request: Request) -> HTMLResponse:
        if slug not in KINDS:
            raise Refused("not-found", f"There is nothing at {request.url.path}.")
        return _page(KINDS[slug].title, f"<dl>{_problem(slug)}</dl><p><a href='../problems'>All problems</a></p>")

    # No address of any depth: under one that takes any path, a wrong method would be told as a wrong address.
    @router.get("/")
    @router.get("/{path}")
    @router.get("/assets/{path:path}")
    async def web_map(request: Request) -> Response:
        path = request.url.path.lstrip("/")
        page = web.page(path)
        if page is not None:
            return page.response(request)
        if path in ("", "index.html"):
            return _page(
                "The web map is not built yet",
                "<p>Run <code>make web</code> in the repository (<code>make serve</code> does it by itself), then "
                "reload this page. The API works without it: see <a href='docs'>its documentation</a>.</p>",
                503,
            )
        raise Refused("not-found", f"There is nothing at {request.url.path}.")

    return router


def _read(file: Path) -> Page:
    plain = file.read_bytes()
    media = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    text = media.startswith("text/") or media in ("application/javascript", "application/json", "image/svg+xml")
    # Vite puts a hash of the content into the name of everything in assets/.
    hashed = file.parent.name == "assets"
    return Page(
        plain,
        igzip.compress(plain, 3) if text and len(plain) > 1400 else None,
        media,
        f'"{hashlib.sha256(plain).hexdigest()[:20]}"',
        "public, max-age=31536000, immutable" if hashed else "no-cache",
    )


def _swagger_folder() -> Path:
    # Its files only: importing the package would build nothing that is used here.
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package fastapi-offline is not installed: pip install fastapi-offline")
    return Path(spec.origin).parent / "static"


def _problem(slug: str) -> str:
    kind = KINDS[slug]
    title, text = html.escape(kind.title), html.escape(kind.help)
    return f"<dt id='{slug}'>{kind.status} {title} <code>{slug}</code></dt><dd>{text}</dd>"


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    name = html.escape(title)
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{name} – Fieldflux</title><style>{_STYLE}</style><h1>{name}</h1>{body}</html>",
        status,
    )
