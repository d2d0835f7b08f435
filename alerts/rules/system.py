"""Rules about what the flows stand on: stores, stream, Prefect, memory and disk."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.model import Code, Facts, MachineFact, Problem, Severity, SumFact
from alerts.rules.causes import ALL_WORKERS
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
    if times and now - max(times) > limits.of("incremental").stale:
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


def _sums(facts: Facts, name: str) -> list[SumFact]:
    return [flow.day.sums[name] for flow in facts.flows if name in flow.day.sums]


def entries_lost(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    """Entries left the stream before they were applied. Stays for a day: the next run cannot bring them back.

    The stream's own counter counts, too: a run that noticed a loss may be killed before it can say so.
    """
    said, counted = _sums(facts, "lost"), facts.stream.lost if facts.stream else None
    told = [*said, *_sums(facts, "vanished"), *([counted] if counted else [])]
    lost = max(sum(s.total for s in said), counted.total if counted else 0) + sum(
        s.total for s in _sums(facts, "vanished")
    )
    if lost:
        yield Problem(
            code=Code.ENTRIES_LOST,
            subject="stream",
            severity=Severity.CRITICAL,
            what=sentence(
                f"{many(lost, 'entry was', 'entries were')} removed from the stream before they were applied;"
                " somebody trims or deletes there."
            ),
            since=min(s.since for s in told),
            stale="the graph lacks these interactions",
            works="everything else",
            lost=f"{many(lost, 'entry', 'entries')}, until producers send that time again",
            fix="have the producers send that time again (nothing is counted twice); docs/runbook.md, ENTRIES_LOST",
            link=next((s.link for s in told if s.link), None),
            event=(counted or told[0]).newest,
        )


def stream_reset(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    """The stream went back: the server was flushed or restored. Stays for a day, too."""
    seen = [facts.stream.reset] if facts.stream and facts.stream.reset else []
    found = [*seen, *_sums(facts, "reset")]
    if found:
        yield Problem(
            code=Code.STREAM_RESET,
            subject="stream",
            severity=Severity.CRITICAL,
            what="The stream went back: Redis was flushed, or restored from an older copy.",
            since=min(s.since for s in found),
            stale="the graph may lack interactions that were never read",
            works="everything; what comes again is not counted twice",
            lost="what was unread when it happened, until producers send that time again",
            fix="have the producers send that time again; then python -m pipelines.verify",
            link=next((s.link for s in found if s.link), None),
            event=found[0].newest,
        )


def dead_letters(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Too much of what was read in the last day can never be applied."""
    for flow in facts.flows:
        sums, most = flow.day.sums, limits.of(flow.flow).dead_share
        read, dead = (sums[name].total if name in sums else 0 for name in ("read", "dead_letters"))
        if dead > most * read and (read >= limits.dead_read or dead > limits.dead_count):
            part = f" ({share(dead / read)})" if read else ""
            yield Problem(
                code=Code.DEAD_LETTERS,
                subject=flow.flow,
                severity=Severity.WARNING,
                what=sentence(
                    f"{dead:,.0f} of {many(read, 'entry', 'entries')}{part} went to the dead letters;"
                    f" more than {share(most)} is too many."
                ),
                since=sums["dead_letters"].since,
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
        yield _prefect(Code.NO_WORKER, ALL_WORKERS, Severity.CRITICAL, words, facts, f"start a worker; {_DOCTOR}")
    for queue in facts.prefect.unserved if facts.prefect else ():
        words = f"No worker asks for the runs of the queue {queue}: they wait, and nobody takes them up."
        fix = f"start a worker that serves {queue}, or all queues; {_DOCTOR}"
        yield _prefect(Code.NO_WORKER, queue, Severity.CRITICAL, words, facts, fix)


def queue_long(facts: Facts, limits: Limits) -> Iterator[Problem]:
    queue = facts.prefect.queue if facts.prefect else None
    if queue is not None and queue > limits.queue:
        words = f"{many(queue, 'run')} wait in the queue; more than {limits.queue} is too many."
        yield _prefect(Code.QUEUE_LONG, "queue", Severity.WARNING, words, facts, _DOCTOR)


def slot_leaked(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    for limit in facts.prefect.leaked if facts.prefect else ():
        words = f"No live run holds the slots of the limit {limit}; new runs wait for them."
        yield _prefect(Code.SLOT_LEAKED, limit, Severity.WARNING, words, facts, _DOCTOR)
    for limit in facts.prefect.given_back if facts.prefect else ():
        words = f"No live run held the slots of the limit {limit}; they were given back."
        yield _prefect(Code.SLOT_LEAKED, limit, Severity.INFO, words, facts, "")


def _prefect(code: Code, subject: str, severity: Severity, words: str, facts: Facts, fix: str) -> Problem:
    return Problem(
        code=code,
        subject=subject,
        severity=severity,
        what=sentence(words),
        since=facts.now,
        stale="nothing yet; the graph and the metrics, if it stays",
        works="stores and results; runs can be started by hand with --direct",
        last_good=max((f.good_at for f in facts.flows if f.good_at), default=None),
        fix=fix,
    )


def resources(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """Each machine is an incident of its own, and ends when that machine says so."""
    here = MachineFact(facts.machine, facts.memory_share, facts.disk_share, facts.disk_of)
    for machine in (here, *facts.others):
        yield from _full(machine, facts, limits)


def _full(machine: MachineFact, facts: Facts, limits: Limits) -> Iterator[Problem]:
    on = f" on {machine.name}" if machine.name else ""
    disk_of = f" of {machine.disk_of}" if machine.disk_of else ""
    for name, part, where in (("memory", machine.memory_share, ""), ("disk", machine.disk_share, disk_of)):
        if part is not None and part > limits.resource:
            yield Problem(
                code=Code.RESOURCES,
                subject=f"{name}{on}",
                severity=Severity.CRITICAL if part > limits.resource_critical else Severity.WARNING,
                what=sentence(f"{share(part)} of the {name}{where}{on} is in use."),
                since=facts.now,
                stale="nothing yet",
                works="everything, until it is full",
                fix="free or add some; docs/runbook.md, RESOURCES",
            )
