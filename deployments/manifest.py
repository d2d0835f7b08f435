"""prefect.yaml, read strictly: `prefect deploy` ignores a mistyped key without a word, and a limit is then simply gone.

What is checked here is the file and the flows it names; it asks no server.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml  # type: ignore[import-untyped]  # it ships no types
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InvalidInput

POOL = "organism"
#: Queue to its priority in the pool (1 is served first) and how many of its runs may run at once, over all workers.
QUEUES: Mapping[str, tuple[int, int | None]] = {
    "organism-default": (1, None),
    "organism-heavy": (2, 1),  # two analyses at once would need the memory of both
}
TAG = "organism"
HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
Path_ = tuple[str | int, ...]
_AN_INSTANT = datetime(2026, 1, 1, tzinfo=UTC)


# ------------------------------------------------------------------------------------------------ the shape of the file


def _cron(text: str) -> str:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(text, _AN_INSTANT)
    except CronSimError:
        raise ValueError(f"{text!r} is not a cron expression such as '*/5 * * * *'") from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is not an IANA zone such as Europe/Berlin") from None
    return name


def _module_path(name: str) -> str:
    if not name.replace(".", "").isidentifier() or "." not in name:
        raise ValueError(f"{name!r} is not a module path such as pipelines.full.full: a file has no place on a worker")
    return name


def _queue(name: str) -> str:
    if name not in QUEUES:
        raise ValueError(f"{name!r} is not a queue of ours ({', '.join(QUEUES)})")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Schedule(_Strict):
    slug: str
    cron: Annotated[str, AfterValidator(_cron)]
    timezone: Annotated[str, AfterValidator(_zone)]
    active: bool = True


class Limit(_Strict):
    limit: int = Field(ge=1)
    collision_strategy: Literal["CANCEL_NEW", "ENQUEUE"]
    grace_period_seconds: int = Field(ge=60, le=600)


class JobVariables(_Strict):
    env: dict[str, str]
    working_dir: str | None = None
    stream_output: bool = True


class WorkPool(_Strict):
    name: str
    work_queue_name: Annotated[str, AfterValidator(_queue)]
    job_variables: JobVariables


class Deployment(_Strict):
    """One deployment. Limit and schedule are no options: without them runs overlap, or there are none. What people start has
    an empty list of schedules, so that nobody has forgotten it.
    """

    name: str
    entrypoint: Annotated[str, AfterValidator(_module_path)]
    description: str
    tags: list[str]
    parameters: dict[str, Any] = Field(default_factory=dict)
    schedules: list[Schedule]
    concurrency_limit: Limit
    work_pool: WorkPool


class Manifest(_Strict):
    name: str
    prefect_version: str = Field(alias="prefect-version")
    definitions: dict[str, Any] = Field(default_factory=dict)
    build: None
    push: None
    pull: list[dict[str, dict[str, Any]]]
    deployments: list[Deployment] = Field(min_length=1)


# ------------------------------------------------------------------------------------------------ reading it


@dataclass(frozen=True, order=True)
class Wrong:
    """One mistake: where it stands, what was seen, and what was meant."""

    line: int
    words: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.words}"


def read(path: Path) -> tuple[Manifest | None, list[Wrong], dict[Path_, int]]:
    """The file, what is wrong with its shape, and the line of every key. No manifest where anything is wrong.

    Raises:
        InvalidInput: there is no such file.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror}; run this where prefect.yaml lies, or give --file") from None
    try:
        data, lines, twice = _loaded(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return None, [Wrong(mark.line + 1 if mark else 1, f"not YAML: {getattr(error, 'problem', error)}")], {}
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        found = [_wrong(dict(e), lines) for e in error.errors(include_url=False)]
        return None, sorted({*twice, *found}), lines
    return (None if twice else manifest), twice, lines


def _loaded(text: str) -> tuple[Any, dict[Path_, int], list[Wrong]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}, {(): 1}, []
        twice = sorted(set(_given_twice(root)))
        lines: dict[Path_, int] = {}
        data = loader.construct_document(root)  # this also puts merged keys (<<) where they belong
        _note(root, (), lines)
        return data, lines, twice
    finally:
        loader.dispose()


def _note(node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _note(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _note(value, (*path, i), lines)


def _given_twice(node: yaml.Node) -> Iterator[Wrong]:
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                yield Wrong(key.start_mark.line + 1, f"{key.value} is given twice; the last one would win")
            seen.add(key.value)
            yield from _given_twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _given_twice(value)


def _wrong(error: dict[str, Any], lines: Mapping[Path_, int]) -> Wrong:
    path: Path_ = tuple(error["loc"])
    line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
    place = ".".join(map(str, path[:-1])) or "the file"
    last = path[-1] if path else ""
    if error["type"] == "extra_forbidden":
        known = _known(path[:-1])
        near = difflib.get_close_matches(str(last), known, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return Wrong(line, f"{last} is no key of {place}; {meant}")
    if error["type"] == "missing":
        return Wrong(line, f"{place} has no {last}")
    return Wrong(line, f"{'.'.join(map(str, path))}: {str(error['msg']).removeprefix('Value error, ')}")


def _known(path: Path_) -> list[str]:
    """The keys that are allowed at that place."""
    model: type[BaseModel] = Manifest
    inner: Mapping[str, type[BaseModel]] = {
        "deployments": Deployment,
        "schedules": Schedule,
        "concurrency_limit": Limit,
        "work_pool": WorkPool,
        "job_variables": JobVariables,
    }
    for part in path:
        model = inner.get(str(part), model)
    return [field.alias or name for name, field in model.model_fields.items()]


# ------------------------------------------------------------------------------------------------ against the code


def mistakes(path: Path) -> list[Wrong]:
    """All that is wrong with the file: its shape, then what the flows that it names say of it. Empty: it may be deployed."""
    manifest, wrong, lines = read(path)
    return wrong if manifest is None else sorted(set(_among_each_other(manifest, lines)) | set(_flows(manifest, lines)))


def load(path: Path) -> Manifest:
    """The manifest, with the pool under the name that PREFECT_WORK_POOL_NAME gives it.

    Raises:
        InvalidInput: all that is wrong with its shape.
    """
    manifest, wrong, _ = read(path)
    if manifest is None:
        raise InvalidInput(f"{path.name}: " + "; ".join(map(str, wrong)))
    return renamed(manifest, pool_name())


def pool_name() -> str:
    return os.environ.get("PREFECT_WORK_POOL_NAME") or POOL


def renamed(manifest: Manifest, pool: str) -> Manifest:
    """The same deployments in a pool of another name."""
    moved = [
        d.model_copy(update={"work_pool": d.work_pool.model_copy(update={"name": pool})}) for d in manifest.deployments
    ]
    return manifest.model_copy(update={"deployments": moved})


def _among_each_other(manifest: Manifest, lines: Mapping[Path_, int]) -> Iterator[Wrong]:
    """What no single key shows: names given twice, runs in another pool, no heartbeat, no tag."""
    names: set[str] = set()
    for i, its in enumerate(manifest.deployments):
        if its.name in names:
            words = f"there are two deployments {its.name}; the second would replace the first"
            yield Wrong(_line(lines, i, "name"), words)
        names.add(its.name)
        yield from _alone(its, lines, i)


def _alone(its: Deployment, lines: Mapping[Path_, int], i: int) -> Iterator[Wrong]:
    pool = its.work_pool
    if pool.name != POOL:
        yield Wrong(
            _line(lines, i, "work_pool", "name"), f"pool {pool.name!r} instead of {POOL!r}: no worker looks there"
        )
    if TAG not in its.tags:
        yield Wrong(_line(lines, i, "tags"), f"{its.name} lacks the tag {TAG}, by which the automations know our runs")
    if not pool.job_variables.env.get(HEARTBEAT, "").isdigit():
        words = f"{its.name} sets no {HEARTBEAT}: a killed run could not be told from a live one"
        yield Wrong(_line(lines, i, "work_pool"), words)
    if len({s.slug for s in its.schedules}) < len(its.schedules):
        yield Wrong(_line(lines, i, "schedules"), f"{its.name} has two schedules of one slug")


def _line(lines: Mapping[Path_, int], i: int, *path: str) -> int:
    """Of a key of the i-th deployment; of the deployment where it has no such key."""
    return lines.get(("deployments", i, *path)) or lines.get(("deployments", i)) or 1


def _flows(manifest: Manifest, lines: Mapping[Path_, int]) -> Iterator[Wrong]:
    for i, its in enumerate(manifest.deployments):
        flow = _flow(its.entrypoint)
        if isinstance(flow, str):
            yield Wrong(_line(lines, i, "entrypoint"), flow)
            continue
        yield from (Wrong(_line(lines, i, "parameters"), words) for words in _parameters(flow, its))
        if flow.timeout_seconds is None:
            yield Wrong(_line(lines, i, "entrypoint"), f"{its.entrypoint} has no timeout_seconds")


def _flow(entrypoint: str) -> Any:
    """The flow, or why there is none."""
    import importlib

    from prefect import Flow

    module, _, name = entrypoint.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        return f"{entrypoint} cannot be imported: {error}"
    if isinstance(found, Flow):
        return found
    named = [n for n, value in vars(importlib.import_module(module)).items() if isinstance(value, Flow)]
    return f"{module} has no flow {name}" + (f"; did you mean {module}.{named[0]}?" if named else "")


def _parameters(flow: Any, its: Deployment) -> Iterator[str]:
    from prefect.exceptions import ParameterTypeError

    known, given = list(flow.parameters.properties), its.parameters
    for name in [n for n in given if n not in known]:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
        yield f"the flow {flow.name} takes no parameter {name}; {meant}"
    if missing := [name for name in flow.parameters.required or () if name not in given]:
        if its.schedules:  # a schedule gives no others; people do
            yield f"the flow {flow.name} needs parameters that the deployment does not give: {', '.join(missing)}"
        return
    try:
        flow.validate_parameters({n: v for n, v in given.items() if n in known})
    except ParameterTypeError as error:
        yield f"the flow {flow.name} refuses its parameters: {' '.join(str(error).split())}"
