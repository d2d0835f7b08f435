/* Distances from all nodes by bit-parallel breadth-first search (MS-BFS, Then et al. 2014): 512 sources at once, a bit each. */
#include "kernels.h"

#define WORDS 8
#define BITS (64 * WORDS)
typedef uint64_t bits512 __attribute__((vector_size(64)));

typedef struct {
    bits512 *seen, *frontier, *next;
} space;

static int space_alloc(space *w, i64 n) {
    w->seen = rows(n, sizeof(bits512)), w->frontier = rows(n, sizeof(bits512)), w->next = rows(n, sizeof(bits512));
    return w->seen && w->frontier && w->next ? DONE : NO_MEMORY;
}

static void space_free(space *w) { free(w->seen), free(w->frontier), free(w->next); }

#define NAME(f) f##_portable
#define TARGET
#include "reach_batch.h"
#undef NAME
#undef TARGET
#if defined(__x86_64__)
#define NAME(f) f##_avx2
#define TARGET FOR_AVX2
#include "reach_batch.h"
#undef NAME
#undef TARGET
#define NAME(f) f##_avx512
#define TARGET FOR_AVX512
#include "reach_batch.h"
#endif

/* Sources first <= s < last. harmonic[v] += sum of 1/d(s, v); farthest[s - first] = the greatest finite d(s, v). */
int organism_harmonic(i64 n, const i64 *in_ptr, const i32 *in_nodes, i64 first, i64 last, double *harmonic, i32 *farthest,
                      int isa) {
    space w;
    int status = space_alloc(&w, n);
    (void)isa;
    for (i64 s = first; status == DONE && s < last; s += BITS) {
        i64 count = last - s < BITS ? last - s : BITS;
#if defined(__x86_64__)
        if (isa == AVX512) batch_avx512(n, in_ptr, in_nodes, s, count, &w, harmonic, farthest + (s - first));
        else if (isa == AVX2) batch_avx2(n, in_ptr, in_nodes, s, count, &w, harmonic, farthest + (s - first));
        else
#endif
            batch_portable(n, in_ptr, in_nodes, s, count, &w, harmonic, farthest + (s - first));
    }
    space_free(&w);
    return status;
}
