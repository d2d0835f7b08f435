"""Which alerts of a flow people hear, and from which thresholds on. What loses data is never turned off."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, Field

from alerts.flow_rules import Away, FlowRule, InvalidRule, known, known_codes
from pipelines.api import runs
from pipelines.api.automation import Asks, The, Who
from pipelines.api.desk import Desk
from pipelines.api.document import documented
from pipelines.api.shapes import Asked, Shape
from pipelines.errors import InvalidInput, TransientError
from pipelines.jobs.flows import BY_NAME
from pipelines.privacy.traces import mask

router = APIRouter(tags=["flows"])
_PATH = "/workflows/flows/{flow_id}/alerts"
_LONGEST_NOTE = 200
FlowId = Annotated[
    str, Path(min_length=1, max_length=200, description="the flow, or one of its runs", examples=["incremental"])
]


class RuleShown(Shape):
    code: str = Field(examples=["SLOW_RUN"])
    about: str = Field(examples=["how long a run may take"])
    enabled: bool
    threshold: float | None = Field(description="in `unit`; null: as `usual` says, or it has none")
    unit: str = Field(examples=["seconds"])
    severity: str | None = Field(description="null: as the rule itself says")
    muted_until: datetime | None
    note: str
    set_by: str | None = Field(description="null: it is the default")
    set_at: datetime | None


class Rules(Shape):
    flow_type: str
    rules: list[RuleShown]


class RuleAsked(Asked):
    """The whole rule: what is left out is the default again."""

    code: str = Field(max_length=40, examples=["SLOW_RUN"])
    enabled: bool = True
    threshold: float | None = Field(None, examples=[600])
    severity: str | None = Field(None, max_length=20, examples=["warning"])
    muted_until: AwareDatetime | None = None
    note: str = Field("", max_length=_LONGEST_NOTE)
    reset: bool = Field(False, description="true: forget what was set; give nothing else then but the code")


@router.get(_PATH, summary="Alert rules of a flow", responses=documented(404))
def alert_rules(flow_id: FlowId, its: The) -> Rules:
    """One for each code that can be set, with the defaults where nobody set anything."""
    flow = _flow(its, flow_id)
    try:
        return _shown(flow, its.postgres().rules.rules_for(flow, its.clock()))
    except Away as error:
        raise TransientError(str(error)) from None
    except InvalidRule as error:
        raise InvalidInput(str(error)) from None


@router.post(_PATH, summary="Set an alert rule of a flow", responses=documented(404))
def set_alert_rule(flow_id: FlowId, asked: RuleAsked, its: The, who: Who, note: Asks) -> Rules:
    """In force from the next look of the watch on. Mutes end by themselves, within 30 days."""
    flow, store, now = _flow(its, flow_id), its.postgres().rules, its.clock()
    try:
        rule = None if asked.reset else store.validated(_rule(flow, asked), now)
        code = rule.code if rule else known(flow, asked.code).code.value
        note(flow, code=code, **_set(rule))
        if rule is None:
            store.clear_rule(flow, code, who.name, now)
        else:
            store.set_rule(rule, who.name, now)
        return _shown(flow, store.rules_for(flow, now))
    except Away as error:
        raise TransientError(str(error)) from None
    except InvalidRule as error:
        raise InvalidInput(str(error)) from None


def _flow(its: Desk, given: str) -> str:
    return given if given in BY_NAME else runs.must_get(its, given).flow_name


def _rule(flow: str, asked: RuleAsked) -> FlowRule:
    names = ("code", "enabled", "threshold", "severity", "muted_until")
    return FlowRule(flow, **{name: getattr(asked, name) for name in names}, note=mask(asked.note, most=_LONGEST_NOTE))


def _set(rule: FlowRule | None) -> dict[str, Any]:
    """What of a rule the audit log keeps; of one that is cleared that it was."""
    if rule is None:
        return {"cleared": True}
    until = rule.muted_until.isoformat() if rule.muted_until else None
    kept = {name: getattr(rule, name) for name in ("enabled", "threshold", "severity", "note")}
    return {"cleared": False, "muted_until": until, **kept}


def _shown(flow: str, found: list[FlowRule]) -> Rules:
    about = {its.code.value: its for its in known_codes(flow)}
    names = ("code", "enabled", "threshold", "severity", "muted_until", "set_by", "set_at")
    shown = [
        RuleShown(
            **{name: getattr(rule, name) for name in names},
            note=mask(rule.note),
            about=about[rule.code].about,
            unit=about[rule.code].unit,
        )
        for rule in found
    ]
    return Rules(flow_type=flow, rules=shown)
