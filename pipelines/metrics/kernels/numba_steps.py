"""The kernels of steps in numba: betweenness and harmonic closeness, as betweenness.c and reach.c."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types of a loop from its arguments; written ones would be two lines each that nobody checks.

from __future__ import annotations

import numpy as np

from pipelines.metrics.kernels.jit import jit

_LANES = 16
_DEEPEST = 126
_MANY_PATHS = np.float32(1e30)


@jit
def _forward(in_ptr, into, sigma, frontier, fresh, level):
    """Levels and path counts of 16 sources. Returns the depth, or -1 where f32 or one byte is too small."""
    n = len(in_ptr) - 1
    paths = np.zeros(_LANES, np.float32)
    for depth in range(_DEEPEST):
        any_new, below = False, np.int8(depth + 1)
        for v in range(n):
            missing = False
            for l in range(_LANES):
                missing |= level[v, l] < 0
            for l in range(_LANES):
                fresh[v, l] = np.float32(0)
                paths[l] = np.float32(0)
            if not missing:
                continue
            for e in range(in_ptr[v], in_ptr[v + 1]):
                for l in range(_LANES):
                    paths[l] += frontier[into[e], l]
            arrived = False
            for l in range(_LANES):  # no branches: this becomes vector code
                new = (level[v, l] < 0) & (paths[l] > 0)
                count = paths[l] if new else np.float32(0)
                fresh[v, l] = count
                sigma[v, l] += count
                level[v, l] = below if new else level[v, l]
                arrived |= new
            any_new |= arrived
        if not any_new:
            return depth if sigma.max() <= _MANY_PATHS else -1
        frontier, fresh = fresh, frontier
    return -1


@jit
def _backward(out_ptr, out, deepest, sigma, share, delta, level):
    n = len(out_ptr) - 1
    total = np.zeros(_LANES, np.float32)
    for depth in range(deepest, 1, -1):
        here, above = np.int8(depth), np.int8(depth - 1)
        for v in range(n):
            for l in range(_LANES):
                share[v, l] = (np.float32(1) + delta[v, l]) / sigma[v, l] if level[v, l] == here else np.float32(0)
        for v in range(n):
            some = False
            for l in range(_LANES):
                some |= level[v, l] == above
            if not some:
                continue
            for l in range(_LANES):
                total[l] = np.float32(0)
            for e in range(out_ptr[v], out_ptr[v + 1]):
                for l in range(_LANES):
                    total[l] += share[out[e], l]
            for l in range(_LANES):
                delta[v, l] = total[l] * sigma[v, l] if level[v, l] == above else delta[v, l]


@jit
def _one_source(out_ptr, out, in_ptr, into, source, sigma, delta, depth, order, total):
    """The same in f64 for one source: for batches that outgrew f32 or one byte."""
    depth[:] = -1
    depth[source], sigma[source], delta[source], order[0] = 0, 1.0, 0.0, source
    head, tail = 0, 1
    while head < tail:
        u = order[head]
        head += 1
        for e in range(out_ptr[u], out_ptr[u + 1]):
            v = out[e]
            if depth[v] < 0:
                depth[v], sigma[v], delta[v], order[tail] = depth[u] + 1, sigma[u], 0.0, v
                tail += 1
            elif depth[v] == depth[u] + 1:
                sigma[v] += sigma[u]
    for i in range(tail - 1, 0, -1):
        v = order[i]
        share = (1.0 + delta[v]) / sigma[v]
        for e in range(in_ptr[v], in_ptr[v + 1]):
            if depth[into[e]] == depth[v] - 1:
                delta[into[e]] += sigma[into[e]] * share
        total[v] += delta[v]


@jit
def betweenness(out_ptr, out, in_ptr, into, sources, total):
    n = len(out_ptr) - 1
    sigma = np.empty((n, _LANES), np.float32)
    frontier = np.empty((n, _LANES), np.float32)
    fresh = np.empty((n, _LANES), np.float32)
    level = np.empty((n, _LANES), np.int8)
    sigma64, delta64, depth, order = np.empty(n), np.empty(n), np.empty(n, np.int32), np.empty(n, np.int32)
    for first in range(0, len(sources), _LANES):
        batch = sources[first : first + _LANES]
        sigma[:] = np.float32(0)
        frontier[:] = np.float32(0)
        level[:] = -1
        for l in range(_LANES):
            if l >= len(batch):
                level[:, l] = 127  # a lane without a source: neither unreached nor ever a depth
                continue
            sigma[batch[l], l], frontier[batch[l], l], level[batch[l], l] = np.float32(1), np.float32(1), 0
        deepest = _forward(in_ptr, into, sigma, frontier, fresh, level)
        if deepest < 0:
            for source in batch:
                _one_source(out_ptr, out, in_ptr, into, source, sigma64, delta64, depth, order, total)
            continue
        fresh[:] = np.float32(0)
        _backward(out_ptr, out, deepest, sigma, frontier, fresh, level)
        for v in range(n):
            for l in range(len(batch)):
                total[v] += np.float64(fresh[v, l])


@jit
def _ones(word):
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@jit
def harmonic(in_ptr, into, first, last, total, farthest):
    """64 sources at once, a bit each."""
    n, one = len(in_ptr) - 1, np.uint64(1)
    for start in range(first, last, 64):
        count = min(64, last - start)
        seen, frontier, fresh = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.uint64)
        full = np.uint64(0)
        for l in range(count):
            seen[start + l] = frontier[start + l] = one << np.uint64(l)
            full |= one << np.uint64(l)
        active, depth = full, 0
        while active:
            for l in range(count):
                if active >> np.uint64(l) & one:
                    farthest[start - first + l] = depth
            active, depth = np.uint64(0), depth + 1
            for v in range(n):
                bits, missing = np.uint64(0), full & ~seen[v]
                if missing:
                    for e in range(in_ptr[v], in_ptr[v + 1]):
                        bits |= frontier[into[e]]
                    bits &= missing
                    seen[v] |= bits
                    active |= bits
                    total[v] += _ones(bits) / depth
                fresh[v] = bits
            frontier, fresh = fresh, frontier
