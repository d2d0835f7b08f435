"""Numbers of other people's software for the unit tests: `python -m benchmarks.causal_golden` writes them again.

Needs `pip install pyfixest==0.60.0 csdid==0.4.3` in an environment of its own; the tests read the file and need neither.
The panels are formulas, not random numbers, so that no version of a generator can change them.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "tests" / "unit" / "causal_scale" / "golden.json"
Columns = dict[str, NDArray[Any]]


def noise(n: int, salt: int) -> NDArray[np.float64]:
    """Numbers that look normal enough and are the same everywhere: sums of three fractional parts."""
    at = np.arange(1, n + 1, dtype=np.float64)
    parts = [np.modf(at * np.sqrt(p) * (1 + salt / 7) + at**2 * np.sqrt(p + 2) / 97)[0] for p in (2, 3, 5)]
    return np.asarray(2 * (np.sum(parts, axis=0) - 1.5))


def weekly_panel(units: int = 60, weeks: int = 14, missing: float = 0.3) -> Columns:
    """Unbalanced, with teams, people who move, units of one row and a week of one row."""
    unit, week = np.repeat(np.arange(units), weeks), np.tile(np.arange(weeks), units)
    n = len(unit)
    own, of_week = noise(units, 1)[unit], noise(weeks, 2)[week]
    d = noise(n, 3) + 0.8 * own + of_week
    x = noise(n, 4) + 0.3 * d
    y = 0.12 * d + 0.5 * x + own + 2 * of_week + noise(n, 5) * (1 + 0.3 * own**2)
    moved = (week > 6) & (unit % 4 == 0)
    columns: Columns = {"unit": unit, "week": week, "y": y, "d": d, "x": x}
    columns |= {"team": unit // 6, "moving": (unit + 6 * moved) // 6, "person": unit.copy()}
    kept = (noise(n, 6) > np.quantile(noise(n, 6), missing)) & (week != 13) | (unit == 3) & (week == 13)
    kept &= (unit != 50) | (week == 2)
    return {name: column[kept] for name, column in columns.items()}


def staggered_panel(units: int = 80, periods: int = 7) -> Columns:
    """Four dates of change (one of them never), effects that differ by date and grow with time, a covariate."""
    first = np.array([0, 3, 5, 6])[np.arange(units) % 4]
    size = noise(units, 7) + 0.3 * (first == 3)
    unit, time = np.repeat(np.arange(units), periods), np.tile(np.arange(1, periods + 1), units)
    since = np.where(first[unit] > 0, time - first[unit], -1)
    effect = np.where(since >= 0, (0.3 + 0.2 * since) * np.where(first[unit] == 3, 2.0, 0.5), 0.0)
    y = noise(units, 8)[unit] + 0.1 * time * (1 + size[unit]) + effect + 0.5 * noise(len(unit), 9)
    return {"unit": unit, "time": time, "first": first[unit], "size": size[unit], "y": y, "cluster": unit // 2}


def two_way() -> dict[str, Any]:
    """pyfixest's coefficients and CRV1 errors.

    Clustered by `person`, a copy of `unit`: where the cluster is named like a fixed effect, pyfixest 0.60.0 takes the degrees
    of freedom of the wrong effect under some PYTHONHASHSEED.
    """
    import pandas as pd
    import pyfixest as pf

    found: dict[str, Any] = {}
    for cluster in ("person", "team", "moving"):
        demeaner = pf.MapDemeaner(fixef_tol=1e-14, fixef_maxiter=1_000_000)
        model = pf.feols("y ~ d + x | unit + week", pd.DataFrame(weekly_panel()), {"CRV1": cluster}, demeaner=demeaner)
        found[cluster] = {"b": model.coef().tolist(), "se": model.se().tolist(), "p": model.pvalue().tolist()}
        found[cluster]["rows"] = int(model._N)
    return found


def staggered() -> dict[str, Any]:
    """csdid's group-time effects and averages, with analytic errors."""
    import pandas as pd
    from csdid.att_gt import ATTgt

    found: dict[str, Any] = {}
    frame = pd.DataFrame(staggered_panel())
    for formula in ("y~1", "y~size"):
        for controls in ("nevertreated", "notyettreated"):
            model = ATTgt("y", "time", "unit", "first", frame, controls, formula)
            model = model.fit(est_method="dr", bstrap=False)
            cells = {"att": list(map(float, model.results["att"])), "se": list(map(float, model.results["se"]))}
            averages = {}
            for kind in ("simple", "dynamic", "group"):
                result = model.aggte(typec=kind, bstrap=False).atte
                averages[kind] = [float(result["overall_att"]), float(np.ravel(result["overall_se"])[0])]
            found[f"{formula} {controls}"] = cells | averages
    return found


def main() -> None:
    versions = {name: version(name) for name in ("pyfixest", "csdid")}
    golden = {"versions": versions, "two_way": two_way(), "staggered": staggered()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN} from {versions}")


if __name__ == "__main__":
    main()
