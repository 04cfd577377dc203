// What the selected log-probabilities kernels are called with: plain C structures, one a kernel, passed by value.
//
// Letters: N places, V entries of the vocabulary, D size of a hidden state. Element type (compiled in, DTYPE_*): of
// hidden states, weight, bias and logit gradients. All else is fp32.
//
// A logit is z = outer tanh(inner (w h + b)) with the macro SOFTCAP, outer (w h + b) without it: for a softcap c, a
// scale s and a temperature t inner = s / c and outer = c / t; without a cap inner = 1 and outer = s / t. All positive.
//
// Required: addresses of elements and their strides between rows are multiples of 16 bytes, D a multiple of 8
// (DTYPE_FP32: of 4); N, V, D at least 1.
#pragma once

struct SelectedLogprobsInputs {
    const void* hidden;        // [N, D], elements
    const void* weight;        // [V, D], elements
    const void* bias;          // [V], elements, or null
    const long long* targets;  // [N]
    long long hidden_stride, weight_stride;  // between rows, in elements
    long long ignore_index;
    int places, vocabulary, size;
    float inner, outer;
};

// selected_logprobs_forward and selected_logprobs_combine
struct SelectedLogprobsParams {
    SelectedLogprobsInputs inputs;
    float* target_logit;   // [N]; undefined where the target is not in the vocabulary
    float* partial_most;   // [splits, N]: highest logit of a part of the vocabulary, the target left out
    float* partial_total;  // [splits, N]: sum of exp(logit - highest) of it; 0 and -infinity of none
    float* logprobs;         // [N]; 0 where ignored, NaN for another target outside the vocabulary
    float* lse;              // [N]; 0 where ignored
    unsigned char* is_best;  // [N]: whether no other token has a higher logit
    int splits;  // parts of the vocabulary, at least 1
};

// selected_logprobs_backward: gradients of w h + b for the columns `first` .. `first + columns - 1` of the vocabulary.
struct SelectedLogprobsBackwardParams {
    SelectedLogprobsInputs inputs;
    const float* grad;      // [N], gradient of the log-probabilities
    const float* logprobs;  // [N]
    const float* lse;       // [N]
    void* logit_grad;       // [N, columns], elements
    long long logit_grad_stride;  // between rows, in elements; a multiple of 2
    int first, columns;     // columns even; those past the vocabulary become 0
};
