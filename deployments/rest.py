"""What installing and checking ask of the Prefect server beyond `ports.Orchestrator`: pools, queues, deployments.

Over HTTP with short time-outs and not by Prefect's client: a server that accepts and never answers would hold that for
minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from pipelines import settings, wiring_watch
from pipelines.errors import InvalidInput
from pipelines.orchestrator.rest import NotThere, Rest

Row = dict[str, Any]
_MOST = 10_000


class Api(Rest):
    """One server. Every method raises TransientError (it may answer later) or PermanentError, naming the host."""

    def patch(self, path: str, body: Row) -> None:
        self._send("PATCH", path, json=body)

    def put(self, path: str, body: Row) -> None:
        self._send("PUT", path, json=body)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def version(self) -> str:
        """Also the question whether it answers and lets us in: /health is open to everybody."""
        return str(self.get("/admin/version"))

    def settings(self) -> Row:
        """The server's own settings; secrets are masked by it."""
        found: Row = self.get("/admin/settings")
        return found

    def pool(self, name: str) -> Row | None:
        try:
            found: Row = self.get(f"/work_pools/{quote(name)}")
        except NotThere:
            return None
        return found

    def pools(self) -> list[str]:
        return sorted(row["name"] for row in self.pages("/work_pools/filter", {}, _MOST))

    def queues(self, pool: str) -> dict[str, Row]:
        return {row["name"]: row for row in self.pages(f"/work_pools/{quote(pool)}/queues/filter", {}, _MOST)}

    def workers(self, pool: str) -> list[Row]:
        return self.pages(f"/work_pools/{quote(pool)}/workers/filter", {}, _MOST)

    def deployments(self) -> dict[str, Row]:
        """By `flow/name`."""
        flows = {row["id"]: row["name"] for row in self.pages("/flows/filter", {}, _MOST)}
        rows = self.pages("/deployments/filter", {}, _MOST)
        return {f"{flows.get(row['flow_id'], '?')}/{row['name']}": row for row in rows}

    def automations(self) -> list[Row]:
        return self.pages("/automations/filter", {}, _MOST)

    def runs(self, deployment: str, *states: str, after: datetime | None = None) -> list[Row]:
        """Flow runs of a deployment (its id) in states such as RUNNING, the earliest expected first."""
        wanted: Row = {"state": {"type": {"any_": list(states)}}}
        if after is not None:
            wanted["expected_start_time"] = {"after_": after.isoformat()}
        body = {"flow_runs": wanted, "deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return self.pages("/flow_runs/filter", body, _MOST)


class _NoApi(Api):
    """Where PREFECT_API_URL names none: every question has that as its answer."""

    def __init__(self, why: InvalidInput) -> None:
        self._why = why

    def close(self) -> None:
        pass

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        raise self._why


@contextmanager
def opened() -> Iterator[Api]:
    """The API of PREFECT_API_URL. Nothing is asked yet, and only then a wrong URL is an error."""
    api = _configured()
    try:
        yield api
    finally:
        api.close()


def _configured() -> Api:
    try:
        place = wiring_watch.prefect_server(settings.load())
        if place is None:
            raise InvalidInput(
                "PREFECT_API_URL is not set, and no python -m deployments serve runs here; for a server on this machine it"
                " is http://127.0.0.1:4200/api"
            )
        return Api(place.url, place.auth, place.cert_file)
    except InvalidInput as error:
        return _NoApi(error)
