// Gradient of the queries: each block keeps a tile of folded rows (see Folded) and streams keys and values past
// it, first the prefix's, then those of its own that the tile may see.
//
//   p = exp(scale q.k - lse)    ds = p (grad.v - delta)    query_grad = scale ds k
//
// Launch: shared_prefix_backward_query
//   grid    (ceil(S G / RESIDENT), KV, B)
//   block   (128, 1, 1)
//   shared  SHARED_BYTES = 2 (RESIDENT + 2 STREAMED) row + 16 STREAMED + scratch, in bytes:
//             bf16, fp16: RESIDENT 64; STREAMED 64 for d = 64, else 32; row 2 d; scratch 0
//             fp32: RESIDENT 32; STREAMED 16 for d = 128, else 32; row 4 d + 16; scratch 128 (STREAMED + 4)
//   params  SharedPrefixBackwardParams; reads inputs, grad, lse, delta; writes query_grad
#include "shared_prefix_backward_tiles.cuh"

namespace workbench {

// What a thread knows of the rows whose scores it holds.
struct Rows {
    float lse[SLOTS], delta[SLOTS];
    int last[SLOTS];  // own key that the row sees last, but for padding
};

// Keys `first` and on are seen from `begin` up to, not including, `end`, and own ones up to the row's last.
DEVICE void mask(Scores& scores, const Rows& rows, bool is_own, int first, int begin, int end) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int until = is_own ? min(end, rows.last[slot] + 1) : end;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            const int key = first + column_of(column);
            if (key < begin || key >= until) scores.at(slot, column) = -infinity();
        }
    }
}

// What was the gradient of a probability becomes that of its score.
DEVICE void differentiate(Scores& gradients, Scores& scores, const Rows& rows, float scale) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            const float p = probability(scores.at(slot, column), scale, rows.lse[slot]);
            gradients.at(slot, column) = p * (gradients.at(slot, column) - rows.delta[slot]);
        }
}

}  // namespace workbench

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS, QUERY_BLOCKS)
    shared_prefix_backward_query(const SharedPrefixBackwardParams params) {
    DYNAMIC_SHARED(bytes);
    const SharedPrefixInputs& inputs = params.inputs;
    const Shared shared{bytes};
    const int group = inputs.heads / inputs.kv_heads, all = inputs.queries * group;
    const Divisor by_group{group};
    // Later rows see more own keys: they start first.
    const int first_row = ((int)gridDim.x - 1 - (int)blockIdx.x) * RESIDENT, kv_head = blockIdx.y;
    const int batch = blockIdx.z;

    const auto* query = (const Element*)inputs.query;
    const auto* grad = (const Element*)params.grad;
    load_tiles<RESIDENT>(shared.resident(0), shared.resident(1), query, [&](int row) -> Beginnings {
        if (first_row + row >= all) return {nullptr, nullptr};
        const Folded folded{by_group, batch, kv_head, first_row + row};
        return {query + folded.in(inputs.query_strides), grad + folded.in(params.grad_strides)};
    });

    const Bounds bounds{inputs, batch};
    const int earlier = inputs.own - inputs.queries;
    const int own_end = min(bounds.end, (min(first_row + RESIDENT, all) - 1) / group + earlier + 1);
    const int own_first = bounds.begin / STREAMED;
    const int prefix_tiles = (inputs.prefix + STREAMED - 1) / STREAMED;
    const int own_tiles = own_end > bounds.begin ? (own_end + STREAMED - 1) / STREAMED - own_first : 0;
    const int tiles = prefix_tiles + own_tiles;

    auto load_keys = [&](int stage, const void* keys, const SharedPrefixStrides& key_strides, const void* values,
                         const SharedPrefixStrides& value_strides, int batch, int first, int begin, int end) {
        const auto* key = (const Element*)keys + batch * key_strides.batch + kv_head * key_strides.head;
        const auto* value = (const Element*)values + batch * value_strides.batch + kv_head * value_strides.head;
        load_tiles<STREAMED>(shared.streamed(stage, 0), shared.streamed(stage, 1), keys, [&](int row) -> Beginnings {
            const int at = first + row;
            if (at < begin || at >= end) return {nullptr, nullptr};
            return {key + at * key_strides.row, value + at * value_strides.row};
        });
    };
    auto load = [&](int tile) {
        if (tile < prefix_tiles)
            load_keys(tile % 2, inputs.prefix_key, inputs.prefix_key_strides, inputs.prefix_value,
                      inputs.prefix_value_strides, 0, tile * STREAMED, 0, inputs.prefix);
        else
            load_keys(tile % 2, inputs.key, inputs.key_strides, inputs.value, inputs.value_strides, batch,
                      (own_first + tile - prefix_tiles) * STREAMED, bounds.begin, own_end);
        copy_async_commit();
    };
    load(0);

    Rows rows;
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int row = first_row + row_of(slot);
        const Folded folded{by_group, batch, kv_head, min(row, all - 1)};
        const long long at = folded.of_scalars(inputs);
        rows.lse[slot] = row < all ? params.lse[at] : infinity();
        rows.delta[slot] = row < all ? params.delta[at] : 0.0f;
        rows.last[slot] = folded.query + earlier;
    }
    Sums sums;
    sums.clear();
    for (int tile = 0; tile < tiles; tile++) {
        const int stage = tile % 2;
        copy_async_wait<0>();
        __syncthreads();  // this tile is there, and nobody reads the one before any more
        if (tile + 1 < tiles) load(tile + 1);
        Scores scores, gradients;
        multiply_rows(scores, shared.resident(0), shared.streamed(stage, 0));
        multiply_rows(gradients, shared.resident(1), shared.streamed(stage, 1));
        const bool is_own = tile >= prefix_tiles;
        const int first = (is_own ? own_first + tile - prefix_tiles : tile) * STREAMED, last = first + STREAMED - 1;
        const int begin = is_own ? bounds.begin : 0, end = is_own ? bounds.end : inputs.prefix;
        const bool is_whole = first >= begin && last < end && (!is_own || last <= first_row / group + earlier);
        if (!is_whole) mask(scores, rows, is_own, first, begin, end);
        differentiate(gradients, scores, rows, inputs.scale);
        add_weighted(sums, gradients, shared.streamed(stage, 0), shared.scratch());
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int row = first_row + row_of(slot);
        if (row >= all) continue;
        const Folded folded{by_group, batch, kv_head, row};
        store_row(sums, slot, inputs.scale, (Element*)params.query_grad + folded.in(params.query_grad_strides));
    }
}
