// Gradients of the logits of a block of the vocabulary, computed again from the log-sum-exp: what the gradients of
// hidden states (times the block's weights) and of the block's weights and bias (times hidden states, summed) are
// plain matrix products of. A tile of neither would fit beside its logits in registers, and those products are the
// library's: a block of the vocabulary at a time bounds the memory as well.
//
// Launch: selected_logprobs_backward
//   grid    (ceil(N / 128), ceil(columns / 128), 1)
//   block   (256, 1, 1)
//   shared  TILE_BYTES, 98304
//   params  SelectedLogprobsBackwardParams; writes all of logit_grad [N, columns]; rows of ignored targets are 0
#include "selected_logprobs_math.cuh"
#include "selected_logprobs_tile.cuh"

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    selected_logprobs_backward(const SelectedLogprobsBackwardParams params) {
    DYNAMIC_SHARED(shared);
    const SelectedLogprobsInputs& inputs = params.inputs;
    const Element* const bias = (const Element*)inputs.bias;
    const int first_place = blockIdx.x * PLACES, begin = params.first + blockIdx.y * COLUMNS;
    const int end = params.first + params.columns, known = min(end, inputs.vocabulary);
    const Source source{inputs, first_place, known};
    each_tile<true>(source, begin, end, shared, [&](Tile& tile, int first_column) {
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            __syncwarp();  // so that one place's numbers are not fetched before another's are spent
            const int row = first_place + place_of(slot), place = min(row, inputs.places - 1);
            const long long target = inputs.targets[place];
            const bool is_ignored = target == inputs.ignore_index;
            const float slope = is_ignored ? 0.0f : params.grad[place] * inputs.inner * inputs.outer;
            const float lse = params.lse[place], own = one_minus_exponential(params.logprobs[place]);
            Element* const to = (Element*)params.logit_grad + place * params.logit_grad_stride;
#pragma unroll
            for (int i = 0; i < OF_SLOT; i += 2) {
                float pair[2];
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int column = first_column + column_of(i + e);
                    const bool exists = column < known && !is_ignored;
                    const float added = bias && exists ? to_float(bias[column]) : 0.0f;
                    const float logit = logit_of(inputs, tile.at(slot, i + e) + added);
                    const float share = column == target ? own : -exponential(logit - lse);
                    pair[e] = exists ? share * slope * bend_of(inputs, logit) : 0.0f;
                }
                const int column = first_column + column_of(i);
                if (row == place && column < end) store_pair(to + column - params.first, pair[0], pair[1]);
            }
        }
    });
}
