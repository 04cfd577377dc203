// IEEE half-precision numbers, computed with in fp32.
#pragma once

#include "lanes.h"

namespace workbench {

struct Half {
    std::uint16_t bits;
};

inline Vec load(const Half* from) {
    HalfVec halves;
    std::memcpy(&halves, from, sizeof halves);
#if WORKBENCH_LEVEL > 0
    return _mm512_cvtph_ps(bits_as<__m256i>(halves));
#else
    const WordVec bits = __builtin_convertvector(halves, WordVec);
    // Exponent and fraction as those of an fp32 number 2^112 times too small: right for subnormals too.
    const Vec finite = bits_as<Vec>((bits & 0x7fff) << 13) * 0x1p112f;
    const WordVec special = (bits & 0x7c00) == 0x7c00 ? WordVec{} + 0x7f800000 : WordVec{};
    return bits_as<Vec>(bits_as<WordVec>(finite) | special | (bits & 0x8000) << 16);
#endif
}

// Rounds to the nearest, ties to even; NaN stays NaN.
inline void store(Half* to, Vec vector) {
#if WORKBENCH_LEVEL > 0
    const __m256i halves = _mm512_cvtps_ph(vector, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const WordVec bits = bits_as<WordVec>(vector), size = bits & 0x7fffffff;
    const WordVec normal = (size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13;
    const WordVec small = bits_as<WordVec>(bits_as<Vec>(size) + 0.5f) - 0x3f000000;
    WordVec rounded = size < 0x38800000 ? small : normal;
    rounded = size >= 0x47800000 ? WordVec{} + 0x7c00 : rounded;
    rounded = size > 0x7f800000 ? WordVec{} + 0x7e00 : rounded;
    const HalfVec halves = __builtin_convertvector(rounded | (bits & 0x80000000) >> 16, HalfVec);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

inline float to_float(Half value) {
    const Half numbers[WIDTH] = {value};
    float lanes[WIDTH];
    store(lanes, load(numbers));
    return lanes[0];
}

}  // namespace workbench
