"""What serve gives its children, and what it says of those that die."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments import serve
from deployments.processes import Child, Program
from pipelines.embedded.place import Place
from pipelines.errors import TransientError


def site(tmp_path: Path) -> serve.Site:
    return serve.Site(Place(tmp_path / "state"), 4300, 2, 0)


def test_runs_find_the_stores_by_their_directory_and_get_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = site(tmp_path).environment()
    assert env["ORGANISM_STATE_DIR"] == str(tmp_path / "state")
    assert not [name for name in env if name in ("ORGANISM_REDIS_URL", "ORGANISM_GRAPH_URL", "ORGANISM_POSTGRES_URL")]
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4300/api"


def test_runs_get_what_the_env_file_says_of_ours_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORGANISM_ZONE", "Europe/Berlin")
    (tmp_path / ".env").write_text(
        "ORGANISM_ZONE=UTC\nORGANISM_SHADOW=false\nSLACK_WEBHOOK_URL=https://x\nAWS_SECRET=no\nORGANISM_STATE_DIR=other\n"
    )
    env = site(tmp_path).environment()
    assert env["ORGANISM_ZONE"] == "Europe/Berlin"  # as pydantic-settings has it: the environment first
    assert env["ORGANISM_SHADOW"] == "false"
    assert env["SLACK_WEBHOOK_URL"] == "https://x"
    assert "AWS_SECRET" not in env
    assert env["ORGANISM_STATE_DIR"] == str(tmp_path / "state")


def dead(tmp_path: Path) -> Child:
    log = tmp_path / "x.log"
    log.write_text("cannot reach postgresql://organism:hunter2@127.0.0.1:1/x\n")
    program = Program("worker", [sys.executable, "-c", "raise SystemExit(3)"], {}, log, 1.0)
    process = subprocess.Popen(program.command)
    process.wait()
    return Child(program, process)


class Nobody:
    """Children that are only counted."""

    def __init__(self) -> None:
        self.started = 0

    def again(self, child: Child) -> None:
        self.started += 1
        child.again_at = None


def test_a_child_that_died_is_named_and_started_again_after_a_pause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child, children = dead(tmp_path), Nobody()
    serve._look_at(child, children, 100.0)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "the worker ended (exit code 3); again in 1 s" in said
    assert "cannot reach" in said
    assert "hunter2" not in said
    serve._look_at(child, children, 100.5)  # type: ignore[arg-type]
    assert children.started == 0
    serve._look_at(child, children, 101.0)  # type: ignore[arg-type]
    assert children.started == 1


def test_a_child_that_dies_again_and_again_ends_it_all(tmp_path: Path) -> None:
    child, children = dead(tmp_path), Nobody()

    def die_for_ever() -> None:
        for second in range(0, 120, 2):
            serve._look_at(child, children, float(second))  # type: ignore[arg-type]

    with pytest.raises(TransientError, match="the worker ended 5 times") as caught:
        die_for_ever()
    assert "hunter2" not in str(caught.value.__notes__)


@pytest.mark.parametrize("port", ["0", "-1", "70000", "http"])
def test_what_is_no_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        serve.main(["--port", port])
    assert caught.value.code == 2
    assert "not a port" in capsys.readouterr().err


@pytest.mark.parametrize(("terminal", "lines"), [(False, ["first", "second"]), (True, [])])
def test_a_log_gets_a_line_for_each_stage_and_a_terminal_shows_it_while_it_lasts(
    terminal: bool, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for words in ("first", "second"):
        with serve._stage(words):
            said = capsys.readouterr().err.splitlines()
            assert (words in said) is (words in lines), said
