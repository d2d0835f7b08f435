"""Reading ahead and finishing behind; and the collector of cycles, which is ours for a while only."""

from __future__ import annotations

import gc

import pytest

from pipelines.errors import TransientError
from pipelines.jobs.overlap import Ahead, Behind, seldom_collected


def test_the_collector_is_as_it_was_after_a_failure() -> None:
    before = (gc.get_threshold(), gc.get_freeze_count())
    during = []

    @seldom_collected()
    def fail() -> None:
        during.append(gc.get_threshold()[0])
        raise TransientError("on purpose")

    with pytest.raises(TransientError):
        fail()
    assert during[0] > before[0][0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.parametrize("overlap", [False, True])
def test_what_is_done_behind_is_done_in_order_and_before_the_end(overlap: bool) -> None:
    done: list[int] = []
    with Behind(overlap) as behind:
        for number in range(5):
            behind.do(lambda n=number: done.append(n))  # type: ignore[misc]
    assert done == [0, 1, 2, 3, 4]


def test_a_failure_behind_comes_out_at_the_end() -> None:
    def fail() -> None:
        raise TransientError("on purpose")

    with pytest.raises(TransientError), Behind(True) as behind:
        behind.do(fail)


def test_what_was_read_ahead_and_not_taken_is_given_back() -> None:
    given: list[str] = []
    with Ahead(True, lambda after: after + "+", given.append) as reader:
        reader.ask("a")
        assert reader.take("a") == "a+"
        reader.ask("b")
    assert given == ["b+"]
