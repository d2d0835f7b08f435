"""What we ship: small, reversible, about groups, and in words that say exactly what happens."""

from __future__ import annotations

import re

import pytest

from pipelines.causal import questions
from pipelines.interventions import playbooks
from pipelines.interventions.playbooks import SHIPPED, Template
from pipelines.interventions.proposal import Target, TargetKind

_FORBIDDEN = re.compile(
    r"\b(pay|salary|bonus|promot\w+|dismiss\w+|disciplin\w+|warn\w+|rank\w*|rating|perform\w+|monitor\w+|track\w*|who )\b"
)


def target(kind: TargetKind) -> Target:
    return Target(kind, {"team": "sales", "team_pair": "legal|sales", "org": ""}[kind], 12)


@pytest.mark.parametrize("template", SHIPPED.values(), ids=list(SHIPPED))
def test_preview_and_undo_are_whole_sentences_about_the_group(template: Template) -> None:
    for kind in template.kinds:
        preview, undo = template.in_words(target(kind))
        assert "{" not in preview + undo
        assert "(at least 10 people)" in preview, "of twelve: counted down, because no sink looks into a sentence"
        assert str(target(kind)) in preview
        assert preview.endswith(".")
        assert undo.endswith(".")
        assert not _FORBIDDEN.search((preview + undo + template.title).lower())


@pytest.mark.parametrize("template", SHIPPED.values(), ids=list(SHIPPED))
def test_every_template_ends_by_itself_and_assumes_a_bounded_change(template: Template) -> None:
    assert 0 < template.least < template.most
    assert int(template.params["weeks"]) <= 12
    assert str(template.params["weeks"]) in template.in_words(target(next(iter(template.kinds))))[0]
    assert template.direction in (1, -1)
    assert template.version >= 1


def test_they_are_in_the_categories_of_the_requirements() -> None:
    assert {t.category for t in SHIPPED.values()} <= {"protect-focus", "rebalance-load", "connect", "onboard", "notify"}


def test_each_moves_what_a_question_asks_about_the_effect_of() -> None:
    """Without a question there is no finding, and what has no finding is never proposed."""
    asked = {question.treatment for question in questions.load().questions}
    assert {t.treatment for t in SHIPPED.values()} == asked


def test_templates_for_a_metric_come_in_a_fixed_order_and_only_for_their_kinds() -> None:
    assert [t.id for t in playbooks.moving("meeting_h", TargetKind.TEAM)] == ["meeting_free_block", "shorter_meetings"]
    assert [t.id for t in playbooks.moving("response_load", TargetKind.TEAM)] == ["response_agreement"]
    assert playbooks.moving("response_load", TargetKind.ORG) == []
    assert playbooks.moving("nothing", TargetKind.TEAM) == []


def test_an_outcome_improves_in_one_direction_wherever_it_was_measured() -> None:
    assert playbooks.better("exhaustion") == playbooks.better("survey:exhaustion") == -1
    assert playbooks.better("engagement") == 1
    assert playbooks.better("fame") is None
