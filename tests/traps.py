"""`python -m tests.traps`: the traps of Prefect that take minutes to show; the others are in tests/flows/test_traps.py.

A host is killed in the middle of a run that holds its deployment's only slot: worker, run and server at once. The server
comes back, the worker does not. With leases on disk the slot is free when its lease has ended (300 s); in memory, which is
the default, it is taken for ever, and every later run is cancelled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from deployments import server
from pipelines.embedded.loopback import free_port
from tests.flows import trying
from tests.flows.conftest import environment
from tests.support.wait import wait_until

STORAGES = ("filesystem", "memory")
#: A lease of a running run, and the loop that looks for those that have ended.
_LEASE_S = 300
_LONGEST_S = 420


@contextmanager
def serving(home: Path, port: int, storage: str) -> Iterator[subprocess.Popen[bytes]]:
    home.mkdir(exist_ok=True)
    env = environment(home) | {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _module(storage)}
    with open(home / "server.log", "ab") as log:
        process = subprocess.Popen(server.command(port=port), env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: server.answers(port), 120, "the Prefect server")
        yield process
    finally:
        trying.end_all(process)


def _module(storage: str) -> str:
    return server.LEASES_ON_DISK.removesuffix("filesystem") + storage


def killed_host(folder: Path, storage: str) -> float | None:
    """Seconds from the server's return until the slot was free; None: it never was."""
    port, home = free_port(), folder / "server"
    with serving(home, port, storage) as first:
        pool = trying.Pool(f"{server.ui_url(port)}/api", "organism", folder)
        pool.post("/work_pools/", name=pool.name, type="process")
        deployment = pool.deploy("host", seconds=3_600, collision="CANCEL_NEW")
        run = pool.start(deployment)
        with pool.worker() as worker:
            pool.until_it_works(run)
            assert pool.slots(deployment) == 1
            trying.end_all(worker)
            trying.end_all(first)
    with serving(home, port, storage):
        return _until_free(pool, deployment)


def _until_free(pool: trying.Pool, deployment: str) -> float | None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < _LONGEST_S:
        try:
            if not pool.slots(deployment):
                return passed
        except httpx.HTTPError:
            pass
        time.sleep(2)
    return None


def main() -> int:
    with TemporaryDirectory() as root, ThreadPoolExecutor() as threads:
        folders = {storage: Path(root) / storage for storage in STORAGES}
        for folder in folders.values():
            folder.mkdir()
        found = dict(zip(STORAGES, threads.map(lambda s: killed_host(folders[s], s), STORAGES), strict=True))
    print(f"load {os.getloadavg()[0]:.1f}; a host killed in the middle of a run, the server back, the worker not")
    for storage, seconds in found.items():
        words = f"free after {seconds:.0f} s" if seconds is not None else f"still taken after {_LONGEST_S} s"
        print(f"  leases in {storage:10}: the slot is {words}")
    good = found["filesystem"] is not None and found["memory"] is None
    print("as it should be" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
