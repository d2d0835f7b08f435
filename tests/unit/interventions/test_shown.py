"""What of several proposals is shown together: nothing from which a small group follows, and no exact number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.interventions.proposal import AuditLink, Choice, Decision, Proposal, Target, TargetKind, as_document
from pipelines.interventions.shown import HIDDEN, coarse, counted_down, hidden
from tests.support.fakes_proposals import NOW, proposal


def about(key: str, size: int, value: float = 14.0, days: int = 0, metric: str = "meeting_h") -> Proposal:
    kind = TargetKind.TEAM_PAIR if "|" in key else TargetKind.TEAM if key else TargetKind.ORG
    made = proposal(id=f"{key} {days}", target=Target(kind, key, size))
    found = replace(made.finding, value=value, metric=metric)
    return replace(made, finding=found, window_end=made.window_end + timedelta(days=days))


def test_without_a_small_rest_all_are_shown() -> None:
    assert hidden([], 5) == {}
    assert hidden([about("", 40), about("a", 9), about("b", 12)], 5) == {}
    assert hidden([about("a|b", 9)], 5) == {}


def test_a_part_goes_where_the_whole_less_the_part_is_too_small() -> None:
    whole, part = about("", 8, 15.75), about("big", 5, 14.4)
    naive = (whole.finding.value * 8 - part.finding.value * 5) / 3
    assert naive == pytest.approx(18.0), "the control: the mean of three people, from what both say"
    assert hidden([whole, part], 5) == {part.id: HIDDEN}
    assert hidden([whole, about("big", 5, metric="fragmentation")], 5) == {}, "other things cannot be subtracted"


def test_what_was_said_in_another_week_is_subtracted_too() -> None:
    older, newer = about("big", 5), about("", 8, days=7)
    assert hidden([older, newer], 5) == {older.id: HIDDEN}
    gone, grown = about("big", 5), about("big", 40, days=7)
    assert hidden([gone, about("", 8), grown, about("", 80, days=7)], 5) == {gone.id: HIDDEN}


def test_a_raised_k_hides_what_is_below_it() -> None:
    assert set(hidden([about("a", 9), about("b", 10), about("c|d", 9)], 10)) == {"a 0", "c|d 0"}


def test_a_name_that_reads_as_a_person_hides_what_it_names_and_says_so() -> None:
    told = hidden([about("ops%40acme.com", 20), about("b", 20)], 5)
    assert list(told) == ["ops%40acme.com 0"]
    assert "another name" in told["ops%40acme.com 0"]


def test_numbers_are_coarse_and_words_are_whole() -> None:
    made = about("a", 23, 14.4567)
    made = replace(made, evidence=replace(made.evidence, units=403, mde=0.05123), audit=AuditLink("a", "b"))
    shown = coarse(made)
    assert (shown.target.size, shown.evidence.units, shown.finding.value, shown.evidence.mde) == (20, 400, 14.0, 0.051)
    assert (shown.preview, shown.reversibility, shown.id) == (made.preview, made.reversibility, made.id)
    assert coarse(shown) == shown
    assert not [x for x in _floats(as_document(shown)) if x != float(f"{x:.2g}")]
    assert [counted_down(n) for n in (5, 9, 10, 404)] == [5, 5, 10, 400]


def _floats(part: object) -> list[float]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()
    return [part] if isinstance(part, float) else [x for its in inner for x in _floats(its)]


def test_a_login_that_is_an_address_is_not_shown() -> None:
    decided = Decision("approver", Choice.APPROVE, "why", NOW, "test", "anna@corp.example", "anna@corp.example")
    made = proposal(requested_by=("bo@corp.example",))
    made = replace(made, approval=replace(made.approval, decisions=(decided,)))
    assert "@" not in str(as_document(coarse(made)))
    assert hidden([made], 5) == {}
