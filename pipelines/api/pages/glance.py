"""How things stand, as `python -m pipelines.status` asks it: for everybody who looks within some seconds, once."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipelines import newest, status, wiring_watch
from pipelines.errors import TransientError
from pipelines.newest import Newest
from pipelines.report.standing import Standing
from pipelines.settings import Settings

#: Every look opens the stores anew, as one that is away must be seen; ten people who look are no reason to do so ten times.
_FRESH_S = 3.0
#: The page says when it was seen; what is older than this is not shown as if it were so now.
_STALE_S = 120.0


class Glance:
    """Stores that are away are in what comes back, and raise nothing. One thread asks at a time; who has waited two seconds
    for it is given what was seen before, so that a store that hangs does not hold up the threads of the API.
    """

    def __init__(
        self,
        ask: Callable[[], Standing],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = newest.PATIENCE_S,
    ) -> None:
        self._newest = Newest(ask, _FRESH_S, clock, patience_s)

    def __call__(self) -> Standing:
        """
        Raises:
            TransientError: nobody has seen how things stand yet, or only too long ago.
        """
        found = self._newest.seen()
        if found is None or found.age_s > _STALE_S:
            raise TransientError(
                "a store keeps us waiting, so how things stand is not known yet; look again in a moment"
            )
        return found.value


def of(config: Settings) -> Glance:
    def ask() -> Standing:
        with wiring_watch.watching(config) as watched:
            return status.standing(config, watched)

    return Glance(ask)
