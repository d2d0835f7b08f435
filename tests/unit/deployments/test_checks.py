"""Checks in order: what fails is told with what to do, and what stands on it is not asked."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from deployments import listing
from deployments.checks import Check, Question, bad, good, is_green, run
from pipelines.errors import TransientError


def asked(name: str, ok: bool, *needs: str) -> Question:
    return Question(name, lambda: good(name, "there") if ok else bad(name, "away", "start it"), needs=needs)


def test_what_needs_something_that_failed_is_not_asked() -> None:
    def never() -> Check:
        raise AssertionError("it was asked")

    checks = run([asked("server", False), Question("pool", never, needs=("server",)), asked("Redis", True)])
    assert [c.ok for c in checks] == [False, None, True]
    assert checks[1].seen == "not asked: server"


def test_what_was_not_asked_stops_what_needs_it_in_turn() -> None:
    checks = run([asked("a", False), asked("b", True, "a"), asked("c", True, "b")])
    assert [c.ok for c in checks] == [False, None, None]


def test_an_error_of_ours_is_a_check_that_failed_and_a_defect_is_not_hidden() -> None:
    def away() -> Check:
        raise TransientError("redis host:1: ConnectionError; is the server up?")

    assert run([Question("Redis", away, "see its URL")]) == [
        bad("Redis", "redis host:1: ConnectionError; is the server up?", "see its URL")
    ]
    with pytest.raises(ZeroDivisionError):
        run([Question("Redis", lambda: good("x", str(1 / 0)))])


def test_each_answer_is_told_as_soon_as_it_is_there() -> None:
    told: list[str] = []
    run([asked("a", True), Question("b", lambda: good("b", f"after {told}"))], lambda check: told.append(check.name))
    assert told == ["a", "b"]


def test_green_means_that_everything_was_asked_and_is_good() -> None:
    assert is_green([good("a", "x"), good("b", "x", "advice")])
    assert not is_green([good("a", "x"), Check("b", None, "not asked: a")])


def shown(check: Check) -> str:
    page = io.StringIO()
    listing.show(check, Console(file=page, highlight=False, soft_wrap=True))
    return page.getvalue()


def test_a_check_is_told_in_eighty_columns_with_the_fix_below() -> None:
    text = shown(bad("slot leases", "in memory: " + "words " * 40, "set " + "PREFECT_SERVER_X=y " * 8))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.splitlines()[0].startswith("  ✗ slot leases")
    assert "→ set PREFECT" in text


def test_advice_has_a_sign_of_its_own() -> None:
    assert shown(good("retention", "runs are never deleted", "switch it on")).startswith("  ! retention")


def test_no_password_is_shown_whatever_a_driver_said() -> None:
    check = bad("Redis", "cannot reach redis://me:canary@host", "see redis://me:canary@host")
    assert "canary" not in shown(check) + listing.as_json([check])


def test_the_verdict_counts_and_names_what_is_wrong() -> None:
    checks = [good("a", ""), bad("b", "", ""), Check("c", None, "")]
    assert listing.verdict(checks) == "1 of 3 wrong: b; 1 not asked"
    assert listing.verdict(checks[:1]) == "all 1 good"


def test_json_says_null_for_what_was_not_asked() -> None:
    told = json.loads(listing.as_json([good("a", "x"), Check("b", None, "not asked: a")]))
    assert (told["ok"], [c["ok"] for c in told["checks"]]) == (False, [True, None])


def test_a_long_name_does_not_run_into_what_was_seen() -> None:
    page = shown(Check("deploy intervention_planning", True, "as in prefect.yaml"))
    assert [line.strip() for line in page.splitlines()] == ["✓ deploy intervention_planning", "as in prefect.yaml"]
