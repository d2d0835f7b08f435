"""The time series and step results in memory, with the semantics of the real ones (tests/contract/test_timeseries.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from pipelines.evidence import Finding, Series, SubjectKind
from pipelines.person_weeks import Baseline
from pipelines.timeseries import columns, records
from pipelines.timeseries.records import Written
from pipelines.timeseries.step_results import StepResult

K = TypeVar("K")
V = TypeVar("V", bound=tuple[Any, ...])
Key = tuple[str, int, SubjectKind, int, str]  # view, version, kind, time in ms, subject
_WEEK_MS = 7 * 86_400_000
_A_MONDAY_MS = 4 * 86_400_000  # 1970-01-05


@dataclass
class Kept:
    points: dict[Key, tuple[float, int, str]] = field(default_factory=dict)  # value, people, run
    findings: dict[str, tuple[Finding, str]] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    baselines: dict[tuple[str, int, SubjectKind, str, date], tuple[Baseline, str]] = field(default_factory=dict)

    def copied(self) -> Kept:
        return Kept(dict(self.points), dict(self.findings), dict(self.runs), dict(self.baselines))


class FakeTimeSeries:
    """`TimescaleMetricsWriter`. excluded: people of whom nothing is stored."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.excluded: set[str] = set()
        self._lock = threading.Lock()

    def write(
        self, run: str, series: Iterable[Series], findings: Sequence[Finding] = (), baselines: Sequence[Baseline] = ()
    ) -> Written:
        records.check_findings(findings)
        records.check_baselines(baselines)
        with self._lock:
            self.erase_excluded()
            new = self.kept.copied()
            written = self._write(new, run, series, findings, baselines)
            self.kept = new
        return written

    def _write(
        self,
        new: Kept,
        run: str,
        series: Iterable[Series],
        findings: Sequence[Finding],
        baselines: Sequence[Baseline],
    ) -> Written:
        points, empty, excluded = self._points(series)
        changed = _put(new.points, {key: (*value, run) for key, value in points.items()}, 2)
        found = {f.id: (records.decode_finding(records.encode_finding(f)), run) for f in findings}
        new.runs[run] = list(found)
        return Written(
            len(points),
            changed,
            empty,
            excluded,
            len(found),
            _put(new.findings, found, 1),
            len(baselines),
            _put(new.baselines, {records.baseline_key(band): (band, run) for band in baselines}, 1),
        )

    def _points(self, series: Iterable[Series]) -> tuple[dict[Key, tuple[float, int]], int, int]:
        points: dict[Key, tuple[float, int]] = {}
        empty = excluded = 0
        for column in (c for part in columns.parts(series) for c in part):
            for subject, value, people in zip(column.subjects, column.values, column.sizes, strict=True):
                if np.isnan(value):
                    empty += 1
                elif column.kind is SubjectKind.PERSON and subject in self.excluded:
                    excluded += 1
                else:
                    key = (column.view, column.version, column.kind, column.time_ms, subject)
                    points[key] = (float(value), int(people))
        return points, empty, excluded

    def read_series(self, view: str, version: int, kind: SubjectKind, since: datetime, until: datetime) -> list[Series]:
        rows = [row for row in self._rows(view, version, kind) if since <= row[0] < until]
        return list(columns.series(view, version, kind, rows))

    def latest(self, view: str, version: int, kind: SubjectKind) -> Series | None:
        found = list(columns.series(view, version, kind, self._rows(view, version, kind)))
        return found[-1] if found else None

    def read_weekly(self, view: str, version: int, kind: SubjectKind, since: datetime, until: datetime) -> list[Series]:
        weeks: dict[tuple[datetime, str], list[tuple[float, int]]] = {}
        if kind is not SubjectKind.PERSON:
            for time, subject, value, people in self._rows(view, version, kind):
                weeks.setdefault((_monday(time), subject), []).append((value, people))
        rows = [
            (week, subject, float(np.mean([v for v, _ in found])), min(n for _, n in found))
            for (week, subject), found in sorted(weeks.items())
        ]
        return list(columns.series(view, version, kind, [row for row in rows if since <= row[0] < until]))

    def _rows(self, view: str, version: int, kind: SubjectKind) -> list[columns.Row]:
        """In order of time and subject."""
        return [
            (columns.at(key[3]), key[4], value, people)
            for key, (value, people, _) in sorted(self.kept.points.items())
            if key[:3] == (view, version, kind)
        ]

    def findings(self, run: str) -> list[Finding]:
        return [self.kept.findings[id_][0] for id_ in self.kept.runs.get(run, [])]

    def baselines(self, view: str, version: int, kind: SubjectKind) -> list[Baseline]:
        bands = sorted((b for b, _ in self.kept.baselines.values()), key=lambda b: (b.subject, b.to_week))
        newest = {b.subject: b for b in bands if (b.view, b.version, b.kind) == (view, version, kind)}
        return list(newest.values())

    def retire_points(self, before: datetime) -> int:
        old = {key for key in self.kept.points if _next_month(key[3]) <= before}
        months = {_next_month(key[3]) for key in old}
        self.kept.points = {key: value for key, value in self.kept.points.items() if key not in old}
        return len(months)

    def erase_excluded(self) -> int:
        theirs = [key for key in self.kept.points if key[2] is SubjectKind.PERSON and key[4] in self.excluded]
        for key in theirs:
            del self.kept.points[key]
        return len(theirs)


class FakeStepResults:
    """`StepResults`."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], StepResult] = {}

    def put(self, run: str, step: str, counts: Mapping[str, int | float], payload: bytes, now: datetime) -> None:
        self.kept[run, step] = StepResult(run, step, now, dict(counts), payload)

    def get(self, run: str, step: str) -> StepResult | None:
        return self.kept.get((run, step))

    def steps(self, run: str) -> list[str]:
        return [r.step for r in sorted(self.kept.values(), key=lambda r: (r.done_at, r.step)) if r.run == run]

    def latest_run(self) -> str | None:
        newest = max(self.kept.values(), key=lambda r: (r.done_at, r.run), default=None)
        return newest.run if newest else None

    def forget(self, before: datetime) -> int:
        recent = {r.run for r in self.kept.values() if r.done_at >= before}
        old = [key for key in self.kept if key[0] not in recent]
        for key in old:
            del self.kept[key]
        return len(old)


def _put(kept: dict[K, V], new: Mapping[K, V], compared: int) -> int:
    """Put what is new or differs in its first `compared` fields; how many."""
    changed = {key: value for key, value in new.items() if key not in kept or kept[key][:compared] != value[:compared]}
    kept.update(changed)
    return len(changed)


def _monday(time: datetime) -> datetime:
    ms = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return columns.at((ms - _A_MONDAY_MS) // _WEEK_MS * _WEEK_MS + _A_MONDAY_MS)


def _next_month(time_ms: int) -> datetime:
    first = columns.at(time_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
