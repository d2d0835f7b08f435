"""The producer process: sends the plan in order, and remembers in a file of its own what the stream has acknowledged.

After an error or a death it sends again whatever was not acknowledged, with the same ids: that is all a producer has to
do, and all that it can.
"""

from __future__ import annotations

import os
import pickle
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import TransientError
from pipelines.events.redis_client import open_redis
from pipelines.events.stream import RedisStream
from tests.chaos.points import Doom, Reaper
from tests.chaos.worker import Files, note_error, settle_in

_MOST_AT_ONCE = 800


@dataclass(frozen=True)
class Outbox:
    """Everything that is to be sent, and how much of it was acknowledged. Survives its process."""

    folder: Path

    def fill(self, sends: list[bytes]) -> None:
        (self.folder / "sends").write_bytes(pickle.dumps(sends))

    def sends(self) -> list[bytes]:
        found: list[bytes] = pickle.loads((self.folder / "sends").read_bytes())
        return found

    @property
    def acknowledged(self) -> int:
        file = self.folder / "acknowledged"
        return int(file.read_text()) if file.exists() else 0

    def acknowledge(self, count: int) -> None:
        new = self.folder / "acknowledged.new"
        new.write_text(str(count))
        new.replace(self.folder / "acknowledged")

    @property
    def hurry(self) -> Path:
        """Is there when everything that is left is to be sent at once."""
        return self.folder / "hurry"


@dataclass(frozen=True)
class Shift:
    """One life of the producer. `rate` is sends per second since `started` (of `time.time`)."""

    url: str
    folder: Path
    started: float
    rate: float
    doom: Doom | None


def produce(shift: Shift) -> None:
    """The body of the process. Returns when everything is acknowledged."""
    settle_in(shift.folder)
    outbox, parent = Outbox(shift.folder), os.getppid()
    sends, done = outbox.sends(), outbox.acknowledged
    reaper = Reaper(shift.doom, Files(shift.folder).kills)
    with closing(open_redis(shift.url)) as client:
        stream = RedisStream(client, shift.url)
        while done < len(sends) and os.getppid() == parent:
            chunk = sends[done : done + max(0, min(_MOST_AT_ONCE, _due(shift, outbox, len(sends)) - done))]
            if len(chunk) >= _burst(done, len(sends)) and _sent(stream, chunk, reaper, shift.folder):
                done += len(chunk)
                outbox.acknowledge(done)
            time.sleep(0.05)


def _due(shift: Shift, outbox: Outbox, all_: int) -> int:
    return all_ if outbox.hurry.exists() else int((time.time() - shift.started) * shift.rate)


def _burst(done: int, all_: int) -> int:
    """How many are sent at once: one, or hundreds, or something between, so that both workers find work."""
    return min(all_ - done, 1 + done * 31 % _MOST_AT_ONCE)


def _sent(stream: RedisStream, chunk: list[bytes], reaper: Reaper, folder: Path) -> bool:
    try:
        reaper.around("producer.append", lambda: stream.append(chunk))
    except TransientError as error:
        note_error(Files(folder), error)
        return False
    return True
