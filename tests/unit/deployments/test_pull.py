"""Where a scheduled run starts: in the checkout, or anywhere once it knows its stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments import pull
from pipelines.errors import InvalidInput


def test_a_run_from_a_checkout_starts_there_and_finds_its_settings() -> None:
    assert pull.checkout() == {"directory": str(Path(__file__).parents[3])}


def test_an_installed_package_stays_where_the_worker_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_STATE_DIR", "/var/lib/organism")
    assert pull.checkout(tmp_path) == {}


def test_three_servers_are_a_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in (("REDIS", "redis://r"), ("GRAPH", "bolt://g"), ("POSTGRES", "postgresql://p")):
        with pytest.raises(InvalidInput, match="does not know its stores"):
            pull.checkout(tmp_path)
        monkeypatch.setenv(f"ORGANISM_{name}_URL", url)
    assert pull.checkout(tmp_path) == {}
