// Log-sum-exp over a part of the vocabulary, the target left out, and the target's logit: no logit is written but that.
//
// Launch: selected_logprobs_forward, then selected_logprobs_combine
//   grid    (ceil(N / 128), splits, 1)
//           splits: enough for two blocks a multiprocessor, at most ceil(V / 128); more are of no use, but right
//   block   (256, 1, 1)
//   shared  SHARED_BYTES, 100352
//   params  SelectedLogprobsParams; reads inputs; writes target_logit, partial_most, partial_total
#include "selected_logprobs_math.cuh"
#include "selected_logprobs_tile.cuh"

using namespace workbench;

namespace workbench {

// A maximum and the sum of exponentials relative to it; of nothing -infinity and 0.
struct Running {
    float most, total;
};
constexpr int SHARED_BYTES = TILE_BYTES + PLACES * 2 * (int)sizeof(Running);
static_assert(SHARED_BYTES <= 99 * 1024, "more shared memory than compute capability 8.6 has");

DEVICE Running joined(const Running& one, const Running& other) {
    const float most = fmaxf(one.most, other.most), base = most == -infinity() ? 0.0f : most;
    return {most, one.total * exponential(one.most - base) + other.total * exponential(other.most - base)};
}

}  // namespace workbench

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    selected_logprobs_forward(const SelectedLogprobsParams params) {
    DYNAMIC_SHARED(shared);
    const SelectedLogprobsInputs& inputs = params.inputs;
    const Element* const bias = (const Element*)inputs.bias;
    const int first_place = blockIdx.x * PLACES, split = blockIdx.y, lane = threadIdx.x % WARP;
    const int tiles = (inputs.vocabulary + COLUMNS - 1) / COLUMNS;
    const int part = (tiles + params.splits - 1) / params.splits;
    const int begin = min(split * part, tiles) * COLUMNS;
    const int end = min(min(split * part + part, tiles) * COLUMNS, inputs.vocabulary);

    // Of each place two: the columns of the left and the right warps. In registers they would crowd out products.
    Running* const running = (Running*)(shared + TILE_BYTES);
    running[threadIdx.x] = {-infinity(), 0.0f};
    const Source source{inputs, first_place, end};
    each_tile<false>(source, begin, end, shared, [&](Tile& tile, int first_column) {
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            __syncwarp();  // so that one place's numbers are not fetched before another's are spent
            const int place = first_place + place_of(slot);
            const long long target = place < inputs.places ? inputs.targets[place] : -1;
            Running found{-infinity(), 0.0f};
#pragma unroll
            for (int i = 0; i < OF_SLOT; i++) {
                const int column = first_column + column_of(i);
                const bool exists = column < end;
                const float added = bias && exists ? to_float(bias[column]) : 0.0f;
                float logit = logit_of(inputs, tile.at(slot, i) + added);
                if (exists && column == target) params.target_logit[place] = logit;
                if (!exists || column == target) logit = -infinity();
                tile.at(slot, i) = logit;
                found.most = fmaxf(found.most, logit);
            }
            // Over the four lanes that share a place.
#pragma unroll
            for (int mask = 1; mask <= 2; mask *= 2) found.most = fmaxf(found.most, shuffle_xor(found.most, mask));
            const float base = found.most == -infinity() ? 0.0f : found.most;
#pragma unroll
            for (int i = 0; i < OF_SLOT; i++) found.total += exponential(tile.at(slot, i) - base);
#pragma unroll
            for (int mask = 1; mask <= 2; mask *= 2) found.total += shuffle_xor(found.total, mask);
            Running& mine = running[2 * place_of(slot) + threadIdx.x / WARP % 2];
            if (lane % 4 == 0) mine = joined(mine, found);
        }
    });

    __syncthreads();
    const int place = first_place + threadIdx.x;
    if (threadIdx.x >= PLACES || place >= inputs.places) return;
    const Running both = joined(running[2 * threadIdx.x], running[2 * threadIdx.x + 1]);
    params.partial_most[(long long)split * inputs.places + place] = both.most;
    params.partial_total[(long long)split * inputs.places + place] = both.total;
}
