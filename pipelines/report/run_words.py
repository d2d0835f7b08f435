"""What came of a run in a few words, from what the ledger keeps of it: for lists of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipelines.report import figures
from pipelines.runs import Run, Status

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
        return " ".join(run.error.split())
    if run.status is not Status.COMPLETED:
        return ""
    said = run.result.get("words")
    if isinstance(said, list):
        return "; ".join(str(words) for words in said) or "all is well"
    return ", ".join(_counts(run)) or _NOTHING.get(run.flow_name, "")


def _counts(run: Run) -> Iterator[str]:
    for name, one, many in _COUNTS.get(run.flow_name, ()):
        count = run.result.get(name)
        if isinstance(count, int | float) and count:
            yield figures.counted(int(count), one, many)
