"""The bar of a run: every piece is inside of it and wide enough to be seen, whatever the clocks said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.api.pages import gantt, views
from pipelines.runs import Mode, Run, Status
from tests.support.fakes_ledger import NOW, step

SECOND = timedelta(seconds=1)
RUN = Run(1, "incremental", "run-1", Status.COMPLETED, Mode.DIRECT, NOW, started_at=NOW, duration_seconds=4.0)


@pytest.mark.parametrize("offset", [-5, 0, 3.9999, 400])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 4.0, 9_999.0])
def test_a_piece_is_inside_and_can_be_seen(offset: float, seconds: float) -> None:
    run = replace(RUN, steps=(step(started_at=NOW + offset * SECOND, seconds=seconds),))
    for piece in (*gantt.pieces(run, NOW, 4.0), *(piece for _, piece, _ in gantt.of_each(run, NOW))):
        assert 0 <= piece.x <= 100
        assert 0.4 <= piece.width <= 100
        assert piece.x + piece.width <= 100.01


def test_pieces_stand_where_their_steps_began() -> None:
    steps = (step("a", seconds=1.0), step("b", started_at=NOW + SECOND, seconds=3.0, status=Status.FAILED, attempts=3))
    whole, first, second = gantt.pieces(replace(RUN, steps=steps), NOW, 8.0)
    assert (whole.x, whole.width) == (0, 50)
    assert (first.x, first.width, first.kind) == (0, 12.5, "step0")
    assert (second.x, second.width, second.kind) == (12.5, 37.5, "failed")
    assert gantt.in_words(replace(RUN, steps=steps), NOW) == "4.0 s: a 1.0 s, b 3.0 s (failed), 3 attempts"


def test_what_has_not_begun_has_no_bar_and_what_is_at_work_grows() -> None:
    waiting = replace(RUN, status=Status.SCHEDULED, started_at=None, duration_seconds=None)
    assert gantt.pieces(waiting, NOW, 1.0) == ()
    assert gantt.in_words(waiting, NOW) == "not begun"
    live = replace(RUN, status=Status.RUNNING, duration_seconds=None)
    assert gantt.took(live, NOW + 7 * SECOND) == 7.0


def test_bars_of_one_flow_have_one_scale_and_those_of_another_their_own() -> None:
    runs = [RUN, replace(RUN, duration_seconds=8.0), replace(RUN, flow_name="full", duration_seconds=200.0)]
    assert gantt.scales(runs, NOW) == {"incremental": 8.0, "full": 200.0}
    widths = [row.pieces[0].width for row in views.rows(runs, NOW)]
    assert widths == [50, 100, 100]
