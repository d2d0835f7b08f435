"""Of the late runs of a deployment only the newest is left, and never one that a person asked for is taken away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deployments import missed

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def late(minute: int, deployment: str | None = "incremental", *, auto: bool = True, state: str = "Late") -> Any:
    at = f"2026-03-02T10:{minute:02}:00Z"
    return {
        "id": f"{deployment}-{minute}", "deployment_id": deployment, "auto_scheduled": auto, "state_name": state,
        "expected_start_time": at,
    }  # fmt: skip


def ids(*rows: Any) -> list[str]:
    return [row["id"] for row in missed.superseded(rows)]


def test_the_newest_is_left_whatever_the_order() -> None:
    assert ids(late(5), late(20), late(0), late(15)) == ["incremental-0", "incremental-5", "incremental-15"]


def test_one_late_run_is_left_alone() -> None:
    assert ids(late(5)) == []
    assert ids() == []


def test_each_deployment_keeps_its_own() -> None:
    assert ids(late(0), late(5), late(0, "full"), late(2, "watch"), late(7, "watch")) == ["incremental-0", "watch-2"]


def test_what_a_person_asked_for_is_never_taken_away() -> None:
    assert ids(late(0, auto=False), late(5), late(10, auto=False)) == []


def test_a_run_that_waits_for_a_slot_or_a_retry_was_begun() -> None:
    assert ids(late(0, state="AwaitingConcurrencySlot"), late(1, state="AwaitingRetry"), late(5)) == []


def test_a_run_without_a_deployment_is_not_ours() -> None:
    assert ids(late(0, None), late(5, None)) == []


class Server:
    """Answers as the server does, and remembers what it was asked."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows, self.asked = rows, []  # type: ignore[var-annotated]

    def pages(self, path: str, body: dict[str, Any], limit: int) -> list[Any]:
        self.asked.append((path, body))
        return self.rows

    def post(self, path: str, body: dict[str, Any]) -> None:
        self.asked.append((path, body))


def test_only_late_runs_of_this_pool_are_asked_for_and_cancelled_with_a_name() -> None:
    api = Server([late(0), late(5)])
    assert missed.collapse(api, "organism", NOW) == 1  # type: ignore[arg-type]
    (_, wanted), (path, body) = api.asked
    assert wanted["work_pools"] == {"name": {"any_": ["organism"]}}
    assert wanted["flow_runs"]["expected_start_time"] == {"before_": NOW.isoformat()}
    assert path == "/flow_runs/incremental-0/set_state"
    assert (body["state"]["type"], body["state"]["name"], body["force"]) == ("CANCELLED", "Missed", False)


def test_a_worker_starts_also_without_an_answer(monkeypatch: Any) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert missed.main("organism").startswith("late runs were not looked at: PREFECT_API_URL is not set")
