"""Rules about what the flows stand on: stores, stream, Prefect, memory and disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alerts.model import Code, Facts, FlowFact, Problem, RunFact, Severity
from alerts.rules.limits import Limits
from alerts.rules.words import clock, many, of_flow, of_store, sentence, share

_DOCTOR = "python -m deployments doctor"


def store_down(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    for store in facts.stores:
        if store.words is not None:
            effect = of_store(store.name)
            yield Problem(
                code=Code.STORE_DOWN,
                subject=store.name,
                severity=Severity.CRITICAL,
                what=sentence(f"{store.name} does not work: {store.words}"),
                since=facts.now,
                stale=effect.stale,
                works=effect.works,
                last_good=facts.applied_at,
                fix=effect.fix,
            )


def stale_graph(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """The dead man: entries wait, and nothing was applied for too long, whatever the runs say of themselves."""
    stream, now = facts.stream, facts.now
    if stream is None or not stream.unread:
        return
    times = [at for at in (stream.oldest_unread_at, facts.applied_at) if at]
    if times and now - max(times) > limits.stale:
        waiting = many(stream.unread, "entry waits", "entries wait")
        yield Problem(
            code=Code.STALE_GRAPH,
            subject="graph",
            severity=Severity.CRITICAL,
            what=sentence(f"Nothing was applied to the graph since {clock(max(times))}, and {waiting} in the stream."),
            since=max(times),
            stale=of_flow("incremental").stale,
            works=of_flow("incremental").works,
            last_good=facts.applied_at,
            fix="python -m deployments doctor; python -m pipelines.incremental",
        )


# ------------------------------------------------------------------------------------------ what the last day counted


def _counted(facts: Facts, limits: Limits, *names: str) -> Iterator[tuple[FlowFact, RunFact, float]]:
    """Runs of the last day, the newest first, in which any of these numbers is not zero; with their sum."""
    for flow in facts.flows:
        for run in _of_the_day(flow, facts, limits):
            if count := sum(run.result.get(name, 0) for name in names):
                yield flow, run, count


def _of_the_day(flow: FlowFact, facts: Facts, limits: Limits) -> Iterator[RunFact]:
    return (r for r in flow.runs if r.started_at and facts.now - r.started_at <= limits.day)


def entries_lost(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Entries left the stream before they were applied. Stays for a day: the next run cannot bring them back."""
    found = list(_counted(facts, limits, "lost", "vanished"))
    if found:
        _, newest, _ = found[0]
        count = many(sum(n for _, _, n in found), "entry was", "entries were")
        yield Problem(
            code=Code.ENTRIES_LOST,
            subject="stream",
            severity=Severity.CRITICAL,
            what=sentence(
                f"{count} removed from the stream before they were applied; somebody trims or deletes there."
            ),
            since=_time(found[-1][1], facts),
            stale="the graph lacks these interactions",
            works="everything else",
            lost=f"{many(sum(n for _, _, n in found), 'entry', 'entries')}, until producers send that time again",
            fix="have the producers send that time again (nothing is counted twice); docs/runbook.md, ENTRIES_LOST",
            link=newest.link,
            event=newest.run_id,
        )


def stream_reset(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """The stream went back: the server was flushed or restored. Stays for a day, too."""
    found = list(_counted(facts, limits, "reset"))
    if found:
        _, newest, _ = found[0]
        yield Problem(
            code=Code.STREAM_RESET,
            subject="stream",
            severity=Severity.CRITICAL,
            what="The stream went back: Redis was flushed, or restored from an older copy.",
            since=_time(found[-1][1], facts),
            stale="the graph may lack interactions that were never read",
            works="everything; what comes again is not counted twice",
            lost="what was unread when it happened, until producers send that time again",
            fix="have the producers send that time again; then python -m pipelines.verify",
            link=newest.link,
            event=newest.run_id,
        )


def dead_letters(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Too much of what was read in the last day can never be applied."""
    for flow in facts.flows:
        runs = list(_of_the_day(flow, facts, limits))
        read, dead = (sum(r.result.get(name, 0) for r in runs) for name in ("read", "dead_letters"))
        if dead > limits.dead_share * read and (read >= limits.dead_read or dead > limits.dead_count):
            yield Problem(
                code=Code.DEAD_LETTERS,
                subject=flow.flow,
                severity=Severity.WARNING,
                what=sentence(
                    f"{dead:,.0f} of {many(read, 'entry', 'entries')} ({share(dead / read)}) went to the dead letters;"
                    f" more than {share(limits.dead_share)} is too many."
                ),
                since=min(_time(r, facts) for r in runs if r.result.get("dead_letters")),
                stale="the graph lacks these interactions until they are replayed",
                works="everything else",
                fix="python -m pipelines.dlq list; mend the producer, then python -m pipelines.dlq replay",
            )


def drift(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    if facts.drift:
        at = facts.drift_at or facts.now
        yield Problem(
            code=Code.DRIFT,
            subject="graph",
            severity=Severity.CRITICAL,
            what=f"Graph and archive disagree on {many(facts.drift, 'tie')}.",
            since=at,
            stale="metrics of the people on these ties",
            works="ingest, and everything else",
            fix="python -m pipelines.verify; then python -m pipelines.rebuild --yes",
            event=at.isoformat(),
        )


def _time(run: RunFact, facts: Facts) -> datetime:
    return run.ended_at or run.started_at or facts.now


# -------------------------------------------------------------------------------------------------- Prefect, machine


def prefect_down(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    if facts.prefect and not facts.prefect.up:
        words = f"The Prefect server does not answer: {facts.prefect.words or 'no reason given'}"
        yield _prefect(
            Code.PREFECT_DOWN,
            "prefect",
            Severity.CRITICAL,
            words,
            facts,
            "start it; python -m deployments doctor. Meanwhile python -m pipelines.incremental --direct",
        )


def no_worker(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    if facts.prefect and facts.prefect.up and facts.prefect.workers_online == 0:
        words = "No worker is online: scheduled runs wait, and nobody takes them up."
        yield _prefect(Code.NO_WORKER, "worker", Severity.CRITICAL, words, facts, f"start a worker; {_DOCTOR}")


def queue_long(facts: Facts, limits: Limits) -> Iterator[Problem]:
    queue = facts.prefect.queue if facts.prefect else None
    if queue is not None and queue > limits.queue:
        words = f"{many(queue, 'run')} wait in the queue; more than {limits.queue} is too many."
        yield _prefect(Code.QUEUE_LONG, "queue", Severity.WARNING, words, facts, _DOCTOR)


def slot_leaked(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    for limit in facts.prefect.leaked if facts.prefect else ():
        words = f"No live run holds the slots of the limit {limit}; new runs wait for them."
        yield _prefect(Code.SLOT_LEAKED, limit, Severity.WARNING, words, facts, _DOCTOR)


def _prefect(code: Code, subject: str, severity: Severity, words: str, facts: Facts, fix: str) -> Problem:
    return Problem(
        code=code,
        subject=subject,
        severity=severity,
        what=sentence(words),
        since=facts.now,
        stale="nothing yet; the graph and the metrics, if it stays",
        works="stores and results; runs can be started by hand with --direct",
        last_good=max((r.ended_at for f in facts.flows for r in f.runs if _good(r) and r.ended_at), default=None),
        fix=fix,
    )


def _good(run: RunFact) -> bool:
    return run.status == "completed"


def resources(facts: Facts, limits: Limits) -> Iterator[Problem]:
    for name, part, where in (("memory", facts.memory_share, ""), ("disk", facts.disk_share, facts.disk_of)):
        if part is not None and part > limits.resource:
            yield Problem(
                code=Code.RESOURCES,
                subject=name,
                severity=Severity.CRITICAL if part > limits.resource_critical else Severity.WARNING,
                what=sentence(f"{share(part)} of the {name}{f' of {where}' if where else ''} is in use."),
                since=facts.now,
                stale="nothing yet",
                works="everything, until it is full",
                fix="free or add some; docs/runbook.md, RESOURCES",
            )
