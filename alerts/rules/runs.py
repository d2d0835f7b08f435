"""Rules about the runs of a flow: failed, died, never started, slow, retried too often, not started when it should."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from statistics import median

from alerts.model import Code, Facts, FlowFact, Problem, RunFact, Severity
from alerts.rules.limits import Limits
from alerts.rules.words import long, many, of_flow, sentence, share

COMPLETED, FAILED, CANCELLED, RUNNING = "completed", "failed", "cancelled", "running"
#: Kinds that nobody is paged for: a rule said no; somebody, or a worker that was told to stop, ended it.
_QUIET = frozenset({"refused", "interrupted"})
_CODES = {"crashed": Code.ZOMBIE_RUN, "lost": Code.ZOMBIE_RUN, "never_started": Code.NEVER_STARTED}
_WORDS = {
    Code.FLOW_FAILED: "failed",
    Code.BREAKER_OPEN: "stopped the line",
    Code.ZOMBIE_RUN: "died without a word",
    Code.NEVER_STARTED: "was never started",
}
#: The ledger keeps the sentence of an error and not its class; a test holds this to the sentence that the breaker says.
_BREAKER = re.compile(r"^TooManyInvalid\b|\bof [\d,]+ entries are invalid\b")


def flow_failed(run: RunFact, flow: FlowFact | None = None) -> Problem | None:
    """What a run that ended badly is: FLOW_FAILED, BREAKER_OPEN, ZOMBIE_RUN or NEVER_STARTED; for the hook and the watch.

    None: it ended well, was cancelled or interrupted, or a rule refused it. flow: the runs before it say since when, and
    what was the last good one.
    """
    if run.status != FAILED or _is_quiet(run):
        return None
    code = code_of(run)
    effect = of_flow(run.flow)
    return Problem(
        code=code,
        subject=run.flow,
        severity=Severity.CRITICAL,
        what=sentence(f"{run.flow} {_WORDS[code]}{_where(run)}: {run.error or 'it said nothing'}"),
        since=_since(run, flow),
        stale=effect.stale,
        works=effect.works,
        last_good=_last_good(flow),
        next_try=flow.next_try if flow else None,
        fix=_fix(run, code),
        link=run.link,
        event=f"{run.error_kind or 'defect'} {run.run_id}",
    )


def _is_quiet(run: RunFact) -> bool:
    """Who gave wrong input has read so, and the flow works as before."""
    return run.error_kind in _QUIET or (run.asked and run.error_kind == "input")


def code_of(run: RunFact) -> Code:
    """Which code a failed run has."""
    if run.error_kind in _CODES:
        return _CODES[run.error_kind]
    return Code.BREAKER_OPEN if _BREAKER.search(run.error or "") else Code.FLOW_FAILED


def kind_of(problem: Problem) -> str:
    """The error kind of the run that a problem of `flow_failed` tells of."""
    return problem.event.partition(" ")[0]


def _where(run: RunFact) -> str:
    step = f" in {run.step}" if run.step else ""
    return step + (" after all retries" if run.error_kind == "transient" else "")


def _fix(run: RunFact, code: Code) -> str:
    if code is Code.BREAKER_OPEN:
        return (
            "python -m pipelines.check_contract on what producers send; mend them, then python -m pipelines.incremental"
        )
    if code is Code.NEVER_STARTED:
        return "python -m deployments doctor"
    return run.resume or of_flow(run.flow).fix


def _since(run: RunFact, flow: FlowFact | None) -> datetime:
    """When the first run ended badly after the last good one."""
    bad = [run]
    for earlier in _decisive(flow) if flow else ():
        if earlier.status == COMPLETED:
            break
        bad.append(earlier)
    ends = [end for r in bad if (end := r.ended_at or r.started_at)]
    if not ends:
        raise ValueError("a run that ended has a time")
    return min(ends)


def _last_good(flow: FlowFact | None) -> datetime | None:
    good = (r.ended_at for r in flow.runs if r.status == COMPLETED) if flow else iter(())
    return next(good, flow.good_at if flow else None)


def _decisive(flow: FlowFact) -> Iterator[RunFact]:
    """Ended runs that say whether the flow works, the newest first."""
    for run in flow.runs:
        if run.status == COMPLETED or (run.status == FAILED and not _is_quiet(run)):
            yield run


# --------------------------------------------------------------------------------------------------------- the rules


def failed(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    """The newest run failed after all retries."""
    return _newest(facts, Code.FLOW_FAILED)


def breaker_open(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    """The newest run found more invalid entries than can be chance, and set nothing aside."""
    return _newest(facts, Code.BREAKER_OPEN)


def _newest(facts: Facts, code: Code) -> Iterator[Problem]:
    for flow in facts.flows:
        run = next(_decisive(flow), None)
        if run and run.status == FAILED and code_of(run) is code and (problem := flow_failed(run, flow)):
            yield problem


def died(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """A run ended without saying so: its process was killed, or gave no sign of life. Also when a later one went well."""
    return _lately(facts, limits, Code.ZOMBIE_RUN)


def never_started(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """A run was due and nobody took it up, or one hangs in PENDING, which keeps the slot of its flow."""
    stuck = facts.prefect.stuck if facts.prefect else ()
    hanging = {flow: (name, since) for name, flow, since in stuck if facts.now - since > limits.pending}
    for flow, (name, since) in hanging.items():
        yield _hangs(flow, name, since, facts)
    yield from (p for p in _lately(facts, limits, Code.NEVER_STARTED) if p.subject not in hanging)
    for name, flow, since in facts.prefect.ended if facts.prefect else ():
        yield _was_ended(flow, name, since, facts)


def _lately(facts: Facts, limits: Limits, code: Code) -> Iterator[Problem]:
    for flow in facts.flows:
        for place, run in enumerate(_decisive(flow)):
            ended = run.ended_at or run.started_at
            fresh = place == 0 or (ended is not None and facts.now - ended <= limits.recent)
            if fresh and run.status == FAILED and code_of(run) is code:
                yield from _once(run, flow, newest=place == 0)
                break


def _once(run: RunFact, flow: FlowFact, *, newest: bool) -> Iterator[Problem]:
    if problem := flow_failed(run, flow):
        yield (
            problem
            if newest
            else replace(problem, severity=Severity.WARNING, stale="", works="all; later runs went well")
        )


def _hangs(flow: str, name: str, since: datetime, facts: Facts) -> Problem:
    return Problem(
        code=Code.NEVER_STARTED,
        subject=flow,
        severity=Severity.CRITICAL,
        what=sentence(f"{flow}: run {name} hangs in PENDING for {long(facts.now - since)} and holds the flow's slot."),
        since=since,
        stale=of_flow(flow).stale,
        works=of_flow(flow).works,
        fix="python -m deployments doctor",
        event=f"stuck {name}",
    )


def _was_ended(flow: str, name: str, since: datetime, facts: Facts) -> Problem:
    return Problem(
        code=Code.NEVER_STARTED,
        subject=flow,
        severity=Severity.WARNING,
        what=sentence(
            f"{flow}: run {name} was in PENDING for {long(facts.now - since)} and never began; it was ended."
        ),
        since=since,
        works="all; its slot is free again",
        fix=of_flow(flow).fix,
        event=f"stuck {name}",
    )


def retried_too_often(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Of the steps of the last runs, too many needed more than one attempt."""
    for flow in facts.flows:
        runs, most = ended(flow, facts, limits), limits.of(flow.flow).retry_rate
        steps, retried = sum(r.steps for r in runs), sum(r.retried_steps for r in runs)
        if steps >= limits.retry_steps and retried / steps > most:
            yield _warning(
                Code.RETRY_RATE,
                flow,
                f"{flow.flow}: {share(retried / steps)} of the steps of the last {many(len(runs), 'run')} needed a retry;"
                f" more than {share(most)} is too many.",
                since=min(r.started_at for r in runs if r.started_at),
                fix="python -m deployments doctor",
            )


def ended(flow: FlowFact, facts: Facts, limits: Limits) -> list[RunFact]:
    """The runs that count for a rate: ended, within a day, at most `slow_of`."""
    fresh = (r for r in flow.runs if r.status in (COMPLETED, FAILED) and r.started_at)
    return list(islice((r for r in fresh if r.started_at and facts.now - r.started_at <= limits.day), limits.slow_of))


def slow(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """The newest run takes or took much longer than normal, or than an operator set."""
    for flow in facts.flows:
        run = next((r for r in flow.runs if r.status in (COMPLETED, RUNNING)), None)
        seconds, most = _seconds(run, facts.now) if run else None, _most(flow, run, limits.of(flow.flow))
        if run and seconds is not None and most is not None and seconds > most[0]:
            verb = "has been running for" if run.status == RUNNING else "took"
            yield _warning(
                Code.SLOW_RUN,
                flow,
                f"{flow.flow} {verb} {long(seconds)}; {most[1]}.",
                since=run.started_at or facts.now,
                fix="python -m pipelines.status",
                link=run.link,
                event=run.run_id,
            )


def _most(flow: FlowFact, run: RunFact | None, limits: Limits) -> tuple[float, str] | None:
    """So many seconds are still good, and why. The median of good runs is what is normal."""
    if limits.slow_after is not None:
        return limits.slow_after.total_seconds(), f"more than {long(limits.slow_after)} is set as slow"
    normal = _normal(flow.runs, run, limits)
    if normal is None:
        return None
    enough = max(limits.slow_floor, flow.slow / 2).total_seconds()  # runs of an empty stream make any other look slow
    words = f"normal is {long(max(1.0, normal))} (median of its good runs)"
    return max(limits.slow_factor * normal, enough), words


def _normal(runs: Sequence[RunFact], without: RunFact | None, limits: Limits) -> float | None:
    good = (r.seconds for r in runs if r is not without and r.status == COMPLETED and r.seconds is not None)
    seconds = list(islice(good, limits.slow_of))
    return median(seconds) if len(seconds) >= limits.slow_runs else None


def _seconds(run: RunFact, now: datetime) -> float | None:
    if run.status == RUNNING:
        return (now - run.started_at).total_seconds() if run.started_at else None
    return run.seconds


def schedule_missed(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Nothing started the flow for more than two intervals, or no run of it completed for many."""
    for flow in facts.flows:
        if flow.every is not None and (words := _not_started(flow, facts, limits) or _no_good_run(flow, facts, limits)):
            yield Problem(
                code=Code.SCHEDULE_MISSED,
                subject=flow.flow,
                severity=Severity.CRITICAL,
                what=sentence(words[0]),
                since=words[1],
                stale=of_flow(flow.flow).stale,
                works=of_flow(flow.flow).works,
                last_good=_last_good(flow),
                next_try=flow.next_try,
                fix="python -m deployments doctor",
            )


def _not_started(flow: FlowFact, facts: Facts, limits: Limits) -> tuple[str, datetime] | None:
    """In words, and since when. A run that is still going is a start, a refused one, too."""
    assert flow.every is not None  # asked of flows with a schedule only
    last = next((r.started_at or r.ended_at for r in flow.runs if r.status != "scheduled"), None)
    begun = last or flow.since
    going = any(r.status == RUNNING for r in flow.runs)
    most = limits.of(flow.flow).missed * flow.every + limits.schedule_grace
    if begun is None or going or facts.now - begun <= most:
        return None
    how = f"was not started for {long(facts.now - begun)}" if last else f"never ran, for {long(facts.now - begun)}"
    return f"{flow.flow} {how}; it should be every {long(flow.every)}.", begun + flow.every


def _no_good_run(flow: FlowFact, facts: Facts, limits: Limits) -> tuple[str, datetime] | None:
    """Runs that are cancelled, refused or interrupted every time page nobody one by one. Of one that failed it is told."""
    assert flow.every is not None
    first = next((r.ended_at for r in reversed(flow.runs) if r.ended_at), None)
    good, newest = _last_good(flow) or flow.since or first, next(_decisive(flow), None)
    told = newest is not None and newest.status == FAILED
    if good is None or told or facts.now - good <= limits.good_within * flow.every + limits.schedule_grace:
        return None
    why = next((r.error_kind or r.status for r in flow.runs if r.status == CANCELLED), "none ended")
    return f"{flow.flow} did not complete for {long(facts.now - good)}; its runs are {why}.", good + flow.every


def _warning(
    code: Code, flow: FlowFact, words: str, *, since: datetime, fix: str, link: str | None = None, event: str = ""
) -> Problem:
    return Problem(
        code=code,
        subject=flow.flow,
        severity=Severity.WARNING,
        what=sentence(words),
        since=since,
        works="all; results stay current",
        last_good=_last_good(flow),
        next_try=flow.next_try,
        fix=fix,
        link=link,
        event=event,
    )
