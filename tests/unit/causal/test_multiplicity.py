"""False discovery rates against hand-computed values."""

from __future__ import annotations

import numpy as np

from pipelines.causal.multiplicity import benjamini_hochberg, benjamini_yekutieli

P = np.array([0.01, 0.04, 0.03, 0.20, 0.005])


def test_q_values_are_those_of_the_paper_worked_by_hand() -> None:
    assert np.allclose(benjamini_hochberg(P), [0.025, 0.05, 0.05, 0.20, 0.025])


def test_the_stricter_rate_is_larger_by_the_harmonic_sum_and_never_above_one() -> None:
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5
    assert np.allclose(benjamini_yekutieli(P), np.minimum(benjamini_hochberg(P) * harmonic, 1))
    assert benjamini_yekutieli(np.array([0.9, 0.8])).max() == 1.0


def test_no_tests_and_one_test_are_fine() -> None:
    assert benjamini_hochberg(np.array([])).size == 0
    assert benjamini_hochberg(np.array([0.3])).tolist() == [0.3]


def test_pure_chance_yields_few_discoveries_where_single_tests_yield_many() -> None:
    p = np.random.default_rng(1).random((200, 50))
    assert np.mean([(benjamini_hochberg(row) <= 0.10).any() for row in p]) < 0.15
    assert np.mean([(row <= 0.10).any() for row in p]) > 0.9  # the naive control
