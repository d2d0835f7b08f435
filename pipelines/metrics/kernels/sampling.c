/* Random shortest paths between random pairs (Riondato & Kornaropoulos 2014), each found from both ends at once (balanced
 * bidirectional breadth-first search, as Borassi & Natale 2016): a fraction of the graph is seen for each.
 *
 * Sample number i draws from its own generator, so that the counts do not depend on how samples are spread over threads.
 */
#include "kernels.h"

typedef struct {
    const i64 *ptr, *back_ptr;
    const i32 *nodes, *back_nodes;
    i32 *level; /* -1: not reached */
    double *sigma;
    i32 *reached; /* in order of level */
    i64 start, size; /* the frontier is reached[start .. size) */
    i32 depth;
} side;

/* SplitMix64 (Steele, Lea & Flood 2014), to a double in [0, 1). */
static double draw(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static int side_alloc(side *a, i64 n, const i64 *ptr, const i32 *nodes, const i64 *back_ptr, const i32 *back_nodes) {
    a->ptr = ptr, a->nodes = nodes, a->back_ptr = back_ptr, a->back_nodes = back_nodes;
    a->level = rows(n, 4), a->sigma = rows(n, 8), a->reached = rows(n, 4), a->start = a->size = 0;
    if (!a->level || !a->sigma || !a->reached) return NO_MEMORY;
    memset(a->level, 0xff, (size_t)n * 4);
    return DONE;
}

static void side_free(side *a) { free(a->level), free(a->sigma), free(a->reached); }

static void begin(side *a, i32 node) {
    for (i64 i = 0; i < a->size; i++) a->level[a->reached[i]] = -1;
    a->level[node] = 0, a->sigma[node] = 1, a->reached[0] = node, a->start = 0, a->size = 1, a->depth = 0;
}

static void expand(side *a) {
    i64 end = a->size;
    a->depth++;
    for (i64 i = a->start; i < end; i++) {
        i32 u = a->reached[i];
        for (i64 e = a->ptr[u]; e < a->ptr[u + 1]; e++) {
            i32 v = a->nodes[e];
            if (a->level[v] < 0) a->level[v] = a->depth, a->sigma[v] = a->sigma[u], a->reached[a->size++] = v;
            else if (a->level[v] == a->depth) a->sigma[v] += a->sigma[u];
        }
    }
    a->start = end;
}

static i64 cost(const side *a) {
    i64 arcs = 0;
    for (i64 i = a->start; i < a->size; i++) arcs += a->ptr[a->reached[i] + 1] - a->ptr[a->reached[i]];
    return arcs;
}

/* A node of the new frontier of `a` that lies on a random shortest path; -1 when the sides have not met. */
static i32 meeting(const side *a, const side *b, uint64_t *state) {
    double paths = 0;
    i32 chosen = -1;
    for (i64 i = a->start; i < a->size; i++)
        if (b->level[a->reached[i]] >= 0) paths += a->sigma[a->reached[i]] * b->sigma[a->reached[i]];
    double left = paths > 0 ? paths * draw(state) : 0;
    for (i64 i = a->start; paths > 0 && left >= 0 && i < a->size; i++) {
        i32 v = a->reached[i];
        if (b->level[v] < 0) continue;
        chosen = v, left -= a->sigma[v] * b->sigma[v];
    }
    return chosen;
}

/* From v back to the end of its side along a random shortest path, counting who lies between. */
static void walk(const side *a, i32 v, uint64_t *state, i64 *count) {
    while (a->level[v] > 0) {
        double left = a->sigma[v] * draw(state);
        i32 chosen = v;
        for (i64 e = a->back_ptr[v]; left >= 0 && e < a->back_ptr[v + 1]; e++) {
            i32 u = a->back_nodes[e];
            if (a->level[u] != a->level[v] - 1) continue;
            chosen = u, left -= a->sigma[u];
        }
        v = chosen;
        if (a->level[v] > 0) count[v]++;
    }
}

static void one_path(i64 n, side *from, side *to, uint64_t state, i64 *count) {
    i32 s = (i32)(draw(&state) * (double)n), t = (i32)(draw(&state) * (double)(n - 1));
    t += t >= s;
    begin(from, s), begin(to, t);
    for (;;) {
        int forward = cost(from) <= cost(to);
        side *a = forward ? from : to;
        expand(a);
        if (a->start == a->size) return; /* no path between the two */
        i32 v = meeting(a, forward ? to : from, &state);
        if (v < 0) continue;
        if (from->level[v] > 0 && to->level[v] > 0) count[v]++;
        walk(from, v, &state, count), walk(to, v, &state, count);
        return;
    }
}

/* count[v] += how many of the samples first <= i < last run through v. n >= 2. */
int organism_sample_paths(i64 n, const i64 *out_ptr, const i32 *out_nodes, const i64 *in_ptr, const i32 *in_nodes, i64 seed,
                          i64 first, i64 last, i64 *count) {
    side from, to;
    int status = side_alloc(&from, n, out_ptr, out_nodes, in_ptr, in_nodes);
    int other = side_alloc(&to, n, in_ptr, in_nodes, out_ptr, out_nodes);
    if (other != DONE) status = other;
    for (i64 i = first; status == DONE && i < last; i++) {
        uint64_t state = (uint64_t)seed ^ (uint64_t)i * 0xd1342543de82ef95ull;
        draw(&state), one_path(n, &from, &to, state, count);
    }
    side_free(&from), side_free(&to);
    return status;
}
