// Gradients of the prefix, over all rows of the batch: of each tile of keys, `prefix_splits` blocks sum equal parts
// of the rows, so that a short prefix keeps a whole card busy. shared_prefix_backward_reduce adds the parts up.
//
// Launch: shared_prefix_backward_prefix
//   grid    (ceil(P / RESIDENT), KV, prefix_splits)
//           splits: enough for two blocks a multiprocessor, at most ceil(B S G / STREAMED); more are of no use,
//           but right (their parts are zero)
//   block   (128, 1, 1)
//   shared  SHARED_BYTES, as of shared_prefix_backward_query
//   params  SharedPrefixBackwardParams; reads inputs, grad, lse, delta; writes partial_prefix_key_grad,
//           partial_prefix_value_grad, all of both
#include "shared_prefix_backward_keys.cuh"

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS, KEY_BLOCKS)
    shared_prefix_backward_prefix(const SharedPrefixBackwardParams params) {
    DYNAMIC_SHARED(bytes);
    const SharedPrefixInputs& inputs = params.inputs;
    const int split = blockIdx.z, group = inputs.heads / inputs.kv_heads;
    const int all = inputs.batch * inputs.queries * group;
    const int steps = (all + STREAMED - 1) / STREAMED;
    const int part = (steps + params.prefix_splits - 1) / params.prefix_splits * STREAMED;
    KeyTile tile;
    tile.kv_head = blockIdx.y;
    tile.first = blockIdx.x * RESIDENT;
    tile.begin = 0;
    tile.end = inputs.prefix;
    tile.batch = 0;
    tile.earlier = 0;
    tile.first_row = (int)min((long long)split * part, (long long)all);
    tile.rows = min(tile.first_row + part, all);
    tile.key = (const Element*)inputs.prefix_key + tile.kv_head * inputs.prefix_key_strides.head;
    tile.value = (const Element*)inputs.prefix_value + tile.kv_head * inputs.prefix_value_strides.head;
    tile.key_stride = inputs.prefix_key_strides.row;
    tile.value_stride = inputs.prefix_value_strides.row;

    KeySums sums;
    sum_over_rows<false>(sums, tile, params, Shared{bytes});
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int key = tile.first + row_of(slot);
        if (key >= inputs.prefix) continue;
        const long long at =
            (((long long)split * inputs.kv_heads + tile.kv_head) * inputs.prefix + key) * HEAD;
        store_row(sums.key, slot, inputs.scale, params.partial_prefix_key_grad + at);
        store_row(sums.value, slot, 1.0f, params.partial_prefix_value_grad + at);
    }
}
