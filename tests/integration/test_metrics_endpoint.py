"""The numbers over HTTP from real stores, as Prometheus would read them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines import wiring
from pipelines.runs import Mode, Status
from tests.conftest import as_environment, opened
from tests.support import make

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def url(embedded: wiring.Endpoints, tmp_path: Path) -> Iterator[str]:
    """Of an endpoint on a stream with one entry, after one run."""
    with opened(embedded) as stores:
        stores.stream.append([make.event("a")])
    with wiring.ledger(embedded) as ledger:
        ledger.begin("incremental", "r", Mode.DIRECT, datetime.now(UTC), parameters={})
        ledger.close("r", Status.COMPLETED, datetime.now(UTC))
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | as_environment(embedded)
    env |= {"PYTHONPATH": str(ROOT), "ORGANISM_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.metrics_endpoint", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        try:
            yield re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        finally:
            process.terminate()


def test_prometheus_reads_what_the_stores_say(url: str) -> None:
    answer = httpx.get(f"{url}/metrics", timeout=30)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {s.name: s for f in text_string_to_metric_families(answer.text) for s in f.samples if not s.labels}
    assert found["organism_backlog_entries"].value == 1
    assert found["organism_age_seconds"].value < 30
    assert 'organism_runs{flow="incremental",status="completed"} 1.0' in answer.text
    assert all(f'organism_store_up{{store="{name}"}} 1.0' in answer.text for name in ("redis", "graph", "postgres"))
    assert 'organism_open_incidents{severity="critical"} 0.0' in answer.text


def test_there_is_nothing_else(url: str) -> None:
    assert httpx.get(url, timeout=30).status_code == 404
    assert httpx.post(f"{url}/metrics", timeout=30).status_code == 501
