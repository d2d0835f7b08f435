/* One batch of up to 16 sources, for one instruction set: included by betweenness.c once for each.
 *
 * NAME(f): the function's name for this set. TARGET: its attribute. WIDTH: f32 lanes in a vector register; a row is
 * 16 / WIDTH registers. Every set does the same operations in the same order, so all give the same bits.
 */
#define PARTS (LANES / WIDTH)
#define floats NAME(floats)
#define ints NAME(ints)
#define bytes NAME(bytes)
typedef float floats __attribute__((vector_size(4 * WIDTH), may_alias));
typedef i32 ints __attribute__((vector_size(4 * WIDTH)));
typedef int8_t bytes __attribute__((vector_size(WIDTH)));

#define ROW(base, v) ((floats *)((base) + (i64)(v) * LANES))
#define EACH(j) for (int j = 0; j < PARTS; j++)

TARGET static inline ints NAME(levels_of)(const int8_t *level, int part) {
#if WIDTH == 16 /* GCC 12 converts lane by lane where there is one instruction */
    (void)part;
    return (ints)_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)level));
#elif WIDTH == 8
    return (ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(level + part * WIDTH)));
#else
    bytes b;
    memcpy(&b, level + part * WIDTH, WIDTH);
    return __builtin_convertvector(b, ints);
#endif
}

/* Level `depth` for the reached lanes of one part of v. */
TARGET static inline void NAME(set_level)(int8_t *level, int part, ints reached, int depth) {
    ints old = NAME(levels_of)(level, part);
    bytes b = __builtin_convertvector((old & ~reached) | (reached & depth), bytes);
    memcpy(level + part * WIDTH, &b, WIDTH);
}

TARGET static inline int NAME(any_unreached)(const int8_t *level) {
    const half_row *half = (const half_row *)level;
    return ((half[0] | half[1]) & 0x8080808080808080ull) != 0;
}

TARGET static inline int NAME(any_at)(const int8_t *level, int depth) {
    const uint64_t ones = 0x0101010101010101ull;
    const half_row *half = (const half_row *)level;
    uint64_t low = half[0] ^ ones * (uint64_t)depth, high = half[1] ^ ones * (uint64_t)depth;
    return ((((low - ones) & ~low) | ((high - ones) & ~high)) & ones << 7) != 0; /* a zero byte in either */
}

TARGET static inline int NAME(any_lane)(ints mask) {
#if WIDTH == 16
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif WIDTH == 8
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

/* The inner loop of it all: the sum of the rows of some nodes. end: of the array; rows are fetched while those of earlier
 * nodes are summed, unless they are all in the cache. */
TARGET static inline void NAME(sum_rows)(const float *base, const i32 *first, const i32 *last, const i32 *end, floats *sum) {
    EACH(j) sum[j] = (floats){0};
    if (end - last >= ROWS_AHEAD) {
        for (; first < last; first++) {
            __builtin_prefetch(ROW(base, first[ROWS_AHEAD]));
            EACH(j) sum[j] += ROW(base, *first)[j];
        }
    }
    for (; first < last; first++) EACH(j) sum[j] += ROW(base, *first)[j];
}

/* New paths of v at `depth`: counts them where v was unreached, leaves them in next[v]. Returns whether there were any. */
TARGET static inline int NAME(arrive)(batch_space *w, i64 v, const floats *paths, int depth, ints *many) {
    int8_t *level = w->level + v * LANES;
    floats fresh[PARTS];
    ints any = {0};
    EACH(j) {
        ints reached = (ints)(NAME(levels_of)(level, j) == UNREACHED) & (ints)(paths[j] > 0);
        fresh[j] = (floats)((ints)paths[j] & reached);
        ROW(w->next, v)[j] = fresh[j];
        NAME(set_level)(level, j, reached, depth);
        any |= reached;
    }
    if (!NAME(any_lane)(any)) return 0;
    EACH(j) {
        ROW(w->sigma, v)[j] += fresh[j];
        *many |= (ints)(fresh[j] > MANY_PATHS);
    }
    return 1;
}

/* One level while the frontier is small: along the arcs out of it. Rows of `next` are zero before. Returns its new size. */
TARGET static i64 NAME(push)(const graph *g, batch_space *w, i64 size, int depth, ints *many) {
    i64 touched = 0, kept = 0;
    for (i64 i = 0; i < size; i++) {
        i32 u = w->queue[i];
        floats here[PARTS];
        EACH(j) here[j] = ROW(w->frontier, u)[j];
        for (i64 e = g->out_ptr[u]; e < g->out_ptr[u + 1]; e++) {
            i32 v = g->out[e];
            EACH(j) ROW(w->next, v)[j] += here[j];
            w->queue2[touched] = v;
            touched += w->mark[v] != depth;
            w->mark[v] = (int8_t)depth;
        }
    }
    for (i64 i = 0; i < size; i++) EACH(j) ROW(w->frontier, w->queue[i])[j] = (floats){0};
    for (i64 i = 0; i < touched; i++) {
        i32 v = w->queue2[i];
        floats paths[PARTS];
        EACH(j) paths[j] = ROW(w->next, v)[j];
        if (NAME(arrive)(w, v, paths, depth, many)) w->queue2[kept++] = v;
    }
    i32 *swap = w->queue;
    w->queue = w->queue2, w->queue2 = swap;
    return kept;
}

/* One level for all nodes that some lane has not reached: along the arcs into them. */
TARGET static int NAME(pull)(const graph *g, batch_space *w, int depth, ints *many) {
    const i32 *end = g->n < MANY_ROWS ? g->in : g->in + g->in_ptr[g->n];
    int any = 0;
    for (i64 v = 0; v < g->n; v++) {
        floats paths[PARTS];
        EACH(j) paths[j] = (floats){0};
        if (!NAME(any_unreached)(w->level + v * LANES)) {
            EACH(j) ROW(w->next, v)[j] = paths[j];
            continue;
        }
        __builtin_prefetch(ROW(w->sigma, v), 1), __builtin_prefetch(ROW(w->next, v), 1); /* needed after the sum */
        NAME(sum_rows)(w->frontier, g->in + g->in_ptr[v], g->in + g->in_ptr[v + 1], end, paths);
        any |= NAME(arrive)(w, v, paths, depth, many);
    }
    return any;
}

/* Levels and path counts from all sources. Returns the greatest depth, or -1 when f32 or one byte is too small. */
TARGET static int NAME(forward)(const graph *g, batch_space *w, int count, const i32 *sources) {
    size_t row = (size_t)g->n * LANES * sizeof(float);
    memset(w->sigma, 0, row), memset(w->frontier, 0, row), memset(w->next, 0, row);
    memset(w->level, UNREACHED, (size_t)g->n * LANES), memset(w->mark, 0, (size_t)g->n);
    for (i64 v = 0; count < LANES && v < g->n; v++) memset(w->level + v * LANES + count, IDLE, (size_t)(LANES - count));
    for (int l = 0; l < count; l++) {
        i64 at = (i64)sources[l] * LANES + l;
        w->sigma[at] = w->frontier[at] = 1, w->level[at] = 0, w->queue[l] = sources[l];
    }
    ints many = {0};
    i64 size = count;
    int depth = 0, pushing = 1;
    for (;; depth++) {
        i64 arcs = 0;
        for (i64 i = 0; pushing && i < size; i++) arcs += g->out_ptr[w->queue[i] + 1] - g->out_ptr[w->queue[i]];
        pushing = pushing && arcs * 4 <= g->out_ptr[g->n];
        if (depth == DEEPEST) return -1;
        if (pushing ? !(size = NAME(push)(g, w, size, depth + 1, &many)) : !NAME(pull)(g, w, depth + 1, &many)) break;
        float *swap = w->frontier;
        w->frontier = w->next, w->next = swap;
    }
    return NAME(any_lane)(many) ? -1 : depth;
}

/* share[v] = (1 + delta) / sigma in the lanes where v is at `depth`, else 0. Returns the arcs into such nodes. */
TARGET static i64 NAME(shares)(const graph *g, batch_space *w, float *delta, float *share, int depth, i64 *size) {
    i64 arcs = 0;
    *size = 0;
    for (i64 v = 0; v < g->n; v++) {
        const int8_t *level = w->level + v * LANES;
        if (!NAME(any_at)(level, depth)) {
            EACH(j) ROW(share, v)[j] = (floats){0};
            continue;
        }
        __builtin_prefetch(ROW(w->sigma, v + AHEAD)), __builtin_prefetch(ROW(delta, v + AHEAD));
        EACH(j) {
            ints here = (ints)(NAME(levels_of)(level, j) == depth);
            floats sigma = (floats)(((ints)ROW(w->sigma, v)[j] & here) | ((ints)((floats){0} + 1) & ~here));
            ROW(share, v)[j] = (floats)((ints)((1 + ROW(delta, v)[j]) / sigma) & here);
        }
        w->queue[(*size)++] = (i32)v;
        arcs += g->in_ptr[v + 1] - g->in_ptr[v];
    }
    return arcs;
}

/* delta of the nodes at depth - 1, from the shares at `depth`: along the arcs out of them. */
TARGET static void NAME(gather)(const graph *g, batch_space *w, float *delta, const float *share, int depth) {
    const i32 *end = g->n < MANY_ROWS ? g->out : g->out + g->out_ptr[g->n];
    for (i64 v = 0; v < g->n; v++) {
        const int8_t *level = w->level + v * LANES;
        if (!NAME(any_at)(level, depth - 1)) continue;
        floats sum[PARTS];
        __builtin_prefetch(ROW(w->sigma, v)), __builtin_prefetch(ROW(delta, v), 1); /* needed after the sum */
        NAME(sum_rows)(share, g->out + g->out_ptr[v], g->out + g->out_ptr[v + 1], end, sum);
        EACH(j) {
            ints here = (ints)(NAME(levels_of)(level, j) == depth - 1);
            ROW(delta, v)[j] += (floats)((ints)(sum[j] * ROW(w->sigma, v)[j]) & here);
        }
    }
}

/* The same from the other side, when few nodes are at `depth`: along the arcs into them. */
TARGET static void NAME(scatter)(const graph *g, batch_space *w, float *delta, const float *share, int depth, i64 size) {
    for (i64 i = 0; i < size; i++) {
        i32 v = w->queue[i];
        for (i64 e = g->in_ptr[v]; e < g->in_ptr[v + 1]; e++) {
            i32 u = g->in[e];
            const int8_t *level = w->level + (i64)u * LANES;
            if (!NAME(any_at)(level, depth - 1)) continue;
            EACH(j) {
                ints here = (ints)(NAME(levels_of)(level, j) == depth - 1);
                ROW(delta, u)[j] += (floats)((ints)(ROW(share, v)[j] * ROW(w->sigma, u)[j]) & here);
            }
        }
    }
}

/* Always in the same order of additions, whatever the width of a register. */
TARGET static inline double NAME(row_sum)(const float *row) {
    floats8 low, high;
    memcpy(&low, row, sizeof low), memcpy(&high, row + 8, sizeof high);
    doubles8 s = __builtin_convertvector(low, doubles8) + __builtin_convertvector(high, doubles8);
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

TARGET static int NAME(batch)(const graph *g, int count, const i32 *sources, batch_space *w, double *out) {
    int deepest = NAME(forward)(g, w, count, sources);
    if (deepest < 0) return OVERFLOW_F64;
    float *delta = w->next, *share = w->frontier;
    memset(delta, 0, (size_t)g->n * LANES * sizeof(float));
    for (int depth = deepest; depth >= 2; depth--) {
        i64 size, arcs = NAME(shares)(g, w, delta, share, depth, &size);
        if (arcs * SPARSE < g->out_ptr[g->n]) NAME(scatter)(g, w, delta, share, depth, size);
        else NAME(gather)(g, w, delta, share, depth);
    }
    for (i64 v = 0; v < g->n; v++) out[v] += NAME(row_sum)(delta + v * LANES); /* level 0 is never gathered into */
    return DONE;
}
#undef PARTS
#undef floats
#undef ints
#undef bytes
#undef ROW
#undef EACH
