"""Where the Prefect server is, as Prefect's own client would find it, without importing it: that takes a second.

The environment, then `.env`, then the active profile. What is empty counts as not set.
"""

from __future__ import annotations

import os
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from pipelines.errors import PermanentError

NOT_SET = "PREFECT_API_URL is not set"
NO_API = "PREFECT_API_URL names a server and not its API: it must end in /api, such as http://127.0.0.1:4200/api"
_ENV_FILE = ".env"
_ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True)
class Place:
    """url: of the API, ends in /api. auth: `user:password`. ui: where people see it. cert_file: of its authority."""

    url: str
    auth: str = ""
    ui: str = ""
    cert_file: str = ""

    def __repr__(self) -> str:
        return "Place(...)"  # it carries a password


def find() -> Place | None:
    """None where nothing names a server."""
    found = list(_sources())

    def first(name: str) -> str:
        return next((str(value) for source in found if (value := source.get(name))), "")

    url = first("PREFECT_API_URL")
    rest = (first(name) for name in ("PREFECT_API_AUTH_STRING", "PREFECT_UI_URL", "PREFECT_API_SSL_CERT_FILE"))
    return Place(url, *rest) if url else None


def names_no_api(url: str) -> bool:
    """Whether no part of its path is `api`. Such a URL leads to the pages for people, which answer everything with 200."""
    return "api" not in urlsplit(url).path.split("/")


def why_not(place: Place) -> str | None:
    """Why its API cannot be used now; None where it answers within two seconds."""
    import httpx

    user, _, password = place.auth.partition(":")
    try:
        where, verify = server_of(place.url), trusted(place.cert_file)
        answer = httpx.get(
            f"{place.url.rstrip('/')}/health",
            timeout=_ANSWERS_WITHIN_S,
            auth=(user, password) if user else None,
            verify=verify,
        )
    except PermanentError as error:
        return str(error)
    except httpx.HTTPError as error:  # its own words hold the address as it was given
        return f"the Prefect API at {where} does not answer: {type(error).__name__}"
    if names_no_api(place.url) and answer.text.strip() != "true":
        return NO_API
    return None if answer.status_code == 200 else f"the Prefect API answers {answer.status_code}"


def server_of(url: str) -> str:
    """host:port, for words. Raises PermanentError: it is none that can be asked."""
    import httpx  # not before there is a server to ask: every command would wait for it

    try:
        parts = httpx.URL(url)
        parts.host.encode("idna")  # as the resolver does: two dots in a row, or a label that is too long, are no name
    except (httpx.InvalidURL, ValueError):
        parts = httpx.URL("")
    if not parts.host or parts.scheme not in ("http", "https"):
        raise PermanentError("PREFECT_API_URL is not a URL such as http://127.0.0.1:4200/api")
    return f"{parts.host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def trusted(cert_file: str) -> ssl.SSLContext | bool:
    """Whose certificates are believed: of that file, else of whom the system trusts. Raises PermanentError."""
    try:
        return ssl.create_default_context(cafile=cert_file) if cert_file else True
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise PermanentError(
            f"PREFECT_API_SSL_CERT_FILE names no file of certificates that can be read: {why}"
        ) from None


def pool() -> str:
    """The work pool whose workers are ours."""
    found = (source.get("PREFECT_WORK_POOL_NAME") for source in (os.environ, _from_file()))
    return next((name for name in found if name), "organism")


def _sources() -> Iterator[Mapping[str, Any]]:
    yield os.environ
    yield _from_file()
    yield _profile(os.environ)


def _from_file() -> Mapping[str, str | None]:
    return dotenv_values(_ENV_FILE)


def _profile(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """The settings of the active profile; none where there is no file or nobody can read it."""
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    name = environment.get("PREFECT_PROFILE") or told.get("active")
    profile = told.get("profiles", {}).get(name, {}) if isinstance(told.get("profiles"), dict) else {}
    return profile if isinstance(profile, dict) else {}
