"""The client's side: find the supervisor of a state directory or start one, wait until the servers answer, hold on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipelines.embedded import locks, packages
from pipelines.embedded.errors import EmbeddedError, explained, problem
from pipelines.embedded.place import Place, claim
from pipelines.embedded.record import UP, Record, read, write
from pipelines.embedded.server import Server, Urls

# The supervisor's own limits are shorter and their messages better: these are for a supervisor that hangs.
_ATTACH_LIMIT_SECONDS = 300.0
_STOP_LIMIT_SECONDS = 15.0
_MOST_STARTS = 3  # more than one, because somebody may end the supervisor that we have just started
_POLL_SECONDS = 0.01
_GRAPH_USER = "root"  # ArcadeDB knows no other to begin with


@contextmanager
def running(state_dir: Path, wanted: frozenset[Server]) -> Iterator[Urls]:
    """The wanted servers of `state_dir`, answering, started if nobody did yet; they run as long as anybody holds them.

    Returns when the caller was the last one only after the servers have ended. Raises EmbeddedError.
    """
    packages.require(wanted)
    place = claim(state_dir, wanted)
    with ExitStack() as stack:
        with explained(place.root):  # and not around the caller's block, whose errors are its own
            stack.enter_context(_held(place, wanted))
            urls = _urls(place, _attach(place, wanted), wanted)
        yield urls


def pids(state_dir: Path) -> dict[Server, int]:
    """The process ids of the servers of `state_dir` that answer now; empty when there are none. For tests and tools."""
    place = Place(state_dir.absolute())
    if not place.lock("supervisor").exists():
        return {}
    with _probing(place):
        if not locks.is_held(place.lock("supervisor"), by_one_alone=True):
            return {}
    return {server: pid for server in Server if (pid := read(place.record).pids.get(server.value))}


def abandoned(state_dir: Path) -> bool:
    """Whether somebody holds servers of `state_dir` and nobody looks after them any more: the supervisor was killed.

    `running` starts them again, for all who hold them. Raises EmbeddedError.
    """
    place = Place(state_dir.absolute())
    if not place.lock("clients").exists():
        return False
    with explained(place.root), _probing(place):
        return locks.is_held(place.lock("clients")) and not locks.is_held(place.lock("supervisor"), by_one_alone=True)


@contextmanager
def _held(place: Place, wanted: frozenset[Server]) -> Iterator[None]:
    """Tells the supervisor that we are here and what we want, while this process lives and the block lasts."""
    names = ["clients", *(f"want-{server.value}" for server in wanted)]
    descriptors = [locks.open_lock(place.lock(name)) for name in names]
    try:
        for descriptor in descriptors:
            if not locks.take_within(descriptor, _ATTACH_LIMIT_SECONDS, shared=True):
                raise _hangs(place, "the supervisor that is stopping does not end")
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(OSError):  # the directory may be gone by now
            _wait_if_that_was_the_last(place)


def _attach(place: Place, wanted: frozenset[Server]) -> Record:
    deadline = time.monotonic() + _ATTACH_LIMIT_SECONDS
    starts = 0
    while time.monotonic() < deadline:
        starts += _start_if_there_is_none(place, may_start=starts < _MOST_STARTS)
        record = read(place.record)
        if record.state == UP and _is_complete(record, wanted):
            return record
        time.sleep(_POLL_SECONDS)
    raise _hangs(place, "the supervisor did not bring up the servers")


def _is_complete(record: Record, wanted: frozenset[Server]) -> bool:
    for server in wanted:
        if server.value in record.problems:
            raise EmbeddedError(record.problems[server.value])
    return all(server.value in record.pids for server in wanted)


@contextmanager
def _probing(place: Place) -> Iterator[None]:
    """Looking at a lock means taking it for an instant, so clients look one after another."""
    descriptor = locks.open_lock(place.lock("start"))
    try:
        if not locks.take_within(descriptor, _ATTACH_LIMIT_SECONDS, shared=False):
            raise _hangs(place, "another client holds the start lock")
        yield
    finally:
        os.close(descriptor)


def _start_if_there_is_none(place: Place, *, may_start: bool) -> bool:
    """The lock is taken here and inherited by the supervisor: there is no moment in which two could think it free."""
    with _probing(place):
        lock = locks.open_lock(place.lock("supervisor"))
        try:
            if not locks.take(lock, shared=False):
                return False
            if not may_start:
                raise _hangs(place, "the supervisor ended before the servers were up")
            write(place.record, read(place.record).fresh())
            _start(place, lock)
            return True
        finally:
            os.close(lock)


def _start(place: Place, lock: int) -> None:
    """Returns when the first process has ended: the supervisor is its child, and so not ours to wait for."""
    place.turn_logs()
    ours = str(Path(__file__).parents[2])
    others = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    descriptor = os.open(place.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab") as log:
        subprocess.run(
            [sys.executable, "-m", "pipelines.embedded.supervisor", str(place.root), "--lock", str(lock)],
            cwd="/",
            env=os.environ | {"PYTHONPATH": os.pathsep.join([ours, *others])},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            check=False,  # the next look at the lock tells
        )


def _wait_if_that_was_the_last(place: Place) -> None:
    deadline = time.monotonic() + _STOP_LIMIT_SECONDS
    while time.monotonic() < deadline:
        with _probing(place):
            if not locks.is_held(place.lock("supervisor"), by_one_alone=True):
                return
            clients = place.lock("clients")
            if locks.is_held(clients) and not locks.is_held(clients, by_one_alone=True):
                return  # somebody shares it: another client; alone holds it only a supervisor that stops
        time.sleep(_POLL_SECONDS)


def _hangs(place: Place, seen: str) -> EmbeddedError:
    to_do = f"read {place.log('supervisor')}, end the processes that use {place.root}, start again"
    return problem(seen, "servers that answer", to_do, place.log_tail("supervisor"))


def _urls(place: Place, record: Record, wanted: frozenset[Server]) -> Urls:
    password, ports = place.password.read_text().strip(), record.ports
    has_graph = Server.GRAPH in wanted
    return Urls(
        redis=f"redis://:{password}@127.0.0.1:{ports['redis']}/0" if Server.REDIS in wanted else None,
        graph=f"bolt://127.0.0.1:{ports['graph']}" if has_graph else None,
        graph_user=_GRAPH_USER if has_graph else None,
        graph_password=password if has_graph else None,
        postgres=f"postgresql://organism:{password}@127.0.0.1:{ports['postgres']}/organism"
        if Server.POSTGRES in wanted
        else None,
    )
