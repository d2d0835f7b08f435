"""Points, findings and normal bands in PostgreSQL (hypertables where TimescaleDB is installed), through psycopg 3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from pipelines.evidence import Finding, Series, SubjectKind
from pipelines.person_weeks import Baseline
from pipelines.postgres import Connection, Pool, transaction
from pipelines.timeseries import columns, records
from pipelines.timeseries.records import Written
from pipelines.timeseries.statements import Q, change, rows

_FETCH = 10_000


class TimescaleMetricsWriter:
    """The results of the full analysis, idempotent by natural key. Keeps no point of who is excluded or erased."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def write(
        self, run: str, series: Iterable[Series], findings: Sequence[Finding] = (), baselines: Sequence[Baseline] = ()
    ) -> Written:
        """Everything in one transaction: all of it is there when this returns, and nothing of it when it raises.

        A point is known by view, version, kind, subject and time, a finding by its id, a band by view, version, kind,
        subject and last week. What is there with the same values stays untouched, the run that wrote it included; the
        run's findings are those of its last write. `series` is read once, some hundred thousand points at a time; two
        minutes without the next one are a time-out.

        Raises:
            PermanentError: a series, finding or band comes twice or cannot be stored. Nobody is named.
        """
        records.check_findings(findings)
        records.check_baselines(baselines)
        with transaction(self._pool) as connection:
            rows(connection, "one_at_a_time")
            _erase_excluded(connection)
            written = self._points(connection, run, series)
            return replace(
                written,
                findings=len(findings),
                findings_changed=_store_findings(connection, run, findings),
                baselines=len(baselines),
                baselines_changed=_store_baselines(connection, run, baselines),
            )

    def _points(self, connection: Connection, run: str, series: Iterable[Series]) -> Written:
        points = changed = empty = excluded = 0
        rows(connection, "create_staging")
        for part in columns.parts(series):
            stored = sum(map(columns.stored, part))
            self._fill(connection, part)
            gone = _leave_out_excluded(connection, part)
            changed += _store_points(connection, run, part)
            points, excluded = points + stored - gone, excluded + gone
            empty += sum(len(column.subjects) for column in part) - stored
        return Written(points, changed, empty, excluded)

    def _fill(self, connection: Connection, part: Sequence[Series]) -> None:
        with connection.cursor() as cursor, cursor.copy(Q["copy_points"]) as copy:
            for number, column in enumerate(part):
                for text in columns.lines(number, column):
                    copy.write(text)

    def read_series(self, view: str, version: int, kind: SubjectKind, since: datetime, until: datetime) -> list[Series]:
        """One series for each time from `since` on and before `until` that has points; by time, subjects sorted."""
        return self._read("series", view, version, kind, since=since, until=until)

    def latest(self, view: str, version: int, kind: SubjectKind) -> Series | None:
        """The newest series of a view; None when there is none."""
        return next(iter(self._read("latest", view, version, kind)), None)

    def read_weekly(self, view: str, version: int, kind: SubjectKind, since: datetime, until: datetime) -> list[Series]:
        """As `read_series`, the mean of each week (from Monday 00:00 UTC, which is its time) with the fewest people.

        Groups only: nothing for persons. On TimescaleDB a week that was complete and is rewritten follows within six
        hours, and stays when its points are retired.
        """
        return self._read("weekly", view, version, kind, since=since, until=until)

    def _read(self, name: str, view: str, version: int, kind: SubjectKind, **times: datetime) -> list[Series]:
        with transaction(self._pool) as connection, connection.cursor(name="points") as cursor:
            cursor.itersize = _FETCH
            cursor.execute(Q[name], {"view": view, "version": version, "kind": kind.value, **times})
            return list(columns.series(view, version, kind, cursor))

    def findings(self, run: str) -> list[Finding]:
        """The run's findings in the order in which they were written."""
        with transaction(self._pool) as connection:
            return [records.decode_finding(body) for (body,) in rows(connection, "findings", run=run)]

    def baselines(self, view: str, version: int, kind: SubjectKind) -> list[Baseline]:
        """The newest band of each subject, by subject."""
        with transaction(self._pool) as connection:
            found = rows(connection, "baselines", view=view, version=version, kind=kind.value)
            return [records.baseline(row) for row in found]

    def retire_points(self, before: datetime) -> int:
        """Drop the months (chunks of a hypertable) that lie wholly before a time. How many; repeatable."""
        with transaction(self._pool) as connection:
            rows(connection, "one_at_a_time")
            return int(rows(connection, "retire_points", before=before)[0][0])

    def erase_excluded(self) -> int:
        """Remove the points of people who were excluded or erased since the last write, which does it too. How many."""
        with transaction(self._pool) as connection:
            rows(connection, "one_at_a_time")
            return _erase_excluded(connection)


def _erase_excluded(connection: Connection) -> int:
    people = [person for (person,) in rows(connection, "take_erasures")]
    if not people:
        return 0
    rows(connection, "no_time_limit")  # it looks at all points of persons
    return change(connection, "erase", people=people)


def _leave_out_excluded(connection: Connection, part: Sequence[Series]) -> int:
    persons = [number for number, column in enumerate(part) if column.kind is SubjectKind.PERSON]
    return change(connection, "leave_out_excluded", persons=persons) if persons else 0


def _store_points(connection: Connection, run: str, part: Sequence[Series]) -> int:
    rows(connection, "ensure_months", months=columns.months(part))
    changed = change(
        connection,
        "store_points",
        run=run,
        numbers=list(range(len(part))),
        views=[column.view for column in part],
        versions=[column.version for column in part],
        kinds=[column.kind.value for column in part],
        times=[columns.at(column.time_ms) for column in part],
    )
    rows(connection, "empty_staging")
    return changed


def _store_findings(connection: Connection, run: str, findings: Sequence[Finding]) -> int:
    changed = change(connection, "store_findings", run=run, records=records.finding_records(findings))
    ids = [finding.id for finding in findings]
    rows(connection, "forget_finding_runs", run=run, ids=ids)
    rows(connection, "store_finding_runs", run=run, ids=ids)
    return changed


def _store_baselines(connection: Connection, run: str, baselines: Sequence[Baseline]) -> int:
    return change(connection, "store_baselines", run=run, records=records.baseline_records(baselines))
