"""Start, cancel, repeat and follow runs by request, with Prefect and without it. Plain functions over ports.

Nothing is started before the request is written down; whatever comes after that may be done twice. So a request that is
repeated with its key, also after whoever took it died in the middle, ends as one run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from pipelines.errors import InvalidInput, OrganismError, PermanentError, Refused, TransientError
from pipelines.jobs import flows, startable
from pipelines.jobs.prefect_view import OVER, is_silent
from pipelines.ports import Ledger, Orchestrator
from pipelines.privacy.traces import mask
from pipelines.requests.request import Request
from pipelines.runs import ENDED, ErrorKind, Mode, PrefectRun, Run, RunStep, Status

#: Prefect's word that a run has ended counts once the run was silent for so long, as for the watch.
_FRESH = timedelta(seconds=60)
_LONGEST_KEY, _LONGEST_REASON = 255, 500
_CANCELLING, _CANCELLED = "CANCELLING", "CANCELLED"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's log. Redacted."""

    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """repeated: the same request had been made before, and this is its run. why_direct: None in Prefect mode."""

    run: Run
    repeated: bool
    why_direct: str | None = None


class Requests(Protocol):
    def claim(self, wanted: Request) -> Request:
        """The one that holds: `wanted`, written; or the one with its key by the same user, or another open retry of the same
        run, as they were. Keys are known for a day.
        """

    def known(self, asked_by: str, key: str, now: datetime) -> Request | None: ...

    def of(self, run_id: str) -> Request | None:
        """The request that the run was started by; None: it came by schedule or from a terminal."""

    def open_retry(self, run_id: str, now: datetime) -> Request | None:
        """The request by which this run is being repeated."""

    def note_run(self, id_: str, run_id: str) -> None:
        """Which run it became. The first word counts."""

    def withdraw(self, id_: str) -> None:
        """As if it had never been made, unless it has a run."""

    def may_launch(self, id_: str, now: datetime) -> bool:
        """True for one caller; again only when nobody took the run up for a while."""

    def take_up(self, run_id: str, now: datetime) -> bool:
        """True for the one process that may do the run."""

    def askers(self, id_: str) -> tuple[str, ...]:
        """Who asked for it, by the id of a request or of its run, and who asked for the runs that it repeats."""

    def forget(self, before: datetime) -> int: ...


@dataclass(frozen=True)
class Operating:
    """launch: starts a process for a run in direct mode; may be called twice for one. notes: the last lines that it wrote,
    oldest first; none where there are none here. end: ends it, if it is on this machine and surely that run's; it is gone
    when this returns. settle: closes the rows of those that were launched here and are gone, and says which. most: runs that
    may be open when one is started without Prefect, which has limits of its own. why_direct: None when Prefect is to run it,
    else why not; asked before every start.
    """

    ledger: Ledger
    orchestrator: Orchestrator | None
    requests: Requests
    launch: Callable[[Run], None]
    notes: Callable[[str, int], list[Line]]
    end: Callable[[str], object] = lambda _run_id: None
    settle: Callable[[datetime], list[str]] = lambda _now: []
    most: int = 10
    why_direct: Callable[[], str | None] | None = None


# ------------------------------------------------------------------------------------------------ starting


def start(op: Operating, flow: str, parameters: Mapping[str, Any], by: str, key: str | None, now: datetime) -> Started:
    """A run of the flow; its row is in the ledger when this returns. key: the Idempotency-Key of the request, if any.

    Raises:
        InvalidInput: an unknown flow or parameter. Refused: KEY_REUSED, NOT_TAKEN, TOO_MANY_RUNS. TransientError: nobody can
        say whether it was started; the same request with the same key finds out.
    """
    asked = startable.checked(flow, parameters)
    digest = _digest("start", flow, asked)
    held = _known(op, by, key, digest, now)
    return held or _begin(op, flow, asked, digest, by, key, now)


def retry(op: Operating, run_id: str, by: str, key: str | None, now: datetime) -> Started:
    """A new run of the same flow with the same parameters, where that is possible from the step at which the old one stopped.

    Raises:
        as `start`; Refused: NOT_FAILED, RETRIED while another retry is open.
    """
    digest = _digest("retry", run_id)
    if held := _known(op, by, key, digest, now):
        return held
    old = _must_get(op, run_id)
    if old.status not in (Status.FAILED, Status.CANCELLED):
        raise Refused("NOT_FAILED", f"run {old.run_id} is {old.status}; only a failed or a cancelled run is repeated")
    asked = startable.checked(old.flow_name, _again(old))
    return _begin(op, old.flow_name, asked, digest, by, key, now, retry_of=old.run_id)


def _again(old: Run) -> dict[str, Any]:
    """What a retry is told. Of a run that has begun a step it is known what that left; any other begins anew."""
    known = startable.takes(old.flow_name)
    asked = {name: value for name, value in old.parameters.items() if name in known}
    if flows.BY_NAME[old.flow_name].resumes and old.correlation_id and old.steps:
        asked["resume"] = old.correlation_id
    return asked


def _known(op: Operating, by: str, key: str | None, digest: str, now: datetime) -> Started | None:
    if key is None:
        return None
    held = op.requests.known(by, _key(key), now)
    return None if held is None else _again_started(op, held, digest, now)


def _again_started(op: Operating, held: Request, digest: str, now: datetime) -> Started:
    if held.digest != digest:
        raise Refused(
            "KEY_REUSED", "this Idempotency-Key was given with another request; a new request needs a new one"
        )
    return Started(_finish(op, held, now), repeated=True)


def _begin(
    op: Operating,
    flow: str,
    asked: Mapping[str, Any],
    digest: str,
    by: str,
    key: str | None,
    now: datetime,
    retry_of: str | None = None,
) -> Started:
    why, id_ = _why_direct(op), str(uuid4())
    if why and (words := _too_many(op)):
        raise Refused("TOO_MANY_RUNS", words)
    mode = Mode.DIRECT if why else Mode.PREFECT
    said = {"key": _key(key) if key is not None else None, "retry_of": retry_of}
    wanted = Request(id_, flow, mode, by, digest, now, asked, run_id=id_ if why else None, **said)
    held = op.requests.claim(wanted)
    if held.id == wanted.id:
        return Started(_finish(op, held, now), repeated=False, why_direct=why)
    if wanted.key is not None and (held.asked_by, held.key) == (by, wanted.key):
        return _again_started(op, held, digest, now)
    if held.run_id is not None:
        raise Refused("RETRIED", f"run {retry_of} is being repeated already, by run {held.run_id}")
    return Started(_finish(op, held, now), repeated=True)  # somebody's repetition that was given up half-way


def _too_many(op: Operating) -> str:
    """Several at the same moment may each find room; what it guards is this machine, not a sum, and not Prefect's workers."""
    open_ = op.ledger.find(statuses=(Status.SCHEDULED, Status.RUNNING), limit=1_000)
    found = sum(run.mode is Mode.DIRECT for run in open_)
    return f"{found} runs are open, and {op.most} may be (ORGANISM_MAX_RUNS); wait for one to end" * (found >= op.most)


def _why_direct(op: Operating) -> str | None:
    why = op.why_direct() if op.why_direct else None
    if op.orchestrator is None:
        return why or "no Prefect server answers"
    return why if op.why_direct else op.orchestrator.healthy()


def _key(given: str) -> str:
    """Only the digest is kept: what a client makes its keys of is its own affair."""
    if not 0 < len(given) <= _LONGEST_KEY:
        raise InvalidInput(f"an Idempotency-Key has 1 to {_LONGEST_KEY} characters")
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------ what may be done twice


def _finish(op: Operating, held: Request, now: datetime) -> Run:
    """Whatever of it is not done yet."""
    if held.mode is Mode.PREFECT:
        return _through_prefect(op, held, now)
    run = op.ledger.schedule(held.flow_name, held.id, Mode.DIRECT, now, parameters=held.parameters)
    if run.status is Status.SCHEDULED and op.requests.may_launch(held.id, now):
        op.launch(run)
    return _must_get(op, held.id)


def _through_prefect(op: Operating, held: Request, now: datetime) -> Run:
    if held.run_id and (run := op.ledger.get(held.run_id)) is not None:
        return run
    if op.orchestrator is None:
        raise TransientError(
            "this request was given to Prefect, and no Prefect server answers now; check PREFECT_API_URL"
        )
    flow = held.flow_name
    try:
        its = op.orchestrator.start(f"{flow}/{flow}", held.parameters, prefect_key(held.id))
    except PermanentError as error:
        op.requests.withdraw(held.id)
        words = f"Prefect did not take a run of {flow}: {error}; is it deployed? python -m deployments list"
        raise Refused("NOT_TAKEN", words) from None
    op.requests.note_run(held.id, its.run_id)
    return op.ledger.schedule(
        flow,
        its.run_id,
        Mode.PREFECT,
        now,
        parameters=held.parameters,
        scheduled_at=its.expected_at,
        deployment_name=flow,
    )


_PREFECT_KEY = "organism-request-"


def prefect_key(request_id: str) -> str:
    """The idempotency key by which Prefect makes one run of one request."""
    return _PREFECT_KEY + request_id


def request_of(prefects_key: str | None) -> str | None:
    """The id of the request that a run with this idempotency key was made of; None: of none of ours."""
    ours = prefects_key is not None and prefects_key.startswith(_PREFECT_KEY)
    return prefects_key.removeprefix(_PREFECT_KEY) if ours and prefects_key else None


# ------------------------------------------------------------------------------------------------ cancelling


def cancel(op: Operating, run_id: str, by: str, reason: str, now: datetime) -> Run:
    """Ask the run to end; its row as it stands then.

    Direct mode: the row is cancelled at once, and the process hears of it: on this machine it is ended before this returns,
    elsewhere it hears with its next beat (15 s). Prefect mode: a run that has not begun is cancelled at once; one that is at
    work stays `running`, with prefect_state Cancelling, until its worker has ended its process.

    Raises:
        Refused: ENDED, OUT_OF_REACH. TransientError: Prefect has to be asked, and is away.
    """
    run = _must_get(op, run_id)
    if run.status in ENDED:
        raise _ended(run.run_id, run.status)
    why = mask(reason, most=_LONGEST_REASON).strip() or "no reason was given"
    words = mask(f"cancelled by {by}: {why}")
    if run.mode is Mode.DIRECT:
        _cancel_directly(op, run, words, now)
    else:
        _cancel_in_prefect(op, run, words, now)
    return _must_get(op, run.run_id)


def _cancel_directly(op: Operating, run: Run, words: str, now: datetime) -> None:
    """The row first: a process that is only being started reads it and does not begin."""
    if not op.ledger.close(run.run_id, Status.CANCELLED, now, error=words, error_kind=ErrorKind.INTERRUPTED):
        raise _ended(run.run_id, _must_get(op, run.run_id).status)
    op.end(run.run_id)


def _cancel_in_prefect(op: Operating, run: Run, words: str, now: datetime) -> None:
    if op.orchestrator is None:
        raise TransientError("this run is Prefect's, and no Prefect server answers now; check PREFECT_API_URL")
    its = op.orchestrator.run(run.run_id)
    if its is not None and its.state_type not in OVER:
        its = _set_cancelling(op.orchestrator, run, its)
    if its is None:
        _cancel_unknown(op, run, words, now)
        return
    if its.state_name != run.prefect_state:
        op.ledger.note_prefect_state(run.run_id, its.state_name)
    if its.state_type == _CANCELLED and not _works(op, run.run_id, now):
        op.ledger.close(run.run_id, Status.CANCELLED, now, error=words, error_kind=ErrorKind.INTERRUPTED)
    elif its.state_type in OVER and its.state_type != _CANCELLED:
        raise _ended(run.run_id, f"{its.state_name} for Prefect")


def _set_cancelling(api: Orchestrator, run: Run, its: PrefectRun) -> PrefectRun | None:
    """The run as it is then. Who asked, and why, is not for everybody who may look at Prefect."""
    if run.deployment_name is None and run.status is Status.RUNNING:
        words = "was started at a terminal, where no worker can end it; Ctrl-C there does"
        raise Refused("OUT_OF_REACH", f"run {run.run_id} {words}")
    if its.state_type != _CANCELLING:
        try:
            api.set_state(run.run_id, _CANCELLING, "Cancelling", "by request")
        except PermanentError as error:
            after = api.run(run.run_id)
            if after is not None and after.state_type not in OVER:
                raise Refused("OUT_OF_REACH", f"Prefect does not let it be cancelled: {error}") from None
    return api.run(run.run_id)


def _cancel_unknown(op: Operating, run: Run, words: str, now: datetime) -> None:
    """Prefect has forgotten it. What never began will not; a process without its server can be ended by nobody from here."""
    if run.status is not Status.SCHEDULED:
        words = (
            f"Prefect does not know run {run.run_id} any more; if its process lives, it ends by itself or its worker"
        )
        raise Refused("OUT_OF_REACH", words)
    op.ledger.close(run.run_id, Status.CANCELLED, now, error=words, error_kind=ErrorKind.INTERRUPTED)


def _works(op: Operating, run_id: str, now: datetime) -> bool:
    """Whether the run gave signs of life just now, whatever Prefect says: somebody may have set its state by hand."""
    row = _must_get(op, run_id)
    return row.status is Status.RUNNING and not is_silent(row, _FRESH, op.ledger.clock(now))


def _ended(run_id: str, how: str) -> Refused:
    return Refused("ENDED", f"run {run_id} has ended already: {how}; nothing was changed")


# ------------------------------------------------------------------------------------------------ following


def live(op: Operating, run: Run) -> Run:
    """The run with the state that Prefect tells now; as it is in direct mode, and while the server is away."""
    if run.mode is not Mode.PREFECT or op.orchestrator is None:
        return run
    try:
        its = op.orchestrator.run(run.run_id)
        if its is None or its.state_name == run.prefect_state:
            return run
        op.ledger.note_prefect_state(run.run_id, its.state_name)
    except OrganismError:  # nothing is claimed that could not be asked; readiness says what is away
        return run
    return replace(run, prefect_state=its.state_name)


def logs(op: Operating, run_id: str, limit: int) -> list[Line]:
    """The last lines, oldest first. Where nobody wrote any, what the ledger knows."""
    run = _must_get(op, run_id)
    if run.mode is Mode.DIRECT:
        return op.notes(run.run_id, limit) or _story(run)[-limit:]
    try:
        lines = op.orchestrator.logs(run.run_id, limit) if op.orchestrator else []
    except TransientError as error:
        away = Line(run.created_at, "WARNING", f"Prefect's lines cannot be had now ({error}); this is the account")
        return [away, *_story(run)][-limit:]
    return [Line(at, level, mask(text)) for at, level, text in lines] or _story(run)[-limit:]


def _story(run: Run) -> list[Line]:
    """The account of a run as lines: asked for, began, its steps, the end."""
    lines = [Line(run.created_at, "INFO", f"{run.flow_name}: in the account as run {run.id}, {run.mode} mode")]
    if run.started_at:
        lines.append(Line(run.started_at, "INFO", f"began, attempt {run.attempts}"))
    lines += [_of_step(step) for step in run.steps]
    if run.completed_at:
        level = "ERROR" if run.status is Status.FAILED else "INFO"
        why = f": {mask(run.error)}" if run.error else ""
        lines.append(Line(run.completed_at, level, f"{run.status}{why}"))
    return sorted(lines, key=lambda line: line.at)


def _of_step(step: RunStep) -> Line:
    level = "ERROR" if step.status is Status.FAILED else "INFO"
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in step.counts.items() if count)
    attempts = f" after {step.attempts} attempts" if step.attempts > 1 else ""
    why = mask(step.error) if step.error else counts
    words = f"{step.name} began; {step.status}{attempts}, {step.seconds:.1f} s" + (f": {why}" if why else "")
    return Line(step.started_at, level, words)


def _must_get(op: Operating, run_id: str) -> Run:
    if (run := op.ledger.get(run_id)) is None:
        raise InvalidInput("there is no run of that id")
    return run
