"""The commands of `python -m deployments`: what they print and their exit codes, without a server."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import httpx
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


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/api"])
def test_check_says_that_no_server_answers_and_that_the_file_is_good(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> object:
        raise httpx.ConnectError("no")

    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr(httpx.Client, "request", refused)
    assert commands.main(["check", "--json", "--file", str(FILE)]) == command.GOOD
    told = {c["name"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert told["prefect.yaml"]["ok"] and told["prefect.yaml"]["seen"].startswith("no mistake in")
    assert told["Prefect API"]["seen"].startswith("not checked: P")
    assert "deployments serve" in told["Prefect API"]["fix"]


def test_check_of_a_server_that_is_named_wrongly_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://here:4200")
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: httpx.Response(200, text="<html>"))
    assert commands.main(["check", "--file", str(FILE)]) == command.FAILED
    said = " ".join(capsys.readouterr().out.split())
    assert "must end in /api" in said and "no mistake in" in said


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
    told = {line.split()[0].rpartition("/")[2]: line for line in lines[1:]}
    assert list(told) == [name.partition("/")[2] for name in sorted(api.own_deployments)]
    assert "in 4 min" in told["incremental"]
    assert told["verify"].endswith("paused")
    assert all(len(line) <= 80 for line in lines)


def test_what_people_start_is_neither_paused_nor_late(capsys: pytest.CaptureFixture[str]) -> None:
    table = listing.rows(installed().deployments(), {})
    listing.show_rows(table, Console(highlight=False, soft_wrap=True, color_system=None), NOW)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "policy_check" in line]
    assert line.endswith("when asked")
    assert [row["active"] for row in table if row["deployment"] == "policy_check/policy_check"] == [True]


@pytest.mark.parametrize("name", ["serve", "backup", "restore"])
def test_commands_with_options_of_their_own_get_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    seen: list[list[str]] = []
    module = importlib.import_module(f"deployments.{name}")
    monkeypatch.setattr(module, "main", lambda words: seen.append(words) or 0)
    assert commands.main([name, "--port", "1"]) == 0
    assert seen == [["--port", "1"]]
