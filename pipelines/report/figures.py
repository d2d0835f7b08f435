"""Numbers, times and durations as people read them."""

from __future__ import annotations

from datetime import UTC, date, datetime


def amount(value: float) -> str:
    """Three digits that count: 0.123, 1.23, 12.3, 123, 1,234."""
    if value == 0:
        return "0"
    if value < 0.01:
        return "< 0.01"
    places = 3 if value < 0.1 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{places}f}"


def short(value: float) -> str:
    """At most four characters: 0.1, 12, 345, 1.2k, 34k, 1.2M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.1f}{sign}" if value < 9.95 * size else f"{value / size:.0f}{sign}"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def share(part: float, whole: float) -> str:
    """A percentage that is 0 % or 100 % only if it is so."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if part < whole and percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def duration(seconds: float) -> str:
    """0.3 s, 42 s, 3 min, 5.2 h, 2.1 days."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def minute(time: datetime) -> str:
    time = time.astimezone(UTC)
    return f"{day(time)}, {time:%H:%M} UTC"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 team`, `2 teams`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
