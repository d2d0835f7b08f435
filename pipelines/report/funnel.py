"""The story of an incremental run: what became of what was read. One content for terminal, JSON and picture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.model import Funnel, RunReport
from pipelines.report import figures

_BAR, _MOST_CODES = 24, 3
_BLOCKS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Fate:
    """One of the five ends of an entry."""

    words: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """What must not be overlooked: a word, what was seen, what to do."""

    word: str
    seen: str
    do: str


def fates(funnel: Funnel) -> tuple[Fate, ...]:
    """Every entry that was read is in exactly one of these."""
    return (
        Fate("applied", funnel.applied, "counted in the graph, once"),
        Fate("duplicates", funnel.duplicates, "came before; changed nothing"),
        Fate("dead letters", funnel.dead_letters, "cannot be read; kept aside with the reason"),
        Fate("late", funnel.late, "older than the horizon; a person decides"),
        Fate("ignored", funnel.ignored, "of people on the exclusion list, or withdrawn"),
    )


def unaccounted(funnel: Funnel) -> int:
    """Entries that were read and have no fate. Anything but 0 is a defect of ours."""
    return funnel.read - funnel.accounted


def alarms(report: RunReport) -> list[Alarm]:
    found = []
    if missing := unaccounted(report.funnel):
        found.append(
            Alarm("SUM", f"entries and their fates differ by {missing:+,}, a defect", "python -m pipelines.verify")
        )
    if report.lost:
        were = "1 entry was" if report.lost == 1 else f"{report.lost:,} entries were"
        found.append(Alarm("LOST", f"{were} removed from the stream unread; send again", "python -m pipelines.publish"))
    if report.reset:
        found.append(Alarm("RESET", "the stream went back: flushed, or restored", "python -m pipelines.verify"))
    if report.funnel.vanished:
        gone = figures.counted(report.funnel.vanished, "entry", "entries")
        found.append(Alarm("GONE", f"{gone} vanished while pending; send again", "python -m pipelines.publish"))
    return found


def as_dict(report: RunReport) -> dict[str, object]:
    """For JSON. Counts are entries, times seconds; `eta_seconds` is None when nothing was read."""
    funnel = report.funnel
    return {
        "started": report.started.astimezone(UTC).isoformat(),
        "seconds": report.seconds,
        "read": funnel.read,
        **{fate.words.replace(" ", "_"): fate.count for fate in fates(funnel)},
        "unaccounted": unaccounted(funnel),
        "codes": dict(sorted(funnel.codes.items())),
        "vanished": funnel.vanished,
        "unknown_fields": funnel.unknown_fields,
        "batches": funnel.batches,
        "rate": report.rate,
        "backlog": report.backlog,
        "eta_seconds": report.eta_seconds,
        "drained": report.drained,
        "trimmed": report.trimmed,
        "lost": report.lost,
        "reset": report.reset,
        "alarms": [{"word": alarm.word, "seen": alarm.seen, "do": alarm.do} for alarm in alarms(report)],
    }


def numbers(report: RunReport) -> dict[str, float]:
    """What the run ledger keeps and the alert rules read: counts of entries, flags as 0 and 1."""
    named = ("read", "applied", "duplicates", "dead_letters", "late", "ignored", "vanished", "batches")
    counts = {name: getattr(report.funnel, name) for name in named}
    flags = {"reset": int(report.reset), "drained": int(report.drained), "unaccounted": unaccounted(report.funnel)}
    return {**counts, **flags, "backlog": report.backlog, "lost": report.lost, "trimmed": report.trimmed}


def in_short(report: RunReport) -> str:
    """`5,208 applied, 3 dead letters`; `nothing new`."""
    told = [f"{fate.count:,} {fate.words}" for fate in fates(report.funnel) if fate.count]
    left = [f"backlog {report.backlog:,}"] if report.backlog else []
    return ", ".join(told + left) or "nothing new"


def rows(report: RunReport) -> list[dict[str, object]]:
    """The funnel as a table: a row for what was read and one for each fate."""
    told: list[tuple[str, int | None, str]] = [("read", report.funnel.read, "from the stream")]
    told += [(fate.words, fate.count, fate.meaning) for fate in fates(report.funnel)]
    told += [(alarm.word, None, f"{alarm.seen}: {alarm.do}") for alarm in alarms(report)]
    return [{"entries": words, "count": count, "meaning": meaning} for words, count, meaning in told]


def state(report: RunReport) -> str:
    """Backlog, rate and when it will be done, in a line."""
    pace = f"{report.rate:,.0f} entries/s"
    if not report.backlog:
        return f"backlog 0 · {pace}"
    eta = figures.duration(report.eta_seconds) if report.eta_seconds is not None else "not known"
    return f"backlog {report.backlog:,} · {pace} · done in {eta}"


def codes(funnel: Funnel, most: int = _MOST_CODES) -> str:
    """The most frequent reasons for not applying: `BAD_JSON 30, TOO_LATE 2, and 1 more`."""
    ranked = sorted(funnel.codes.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{code} {count:,}" for code, count in ranked[:most]]
    return ", ".join([*words, f"and {len(ranked) - most} more"] if len(ranked) > most else words)


# ------------------------------------------------------------------------------------------------ terminal


def show(report: RunReport, console: Console | None = None) -> None:
    """Print it, on standard output if nothing else is said."""
    (console or Console()).print(terminal(report))


def terminal(report: RunReport) -> RenderableType:
    """At most 20 lines of 80 columns for a rich console."""
    funnel = report.funnel
    title = f"incremental run · {figures.minute(report.started)} · {figures.duration(report.seconds)}"
    lines: list[RenderableType] = [Text(title, style="bold"), _table(funnel), _check(funnel)]
    if funnel.codes:
        lines.append(_line("codes", codes(funnel), "yellow"))
    if funnel.dead_letters or funnel.late:
        lane = "" if funnel.dead_letters else " --late"
        lines.append(_line("", f"python -m pipelines.dlq list{lane}", "dim"))
    lines.append(_line("then", state(report), ""))
    for alarm in alarms(report):
        lines += [_line(alarm.word, alarm.seen, "bold red"), _line("", alarm.do, "red")]
    return Group(*lines)


def _table(funnel: Funnel) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    table.add_row("read", f"{funnel.read:,}", "", "", style="bold")
    for sign, fate in zip("=++++", fates(funnel), strict=True):
        part = figures.share(fate.count, funnel.read)
        table.add_row(f"{sign} {fate.words}", f"{fate.count:,}", part, _bar(fate.count, funnel.read))
    return table


def _bar(count: int, whole: int) -> str:
    """A bar in eighths of a character; what is not nothing is seen."""
    eighths = max(round(8 * _BAR * count / whole), 1) if count and whole else 0
    full, part = divmod(min(eighths, 8 * _BAR), 8)
    return _BLOCKS[8] * full + (_BLOCKS[part] if part else "")


def _check(funnel: Funnel) -> Text:
    parts = f"{' + '.join(f'{fate.count:,}' for fate in fates(funnel))} = {funnel.accounted:,}"
    if missing := unaccounted(funnel):
        return _line("sum", f"{parts}, not {funnel.read:,}: {missing:+,}", "bold red")
    return _line("sum", f"{parts} = read ✓", "green")


def _line(word: str, words: str, style: str) -> Text:
    return Text(f"{word:<9}{words}", style=style, no_wrap=True, overflow="ellipsis")
