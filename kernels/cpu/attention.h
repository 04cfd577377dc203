// Attention of a few queries to one chunk of keys and values.
//
// A row's positions are cut into chunks of 64, counted from its first token, wherever its segments begin and
// end. Each chunk gives a partial result under its own maximum, and `merge` puts a row's partial results
// together in order. So neither the segments, nor the rows that share a chunk, nor the threads change a bit.
#pragma once

#include <cmath>

#include "lanes.h"

namespace workbench {

constexpr std::size_t CHUNK = 64;
constexpr std::size_t PANEL_STEP = 2 * WIDTH;  // columns of a panel come in two vectors at a time
static_assert(CHUNK % PANEL_STEP == 0);

#if WORKBENCH_LEVEL > 0
inline void transpose(__m512i (&m)[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        m[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        m[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        m[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        m[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_i32x4(m[i], m[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(m[i], m[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(m[i + 8], m[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(m[i + 8], m[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        m[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        m[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        m[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        m[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}
#endif

// panel[d / PAIR][position][d % PAIR] of CHUNK keys.
template <class Weight>
inline void pack_keys(const Weight* const* keys, std::size_t count, std::size_t head_dim,
                      typename Arithmetic<Weight>::Activation* panel) {
#if WORKBENCH_LEVEL > 0
    using A = Arithmetic<Weight>;
    for (std::size_t position = 0; position < count; position += 16)
        for (std::size_t d = 0; d < head_dim; d += A::STEP) {
            const std::size_t rest = head_dim - d < A::STEP ? head_dim - d : A::STEP;
            __m512i m[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; ++i) {
                const Weight* from = keys[position + i] + d;
                m[i] = bits_as<__m512i>(rest == A::STEP ? A::take(from) : A::take_part(from, rest));
            }
            transpose(m);
            auto* to = panel + d * CHUNK + position * A::PAIR;
#pragma GCC unroll 16
            for (std::size_t i = 0; i < 16; ++i)
                if (i < rest / A::PAIR) _mm512_storeu_si512(to + i * CHUNK * A::PAIR, m[i]);
        }
#else
    for (std::size_t position = 0; position < count; ++position)
        for (std::size_t d = 0; d < head_dim; ++d) panel[d * CHUNK + position] = to_float(keys[position][d]);
#endif
}

// panel[position / PAIR][d][position % PAIR] of the first `count` of CHUNK values; `columns` ≥ head_dim.
template <class Weight>
inline void pack_values(const Weight* const* values, std::size_t count, std::size_t head_dim,
                        std::size_t columns, typename Arithmetic<Weight>::Activation* panel) {
    using A = Arithmetic<Weight>;
    for (std::size_t position = 0; position < count; position += A::PAIR) {
        auto* row = panel + position * columns;
        for (std::size_t d = 0; d < columns; d += A::STEP) {
            const std::size_t rest = head_dim > d ? head_dim - d : 0;
            typename A::Pack v[A::PAIR];
            for (std::size_t i = 0; i < A::PAIR; ++i)
                v[i] = rest >= A::STEP ? A::take(values[position + i] + d)
                                       : A::take_part(values[position + i] + d, rest);
            if constexpr (A::PAIR == 1) {
                store(row + d, v[0]);
            }
#if WORKBENCH_LEVEL == 2
            else {
                alignas(64) static constexpr std::uint16_t order[64] = {
                    0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                    11, 43, 12, 44, 13, 45, 14, 46, 15, 47, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53,
                    22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
                const __m512i low = _mm512_load_si512(order), high = _mm512_load_si512(order + 32);
                _mm512_storeu_si512(row + d * 2, _mm512_permutex2var_epi16(v[0], low, v[1]));
                _mm512_storeu_si512(row + d * 2 + 32, _mm512_permutex2var_epi16(v[0], high, v[1]));
            }
#endif
        }
    }
}

// out[q][column] = Σ_k a[q][k] panel[k][column], k in units of PAIR, for Q queries. If FETCH, two cache lines are
// fetched at each step from `ahead` on: over all steps as many as a chunk's keys have, or its values.
template <class Weight, int Q, bool FETCH>
inline void multiply_panel(const typename Arithmetic<Weight>::Activation* const* a, std::size_t depth,
                           const typename Arithmetic<Weight>::Activation* panel, std::size_t panel_stride,
                           std::size_t columns, float* const* out, std::uintptr_t ahead) {
    using A = Arithmetic<Weight>;
    for (std::size_t column = 0; column < columns; column += PANEL_STEP) {
        Vec s[Q][2] = {};
        const auto* from = panel + column * A::PAIR;
        for (std::size_t k = 0; k < depth; ++k, from += panel_stride * A::PAIR) {
            if constexpr (FETCH) {
                __builtin_prefetch(reinterpret_cast<const void*>(ahead), 0, 2);
                __builtin_prefetch(reinterpret_cast<const void*>(ahead + 64), 0, 2);
                ahead += 128;
            }
            const typename A::Pack left = A::take(from), right = A::take(from + WIDTH * A::PAIR);
#pragma GCC unroll 4
            for (int q = 0; q < Q; ++q) {
                const typename A::Pack repeated = A::repeat(a[q] + k * A::PAIR);
                s[q][0] = A::multiply_add(s[q][0], left, repeated);
                s[q][1] = A::multiply_add(s[q][1], right, repeated);
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) {
            store(out[q] + column, s[q][0]);
            store(out[q] + column + WIDTH, s[q][1]);
        }
    }
}

// Scores to unnormalised weights, under the largest score of the chunk; weights behind `count` are zero.
template <class Activation>
inline void soften(float* scores, std::size_t count, float scaling, Activation* weights, float& most,
                   float& total) {
    for (std::size_t i = count; i < CHUNK; ++i) scores[i] = -INFINITY;
    Vec top = load(scores);
    for (std::size_t i = WIDTH; i < CHUNK; i += WIDTH) top = larger(top, load(scores + i));
    most = maximum(top) * scaling;
    Vec added = {};
    for (std::size_t i = 0; i < CHUNK; i += WIDTH) {
        const Vec score = load(scores + i);
        const Vec weight = score == -INFINITY ? Vec{} : exponential(score * scaling - most);
        added += weight;
        store(weights + i, weight);
    }
    total = sum(added);
}

// Where the partial result of one query goes: [columns] unnormalised values, maximum, sum of weights; and how
// many positions of the chunk it sees, the others being later than it.
struct Partial {
    std::size_t count;
    float* values;
    float* most;
    float* total;
};

// One chunk, packed, and the addresses of the keys and values that come next: fetching those while computing
// halves the time of a long context's attention.
template <class Weight>
struct Chunk {
    const typename Arithmetic<Weight>::Activation *keys, *values;
    std::size_t count, head_dim, columns;
    std::uintptr_t next_keys, next_values;
};

template <class Weight, int Q, bool FETCH>
inline void attend_queries(const Chunk<Weight>& chunk, float scaling,
                           const typename Arithmetic<Weight>::Activation* const* queries,
                           const Partial* partials) {
    using A = Arithmetic<Weight>;
    alignas(64) float scores[Q][CHUNK];
    alignas(64) typename A::Activation weights[Q][CHUNK];
    float* to[Q];
    const typename A::Activation* from[Q];
    for (int q = 0; q < Q; ++q) to[q] = scores[q];
    multiply_panel<Weight, Q, FETCH>(queries, chunk.head_dim / A::PAIR, chunk.keys, CHUNK,
                                     round_up(chunk.count, PANEL_STEP), to, chunk.next_keys);
    for (int q = 0; q < Q; ++q) {
        soften(scores[q], partials[q].count, scaling, weights[q], *partials[q].most, *partials[q].total);
        from[q] = weights[q];
        to[q] = partials[q].values;
    }
    multiply_panel<Weight, Q, FETCH>(from, (chunk.count + A::PAIR - 1) / A::PAIR, chunk.values, chunk.columns,
                                     chunk.columns, to, chunk.next_values);
}

// Any number of queries, which may be of different rows.
template <class Weight>
inline void attend(const Chunk<Weight>& chunk, float scaling,
                   const typename Arithmetic<Weight>::Activation* const* queries, const Partial* partials,
                   std::size_t query_count) {
    std::size_t q = 0;
    if (query_count >= 4) {
        attend_queries<Weight, 4, true>(chunk, scaling, queries, partials);
        for (q = 4; q + 4 <= query_count; q += 4)
            attend_queries<Weight, 4, false>(chunk, scaling, queries + q, partials + q);
    }
    queries += q;
    partials += q;
    if (query_count - q == 3) attend_queries<Weight, 3, true>(chunk, scaling, queries, partials);
    if (query_count - q == 2) attend_queries<Weight, 2, true>(chunk, scaling, queries, partials);
    if (query_count - q == 1) attend_queries<Weight, 1, true>(chunk, scaling, queries, partials);
}

// One query's output [columns] out of the partial results of all its chunks, which lie one after another.
inline void merge(const float* values, const float* most, const float* total, std::size_t chunks,
                  std::size_t columns, float* out) {
    float top = most[0];
    for (std::size_t c = 1; c < chunks; ++c) top = most[c] > top ? most[c] : top;
    float sum_of_weights = 0;
    for (std::size_t i = 0; i < columns; i += WIDTH) store(out + i, Vec{});
    for (std::size_t c = 0; c < chunks; ++c) {
        float weight[WIDTH];
        store(weight, exponential(broadcast(most[c] - top)));
        sum_of_weights += total[c] * weight[0];
        for (std::size_t i = 0; i < columns; i += WIDTH)
            store(out + i, load(values + c * columns + i) * weight[0] + load(out + i));
    }
    for (std::size_t i = 0; i < columns; i += WIDTH) store(out + i, load(out + i) / sum_of_weights);
}

}  // namespace workbench
