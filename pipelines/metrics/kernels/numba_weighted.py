"""Weighted betweenness in numba: Dijkstra from one source at a time, where weighted.c takes eight."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types of a loop from its arguments; written ones would be two lines each that nobody checks.

from __future__ import annotations

import numpy as np

from pipelines.metrics.kernels.jit import jit


@jit
def _up(heap, place, distance, i):
    v = heap[i]
    while i > 0:
        above = (i - 1) >> 2
        if distance[heap[above]] <= distance[v]:
            break
        heap[i] = heap[above]
        place[heap[i]] = i
        i = above
    heap[i] = v
    place[v] = i


@jit
def _pop(heap, place, distance, size):
    """Takes the nearest node off a heap of four children a node; `size` counts it."""
    top, v, i = heap[0], heap[size - 1], 0
    place[top] = -2
    while size > 1:
        first, best = 4 * i + 1, -1
        for child in range(first, min(first + 4, size - 1)):
            if best < 0 or distance[heap[child]] < distance[heap[best]]:
                best = child
        if best < 0 or distance[heap[best]] >= distance[v]:
            break
        heap[i] = heap[best]
        place[heap[i]] = i
        i = best
    if size > 1:
        heap[i] = v
        place[v] = i
    return top


@jit
def _settle(out_ptr, out, length, source, distance, place, heap, order):
    """Dijkstra. Returns how many nodes are reached; `order` has them by distance."""
    distance[:] = np.inf
    place[:] = -1
    distance[source], place[source], heap[0] = 0.0, 0, source
    size, reached = 1, 0
    while size > 0:
        u = _pop(heap, place, distance, size)
        size -= 1
        order[reached] = u
        reached += 1
        for e in range(out_ptr[u], out_ptr[u + 1]):
            v = out[e]
            d = distance[u] + length[e]
            if d < distance[v]:
                distance[v] = d
                if place[v] < 0:
                    heap[size], place[v] = v, size
                    size += 1
                _up(heap, place, distance, place[v])
    return reached


@jit
def betweenness_weighted(out_ptr, out, length, in_ptr, into, into_length, sources, eps, total):
    n = len(out_ptr) - 1
    distance, sigma, delta = np.empty(n), np.empty(n), np.empty(n)
    place, heap, order = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    start, parents = np.empty(n + 1, np.int64), np.empty(len(into), np.int32)
    for source in sources:
        reached = _settle(out_ptr, out, length, source, distance, place, heap, order)
        sigma[source], delta[source], start[1] = 1.0, 0.0, 0
        for i in range(1, reached):
            v, kept, paths = order[i], start[i], 0.0
            for e in range(in_ptr[v], in_ptr[v + 1]):
                u = into[e]
                if distance[u] < distance[v] and distance[u] + into_length[e] <= distance[v] * (1 + eps):
                    parents[kept] = u
                    kept += 1
                    paths += sigma[u]
            start[i + 1], sigma[v], delta[v] = kept, paths, 0.0
        for i in range(reached - 1, 0, -1):
            v = order[i]
            share = (1.0 + delta[v]) / sigma[v]
            for e in range(start[i], start[i + 1]):
                delta[parents[e]] += sigma[parents[e]] * share
            total[v] += delta[v]
