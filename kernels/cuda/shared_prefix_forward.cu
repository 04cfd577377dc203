// Shared-prefix attention, forward: each block takes 64 folded rows of one key/value head (see Row) through the
// prefix, once for all of them, and then through the own keys of every batch row among them.
//
// Launch: grid (ceil(B S G / 64), KV), 128 threads, dynamic shared memory (64 + 4 k)(d + 16 / e) e bytes with
// elements of e bytes and tiles of k = 64 keys, of fp32 32.
// Variants: HEAD 64, 96, 128; DTYPE_BF16, DTYPE_FP16, DTYPE_FP32.
#include "shared_prefix_attend.cuh"

extern "C" __global__ void __launch_bounds__(128, 2) shared_prefix_forward(const SharedPrefixForwardParams params) {
    using namespace workbench;
    const SharedPrefixInputs& in = params.inputs;
    const int kv_head = blockIdx.y, all = in.batch * in.queries * (in.heads / in.kv_heads);
    const int first = (int)blockIdx.x * ROWS;
    const Rows rows = rows_between(in, kv_head, first, min(first + ROWS, all));
    Gathered gathered;
    attend(in, rows, kv_head, prefix_span(in, rows.back.batch), gathered);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const float lse = finish(gathered, half, in.scale);
        const int at = first + (int)threadIdx.x / WARP * 16 + (int)threadIdx.x % WARP / 4 + half * 8;
        if (at >= rows.until) continue;
        const Row row = row_at(in, kv_head, at);
        Element* output = (Element*)params.output + row.batch * params.output_strides.batch +
                          row.head * params.output_strides.head + row.query * params.output_strides.row;
#pragma unroll
        for (int i = 0; i < HEAD / 8; ++i)
            store_pair(output + output_column(i), gathered.output[i][2 * half], gathered.output[i][2 * half + 1]);
        if (threadIdx.x % 4 == 0) params.lse[(row.batch * in.heads + row.head) * in.queries + row.query] = lse;
    }
}
