"""Requests to a Prefect server: its login, its CSRF token, our time-outs and our errors. No route is known here."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import httpx

from pipelines.errors import OrganismError, PermanentError, TransientError
from pipelines.orchestrator.place import NO_API, names_no_api, server_of, trusted

#: A server that hangs takes connections and never answers; Prefect's own client would wait for minutes.
_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_PAGE = 200  # what the server gives at most
_PASSES = (408, 425, 429)


class Rest:
    """One server, asked by as many threads as there are. auth: `user:password` of its basic login, empty for none. Close it
    when done. A URL or a file of certificates that is none is known when somebody asks, as a server that is away.
    """

    def __init__(self, url: str, auth: str = "", cert_file: str = "") -> None:
        self._url, self._auth, self._cert_file = url, auth, cert_file
        self._where, self._no_api = "Prefect API", False
        self._lock = threading.Lock()
        self._opened: httpx.Client | None = None

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    def _client(self) -> httpx.Client:
        """Raises PermanentError: the settings name no server."""
        with self._lock:
            if self._opened is None:
                self._where = f"Prefect API {server_of(self._url)}"
                self._no_api = names_no_api(self._url)
                user, _, password = self._auth.partition(":")
                self._opened = httpx.Client(
                    base_url=self._url.rstrip("/"),
                    auth=(user, password) if user else None,
                    timeout=_TIMEOUT,
                    verify=trusted(self._cert_file),
                )
            return self._opened

    def get(self, path: str, **query: Any) -> Any:
        return self._json(self._send("GET", path, params=query))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._json(self._send("POST", path, json=body))

    def pages(self, path: str, body: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        """Up to `limit` rows of a `/filter` route."""
        rows: list[dict[str, Any]] = []
        while len(rows) < limit:
            size = min(_PAGE, limit - len(rows))
            page = self.post(path, body | {"limit": size, "offset": len(rows)})
            rows += page
            if len(page) < size:
                break
        return rows

    def clock(self) -> datetime:
        """What the server's clock says, to the second."""
        date = self._send("GET", "/health").headers.get("date")
        return parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        answer = self._ask(method, path, **content)
        if answer.status_code == 403 and "CSRF" in answer.text:
            self._take_token()
            answer = self._ask(method, path, **content)
        if error := self._error(answer.status_code, path):
            raise error
        return answer

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._client().request(method, path, **content)
        except httpx.TransportError as error:  # the error's own words hold the address as it was given
            raise TransientError(f"{self._where}: {type(error).__name__}; is it up? check PREFECT_API_URL") from None
        except RuntimeError:  # httpx says so of a client that is closed: the settings name another server by now
            raise TransientError(f"{self._where}: it is not asked any more; try again") from None

    def _take_token(self) -> None:
        """A server that guards against forged requests wants a token of its own; it expires after an hour."""
        name = uuid4().hex
        answer = self._ask("GET", "/csrf-token", params={"client": name})
        if error := self._error(answer.status_code, "/csrf-token"):
            raise error
        token = self._json(answer)["token"]
        self._client().headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": name})

    def _json(self, answer: httpx.Response) -> Any:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            words = (
                NO_API if self._no_api else "it answered with no JSON; is it a Prefect server? check PREFECT_API_URL"
            )
            raise PermanentError(f"{self._where}: {words}") from None

    def _error(self, status: int, path: str) -> OrganismError | None:
        """The answer is not quoted: it may repeat parameters."""
        if status < 300:
            return None
        if status >= 500 or status in _PASSES:
            return TransientError(f"{self._where}: it answered {status}; read the server's log")
        if status in (401, 403):
            return PermanentError(f"{self._where}: it answered {status}; check PREFECT_API_AUTH_STRING")
        if self._no_api and status in (404, 405):
            return PermanentError(f"{self._where}: {NO_API}")
        if status == 404:
            return NotThere(f"{self._where}: it knows no {path}")
        return PermanentError(f"{self._where}: it answered {status} to {path}")


class NotThere(PermanentError):
    """404: no such run, deployment, pool or limit."""
