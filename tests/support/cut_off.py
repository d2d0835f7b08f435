"""A store that is away for who comes through a proxy: its connections break, and new ones are shown the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.support.tcp_proxy import TcpProxy, server_of, through


class Cuttable(TcpProxy):
    """As a server that was ended, and is started again at the same port."""

    _away = False

    def cut(self) -> None:
        self._wake.send(b"c")

    def restore(self) -> None:
        self._wake.send(b"b")

    def _told(self, what: bytes) -> bool:
        if what in (b"c", b"b"):
            self._away = what == b"c"
        while self._away and self._links:
            self._break(next(iter(self._links.values())))
        return super()._told(what)

    def _welcome(self) -> None:
        if self._away:
            self._listener.accept()[0].close()
        else:
            super()._welcome()


@contextmanager
def cuttable(url: str) -> Iterator[tuple[Cuttable, str]]:
    """A proxy in front of the server of a URL, and the URL that goes through it."""
    with closing(Cuttable(*server_of(url))) as proxy:
        yield proxy, through(proxy, url)
