"""The arithmetic of the audit log, on ten rows: whatever is done to whichever of them, it is the first one named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipelines.interventions import audit
from pipelines.interventions.audit import BadRow, Entry, Head, Row
from tests.support.fakes_proposals import KEY, NOW

ROWS = 10


def entry(number: int, **changes: str) -> Entry:
    values = {"role": "operator", "who": "Eva", "action": "halted", "subject": "", "detail": "{}"} | changes
    return Entry(at=NOW, version=number, **values)


def chain(key: bytes = KEY, rows: int = ROWS) -> list[Row]:
    made: list[Row] = []
    for number in range(1, rows + 1):
        made.append(audit.chained(key, number, made[-1].hash if made else audit.GENESIS, entry(number)))
    return made


def first_bad(rows: list[Row], end: Head | None, key: bytes = KEY) -> int | None:
    problems: list[BadRow] = []
    seen = list(audit.watched(key, rows, problems))
    bad = problems[0] if problems else audit.wrong_end(key, seen[-1] if seen else None, end)
    return bad.seq if bad else None


END = audit.head(KEY, chain()[-1])
Tamper = Callable[[list[Row], int], list[Row]]


def changed(rows: list[Row], at: int) -> list[Row]:
    return [*rows[:at], replace(rows[at], entry=replace(rows[at].entry, who="Bo")), *rows[at + 1 :]]


def removed(rows: list[Row], at: int) -> list[Row]:
    return rows[:at] + rows[at + 1 :]


def removed_and_numbered_anew(rows: list[Row], at: int) -> list[Row]:
    return rows[:at] + [replace(row, seq=row.seq - 1) for row in rows[at + 1 :]]


def cut_off(rows: list[Row], at: int) -> list[Row]:
    return rows[:at]


def swapped(rows: list[Row], at: int) -> list[Row]:
    other = (at + 1) % len(rows)
    one, two = min(at, other), max(at, other)
    made = list(rows)
    made[one], made[two] = replace(rows[two], seq=one + 1), replace(rows[one], seq=two + 1)
    return made


def put_in(rows: list[Row], at: int) -> list[Row]:
    new = replace(rows[at], entry=entry(99))
    return rows[:at] + [new] + [replace(row, seq=row.seq + 1) for row in rows[at:]]


def repeated(rows: list[Row], at: int) -> list[Row]:
    return [*rows[: at + 1], *rows[at:]]


@pytest.mark.parametrize("at", range(ROWS))
@pytest.mark.parametrize("tamper", [changed, removed, removed_and_numbered_anew, cut_off, put_in])
def test_the_row_that_was_touched_is_named(tamper: Tamper, at: int) -> None:
    assert first_bad(tamper(chain(), at), END) == at + 1


@pytest.mark.parametrize("at", range(ROWS))
def test_the_first_of_two_swapped_rows_is_named(at: int) -> None:
    assert first_bad(swapped(chain(), at), END) == (at + 1 if at < ROWS - 1 else 1)


@pytest.mark.parametrize("at", range(ROWS))
def test_a_row_that_stands_twice_is_named(at: int) -> None:
    assert first_bad(repeated(chain(), at), END) == at + 2


@pytest.mark.parametrize("name", list(Entry.__dataclass_fields__))
def test_every_field_is_covered(name: str) -> None:
    rows = chain()
    value = getattr(rows[4].entry, name)
    other = value + "x" if isinstance(value, str) else value.replace(microsecond=1) if name == "at" else value + 1
    assert first_bad([*rows[:4], replace(rows[4], entry=replace(rows[4].entry, **{name: other})), *rows[5:]], END) == 5


def test_an_untouched_log_is_good_and_so_is_a_new_one() -> None:
    assert first_bad(chain(), END) is None
    assert first_bad([], None) is None


def test_text_cannot_slip_from_one_field_into_the_next() -> None:
    one = audit.chained(KEY, 1, "", entry(1, who="a", action="bc"))
    other = audit.chained(KEY, 1, "", entry(1, who="ab", action="c"))
    quoted = audit.chained(KEY, 1, "", entry(1, who='a","b', action="c"))
    assert len({one.hash, other.hash, quoted.hash}) == 3


def test_a_head_that_was_set_back_or_taken_away_is_noticed() -> None:
    rows = chain()
    earlier = Head(5, rows[4].hash, END.mac)
    assert first_bad(rows[:5], earlier) == 5
    assert first_bad(rows, None) == ROWS
    assert first_bad(rows, audit.head(KEY, rows[4])) == 6
    assert first_bad(rows, audit.head(b"another", rows[-1])) == ROWS


def test_an_end_noted_outside_shows_that_all_was_set_back() -> None:
    rows = chain()
    noted = (8, rows[7].hash)
    assert audit.below_anchor(10, rows[7].hash, noted) is None
    assert audit.below_anchor(0, None, (0, "")) is None
    back = audit.below_anchor(5, None, noted)
    other = audit.below_anchor(10, "ff", noted)
    assert back is not None
    assert other is not None
    assert (back.seq, other.seq) == (6, 8)


def test_a_chain_without_a_key_can_be_mended_by_whoever_breaks_it() -> None:
    """The control: with a plain hash a changed row is hidden by hashing the rest anew; with ours that needs the key."""

    def plain(rows: list[Row]) -> list[str]:
        hashes = [""]
        for row in rows:
            hashes.append(hashlib.sha256((hashes[-1] + repr(row.entry)).encode()).hexdigest())
        return hashes[1:]

    forged = changed(chain(), 3)
    stored = plain(forged)  # the forger writes these
    assert plain(forged) == stored, "and a plain chain holds"
    mended: list[Row] = []
    for row in forged:
        mended.append(audit.chained(b"a guess", row.seq, mended[-1].hash if mended else "", row.entry))
    assert first_bad(mended, audit.head(b"a guess", mended[-1])) == 1
