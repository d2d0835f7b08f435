"""`python -m pipelines.docs`: the pages that are made from code. A house test fails when they are out of step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from pipelines import command
from pipelines.events import schema
from pipelines.graph import weights
from pipelines.settings import Settings
from pipelines.steps import RETRIES

_MADE = "<!-- made by `make docs`; do not edit -->\n"


def pages() -> Mapping[str, str]:
    """Path below docs/ -> content."""
    return {
        "settings.md": _settings(),
        "weights.md": _weights(),
        "interaction-event.schema.json": json.dumps(schema.json_schema(), indent=1) + "\n",
    }


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        _MADE,
        "Environment variables, or lines in `.env`. A wrong value is named with what was expected; values are never shown.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `ORGANISM_{name.upper()}` | {_default(field.default)} | {field.description} |")
    lines += ["", "## Retries", "", "| step | attempts | waits (s) | of one attempt at most (s) |", "|---|---|---|---|"]
    for step, policy in RETRIES.items():
        waits = ", ".join(f"{delay:g}" for delay in policy.delays())
        lines.append(
            f"| `{step}` | {policy.attempts} | {waits}, each up to {policy.jitter:.0%} longer | {policy.timeout_s:g} |"
        )
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or (isinstance(value, SecretStr) and not value.get_secret_value()) or value == "":
        return "unset"
    days = getattr(value, "days", None)
    return f"`{days}d`" if days is not None else f"`{value}`"


def _weights() -> str:
    lines = [
        "# What an interaction is worth",
        "",
        _MADE,
        f"Strength fades by half every {weights.HALF_LIFE.days} days. A broadcast counts as load and makes no tie.",
        "",
        "| medium | weight on each tie |",
        "|---|---|",
        *(f"| {medium} | {words} |" for medium, (words, _) in weights.WEIGHTS.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    folder = Path(__file__).parent.parent / "docs"
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")
        print(folder / name)
    return command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
