"""Who may do what: one table of routes. What is not in it does not exist, and what is in it has to exist.

Roles are no ladder: each route names all of the roles that may use it. How often is a rule of `access`, by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipelines.access.principals import Role
from pipelines.errors import PermanentError

Route = tuple[str, str]
EVERYBODY = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Access:
    """roles: any one of them is enough; none: nobody. public: no credential is asked for. limit: how often, by the rule's
    name; empty: without limit. audited: a note is left before the effect. page: for browsers, so that the cookie of a
    login is enough; such a route checks its own CSRF token, and who is not logged in is sent to the form.
    """

    roles: frozenset[Role] = frozenset()
    public: bool = False
    limit: str = "read"
    audited: bool = False
    page: bool = False


#: Runs, health, numbers about the machinery: nothing about groups of people.
_LOOK = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
_PROPOSALS = frozenset({Role.VIEWER, Role.APPROVER})
_OPERATE = frozenset({Role.OPERATOR})
_DECIDE = frozenset({Role.APPROVER})
#: To take something back or to stop it must not wait for the one right person; to let it go on may.
_STOP = frozenset({Role.APPROVER, Role.OPERATOR, Role.ADMIN})

_looking = Access(_LOOK)
_proposals = Access(_PROPOSALS)
_operating = Access(_OPERATE, limit="act", audited=True)
_deciding = Access(_DECIDE, limit="decide", audited=True)
_stopping = Access(_STOP, limit="act", audited=True)
_numbers = Access(frozenset({Role.ANALYST}), audited=True)
_open = Access(public=True, limit="")


def _page(roles: frozenset[Role], limit: str = "read", *, audited: bool = False) -> Access:
    return Access(roles, limit=limit, audited=audited, page=True)


TABLE: Mapping[Route, Access] = {
    ("POST", "/api/v1/auth/login"): Access(public=True, limit="login", audited=True),
    ("POST", "/api/v1/auth/logout"): Access(EVERYBODY, limit="act", audited=True),
    ("POST", "/api/v1/automation/workflow"): _operating,
    ("GET", "/api/v1/automation/status"): _looking,
    ("GET", "/api/v1/automation/workflow/{run_id}/status"): _looking,
    ("GET", "/workflows/flows"): _looking,
    ("POST", "/workflows/flows/{flow_type}/start"): _operating,
    ("GET", "/workflows/flows/{flow_id}/status"): _looking,
    ("POST", "/workflows/flows/{flow_id}/cancel"): _operating,
    ("POST", "/workflows/flows/{flow_id}/retry"): _operating,
    ("GET", "/workflows/flows/{flow_id}/logs"): _looking,
    ("GET", "/workflows/flows/{flow_id}/metrics"): _looking,
    # To whom it says what a plan or a check says is a matter of `hearing`, and noted; the rest is of the machinery.
    ("GET", "/workflows/flows/{flow_id}/report"): Access(EVERYBODY),
    ("GET", "/workflows/flows/{flow_id}/alerts"): _looking,
    ("POST", "/workflows/flows/{flow_id}/alerts"): _operating,
    ("GET", "/workflows/health"): _looking,
    ("GET", "/interventions"): _proposals,
    ("GET", "/interventions/{proposal_id}"): _proposals,
    ("POST", "/interventions/{proposal_id}/approve"): _deciding,
    ("POST", "/interventions/{proposal_id}/reject"): _deciding,
    ("POST", "/interventions/{proposal_id}/withdraw"): _stopping,
    ("POST", "/interventions/halt"): _stopping,
    ("POST", "/interventions/resume"): _deciding,
    ("GET", "/dead-letters"): _looking,
    ("POST", "/dead-letters/replay"): _operating,
    ("GET", "/findings"): _numbers,
    ("GET", "/points"): _numbers,
    ("GET", "/metrics"): _looking,
    ("GET", "/healthz"): _open,
    ("GET", "/readyz"): _open,
    ("GET", "/docs"): _open,
    ("GET", "/docs/{name}"): _open,
    ("GET", "/openapi.json"): _open,
    # For people, in a browser.
    ("GET", "/login"): Access(public=True, limit="", page=True),
    ("POST", "/login"): Access(public=True, limit="login", audited=True, page=True),
    ("POST", "/logout"): _page(EVERYBODY, limit="act", audited=True),
    ("GET", "/"): _page(EVERYBODY),
    ("GET", "/runs"): _page(_LOOK),
    ("GET", "/runs/{run_id}"): _page(_LOOK),
    ("GET", "/runs/{run_id}/logs"): _page(_LOOK),
    ("GET", "/flows/{flow}/start"): _page(_OPERATE),
    ("POST", "/flows/{flow}/start"): _page(_OPERATE, limit="act", audited=True),
    ("GET", "/runs/{run_id}/cancel"): _page(_OPERATE),
    ("POST", "/runs/{run_id}/cancel"): _page(_OPERATE, limit="act", audited=True),
    ("GET", "/runs/{run_id}/retry"): _page(_OPERATE),
    ("POST", "/runs/{run_id}/retry"): _page(_OPERATE, limit="act", audited=True),
    ("GET", "/proposals"): _page(_PROPOSALS),
    ("GET", "/proposals/{proposal_id}"): _page(_PROPOSALS),
    ("GET", "/proposals/{proposal_id}/approve"): _page(_DECIDE),
    ("POST", "/proposals/{proposal_id}/approve"): _page(_DECIDE, limit="decide", audited=True),
    ("GET", "/proposals/{proposal_id}/reject"): _page(_DECIDE),
    ("POST", "/proposals/{proposal_id}/reject"): _page(_DECIDE, limit="decide", audited=True),
    ("GET", "/letters"): _page(_LOOK),
    ("GET", "/letters/replay"): _page(_OPERATE),
    ("POST", "/letters/replay"): _page(_OPERATE, limit="act", audited=True),
    ("GET", "/switch"): _page(_STOP),
    ("POST", "/switch/halt"): _page(_STOP, limit="act", audited=True),
    ("POST", "/switch/resume"): _page(_DECIDE, limit="decide", audited=True),
    # Who clicked is proved by Slack's signature; their role is looked up, and their decision noted, behind it.
    ("POST", "/slack/interactive"): Access(public=True),
}


def compare(routes: Iterable[Route], table: Mapping[Route, Access]) -> None:
    """Refuse an app that is not the table.

    Raises:
        PermanentError: names the routes that nobody gave rights for, and the rights that are for no route.
    """
    found = list(routes)
    ungranted, unserved = sorted(set(found) - set(table)), sorted(set(table) - set(found))
    twice = sorted({route for route in found if found.count(route) > 1})
    wrong = [("no rights for", ungranted), ("no route for", unserved), ("twice", twice)]
    if words := [f"{what} {', '.join(map(' '.join, names))}" for what, names in wrong if names]:
        raise PermanentError(f"the table of roles and routes does not fit the app: {'; '.join(words)}")


def as_markdown(table: Mapping[Route, Access]) -> str:
    """The table for docs/api.md: `python -c "from pipelines.api.table import *; print(as_markdown(TABLE))"`."""
    order = [Role.VIEWER, Role.ANALYST, Role.APPROVER, Role.OPERATOR, Role.ADMIN]
    lines = ["| route | who | limit | noted |", "|---|---|---|---|"]
    for (method, path), its in table.items():
        roles = "everybody" if its.roles == EVERYBODY else ", ".join(role for role in order if role in its.roles)
        who = "public" if its.public else roles
        lines.append(f"| `{method} {path}` | {who} | {its.limit} | {'yes' if its.audited else ''} |")
    return "\n".join(lines)
