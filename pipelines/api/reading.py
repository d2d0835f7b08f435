"""The OpenAPI document and a page to try it out, which loads nothing from anywhere else: Swagger UI as the wheel of
`fastapi-offline` ships it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from pipelines.api.problems import absent

router = APIRouter(include_in_schema=False)
_WHEEL = "fastapi_offline"
_KINDS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_START = """\
SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: false,
                 validatorUrl: null, layout: "BaseLayout"});
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Causal Organism: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="/docs/favicon.png"></head>
<body><div id="swagger-ui"><noscript>This page needs JavaScript; the document itself is at /openapi.json.</noscript></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
#: Swagger UI sets styles on elements and draws its icons from data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CACHED = {"Cache-Control": "max-age=86400"}


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    document: Any = request.app.openapi()
    return JSONResponse(document)


@router.get("/docs")
def swagger() -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    folder = _folder()
    if name not in _KINDS or folder is None:
        raise absent("such file", "pip install fastapi-offline" if folder is None else "see /docs")
    return FileResponse(folder / name, media_type=_KINDS[name], headers=_CACHED)


def _folder() -> Path | None:
    """Found without importing the package, which is not used but for its files."""
    spec = find_spec(_WHEEL)
    return Path(spec.submodule_search_locations[0]) / "static" if spec and spec.submodule_search_locations else None
