/* One batch of up to 512 sources, for one instruction set: included by reach.c once for each. */

TARGET static inline i64 NAME(ones)(bits512 row) {
    i64 count = 0;
    for (int j = 0; j < WORDS; j++) count += __builtin_popcountll(row[j]);
    return count;
}

TARGET static inline uint64_t NAME(any)(bits512 row) {
    return (row[0] | row[1]) | (row[2] | row[3]) | (row[4] | row[5]) | (row[6] | row[7]);
}

/* One level: what reaches v now is what its in-neighbours reached last. Returns the sources that reached anybody new. */
TARGET static bits512 NAME(level)(i64 n, const i64 *in_ptr, const i32 *in, space *w, bits512 full, int depth, double *harmonic) {
    bits512 active = {0};
    for (i64 v = 0; v < n; v++) {
        bits512 fresh = {0}, missing = full & ~w->seen[v];
        if (NAME(any)(missing)) {
            for (i64 e = in_ptr[v]; e < in_ptr[v + 1]; e++) fresh |= w->frontier[in[e]];
            fresh &= missing;
            w->seen[v] |= fresh;
            active |= fresh;
            harmonic[v] += (double)NAME(ones)(fresh) / depth;
        }
        w->next[v] = fresh;
    }
    return active;
}

TARGET static void NAME(batch)(i64 n, const i64 *in_ptr, const i32 *in, i64 first, i64 count, space *w, double *harmonic,
                               i32 *farthest) {
    bits512 full = {0};
    memset(w->seen, 0, (size_t)n * sizeof(bits512)), memset(w->frontier, 0, (size_t)n * sizeof(bits512));
    for (i64 l = 0; l < count; l++) {
        uint64_t bit = 1ull << (l % 64);
        ((uint64_t *)(w->seen + first + l))[l / 64] |= bit, ((uint64_t *)(w->frontier + first + l))[l / 64] |= bit;
        full[l / 64] |= bit;
        farthest[l] = 0;
    }
    for (int depth = 1;; depth++) {
        bits512 active = NAME(level)(n, in_ptr, in, w, full, depth, harmonic);
        if (!NAME(any)(active)) return;
        for (i64 l = 0; l < count; l++)
            if (active[l / 64] >> (l % 64) & 1) farthest[l] = depth;
        bits512 *swap = w->frontier;
        w->frontier = w->next, w->next = swap;
    }
}
