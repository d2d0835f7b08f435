"""Viva Insights queries are known so that they can be refused with a reason: they are sums, not events."""

from __future__ import annotations

from collections.abc import Collection

from pipelines.errors import InvalidInput

_PERSON_QUERY = {"personid", "metricdate"}
_PAIR_QUERY = {"primarycollaborator_personid", "metricdate"}


def insist_on_events(keys: Collection[str]) -> None:
    """Nothing, unless these are the columns of a Viva query.

    Raises:
        InvalidInput: they are; the whole file is refused.
    """
    names = {key.casefold() for key in keys}
    if names >= _PERSON_QUERY or names >= _PAIR_QUERY:
        raise InvalidInput(
            "this is a Viva Insights query: sums per person or pair and week, not events of who met whom when, so"
            " nothing of it can go onto the stream; export messages and meetings instead (Microsoft Graph)"
        )
