"""The table of flows: unique names, a run that ends before the next one, a service level below the time-out."""

from __future__ import annotations

from pipelines.jobs.flows import BY_NAME, FLOWS, ON_DEMAND


def test_every_flow_has_one_name_and_a_command() -> None:
    assert len(BY_NAME) == len(FLOWS) + len(ON_DEMAND)
    assert all(flow.again.startswith(f"python -m pipelines.{name}") for name, flow in BY_NAME.items())


def test_a_run_may_not_take_longer_than_its_interval_and_is_slow_before_it_is_stopped() -> None:
    for flow in FLOWS:
        assert flow.every is not None
        assert flow.slow < flow.timeout < flow.every, flow.name


def test_what_people_start_has_no_interval_and_is_slow_before_it_is_stopped() -> None:
    for flow in ON_DEMAND:
        assert flow.every is None
        assert flow.slow < flow.timeout, flow.name
