"""The readers on real files, against the numbers that are known of them (data/SOURCES.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import InvalidInput
from pipelines.sources import csv_ties, roster
from pipelines.sources.csv_ties import TieOptions
from pipelines.sources.raw import Counts, Item, RawInteraction, RawPlace
from pipelines.sources.roster import RosterOptions
from pipelines.sources.times import TimeOptions


def ties(path: Path, options: TieOptions) -> tuple[list[Item], Counts]:
    counts = Counts()
    with open(path, "rb") as file:
        return list(csv_ties.read(file, options, counts)), counts


def people(items: list[Item]) -> int:
    return len({person for i in items if isinstance(i, RawInteraction) for person in (i.actor, *i.targets)})


@pytest.mark.parametrize("zone", ["Europe/Warsaw", "UTC"])
def test_the_mails_of_the_manufacturing_company(shared: Path, zone: str) -> None:
    path = shared / "manufacturing_email" / "communication.csv.gz"
    items, counts = ties(path, TieOptions(medium="email", times=TimeOptions(zone=zone)))
    assert (counts.rows, counts.duplicates, counts.self_loops, counts.in_memory) == (82_927, 313, 51, False)
    assert (len(items), people(items)) == (58_463, 167)


def test_the_contacts_of_the_office(shared: Path) -> None:
    origin = TimeOptions(zone="Europe/Paris", origin="2013-06-24")
    options = TieOptions(actor="2", target="3", time="1", slot_s=20, times=origin)
    items, counts = ties(shared / "sociopatterns_InVS13" / "tij_InVS.dat.gz", options)
    assert (counts.rows, len(items), people(items)) == (9_827, 4_592, 92)
    assert sum(item.duration_s or 0 for item in items if isinstance(item, RawInteraction)) == 9_827 * 20


def test_the_departments_of_the_office(shared: Path) -> None:
    options = RosterOptions(as_of="2013-06-24", times=TimeOptions(zone="Europe/Paris"))
    with open(shared / "sociopatterns_InVS13" / "workplace_InVS_metadata.txt", "rb") as file:
        places = [item for item in roster.read(file, options, Counts()) if isinstance(item, RawPlace)]
    teams = [place.team for place in places]
    assert {team: teams.count(team) for team in set(teams)} == {"DSE": 34, "DMCT": 26, "DISQ": 15, "SRH": 13, "SFLE": 4}


def test_the_reporting_lines_of_the_manufacturing_company(shared: Path) -> None:
    options = RosterOptions(team_of_manager=True, as_of="2010-01-01", times=TimeOptions(zone="Europe/Warsaw"))
    with open(shared / "manufacturing_email" / "reportsto.csv", "rb") as file:
        places = [item for item in roster.read(file, options, Counts()) if isinstance(item, RawPlace)]
    assert len(places) == 154
    assert [place.person for place in places if place.manager is None] == ["86"]
    assert len([place for place in places if place.team_of == "86"]) == 12  # eleven and the head


@pytest.mark.parametrize("name", ["pq_data.csv.gz", "p2p_data.csv.gz"])
def test_viva_tables_are_refused(shared: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="Viva"):
        ties(shared / "vivainsights" / name, TieOptions(medium="meeting"))


@pytest.mark.parametrize("name", ["karate.csv", "g14_edgelist.csv", "krackhardt_kite.csv"])
def test_graphs_without_times_are_refused(shared: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="--time"):
        ties(shared / "small_graphs" / name, TieOptions(medium="message"))
