// Gradients of own keys and values: of each tile, over the rows that see any of it. A key that no query sees
// gets zeros.
//
// Launch: shared_prefix_backward_own
//   grid    (ceil(T / RESIDENT), KV, B)
//   block   (128, 1, 1)
//   shared  SHARED_BYTES, as of shared_prefix_backward_query
//   params  SharedPrefixBackwardParams; reads inputs, grad, lse, delta; writes key_grad, value_grad
#include "shared_prefix_backward_keys.cuh"

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS, KEY_BLOCKS)
    shared_prefix_backward_own(const SharedPrefixBackwardParams params) {
    DYNAMIC_SHARED(bytes);
    const SharedPrefixInputs& inputs = params.inputs;
    const int batch = blockIdx.z, group = inputs.heads / inputs.kv_heads;
    const Bounds bounds{inputs, batch};
    KeyTile tile;
    tile.kv_head = blockIdx.y;
    tile.first = blockIdx.x * RESIDENT;
    tile.begin = max(bounds.begin, tile.first);
    tile.end = min(bounds.end, tile.first + RESIDENT);
    tile.batch = batch;
    tile.earlier = inputs.own - inputs.queries;
    tile.first_row = max(tile.begin - tile.earlier, 0) * group;
    tile.rows = inputs.queries * group;
    auto begin_of = [&](const void* tensor, const SharedPrefixStrides& strides) {
        return (const Element*)tensor + batch * strides.batch + tile.kv_head * strides.head;
    };
    tile.key = begin_of(inputs.key, inputs.key_strides);
    tile.value = begin_of(inputs.value, inputs.value_strides);
    tile.key_stride = inputs.key_strides.row;
    tile.value_stride = inputs.value_strides.row;

    KeySums sums;
    sum_over_rows<true>(sums, tile, params, Shared{bytes});
    auto* key_grad = (Element*)begin_of(params.key_grad, params.key_grad_strides);
    auto* value_grad = (Element*)begin_of(params.value_grad, params.value_grad_strides);
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int key = tile.first + row_of(slot);
        if (key >= inputs.own) continue;
        store_row(sums.key, slot, inputs.scale, key_grad + key * params.key_grad_strides.row);
        store_row(sums.value, slot, 1.0f, value_grad + key * params.value_grad_strides.row);
    }
}
