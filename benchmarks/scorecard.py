"""How often the analysis is right: synthetic organisations with known effects, and others in which nothing has any.

The same events, weekly load, panel and engine as a full run, without servers: 50 organisations take some ten minutes. The
naive peer is what many dashboards do: the correlation of treatment and outcome over all person-weeks, called an effect when
its p is below 0.05. It is asked for the same truths, the spillover too, and only for their sign, where the analysis must
also have the truth in its interval. Beside both: whoever finds nothing anywhere, which is right about every null.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr

from pipelines import synthetic
from pipelines.causal.panel import OUTCOME, Panel
from pipelines.events import schema
from pipelines.evidence import Floats, Status
from pipelines.jobs import scorecard, study, synthesise
from pipelines.jobs.causal import panel_of, run_causal_analysis
from pipelines.model import Interaction, Outcome, RosterChange
from pipelines.person_weeks import WeekRows
from pipelines.report.progress import counting
from pipelines.report.story import Mark

_END = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Score:
    """One organisation. naive, silent: truths that the correlation, and who never claims anything, get right, as shares.

    said: status of what was rightly silent.
    """

    marks: Counter[str]
    right: float
    naive: float
    silent: float
    credible: int
    said: Counter[str]
    wrong: tuple[str, ...]


def one(seed: int, people: int, weeks: int, *, null: bool) -> Score:
    options = synthetic.Options(end=_END, people=people, weeks=weeks, seed=seed, per_day=6.0, pressure=True)
    planted = study.NOTHING if null else study.PLANTED
    rows, outcomes = _organisation(options, planted)
    findings = run_causal_analysis(rows, outcomes)
    marks = scorecard.marked(findings, planted)
    naive, silent = _naive(panel_of(rows, outcomes), planted)
    return Score(
        marks=Counter(m.mark.value for m in marks),
        right=scorecard.right(marks),
        naive=naive,
        silent=silent,
        credible=sum(f.status is Status.CREDIBLE for f in findings),
        said=Counter(m.said.value for m in marks if m.mark is Mark.SILENT and m.said),
        wrong=tuple(f"{m.question} ({m.planted}): {m.words}" for m in marks if m.mark in (Mark.WRONG, Mark.OFF)),
    )


def _organisation(
    options: synthetic.Options, planted: study.Planted
) -> tuple[Sequence[WeekRows], list[tuple[str, datetime, str, float]]]:
    events = [schema.parse(payload)[0] for payload in synthesise.events(options)]
    interactions = [e for e in events if isinstance(e, Interaction)]
    rows = study.weeks(interactions, [e for e in events if isinstance(e, RosterChange)], options)
    answers = (schema.parse(payload)[0] for payload in study.surveys(rows, options, planted))
    return rows, [
        (a.person, datetime.fromtimestamp(a.time_ms / 1000, UTC), a.measure, a.value)
        for a in answers
        if isinstance(a, Outcome)
    ]


def _naive(panel: Panel, planted: study.Planted) -> tuple[float, float]:
    """Share of the truths that a correlation gets right, an effect of the right sign, or none; and that silence does."""
    asked = [(panel.column(t.treatment), t.outcome, t.effect) for t in planted.truths]
    if planted.spillover:
        treatment, outcome = scorecard.SPILT
        asked.append((panel.teammates(panel.column(treatment)), outcome, planted.spillover))
    right = [_correlated(panel, treatment, outcome, effect) for treatment, outcome, effect in asked]
    return float(np.mean(right)), float(np.mean([not effect for *_, effect in asked]))


def _correlated(panel: Panel, weekly: Floats, measure: str, effect: float) -> bool:
    treatment, outcome = panel.window(weekly, 1, study.LAGS), panel.column(OUTCOME + measure)
    known = ~np.isnan(treatment) & ~np.isnan(outcome)
    r, p = pearsonr(treatment[known], outcome[known])
    claimed = p < 0.05
    return bool(claimed and r * effect > 0) if effect else not claimed


def scores(seeds: range, people: int, weeks: int, *, null: bool) -> Iterator[Score]:
    with ProcessPoolExecutor(max(1, (os.cpu_count() or 2) - 1)) as pool:
        yield from pool.map(partial(one, people=people, weeks=weeks, null=null), seeds)


def told(name: str, found: Sequence[Score], *, null: bool) -> dict[str, object]:
    total: Counter[str] = sum((s.marks for s in found), Counter())
    statuses: Counter[str] = sum((s.said for s in found), Counter())
    figures: dict[str, object] = {
        "organisations": len(found),
        "right": float(np.mean([s.right for s in found])),
        "naive_right": float(np.mean([s.naive for s in found])),
        "silent_right": float(np.mean([s.silent for s in found])),
        "silent_statuses": dict(statuses),
        "marks": dict(total),
        "without_a_claim": sum(s.credible == 0 for s in found),
    }
    print(f"\n{name}, {len(found)} of them")
    print("  " + ", ".join(f"{count} {mark}" for mark, count in total.most_common()))
    print("  rightly silent as: " + ", ".join(f"{count} {status}" for status, count in statuses.most_common()))
    for words in (words for s in found for words in s.wrong):
        print(f"  wrongly claimed, or beside the truth: {words}")
    if null:
        print(f"  nothing credible, so nothing proposed: {figures['without_a_claim']} of {len(found)}")
    else:
        print(
            f"  right: {figures['right']:.1%} of the planted truths; the correlation: {figures['naive_right']:.1%}; "
            f"finding nothing anywhere: {figures['silent_right']:.1%}"
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scorecard", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--null-seeds", type=int, default=100)
    parser.add_argument("--people", type=int, default=160)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {}
    for name, seeds, null in (("planted", options.seeds, False), ("null", options.null_seeds, True)):
        found = []
        with counting(f"{name} organisations") as show:
            for score in scores(range(1, seeds + 1), options.people, options.weeks, null=null):
                found.append(score)
                show(len(found))
        if found:
            figures[name] = told(f"{name} organisations", found, null=null)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
