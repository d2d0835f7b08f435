/* The yardstick of betweenness: the fastest plain breadth-first searches that we can write, one source at a time, distances only.
 * Top-down, and direction-optimising (Beamer, Asanovic & Patterson 2012) with bitmaps. Built by benchmarks/metrics.py. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t i32;
typedef int64_t i64;

i64 bfs_top_down(i64 n, const i64 *ptr, const i32 *nodes, i64 count, const i32 *sources) {
    i32 *depth = malloc((size_t)n * 4), *queue = malloc((size_t)n * 4);
    i64 reached = 0;
    for (i64 s = 0; s < count; s++) {
        i64 head = 0, tail = 0;
        memset(depth, 0xff, (size_t)n * 4);
        queue[tail++] = sources[s], depth[sources[s]] = 0;
        while (head < tail) {
            i32 u = queue[head++], next = depth[u] + 1;
            for (i64 e = ptr[u]; e < ptr[u + 1]; e++)
                if (depth[nodes[e]] < 0) depth[nodes[e]] = next, queue[tail++] = nodes[e];
        }
        reached += tail;
    }
    free(depth), free(queue);
    return reached;
}

#define HAS(bits, v) ((bits)[(v) >> 6] >> ((v) & 63) & 1)
#define SET(bits, v) ((bits)[(v) >> 6] |= 1ull << ((v) & 63))

i64 bfs_both_ways(i64 n, const i64 *ptr, const i32 *nodes, i64 count, const i32 *sources) {
    i64 words = (n + 63) / 64, reached = 0;
    uint64_t *seen = malloc((size_t)words * 8), *frontier = malloc((size_t)words * 8);
    i32 *queue = malloc((size_t)n * 4);
    for (i64 s = 0; s < count; s++) {
        i64 head = 0, tail = 0, left = ptr[n];
        memset(seen, 0, (size_t)words * 8);
        queue[tail++] = sources[s], SET(seen, sources[s]);
        while (head < tail) {
            i64 end = tail, arcs = 0;
            for (i64 i = head; i < end; i++) arcs += ptr[queue[i] + 1] - ptr[queue[i]];
            left -= arcs;
            if (arcs > left / 10) { /* the frontier is large: ask those who are not reached */
                memset(frontier, 0, (size_t)words * 8);
                for (i64 i = head; i < end; i++) SET(frontier, queue[i]);
                for (i64 word = 0; word < words; word++) {
                    uint64_t missing = ~seen[word];
                    if (word == words - 1 && (n & 63)) missing &= (1ull << (n & 63)) - 1;
                    for (; missing; missing &= missing - 1) {
                        i64 v = word * 64 + __builtin_ctzll(missing);
                        for (i64 e = ptr[v]; e < ptr[v + 1]; e++)
                            if (HAS(frontier, nodes[e])) {
                                queue[tail++] = (i32)v;
                                break;
                            }
                    }
                }
                for (i64 i = end; i < tail; i++) SET(seen, queue[i]);
            } else {
                for (i64 i = head; i < end; i++)
                    for (i64 e = ptr[queue[i]]; e < ptr[queue[i] + 1]; e++)
                        if (!HAS(seen, nodes[e])) SET(seen, nodes[e]), queue[tail++] = nodes[e];
            }
            head = end;
        }
        reached += tail;
    }
    free(seen), free(frontier), free(queue);
    return reached;
}
