// One block's attention to the keys of a span: an online softmax over double-buffered tiles.
// Tri Dao, "FlashAttention-2" (2023), algorithm 1; maxima and sums are of base 2.
#pragma once

#include "shared_prefix_tiles.cuh"

namespace workbench {

// What a warp's 16 rows have gathered. Every lane has the maximum of its two rows; sums are of its own columns
// until `finish`.
struct Gathered {
    Fragment output[HEAD / 8];
    float maximum[2], sum[2];
};

// Shared memory: the queries, then two tiles of keys and values each.
constexpr int SHARED_BYTES = (ROWS + 4 * KEYS) * PITCH * (int)sizeof(Element);

// Scores of keys that a row does not see become -infinity. `limits`: behind the last one that each row sees.
DEVICE void mask(Fragment (&scores)[KEYS / 8], int first, const int (&limits)[2]) {
    if (min(limits[0], limits[1]) >= first + KEYS) return;
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
            if (first + j * 8 + (int)threadIdx.x % 4 * 2 + e % 2 >= limits[e / 2]) scores[j][e] = -infinity();
}

// Scores become shares under the new maximum, and what was gathered under the old one is rescaled.
DEVICE void soften(Fragment (&scores)[KEYS / 8], Gathered& gathered, float scale) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float highest = gathered.maximum[half];
#pragma unroll
        for (int j = 0; j < KEYS / 8; ++j)
            highest = fmaxf(highest, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
        highest = fmaxf(highest, shuffle_xor(highest, 1));
        highest = fmaxf(highest, shuffle_xor(highest, 2));
        const float base = highest == -infinity() ? 0.0f : highest * scale;  // nothing seen yet: all shares are 0
        const float rescale = exp2_approximate(gathered.maximum[half] * scale - base);
        float sum = gathered.sum[half] * rescale;
#pragma unroll
        for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; ++e) {
                scores[j][e] = exp2_approximate(fmaf(scores[j][e], scale, -base));
                sum += scores[j][e];
            }
        gathered.maximum[half] = highest;
        gathered.sum[half] = sum;
#pragma unroll
        for (int i = 0; i < HEAD / 8; ++i) {
            gathered.output[i][2 * half] *= rescale;
            gathered.output[i][2 * half + 1] *= rescale;
        }
    }
}

// Output and log-sum-exp of the block's rows over the keys of `span`, which is empty or has a first tile.
DEVICE void attend(const SharedPrefixInputs& in, const Rows& rows, int kv_head, Span span, Gathered& gathered) {
    DYNAMIC_SHARED(memory);
    Element* const query_tile = (Element*)memory;
    Element* const key_tiles = query_tile + ROWS * PITCH;
    Element* const value_tiles = key_tiles + 2 * KEYS * PITCH;
    const int first = rows.first + (int)threadIdx.x / WARP * 16;
    const bool live = first < rows.until;  // of the warp; others help to copy
    const Rows mine = rows_between(in, kv_head, live ? first : rows.first, live ? min(first + 16, rows.until) : rows.until);
    const int upper = first + (int)threadIdx.x % WARP / 4;
    const Row places[2] = {row_at(in, kv_head, upper), row_at(in, kv_head, upper + 8)};
#pragma unroll
    for (int i = 0; i < HEAD / 8; ++i) clear(gathered.output[i]);
    gathered.maximum[0] = gathered.maximum[1] = -infinity();
    gathered.sum[0] = gathered.sum[1] = 0.0f;

    copy_queries(in, rows, kv_head, query_tile);
    copy_async_commit();
    if (!is_empty(span)) copy_keys(in, span, kv_head, key_tiles, value_tiles);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    Queries queries;
    load_queries(queries, query_tile + (int)threadIdx.x / WARP * 16 * PITCH);

    for (int stage = 0; !is_empty(span); stage ^= 1) {
        const Span next = next_tile(in, rows, span);
        if (!is_empty(next))
            copy_keys(in, next, kv_head, key_tiles + (stage ^ 1) * KEYS * PITCH, value_tiles + (stage ^ 1) * KEYS * PITCH);
        copy_async_commit();
        copy_async_wait<1>();
        __syncthreads();
        if (live && span.first < seen_until(in, mine, span.segment, span.until)) {
            Fragment scores[KEYS / 8];
#pragma unroll
            for (int j = 0; j < KEYS / 8; ++j) clear(scores[j]);
            score(scores, queries, key_tiles + stage * KEYS * PITCH);
            int limits[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                limits[half] = span.until;
                if (span.segment != PREFIX)
                    limits[half] = places[half].batch != span.segment
                                       ? 0
                                       : min(span.until, places[half].query + in.own - in.queries + 1);
            }
            mask(scores, span.first, limits);
            soften(scores, gathered, in.scale * LOG2_E);
            weigh(gathered.output, scores, value_tiles + stage * KEYS * PITCH);
        }
        __syncthreads();
        span = next;
    }
}

// Sums over all columns; the output is divided by them. Returns the log-sum-exp of row `half` * 8 + lane / 4.
DEVICE float finish(Gathered& gathered, int half, float scale) {
    float sum = gathered.sum[half];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    if (sum == 0.0f) return -infinity();
    const float share = 1.0f / sum;
#pragma unroll
    for (int i = 0; i < HEAD / 8; ++i) {
        gathered.output[i][2 * half] *= share;
        gathered.output[i][2 * half + 1] *= share;
    }
    return gathered.maximum[half] * scale + LN_2 * log2_approximate(sum);
}

}  // namespace workbench
