"""HTTP on one connection, for whoever says what they want: connections on which nothing is said do not keep others out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: A request, its body included, has to be there so long after its first byte, the first of a connection after it was opened.
REQUEST_S = 10.0
#: With more connections than this the one that has been idle for longest makes room for the next.
CONNECTIONS = 400


class PromptProtocol(H11Protocol):
    """Uvicorn's, which waits for a request for ever."""

    since = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.since = self.loop.time()
        self._wait_for_request()
        open_ = [each for each in self._others() if not each.transport.is_closing()]
        idle = [each for each in open_ if each.waits and each is not self]
        if len(open_) > CONNECTIONS and idle:
            min(idle, key=lambda each: each.since).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.waits:
            self._wait_for_request()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.since = self.loop.time()

    @property
    def waits(self) -> bool:
        """For a request, or for the rest of one."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _others(self) -> list[PromptProtocol]:
        return cast("list[PromptProtocol]", list(self.connections))

    def _wait_for_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self.transport.abort()


def settings() -> dict[str, Any]:
    """For `uvicorn.Config`. As many requests at work as there may be connections, and some that just close."""
    return {"http": PromptProtocol, "limit_concurrency": CONNECTIONS + 100, "timeout_keep_alive": 15}
