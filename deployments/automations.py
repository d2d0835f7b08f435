"""The automations on the Prefect server, installed so that a second time changes nothing.

`prefect automation create` makes a duplicate each time; here the name decides which one is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types
from pydantic import ValidationError

from deployments.checks import Check, bad, good
from deployments.manifest import TAG
from deployments.rest import Api, Row

Spec = dict[str, Any]


def shipped(pool: str, blocks: Sequence[str] = ()) -> list[Spec]:
    """The automations as the server's API takes them. blocks: ids of the notification blocks that are to be told."""
    text = files("deployments").joinpath("automations.yaml").read_text("utf-8")
    specs: list[Spec] = yaml.safe_load(Template(text).substitute(pool=pool, tag=TAG))["automations"]
    return [_finished(spec, blocks) for spec in specs]


def _finished(spec: Spec, blocks: Sequence[str]) -> Spec:
    tell = spec.pop("tell", None)
    told = [{"type": "send-notification", "block_document_id": block, **tell} for block in blocks] if tell else []
    return {**spec, "enabled": True, "actions": [*spec.get("actions", []), *told] or [{"type": "do-nothing"}]}


def install(api: Api, wanted: Sequence[Spec]) -> list[Check]:
    """Create, change or leave each; one check for each, saying which. Further ones of the same name are removed."""
    there = _by_name(api)
    return [_install_one(api, spec, there.get(spec["name"], [])) for spec in wanted]


def _install_one(api: Api, spec: Spec, found: Sequence[Row]) -> Check:
    name = spec["name"].removeprefix("organism-")
    if not found:
        api.post("/automations/", _normal(spec))
        return good(name, "created")
    for extra in found[1:]:
        api.delete(f"/automations/{extra['id']}")
    if is_as_shipped(spec, found[0]):
        return good(name, f"changed: {len(found) - 1} duplicates removed" if found[1:] else "unchanged")
    api.put(f"/automations/{found[0]['id']}", _normal(spec))
    return good(name, "changed")


def examine(api: Api, pool: str) -> list[Check]:
    """Whether each is there once, enabled and as shipped; notifications may go to any block."""
    there = _by_name(api)
    return [_examine_one(spec, there.get(spec["name"], [])) for spec in shipped(pool)]


def _examine_one(spec: Spec, found: Sequence[Row]) -> Check:
    name, again = spec["name"].removeprefix("organism-"), "python -m deployments setup"
    if not found:
        return bad(name, "not installed", again)
    if len(found) > 1:
        return bad(name, f"installed {len(found)} times: each of them acts", again)
    if not found[0]["enabled"]:
        return bad(name, "switched off", f"{again}, or switch it on in the Prefect UI")
    if not is_as_shipped({**spec, "actions": found[0]["actions"]}, found[0]):  # those may tell any block
        return bad(name, "not as this version ships it", again)
    kinds = [action["type"] for action in found[0]["actions"]]
    if "change-flow-run-state" in kinds:
        return good(name, "marks the run as crashed")
    if "send-notification" in kinds:
        return good(name, "notifies")
    return good(
        name, "tells nobody: no webhook is configured", f"set SLACK_WEBHOOK_URL or ALERT_WEBHOOK_URL; then {again}"
    )


def is_as_shipped(spec: Spec, row: Row) -> bool:
    """False also for one that this version of Prefect would not take."""
    try:
        return _normal(spec) == _normal(row)
    except ValidationError:
        return False


def _normal(spec: Mapping[str, Any]) -> Spec:
    """Both ways to write one, with every default filled in, so that they can be compared."""
    from prefect.events.schemas.automations import AutomationCore

    kept = {key: spec[key] for key in ("name", "description", "enabled", "trigger", "actions")}
    normal: Spec = AutomationCore.model_validate(kept).model_dump(mode="json", exclude={"owner_resource"})
    normal["trigger"].pop("id", None)  # the server gives one, which says nothing
    return normal


def _by_name(api: Api) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in sorted(api.automations(), key=lambda row: str(row["created"])):
        found.setdefault(row["name"], []).append(row)
    return found


# ------------------------------------------------------------------------------------------------ where they tell it


#: The fields of a notification in what is posted; Prefect fills them in. Slack takes one text.
_SLACK = {"text": "*{{ subject }}*\n{{ body }}"}
_PLAIN = {"subject": "{{ subject }}", "body": "{{ body }}"}


def blocks(webhooks: Mapping[str, str]) -> list[tuple[str, Check]]:
    """A notification block for each webhook (`slack` or `webhook` to its URL); its id, and what was done.

    The URL is stored on the Prefect server, encrypted, as that one has to send when nothing of ours runs.
    """
    return [_block(kind, url) for kind, url in sorted(webhooks.items())]


def _block(kind: str, url: str) -> tuple[str, Check]:
    # Prefect's own Slack block sends nothing, and says nothing, to any host but hooks.slack.com.
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.types import SecretDict

    name = f"organism-{kind}"
    wanted = CustomWebhookNotificationBlock(
        name=name,
        url="{{ url }}",
        method="POST",
        timeout=5,
        headers=None,
        cookies=None,
        secrets=SecretDict({"url": url}),
        json_data=dict(_SLACK if kind == "slack" else _PLAIN),
    )
    try:
        found: Any = CustomWebhookNotificationBlock.load(name)
    except ValueError:
        return str(wanted.save(name)), good(f"tell {kind}", "created")
    if _content(found) == _content(wanted):
        return str(found._block_document_id), good(f"tell {kind}", "unchanged")
    return str(wanted.save(name, overwrite=True)), good(f"tell {kind}", "changed")


def _content(block: Any) -> tuple[Any, ...]:
    return block.url, block.method, block.timeout, block.secrets.get_secret_value(), block.json_data
