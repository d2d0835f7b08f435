"""What everything else stands on: the settings, prefect.yaml, the installed versions, and a Prefect API that answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from deployments import manifest
from deployments.checks import Check, bad, good
from deployments.pull import HOME
from deployments.rest import Api
from pipelines import command, settings, wiring
from pipelines.errors import InvalidInput, TransientError
from pipelines.orchestrator.place import NOT_SET

#: As in pyproject.toml, where the reasons stand; the house tests hold them equal.
PINS: Mapping[str, str] = {"prefect": ">=3.8.8,<3.10", "fastapi": ">=0.139,<0.151", "sqlalchemy": ">=2.0,<2.1"}
FILE = "prefect.yaml"


def find_file() -> Path:
    """prefect.yaml of this directory, else the one that lies beside the package."""
    here = Path.cwd() / FILE
    return here if here.is_file() else HOME / FILE


def about_settings(config: settings.Settings, *, strict: bool = True) -> Check:
    """strict: a mistyped variable is a failure, and not only advice.

    Raises:
        InvalidInput: a value that is understood only where it is used: zone, dates, retries.
    """
    wiring.policy_rules(config), command.policies(config)
    wrong, fix = settings.misspelt(), "correct or unset it: a mistyped name silently means the default"
    if wrong and strict:
        return bad("settings", "; ".join(wrong), fix)
    return good("settings", "; ".join(wrong) or wiring.which(config), fix if wrong else "")


def about_file(path: Path) -> list[Check]:
    wrong = manifest.mistakes(path)
    if wrong:
        return [
            bad(FILE, str(mistake), "" if mistake is not wrong[-1] else f"correct {path.name}") for mistake in wrong
        ]
    names = [its.name for its in manifest.load(path).deployments]
    return [good(FILE, f"no mistake in {len(names)} deployments: {', '.join(names)}")]


def about_versions(pins: Mapping[str, str] = PINS) -> Check:
    """The installed packages against what was tested: two of them silently break scheduling when they are newer."""
    seen = {name: metadata.version(name) for name in pins}
    wrong = [f"{name} {seen[name]} (needed {pins[name]})" for name in pins if not fits(seen[name], pins[name])]
    if wrong:
        return bad("versions", ", ".join(wrong), "pip install -r requirements.txt")
    return good("versions", ", ".join(f"{name} {version}" for name, version in seen.items()))


def fits(version: str, pin: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(pin).contains(version, prereleases=True)


def about_package(python: str = sys.executable) -> Check:
    """Whether a run finds our code: a worker starts it in an empty directory, where no checkout is on the path."""
    code = (
        "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('pipelines.runs', 'deployments.pull'))))"
    )
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([python, "-c", code], cwd=empty, capture_output=True, timeout=60, check=False)
    if done.returncode == 0:
        return good("package", "found from any directory by this Python")
    return bad("package", "this Python finds it only from the checkout: every run would fail", "pip install -e .")


def about_api(api: Api) -> Check:
    version = api.version()
    if not fits(version, PINS["prefect"]):
        return bad("Prefect API", f"version {version}, needed {PINS['prefect']}", "upgrade the server, or this package")
    return good("Prefect API", f"answers; version {version}")


def about_api_if_it_answers(api: Api, how: str) -> Check:
    """Where none answers, or none is named, that is said, and how to have one: it was not what was asked.

    Raises:
        InvalidInput, PermanentError: it is named wrongly, or does not let us in.
    """
    try:
        return about_api(api)
    except (TransientError, InvalidInput) as error:
        if isinstance(error, InvalidInput) and not str(error).startswith(NOT_SET):
            raise
        return good("Prefect API", f"not checked: {error}", how)


def webhooks() -> dict[str, str]:
    """Where automations may tell something: `slack` and `webhook` to their URLs, those that are configured."""
    from alerts import settings as alert_settings

    try:
        config = alert_settings.load()
    except alert_settings.WrongSettings as error:
        raise InvalidInput(str(error)) from None
    if not config.alert_enabled:
        return {}
    given = {"slack": config.slack_webhook_url, "webhook": config.alert_webhook_url}
    return {kind: url.get_secret_value() for kind, url in given.items() if url is not None}


def insist_on_file(path: Path) -> manifest.Manifest:
    """The manifest.

    Raises:
        InvalidInput: all that is wrong with it.
    """
    if wrong := manifest.mistakes(path):
        raise InvalidInput(f"{path.name}: " + "; ".join(map(str, wrong)))
    return manifest.load(path)
