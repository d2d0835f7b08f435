"""A query says what is documented and nothing else, as bodies do: a mistyped filter would silently show everything."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError

from pipelines.api.table import TABLE


async def known_query(request: Request) -> None:
    """A dependency of every route; pages for people and what is public are asked with whatever others add to an address.

    Raises:
        RequestValidationError: names each parameter of the query that the route does not take.
    """
    route = request.scope["route"]
    if not request.query_params or not route.include_in_schema or TABLE[request.method, route.path].public:
        return
    known = set(_names(route.dependant))
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        takes = f"this takes {', '.join(sorted(known))}" if known else "this takes none"
        words = f"there is no such parameter; {takes}"
        raise RequestValidationError([{"loc": ("query", name), "msg": words, "type": "unknown"} for name in unknown])


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (each.alias for each in dependant.query_params)
    for its in dependant.dependencies:
        yield from _names(its)
