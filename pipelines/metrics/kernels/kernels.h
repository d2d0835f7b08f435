/* Graph kernels: what the C files share. Plain C11 with the vector extensions of GCC and Clang; no Python.h, no OpenMP.
 *
 * A kernel works on a range of sources or nodes, adds to what the caller passes and keeps no state, so that the caller may
 * spread ranges over threads. Nodes are 0..n-1; the neighbours of v are indices[indptr[v] .. indptr[v + 1]).
 */
#ifndef ORGANISM_KERNELS_H
#define ORGANISM_KERNELS_H

#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t i32;
typedef int64_t i64;

/* One cache line; every lane row starts on one. */
#define LINE 64

enum isa { PORTABLE = 0, AVX2 = 1, AVX512 = 2 };

/* What a kernel returns. */
enum { DONE = 0, NO_MEMORY = -1, OVERFLOW_F64 = -2 };

typedef struct {
    i64 n;
    const i64 *out_ptr;
    const i32 *out;
    const i64 *in_ptr;
    const i32 *in;
} graph;

/* Uninitialised rows; large ones on huge pages where Linux has them: rows are read at random, and 5 % faster so. */
static inline void *rows(i64 count, size_t bytes) {
    const size_t huge = 2u << 20;
    size_t size = (size_t)count * bytes, unit = size >= 2 * huge ? huge : LINE;
    size = size ? (size + unit - 1) / unit * unit : LINE;
    void *place = aligned_alloc(unit, size);
#if defined(MADV_HUGEPAGE)
    if (place && unit == huge) (void)madvise(place, size, MADV_HUGEPAGE); /* only advice */
#endif
    return place;
}

#if defined(__x86_64__)
#include <immintrin.h>
#define FOR_AVX2 __attribute__((target("avx2,popcnt,bmi,bmi2")))
#define FOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi,bmi2")))
#endif

#endif
