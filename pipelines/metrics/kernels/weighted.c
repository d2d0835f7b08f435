/* Exact weighted betweenness: 8 sources at once, one source a lane of a cache line of f64.
 *
 * Distances: label correcting over buckets of `width` (delta stepping, Meyer & Sanders 2003), all lanes of a node in one go.
 * An arc u -> v is tight, that is on a shortest path, where D[u] + length <= D[v] * (1 + eps) and D[u] < D[v]: lengths are
 * 1/weight, so that equal paths differ in the last bits, and exact equality would lose ties (graph engines do).
 */
#include "kernels.h"

#include <math.h>

#define LANES 8
#define INSIDE(slot, w) ((slot) & ((w)->bucket_count - 1)) /* buckets are a ring */
typedef double doubles8 __attribute__((vector_size(64)));

typedef struct {
    const i64 *out_ptr;
    const i32 *out;
    const double *out_length;
    const i64 *in_ptr;
    const i32 *in;
    const double *in_length;
    i64 n, bucket_count;
    double width, eps;
} network;

typedef struct {
    double share;
    i32 children, parent;
} tree_node;

typedef struct {
    i32 child, parent;
} tie;

typedef struct {
    i64 bucket_count, waiting;
    doubles8 *distance;
    i64 *place;               /* absolute number of the bucket that a node waits in, -1: it does not wait */
    i32 *head, *after, *before; /* the buckets: linked lists of nodes, no node twice */
    i32 *parent;              /* [lane][node], -1: none */
    tie *ties[LANES];         /* parents beyond the first, ascending by child */
    i64 tie_count[LANES], tie_room[LANES];
    tree_node *tree;
    double *sigma, *delta;
    i32 *children, *order;
    i64 *tie_ptr;
} space;

static int space_alloc(space *w, i64 n, i64 bucket_count) {
    memset(w, 0, sizeof *w);
    w->bucket_count = bucket_count;
    w->distance = rows(n, sizeof(doubles8)), w->place = rows(n, 8);
    w->head = rows(bucket_count, 4), w->after = rows(n, 4), w->before = rows(n, 4);
    w->parent = rows(n * LANES, 4), w->tree = rows(n, sizeof(tree_node));
    w->sigma = rows(n, 8), w->delta = rows(n, 8), w->children = rows(n, 4), w->order = rows(n, 4), w->tie_ptr = rows(n + 1, 8);
    return w->distance && w->place && w->head && w->after && w->before && w->parent && w->tree && w->sigma && w->delta &&
                   w->children && w->order && w->tie_ptr
               ? DONE
               : NO_MEMORY;
}

static void space_free(space *w) {
    free(w->distance), free(w->place), free(w->head), free(w->after), free(w->before), free(w->parent), free(w->tree);
    free(w->sigma), free(w->delta), free(w->children), free(w->order), free(w->tie_ptr);
    for (int l = 0; l < LANES; l++) free(w->ties[l]);
}

static inline void enqueue(space *w, i32 v, i64 bucket) {
    i32 *head = w->head + INSIDE(bucket, w);
    w->place[v] = bucket, w->before[v] = -1, w->after[v] = *head;
    if (*head >= 0) w->before[*head] = v;
    *head = v;
}

static inline void dequeue(space *w, i32 v) {
    i32 after = w->after[v], before = w->before[v];
    if (after >= 0) w->before[after] = before;
    if (before >= 0) w->after[before] = after;
    else w->head[INSIDE(w->place[v], w)] = after;
    w->place[v] = -1;
}

static int add_tie(space *w, int lane, i32 child, i32 parent) {
    if (w->tie_count[lane] == w->tie_room[lane]) {
        i64 room = w->tie_room[lane] ? 2 * w->tie_room[lane] : 1024;
        tie *larger = realloc(w->ties[lane], (size_t)room * sizeof(tie));
        if (!larger) return NO_MEMORY;
        w->ties[lane] = larger, w->tie_room[lane] = room;
    }
    w->ties[lane][w->tie_count[lane]++] = (tie){child, parent};
    return DONE;
}

#define NAME(f) f##_portable
#define TARGET
#define WIDTH 2
#include "weighted_batch.h"
#undef NAME
#undef TARGET
#undef WIDTH
#if defined(__x86_64__)
#define NAME(f) f##_avx2
#define TARGET FOR_AVX2
#define WIDTH 4
#include "weighted_batch.h"
#undef NAME
#undef TARGET
#undef WIDTH
#define NAME(f) f##_avx512
#define TARGET FOR_AVX512
#define WIDTH 8
#include "weighted_batch.h"
#endif

/* ---- dependencies of one lane ---- */

/* Every node has one parent: paths are unique and a walk up from the leaves is all. */
static void add_tree(const network *g, space *w, i32 source, const i32 *parent, double *out) {
    tree_node *node = w->tree;
    memset(node, 0, (size_t)g->n * sizeof *node);
    for (i64 v = 0; v < g->n; v++) {
        node[v].parent = parent[v];
        if (parent[v] >= 0) node[parent[v]].children++;
    }
    for (i64 leaf = 0; leaf < g->n; leaf++) {
        if (node[leaf].children != 0 || parent[leaf] < 0) continue;
        for (i32 v = (i32)leaf; v != source;) {
            i32 up = node[v].parent;
            node[v].children = -1;
            out[v] += node[v].share;
            node[up].share += 1 + node[v].share;
            if (--node[up].children > 0) break;
            v = up;
        }
    }
}

/* Nodes of the shortest-path graph, children before parents. Returns how many; the source is the last. */
static i64 children_first(const network *g, space *w, int lane, const i32 *parent) {
    i64 head = 0, tail = 0, next = 0;
    memset(w->children, 0, (size_t)g->n * 4);
    for (i64 v = 0; v < g->n; v++) {
        for (w->tie_ptr[v] = next; next < w->tie_count[lane] && w->ties[lane][next].child == v; next++)
            w->children[w->ties[lane][next].parent]++;
        if (parent[v] >= 0) w->children[parent[v]]++;
    }
    w->tie_ptr[g->n] = next;
    for (i64 v = 0; v < g->n; v++)
        if (w->children[v] == 0 && parent[v] >= 0) w->order[tail++] = (i32)v;
    while (head < tail) {
        i32 v = w->order[head++];
        if (parent[v] < 0) continue;
        if (--w->children[parent[v]] == 0) w->order[tail++] = parent[v];
        for (i64 i = w->tie_ptr[v]; i < w->tie_ptr[v + 1]; i++)
            if (--w->children[w->ties[lane][i].parent] == 0) w->order[tail++] = w->ties[lane][i].parent;
    }
    return tail;
}

static void add_tied(const network *g, space *w, int lane, i32 source, const i32 *parent, double *out) {
    const tie *ties = w->ties[lane];
    i64 size = children_first(g, w, lane, parent);
    w->sigma[source] = 1, w->delta[source] = 0;
    for (i64 i = size - 1; i >= 0; i--) {
        i32 v = w->order[i];
        if (v == source) continue;
        w->delta[v] = 0, w->sigma[v] = w->sigma[parent[v]];
        for (i64 t = w->tie_ptr[v]; t < w->tie_ptr[v + 1]; t++) w->sigma[v] += w->sigma[ties[t].parent];
    }
    for (i64 i = 0; i < size; i++) {
        i32 v = w->order[i];
        if (v == source) continue;
        double share = (1 + w->delta[v]) / w->sigma[v];
        out[v] += w->delta[v];
        w->delta[parent[v]] += w->sigma[parent[v]] * share;
        for (i64 t = w->tie_ptr[v]; t < w->tie_ptr[v + 1]; t++)
            w->delta[ties[t].parent] += w->sigma[ties[t].parent] * share;
    }
}

static int one_batch(const network *g, int isa, int count, const i32 *sources, space *w, double *out) {
    int status;
    memset(w->tie_count, 0, sizeof w->tie_count);
#if defined(__x86_64__)
    if (isa == AVX512) status = batch_avx512(g, count, sources, w);
    else if (isa == AVX2) status = batch_avx2(g, count, sources, w);
    else
#endif
        status = batch_portable(g, count, sources, w);
    (void)isa;
    for (int l = 0; status == DONE && l < count; l++) {
        const i32 *parent = w->parent + l * g->n;
        if (w->tie_count[l] == 0) add_tree(g, w, sources[l], parent, out);
        else add_tied(g, w, l, sources[l], parent, out);
    }
    return status;
}

/* out[v] += sum over sources s of delta_s(v), over ordered pairs. bucket_count: a power of two. */
int organism_betweenness_weighted(i64 n, const i64 *out_ptr, const i32 *out_nodes, const double *out_length, const i64 *in_ptr,
                                  const i32 *in_nodes, const double *in_length, i64 count, const i32 *sources, double width,
                                  i64 bucket_count, double eps, double *out, int isa) {
    network g = {out_ptr, out_nodes, out_length, in_ptr, in_nodes, in_length, n, bucket_count, width, eps};
    space w;
    int status = space_alloc(&w, n, bucket_count);
    for (i64 i = 0; status == DONE && i < count; i += LANES)
        status = one_batch(&g, isa, count - i < LANES ? (int)(count - i) : LANES, sources + i, &w, out);
    space_free(&w);
    return status;
}
