"""Real data, end to end: publish and incremental, on the embedded servers and on a real Neo4j, with the same numbers.

The figures are those of the datasets' descriptions (SOURCES.md beside them). Without the data these tests skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import wiring
from pipelines.jobs import reconcile
from pipelines.jobs.ingest import Stores
from tests.conftest import as_environment, opened

ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("ORGANISM_SHARED", ROOT.parent / "shared")) / "data"


def dataset(name: str) -> str:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the dataset {name} is not here; put the shared folder beside the repository")
    return str(path)


def command(where: wiring.Endpoints, folder: Path, name: str, *arguments: str) -> dict[str, int]:
    env = os.environ | as_environment(where) | {"ORGANISM_STATE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", f"pipelines.{name}", *arguments, "--json"]
    done = subprocess.run(line, env=env, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report: dict[str, int] = json.loads(done.stdout)
    return report


def counts(stores: Stores) -> tuple[int, int, int]:
    """People with a tie, undirected pairs, and interactions summed over directed ties."""
    ties = list(stores.graph.ties())
    pairs = {tuple(sorted((t.actor, t.target))) for t in ties}
    return len({p for pair in pairs for p in pair}), len(pairs), sum(t.n for t in ties)


def test_nine_months_of_company_mail(endpoints: wiring.Endpoints, tmp_path: Path) -> None:
    mail = (dataset("manufacturing_email/communication.csv.gz"), "--medium", "email", "--zone", "Europe/Warsaw")
    with opened(endpoints) as stores:
        sent = command(endpoints, tmp_path, "publish", *mail)
        assert (sent["rows"], sent["duplicate_rows"], sent["self_loops"]) == (82_927, 313, 51)
        assert (sent["sent"], sent["people"]) == (58_463, 167)
        run = command(endpoints, tmp_path, "incremental")
        assert (run["read"], run["applied"], run["codes"]) == (58_463, 58_463 - 51, {"SELF_ONLY": 51})
        assert counts(stores) == (167, 3_250, 82_927 - 313 - 51)
        assert reconcile.verify(stores).differences == ()
        command(endpoints, tmp_path, "publish", *mail)
        assert command(endpoints, tmp_path, "incremental")["applied"] == 0
        assert counts(stores) == (167, 3_250, 82_927 - 313 - 51)


def test_ten_days_of_face_to_face_contacts(endpoints: wiring.Endpoints, tmp_path: Path) -> None:
    places = ("--origin", "2013-06-24", "--zone", "Europe/Paris")
    contacts = ("--time", "1", "--actor", "2", "--target", "3", "--slot", "20", *places)
    with opened(endpoints) as stores:
        sent = command(endpoints, tmp_path, "publish", dataset("sociopatterns_InVS13/tij_InVS.dat.gz"), *contacts)
        assert (sent["rows"], sent["sent"], sent["people"]) == (9_827, 4_592, 92)
        assert command(endpoints, tmp_path, "incremental")["applied"] == 4_592
        people, _, n = counts(stores)
        assert (people, n, sum(t.seconds for t in stores.graph.ties())) == (92, 4_592, 9_827 * 20)
        assert reconcile.verify(stores).differences == ()
