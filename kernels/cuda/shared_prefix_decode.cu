// Shared-prefix attention of few queries: keys split over blocks, and the parts put together in a fixed order.
//
// shared_prefix_decode: the prefix in `prefix_splits` parts for every 64 folded rows of a key/value head, all batch
// rows among them; own keys in `own_splits` parts for every 64 folded rows of one batch row. Launch: grid
// (ceil(B S G / 64) prefix_splits + B ceil(S G / 64) own_splits, KV), 128 threads, shared memory as in
// shared_prefix_forward.cu.
// shared_prefix_decode_combine: a warp adds the parts of one query. Launch: grid ceil(B H S / 4), 128 threads, no
// dynamic shared memory.
// Variants: HEAD 64, 96, 128; DTYPE_BF16, DTYPE_FP16, DTYPE_FP32.
#include "shared_prefix_attend.cuh"

namespace workbench {

struct Part {
    Rows rows;
    Span span;
    int split;  // of all, those of the prefix first
};

DEVICE Part part_at(const SharedPrefixDecodeParams& params, int kv_head, int block) {
    const SharedPrefixInputs& in = params.inputs;
    const int each = in.queries * (in.heads / in.kv_heads), all = in.batch * each;
    const int of_prefix = (all + ROWS - 1) / ROWS * params.prefix_splits;
    if (block < of_prefix) {
        const int first = block / params.prefix_splits * ROWS, split = block % params.prefix_splits;
        const Rows rows = rows_between(in, kv_head, first, min(first + ROWS, all));
        return {rows, part_of(prefix_span(in, PREFIX), split, params.prefix_splits), split};
    }
    block -= of_prefix;
    const int split = block % params.own_splits, tiles = (each + ROWS - 1) / ROWS;
    const int tile = block / params.own_splits % tiles, batch = block / params.own_splits / tiles;
    const int first = batch * each + tile * ROWS;
    const Rows rows = rows_between(in, kv_head, first, min(first + ROWS, (batch + 1) * each));
    return {rows, part_of(own_span(in, rows, batch, batch), split, params.own_splits), params.prefix_splits + split};
}

}  // namespace workbench

extern "C" __global__ void __launch_bounds__(128, 2) shared_prefix_decode(const SharedPrefixDecodeParams params) {
    using namespace workbench;
    const SharedPrefixInputs& in = params.inputs;
    const int kv_head = blockIdx.y;
    const Part part = part_at(params, kv_head, blockIdx.x);
    Gathered gathered;
    attend(in, part.rows, kv_head, part.span, gathered);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const float lse = finish(gathered, half, in.scale);
        const int at = part.rows.first + (int)threadIdx.x / WARP * 16 + (int)threadIdx.x % WARP / 4 + half * 8;
        if (at >= part.rows.until) continue;
        const Row row = row_at(in, kv_head, at);
        const long long place = (((long long)part.split * in.batch + row.batch) * in.heads + row.head) * in.queries + row.query;
#pragma unroll
        for (int i = 0; i < HEAD / 8; ++i)
            store_pair(params.partial_output + place * HEAD + output_column(i), gathered.output[i][2 * half],
                       gathered.output[i][2 * half + 1]);
        if (threadIdx.x % 4 == 0) params.partial_lse[place] = lse;
    }
}

extern "C" __global__ void __launch_bounds__(128)
    shared_prefix_decode_combine(const SharedPrefixDecodeParams params) {
    using namespace workbench;
    const SharedPrefixInputs& in = params.inputs;
    const int lane = threadIdx.x % WARP, all = in.batch * in.heads * in.queries;
    const int row = (int)blockIdx.x * WARPS + (int)threadIdx.x / WARP;
    if (row >= all) return;
    const int splits = params.prefix_splits + params.own_splits;
    float highest = -infinity();
    for (int split = 0; split < splits; ++split)
        highest = fmaxf(highest, params.partial_lse[(long long)split * all + row]);
    float sum = 0.0f, output[HEAD / WARP] = {};
    for (int split = 0; split < splits; ++split) {
        const long long place = (long long)split * all + row;
        const float weight = exp2_approximate((params.partial_lse[place] - highest) * LOG2_E);
        sum += weight;
#pragma unroll
        for (int i = 0; i < HEAD / WARP; ++i)
            output[i] = fmaf(weight, params.partial_output[place * HEAD + i * WARP + lane], output[i]);
    }
    const int query = row % in.queries, head = row / in.queries % in.heads, batch = row / in.queries / in.heads;
    Element* to = (Element*)params.output + batch * params.output_strides.batch + head * params.output_strides.head +
                  query * params.output_strides.row;
    const float share = 1.0f / sum;
#pragma unroll
    for (int i = 0; i < HEAD / WARP; ++i) to[i * WARP + lane] = from_float<Element>(output[i] * share);
    if (lane == 0) params.lse[row] = highest + LN_2 * log2_approximate(sum);
}
