// Products of small matrices that lie in the caches, tile by tile in registers, and powers of two.
#pragma once

#include <cmath>

#include "lanes.h"

namespace workbench {

// A tile is 6 rows of 4 vectors with 32 registers (24 sums, 4 vectors of the right matrix, a number of the
// left), 6 of 2 with 16.
constexpr std::size_t TILE_ROWS = 6;
constexpr std::size_t TILE_VECTORS = WORKBENCH_LEVEL > 0 ? 4 : 2;

// How the left matrix lies: row by row, or (transposed) column by column.
enum class Left { ROWS, COLUMNS };
// What the products are added to: nothing, what is there, or what is there times a factor of each row.
enum class Start { ZERO, ADD, SCALED };

// Not inlined, for GCC then keeps all sums in registers. Depth is in units of PAIR, strides in numbers.
template <class Weight, Left LEFT, Start START, int ROWS, int VECTORS>
[[gnu::noinline]] void multiply_tile(const typename Arithmetic<Weight>::Activation* left,
                                     std::size_t left_stride,
                                     const typename Arithmetic<Weight>::Activation* right,
                                     std::size_t right_stride, std::size_t depth, float* out,
                                     std::size_t out_stride, const float* factors) {
    using A = Arithmetic<Weight>;
    Vec s[ROWS][VECTORS] = {};
    if constexpr (START == Start::SCALED)
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) {
                s[r][v] = load(out + r * out_stride + v * WIDTH);
                s[r][v] *= factors[r];
            }
    for (std::size_t k = 0; k < depth; ++k, right += right_stride) {
        typename A::Pack pack[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) pack[v] = A::take(right + v * WIDTH * A::PAIR);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; ++r) {
            const auto* number = LEFT == Left::ROWS ? left + r * left_stride : left + r * A::PAIR;
            const typename A::Pack repeated = A::repeat(number);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) s[r][v] = A::multiply_add(s[r][v], pack[v], repeated);
        }
        left += LEFT == Left::ROWS ? A::PAIR : left_stride;
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
            float* const to = out + r * out_stride + v * WIDTH;
            if constexpr (START == Start::ADD) s[r][v] += load(to);
            store(to, s[r][v]);
        }
}

// out [ROWS, columns] of left [ROWS, depth] and right [depth / PAIR][columns][PAIR]; columns in units of 2 WIDTH.
template <class Weight, Left LEFT, Start START, int ROWS>
inline void multiply_row_tile(const typename Arithmetic<Weight>::Activation* left, std::size_t left_stride,
                              const typename Arithmetic<Weight>::Activation* right, std::size_t right_stride,
                              std::size_t depth, float* out, std::size_t out_stride, std::size_t columns,
                              const float* factors) {
    constexpr std::size_t STEP = TILE_VECTORS * WIDTH;
    std::size_t c = 0;
    for (; c + STEP <= columns; c += STEP)
        multiply_tile<Weight, LEFT, START, ROWS, TILE_VECTORS>(
            left, left_stride, right + c * Arithmetic<Weight>::PAIR, right_stride, depth, out + c, out_stride,
            factors);
    for (; c < columns; c += 2 * WIDTH)
        multiply_tile<Weight, LEFT, START, ROWS, 2>(left, left_stride, right + c * Arithmetic<Weight>::PAIR,
                                                    right_stride, depth, out + c, out_stride, factors);
}

// The same for any number of rows.
template <class Weight, Left LEFT, Start START>
inline void multiply_rows(std::size_t rows, const typename Arithmetic<Weight>::Activation* left,
                          std::size_t left_stride, const typename Arithmetic<Weight>::Activation* right,
                          std::size_t right_stride, std::size_t depth, float* out, std::size_t out_stride,
                          std::size_t columns, const float* factors = nullptr) {
    const std::size_t row_step = LEFT == Left::ROWS ? left_stride : Arithmetic<Weight>::PAIR;
    const auto take = [&](auto tile, std::size_t count) {
        tile(left, left_stride, right, right_stride, depth, out, out_stride, columns, factors);
        left += count * row_step;
        out += count * out_stride;
        if (factors != nullptr) factors += count;
        rows -= count;
    };
    while (rows >= 6) take(multiply_row_tile<Weight, LEFT, START, 6>, 6);
    if (rows >= 3) take(multiply_row_tile<Weight, LEFT, START, 3>, 3);
    while (rows > 0) take(multiply_row_tile<Weight, LEFT, START, 1>, 1);
}

// 2^x with a relative error of 1.5e-7 for x from −126 to 127, 0 far below (also for −∞); NaN stays NaN.
inline Vec power_of_two(Vec x) {
#if WORKBENCH_LEVEL > 0
    x = larger(broadcast(-200.0f), x);
    const Vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const IntVec kept = x < -126.0f ? IntVec{} : ~IntVec{};
    x = smaller(broadcast(127.0f), larger(broadcast(-126.0f), x));
    constexpr float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
    const Vec shifted = x + magic;
    const Vec n = shifted - magic;
#endif
    const Vec r = x - n;
    // Least greatest relative error (2e-9) on [−½, ½], with the value 1 at 0.
    Vec p = r * 1.535336181e-4f + 1.339887445e-3f;
    p = p * r + 9.618437358e-3f;
    p = p * r + 5.550332471e-2f;
    p = p * r + 2.402264791e-1f;
    p = p * r + 6.931472029e-1f;
    p = p * r + 1.0f;
#if WORKBENCH_LEVEL > 0
    return _mm512_scalef_ps(p, n);
#else
    const IntVec exponent = bits_as<IntVec>(shifted) - bits_as<std::int32_t>(magic) + 127;
    return bits_as<Vec>(bits_as<IntVec>(p * bits_as<Vec>(exponent << 23)) & kept);
#endif
}

// The same, the depth in two halves whose sums are added: rounding grows with the length of what is summed one
// after the other.
template <class Weight, Left LEFT, Start START>
inline void multiply_halves(std::size_t rows, const typename Arithmetic<Weight>::Activation* left,
                            std::size_t left_stride, const typename Arithmetic<Weight>::Activation* right,
                            std::size_t right_stride, std::size_t depth, float* out, std::size_t out_stride,
                            std::size_t columns) {
    const std::size_t half = depth / 2;
    const std::size_t step = LEFT == Left::ROWS ? Arithmetic<Weight>::PAIR : left_stride;
    multiply_rows<Weight, LEFT, START>(rows, left, left_stride, right, right_stride, half, out, out_stride,
                                       columns);
    multiply_rows<Weight, LEFT, Start::ADD>(rows, left + half * step, left_stride, right + half * right_stride,
                                            right_stride, depth - half, out, out_stride, columns);
}

}  // namespace workbench
