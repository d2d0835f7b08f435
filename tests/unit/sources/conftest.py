"""Files as readers get them, and where the shared datasets are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def shared() -> Path:
    """The folder of real datasets; a skip where there is none."""
    place = Path(os.environ.get("ORGANISM_SHARED", _REPOSITORY.parent / "shared")) / "data"
    if not place.is_dir():
        pytest.skip(f"no datasets in {place}; set ORGANISM_SHARED to the folder that holds data/")
    return place
