"""`python -m deployments backup DIR`: a copy of everything that cannot be made again, while the pipelines run.

In it: PostgreSQL, the stream with what is not applied yet, dead and late letters, the outbox of this machine, Prefect's
database; the keys only when asked. Not in it: the graph, which a restore makes again from the archive, and the cache.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import psycopg

from alerts.fallback import Fallback
from deployments import archives, postgres_copy, server, sqlite_copy
from deployments.stream_copy import Moment, StreamCopy
from pipelines import command, settings, wiring
from pipelines.events.redis_client import open_redis
from pipelines.model import Lane
from pipelines.postgres import translated
from pipelines.settings import Settings

POSTGRES, STREAM, PREFECT, PREFECT_FILE = "postgres.dump", "stream.jsonl.gz", "prefect.dump", "prefect.sqlite"
LETTERS = {Lane.DEAD: "dead-letters.jsonl.gz", Lane.LATE: "late-letters.jsonl.gz"}
ALERTS = Fallback(Path()).path.name
KEYS = ("pseudonym", "audit")
_URL_OF_PREFECT = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    command.say(f"backup: {wiring.which(config)}")
    with wiring.endpoints(config) as where, archives.new(options.folder) as writer:
        manifest = take(config, where, writer, with_keys=options.with_keys, with_prefect=not options.no_prefect)
    tell(manifest)
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments backup",
        description="Copy what cannot be made again into a new folder, while everything runs. The graph is not copied:"
        " a restore makes it again from the archive.",
    )
    parser.add_argument("folder", type=Path, help="a folder that is empty or does not exist yet")
    parser.add_argument(
        "--with-keys", action="store_true", help="the secrets of pseudonyms and audit log, too: keep them apart"
    )
    parser.add_argument("--no-prefect", action="store_true", help="without the database of the Prefect server")
    return parser


def take(
    config: Settings,
    where: wiring.Endpoints,
    writer: archives.Writer,
    *,
    with_keys: bool = False,
    with_prefect: bool = True,
) -> archives.Manifest:
    """Fill a new backup. The order is what makes it whole:

    outbox, then stream, then archive, which is the way that an event goes: it is copied in one of them at least, and
    where it is in two, the ledger counts it once.

    Raises:
        TransientError, PermanentError: a store could not be copied; the folder then has no manifest.
    """
    _outboxes(config, writer)
    with copying(where) as copy:
        moment = copy.moment()
        for lane, name in LETTERS.items():
            writer.add(name, f"letters of the lane {lane}", partial(copy.write_lane, moment, lane))
        writer.add(STREAM, "the stream, its groups and what is pending", partial(copy.write_stream, moment))
        versions = _versions() | {"redis": copy.version(), "postgres": postgres_copy.server_version(where.postgres)}
    versions |= {"pg_dump": _postgres(writer, POSTGRES, "our PostgreSQL: archive, series, proposals", where.postgres)}
    if with_prefect:
        _prefect(writer, prefect_database(os.environ, where.postgres))
    if with_keys:
        _keys(config, writer)
    return _closed(writer, moment, versions, config)


@contextmanager
def copying(where: wiring.Endpoints) -> Iterator[StreamCopy]:
    client = open_redis(where.redis)
    try:
        yield StreamCopy(client, where.redis, wiring.NAMES)
    finally:
        client.close()


def outboxes(config: Settings) -> list[Path]:
    """The SQLite files of the state directory: what waits there for a server that was away. Not the copy of open incidents:

    it is about this moment and this machine, and with PostgreSQL in the backup it says nothing more.
    """
    return sorted(path for path in wiring.state_dir(config).glob("*.sqlite") if path.name != ALERTS)


def keys(config: Settings) -> Mapping[str, bytes]:
    """The secrets that are in use, by name; none is made here."""
    given = {"pseudonym": config.pseudonym_key, "audit": config.audit_key}
    found = {name: secret.get_secret_value().encode() for name, secret in given.items() if secret}
    paths = {name: key_path(config, name) for name in KEYS if name not in found}
    return found | {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def key_path(config: Settings, name: str) -> Path:
    return wiring.state_dir(config) / f"{name}.key"


def prefect_database(around: Mapping[str, str], ours: str) -> str | Path | None:
    """Where the Prefect server keeps its data: a postgresql:// URL, a SQLite file, or None when it cannot be known.

    `deployments serve` keeps it in a database of its own on our PostgreSQL.
    """
    url = around.get(_URL_OF_PREFECT, "")
    if url.startswith("postgres"):
        return postgres_copy.plain(url)
    if url.startswith("sqlite"):
        return Path(url.split(":///", 1)[1].split("?")[0])
    if _has_database(ours, server.DATABASE):
        return urlsplit(ours)._replace(path=f"/{server.DATABASE}").geturl()
    file = Path(around.get("PREFECT_HOME", "")) / "prefect.db"
    return file if around.get("PREFECT_HOME") and file.is_file() else None


def tell(manifest: archives.Manifest) -> None:
    """What is in a backup, one line a file."""
    print(f"backup of {manifest.moment:%Y-%m-%d %H:%M:%S} UTC")
    for part in manifest.parts:
        counts = ", ".join(f"{count:,} {name}" for name, count in part.counts.items() if count)
        print(f"  {part.name:<24} {part.bytes:>12,} bytes  {part.what}{f': {counts}' if counts else ''}")


# ------------------------------------------------------------------------------------------------ the pieces


def _outboxes(config: Settings, writer: archives.Writer) -> None:
    for path in outboxes(config):
        writer.add(path.name, "waits on this machine for a server", partial(sqlite_copy.dump, path))


def _postgres(writer: archives.Writer, name: str, what: str, url: str) -> str:
    said: list[str] = []

    def write(file: BinaryIO) -> dict[str, int]:
        said.append(postgres_copy.dump(url, file))
        return {}

    writer.add(name, what, write)
    return said[0]


def _prefect(writer: archives.Writer, where: str | Path | None) -> None:
    if isinstance(where, str):
        _postgres(writer, PREFECT, "Prefect's database", where)
    elif where is not None:
        writer.add(PREFECT_FILE, "Prefect's database", partial(sqlite_copy.dump, where))
    else:
        command.say(
            f"Prefect's database is not in it: set {_URL_OF_PREFECT} here as its server has it, or --no-prefect"
        )


def _keys(config: Settings, writer: archives.Writer) -> None:
    for name, key in keys(config).items():
        writer.add(f"{name}.key", f"the secret of {name}: KEEP APART", _bytes(key))
    command.say("warning: with these keys and the data together, pseudonyms lead back to people; keep the two apart")


def _bytes(key: bytes) -> archives.Writing:
    def write(file: BinaryIO) -> dict[str, int]:
        file.write(key)
        return {}

    return write


def _closed(
    writer: archives.Writer, moment: Moment, versions: Mapping[str, str], config: Settings
) -> archives.Manifest:
    prints = {name: archives.fingerprint(key) for name, key in keys(config).items()}
    return writer.close(moment.at, versions, prints)


def _versions() -> dict[str, str]:
    names = {"causal-organism": "causal-organism", "prefect": "prefect"}
    return {name: metadata.version(package) for name, package in names.items()} | {"python": platform.python_version()}


def _has_database(url: str, name: str) -> bool:
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone())


if __name__ == "__main__":
    raise SystemExit(command.run(main))
