"""The process that serves the graph: ArcadeDB in this process, Bolt and HTTP on loopback, until its input ends.

A script of its own: it imports nothing of ours. What it must know comes as one line of JSON on standard input.
"""

import contextlib
import json
import os
import signal
import sys
from typing import Any

# An optional dependency of arcadedb that serving Bolt does not need: 80 ms and 13 MB less without it.
sys.modules["numpy"] = None  # type: ignore[assignment]  # the documented way to make an import fail

import arcadedb  # noqa: E402  (after the line above)

# The name that a Neo4j driver uses when it is told none.
_DATABASE = "neo4j"
_STOP_LIMIT_SECONDS = 8


def keep_standard_output_clean() -> int:
    """Whatever the library prints goes to the log; the descriptor returned is the supervisor's alone."""
    for_supervisor = os.dup(1)
    os.dup2(2, 1)
    return for_supervisor


def serve(told: dict[str, Any]) -> Any:
    server = arcadedb.create_server(
        told["root"],
        root_password=told["password"],
        config={
            "host": "127.0.0.1",
            "http_port": told["http"],
            "mode": "development",  # "production" hides the message of every error from the client
            "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt_host": "127.0.0.1",
            "bolt_port": told["bolt"],
        },
    )
    server.start()
    if not os.path.isdir(os.path.join(told["root"], "databases", _DATABASE)):
        server.create_database(_DATABASE)
    return server


class Stop(Exception):
    """The supervisor asks us to stop."""


def wait_for_the_end() -> None:
    """Returns when the supervisor asks us to stop, or when it is gone and our input ends with it."""

    def leave(*_: object) -> None:
        raise Stop

    with contextlib.suppress(Stop):
        signal.signal(signal.SIGTERM, leave)
        while os.read(0, 1024):
            pass


def main() -> None:
    for_supervisor = keep_standard_output_clean()
    server = serve(json.loads(sys.stdin.readline()))
    os.write(for_supervisor, b"ready\n")
    os.close(for_supervisor)
    wait_for_the_end()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(_STOP_LIMIT_SECONDS)  # ends us even if the library never returns
    server.stop()


if __name__ == "__main__":
    main()
