"""`python -m benchmarks.validate`: our parser, and the same parser with pydantic for its typed part, in turn; medians.

The last row is pydantic's typed part alone, which looks for no forbidden content and makes no key and no digest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from benchmarks.drain import backlog
from pipelines.events import schema

Person = Annotated[str, StringConstraints(pattern=r"^p_[0-9a-f]{16,40}$")]
Anyone = Annotated[str, StringConstraints(pattern=r"^[px]_[0-9a-f]{16,40}$")]


class Data(BaseModel):
    actor: Person
    targets: Annotated[list[Anyone], Field(min_length=1, max_length=200)]
    scope: Literal["direct", "group", "broadcast"] = "direct"
    duration_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    response_s: Annotated[float, Field(ge=0, le=2_592_000)] | None = None
    tz_offset_min: Annotated[int, Field(ge=-720, le=840)] | None = None


class Event(BaseModel):
    specversion: Literal["1.0"]
    dataschema: Literal["causal-organism/interaction/1"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    source: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    type: str
    time: AwareDatetime
    data: Data


def _whole_with_pydantic(payload: bytes) -> object:
    raw = msgspec.json.decode(payload)
    schema._survey(raw)
    event = Event.model_validate(raw)
    data = schema.InteractionData(**event.data.model_dump())
    return schema._build(event.type, schema.Envelope(event.id, event.source, event.time), data)


def main() -> None:
    payloads = list(backlog(20_000))
    engines: dict[str, Callable[[bytes], object]] = {
        "schema.parse (msgspec)": schema.parse,
        "the same with pydantic": _whole_with_pydantic,
        "pydantic's part alone": Event.model_validate_json,
    }
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(7):
        for name, parse in engines.items():
            started = time.process_time()
            for payload in payloads:
                parse(payload)
            spent[name].append((time.process_time() - started) / len(payloads) * 1e6)
    ours = statistics.median(spent["schema.parse (msgspec)"])
    for name, times in spent.items():
        print(f"{name:28s} {statistics.median(times):6.2f} us of CPU an event   x{statistics.median(times) / ours:.2f}")


if __name__ == "__main__":
    main()
