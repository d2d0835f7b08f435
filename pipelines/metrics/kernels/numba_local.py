"""Metrics of a neighbourhood in numba, as local.c."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types of a loop from its arguments; written ones would be two lines each that nobody checks.

from __future__ import annotations

import numpy as np

from pipelines.metrics.kernels.jit import jit


@jit
def triangles(ptr, nodes, weights, count, intensity):
    """Each edge once, from the end with fewer neighbours, so that each triangle is found once."""
    n = len(ptr) - 1
    start, up, root = np.zeros(n + 1, np.int64), np.empty(len(nodes), np.int32), np.empty(len(nodes))
    mark, kept = np.zeros(n), 0
    for v in range(n):
        degree = ptr[v + 1] - ptr[v]
        for e in range(ptr[v], ptr[v + 1]):
            other = ptr[nodes[e] + 1] - ptr[nodes[e]]
            if degree < other or (degree == other and v < nodes[e]):
                up[kept], root[kept] = nodes[e], np.cbrt(weights[e])
                kept += 1
        start[v + 1] = kept
    for v in range(n):
        for e in range(start[v], start[v + 1]):
            mark[up[e]] = root[e]
        for e in range(start[v], start[v + 1]):
            u = up[e]
            for f in range(start[u], start[u + 1]):
                x = up[f]
                if mark[x] != 0:
                    product = root[e] * root[f] * mark[x]
                    count[v] += 1
                    count[u] += 1
                    count[x] += 1
                    intensity[v] += product
                    intensity[u] += product
                    intensity[x] += product
        for e in range(start[v], start[v + 1]):
            mark[up[e]] = 0.0


@jit
def constraint(ptr, nodes, weights, per_strength, constraint):
    share = np.zeros(len(ptr) - 1)
    for v in range(len(ptr) - 1):
        for e in range(ptr[v], ptr[v + 1]):
            share[nodes[e]] = weights[e] * per_strength[v]
        total = np.nan if ptr[v] == ptr[v + 1] else 0.0
        for e in range(ptr[v], ptr[v + 1]):
            j = nodes[e]
            p = share[j]
            for f in range(ptr[j], ptr[j + 1]):
                p += share[nodes[f]] * weights[f] * per_strength[nodes[f]]
            total += p * p
        constraint[v] = total
        for e in range(ptr[v], ptr[v + 1]):
            share[nodes[e]] = 0.0


@jit
def core(ptr, nodes, order, core):
    """Batagelj & Zaversnik: `order` sorts the nodes by degree, which `core` holds."""
    n = len(order)
    place, start = np.empty(n, np.int64), np.zeros(n + len(nodes) + 2, np.int64)
    for i in range(n):
        place[order[i]] = i
        start[core[i] + 1] += 1
    start = np.cumsum(start)
    for i in range(n):
        v = order[i]
        for e in range(ptr[v], ptr[v + 1]):
            u = nodes[e]
            if core[u] > core[v]:
                first = start[core[u]]
                other = order[first]
                order[place[u]], place[other] = other, place[u]
                order[first], place[u] = u, first
                start[core[u]] += 1
                core[u] -= 1


@jit
def shortest_arcs(ptr, nodes, length, margin, keep):
    direct = np.full(len(ptr) - 1, -1.0)
    for u in range(len(ptr) - 1):
        for e in range(ptr[u], ptr[u + 1]):
            direct[nodes[e]] = length[e]
        for e in range(ptr[u], ptr[u + 1]):
            for f in range(ptr[nodes[e]], ptr[nodes[e] + 1]):
                if (length[e] + length[f]) * (1 + margin) < direct[nodes[f]]:
                    direct[nodes[f]] = 0.0
        for e in range(ptr[u], ptr[u + 1]):
            keep[e] = direct[nodes[e]] != 0
        for e in range(ptr[u], ptr[u + 1]):
            direct[nodes[e]] = -1.0
