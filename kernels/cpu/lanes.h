// Vectors of fp32 lanes, and how the numbers of a weight tensor are multiplied, at three levels of
// instructions: AVX512 with bf16 dot products, AVX512, and whatever the compiler makes of its own vector types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && !defined(WORKBENCH_PORTABLE)
#include <immintrin.h>
#if defined(__AVX512BF16__) && !defined(WORKBENCH_NO_BF16_DOT)
#define WORKBENCH_LEVEL 2
#else
#define WORKBENCH_LEVEL 1
#endif
#else
#define WORKBENCH_LEVEL 0
#endif

#if defined(__GNUC__) && !defined(__clang__)
// Everything here is inlined: how vectors would be passed between files does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"
// GCC 12 finds the undefined operands inside the intrinsics uninitialized (its bug 105593).
#if __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#endif

namespace workbench {

#if WORKBENCH_LEVEL > 0
constexpr std::size_t WIDTH = 16;
#elif defined(__AVX2__)
constexpr std::size_t WIDTH = 8;
#else
constexpr std::size_t WIDTH = 4;
#endif

using Vec = float __attribute__((vector_size(WIDTH * 4)));
using IntVec = std::int32_t __attribute__((vector_size(WIDTH * 4)));
using WordVec = std::uint32_t __attribute__((vector_size(WIDTH * 4)));
using HalfVec = std::uint16_t __attribute__((vector_size(WIDTH * 2)));

// The upper half of an fp32 number.
struct Bf16 {
    std::uint16_t bits;
};

constexpr std::size_t round_up(std::size_t count, std::size_t unit) {
    return (count + unit - 1) / unit * unit;
}

template <class To, class From>
inline To bits_as(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline Vec broadcast(float value) { return Vec{} + value; }

inline Vec load(const float* from) {
    Vec vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

inline Vec load(const Bf16* from) {
    HalfVec halves;
    std::memcpy(&halves, from, sizeof halves);
    return bits_as<Vec>(__builtin_convertvector(halves, WordVec) << 16);
}

// The first `count` < WIDTH numbers, and zeros: nothing behind them is read.
template <class Number>
inline Vec load_part(const Number* from, std::size_t count) {
    Number numbers[WIDTH] = {};
    std::memcpy(numbers, from, count * sizeof(Number));
    return load(numbers);
}

inline void store(float* to, Vec vector) { std::memcpy(to, &vector, sizeof vector); }

// Rounds to the nearest, ties to even; NaN stays NaN.
inline void store(Bf16* to, Vec vector) {
#if WORKBENCH_LEVEL == 2
    const __m256bh halves = _mm512_cvtneps_pbh(vector);
#else
    const WordVec bits = bits_as<WordVec>(vector);
    WordVec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    rounded = vector != vector ? (bits >> 16) | 0x40 : rounded;
    const HalfVec halves = __builtin_convertvector(rounded, HalfVec);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

// `count` numbers, of which the last few are stored one by one; `from` may be read to a multiple of WIDTH.
template <class Number>
inline void store_all(Number* to, const float* from, std::size_t count) {
    std::size_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) store(to + i, load(from + i));
    if (i < count) {
        Number rest[WIDTH];
        store(rest, load(from + i));
        std::memcpy(to + i, rest, (count - i) * sizeof(Number));
    }
}

inline float to_float(float value) { return value; }
inline float to_float(Bf16 value) { return bits_as<float>(std::uint32_t{value.bits} << 16); }

// The second where one is NaN.
inline Vec larger(Vec a, Vec b) {
#if WORKBENCH_LEVEL > 0
    return _mm512_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}
inline Vec smaller(Vec a, Vec b) {
#if WORKBENCH_LEVEL > 0
    return _mm512_min_ps(a, b);
#else
    return a < b ? a : b;
#endif
}

// Always by the same tree.
inline float sum(Vec vector) {
#if WORKBENCH_LEVEL > 0
    return _mm512_reduce_add_ps(vector);
#else
    float lanes[WIDTH];
    store(lanes, vector);
    for (std::size_t half = WIDTH / 2; half > 0; half /= 2)
        for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
#endif
}

inline float maximum(Vec vector) {
#if WORKBENCH_LEVEL > 0
    return _mm512_reduce_max_ps(vector);
#else
    float lanes[WIDTH];
    store(lanes, vector);
    float most = lanes[0];
    for (std::size_t lane = 1; lane < WIDTH; ++lane) most = lanes[lane] > most ? lanes[lane] : most;
    return most;
#endif
}

// e^x to 2 units in the last place between −87 and 88, clamped beyond: x = n ln 2 + r, a polynomial in r,
// and n put into the exponent.
inline Vec exponential(Vec x) {
    x = smaller(broadcast(88.0f), larger(broadcast(-87.0f), x));
#if WORKBENCH_LEVEL > 0
    const Vec n = _mm512_roundscale_ps(x * 1.44269504f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    constexpr float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
    const Vec shifted = x * 1.44269504f + magic;
    const Vec n = shifted - magic;
#endif
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
#if WORKBENCH_LEVEL > 0
    return _mm512_scalef_ps(p, n);
#else
    const IntVec exponent = bits_as<IntVec>(shifted) - bits_as<std::int32_t>(magic) + 127;
    return p * bits_as<Vec>(exponent << 23);
#endif
}

// What multiplying the numbers of a weight tensor takes: the type of the activations, how many products a
// lane adds at once (PAIR), how many numbers a vector of them has (STEP).
template <class Weight>
struct Arithmetic {
    using Activation = float;
    using Pack = Vec;
    static constexpr std::size_t PAIR = 1;
    static constexpr std::size_t STEP = WIDTH;

    template <class Number>
    static Pack take(const Number* from) {
        return load(from);
    }
    static Pack take_part(const Weight* from, std::size_t count) { return load_part(from, count); }
    static Pack repeat(const float* from) { return broadcast(*from); }
    static Vec multiply_add(Vec sum, Pack a, Pack b) { return a * b + sum; }
};

#if WORKBENCH_LEVEL == 2
template <>
struct Arithmetic<Bf16> {
    using Activation = Bf16;
    using Pack = __m512i;
    static constexpr std::size_t PAIR = 2;
    static constexpr std::size_t STEP = 32;

    static Pack take(const Bf16* from) { return _mm512_loadu_si512(from); }
    static Pack take_part(const Bf16* from, std::size_t count) {
        return _mm512_maskz_loadu_epi16((std::uint32_t{1} << count) - 1, from);
    }
    static Pack repeat(const Bf16* from) {
        std::int32_t pair;
        std::memcpy(&pair, from, sizeof pair);
        return _mm512_set1_epi32(pair);
    }
    static Vec multiply_add(Vec sum, Pack a, Pack b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
};
#endif

}  // namespace workbench
