"""`python -m deployments.dead_man`: the watch, turn after turn, for containers; each turn in a process that may be ended.

Containers are started again when they end, not when they hang; and their state directory stays, so that what was told while
PostgreSQL is away is not told again. Cron and systemd start `python -m alerts watch --once` themselves.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from deployments.processes import Alarm

EVERY_S = 300.0
#: As the flow's time-out: stores that are away take up to a minute to say so.
LONGEST_S = 120.0
_STOP_S = 10.0
TURN = (sys.executable, "-m", "alerts", "watch", "--once")
#: All is well, or something is wrong and was told. Other codes: it could not look, as with wrong settings.
_LOOKED = (0, 1)


def main(argv: list[str] | None = None, turn: Sequence[str] = TURN, longest_s: float = LONGEST_S) -> int:
    """Until it is asked to stop. The first look comes after one pause: what starts beside it may need that long."""
    options = _parser().parse_args(argv)
    if options.healthy:
        return 0 if is_well(mark(), time.time()) else 1
    promise = 2 * options.every + longest_s
    with Alarm() as alarm:
        _note(mark(), time.time() + promise)
        while not _asked_within(alarm, options.every):
            if look(alarm, turn, longest_s) in _LOOKED:
                _note(mark(), time.time() + promise)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.dead_man",
        description="Look every few minutes, from outside of Prefect; tell people.",
    )
    parser.add_argument(
        "--every", type=_seconds, default=EVERY_S, metavar="SECONDS", help="between looks (default 300)"
    )
    parser.add_argument("--healthy", action="store_true", help="exit code 0 if the one here has looked lately, no more")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds up to 86400")
    return value


def look(alarm: Alarm, turn: Sequence[str], longest_s: float) -> int | None:
    """The exit code of one turn; None: it took too long, or we were asked to stop, and it was ended."""
    process = subprocess.Popen(turn, stdin=subprocess.DEVNULL)
    until = time.monotonic() + longest_s
    while process.poll() is None and not alarm.asked and time.monotonic() < until:
        alarm.wait(1.0)
    if process.poll() is None:
        if not alarm.asked:
            _say(f"a look took longer than {longest_s:g} s and was ended")
        _end(process)
        return None
    if process.returncode not in _LOOKED:
        _say(f"it could not look (exit code {process.returncode})")
    return process.returncode


def mark() -> Path:
    """The file that says until when this one is taken to be well."""
    return Path(tempfile.gettempdir()) / f"organism-dead-man-{os.geteuid()}"


def is_well(path: Path, now: float) -> bool:
    try:
        return now < float(path.read_text("ascii"))
    except (OSError, ValueError):
        return False


def _note(path: Path, until: float) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(f"{until:.0f}", "ascii")
    draft.replace(path)


def _asked_within(alarm: Alarm, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not alarm.asked and (left := until - time.monotonic()) > 0:
        alarm.wait(left)
    return bool(alarm.asked)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _say(words: str) -> None:
    print(f"dead man: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
