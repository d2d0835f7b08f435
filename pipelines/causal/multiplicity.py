"""How many of the effects of a run are chance: false discovery rates over all its tests."""

from __future__ import annotations

import numpy as np

from pipelines.evidence import Floats


def benjamini_hochberg(p: Floats) -> Floats:
    """q of each test (m,): the smallest false discovery rate at which it is a discovery. Benjamini & Hochberg 1995."""
    m = len(p)
    order = np.argsort(p)[::-1]
    ranked = p[order] * m / np.arange(m, 0, -1)
    result = np.empty(m)
    result[order] = np.minimum(np.minimum.accumulate(ranked), 1.0)
    return result


def benjamini_yekutieli(p: Floats) -> Floats:
    """As `benjamini_hochberg`, but right whatever the tests have to do with each other. Benjamini & Yekutieli 2001."""
    harmonic = float((1.0 / np.arange(1, len(p) + 1)).sum())
    result: Floats = np.minimum(benjamini_hochberg(p) * harmonic, 1.0)
    return result
