/* Distances and parents of up to 8 sources, for one instruction set: included by weighted.c once for each.
 *
 * NAME(f): the function's name for this set. TARGET: its attribute. WIDTH: f64 lanes in a vector register; a row is
 * 8 / WIDTH registers.
 */
#define PARTS (LANES / WIDTH)
#define EACH(j) for (int j = 0; j < PARTS; j++)
#define numbers NAME(numbers)
#define masks NAME(masks)
typedef double numbers __attribute__((vector_size(8 * WIDTH), may_alias));
typedef i64 masks __attribute__((vector_size(8 * WIDTH)));

/* The bits of the lanes where a < b: most arcs improve nothing, so this has to be one instruction or two. */
TARGET static inline unsigned NAME(less)(const doubles8 *a, const doubles8 *b) {
#if WIDTH == 8
    return _mm512_cmp_pd_mask(*(const __m512d *)a, *(const __m512d *)b, _CMP_LT_OQ);
#elif WIDTH == 4
    const __m256d *x = (const __m256d *)a, *y = (const __m256d *)b;
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(x[0], y[0], _CMP_LT_OQ)) |
           (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(x[1], y[1], _CMP_LT_OQ)) << 4;
#else
    unsigned bits = 0;
    for (int l = 0; l < LANES; l++) bits |= (unsigned)((*a)[l] < (*b)[l]) << l;
    return bits;
#endif
}

/* Keeps the shorter distances of the lanes in `bits`. Returns the shortest of them. */
TARGET static inline double NAME(shorten)(doubles8 *known, const doubles8 *there, unsigned bits) {
#if WIDTH == 8
    __m512d row = *(const __m512d *)there;
    _mm512_mask_store_pd((double *)known, (__mmask8)bits, row);
    return _mm512_mask_reduce_min_pd((__mmask8)bits, row);
#else
    double least = INFINITY;
    for (; bits; bits &= bits - 1) {
        int l = __builtin_ctz(bits);
        (*known)[l] = (*there)[l];
        least = (*there)[l] < least ? (*there)[l] : least;
    }
    return least;
#endif
}

/* Lets v wait in the bucket of its shortest new distance. */
TARGET static inline void NAME(wait)(space *w, i32 v, double least, double per_width, i64 bucket) {
    /* The ring holds what may wait at once in one lane; what another lane has further away comes early, which costs only time. */
    double at = least * per_width, last = (double)(bucket + w->bucket_count - 1);
    i64 goal = at >= last ? (i64)last : (i64)at;
    if (goal < bucket) goal = bucket;
    if (w->place[v] >= 0) {
        if (w->place[v] <= goal) return;
        dequeue(w, v);
    } else {
        w->waiting++;
    }
    enqueue(w, v, goal);
}

TARGET static void NAME(settle)(const network *g, space *w, int count, const i32 *sources) {
    double per_width = 1 / g->width;
    for (i64 v = 0; v < g->n; v++) w->distance[v] = (doubles8){0} + INFINITY, w->place[v] = -1;
    memset(w->head, 0xff, (size_t)w->bucket_count * 4);
    w->waiting = 0;
    for (int l = 0; l < count; l++) {
        ((double *)(w->distance + sources[l]))[l] = 0;
        if (w->place[sources[l]] < 0) enqueue(w, sources[l], 0), w->waiting++;
    }
    for (i64 bucket = 0; w->waiting > 0; bucket++) {
        for (i32 u; (u = w->head[INSIDE(bucket, w)]) >= 0;) {
            dequeue(w, u), w->waiting--;
            doubles8 here = w->distance[u];
            for (i64 e = g->out_ptr[u]; e < g->out_ptr[u + 1]; e++) {
                doubles8 there = here + g->out_length[e];
                unsigned bits = NAME(less)(&there, w->distance + g->out[e]);
                if (bits) NAME(wait)(w, g->out[e], NAME(shorten)(w->distance + g->out[e], &there, bits), per_width, bucket);
            }
        }
    }
}

/* Which lanes the arc u -> v is tight in: all ones or 0, part by part. */
TARGET static inline void NAME(tight)(const space *w, i32 u, double length, const numbers *here, const numbers *limit, masks *in) {
    const numbers *from = (const numbers *)(w->distance + u);
    EACH(j) in[j] = (masks)(from[j] + length <= limit[j]) & (masks)(from[j] < here[j]);
}

/* The tails of the tight arcs into v, lane by lane. */
TARGET static int NAME(find_parents)(const network *g, space *w, i64 v, int count) {
    numbers limit[PARTS];
    masks parent[PARTS], found[PARTS], in[PARTS];
    const numbers *here = (const numbers *)(w->distance + v);
    EACH(j) limit[j] = here[j] * (1 + g->eps), parent[j] = (masks){0} - 1, found[j] = (masks){0};
    for (i64 e = g->in_ptr[v]; e < g->in_ptr[v + 1]; e++) {
        NAME(tight)(w, g->in[e], g->in_length[e], here, limit, in);
        EACH(j) parent[j] = (parent[j] & ~in[j]) | (in[j] & g->in[e]), found[j] -= in[j];
    }
    int status = DONE, tied = 0;
    for (int l = 0; l < count; l++) {
        w->parent[l * g->n + v] = (i32)parent[l / WIDTH][l % WIDTH];
        tied |= found[l / WIDTH][l % WIDTH] > 1;
    }
    for (i64 e = g->in_ptr[v]; tied && status == DONE && e < g->in_ptr[v + 1]; e++) {
        NAME(tight)(w, g->in[e], g->in_length[e], here, limit, in);
        for (int l = 0; l < count && status == DONE; l++)
            if (in[l / WIDTH][l % WIDTH] && w->parent[l * g->n + v] != g->in[e]) status = add_tie(w, l, (i32)v, g->in[e]);
    }
    return status;
}

TARGET static int NAME(batch)(const network *g, int count, const i32 *sources, space *w) {
    int status = DONE;
    NAME(settle)(g, w, count, sources);
    for (i64 v = 0; status == DONE && v < g->n; v++) status = NAME(find_parents)(g, w, v, count);
    return status;
}
#undef PARTS
#undef EACH
#undef numbers
#undef masks
