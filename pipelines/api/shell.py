"""Around every request: no body that is too large, no error that tells too much, and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.api import problems, security
from pipelines.api.problems import Problem
from pipelines.jobs.recording import sentence

_log = logging.getLogger(__name__)
LARGEST_BODY = 64 * 1024
#: What an answer does not say otherwise by itself.
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HSTS = "max-age=31536000; includeSubDomains"


class Shell:
    """An ASGI middleware, and none of Starlette's: they would cost a task and two queues for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        out = _Answer(scope, send)
        if _announced(scope) > LARGEST_BODY:
            await problems.answer(413, "TOO_LARGE", _TOO_LARGE)(scope, receive, out)
            return
        try:
            await self.app(scope, _Body(receive), out)
        except Exception as error:  # noqa: BLE001  # a defect: logged by kind and place, its text may hold content
            _log.error("%s %s: %s", scope["method"], _route(scope), sentence(error))
            if out.begun:
                raise ConnectionError("an answer broke off") from None
            await problems.broken()(scope, receive, out)


_TOO_LARGE = f"a request has at most {LARGEST_BODY // 1024} kB"


class _Answer:
    """Sends on, with the headers that every answer has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send, self.begun = scope, send, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in self._all().items():
                headers.setdefault(name, value)
        await self._send(message)

    def _all(self) -> dict[str, str]:
        found = dict(_HEADERS)
        if self._scope["scheme"] == "https":  # behind a proxy as it says itself, if it is one that is trusted
            found["Strict-Transport-Security"] = _HSTS
        asked: Any = self._scope.get("state", {}).get("allowance")
        return found | (security.headers_of(*asked) if asked else {})


class _Body:
    """Passes the body on as long as it is not too large; one that does not say its length may grow."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._size = receive, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > LARGEST_BODY:
            raise Problem(413, "TOO_LARGE", _TOO_LARGE)
        return message


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _route(scope: Scope) -> str:
    """Without what somebody put into the path."""
    return str(getattr(scope.get("route"), "path", "?"))
