"""The frame around every command: errors become one line and an exit code, Ctrl-C ends quietly, logging is set up.

It decides nothing and knows no command. An error that is not ours is a defect and keeps its traceback.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines import log, settings, steps
from pipelines.errors import Defect, InvalidInput, OrganismError, Refused
from pipelines.jobs.recording import sentence
from pipelines.orchestrator import place as prefect_place

GOOD, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3
#: What shells say of a process that a signal ended: 128 + SIGINT, 128 + SIGPIPE.
INTERRUPTED, PIPE_CLOSED = 130, 141


def run(main: Callable[[], int]) -> int:
    """The exit code of `main`, whatever it raises; the sentence of an error goes to standard error."""
    try:
        config = settings.load()
        log.setup(config.log_format, config.log_level)
        for words in settings.misspelt():
            say(f"warning: {words}")
        code = main()
        sys.stdout.flush()  # here, so that a reader that is gone is noticed while we can still be quiet about it
        return code
    except OrganismError as error:
        say(f"{'refused' if isinstance(error, Refused) else 'error'}: {error}")
        for note in getattr(error, "__notes__", ()):
            say(note)
        return exit_code(error)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  # a defect: where it arose, without its text, which may hold content
        if _was_interrupted(error):
            say("interrupted")
            return INTERRUPTED
        raise Defect(sentence(error)).with_traceback(error.__traceback__) from None


def _was_interrupted(error: BaseException) -> bool:
    """Whether a Ctrl-C lies behind it: a driver that is interrupted in its read fails again while it closes."""
    seen: BaseException | None = error
    while seen:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__context__
    return False


def exit_code(error: OrganismError) -> int:
    """3: a rule said no. 2: what the user gave is wrong. 1: everything else."""
    if isinstance(error, Refused):
        return REFUSED
    return BAD_INPUT if isinstance(error, InvalidInput) else FAILED


def say(words: str) -> None:
    """One line for people on standard error, without secrets and ids."""
    lines = [" ".join(line.split()) for line in words.splitlines()]
    print(log.redact("; ".join(line for line in lines if line)), file=sys.stderr, flush=True)


def why_direct() -> str | None:
    """None when a Prefect API answers. Asked with a short time-out: Prefect's own would wait for minutes."""
    found = prefect_place.find()
    return prefect_place.why_not(found) if found else prefect_place.NOT_SET


def policies(config: settings.Settings) -> Mapping[str, steps.Retry]:
    """The retry table as the settings want it."""
    return steps.table({name: its.model_dump(exclude_none=True) for name, its in config.retries.items()})


def python() -> str:
    """The interpreter as a shell here would start it: `python` where that is the one that runs now, else its path.

    By directory, and not by file: that of a virtual environment is a link to another one, which lacks our packages.
    """
    mine, found = Path(sys.executable), shutil.which("python")
    if found and Path(found).absolute().parent == mine.parent:
        return "python"
    return shlex.quote(str(mine.relative_to(Path.cwd()) if mine.is_relative_to(Path.cwd()) else mine))


def account() -> str:
    """The account that this process runs under, as the system knows it: LOGNAME and USER can say anything."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # no such table here, or a user without a name, as in some containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def peak_memory() -> int | None:
    """The most memory that this process has used so far, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@contextmanager
def input_file(name: str) -> Iterator[io.BufferedReader]:
    """The file of that name, or standard input for `-`, as bytes.

    Raises:
        InvalidInput: there is none, or it cannot be read.
    """
    if name == "-":
        yield sys.stdin.buffer  # type: ignore[misc]  # a BufferedReader where there is a real one, as here
        return
    try:
        file = open(name, "rb")  # noqa: SIM115  # so that only opening it is explained, not what is done with it
    except OSError as error:
        raise InvalidInput(f"{name}: {error.strerror}; expected a file, or - for standard input") from None
    with file:
        yield file


def _forget_stdout() -> None:
    """The interpreter flushes standard output once more when it ends, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
