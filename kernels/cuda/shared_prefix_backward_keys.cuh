// Gradients of a tile of keys and values: the block keeps the tile and streams folded rows of queries (see
// Folded) past it, those of one row of the batch for own keys, those of all rows for the prefix.
//
//   p = exp(scale q.k - lse)    value_grad = p^T grad    ds = p (grad.v - delta)    key_grad = scale ds^T q
#pragma once
#include "shared_prefix_backward_tiles.cuh"

namespace workbench {

// A tile of keys: from where, which of them are seen at all, and by which rows.
struct KeyTile {
    int kv_head, first;
    int begin, end;         // keys outside are not loaded and get nothing
    int batch;              // where the rows begin
    int first_row, rows;    // of the rows that are streamed, counted from the first row of `batch`
    int earlier;            // an own key j is seen from row (j - earlier) G on
    const Element *key, *value;
    long long key_stride, value_stride;
};

struct KeySums {
    Sums key, value;
};

// Rows `first_row` and on see none of the keys that are padding, and own ones not before their time.
DEVICE void mask(Scores& scores, const KeyTile& tile, int first_row, int group) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int key = tile.first + row_of(slot);
        const bool exists = key >= tile.begin && key < tile.end;
        const int from_row = (key - tile.earlier) * group;
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
            if (!exists || first_row + column_of(column) < from_row) scores.at(slot, column) = -infinity();
    }
}

// IS_OWN: own keys, which not all rows see. Of the prefix every row sees every key, and what keys behind its end
// gather is not stored.
template <bool IS_OWN>
DEVICE void sum_over_rows(KeySums& sums, const KeyTile& tile, const SharedPrefixBackwardParams& params,
                          const Shared& shared) {
    const SharedPrefixInputs& inputs = params.inputs;
    const int group = inputs.heads / inputs.kv_heads, in_batch = inputs.queries * group;
    sums.key.clear();
    sums.value.clear();
    const int tiles = (tile.rows - tile.first_row + STREAMED - 1) / STREAMED;
    if (tiles <= 0 || tile.begin >= tile.end) return;

    load_tiles<RESIDENT>(shared.resident(0), shared.resident(1), tile.key, [&](int row) -> Beginnings {
        const int key = tile.first + row;
        if (key < tile.begin || key >= tile.end) return {nullptr, nullptr};
        return {tile.key + key * tile.key_stride, tile.value + key * tile.value_stride};
    });

    const Divisor by_group{group}, by_batch{in_batch};
    auto folded = [&](int row) {
        const int batches = IS_OWN ? 0 : by_batch.quotient(row);
        return Folded{by_group, tile.batch + batches, tile.kv_head, row - batches * in_batch};
    };
    const auto* query = (const Element*)inputs.query;
    const auto* grad = (const Element*)params.grad;
    auto load = [&](int step) {
        const int first = tile.first_row + step * STREAMED, stage = step % 2;
        load_tiles<STREAMED>(shared.streamed(stage, 0), shared.streamed(stage, 1), query, [&](int row) -> Beginnings {
            if (first + row >= tile.rows) return {nullptr, nullptr};
            const Folded at = folded(first + row);
            return {query + at.in(inputs.query_strides), grad + at.in(params.grad_strides)};
        });
        copy_async_commit();
    };
    // Rows behind the last have a log-sum-exp that makes their probabilities zero.
    auto side_of = [&](int step) {
        const bool is_delta = threadIdx.x >= STREAMED;
        const int row = tile.first_row + step * STREAMED + (int)threadIdx.x % STREAMED;
        if (threadIdx.x >= 2 * STREAMED || row >= tile.rows) return is_delta ? 0.0f : infinity();
        const long long at = folded(row).of_scalars(inputs);
        return is_delta ? params.delta[at] : params.lse[at];
    };
    auto keep_side = [&](int step, float side) {
        if (threadIdx.x < 2 * STREAMED) shared.sides(step % 2)[threadIdx.x] = side;
    };
    load(0);
    keep_side(0, side_of(0));

    for (int step = 0; step < tiles; step++) {
        const int stage = step % 2, first_row = tile.first_row + step * STREAMED;
        copy_async_wait<0>();
        __syncthreads();  // these rows are there, and nobody reads those before any more
        float side = 0.0f;
        if (step + 1 < tiles) {
            load(step + 1);
            side = side_of(step + 1);
        }
        Scores scores, gradients;
        multiply_rows(scores, shared.resident(0), shared.streamed(stage, 0));
        multiply_rows(gradients, shared.resident(1), shared.streamed(stage, 1));
        const float* sides = shared.sides(stage);
        if (IS_OWN) {
            const bool is_whole = tile.begin == tile.first && tile.end == tile.first + RESIDENT &&
                                  first_row >= (tile.end - 1 - tile.earlier) * group;
            if (!is_whole) mask(scores, tile, first_row, group);
        }
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++)
#pragma unroll
            for (int column = 0; column < COLUMNS; column++) {
                const int row = column_of(column);
                float& score = scores.at(slot, column);
                float& gradient = gradients.at(slot, column);
                score = probability(score, inputs.scale, sides[row]);
                gradient = score * (gradient - sides[STREAMED + row]);
            }
        add_weighted(sums.value, scores, shared.streamed(stage, 1), shared.scratch());
        add_weighted(sums.key, gradients, shared.streamed(stage, 0), shared.scratch());
        // Fetched above, kept only now: nobody waits for it to come.
        if (step + 1 < tiles) keep_side(step + 1, side);
    }
}

}  // namespace workbench
