// What the shared-prefix attention kernels are called with: plain C structures, one a kernel, passed by value.
//
// Letters: B rows of the batch, H query heads, KV key/value heads (H = G KV), S queries, P positions of the
// prefix, T own positions (T >= S, the last query stands at the last key), d size of a head (compiled in).
// All shapes are [B, heads, positions, d]; the prefix is [KV, P, d]. Element type (compiled in): bf16, fp16, fp32.
//
// Required of every tensor of elements: its innermost dimension is contiguous, its address a multiple of 16
// bytes, its other strides (in elements) multiples of 16 bytes. `scale` is positive. Pointers of one structure
// do not overlap. Sizes are at least 1; B H S and KV P stay below 2^31.
#pragma once

struct SharedPrefixStrides {
    long long batch, head, row;  // in elements
};

struct SharedPrefixInputs {
    const void* query;         // [B, H, S, d]
    const void* prefix_key;    // [KV, P, d]
    const void* prefix_value;  // [KV, P, d]
    const void* key;           // [B, KV, T, d]
    const void* value;         // [B, KV, T, d]
    const int* starts;         // [B] or null: row b sees own keys from starts[b] on (any number; none if >= T)
    const int* ends;           // [B] or null: and before ends[b] (any number; all if >= T)
    SharedPrefixStrides query_strides, prefix_key_strides, prefix_value_strides, key_strides, value_strides;
    int batch, heads, kv_heads, queries, prefix, own;
    float scale;
};

// shared_prefix_forward
struct SharedPrefixForwardParams {
    SharedPrefixInputs inputs;
    void* output;  // [B, H, S, d], elements
    SharedPrefixStrides output_strides;
    float* lse;  // [B, H, S] contiguous: natural log of the sum of exp of the scaled scores
};

// shared_prefix_decode and shared_prefix_decode_combine
struct SharedPrefixDecodeParams {
    SharedPrefixInputs inputs;
    void* output;  // [B, H, S, d], elements
    SharedPrefixStrides output_strides;
    float* lse;             // [B, H, S] contiguous
    float* partial_output;  // [prefix_splits + own_splits, B, H, S, d] contiguous; 0 where no key is seen
    float* partial_lse;     // [prefix_splits + own_splits, B, H, S] contiguous; -infinity where no key is seen
    int prefix_splits, own_splits;  // each at least 1
};

// The backward kernels. `delta` [B, H, S] is the sum over d of grad x output, in fp32; the gradients of own keys
// and values and of the queries are elements. Those of the prefix are summed over the batch: each of
// `prefix_splits` parts of the rows leaves its fp32 sum, and one kernel adds them in a fixed order.
struct SharedPrefixBackwardParams {
    SharedPrefixInputs inputs;
    const void* output;  // [B, H, S, d]
    const void* grad;    // [B, H, S, d], gradient of the output
    const float* lse;    // [B, H, S] contiguous, of the forward
    float* delta;        // [B, H, S] contiguous
    void* query_grad;         // [B, H, S, d]
    void* key_grad;           // [B, KV, T, d]
    void* value_grad;         // [B, KV, T, d]
    void* prefix_key_grad;    // [KV, P, d]
    void* prefix_value_grad;  // [KV, P, d]
    float* partial_prefix_key_grad;    // [prefix_splits, KV, P, d] contiguous
    float* partial_prefix_value_grad;  // [prefix_splits, KV, P, d] contiguous
    SharedPrefixStrides output_strides, grad_strides, query_grad_strides, key_grad_strides, value_grad_strides,
        prefix_key_grad_strides, prefix_value_grad_strides;
    int prefix_splits;  // at least 1
};
