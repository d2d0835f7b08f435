/* Metrics of a node's neighbourhood: triangles, Burt's constraint, k-core, and which arcs can lie on a shortest path. */
#include "kernels.h"

#include <math.h>

/* ---- triangles ---- */

typedef struct {
    i64 *ptr;
    i32 *up;
    double *root, *mark;
} oriented;

static int oriented_alloc(oriented *o, i64 n, i64 arcs) {
    o->ptr = rows(n + 1, 8), o->up = rows(arcs, 4), o->root = rows(arcs, 8), o->mark = rows(n, 8);
    return o->ptr && o->up && o->root && o->mark ? DONE : NO_MEMORY;
}

static void oriented_free(oriented *o) { free(o->ptr), free(o->up), free(o->root), free(o->mark); }

/* Each edge once, from the end with fewer neighbours: no node then has many of them, and each triangle is found once. */
static void orient(i64 n, const i64 *ptr, const i32 *nodes, const double *weight, oriented *o) {
    i64 next = 0;
    for (i64 v = 0; v < n; v++) {
        i64 degree = ptr[v + 1] - ptr[v];
        o->ptr[v] = next, o->mark[v] = 0;
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++) {
            i64 u = nodes[e], other = ptr[u + 1] - ptr[u];
            if (degree > other || (degree == other && v > u)) continue;
            o->up[next] = (i32)u, o->root[next] = cbrt(weight[e]), next++;
        }
    }
    o->ptr[n] = next;
}

/* Undirected. count[v]: triangles through v. intensity[v]: sum over them of the cube root of the product of their weights. */
int organism_triangles(i64 n, const i64 *ptr, const i32 *nodes, const double *weight, double *count, double *intensity) {
    oriented o;
    int status = oriented_alloc(&o, n, ptr[n]);
    if (status == DONE) orient(n, ptr, nodes, weight, &o);
    for (i64 v = 0; status == DONE && v < n; v++) {
        for (i64 e = o.ptr[v]; e < o.ptr[v + 1]; e++) o.mark[o.up[e]] = o.root[e];
        for (i64 e = o.ptr[v]; e < o.ptr[v + 1]; e++) {
            i32 u = o.up[e];
            for (i64 f = o.ptr[u]; f < o.ptr[u + 1]; f++) {
                i32 x = o.up[f];
                if (o.mark[x] == 0) continue;
                double root = o.root[e] * o.root[f] * o.mark[x];
                count[v]++, count[u]++, count[x]++;
                intensity[v] += root, intensity[u] += root, intensity[x] += root;
            }
        }
        for (i64 e = o.ptr[v]; e < o.ptr[v + 1]; e++) o.mark[o.up[e]] = 0;
    }
    oriented_free(&o);
    return status;
}

/* ---- Burt (1992), structural holes ---- */

/* Undirected: p_vj = w_vj / strength_v; constraint[v] = sum over j of (p_vj + sum over q of p_vq p_qj)^2; NaN without ties. */
int organism_constraint(i64 n, const i64 *ptr, const i32 *nodes, const double *weight, double *constraint) {
    double *per_strength = rows(n, 8), *share = rows(n, 8);
    int status = per_strength && share ? DONE : NO_MEMORY;
    for (i64 v = 0; status == DONE && v < n; v++) {
        double strength = 0;
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++) strength += weight[e];
        per_strength[v] = 1 / strength, share[v] = 0;
    }
    for (i64 v = 0; status == DONE && v < n; v++) {
        double sum = 0;
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++) share[nodes[e]] = weight[e] * per_strength[v];
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++) {
            i32 j = nodes[e];
            double p = share[j];
            for (i64 f = ptr[j]; f < ptr[j + 1]; f++) p += share[nodes[f]] * weight[f] * per_strength[nodes[f]];
            sum += p * p;
        }
        constraint[v] = ptr[v] == ptr[v + 1] ? NAN : sum;
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++) share[nodes[e]] = 0;
    }
    free(per_strength), free(share);
    return status;
}

/* ---- k-core (Batagelj & Zaversnik 2003) ---- */

typedef struct {
    i64 *start;
    i32 *node, *place;
} by_degree;

static void sort_by_degree(i64 n, by_degree *b, i32 *degree, i64 most) {
    memset(b->start, 0, (size_t)(most + 2) * 8);
    for (i64 v = 0; v < n; v++) b->start[degree[v] + 1]++;
    for (i64 d = 0; d <= most; d++) b->start[d + 1] += b->start[d];
    for (i64 v = 0; v < n; v++) b->place[v] = (i32)b->start[degree[v]]++, b->node[b->place[v]] = (i32)v;
    for (i64 d = most; d > 0; d--) b->start[d] = b->start[d - 1];
    b->start[0] = 0;
}

/* u loses a neighbour: swap it with the first of its degree, which then belongs to the degree below. */
static inline void lower(by_degree *b, i32 *degree, i32 u) {
    i64 first = b->start[degree[u]]++;
    i32 other = b->node[first];
    b->node[b->place[u]] = other, b->place[other] = b->place[u];
    b->node[first] = u, b->place[u] = (i32)first;
    degree[u]--;
}

/* core[v]: the greatest k such that v is in a subgraph where all have k neighbours; entries of v are counted as they stand. */
int organism_core(i64 n, const i64 *ptr, const i32 *nodes, i32 *core) {
    i64 most = 0;
    for (i64 v = 0; v < n; v++) core[v] = (i32)(ptr[v + 1] - ptr[v]), most = core[v] > most ? core[v] : most;
    by_degree b = {rows(most + 2, 8), rows(n, 4), rows(n, 4)};
    int status = b.start && b.node && b.place ? DONE : NO_MEMORY;
    if (status == DONE) sort_by_degree(n, &b, core, most);
    for (i64 i = 0; status == DONE && i < n; i++) {
        i32 v = b.node[i];
        for (i64 e = ptr[v]; e < ptr[v + 1]; e++)
            if (core[nodes[e]] > core[v]) lower(&b, core, nodes[e]);
    }
    free(b.start), free(b.node), free(b.place);
    return status;
}

/* ---- arcs that matter for distances ---- */

/* keep[e] = 0 where a way over one other node is shorter than arc e by more than rounding: it is on no shortest path (the
 * first step to the metric backbone, Simas, Correia & Rocha 2021). Ties stay. */
int organism_shortest_arcs(i64 n, const i64 *ptr, const i32 *nodes, const double *length, double margin, uint8_t *keep) {
    double *direct = rows(n, 8);
    if (!direct) return NO_MEMORY;
    for (i64 v = 0; v < n; v++) direct[v] = -1;
    for (i64 u = 0; u < n; u++) {
        for (i64 e = ptr[u]; e < ptr[u + 1]; e++) direct[nodes[e]] = length[e];
        for (i64 e = ptr[u]; e < ptr[u + 1]; e++)
            for (i64 f = ptr[nodes[e]]; f < ptr[nodes[e] + 1]; f++)
                if ((length[e] + length[f]) * (1 + margin) < direct[nodes[f]]) direct[nodes[f]] = 0;
        for (i64 e = ptr[u]; e < ptr[u + 1]; e++) keep[e] = direct[nodes[e]] != 0;
        for (i64 e = ptr[u]; e < ptr[u + 1]; e++) direct[nodes[e]] = -1;
    }
    free(direct);
    return DONE;
}

/* ---- what this library is ---- */

int organism_interface(void) { return 1; }

int organism_isa(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) return AVX2;
#endif
    return PORTABLE;
}
