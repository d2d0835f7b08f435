"""Which flows may be started by request, and what each may be told. A new flow is one line of the table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.errors import InvalidInput
from pipelines.interventions import playbooks
from pipelines.jobs import documents, health, planning, policy_check
from pipelines.jobs.ingest import utc_now

#: Of what a run keeps, because every list of runs repeats it; in bytes of JSON.
_MOST_KEPT, _MOST_NAMED = 4_096, 50
_RUN_NAME = re.compile(r"full-\d{4}-\d{2}-\d{2}T\d{2}", re.ASCII)
#: What is told of a parameter that nobody knows: a name that was mistyped, and nothing that came in its place.
_A_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,29}", re.ASCII)


def _any(_value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Parameter:
    """kind: what JSON may have there; float takes whole numbers, too. default: None means that it may be null. words: what it
    does and what is expected, for people. kept: what a run keeps in its place, where it must not be kept itself; what was
    kept is taken again, as a retry gives it.
    """

    kind: type
    default: Any
    words: str
    check: Callable[[Any], bool] = _any
    kept: Callable[[Any], Any] | None = None

    def takes(self, value: Any) -> bool:
        if value is None:
            return self.default is None
        kinds: tuple[type, ...] = (int, float) if self.kind is float else (self.kind,)
        kinds += (dict,) if self.kept else ()
        is_kind = isinstance(value, kinds) and (self.kind is bool or not isinstance(value, bool))
        return is_kind and _is_storable(value) and self.check(value)


def _is_storable(value: Any) -> bool:
    """As JSON in PostgreSQL: no NUL, no half characters, no NaN."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return b"\\u0000" not in text


def _is_run_name(value: str) -> bool:
    if not _RUN_NAME.fullmatch(value):
        return False
    try:
        datetime.strptime(value, "full-%Y-%m-%dT%H")  # noqa: DTZ007  # only whether it is one
    except ValueError:
        return False
    return True


STARTABLE: Mapping[str, Mapping[str, Parameter]] = {
    "incremental": {
        "accept_invalid": Parameter(bool, False, "true: set invalid entries aside even if they are many"),
        "budget_s": Parameter(
            float, None, "seconds after which it leaves the rest to the next run, above 0 and below 86400",
            lambda seconds: 0 < seconds < 86_400,
        ),
    },
    "full": {
        "resume": Parameter(str, None, "the name of a run to go on with, such as full-2026-03-02T06", _is_run_name),
        "propose": Parameter(bool, True, "false: analyse and store; propose nothing"),
    },
    "watch": {},
    "verify": {},
    "health_monitoring": {
        "check_type": Parameter(str, "quick", "quick, or full: also what the alert rules say of each service"),
        "services": Parameter(
            list, [], f"at most {_MOST_NAMED} names of {', '.join(health.SERVICES)}; none: all of them",
            lambda named: len(named) <= _MOST_NAMED,
        ),
    },
    "policy_check": {
        "proposal": Parameter(str, None, "the id of a proposal; or"),
        "template_id": Parameter(str, None, f"a playbook for the team `team`: {', '.join(playbooks.SHIPPED)}; or"),
        "team": Parameter(str, None, "the name of a team, with `template_id`"),
        "document": Parameter(
            str, None, "the text of a sample of events or of a mapping of fields; only counts of it are kept",
            kept=lambda given: documents.kept(given, utc_now()),
        ),
    },
    "intervention_planning": {
        "team_id": Parameter(str, "", "the name of the team; it has to be given"),
        "horizon": Parameter(int, planning.HORIZON, f"days by which all is judged, 1 to {planning.MOST_DAYS}"),
        "effort_level": Parameter(str, "medium", f"what the plan may ask of the team: {', '.join(planning.EFFORT)}"),
    },
}  # fmt: skip
#: What a flow says of its parameters as a whole: raises InvalidInput.
_WHOLE: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "health_monitoring": health.asked,
    "policy_check": policy_check.asked,
    "intervention_planning": planning.asked,
}


def checked(flow: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as a run keeps them: as given, without those that are null. What comes back may be given again.

    Raises:
        InvalidInput: an unknown flow or parameter, or a value that is none; names it, and never says what value was given.
    """
    known = takes(flow)
    unknown = [name if _A_NAME.fullmatch(name) else "something else" for name in parameters if name not in known]
    if unknown:
        raise InvalidInput(
            f"{flow} does not take {', '.join(unknown[:5])}; it takes {_in_words(known) or 'no parameters'}"
        )
    for name, value in parameters.items():
        if not known[name].takes(value):
            raise InvalidInput(f"{name} of {flow}: expected {_kind(known[name])}: {known[name].words}")
    given = {name: value for name, value in parameters.items() if value is not None}
    asked = {name: keep(value) if (keep := known[name].kept) else value for name, value in given.items()}
    found = _WHOLE[flow](asked) if flow in _WHOLE else None
    if isinstance(found, health.Asked) and asked.get("services"):
        asked["services"] = list(found.services)  # each once, in one order
    if len(json.dumps(asked).encode()) > _MOST_KEPT:
        raise InvalidInput(f"the parameters of {flow} are too long: expected at most {_MOST_KEPT:,} bytes of JSON")
    return asked


def alone() -> list[str]:
    """Flows that can be started without being told anything."""

    def starts(flow: str) -> bool:
        try:
            checked(flow, {})
        except InvalidInput:
            return False
        return True

    return [flow for flow in STARTABLE if starts(flow)]


def takes(flow: str) -> Mapping[str, Parameter]:
    """Raises InvalidInput: no such flow; lists the known ones."""
    if flow not in STARTABLE:
        raise InvalidInput(f"there is no such flow; known are {', '.join(sorted(STARTABLE))}")
    return STARTABLE[flow]


def _in_words(known: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{name} ({_kind(its)})" for name, its in known.items())


def _kind(its: Parameter) -> str:
    return {bool: "true or false", float: "a number", int: "a whole number", str: "text", list: "a list"}.get(
        its.kind, its.kind.__name__
    )
