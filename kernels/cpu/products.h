// Products of activations with the rows of a weight matrix, which stays as it is in memory: row-major.
//
// Every dot product is summed in one order, whatever the shape of the tile that computes it: lane i takes the
// numbers i, i + STEP, i + 2 STEP … (pairs of them for bf16), and one tree adds the lanes. So a row of the
// batch gets the same bits whatever other rows there are.
#pragma once

#include "lanes.h"

namespace workbench {

constexpr std::size_t BLOCK = 16;  // weight rows that one call computes

// Columns of a tile. Four by four is 16 accumulators and 8 loads for 16 products: bound by arithmetic.
#if WORKBENCH_LEVEL > 0 || defined(__aarch64__)
constexpr std::size_t COLUMNS = 4;
#else
constexpr std::size_t COLUMNS = 2;
#endif

// The sums of the lanes of 16 vectors.
inline void add_lanes(const Vec (&v)[16], float* sums) {
#if WORKBENCH_LEVEL > 0
    __m512 t[8], u[4];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
        t[i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const __m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
        u[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)) + _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    const __m512 low = _mm512_shuffle_f32x4(u[0], u[1], 0x88) + _mm512_shuffle_f32x4(u[0], u[1], 0xdd);
    const __m512 high = _mm512_shuffle_f32x4(u[2], u[3], 0x88) + _mm512_shuffle_f32x4(u[2], u[3], 0xdd);
    store(sums, _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xdd));
#else
    for (int i = 0; i < 16; ++i) sums[i] = sum(v[i]);
#endif
}

// Memory is read far ahead by hand: without it the processor waits for each block and then computes it (134.5 M
// weights and 16 rows, one thread: 40 ms; with it 20, and 19 were the weights in the cache).
enum class Fetch { NEAR, FAR };

template <int LINES, Fetch DISTANCE>
inline void fetch(std::uintptr_t line) {
#pragma GCC unroll 4
    for (int i = 0; i < LINES; ++i)
        __builtin_prefetch(reinterpret_cast<const char*>(line) + i * 64, 0, DISTANCE == Fetch::NEAR ? 3 : 2);
}

// Products of 4 weight rows with C activation rows, in sums[c * 4 + r]. Each step fetches LINES cache lines
// from `ahead` on.
template <class Weight, int C, int LINES, Fetch DISTANCE>
inline void accumulate(Vec* sums, const Weight* const* rows, std::size_t depth,
                       const typename Arithmetic<Weight>::Activation* x, std::size_t x_stride,
                       std::uintptr_t& ahead) {
    using A = Arithmetic<Weight>;
    const Weight *row0 = rows[0], *row1 = rows[1], *row2 = rows[2], *row3 = rows[3];
    Vec s[C][4] = {};
    std::size_t k = 0;
    for (; k + A::STEP <= depth; k += A::STEP, ahead += LINES * 64) {
        fetch<LINES, DISTANCE>(ahead);
        const typename A::Pack w[4] = {A::take(row0 + k), A::take(row1 + k), A::take(row2 + k),
                                       A::take(row3 + k)};
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            const typename A::Pack column = A::take(x + c * x_stride + k);
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) s[c][r] = A::multiply_add(s[c][r], w[r], column);
        }
    }
    if (k < depth) {
        const std::size_t rest = depth - k;
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            const typename A::Pack column = A::take(x + c * x_stride + k);  // padded with zeros
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r)
                s[c][r] = A::multiply_add(s[c][r], A::take_part(rows[r] + k, rest), column);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) sums[c * 4 + r] = s[c][r];
}

// out[c * BLOCK + r]: 16 weight rows with C activation rows, 16 accumulators at a time. Not inlined, for GCC
// then keeps all of them in registers.
template <class Weight, int C, int LINES, Fetch DISTANCE>
[[gnu::noinline]] void multiply_columns(const Weight* const* rows, std::size_t depth,
                                        const typename Arithmetic<Weight>::Activation* x,
                                        std::size_t x_stride, float* out, std::uintptr_t ahead) {
    constexpr int GROUPS = C <= 2 ? 4 / C : 1;
    for (int group = 0; group < 4; group += GROUPS) {
        Vec sums[16] = {};
#pragma GCC unroll 4
        for (int g = 0; g < GROUPS; ++g)
            accumulate<Weight, C, LINES, DISTANCE>(sums + g * 4 * C, rows + (group + g) * 4, depth, x,
                                                   x_stride, ahead);
        alignas(64) float added[16];
        add_lanes(sums, added);
        for (int g = 0; g < GROUPS; ++g)
            for (int c = 0; c < C; ++c)
                std::memcpy(out + c * BLOCK + (group + g) * 4, added + (g * C + c) * 4, 4 * sizeof(float));
    }
}

// out[b * BLOCK + r] = x[b] · weights[first + r] for `batch` rows of x. x_stride is a multiple of STEP, and x is
// zero behind `depth`. Behind the last weight row stand copies of its products.
template <class Weight>
inline void multiply_block(const Weight* weights, std::size_t row_count, std::size_t depth, std::size_t first,
                           const typename Arithmetic<Weight>::Activation* x, std::size_t x_stride,
                           std::size_t batch, float* out) {
    const Weight* rows[BLOCK];
    for (std::size_t r = 0; r < BLOCK; ++r) {
        const std::size_t row = first + r < row_count ? first + r : row_count - 1;
        rows[r] = weights + row * depth;
    }
    const auto here = reinterpret_cast<std::uintptr_t>(rows[0]);
    const std::size_t bytes = BLOCK * depth * sizeof(Weight);
    if (batch >= COLUMNS) {
        // The next block goes to the second cache while the first four tiles compute: a quarter each.
        const std::size_t tiles = batch / COLUMNS;
        const std::uintptr_t next = here + bytes;
        for (std::size_t tile = 0; tile < tiles; ++tile, x += COLUMNS * x_stride, out += COLUMNS * BLOCK) {
            if (tiles == 1)
                multiply_columns<Weight, COLUMNS, 4, Fetch::FAR>(rows, depth, x, x_stride, out, next);
            else if (tiles < 4 && tile < 2)
                multiply_columns<Weight, COLUMNS, 2, Fetch::FAR>(rows, depth, x, x_stride, out,
                                                                 next + tile * bytes / 2);
            else if (tiles >= 4 && tile < 4)
                multiply_columns<Weight, COLUMNS, 1, Fetch::FAR>(rows, depth, x, x_stride, out,
                                                                 next + tile * bytes / 4);
            else
                multiply_columns<Weight, COLUMNS, 0, Fetch::FAR>(rows, depth, x, x_stride, out, 0);
        }
        if (batch % COLUMNS == 3)
            multiply_columns<Weight, 3, 0, Fetch::FAR>(rows, depth, x, x_stride, out, 0);
        if (batch % COLUMNS == 2)
            multiply_columns<Weight, 2, 0, Fetch::FAR>(rows, depth, x, x_stride, out, 0);
        if (batch % COLUMNS == 1)
            multiply_columns<Weight, 1, 0, Fetch::FAR>(rows, depth, x, x_stride, out, 0);
    } else {
        // Nothing but memory counts: 9 KiB ahead into the first cache gives 28 GB/s of one thread, 12 without.
        const std::uintptr_t soon = here + 144 * 64;
        if (batch == 3) multiply_columns<Weight, 3, 4, Fetch::NEAR>(rows, depth, x, x_stride, out, soon);
        if (batch == 2) multiply_columns<Weight, 2, 4, Fetch::NEAR>(rows, depth, x, x_stride, out, soon);
        if (batch == 1) multiply_columns<Weight, 1, 4, Fetch::NEAR>(rows, depth, x, x_stride, out, soon);
    }
}

}  // namespace workbench
