"""What came of a run in a few words, from what the ledger keeps of it: for lists of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from alerts.flow_rules import ON_DEMAND
from pipelines.privacy.traces import mask
from pipelines.report import figures
from pipelines.runs import ErrorKind, Run, Status

#: In a result in place of all that a run told and that is not told any more: why not.
WITHHELD = "withheld"
#: By flow: what counts, with its word for one; and what is said where nothing of it came about.
_COUNTS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "incremental": (
        ("applied", "applied", "applied"),
        ("duplicates", "duplicate", "duplicates"),
        ("dead_letters", "dead letter", "dead letters"),
        ("late", "late", "late"),
        ("ignored", "ignored", "ignored"),
        ("lost", "lost", "lost"),
        ("backlog", "left for the next run", "left for the next run"),
    ),
    "full": (
        ("findings", "finding", "findings"),
        ("credible", "credible", "credible"),
        ("proposed", "proposed", "proposed"),
        ("blocked", "blocked", "blocked"),
    ),
    "watch": (
        ("problems", "problem", "problems"),
        ("reaped", "dead run closed", "dead runs closed"),
        ("released", "slot given back", "slots given back"),
        ("refused", "refused", "refused"),
    ),
    "verify": (("differences", "difference", "differences"),),
}
_NOTHING = {
    "incremental": "nothing new",
    "full": "nothing found",
    "watch": "nothing is wrong",
    "verify": "no difference",
}


def in_short(run: Run) -> str:
    """`5,208 applied, 3 dead letters`; of a run that failed what it said; "" of one that has not ended."""
    if run.error:
        return " ".join(mask(run.error).split())
    if run.status is not Status.COMPLETED:
        return ""
    if WITHHELD in run.result:
        return f"not shown: {run.result[WITHHELD]}"
    say = _SAY.get(run.flow_name)
    return say(run) if say else ", ".join(_counts(run)) or _NOTHING.get(run.flow_name, "")


def withheld(run: Run) -> str | None:
    """Why its numbers and words are not told any more, as a sentence; None where they are."""
    why = run.result.get(WITHHELD)
    return f"Its numbers and words are not shown: {why}." if why else None


def outcome(run: Run) -> str:
    """How it stands, in a word: its status, or what that hides: a rule said no, or somebody asked for what cannot be."""
    if run.status is Status.CANCELLED and run.error_kind is ErrorKind.REFUSED:
        return "refused"
    if run.status is Status.FAILED and run.error_kind is ErrorKind.INPUT and run.flow_name in ON_DEMAND:
        return "wrong input"
    return run.status.value


def _health(run: Run) -> str:
    """Who is down is named; an absent service is nobody's fault."""
    told = [f"{_number(run, how)} {how}" for how in ("up", "degraded", "down", "absent") if _number(run, how)]
    named = [_listed(run, how, worth) for how, worth in (("down", 0.0), ("degraded", 0.5)) if _number(run, how)]
    return "; ".join([", ".join(told), *filter(None, named)])


def _listed(run: Run, how: str, worth: float) -> str:
    """The services that the account gives this worth."""
    counts = ("services", "up", "degraded", "down", "absent")
    names = [
        name.replace("_", " ") for name, value in run.result.items()
        if name not in counts and isinstance(value, int | float) and value == worth
    ]  # fmt: skip
    return f"{how}: {', '.join(sorted(names))}" if names else ""


def _policy(run: Run) -> str:
    rules, refused = _number(run, "rules"), _number(run, "refused")
    if not refused:
        return f"all {rules} rules pass"
    return f"{refused} of {figures.counted(rules, 'rule')} {'says' if refused == 1 else 'say'} no"


def _planning(run: Run) -> str:
    return f"planned {_number(run, 'planned')} of {_number(run, 'candidates')}"


def _watch(run: Run) -> str:
    told = ", ".join(_counts(run)) or _NOTHING["watch"]
    codes = run.result.get("codes")
    return told + (f": {', '.join(map(str, codes))}" if isinstance(codes, list) and codes else "")


def _number(run: Run, name: str) -> int:
    value = run.result.get(name)
    return int(value) if isinstance(value, int | float) else 0


#: Flows whose words are more than counts.
_SAY: Mapping[str, Callable[[Run], str]] = {
    "health_monitoring": _health,
    "policy_check": _policy,
    "intervention_planning": _planning,
    "watch": _watch,
}


def _counts(run: Run) -> Iterator[str]:
    for name, one, many in _COUNTS.get(run.flow_name, ()):
        count = run.result.get(name)
        if isinstance(count, int | float) and count:
            yield figures.counted(int(count), one, many)
