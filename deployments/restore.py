"""`python -m deployments restore DIR`: put a backup back, make the graph again from the archive, and prove that they agree.

Stop the workers first. What had been published by the backup's moment is there afterwards, once: applied, or waiting on the
stream to be applied by the next run. What was under way or had still to be told then is over: nobody hears of it again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from alerts import store as alert_stores
from alerts.dispatch import kind
from deployments import archives, backup, postgres_copy, server, sqlite_copy, trigrams
from deployments.stream_copy import StreamCopy
from pipelines import command, settings, wiring
from pipelines.errors import InvalidInput, PermanentError, Refused
from pipelines.events.redis_client import open_redis
from pipelines.events.stream import RedisLease
from pipelines.graph.store import Neo4jGraph
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.reconcile import rebuild
from pipelines.jobs.writing import writing
from pipelines.postgres import translated
from pipelines.report import drift
from pipelines.report.progress import counting
from pipelines.runs import ErrorKind, Status
from pipelines.settings import Settings

#: Tables that a migration or an empty start fills: rows in them are nobody's work.
FILLED_AT_START = frozenset({"interventions_switch", "audit_head"})

_AT_WORK = (Status.SCHEDULED, Status.RUNNING)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    manifest = archives.read(options.folder)
    backup.tell(manifest)
    if options.check:
        print("every file fits its checksum; nothing was restored")
        return command.GOOD
    config = settings.load()
    command.say(f"restore: {wiring.which(config)}")
    with wiring.endpoints(config) as where:
        report = put_back(config, where, options.folder, manifest, force=options.force, with_keys=options.with_keys)
    drift.show(report)
    return command.FAILED if report.differences else command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments restore",
        description="Put a backup back into empty stores, make the graph again from the archive, then verify."
        " Stop workers, producers and the Prefect server first.",
    )
    parser.add_argument("folder", type=Path, help="what `python -m deployments backup` made")
    parser.add_argument("--check", action="store_true", help="only compare the files with their checksums")
    parser.add_argument("--force", action="store_true", help="replace what the stores hold now; it is lost")
    parser.add_argument("--with-keys", action="store_true", help="the keys of the backup, too")
    return parser


def put_back(
    config: Settings,
    where: wiring.Endpoints,
    folder: Path,
    manifest: archives.Manifest,
    *,
    force: bool = False,
    with_keys: bool = False,
) -> drift.DriftReport:
    """The recount of the graph after the restore. May be run again, with `force`, after it was cut off.

    The stream is emptied first and comes back last: a run in between must not acknowledge what the archive does not have.

    Raises:
        Refused: NOT_EMPTY, OTHER_KEY, PREFECT_RUNNING, WRITER_BUSY, STREAM_IN_USE.
        InvalidInput, TransientError, PermanentError: a file or a store; run it again with `force`.
    """
    prefect = _prefect(config, manifest, where)
    if isinstance(prefect, str):
        _refuse_a_running_server(prefect)
    if not force:
        _refuse_occupied(config, where, prefect)
    _refuse_other_keys(config, manifest, force=force, with_keys=with_keys)
    with backup.copying(where) as copy, _alone(config, where):
        copy.clear()
        postgres_copy.restore(where.postgres, folder / backup.POSTGRES)
    _restore_prefect(config, folder, prefect)
    with wiring.stores(config, where) as stores, backup.copying(where) as copy, counting("rebuilding") as watch:
        report = rebuild(stores, watch).report()
        lay_to_rest(where, manifest.moment, utc_now())
        _restore_stream(folder, manifest, copy)
    _restore_files(config, folder, manifest, with_keys=with_keys)
    return report


# ------------------------------------------------------------------------------------------------ what speaks against it


def _refuse_occupied(config: Settings, where: wiring.Endpoints, prefect: str | Path | None) -> None:
    if found := list(occupied(config, where, prefect)):
        words = f"there is something already in {', '.join(found)}; --force replaces it, and it is lost"
        raise Refused("NOT_EMPTY", words)


def occupied(config: Settings, where: wiring.Endpoints, prefect: str | Path | None) -> Iterator[str]:
    """What would be lost, in words. No schema is brought up to date for that: it may be half of one."""
    if tables := set(postgres_copy.tables_with_rows(where.postgres)) - FILLED_AT_START:
        yield f"PostgreSQL ({', '.join(sorted(tables)[:5])})"
    with backup.copying(where) as copy:
        if not copy.is_empty():
            yield "the stream or its letters"
    if _knows_people(where):
        yield "the graph"
    yield from (str(path) for path in backup.outboxes(config) if sqlite_copy.has_rows(path))
    if isinstance(prefect, str) and "flow_run" in postgres_copy.tables_with_rows(prefect):
        yield "Prefect's database"
    if isinstance(prefect, Path) and sqlite_copy.has_rows(prefect):
        yield str(prefect)


def _knows_people(where: wiring.Endpoints) -> bool:
    graph = Neo4jGraph(where.graph, where.graph_user, where.graph_password, where.graph_database, "restore")
    with closing(graph):
        graph.prepare()
        return any(True for _ in graph.people()) or any(True for _ in graph.ties())


@contextmanager
def _alone(config: Settings, where: wiring.Endpoints) -> Iterator[None]:
    """The writer's lease, without the stores: what the database holds now may be half a schema."""
    with closing(open_redis(where.redis)) as client:
        lease = RedisLease(client, where.redis, wiring.NAMES, timedelta(seconds=config.lease_s))
        with writing(lease, "restore", utc_now()):
            yield


def _refuse_other_keys(config: Settings, manifest: archives.Manifest, *, force: bool, with_keys: bool) -> None:
    """Under another pseudonym key the same people get new pseudonyms; under another audit key the log seems forged."""
    here = {name: archives.fingerprint(key) for name, key in backup.keys(config).items()}
    other = sorted(name for name, seen in manifest.keys.items() if here.get(name, seen) != seen)
    missing = sorted(set(manifest.keys) - set(here))
    replaced = with_keys and all(manifest.part(f"{name}.key") for name in (*other, *missing))
    if other and not (force and replaced):
        raise Refused("OTHER_KEY", f"the key of {', '.join(other)} is not the one of the backup; put that one in place")
    if missing and not replaced:
        command.say(f"warning: the key of {', '.join(missing)} is not here; put it in place before the next run")


# ------------------------------------------------------------------------------------------------ old matters


def lay_to_rest(where: wiring.Endpoints, moment: datetime, now: datetime) -> None:
    """What the copy holds as open: runs that were at work then are dead, and what had still to be told is no news.

    Else the watch would find those runs and page for each, and messages of the copy's day would go out today.

    Raises:
        TransientError, PermanentError: PostgreSQL.
    """
    error = f"interrupted: the stores were restored from the backup of {moment:%Y-%m-%d %H:%M} UTC"
    with wiring.ledger(where) as ledger:
        page = ledger.find(statuses=_AT_WORK)
        while page:
            for run in page:
                ledger.close(run.run_id, Status.CANCELLED, moment, error=error, error_kind=ErrorKind.INTERRUPTED)
            page = ledger.find(statuses=_AT_WORK, before_id=page[-1].id)
    try:
        with closing(alert_stores.postgres(where.postgres)) as alerts:
            alerts.lay_to_rest(now)
    except SQLAlchemyError as error_of_alerts:
        raise PermanentError(f"the incidents of the copy cannot be closed: {kind(error_of_alerts)}") from None


# ------------------------------------------------------------------------------------------------ the pieces


def _restore_stream(folder: Path, manifest: archives.Manifest, copy: StreamCopy) -> None:
    counts = {name: copy.restore_lane(lane, folder / name) for lane, name in backup.LETTERS.items()}
    counts[backup.STREAM] = copy.restore_stream(folder / backup.STREAM)
    for name, count in counts.items():
        part = manifest.part(name)
        expected = part.counts.get("entries", part.counts.get("letters", 0)) if part else 0
        if count != expected:
            raise PermanentError(f"{name}: {count:,} entries were restored, expected {expected:,}; take another backup")


def _restore_files(config: Settings, folder: Path, manifest: archives.Manifest, *, with_keys: bool) -> None:
    state = wiring.state_dir(config)
    for part in manifest.parts:
        ours = part.name.endswith(".sqlite") and part.name not in (backup.PREFECT_FILE, backup.ALERTS)
        if ours or (with_keys and part.name.endswith(".key")):
            sqlite_copy.restore(folder / part.name, state / part.name)


def _prefect(config: Settings, manifest: archives.Manifest, where: wiring.Endpoints) -> str | Path | None:
    """Where Prefect's database goes to; None when none is in the backup, or nobody says where."""
    named = manifest.part(backup.PREFECT) or manifest.part(backup.PREFECT_FILE)
    if named is None:
        return None
    target = backup.prefect_database(os.environ, where.postgres)
    if target is None and config.postgres_url is None and named.name == backup.PREFECT:
        return server.own_database(where.postgres)  # as `deployments serve` keeps it
    if target is None:
        command.say("Prefect's database is left out: PREFECT_SERVER_DATABASE_CONNECTION_URL is not set here")
    elif isinstance(target, str) != (named.name == backup.PREFECT):
        raise InvalidInput("the backup and the server here keep Prefect's database in different systems")
    return target


def _restore_prefect(config: Settings, folder: Path, target: str | Path | None) -> None:
    if isinstance(target, Path):
        sqlite_copy.restore(folder / backup.PREFECT_FILE, target)
    elif target is not None:
        postgres_copy.restore(target, folder / backup.PREFECT, partial(_trigrams, config, target))


def _trigrams(config: Settings, url: str) -> None:
    """The copy asks for an extension that the embedded PostgreSQL does not have."""
    if config.postgres_url is None:
        trigrams.stand_in(url, wiring.state_dir(config) / "prefect-database")


def _refuse_a_running_server(url: str) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        found = connection.execute(others).fetchone()
    if found and found[0]:
        raise Refused("PREFECT_RUNNING", "somebody is connected to Prefect's database; stop the Prefect server first")


if __name__ == "__main__":
    raise SystemExit(command.run(main))
