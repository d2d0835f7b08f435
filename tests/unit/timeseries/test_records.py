"""Findings to JSON and back: the same finding, whatever numbers and texts are in it."""

from __future__ import annotations

import math
from datetime import date

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import PermanentError
from pipelines.evidence import Check, CheckResult, Estimate, Finding, Status, SubjectKind
from pipelines.person_weeks import Baseline
from pipelines.timeseries import records

numbers = st.floats(allow_nan=False)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
maybe = st.none() | numbers
groups = st.sampled_from([SubjectKind.TEAM, SubjectKind.TEAM_PAIR, SubjectKind.ORG])
estimates = st.builds(Estimate, words, numbers, numbers, numbers, numbers, numbers)
checks = st.builds(Check, words, st.sampled_from(CheckResult), words, st.booleans(), maybe, maybe)
_WORDS = ("id", "question", "words", "treatment", "treatment_unit", "outcome", "outcome_kind", "subject")
_WORDS += ("cluster_level", "data_version")
findings = st.builds(
    Finding,
    **dict.fromkeys(_WORDS, words),
    **dict.fromkeys(["lag_weeks", "people", "periods", "rows", "clusters"], st.integers(0, 10**6)),
    **dict.fromkeys(["mde", "effect_sd", "q_bh", "q_by", "robustness", "robustness_benchmark", "contrast"], maybe),
    subject_kind=groups,
    estimate=st.none() | estimates,
    specs=st.lists(estimates, max_size=2).map(tuple),
    checks=st.lists(checks, max_size=2).map(tuple),
    status=st.sampled_from(Status),
    reasons=st.lists(words, max_size=2).map(tuple),
    contrast_effect=st.none() | st.tuples(numbers, numbers, numbers),
    interference=st.booleans(),
    enough_on=st.none() | st.dates(),
)


@settings(max_examples=50)
@given(findings)
def test_a_finding_comes_back_as_it_was_from_json_that_any_reader_takes(finding: Finding) -> None:
    body = records.encode_finding(finding)
    assert records.decode_finding(body) == finding
    assert msgspec.json.decode(body)["id"] == finding.id


def plain(**changes: object) -> Finding:
    fields: dict[str, object] = {
        "id": "f",
        "question": "q",
        "words": "",
        "treatment": "",
        "treatment_unit": "",
        "outcome": "",
        "outcome_kind": "",
        "lag_weeks": 0,
        "subject_kind": SubjectKind.TEAM,
        "subject": "red",
        "people": 5,
        "periods": 1,
        "rows": 1,
        "clusters": 1,
        "cluster_level": "",
        "estimate": None,
        "specs": (),
        "checks": (),
        "status": Status.UNDERPOWERED,
        "reasons": (),
        "data_version": "",
    }
    return Finding(**(fields | changes))  # type: ignore[arg-type]


def test_a_number_that_is_none_stays_none_of_a_number() -> None:
    back = records.decode_finding(records.encode_finding(plain(mde=math.nan, contrast=-math.inf)))
    assert back.mde is not None
    assert math.isnan(back.mde)
    assert back.contrast == -math.inf


def test_plain_json_would_have_lost_it() -> None:
    """The control of the test above."""
    assert msgspec.json.decode(msgspec.json.encode(plain(mde=math.inf)), type=Finding).mde is None


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    finding = plain(words="inf", subject="1", reasons=("nan", "null"))
    assert records.decode_finding(records.encode_finding(finding)) == finding


def test_numbers_of_numpy_are_numbers() -> None:
    finding = plain(people=np.int64(5), mde=np.float64("inf"), interference=np.bool_(True))
    assert records.decode_finding(records.encode_finding(finding)) == plain(people=5, mde=math.inf, interference=True)


@pytest.mark.parametrize("text", ["a\0b", "half a pair \ud800"])
def test_a_text_that_cannot_be_stored_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(PermanentError, match="a finding") as refused:
        records.encode_finding(plain(reasons=(text,)))
    assert "half" not in str(refused.value)


def test_two_bands_of_one_team_and_week_are_refused() -> None:
    weeks = (date(2025, 12, 1), date(2026, 2, 23))
    band = Baseline("strain", 1, SubjectKind.TEAM, "red", 1.0, 2.0, 7, 12, *weeks)
    records.check_baselines([band])
    with pytest.raises(PermanentError, match="1 baselines came twice"):
        records.check_baselines([band, band])
