/* Exact unweighted betweenness: Brandes (2001), 16 sources at once, one source a lane of a cache line of f32.
 *
 * Path counts are f32 and levels one byte. A batch that outgrows either (more than 1e30 paths, more than 126 levels) is done
 * again source by source in f64, so the result is always exact to rounding.
 */
#include "kernels.h"

#define LANES 16
#define UNREACHED (-1)
#define IDLE 127 /* level of a lane without a source: neither unreached nor ever a depth */
#define DEEPEST 126
#define MANY_PATHS 1e30f
#define SPARSE 6 /* fewer arcs than a sixth: go along them instead of asking all nodes */
#define AHEAD 8  /* rows to fetch ahead of use */
#define ROWS_AHEAD 128   /* the same where they lie anywhere: a third faster at 100,000 nodes, alike from 96 to 192 */
#define MANY_ROWS 40000  /* 2.5 MB: fewer rows stay in the cache of a core, and fetching them early gives nothing */

typedef float floats8 __attribute__((vector_size(32)));
typedef uint64_t half_row __attribute__((may_alias)); /* eight levels */
typedef double doubles8 __attribute__((vector_size(64)));

typedef struct {
    float *sigma, *frontier, *next;
    int8_t *level, *mark;
    i32 *queue, *queue2;
} batch_space;

static int batch_alloc(batch_space *w, i64 n) {
    size_t row = LANES * sizeof(float);
    w->sigma = rows(n, row), w->frontier = rows(n, row), w->next = rows(n, row);
    w->level = rows(n, LANES), w->mark = rows(n, 1);
    w->queue = rows(n + 1, sizeof(i32)), w->queue2 = rows(n + 1, sizeof(i32));
    return w->sigma && w->frontier && w->next && w->level && w->mark && w->queue && w->queue2 ? DONE : NO_MEMORY;
}

static void batch_free(batch_space *w) {
    free(w->sigma), free(w->frontier), free(w->next), free(w->level), free(w->mark), free(w->queue), free(w->queue2);
}

#define NAME(f) f##_portable
#define TARGET
#define WIDTH 4
#include "betweenness_batch.h"
#undef NAME
#undef TARGET
#undef WIDTH
#if defined(__x86_64__)
#define NAME(f) f##_avx2
#define TARGET FOR_AVX2
#define WIDTH 8
#include "betweenness_batch.h"
#undef NAME
#undef TARGET
#undef WIDTH
#define NAME(f) f##_avx512
#define TARGET FOR_AVX512
#define WIDTH 16
#include "betweenness_batch.h"
#endif

static int one_batch(const graph *g, int isa, int count, const i32 *sources, batch_space *w, double *out) {
#if defined(__x86_64__)
    if (isa == AVX512) return batch_avx512(g, count, sources, w, out);
    if (isa == AVX2) return batch_avx2(g, count, sources, w, out);
#endif
    (void)isa;
    return batch_portable(g, count, sources, w, out);
}

/* ---- one source in f64: the path for batches that outgrew f32 or one byte ---- */

typedef struct {
    double *sigma, *delta;
    i32 *depth, *order;
} single_space;

static int single_alloc(single_space *w, i64 n) {
    w->sigma = rows(n, 8), w->delta = rows(n, 8), w->depth = rows(n, 4), w->order = rows(n, 4);
    return w->sigma && w->delta && w->depth && w->order ? DONE : NO_MEMORY;
}

static void single_free(single_space *w) { free(w->sigma), free(w->delta), free(w->depth), free(w->order); }

static i64 count_paths(const graph *g, i32 source, single_space *w) {
    i64 head = 0, tail = 0;
    memset(w->depth, 0xff, (size_t)g->n * 4);
    w->depth[source] = 0, w->sigma[source] = 1, w->delta[source] = 0, w->order[tail++] = source;
    while (head < tail) {
        i32 u = w->order[head++];
        for (i64 e = g->out_ptr[u]; e < g->out_ptr[u + 1]; e++) {
            i32 v = g->out[e];
            if (w->depth[v] < 0) {
                w->depth[v] = w->depth[u] + 1, w->sigma[v] = w->sigma[u], w->delta[v] = 0, w->order[tail++] = v;
            } else if (w->depth[v] == w->depth[u] + 1) {
                w->sigma[v] += w->sigma[u];
            }
        }
    }
    return tail;
}

static void one_source(const graph *g, i32 source, single_space *w, double *out) {
    for (i64 i = count_paths(g, source, w) - 1; i > 0; i--) {
        i32 v = w->order[i];
        double share = (1 + w->delta[v]) / w->sigma[v];
        for (i64 e = g->in_ptr[v]; e < g->in_ptr[v + 1]; e++) {
            i32 u = g->in[e];
            if (w->depth[u] == w->depth[v] - 1) w->delta[u] += w->sigma[u] * share;
        }
        out[v] += w->delta[v];
    }
}

static int batch_again(const graph *g, i64 count, const i32 *sources, double *out) {
    single_space w;
    int status = single_alloc(&w, g->n);
    for (i64 i = 0; status == DONE && i < count; i++) one_source(g, sources[i], &w, out);
    single_free(&w);
    return status;
}

/* out[v] += sum over sources s of delta_s(v), over ordered pairs. Sources must be distinct. */
int organism_betweenness(i64 n, const i64 *out_ptr, const i32 *out_nodes, const i64 *in_ptr, const i32 *in_nodes, i64 count,
                         const i32 *sources, double *out, int isa) {
    graph g = {n, out_ptr, out_nodes, in_ptr, in_nodes};
    batch_space w;
    int status = batch_alloc(&w, n);
    for (i64 i = 0; status == DONE && i < count; i += LANES) {
        int width = count - i < LANES ? (int)(count - i) : LANES;
        if (one_batch(&g, isa, width, sources + i, &w, out) != DONE) status = batch_again(&g, width, sources + i, out);
    }
    batch_free(&w);
    return status;
}
