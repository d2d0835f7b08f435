"""The views on a real company's e-mail, beside the figures published for this graph."""

from __future__ import annotations

import csv
import gzip

import pytest

from pipelines.metrics.views import MaterializedViewManager
from tests.support.snapshots import shared, taken


def test_a_real_companys_graph_has_the_known_figures() -> None:
    with gzip.open(shared("manufacturing_email", "communication.csv.gz"), "rt", newline="") as file:
        ends = {(int(r["Sender"]), int(r["Recipient"])) for r in csv.DictReader(file, delimiter=";")}
    people = sorted({person for pair in ends for person in pair})
    found = {s.view: s.values for s in MaterializedViewManager().refresh(taken(sorted(ends), people), {})}
    known = {
        "org_people": 167,
        "org_ties": 3_250,
        "org_density": 0.23447,
        "org_clustering": 0.59186,
        "org_assortativity": -0.29518,
        "org_radius": 3,
        "org_diameter": 5,
    }
    assert {view: found[view][0] for view in known} == pytest.approx(known, abs=5e-6)
