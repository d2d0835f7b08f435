"""What the last full run left that proposals are made of. Apart from who uses it, because the full run brings statistics."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.interventions.bands import bands
from pipelines.interventions.possible import Seen
from pipelines.jobs import turns
from pipelines.jobs.flows import FULL
from pipelines.jobs.full import SHOWN, FullStores, team_sizes
from pipelines.metrics.strain import LEAST_WEEKS
from pipelines.metrics.weeks import BAND_MADS, team_weeks
from pipelines.ports import Ledger
from pipelines.runs import Status


def last_seen(stores: FullStores, ledger: Ledger, now: datetime) -> Seen:
    """As the last step of the full run would have it today. Reads only.

    Raises:
        TransientError, PermanentError: of a store.
    """
    people = team_sizes(stores)
    last = ledger.find(flow_name=FULL.name, statuses=[Status.COMPLETED], limit=1)
    run = last[0].correlation_id if last else None
    if run is None:
        return Seen(None, now, (), (), people)
    end = turns.resumed(run, now, timedelta(0), timedelta(0)).end
    weeks = stores.weeks.rows((end - SHOWN).date(), end.date())
    weekly = (series for week in weeks for series in team_weeks(week))
    return Seen(run, end, stores.points.findings(run), bands(weekly, people, BAND_MADS, LEAST_WEEKS), people)
