"""`python -m pipelines.embedded`: all three servers in the foreground until Ctrl-C, with the lines to export."""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from pipelines.embedded import EmbeddedError, Server, Urls, default_state_dir, pids, running

_LOOK_SECONDS = 2.0


def export_lines(urls: Urls) -> list[str]:
    values = {
        "ORGANISM_REDIS_URL": urls.redis,
        "ORGANISM_GRAPH_URL": urls.graph,
        "ORGANISM_GRAPH_USER": urls.graph_user,
        "ORGANISM_GRAPH_PASSWORD": urls.graph_password,
        "ORGANISM_POSTGRES_URL": urls.postgres,
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items() if value]


def stay(state_dir: Path) -> None:
    """Until Ctrl-C, or until the supervisor is gone."""
    while pids(state_dir):
        time.sleep(_LOOK_SECONDS)
    raise EmbeddedError(f"the servers of {state_dir} have ended; see its folder logs")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded", description=__doc__)
    parser.add_argument("--state", type=Path, help="state directory (default: $ORGANISM_STATE_DIR, else ./.organism)")
    state_dir = parser.parse_args(argv).state or default_state_dir()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
    try:
        with running(state_dir, frozenset(Server)) as urls:
            print("\n".join(export_lines(urls)), flush=True)
            print(f"# state in {state_dir}; Ctrl-C stops the servers", file=sys.stderr)
            stay(state_dir)
    except KeyboardInterrupt:
        return 0
    except EmbeddedError as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
