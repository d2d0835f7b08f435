"""Where the Prefect server is: as its own client finds it, and without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pipelines import command
from pipelines.errors import PermanentError
from pipelines.orchestrator import place, rest
from pipelines.orchestrator.place import Place
from pipelines.orchestrator.store import PrefectApi

PROFILES = """
active = "work"

[profiles.work]
PREFECT_API_URL = "http://profile:4200/api"
PREFECT_API_AUTH_STRING = "me:Canary"

[profiles.other]
PREFECT_API_URL = "http://other:4200/api"
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory without .env, and a home of Prefect's without profiles."""
    for name in ("URL", "AUTH_STRING", "SSL_CERT_FILE"):
        monkeypatch.delenv(f"PREFECT_API_{name}", raising=False)
    for name in ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_UI_URL", "PREFECT_WORK_POOL_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_where_nothing_names_a_server_there_is_none() -> None:
    assert place.find() is None
    assert command.why_direct() == "PREFECT_API_URL is not set"


def test_the_active_profile_names_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text(PROFILES)
    assert place.find() == Place("http://profile:4200/api", "me:Canary")
    assert "Canary" not in repr(place.find())
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    assert place.find() == Place("http://other:4200/api")
    monkeypatch.setenv("PREFECT_PROFILE", "nobody")
    assert place.find() is None


def test_a_file_of_settings_goes_before_the_profile_and_the_environment_before_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "profiles.toml").write_text(PROFILES)
    (home / ".env").write_text("PREFECT_API_URL=http://file:4200/api\nPREFECT_WORK_POOL_NAME=ours\n")
    found = place.find()
    assert found and (found.url, found.auth, place.pool()) == ("http://file:4200/api", "me:Canary", "ours")
    monkeypatch.setenv("PREFECT_API_URL", "http://shell:4200/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    found = place.find()
    assert found and (found.url, found.auth) == ("http://shell:4200/api", "me:Canary")


@pytest.mark.parametrize(
    "text", ["active = ", "active = 5", 'profiles = 7\nactive = "work"', "[profiles]\nwork = 1", "\x00"]
)
def test_profiles_that_nobody_can_read_name_none(home: Path, text: str) -> None:
    (home / "profiles.toml").write_text(text)
    assert place.find() is None


def test_the_command_asks_that_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text(PROFILES)
    asked: list[tuple[str, object]] = []

    def get(url: str, **rest: object) -> httpx.Response:
        asked.append((url, rest["auth"]))
        return httpx.Response(200)

    monkeypatch.setattr(httpx, "get", get)
    assert command.why_direct() is None
    assert asked == [("http://profile:4200/api/health", ("me", "Canary"))]


@pytest.mark.parametrize(
    ("url", "status", "text", "words"),
    [
        ("http://here:4200", 200, "<html>", place.NO_API),
        ("http://here:4200/", 404, "", place.NO_API),
        ("http://here/prefect", 200, "true", None),  # a server that was told to have its API elsewhere
        ("http://here:4200/api", 200, "true", None),
        ("https://cloud/api/accounts/1/workspaces/2", 200, "true", None),
        ("http://here:4200/api", 503, "", "the Prefect API answers 503"),
    ],
)
def test_a_url_of_the_pages_for_people_is_said_to_lack_its_end(
    url: str, status: int, text: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(status, text=text))
    assert command.why_direct() == words


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(404), httpx.Response(405)])
def test_whoever_asks_that_server_says_so_too(answer: httpx.Response, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: answer)
    with pytest.raises(PermanentError, match="must end in /api"):
        rest.Rest("http://here:4200").get("/admin/version")
    with pytest.raises(PermanentError) as other:
        rest.Rest("http://here:4200/api").get("/admin/version")
    assert "/api" not in str(other.value).replace("/admin", "")


def test_prefect_itself_reads_it_so(home: Path) -> None:
    """In a process of its own, which takes its time to import it."""
    (home / "profiles.toml").write_text(PROFILES)
    code = "from prefect.settings import PREFECT_API_URL as u; print(u.value())"
    env = {"PREFECT_HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=home, capture_output=True, text=True, timeout=120)
    found = place.find()
    assert found and done.stdout.strip() == found.url, done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "http://prefect..svc:4200/api",
        "http://.x/api",
        f"http://{'a' * 64}/api",
        "http://xn--/api",
        "http://[::1",
        "ftp://here/api",
        "nonsense",
        "http://he\nre/api",
    ],
)
def test_what_is_no_url_is_said_by_whoever_asks_and_is_no_defect(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url.replace("\n", "\x01"))
    words = "PREFECT_API_URL is not a URL such as http://127.0.0.1:4200/api"
    assert command.why_direct() == words
    assert PrefectApi(url).healthy() == words


@pytest.mark.parametrize("name", ["missing.pem", ".", "empty.pem", "a\0b"])
def test_certificates_that_cannot_be_read_are_said_and_are_no_defect(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    file, url = str(tmp_path / name), "https://127.0.0.1:1/api"
    words = place.why_not(place.Place(url, cert_file=file))
    assert words and words.startswith("PREFECT_API_SSL_CERT_FILE names no file of certificates that can be read")
    assert PrefectApi(url, cert_file=file).healthy() == words
