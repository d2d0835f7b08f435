"""The command around a turn: what it prints, how it ends, and that it goes on after a turn that failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from alerts.model import Code, Facts, PrefectFact, Problem, Severity
from pipelines import watch
from pipelines.errors import OrganismError, Refused, TransientError
from pipelines.jobs.watch import Turn
from tests.support.fakes_ledger import NOW

FACTS = Facts(NOW, prefect=PrefectFact(up=True, queue=0, workers_online=1))


def problem(severity: Severity = Severity.CRITICAL) -> Problem:
    return Problem(Code.STORE_DOWN, "redis", severity, "redis does not work.", NOW, fix="start Redis")


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The next turns: what they found, or how they failed."""

    def plan(*ends: Turn | OrganismError) -> None:
        rest = list(ends)

        def run_once(*_: object) -> Turn:
            end = rest.pop(0)
            if isinstance(end, OrganismError):
                raise end
            return end

        monkeypatch.setattr(watch, "run_once", run_once)

    return plan


def test_when_all_is_well_it_says_so(turns: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    turns(Turn(FACTS))
    assert watch.main(["--once"]) == 0
    assert capsys.readouterr().out == "nothing is wrong\n"


def test_it_says_when_it_did_not_look_at_prefect(
    turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    turns(Turn(Facts(NOW)))
    watch.main(["--once"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "nothing is wrong" and second.startswith("Prefect is not watched: PREFECT_API_URL is not set")


def test_a_machine_that_is_full_can_be_told_from_the_others(
    turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    full = replace(problem(), code=Code.RESOURCES, subject="disk on machine 0a1b2c")
    turns(Turn(replace(FACTS, machine="machine 0a1b2c"), (full,)))
    watch.main([])
    assert capsys.readouterr().out.endswith("this is machine 0a1b2c\n")


def test_what_is_wrong_comes_with_its_cure_and_what_was_done(
    turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    turns(Turn(FACTS, (problem(),), crashed=("a", "b")))
    assert watch.main([]) == 1
    said = capsys.readouterr().out
    assert said == "critical: redis does not work. [STORE_DOWN redis]\n  start Redis\ndone: 2 crashed\n"


def test_a_digest_is_news_and_no_trouble(turns: Callable[..., None]) -> None:
    turns(Turn(FACTS, (problem(Severity.INFO),)))
    assert watch.main([]) == 0


def test_machines_get_all_of_it(turns: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    turns(Turn(FACTS, (problem(),), released={"a": 2}, refused=("no",)))
    watch.main(["--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["problems"] == [
        {
            "code": "STORE_DOWN",
            "subject": "redis",
            "severity": "critical",
            "what": "redis does not work.",
            "since": NOW.isoformat(),
            "fix": "start Redis",
        }
    ]
    assert (said["released"], said["refused"]) == (2, ["no"])


def test_what_is_stopped_is_no_trouble(turns: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (([], "not running\n"), (["--json"], '{"stopped": true}\n')):
        turns(Refused("STOPPED", "not running"))
        assert watch.main(arguments) == 0
        assert capsys.readouterr().out == said


def test_turn_after_turn_goes_on_after_one_that_failed(
    turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    turns(Turn(FACTS, (problem(),)), TransientError("away"), Turn(FACTS))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch.main(["--every", "60"], pause)
    out, err = capsys.readouterr()
    assert out.endswith("nothing is wrong\n") and err == "error: away\n" and pauses == [60, 60, 60]


@pytest.mark.parametrize("wrong", [["--every", "0"], ["--every", "x"], ["--once", "--every", "5"]])
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        watch.main(wrong)
    assert caught.value.code == 2 and "--every" in capsys.readouterr().err


def test_what_nobody_is_to_hear_of_is_shown_and_no_trouble(
    turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = Turn(FACTS, (problem(),), hushed={"STORE_DOWN:redis": "muted until 2026-03-02 14:00 UTC"})
    turns(quiet)
    assert watch.main([]) == 0
    assert capsys.readouterr().out.startswith("muted until 2026-03-02 14:00 UTC: redis does not work.")
    assert watch.named(quiet) == "nothing is wrong"
    turns(quiet)
    watch.main(["--json"])
    (said,) = json.loads(capsys.readouterr().out)["problems"]
    assert said["hushed"] == "muted until 2026-03-02 14:00 UTC"
