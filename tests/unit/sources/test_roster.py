from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from pipelines.errors import InvalidInput
from pipelines.sources import roster
from pipelines.sources.raw import Counts, Item, RawPlace, Unreadable
from pipelines.sources.roster import RosterOptions
from pipelines.sources.times import TimeOptions

AS_OF = RosterOptions(as_of="2026-01-01", times=TimeOptions(zone="UTC"))


def read(text: str, options: RosterOptions = AS_OF) -> tuple[list[Item], Counts]:
    counts = Counts()
    return list(roster.read(io.BytesIO(text.encode()), options, counts)), counts


def places(text: str, options: RosterOptions = AS_OF) -> list[RawPlace]:
    return [item for item in read(text, options)[0] if isinstance(item, RawPlace)]


def words(text: str) -> str:
    (item,) = [item for item in read(text)[0] if isinstance(item, Unreadable)]
    return item.words


def test_a_row_is_a_place_as_of_the_given_time() -> None:
    (place,) = places("person,team,role,manager,tz\nA@x,Sales,lead,B@x,Europe/Berlin\n")
    assert place == RawPlace(
        2, "a@x", datetime(2026, 1, 1, tzinfo=UTC), "Sales", None, "lead", "b@x", "Europe/Berlin"
    )  # fmt: skip


def test_a_time_column_wins_over_the_given_time() -> None:
    first, second = places("person,team,time\na,S,2026-02-01 00:00:00\nb,S,\n")
    assert (first.time.month, second.time.month) == (2, 1)


def test_a_file_without_a_header_is_person_and_team() -> None:
    assert [(p.person, p.team) for p in places("35\tDISQ\r\n184\tDSE\r\n")] == [("35", "DISQ"), ("184", "DSE")]


def test_teams_may_be_named_after_managers_and_the_head_belongs_to_those_who_report_to_them() -> None:
    options = RosterOptions(
        manager="ReportsToID", team_of_manager=True, as_of="2026-01-01", times=TimeOptions(zone="UTC")
    )
    report, head = places("ID,ReportsToID\n19,86\n86,86\n", options)
    assert (report.manager, report.team_of, report.team) == ("86", "86", None)
    assert (head.manager, head.team_of) == (None, "86")


def test_a_repeated_row_counts_once_and_a_contradiction_is_reported() -> None:
    items, counts = read("person,team\na,S\nA,S\na,T\n")
    assert [type(item) for item in items] == [RawPlace, Unreadable]
    assert (counts.rows, counts.duplicates) == (3, 1)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (",S,UTC", "column 'person' is empty"),
        ("a,,UTC", "column 'team' is empty"),
        ("a,anna@x,UTC", "column 'team' has '@'"),
        ("a," + "S" * 65 + ",UTC", "64 characters"),
        ("a,S,Berlin", "column 'tz': 'Berlin' is not an IANA"),
    ],
)
def test_a_row_that_is_no_place_is_named_by_its_column(row: str, expected: str) -> None:
    assert expected in words(f"person,team,tz\n{row}\n")


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("who,team\n", AS_OF, "which column is the person"),
        ("person,boss\n", AS_OF, "which column is the team"),
        ("person,team\n", RosterOptions(), "--as-of"),
        ("person,team\n", RosterOptions(team_of_manager=True, as_of="2026-01-01"), "--manager"),
        ("person,team\na,S\n", RosterOptions(as_of="2026-01-01"), "--zone"),
        ("person,team\na,S\n", RosterOptions(as_of="soon", times=TimeOptions(zone="UTC")), "--as-of: 'soon'"),
    ],
)
def test_a_roster_that_does_not_say_enough_is_bad_input(text: str, options: RosterOptions, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(text, options)


def test_an_empty_roster_has_no_places() -> None:
    assert read("")[0] == []
