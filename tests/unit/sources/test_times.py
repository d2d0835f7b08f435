from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.errors import InvalidInput
from pipelines.sources.times import TimeFormat, TimeOptions, TimeReader


def reader(zone: str | None = None, form: TimeFormat | None = None, origin: str | None = None) -> TimeReader:
    return TimeReader(TimeOptions(zone, form, origin))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02 08:14:05", "2026-03-02T07:14:05+00:00"),
        ("2026-03-02T08:14:05.25", "2026-03-02T07:14:05.250000+00:00"),
        ("2026-03-02 08:14", "2026-03-02T07:14:00+00:00"),
        ("2026-03-02", "2026-03-01T23:00:00+00:00"),
        ("2026-03-02 08:14:05Z", "2026-03-02T08:14:05+00:00"),
        ("2026-03-02 08:14:05 +0530", "2026-03-02T02:44:05+00:00"),
        ("2026-03-02T08:14:05.0000000", "2026-03-02T07:14:05+00:00"),
    ],
)
def test_iso_like_times_are_instants(text: str, expected: str) -> None:
    assert reader("Europe/Warsaw").read(text).at.isoformat() == expected


def test_numbers_are_told_by_their_size() -> None:
    assert (
        reader().read("1525215129").at
        == reader().read("1525215129000").at
        == datetime(2018, 5, 1, 22, 52, 9, tzinfo=UTC)
    )


def test_a_small_number_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="--origin"):
        reader().read("28820")


def test_seconds_since_an_origin_count_from_its_local_midnight() -> None:
    moment = reader("Europe/Paris", origin="2013-06-24").read("28820")
    assert moment.at == datetime(2013, 6, 24, 6, 0, 20, tzinfo=UTC)
    assert moment.tz_offset_min == 120


def test_one_column_has_one_format() -> None:
    times = reader("UTC")
    times.read("2026-03-02 08:14:05")
    with pytest.raises(ValueError, match="not a time"):
        times.read("1525215129")


def test_a_cell_that_is_no_time_does_not_decide_the_format() -> None:
    times = reader()
    with pytest.raises(ValueError):
        times.read("abc")
    assert times.read("1525215129").at.year == 2018


def test_a_local_time_without_a_zone_is_refused_with_the_option_to_give() -> None:
    with pytest.raises(ValueError, match="--zone"):
        reader().read("2026-03-02 08:14:05")


def test_a_time_that_came_twice_means_the_first() -> None:
    moment = reader("Europe/Warsaw").read("2026-10-25 02:30:00")
    assert moment.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert (moment.ambiguous, moment.shifted, moment.tz_offset_min) == (True, False, 120)


def test_a_time_that_never_was_is_moved_forward_by_the_gap() -> None:
    moment = reader("Europe/Warsaw").read("2026-03-29 02:30:00")
    assert moment.at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 local
    assert (moment.ambiguous, moment.shifted) == (False, True)


def test_an_ordinary_time_knows_its_offset() -> None:
    assert reader("Europe/Warsaw").read("2026-07-01 12:00:00").tz_offset_min == 120
    assert reader("Europe/Warsaw").read("2026-07-01 12:00:00+05:00").tz_offset_min is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "2026-13-01 00:00:00",
        "2026-02-30",
        "02/03/2026 08:14",
        "2026-03-02 25:00",
        "nan",
        "1e9",
        "\u0661\u0662",
        "9" * 17,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        reader("UTC").read(text)


def test_an_address_in_the_wrong_column_is_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        reader("UTC").read("anna@corp.example")
    assert "anna" not in str(caught.value)


def test_a_wrong_zone_or_origin_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="IANA"):
        reader("Warsaw")
    with pytest.raises(InvalidInput, match="origin"):
        reader("UTC", origin="Monday")
