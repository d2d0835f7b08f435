"""The nouns of weigh and propose, as `model` has those of sense and map: frozen values, no behaviour of their own.

Numbers of many subjects travel as columns (`Series`), never as one object a number. Times are milliseconds since
1970-01-01 UTC. A finding is about a group or all; there is no finding, and no proposal, about a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


#: No number is about fewer people, whatever the settings say: they may raise k, never lower it.
K_FLOOR = 5


class SubjectKind(StrEnum):
    PERSON = "person"
    TEAM = "team"
    TEAM_PAIR = "team_pair"
    ORG = "org"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One view of many subjects at one time: a column of points.

    subjects: pseudonyms, team names, or "A|B" with A < B for a pair; "" for the organisation. values: float64 of the
    same length; NaN where a subject has no value, which is then not stored. sizes: people behind each value (1 for a
    person): what the privacy sink decides by. time_ms: end of the window of a graph view, start of the week of a weekly one.
    """

    view: str
    version: int
    kind: SubjectKind
    time_ms: int
    subjects: tuple[str, ...]
    values: Floats
    sizes: Ints


class Status(StrEnum):
    """What a finding is worth. Only `CREDIBLE` may lead to a proposal."""

    CREDIBLE = "credible"
    NO_EFFECT = "no_effect"
    UNDERPOWERED = "underpowered"
    FEEDBACK_OR_CONFOUNDING = "feedback_or_confounding"
    SPEC_SENSITIVE = "spec_sensitive"
    POOR_OVERLAP = "poor_overlap"
    EXPLORATORY_PROXY = "exploratory_proxy"
    TOO_FEW_CLUSTERS = "too_few_clusters"
    NOT_ENOUGH_HISTORY = "not_enough_history"
    SUPPRESSED = "suppressed"


class CheckResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Check:
    """A test that could refute an estimate. `gate`: failing it changes the status; else it is shown only.

    words: one plain sentence, with what this check cannot see where that matters.
    """

    name: str
    result: CheckResult
    words: str
    gate: bool = False
    statistic: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect in units of the outcome per unit of the treatment, with its 95 % interval."""

    method: str
    effect: float
    se: float
    ci_low: float
    ci_high: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An answer to one question about one group: estimate, checks, status.

    id: deterministic, of question, subject and data version. estimate: the main specification; its interval is already
    the union with the spread of `specs`. None when there was too little to estimate. contrast: a change of the treatment
    inside its observed 5th-95th percentile, for which `contrast_effect` (and interval) says what it would do.
    mde: the smallest effect (80 % power, 5 % level) that this data could have shown. enough_on: when there will be
    enough history. reasons: plain sentences, why the status is what it is.
    """

    id: str
    question: str
    words: str
    treatment: str
    treatment_unit: str
    outcome: str
    outcome_kind: str
    lag_weeks: int
    subject_kind: SubjectKind
    subject: str
    people: int
    periods: int
    rows: int
    clusters: int
    cluster_level: str
    estimate: Estimate | None
    specs: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    status: Status
    reasons: tuple[str, ...]
    data_version: str
    mde: float | None = None
    effect_sd: float | None = None
    q_bh: float | None = None
    q_by: float | None = None
    robustness: float | None = None
    robustness_benchmark: float | None = None
    contrast: float | None = None
    contrast_effect: tuple[float, float, float] | None = None
    interference: bool = False
    enough_on: date | None = None


# ------------------------------------------------------------------------------------------------ propose


class State(StrEnum):
    """Where a proposal stands; which may follow which, and who may do it, is `interventions.lifecycle.TRANSITIONS`."""

    DRAFT = "draft"
    BLOCKED = "blocked"
    SHADOW = "shadow"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    EXECUTING = "executing"
    EXECUTED = "executed"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"
    MONITORING = "monitoring"
    IMPROVED = "improved"
    NO_CHANGE = "no_change"
    INCONCLUSIVE = "inconclusive"
    HARMFUL = "harmful"


@dataclass(frozen=True, slots=True)
class RuleRefusal:
    """One rule's reason for saying no to a proposal or a decision, and what would change its mind."""

    rule: str
    words: str
    unblocks: str = ""
