"""The commands of `python -m deployments`: what they print and their exit codes, without a server."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from deployments import __main__ as commands
from deployments import listing, rest
from pipelines import command
from tests.support.fakes_installation import FILE, NOW, installed


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_WORK_POOL_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_check_says_that_there_is_no_server_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["check", "--json", "--file", str(FILE)]) == command.FAILED
    told = {c["name"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert told["Prefect API"]["seen"].startswith("PREFECT_API_URL is not set")
    assert "deployments serve" in told["Prefect API"]["fix"]


def test_check_of_a_wrong_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE.read_text("utf-8").replace("concurrency_limit:", "concurency_limit:", 1))
    assert commands.main(["check", "--file", str(file)]) == command.BAD_INPUT
    assert "did you mean concurrency_limit?" in " ".join(capsys.readouterr().out.split())


def test_list_without_a_server_is_an_error_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda: commands.main(["list"])) == command.BAD_INPUT
    assert "PREFECT_API_URL is not set" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["localhost:4200", "ftp://host/api", "http://"])
def test_a_url_that_is_none_is_told_and_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with rest.opened() as api, pytest.raises(Exception, match="PREFECT_API_URL is not a URL"):
        api.version()


def test_the_list_tells_when_each_runs_next(capsys: pytest.CaptureFixture[str]) -> None:
    api = installed()
    soon = {
        name: datetime.fromisoformat(api.own_runs[row["id"]][0]["expected_start_time"])
        for name, row in api.deployments().items()
    }
    api.own_deployments["verify/verify"]["paused"] = True
    table = listing.rows(api.deployments(), soon)
    listing.show_rows(table, Console(highlight=False, soft_wrap=True, color_system=None), NOW)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(api.own_deployments)
    assert "in 4 min" in lines[2]
    assert lines[3].endswith("paused")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", ["serve", "backup", "restore"])
def test_commands_with_options_of_their_own_get_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    seen: list[list[str]] = []
    module = importlib.import_module(f"deployments.{name}")
    monkeypatch.setattr(module, "main", lambda words: seen.append(words) or 0)
    assert commands.main([name, "--port", "1"]) == 0
    assert seen == [["--port", "1"]]
