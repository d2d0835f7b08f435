"""A binary exposure: confounding removed on common ground, and nothing said where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from pipelines.causal import aipw
from pipelines.causal.aipw import Exposure, Learners
from pipelines.errors import InvalidInput, Refused

LINES = Learners({"line": LogisticRegression}, {"line": LinearRegression})


def exposure(n: int = 1_200, pull: float = 0.8, effect: float = 0.5, seed: int = 3) -> Exposure:
    """People who are exposed the more the higher the first covariate, which raises the outcome as well."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    treated = rng.random(n) < 1 / (1 + np.exp(-pull * x[:, 0] + 0.5))
    # The effect is larger where exposure is likelier: the effect on the exposed is not that on everybody.
    outcome = x[:, 0] + 0.5 * x[:, 1] + treated * (effect + 0.4 * x[:, 0]) + rng.standard_normal(n)
    return Exposure(treated, outcome, x, np.arange(n))


def truth(given: Exposure, effect: float = 0.5) -> float:
    return float(effect + 0.4 * given.covariates[given.treated, 0].mean())


def test_confounding_is_removed_where_the_naive_difference_is_far_off() -> None:
    given = exposure()
    naive = given.outcome[given.treated].mean() - given.outcome[~given.treated].mean()
    result = aipw.att(given, LINES, repeats=2)
    assert abs(naive - truth(given)) > 0.5
    assert abs(result.estimate.effect - truth(given)) < 2.5 * result.estimate.se
    assert result.estimate.ci_low < truth(given) < result.estimate.ci_high
    assert result.imbalance < 0.15


def test_one_of_the_two_models_may_be_wrong() -> None:
    given = exposure(n=4_000)
    blind = Learners(
        {"line": LogisticRegression}, {"line": lambda: DecisionTreeRegressor(max_depth=1, max_leaf_nodes=2)}
    )
    result = aipw.att(given, blind, repeats=1)
    assert abs(result.estimate.effect - truth(given)) < 2.5 * result.estimate.se


def test_the_better_learner_is_chosen_by_rows_that_it_did_not_see() -> None:
    given = exposure()
    memory = Learners(
        {"line": LogisticRegression},
        {"line": LinearRegression, "memory": lambda: DecisionTreeRegressor(min_samples_leaf=1)},
    )
    assert aipw.att(given, memory, repeats=1).learners == ("line/line",)
    curved = replace(given, outcome=given.outcome + 3 * np.sign(np.sin(4 * given.covariates[:, 1])))
    tree = Learners(
        memory.propensity, {"line": LinearRegression, "tree": lambda: DecisionTreeRegressor(max_leaf_nodes=40)}
    )
    assert aipw.att(curved, tree, repeats=1).learners == ("line/tree",)


def test_a_person_of_many_rows_counts_once_in_the_error() -> None:
    given = exposure(n=400)
    times = 5
    many = Exposure(
        np.tile(given.treated, times),
        np.tile(given.outcome, times),
        np.tile(given.covariates, (times, 1)),
        np.tile(given.cluster, times),
    )
    once, blind = aipw.att(given, LINES, repeats=1), replace(many, cluster=np.arange(400 * times))
    assert aipw.att(many, LINES, repeats=1).estimate.se == pytest.approx(once.estimate.se, rel=0.1)
    assert aipw.att(blind, LINES, repeats=1).estimate.se < 0.6 * once.estimate.se


def test_a_cluster_is_never_in_two_folds_and_every_fold_has_both_kinds() -> None:
    given = exposure(n=300)
    clustered = replace(given, cluster=np.array([f"team {n % 60}" for n in range(300)]))
    fold = aipw.folds_of(clustered, 5, repeat=0)
    assert all(len(set(fold[clustered.cluster == c])) == 1 for c in set(clustered.cluster))
    assert all(clustered.treated[fold == f].any() and (~clustered.treated[fold == f]).any() for f in range(5))


def test_the_same_data_give_the_same_answer() -> None:
    assert aipw.att(exposure(), LINES, repeats=2) == aipw.att(exposure(), LINES, repeats=2)


def test_rows_without_common_ground_are_left_out_and_counted() -> None:
    result = aipw.att(exposure(n=2_000, pull=2.5), LINES, repeats=1)
    assert 0.1 < result.treated_lost < 0.5
    assert result.treated + result.controls == round(2_000 * (1 - result.share_trimmed))
    assert result.ess < result.controls
    assert f"{result.treated_lost:.0%} of the exposed" in result.overlap.words


def test_an_effect_on_the_exposed_that_nobody_resembles_is_refused() -> None:
    with pytest.raises(Refused, match="resemble nobody") as refusal:
        aipw.att(exposure(pull=12.0), LINES, repeats=1)
    assert refusal.value.code == "POOR_OVERLAP"


def test_too_few_exposed_and_wrong_input_are_refused() -> None:
    given = exposure()
    with pytest.raises(Refused, match="8 clusters are exposed, 10 are needed"):
        aipw.att(replace(given, treated=np.arange(1_200) < 8), LINES)
    with pytest.raises(InvalidInput, match="missing"):
        aipw.att(replace(given, outcome=np.where(given.outcome > 3, np.nan, given.outcome)), LINES)
    with pytest.raises(InvalidInput, match="of one length"):
        aipw.att(replace(given, treated=given.treated[1:]), LINES)
