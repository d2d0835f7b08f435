"""The order in which a matrix shows its blocks: what belongs together stands together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

Pair = tuple[int, int]


def in_blocks(count: int, links: Mapping[Pair, float]) -> list[int]:
    """The numbers 0 to count - 1, so that strongly linked ones are neighbours; the same for the same links.

    Average linkage: the two chains with the highest mean link are joined, at the ends that fit best, until no link is
    left; then the chains follow each other, the longest first. `links` holds each pair once, in either direction.
    """
    near: dict[int, dict[int, float]] = {i: {} for i in range(count)}
    for (one, other), link in links.items():
        if one != other and link > 0:
            near[one][other] = near[other][one] = link
    chains = {i: [i] for i in range(count)}
    between = {i: dict(its) for i, its in near.items()}
    while pair := _closest(chains, between):
        one, other = pair
        chains[one] = _joined(chains[one], chains.pop(other), near)
        _add_up(between, one, other)
    return [i for chain in sorted(chains.values(), key=lambda c: (-len(c), min(c))) for i in chain]


def _closest(chains: Mapping[int, list[int]], between: Mapping[int, Mapping[int, float]]) -> Pair | None:
    """The two chains with the highest mean link, the first of equals; None when no two are linked."""
    means = (
        (-link / (len(chains[one]) * len(chains[other])), one, other)
        for one, its in between.items()
        for other, link in its.items()
        if one < other
    )
    _, one, other = min(means, default=(0.0, -1, -1))
    return (one, other) if one >= 0 else None


def _joined(one: list[int], other: list[int], near: Mapping[int, Mapping[int, float]]) -> list[int]:
    ways = product((one, one[::-1]), (other, other[::-1]))
    left, right = max(ways, key=lambda way: near[way[0][-1]].get(way[1][0], 0.0))
    return left + right


def _add_up(between: dict[int, dict[int, float]], one: int, other: int) -> None:
    """The links of `other` become those of `one`."""
    for third, link in between.pop(other).items():
        del between[third][other]
        if third != one:
            between[one][third] = between[third][one] = between[one].get(third, 0.0) + link
