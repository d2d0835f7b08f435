"""What the watch opens, and what it leaves alone: nothing is started to be looked at, nothing away hides the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from alerts.dispatch import Dispatcher
from alerts.fallback import Fallback
from alerts.model import Code, Severity
from pipelines import settings, status, wiring, wiring_watch
from pipelines.embedded import locks
from pipelines.embedded.place import Place
from pipelines.errors import PermanentError
from pipelines.jobs import resources
from tests.support.fakes_alerts import DOWN, NOW, problem
from tests.support.make import raising


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_WORK_POOL_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)


def test_when_all_is_embedded_and_nothing_runs_nothing_is_there_and_nothing_is_started(tmp_path: Path) -> None:
    with wiring_watch.watching(settings.load()) as watched:
        assert watched.stopped and watched.postgres is None
        of = watched.sources
        assert (of.ledger, of.stream, of.letters, of.graph, of.orchestrator, of.away) == (None,) * 5 + ({},)
    assert not (tmp_path / "state").exists()


def test_a_prefect_that_is_named_is_watched_when_all_servers_are_embedded_and_none_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The dead man's check of the default installation: without this it said STOPPED, and all was well."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with wiring_watch.watching(settings.load()) as watched:
        assert not watched.stopped and watched.sources.orchestrator is not None
        assert watched.sources.away == {}, "between two runs embedded servers may rest"


@pytest.mark.parametrize("mine", [None, "redis://127.0.0.1:1/0"])
def test_what_serve_should_keep_running_and_is_not_there_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mine: str | None
) -> None:
    (tmp_path / "state").mkdir()
    note = tmp_path / "state" / "serve.json"
    note.write_text('{"pid": 1, "ui": "http://127.0.0.1:4299"}')
    if mine:
        monkeypatch.setenv("ORGANISM_REDIS_URL", mine)
    with wiring_watch.watching(settings.load()) as watched:
        api = watched.sources.orchestrator
        assert not watched.stopped and api is not None and api.url_of("r").startswith("http://127.0.0.1:4299/")
        assert set(watched.sources.away) == {"graph", "postgres"} | (set() if mine else {"redis"})
        assert all("deployments serve" in words for words in watched.sources.away.values())
    note.write_text("half a no")
    monkeypatch.delenv("ORGANISM_REDIS_URL", raising=False)
    with wiring_watch.watching(settings.load()) as watched:
        assert watched.stopped


def test_a_machine_has_a_name_that_is_not_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for host in ("annas-laptop", "annas-laptop", "web-1"):
        monkeypatch.setattr(resources.socket, "gethostname", lambda host=host: host)
        names.append(wiring_watch.machine(settings.load()).name)
    assert names[0] == names[1] != names[2] and "anna" not in names[0]


def test_a_store_that_cannot_be_opened_is_a_sentence_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", "mysql://u:s3cret-Canary@h/d")
    with wiring_watch.watching(settings.load()) as watched:
        assert not watched.stopped
        assert watched.sources.ledger is None and watched.sources.stream is not None
        assert set(watched.sources.away) == {"postgres"} and "Canary" not in str(watched.sources.away)
        assert "Canary" not in repr(watched)


def test_prefect_is_where_its_own_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.setenv("PREFECT_WORK_POOL_NAME", "ours")
    with wiring_watch.watching(settings.load()) as watched:
        assert watched.sources.pool == "ours" and watched.sources.orchestrator is not None
        assert watched.sources.orchestrator.url_of("r") == "http://prefect:4200/runs/flow-run/r"
    monkeypatch.setenv("PREFECT_API_URL", "prefect:4200")
    with wiring_watch.watching(settings.load()) as watched:  # told as a server that is away, and the rest is watched
        assert watched.sources.orchestrator is not None
        assert "PREFECT_API_URL is not a URL" in str(watched.sources.orchestrator.healthy())


def test_alerts_are_kept_on_the_server_that_is_named_else_in_the_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with wiring_watch.place() as found:
        assert found == (None, tmp_path / "state")
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", "postgresql://h/d")
    with wiring_watch.place() as found:
        assert found == ("postgresql://h/d", tmp_path / "state")


def test_wrong_alert_settings_are_wrong_input_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "not-a-url-Canary")
    with pytest.raises(PermanentError) as caught:
        wiring_watch.alert_settings()
    assert "SLACK_WEBHOOK_URL" in str(caught.value) and "Canary" not in str(caught.value)


def test_a_state_directory_of_another_user_is_said_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(wiring_watch.embedded, "pids", refuse)
    config = settings.load(state_dir=tmp_path)
    with (
        pytest.raises(PermanentError, match=r"belongs to another user.*ORGANISM_STATE_DIR"),
        wiring_watch.watching(config),
    ):
        pass


def test_a_question_that_waits_for_an_answer_is_no_open_incident(tmp_path: Path) -> None:
    """Or `status` would end with 1, and the page would say that something is wrong, while people think about a proposal."""
    (tmp_path / "state").mkdir()
    asks = problem(Code.PROPOSAL_WAITING, subject="a:1", severity=Severity.INFO)
    told = Dispatcher(None, [], fallback=Fallback(tmp_path / "state"))
    told.settle([asks, DOWN], NOW)
    told.close()
    found = wiring_watch.open_incidents(settings.load(), None)
    assert [incident.key for incident in found] == [DOWN.key]


def test_in_shadow_mode_no_connection_is_opened_to_look_for_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring_watch, "open_pool", raising(AssertionError("a connection")))
    with wiring_watch._asking(settings.load(), "postgresql://127.0.0.1:1/x") as asking:
        assert asking.proposals is None


def test_the_status_of_what_is_stopped_says_how_to_look_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main([]) == 0
    assert "pipelines.status --start" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_the_status_starts_servers_for_its_look_if_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_work = []

    @contextmanager
    def started(config: settings.Settings) -> Iterator[None]:
        at_work.append(True)
        yield
        at_work.pop()

    monkeypatch.setattr(wiring, "endpoints", started)
    monkeypatch.setattr(wiring_watch, "watching", lambda _: nullcontext(SimpleNamespace(stopped=bool(at_work))))
    assert status.main(["--start", "--json"]) == 0
    assert "stopped" in capsys.readouterr().out and at_work == []


def test_embedded_servers_that_a_program_holds_and_nobody_looks_after_are_away(tmp_path: Path) -> None:
    """Their supervisor was killed under an API, say: before, the watch called that a rest between two runs."""
    place = Place(tmp_path / "state")
    place.lock("clients").parent.mkdir(parents=True)
    held = locks.open_lock(place.lock("clients"))
    assert locks.take(held, shared=True)
    with wiring_watch.watching(settings.load()) as watched:
        assert not watched.stopped
        assert set(watched.sources.away) == {"graph", "postgres", "redis"}
        assert "any other command starts it again" in watched.sources.away["redis"]
    looks_after = locks.open_lock(place.lock("supervisor"))
    assert locks.take(looks_after, shared=False)
    with wiring_watch.watching(settings.load()) as watched:
        assert watched.stopped, "they are being started"
    for each in (held, looks_after):
        os.close(each)
    with wiring_watch.watching(settings.load()) as watched:
        assert watched.stopped
