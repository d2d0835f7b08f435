"""Random shortest paths in numba, as sampling.c: the same draws, so the same counts."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types of a loop from its arguments; written ones would be two lines each that nobody checks.

from __future__ import annotations

import numpy as np

from pipelines.metrics.kernels.jit import jit


@jit
def _draw(state):  # SplitMix64; state[0] is the generator's
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@jit
def _expand(ptr, nodes, level, sigma, reached, start, size, depth):
    """One level further. Returns the new size; the new frontier is reached[size_before:size]."""
    tail = size
    for i in range(start, size):
        u = reached[i]
        for e in range(ptr[u], ptr[u + 1]):
            v = nodes[e]
            if level[v] < 0:
                level[v], sigma[v], reached[tail] = depth, sigma[u], v
                tail += 1
            elif level[v] == depth:
                sigma[v] += sigma[u]
    return tail


@jit
def _cost(ptr, reached, start, size):
    arcs = 0
    for i in range(start, size):
        arcs += ptr[reached[i] + 1] - ptr[reached[i]]
    return arcs


@jit
def _meeting(sigma, reached, start, size, other_level, other_sigma, state):
    paths, chosen = 0.0, -1
    for i in range(start, size):
        if other_level[reached[i]] >= 0:
            paths += sigma[reached[i]] * other_sigma[reached[i]]
    if paths <= 0:
        return chosen
    left = paths * _draw(state)
    for i in range(start, size):
        v = reached[i]
        if left >= 0 and other_level[v] >= 0:
            chosen = v
            left -= sigma[v] * other_sigma[v]
    return chosen


@jit
def _walk(ptr, nodes, level, sigma, v, state, count):
    while level[v] > 0:
        left, chosen = sigma[v] * _draw(state), v
        for e in range(ptr[v], ptr[v + 1]):
            if left >= 0 and level[nodes[e]] == level[v] - 1:
                chosen = nodes[e]
                left -= sigma[chosen]
        v = chosen
        if level[v] > 0:
            count[v] += 1


@jit
def sample_paths(out_ptr, out, in_ptr, into, seed, first, last, count):
    n = len(out_ptr) - 1
    level, sigma = np.full((2, n), -1, np.int32), np.empty((2, n))
    reached, start, size, depth = (
        np.empty((2, n), np.int32),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
        np.zeros(2, np.int32),
    )
    state = np.empty(1, np.uint64)
    for i in range(first, last):
        state[0] = np.uint64(seed) ^ np.uint64(i) * np.uint64(0xD1342543DE82EF95)
        _draw(state)
        ends = np.empty(2, np.int64)
        ends[0], ends[1] = int(_draw(state) * n), int(_draw(state) * (n - 1))
        ends[1] += ends[1] >= ends[0]
        for k in range(2):
            for j in range(size[k]):
                level[k, reached[k, j]] = -1
            level[k, ends[k]], sigma[k, ends[k]], reached[k, 0] = 0, 1.0, ends[k]
            start[k], size[k], depth[k] = 0, 1, 0
        while True:
            k = (
                0
                if _cost(out_ptr, reached[0], start[0], size[0]) <= _cost(in_ptr, reached[1], start[1], size[1])
                else 1
            )
            ptr, nodes = (out_ptr, out) if k == 0 else (in_ptr, into)
            depth[k] += 1
            tail = _expand(ptr, nodes, level[k], sigma[k], reached[k], start[k], size[k], depth[k])
            start[k], size[k] = size[k], tail
            if start[k] == size[k]:
                break
            v = _meeting(sigma[k], reached[k], start[k], size[k], level[1 - k], sigma[1 - k], state)
            if v >= 0:
                if level[0, v] > 0 and level[1, v] > 0:
                    count[v] += 1
                _walk(in_ptr, into, level[0], sigma[0], v, state, count)
                _walk(out_ptr, out, level[1], sigma[1], v, state, count)
                break
