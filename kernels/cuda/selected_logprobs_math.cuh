// Exponentials and logarithms that keep their relative precision where the hardware's approximations do not: near a
// probability of 1, near a logit of 0.
#pragma once
#include "primitives.cuh"
#include "selected_logprobs_params.h"

namespace workbench {

DEVICE float exponential(float x) { return exp2_approximate(x * LOG2_E); }

// 2 artanh(s) = log((1 + s) / (1 - s)) for |s| <= 1/3: its series, cut off at 1e-8 of it.
DEVICE float twice_artanh(float s) {
    const float square = s * s;
    float sum = 1.0f / 13;
    sum = fmaf(sum, square, 1.0f / 11);
    sum = fmaf(sum, square, 1.0f / 9);
    sum = fmaf(sum, square, 1.0f / 7);
    sum = fmaf(sum, square, 1.0f / 5);
    sum = fmaf(sum, square, 1.0f / 3);
    return 2.0f * s * fmaf(sum, square, 1.0f);
}

// log(1 + exp(x)); of -infinity 0, of infinity infinity.
DEVICE float softplus(float x) {
    const float u = exponential(-fabsf(x));
    return fmaxf(x, 0.0f) + twice_artanh(u / (2.0f + u));
}

// log x of a normal x > 0; -infinity of 0.
DEVICE float logarithm(float x) {
    if (!(x > 0.0f)) return -infinity();
    union {
        float number;
        int bits;
    } split;
    split.number = x;
    // The exponent that leaves a fraction between sqrt(1/2) and sqrt(2).
    const int exponent = (split.bits - 0x3f3504f3) >> 23;
    split.bits -= exponent << 23;
    return fmaf((float)exponent, LN_2, twice_artanh((split.number - 1.0f) / (split.number + 1.0f)));
}

// 1 - exp(x) for x <= 0.
DEVICE float one_minus_exponential(float x) {
    if (x < -0.5f) return 1.0f - exponential(x);
    float sum = 1.0f / 5040;
    sum = fmaf(sum, x, 1.0f / 720);
    sum = fmaf(sum, x, 1.0f / 120);
    sum = fmaf(sum, x, 1.0f / 24);
    sum = fmaf(sum, x, 1.0f / 6);
    sum = fmaf(sum, x, 1.0f / 2);
    return -x * fmaf(sum, x, 1.0f);
}

DEVICE float hyperbolic_tangent(float x) {
    if (fabsf(x) < 0.25f) {
        const float square = x * x;
        float sum = 62.0f / 2835;
        sum = fmaf(sum, square, -17.0f / 315);
        sum = fmaf(sum, square, 2.0f / 15);
        sum = fmaf(sum, square, -1.0f / 3);
        return x * fmaf(sum, square, 1.0f);
    }
    return 1.0f - 2.0f / (1.0f + exponential(2.0f * x));
}

// z of w h + b, and what a cap makes of its slope: 1 - tanh^2, 1 without one.
DEVICE float logit_of(const SelectedLogprobsInputs& inputs, float x) {
#ifdef SOFTCAP
    x = hyperbolic_tangent(inputs.inner * x);
#endif
    return inputs.outer * x;
}
DEVICE float bend_of(const SelectedLogprobsInputs& inputs, float logit) {
#ifdef SOFTCAP
    const float tangent = logit * (1.0f / inputs.outer);
    return fmaf(-tangent, tangent, 1.0f);
#else
    (void)inputs, (void)logit;
    return 1.0f;
#endif
}

}  // namespace workbench
