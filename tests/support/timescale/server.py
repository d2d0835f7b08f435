"""TimescaleDB in Node for tests: fetched once by npm into the cache directory, a process of its own on loopback.

It is a check of our DDL and queries and no more: one client at a time, no COPY, no background jobs, 32 bits.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from pipelines.embedded import loopback

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json", "server.mjs")
_NODE = 20
_FETCH_LIMIT_SECONDS = 300
_LOG_TAIL_CHARACTERS = 2_000


class NotFetched(Exception):
    """npm could not bring the package; what it said."""


@cache
def why_not() -> str | None:
    """None if this machine can run it, else the reason as a sentence."""
    node = shutil.which("node")
    if node is None:
        return "There is no node on the PATH to run TimescaleDB in."
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", said)
    if found is None or int(found[1]) < _NODE:
        return f"{node} is {said.strip() or 'unknown'}; Node {_NODE} or newer is needed."
    if not _folder().exists() and shutil.which("npm") is None:
        return "There is no npm on the PATH to fetch TimescaleDB with."
    return None


def _folder() -> Path:
    """Named for its contents: other versions or another script lie beside it."""
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _FILES)).hexdigest()[:12]
    cache_dir = os.environ.get("ORGANISM_CACHE_DIR")
    return (Path(cache_dir) if cache_dir else Path.home() / ".cache" / "causal-organism") / f"timescale-{digest}"


def installed() -> Path:
    """The folder with the script and its packages, fetched once (24 MB). Complete or not there at all.

    Raises:
        NotFetched: npm failed.
    """
    target = _folder().absolute()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="timescale-fetching-") as unfinished:
            fetched = Path(unfinished) / "package"
            _fetch(fetched)
            _put(fetched, target)
    return target


def _fetch(into: Path) -> None:
    into.mkdir()
    for name in _FILES:
        shutil.copy(_HERE / name, into)
    # The socket server asks for another build of pglite as its peer; with this one it works.
    command = ["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]
    limit = _FETCH_LIMIT_SECONDS
    try:
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise NotFetched(f"npm ci brought nothing within {limit} s") from None
    if done.returncode:
        raise NotFetched(f"npm ci failed (exit code {done.returncode}): {done.stderr[-_LOG_TAIL_CHARACTERS:]}")


def _put(fetched: Path, target: Path) -> None:
    try:
        fetched.rename(target)
    except OSError:
        if not target.exists():  # else another process was faster, with the same packages
            raise


def skip_if_not() -> None:
    """Skips the test with the reason where it cannot run; REQUIRE_TIMESCALE=1 makes it a failure."""
    why = why_not()
    try:
        if why is None:
            installed()
    except NotFetched as error:
        why = str(error)
    if why and os.environ.get("REQUIRE_TIMESCALE") == "1":
        pytest.fail(f"REQUIRE_TIMESCALE is set, but {why}")
    if why:
        pytest.skip(why)


@contextmanager
def timescale_server(log: Path) -> Iterator[str]:
    """The URL of a new, empty database. It ends with the block, or with this process: its standard input closes.

    Raises:
        NotFetched: npm failed.
        RuntimeError: it did not start; with the end of its log.
    """
    port = loopback.free_port()
    command = ["node", "server.mjs", str(port)]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=installed(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError(f"TimescaleDB in Node did not start:\n{log.read_text()[-_LOG_TAIL_CHARACTERS:]}")
        yield f"postgresql://postgres:any@{loopback.LOOPBACK}:{port}/postgres?sslmode=disable"
    finally:
        process.communicate()  # closes its standard input and waits
