"""Secrets may come as files, one a setting, as containers have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import settings
from pipelines.errors import InvalidInput


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_secret_is_read_from_its_file(secrets: Path) -> None:
    (secrets / "organism_graph_password").write_text("from a file\n")
    assert settings.load().graph_password.get_secret_value() == "from a file"


def test_the_environment_comes_before_the_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "organism_graph_password").write_text("from a file")
    monkeypatch.setenv("ORGANISM_GRAPH_PASSWORD", "from the environment")
    assert settings.load().graph_password.get_secret_value() == "from the environment"


def test_a_wrong_value_in_a_file_is_named_and_not_shown(secrets: Path) -> None:
    (secrets / "organism_lease_s").write_text("canary")
    with pytest.raises(InvalidInput, match="ORGANISM_LEASE_S") as caught:
        settings.load()
    assert "canary" not in str(caught.value)


def test_without_the_directory_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path / "none"))
    assert settings.load().graph_password.get_secret_value() == ""


def test_the_name_of_the_directory_is_not_taken_for_a_mistyped_setting(secrets: Path) -> None:
    assert settings.misspelt() == []
