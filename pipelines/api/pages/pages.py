"""The routes of the pages for people: they look, and they change something only by a form that says what will happen."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute

from pipelines.access.principals import Principal
from pipelines.api import accounts, decisions, hearing
from pipelines.api.decisions import Wanted
from pipelines.api.desk import Desk, desk
from pipelines.api.pages import glance, letters, proposals, session, views
from pipelines.api.pages.failing import failed
from pipelines.api.pages.render import HEADERS, page
from pipelines.api.pages.repeating import must_get, repetition
from pipelines.api.problems import Problem
from pipelines.api.security import Note, asks, log_in, log_out, principal
from pipelines.errors import OrganismError, Refused
from pipelines.interventions.policy import halted_words
from pipelines.interventions.proposal import Choice
from pipelines.jobs import deciding, on_demand, operating, startable
from pipelines.jobs.flows import BY_NAME
from pipelines.privacy.traces import guard
from pipelines.runs import ENDED, Mode, Status

_A_PAGE, _LINES, _LONGEST_VERSION, _LONGEST_ID = 200, 500, 9, 18
Fields = Mapping[str, list[str]]


class _Page(APIRoute):
    """A route for people: what goes wrong in it is told on a page, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        do = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await do(request)
            except (Problem, OrganismError) as error:
                return failed(request, error)

        return handle


router = APIRouter(route_class=_Page, include_in_schema=False, default_response_class=HTMLResponse)


def _drawn(its: Desk, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """Unless a secret is on it, which is then a defect of ours. Raises Refused: LEAK."""
    text = page(
        name, its.forbidden, **{"refresh": None, "refreshes": False, "halted": None, "now": its.clock(), **values}
    )
    return HTMLResponse(guard(text, its.forbidden), status, dict(HEADERS))


def _said(its: Desk, visitor: views.Visitor, title: str, sentences: Sequence[str], back: str) -> HTMLResponse:
    return _drawn(its, "told", visitor=visitor, here="", title=title, sentences=sentences, back=back)


def _back(path: str) -> RedirectResponse:
    """After a form: the browser shows what there is now, and reloading sends nothing again."""
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


Its = Annotated[Desk, Depends(desk)]
Who = Annotated[Principal, Depends(principal)]
Noting = Annotated[Note, Depends(asks)]
Sent = Annotated[Fields, Depends(session.sent)]
Posted = Annotated[Fields, Depends(session.posted)]


async def visiting(request: Request, who: Who) -> views.Visitor:
    return session.visitor(request, who)


Visiting = Annotated[views.Visitor, Depends(visiting)]


# ------------------------------------------------------------------------------------------------ coming and going


@router.get("/login")
def login_form(its: Its, next: str = "/") -> Response:  # noqa: A002  # as in the URL
    return _drawn(its, "login", visitor=None, here="/login", next=session.local(next), words="")


@router.post("/login")
def login(request: Request, its: Its, fields: Posted, note: Noting) -> Response:
    name, onward = session.one(fields, "name").strip(), session.local(session.one(fields, "next"))
    try:
        issued = log_in(request, its, note, name, session.one(fields, "password"))
    except Refused as refused:
        return _drawn(its, "login", 401, visitor=None, here="/login", next=onward, words=refused.sentence)
    response = _back(onward)
    session.begin(response, request, issued, its.clock())
    return response


@router.post("/logout")
def logout(request: Request, its: Its, who: Who, _fields: Sent, note: Noting) -> Response:
    log_out(request, its, note, who)
    response = _back("/login")
    session.end(response, request)
    return response


# ------------------------------------------------------------------------------------------------ how things stand


@router.get("/")
def status(request: Request, its: Its, visitor: Visiting, still: str = "") -> Response:
    if "runs" not in visitor.may:
        return _elsewhere(its, visitor)
    return _drawn(its, "status", **views.status(_glance(request, its)(), visitor, still=bool(still)))


def _elsewhere(its: Desk, visitor: views.Visitor) -> Response:
    """Who may not see the machinery is shown what they may."""
    others = [path for path, _ in visitor.pages if path != "/"]
    if others:
        return _back(others[0])
    words = ["Your roles have no page here: what you may ask for is in the API.", "See /docs."]
    return _said(its, visitor, "You are logged in", words, "/docs")


def _glance(request: Request, its: Desk) -> glance.Glance:
    """One for the app."""
    state = request.app.state
    if not hasattr(state, "glance"):
        state.glance = glance.of(its.config)
    found: glance.Glance = state.glance
    return found


# ------------------------------------------------------------------------------------------------ runs


@router.get("/runs")
def runs(its: Its, visitor: Visiting, flow: str = "", before: str = "") -> Response:
    chosen, last = flow if flow in BY_NAME else "", int(before) if _is_number(before) else None
    found = its.ledger.find(flow_name=chosen or None, before_id=last, limit=_A_PAGE + 1)
    values = views.list_of_runs(
        [on_demand.as_fit(run, its.config.min_group_size) for run in found],
        visitor,
        its.clock(),
        flows=list(BY_NAME),
        flow=chosen,
        before=last,
        most=_A_PAGE,
        starts=startable.alone(),
    )
    return _drawn(its, "runs", **values)


@router.get("/runs/{run_id}")
def run(run_id: str, its: Its, visitor: Visiting) -> Response:
    op = its.operating()
    found = operating.live(op, must_get(its, run_id))
    link = op.orchestrator.url_of(found.run_id) if op.orchestrator and found.mode is Mode.PREFECT else None
    again, told = repetition(its, found), accounts.report(its, found)
    return _drawn(its, "run", **views.run(found, told, visitor, its.clock(), link, again))


@router.get("/runs/{run_id}/logs")
def logs(run_id: str, its: Its, visitor: Visiting) -> Response:
    found = must_get(its, run_id)
    lines = hearing.lines(its, found, _LINES)
    return _drawn(its, "logs", visitor=visitor, here="/runs", run=found, lines=lines)


@router.get("/flows/{flow}/start")
def may_start(flow: str, its: Its, visitor: Visiting) -> Response:
    if flow not in startable.alone():
        raise Problem(404, "NOT_FOUND", "there is no flow of that name that can be started here; the list has what can")
    return _drawn(its, "confirm", visitor=visitor, here="/runs", ask=views.starting(flow, str(uuid4())))


@router.post("/flows/{flow}/start")
def start(flow: str, its: Its, who: Who, fields: Sent, note: Noting) -> Response:
    """The form was drawn with a key, so that sending it twice starts one run."""
    started = hearing.start(its, who, note, flow, {}, session.one(fields, "key") or None)
    return _back(f"/runs/{started.run.id}")


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _LONGEST_ID


@router.get("/runs/{run_id}/cancel")
def may_cancel(run_id: str, its: Its, visitor: Visiting) -> Response:
    found = must_get(its, run_id)
    if found.status in ENDED:
        raise Refused("ENDED", f"run {found.id} has ended already: it is {found.status}")
    return _drawn(its, "confirm", visitor=visitor, here="/runs", ask=views.cancelling(found))


@router.post("/runs/{run_id}/cancel")
def cancel(run_id: str, its: Its, who: Who, fields: Sent, note: Noting) -> Response:
    found = must_get(its, run_id)
    note(found.run_id)
    operating.cancel(its.operating(), found.run_id, who.name, session.one(fields, "reason"), its.clock())
    return _back(f"/runs/{found.id}")


@router.get("/runs/{run_id}/retry")
def may_retry(run_id: str, its: Its, who: Who, visitor: Visiting) -> Response:
    found = must_get(its, run_id)
    hearing.insist_may_start(who, found.flow_name, found.parameters)
    if found.status not in (Status.FAILED, Status.CANCELLED):
        raise Refused("NOT_FAILED", f"run {found.id} is {found.status}; only a failed or a cancelled run is repeated")
    return _drawn(its, "confirm", visitor=visitor, here="/runs", ask=views.retrying(found, str(uuid4())))


@router.post("/runs/{run_id}/retry")
def retry(run_id: str, its: Its, who: Who, fields: Sent, note: Noting) -> Response:
    """The form was drawn with a key, so that sending it twice starts one run."""
    started = hearing.retry(its, who, note, must_get(its, run_id), session.one(fields, "key") or None)
    return _back(f"/runs/{started.run.id}")


# ------------------------------------------------------------------------------------------------ proposals


@router.get("/proposals")
def list_proposals(its: Its, visitor: Visiting, all: str = "") -> Response:  # noqa: A002  # as in the URL
    found = deciding.listed(its.proposals, its.config.min_group_size, over=bool(all))
    told = proposals.listed(found)
    return _drawn(
        its, "proposals", visitor=visitor, here="/proposals", halted=halted_words(found.halt), told=told,
        everything=bool(all),
    )  # fmt: skip


@router.get("/proposals/{proposal_id}")
def proposal(proposal_id: str, its: Its, visitor: Visiting) -> Response:
    words = _halted(its)
    return _drawn(its, "proposal", visitor=visitor, here="/proposals", halted=words, p=_told(its, proposal_id))


@router.get("/proposals/{proposal_id}/approve")
def may_approve(proposal_id: str, its: Its, visitor: Visiting) -> Response:
    return _asked(its, visitor, proposal_id, Choice.APPROVE)


@router.get("/proposals/{proposal_id}/reject")
def may_reject(proposal_id: str, its: Its, visitor: Visiting) -> Response:
    return _asked(its, visitor, proposal_id, Choice.REJECT)


@router.post("/proposals/{proposal_id}/approve")
def approve(proposal_id: str, its: Its, who: Who, visitor: Visiting, fields: Sent, note: Noting) -> Response:
    return _decided(its, who, visitor, proposal_id, Choice.APPROVE, fields, note)


@router.post("/proposals/{proposal_id}/reject")
def reject(proposal_id: str, its: Its, who: Who, visitor: Visiting, fields: Sent, note: Noting) -> Response:
    return _decided(its, who, visitor, proposal_id, Choice.REJECT, fields, note)


def _told(its: Desk, id_: str) -> proposals.Told:
    return proposals.told(decisions.found(its, id_), "")


def _halted(its: Desk) -> str | None:
    halt = its.proposals.halted()
    return halted_words(halt) if halt else None


def _asked(its: Desk, visitor: views.Visitor, id_: str, choice: Choice) -> Response:
    found = _told(its, id_)
    if not found.waits:
        raise Refused("NOT_PENDING", f"it does not wait for a decision: it is {found.mark[1]}")
    if choice is Choice.APPROVE:
        if visitor.shadow:
            raise Refused("SHADOW_MODE", "this installation only watches (shadow mode); ORGANISM_SHADOW=false ends it")
        deciding.insist_on_log(its.proposals, its.state / deciding.ANCHOR)  # before anybody is asked
    ask = proposals.asked(found, choice)
    return _drawn(its, "confirm", visitor=visitor, here="/proposals", halted=_halted(its), ask=ask)


def _decided(
    its: Desk, who: Principal, visitor: views.Visitor, id_: str, choice: Choice, fields: Fields, note: Note
) -> Response:
    """On the version that was shown with the form, which is in it; another one is refused."""
    version = session.one(fields, "version")
    if not version.isdecimal() or len(version) > _LONGEST_VERSION:
        raise Problem(422, "INVALID_INPUT", "the form does not say which version was looked at; open the page again")
    reason = proposals.reason_of(session.one(fields, "reason"))
    after = decisions.decide(its, who, note, Wanted(id_, int(version), choice), reason, "status page")
    title = "Approved" if choice is Choice.APPROVE else "Rejected"
    return _said(its, visitor, title, proposals.after(after), f"/proposals/{after.id}")


# ------------------------------------------------------------------------------------------------ dead letters


@router.get("/letters")
def list_letters(its: Its, visitor: Visiting, after: str = "") -> Response:
    found = letters.listed(its.redis().letters, after)
    return _drawn(its, "letters", visitor=visitor, here="/letters", found=found)


@router.get("/letters/replay")
def may_replay(request: Request, its: Its, visitor: Visiting) -> Response:
    ask = letters.asked(its.redis().letters, request.query_params.getlist("id"))
    return _drawn(its, "confirm", visitor=visitor, here="/letters", ask=ask)


@router.post("/letters/replay")
def replay(its: Its, visitor: Visiting, fields: Sent, note: Noting) -> Response:
    store, ids = its.redis().letters, fields.get("id", [])
    ready = letters.ready(store, ids, again=True)
    note(f"{len(ready)} dead letters", reason=session.one(fields, "reason"))
    words = letters.replay(store, ids)
    return _said(its, visitor, "Put back on the stream", words, "/letters")


# ------------------------------------------------------------------------------------------------ the switch


@router.get("/switch")
def switch(its: Its, visitor: Visiting) -> Response:
    words = _halted(its)
    if words and "resume" not in visitor.may:
        return _said(its, visitor, "Halted", [f"{words}.", "Who may approve may let it go on, on this page."], "/")
    ask = views.resuming(words) if words else views.halting()
    return _drawn(its, "confirm", visitor=visitor, here="/switch", halted=words, ask=ask)


@router.post("/switch/halt")
def halt(its: Its, who: Who, fields: Sent, note: Noting) -> Response:
    reason = proposals.reason_of(session.one(fields, "reason"))
    note("switch")
    its.proposals.halt(who.name, reason, its.clock())
    return _back("/")


@router.post("/switch/resume")
def resume(its: Its, who: Who, fields: Sent, note: Noting) -> Response:
    reason = proposals.reason_of(session.one(fields, "reason"))
    note("switch")
    its.proposals.resume(who.name, reason, its.clock())
    return _back("/")
