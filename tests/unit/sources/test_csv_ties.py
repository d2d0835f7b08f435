from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidInput
from pipelines.model import Medium, Scope
from pipelines.sources import csv_ties
from pipelines.sources.csv_ties import TieOptions
from pipelines.sources.raw import Counts, Item, RawInteraction, Unreadable
from pipelines.sources.times import TimeOptions

MAIL = TieOptions(medium="email", times=TimeOptions(zone="UTC"))
HEAD = "sender,recipient,time\n"


def read(text: str, options: TieOptions = MAIL) -> tuple[list[Item], Counts]:
    counts = Counts()
    return list(csv_ties.read(io.BytesIO(text.encode()), options, counts)), counts


def interactions(text: str, options: TieOptions = MAIL) -> list[RawInteraction]:
    return [item for item in read(text, options)[0] if isinstance(item, RawInteraction)]


def words(text: str, options: TieOptions = MAIL) -> str:
    (item,) = [item for item in read(text, options)[0] if isinstance(item, Unreadable)]
    return item.words


def test_rows_of_one_message_are_one_interaction_with_several_targets() -> None:
    (message,) = interactions(HEAD + "1,3,2026-03-02 08:00:00\n1,2,2026-03-02 08:00:00\n")
    assert (message.actor, message.targets, message.line) == ("1", ("2", "3"), 2)
    assert (message.medium, message.scope) == (Medium.EMAIL, Scope.GROUP)
    assert message.time == datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_another_actor_or_time_is_another_message() -> None:
    text = HEAD + "1,2,2026-03-02 08:00:00\n2,1,2026-03-02 08:00:00\n1,2,2026-03-02 08:00:01\n"
    assert [(m.actor, m.time.second) for m in interactions(text)] == [("1", 0), ("2", 0), ("1", 1)]


def test_spellings_of_one_id_are_one_person() -> None:
    (message,) = interactions(HEAD + "A@x,B@x,2026-03-02 08:00:00\na@x,b@X,2026-03-02 08:00:00\n")
    assert (message.actor, message.targets) == ("a@x", ("b@x",))


def test_exact_duplicates_and_self_loops_are_counted() -> None:
    items, counts = read(HEAD + "1,2,2026-03-02 08:00:00\n1,2,2026-03-02 08:00:00\n1,1,2026-03-02 08:00:00\n")
    assert (len(items), counts.rows, counts.duplicates, counts.self_loops) == (1, 3, 1, 1)
    assert isinstance(items[0], RawInteraction)
    assert items[0].targets == ("2",)


def test_a_message_to_oneself_alone_is_still_a_message() -> None:
    (message,) = interactions(HEAD + "1,1,2026-03-02 08:00:00\n")
    assert message.targets == ("1",)


def test_an_unsorted_file_groups_as_a_sorted_one() -> None:
    rows = [f"{a},{b},2026-03-02 08:00:0{s}\n" for s in (1, 0, 1) for a, b in ((1, 2), (1, 3), (2, 3))]
    items, counts = read(HEAD + "".join(rows))
    assert counts.in_memory
    assert [(m.actor, m.targets) for m in items if isinstance(m, RawInteraction)] == [
        ("1", ("2", "3")),
        ("2", ("3",)),
    ] * 2
    assert not read(HEAD + "".join(sorted(rows, key=lambda row: row[-3:])))[1].in_memory


@settings(derandomize=True, deadline=None)
@given(st.permutations([(a, b, s) for a in (1, 2) for b in (1, 2, 3) for s in (0, 1)]))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, int, int]]) -> None:
    text = HEAD + "".join(f"{a},{b},2026-03-02 08:00:0{s}\n" for a, b, s in rows)
    found = {(m.actor, m.targets, m.time.second) for m in interactions(text)}
    assert found == {(a, tuple(t for t in "123" if t != a), s) for a in "12" for s in (0, 1)}


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_a_pipe_must_be_sorted() -> None:
    text = HEAD + "1,2,2026-03-02 08:00:01\n1,2,2026-03-02 08:00:00\n"
    with pytest.raises(InvalidInput, match=r"line 3.*sorted"):
        list(csv_ties.read(Pipe(text.encode()), MAIL, Counts()))


def test_the_medium_may_be_a_column() -> None:
    options = TieOptions(medium="kind", times=TimeOptions(zone="UTC"))
    text = "actor,target,time,kind\n1,2,2026-03-02 08:00:00,Doc\n1,2,2026-03-02 08:00:00,review\n"
    assert [m.medium for m in interactions(text, options)] == [Medium.DOC, Medium.REVIEW]


def test_a_medium_that_is_none_is_reported() -> None:
    options = TieOptions(medium="kind", times=TimeOptions(zone="UTC"))
    assert "'fax' is none of message" in words("actor,target,time,kind\n1,2,2026-03-02 08:00:00,fax\n", options)


def test_a_duration_column_is_read_and_tells_meetings_apart() -> None:
    options = TieOptions(medium="meeting", duration="len", times=TimeOptions(zone="UTC"))
    rows = "1,2,2026-03-02 08:00:00,1800\n1,3,2026-03-02 08:00:00,1800\n1,4,2026-03-02 08:00:00,60\n"
    long, short = interactions("actor,target,time,len\n" + rows, options)
    assert (long.targets, long.duration_s, short.duration_s) == (("2", "3"), 1800, 60)
    assert long.native_id != short.native_id


@pytest.mark.parametrize("cell", ["", "-1", "86401", "nan", "an hour"])
def test_a_duration_that_is_none_is_reported(cell: str) -> None:
    options = TieOptions(medium="meeting", duration="len", times=TimeOptions(zone="UTC"))
    assert "column 'duration'" in words(f"actor,target,time,len\n1,2,2026-03-02 08:00:00,{cell}\n", options)


def test_a_meeting_without_a_duration_is_bad_input_before_anything_is_read() -> None:
    with pytest.raises(InvalidInput, match="--duration"):
        interactions(HEAD, TieOptions(medium="meeting"))


def test_columns_may_be_numbers_of_a_file_without_a_header() -> None:
    options = TieOptions(actor="2", target="3", time="1", medium="email")
    (message,) = interactions("1525215129 492 938\n", options)
    assert (message.actor, message.targets) == ("492", ("938",))


def test_a_header_is_told_from_data_by_its_time() -> None:
    options = TieOptions(actor="1", target="2", time="3", medium="email", times=TimeOptions(zone="UTC"))
    assert len(interactions("a,b,when\n1,2,2026-03-02 08:00:00\n", options)) == 1
    assert len(read("1,2,2026-99-02 08:00:00\n1,2,2026-03-02 08:00:00\n", options)[0]) == 2  # a bad row, not a header


def test_an_empty_file_and_a_header_alone_are_no_interactions() -> None:
    assert read("")[0] == read(HEAD)[0] == []


def test_a_row_that_cannot_become_an_event_is_named_by_its_line_and_column() -> None:
    items, counts = read(HEAD + "1,2,2026-03-02 08:00:00\n1,2,abc\n,2,2026-03-02 08:00:00\n1,,2026-03-02 08:00:00\n")
    found = [(item.line, item.words) for item in items if isinstance(item, Unreadable)]
    assert found == [
        (3, "column 'time': 'abc' is not a time; expected one such as 2026-03-02 08:14:05"),
        (4, "column 'actor' is empty; expected an id"),
        (5, "column 'target' is empty; expected an id"),
    ]
    assert counts.rows == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TieOptions(), "which medium"),
        (TieOptions(medium="fax"), "--medium 'fax'.*one of message, email, meeting, call"),
        (TieOptions(actor="who", medium="email"), "--actor 'who'"),
        (TieOptions(actor="recipient", medium="email"), "three different columns"),
    ],
)
def test_options_that_do_not_fit_the_file_are_bad_input(options: TieOptions, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(HEAD, options)


def test_a_file_without_a_time_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="column is the time"):
        read("from,to\n0,1\n")


def test_a_viva_query_is_refused_as_a_whole() -> None:
    with pytest.raises(InvalidInput, match="Viva"):
        read("PersonId,MetricDate,Meeting_hours\nx,2024-03-31,1\n")


def test_clock_changes_are_counted() -> None:
    options = TieOptions(medium="email", times=TimeOptions(zone="Europe/Warsaw"))
    rows = "1,2,2026-03-29 02:30:00\n1,2,2026-10-25 02:30:00\n1,3,2026-10-25 02:30:00\n"
    _, counts = read(HEAD + rows, options)
    assert (counts.shifted, counts.ambiguous) == (1, 2)


def test_local_times_carry_their_offset() -> None:
    options = TieOptions(medium="email", times=TimeOptions(zone="Europe/Warsaw"))
    (message,) = interactions(HEAD + "1,2,2026-07-01 12:00:00\n", options)
    assert message.tz_offset_min == 120
    assert message.time.utcoffset() == timedelta(0)
