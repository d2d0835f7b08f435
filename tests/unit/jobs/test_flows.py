"""The table of flows: unique names, a run that ends before the next one, a service level below the time-out."""

from __future__ import annotations

from pipelines.jobs.flows import BY_NAME, FLOWS


def test_every_flow_has_one_name_and_a_command() -> None:
    assert len(BY_NAME) == len(FLOWS)
    assert all(flow.again.startswith("python -m pipelines.") for flow in FLOWS)


def test_a_run_may_not_take_longer_than_its_interval_and_is_slow_before_it_is_stopped() -> None:
    for flow in FLOWS:
        assert flow.slow < flow.timeout < flow.every, flow.name
