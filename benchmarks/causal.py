"""`python -m benchmarks.causal`: does the causal engine find what is there, and stay silent where nothing is?

Simulated organisations with known effects (tests/support/panels.py): bias, coverage, false alarms and power, with naive
correlation and plain two-way fixed effects beside, wrong. Minutes of one core at the default size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import track

from pipelines.causal import checks, estimators
from pipelines.causal.design import Design
from pipelines.causal.engine import CausalEngine
from pipelines.causal.within import Groups, regress
from pipelines.evidence import CheckResult, Estimate, Status
from tests.support import panels
from tests.support.panels import CATALOGUE, QUESTION, World

_ENGINE = CausalEngine(catalogue=CATALOGUE)
Figures = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One kind of world; `run` gives figures of one seed, of which means are shown."""

    name: str
    world: World
    share: float
    run: Callable[[World, int], dict[str, Figures]]


def estimates(world: World, seed: int) -> dict[str, Figures]:
    """Errors of each method on one panel, main, union of specifications, and the wrong ones beside."""
    design = panels.design_of(world, seed, replace(QUESTION, lag_weeks=world.lag_weeks))
    scale = estimators.scale_of(design)
    main = estimators.fe_dml(design, scale, names=False)
    linear = estimators.twfe(design)
    lagged = estimators.dynamic(design, scale)
    specs = tuple(spec for spec in (main.estimate, linear, lagged) if spec is not None)
    found = {"correlation": estimators.naive(design), "twfe": linear, "fe_dml": main.estimate}
    found |= {"fe_dml, union": estimators.widened(main.estimate, specs)} | ({"dynamic": lagged} if lagged else {})
    result = {name: _against(world.effect, estimate) for name, estimate in found.items()}
    if world.team_shocks:
        by_person = Groups(design.unit, design.week, design.unit)
        same = regress(main.y, main.d[:, None], by_person, "by person")
        result["fe_dml, by person"] = _against(world.effect, same)
    result["lead"] = _lead(design, scale)
    return result


def leads(world: World, seed: int) -> dict[str, Figures]:
    """The lead test, and the sanity checks beside it."""
    design = panels.design_of(world, seed)
    scale = estimators.scale_of(design)
    main = estimators.fe_dml(design, scale, trees=False, names=False)
    beside = {
        "placebo": checks.placebo(main, design),
        "random common cause": checks.random_common_cause(main, design),
        "subset": checks.subset(main, design),
    }
    failed = {name: {"rejects": float(check.result is CheckResult.FAILED)} for name, check in beside.items()}
    return {"fe_dml": _against(world.effect, main.estimate), "lead": _lead(design, scale), **failed}


def findings(world: World, seed: int) -> dict[str, Figures]:
    """The whole engine, teams included: does it claim anything, and what?"""
    found = _ENGINE.analyse(panels.drawn(world, seed).panel(), [replace(QUESTION, lag_weeks=world.lag_weeks)])
    credible = [f for f in found if f.status is Status.CREDIBLE]
    statuses = {f"status {found[0].status.value}": {"share": 1.0}}
    return {"engine": {"claims": float(bool(credible))}, **statuses}


def _against(truth: float, estimate: Estimate) -> Figures:
    return {
        "error": estimate.effect - truth,
        "se": estimate.se,
        "covers": float(estimate.ci_low <= truth <= estimate.ci_high),
        "width": estimate.ci_high - estimate.ci_low,
    }


def _lead(design: Design, scale: estimators.Scale) -> Figures:
    return {"rejects": float(checks.lead(design, scale, 0.05).result is CheckResult.FAILED)}


#: 200 people in 34 teams; 26 weeks. Larger panels take longer and show the same (--people).
_USUAL = World(people=200, team=6)
TRIALS = (
    Trial("non-linear confounding", _USUAL, 1.0, estimates),
    Trial("the same with team shocks", replace(_USUAL, team_shocks=0.8), 1.0, estimates),
    Trial(
        "few clusters (15 teams), team shocks", replace(_USUAL, people=150, team=10, team_shocks=0.8), 0.25, estimates
    ),
    Trial("four-week treatment", replace(_USUAL, lag_weeks=4), 0.25, estimates),
    Trial("linear confounding", replace(_USUAL, bends=False), 0.25, estimates),
    Trial("feedback: the tired cut their load", replace(_USUAL, feedback=0.3), 0.5, leads),
    Trial("hidden lasting confounder", replace(_USUAL, hidden=0.8), 0.5, leads),
    Trial("null organisation", replace(_USUAL, effect=0.0), 0.5, findings),
    Trial("null with a hidden confounder", replace(_USUAL, effect=0.0, hidden=0.8), 0.25, findings),
    Trial("effect of 0.3 points an hour", _USUAL, 0.25, findings),
)


def run(trial: Trial, panels_: int) -> dict[str, Figures]:
    """Every figure of every method, summed up over the seeds."""
    seeds = max(2, round(panels_ * trial.share))
    console = Console(stderr=True)
    bar = track(range(seeds), trial.name, console=console, transient=True, disable=not console.is_terminal)
    results = [trial.run(trial.world, seed) for seed in bar]
    names = list(dict.fromkeys(name for result in results for name in result))
    return {name: _summary([r[name] for r in results if name in r], seeds) for name in names}


def _summary(figures: Sequence[Figures], seeds: int) -> Figures:
    column = {key: np.array([f[key] for f in figures]) for key in figures[0]}
    if "error" not in column:
        return {"panels": seeds, **{key: float(values.sum() / seeds) for key, values in column.items()}}
    error, se = column["error"], float(column["se"].mean())
    return {
        "panels": seeds,
        "bias": float(error.mean()),
        "bias_by_se": float(error.mean()) / se,
        "chance": float(error.std(ddof=1)) / len(error) ** 0.5 / se,
        "rmse": float(np.sqrt((error**2).mean())),
        "se_by_sd": se / float(error.std(ddof=1)),
        "covers": float(column["covers"].mean()),
    }


def _lines(name: str, results: dict[str, Figures]) -> Iterator[str]:
    first = next(iter(results.values()))
    yield f"\n{name} ({first['panels']:.0f} panels)"
    for method, f in results.items():
        if "bias" in f:
            yield (
                f"  {method:22} bias {f['bias']:+.4f} = {f['bias_by_se']:+6.2f} SE (+- {f['chance']:.2f})"
                f"   RMSE {f['rmse']:.4f}   SE/SD {f['se_by_sd']:.2f}   covers {f['covers']:6.1%}"
            )
        else:
            yield f"  {method:30} " + "   ".join(f"{key} {v:.1%}" for key, v in f.items() if key != "panels")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causal", description=__doc__)
    parser.add_argument("--panels", type=int, default=200, help="of the main trials; others have a share of them")
    parser.add_argument("--people", type=int, default=0, help="in every panel, instead of each trial's own number")
    parser.add_argument("--only", default="", help="trials whose name has this")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    started, results = time.process_time(), {}
    for trial in (t for t in TRIALS if options.only in t.name):
        world = replace(trial.world, people=options.people or trial.world.people)
        results[trial.name] = run(replace(trial, world=world), options.panels)
        if not options.json:
            print("\n".join(_lines(trial.name, results[trial.name])), flush=True)
    about = {"cpu_seconds": time.process_time() - started, "python": platform.python_version(), "cpus": os.cpu_count()}
    if options.json:
        json.dump({"about": about, "trials": results}, sys.stdout, indent=1)
    else:
        print(f"\n{about['cpu_seconds']:.0f} CPU seconds")


if __name__ == "__main__":
    main()
