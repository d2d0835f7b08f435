from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_app import Client, Site, site


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def client(its: Site) -> Client:
    """Of nobody; `client.by(role)` is somebody with that one role."""
    return Client(its.whole())
