"""Findings and normal bands to JSON and back, without loss: JSON has no infinite number, our intervals may."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import numpy as np

from pipelines.errors import PermanentError
from pipelines.evidence import Finding, SubjectKind
from pipelines.person_weeks import Baseline
from pipelines.timeseries.columns import check_text


@dataclass(frozen=True, slots=True)
class Written:
    """What one write did. `changed` counts new rows too: all of them the first time, none when it is repeated.

    empty: values that were NaN. excluded: points of people who are excluded or erased. Neither is stored.
    """

    points: int = 0
    points_changed: int = 0
    empty: int = 0
    excluded: int = 0
    findings: int = 0
    findings_changed: int = 0
    baselines: int = 0
    baselines_changed: int = 0


def check_findings(findings: Sequence[Finding]) -> None:
    """Refuse what cannot be kept, before anything is sent.

    Raises:
        PermanentError: an id comes twice, a finding is about a person, a text cannot be stored.
    """
    for finding in findings:
        encode_finding(finding)
        if finding.subject_kind is SubjectKind.PERSON:
            raise PermanentError(f"a finding on {finding.question} is about a person; findings are about groups")
    _insist_unique("finding", [f.id for f in findings])


def check_baselines(baselines: Sequence[Baseline]) -> None:
    """Refuse what cannot be kept, before anything is sent.

    Raises:
        PermanentError: a key comes twice, a band is about a person or has no finite ends, a text cannot be stored.
    """
    for band in baselines:
        name = f"baseline of {band.view}"
        check_text(name, band.subject)
        if band.kind is SubjectKind.PERSON:
            raise PermanentError(f"a {name} is about a person; normal bands are about groups")
        if not (math.isfinite(band.low) and math.isfinite(band.high) and band.low <= band.high):
            raise PermanentError(f"a {name} has no finite ends, or the low one above the high one")
    _insist_unique("baseline", map(baseline_key, baselines))


def baseline_key(band: Baseline) -> tuple[str, int, SubjectKind, str, date]:
    """What a band is known by."""
    return band.view, band.version, band.kind, band.subject, band.to_week


def _insist_unique(what: str, keys: Iterable[object]) -> None:
    if twice := sum(n > 1 for n in Counter(keys).values()):
        raise PermanentError(f"{twice} {what}s came twice in one write")


def encode_finding(finding: Finding) -> str:
    """All of the finding as JSON, its numbers exact.

    Raises:
        PermanentError: a text in it cannot be stored.
    """
    return msgspec.json.encode(_storable(msgspec.to_builtins(finding, enc_hook=_plain))).decode()


def decode_finding(body: str) -> Finding:
    # Not strict: a number that JSON does not have is a text here ("inf").
    return msgspec.json.decode(body, type=Finding, strict=False)


def finding_records(findings: Iterable[Finding]) -> str:
    rows = [{"id": f.id, "body": msgspec.Raw(encode_finding(f).encode())} for f in findings]
    return msgspec.json.encode(rows).decode()


def baseline_records(baselines: Iterable[Baseline]) -> str:
    return msgspec.json.encode(list(baselines), enc_hook=_plain).decode()


def baseline(row: tuple[Any, ...]) -> Baseline:
    view, version, kind, *rest = row
    return Baseline(view, version, SubjectKind(kind), *rest)


def _plain(value: object) -> object:
    """numpy's scalars, which statistics are full of, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} in a finding or baseline")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        check_text("a finding", value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value
