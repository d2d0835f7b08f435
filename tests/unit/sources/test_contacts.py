from __future__ import annotations

import io

from pipelines.model import Medium
from pipelines.sources import csv_ties
from pipelines.sources.csv_ties import TieOptions
from pipelines.sources.raw import Counts, RawInteraction
from pipelines.sources.times import TimeOptions

SLOTS = TieOptions(actor="2", target="3", time="1", slot_s=20, times=TimeOptions(zone="UTC", origin="2013-06-24"))


def contacts(*rows: str) -> tuple[list[tuple[str, str, int, float | None]], Counts]:
    counts = Counts()
    items = list(csv_ties.read(io.BytesIO("\r\n".join(rows).encode()), SLOTS, counts))
    found = [item for item in items if isinstance(item, RawInteraction)]
    assert all(item.medium is Medium.CONTACT for item in found)
    seconds = [item.time.hour * 3600 + item.time.minute * 60 + item.time.second for item in found]
    return [(i.actor, i.targets[0], s, i.duration_s) for i, s in zip(found, seconds, strict=True)], counts


def test_one_row_is_a_contact_of_one_slot_that_ends_at_its_time() -> None:
    assert contacts("100 1 2")[0] == [("1", "2", 80, 20.0)]


def test_slots_that_follow_one_another_are_one_contact() -> None:
    assert contacts("100 1 2", "120 1 2", "140 2 1")[0] == [("1", "2", 80, 60.0)]


def test_a_gap_ends_a_contact() -> None:
    assert contacts("100 1 2", "140 1 2")[0] == [("1", "2", 80, 20.0), ("1", "2", 120, 20.0)]


def test_contacts_of_one_person_at_once_stay_apart() -> None:
    items, _ = contacts("100 1 2", "100 1 3", "120 1 3")
    assert sorted(items) == [("1", "2", 80, 20.0), ("1", "3", 80, 40.0)]


def test_a_contact_has_no_direction_and_the_same_row_twice_counts_once() -> None:
    items, counts = contacts("100 2 1", "100 1 2")
    assert (items, counts.duplicates) == ([("1", "2", 80, 20.0)], 1)


def test_rows_in_any_order_give_the_same_contacts() -> None:
    rows = ["100 1 2", "120 1 2", "160 1 2", "100 3 4"]
    assert sorted(contacts(*rows)[0]) == sorted(contacts(*reversed(rows))[0])


def test_two_contacts_that_one_person_begins_at_once_have_two_native_ids() -> None:
    items = list(csv_ties.read(io.BytesIO(b"100 1 2\n100 1 3\n"), SLOTS, Counts()))
    assert len({item.native_id for item in items if isinstance(item, RawInteraction)}) == 2
