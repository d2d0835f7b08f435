"""A real Neo4j Community server for tests: its jars from Maven Central, run as a process of its own on loopback.

`python -m tests.support.neo4j_server` runs one in the foreground and prints the lines to export.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import neo4j
from neo4j.exceptions import Neo4jError, ServiceUnavailable

from pipelines.embedded import loopback, watchdog
from tests.support.wait import wait_until

VERSION = "5.26.25"
USER = "neo4j"
_POM = Path(__file__).parent / "neo4j" / "pom.xml"
_JAVA_VERSIONS = (17, 21)  # what Neo4j 5.26 is made for
_RESOLVE_LIMIT_SECONDS = 600
_START_LIMIT_SECONDS = 90
_STOP_LIMIT_SECONDS = 20
_LOG_TAIL_CHARACTERS = 2_000

# Measured here: a start takes 5.3-5.9 s with these two and 6.5-7.0 s without, and 270 instead of 350 MB.
_FAST_START = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_JAVA_OPTIONS = [
    "-Dfile.encoding=UTF-8",
    "-Djava.awt.headless=true",
    "-Dlog4j2.disable.jmx=true",
    "-Djdk.nio.maxCachedBufferSize=1024",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djol.skipHotspotSAAttach=true",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
]
# The last two are for tests alone: without them every stop waits 10 s for connections that are long gone.
_CONFIG = """\
server.bolt.listen_address=127.0.0.1:{port}
server.bolt.advertised_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=64m
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
internal.dbms.bolt.netty_server_shutdown_timeout=1
"""


@cache
def why_not() -> str | None:
    """None if this machine can run it, else the reason as a sentence."""
    java = _java()
    if java is None:
        return "There is no java on the PATH or in JAVA_HOME; Neo4j 5.26 needs Java 17 or 21."
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) not in _JAVA_VERSIONS:
        return f"{java} is version {found[1] if found else 'unknown'}; Neo4j 5.26 needs Java 17 or 21."
    if not _jars_folder().exists() and shutil.which("mvn") is None:
        return "There is no mvn on the PATH to fetch the jars of Neo4j with."
    return None


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _jars_folder() -> Path:
    cache_dir = os.environ.get("ORGANISM_CACHE_DIR")
    return (Path(cache_dir) if cache_dir else Path.home() / ".cache" / "causal-organism") / f"neo4j-{VERSION}"


def jars() -> Path:
    """The folder with the jars, fetched once (about 25 s, 118 MB). Complete or not there at all."""
    target = _jars_folder().absolute()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="neo4j-fetching-") as unfinished:
            fetched = Path(unfinished) / "jars"
            _fetch(fetched)
            _put(fetched, target)
    return target


def _fetch(into: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    command = ["mvn", "-q", "-B", "-f", str(_POM), *goal]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_RESOLVE_LIMIT_SECONDS)
    if done.returncode:
        said = (done.stdout + done.stderr)[-_LOG_TAIL_CHARACTERS:]
        raise RuntimeError(f"{shlex.join(command)} failed (exit code {done.returncode}):\n{said}")


def _put(fetched: Path, target: Path) -> None:
    try:
        fetched.rename(target)
    except OSError:
        if not target.exists():  # else another process was faster, with the same jars
            raise


class Neo4jServer:
    """One server on one directory. `kill` is a SIGKILL; `restart` brings it back on the same port with its data."""

    user = USER

    def __init__(self, data_dir: Path, heap_mb: int, quick: bool) -> None:
        self._home = data_dir.absolute()
        self._heap_mb = heap_mb
        self._quick = quick
        self._port = loopback.free_port()
        self._jars = jars()
        self._java = _java() or "java"
        self._write_config()
        self.password = self._set_password()
        self._watchdog = subprocess.Popen([sys.executable, "-P", watchdog.__file__], stdin=subprocess.PIPE)
        self._process = self._launch()

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Stops it first if it still runs. Returns when it answers."""
        self._end()
        self._process = self._launch()
        self.wait_until_it_answers()

    def stop(self) -> None:
        """For good."""
        self._end()
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        self._watchdog.wait()

    def wait_until_it_answers(self) -> None:
        try:
            wait_until(self._answers, _START_LIMIT_SECONDS, f"Neo4j on {self.url}")
        except AssertionError as error:
            raise RuntimeError(f"{error}\n{self._log_tail()}") from None

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Neo4j ended (exit code {self._process.returncode}):\n{self._log_tail()}")
        if loopback.is_free(self._port):
            return False
        try:
            # Not driver.execute_query: that retries by itself, with seconds between the tries.
            with (
                neo4j.GraphDatabase.driver(self.url, auth=(USER, self.password)) as driver,
                driver.session() as session,
            ):
                return session.run("RETURN 1").single() is not None
        except (ServiceUnavailable, Neo4jError, OSError):
            return False

    def _launch(self) -> "subprocess.Popen[bytes]":
        heap = ["-Xms128m", f"-Xmx{self._heap_mb}m", *(_FAST_START if self._quick else [])]
        main = ["org.neo4j.server.CommunityEntryPoint", f"--home-dir={self._home}", f"--config-dir={self._conf}"]
        command = [self._java, *heap, *_JAVA_OPTIONS, "-cp", f"{self._jars}/*", *main, "--console-mode"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home)
        self._tell_watchdog("+", process.pid)
        return process

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._tell_watchdog("-", self.pid)

    def _tell_watchdog(self, sign: str, pid: int) -> None:
        """It ends the server when this process dies, however it dies."""
        if self._watchdog.stdin:
            self._watchdog.stdin.write(f"{sign} {pid} {int(signal.SIGTERM)}\n".encode())
            self._watchdog.stdin.flush()

    def _write_config(self) -> None:
        for folder in ("conf", "data", "logs", "run", "plugins", "import"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._conf / "neo4j.conf").write_text(_CONFIG.format(port=self._port))

    def _set_password(self) -> str:
        """Possible only before the first start (0.6 s, in which `ps` shows it; it is a test's password)."""
        file = self._home / "password"
        if not file.exists():
            password = os.urandom(12).hex()
            command = [self._java, *_FAST_START, "-cp", f"{self._jars}/*", "org.neo4j.cli.AdminTool"]
            env = os.environ | {"NEO4J_HOME": str(self._home), "NEO4J_CONF": str(self._conf)}
            subprocess.run(
                [*command, "dbms", "set-initial-password", password], env=env, check=True, capture_output=True
            )
            file.touch(mode=0o600)
            file.write_text(password)
        return file.read_text()

    @property
    def _conf(self) -> Path:
        return self._home / "conf"

    @property
    def _log(self) -> Path:
        return self._home / "logs" / "console.log"

    def _log_tail(self) -> str:
        return self._log.read_text("utf-8", "replace")[-_LOG_TAIL_CHARACTERS:]


@contextmanager
def neo4j_server(data_dir: Path, *, heap_mb: int = 512, quick: bool = True) -> Iterator[Neo4jServer]:
    """A server on `data_dir` that answers queries; it ends with the block, or with this process.

    quick: start fast and stay slow; a benchmark says False and gets the virtual machine's defaults.
    """
    server = Neo4jServer(data_dir, heap_mb, quick)
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.stop()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.neo4j_server", description=__doc__)
    parser.add_argument("--data", type=Path, help="keep the data here (default: a temporary directory)")
    arguments = parser.parse_args(argv)
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary, neo4j_server(arguments.data or Path(temporary)) as server:
        print(f"export ORGANISM_GRAPH_URL={server.url}")
        print(f"export ORGANISM_GRAPH_USER={server.user}")
        print(f"export ORGANISM_GRAPH_PASSWORD={server.password}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
