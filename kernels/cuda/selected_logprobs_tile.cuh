// A tile of logits: PLACES hidden states times COLUMNS tokens' weights, summed over D in fp32.
//
// 8 warps, 4 x 2, of 32 x 64 logits each. Pieces of 128 bytes of every row come through shared memory in STAGES
// stages, two of them under way while one is multiplied; their 16-byte chunks are permuted by the row so that neither
// copies nor reads meet in a bank. Tensor cores for bf16 and fp16; for fp32 fused multiply-adds (TF32 would round
// the hidden states to 11 bits), with the logits of a thread the same ones.
#pragma once
#include "primitives.cuh"
#include "selected_logprobs_params.h"

namespace workbench {

constexpr int THREADS = 256, PLACES = 128, COLUMNS = 128, STAGES = 3;
constexpr int CHUNK = 16 / (int)sizeof(Element);  // elements that one copy_async moves
constexpr int CHUNKS = 8;                         // of a row in a stage
constexpr int DEPTH = CHUNK * CHUNKS;
constexpr int STAGE_BYTES = (PLACES + COLUMNS) * CHUNKS * 16;
constexpr int TILE_BYTES = STAGES * STAGE_BYTES;
// How many blocks a multiprocessor shall have registers for: fp32 products hold more of them.
constexpr int BLOCKS = sizeof(Element) == 4 ? 1 : 2;
constexpr int SLOTS = 4;    // places of a thread
constexpr int OF_SLOT = 16;  // its columns

DEVICE int chunk_at(int row, int chunk) { return (row * CHUNKS + (chunk ^ (row & 7))) * 16; }

// Where a thread's logits stand in the tile.
DEVICE int place_of(int slot) { return (threadIdx.x / WARP / 2) * 32 + slot * 8 + threadIdx.x % WARP / 4; }
DEVICE int column_of(int i) {
    return (threadIdx.x / WARP % 2) * 64 + i / 2 * 8 + threadIdx.x % 4 * 2 + i % 2;
}

struct Tile {
    float sums[2][8][4];

    DEVICE void clear() {
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) sums[m][n][e] = 0.0f;
    }
    DEVICE float& at(int slot, int i) { return sums[slot / 2][i / 2][slot % 2 * 2 + i % 2]; }

    // Adds the products over the DEPTH elements of a stage.
    DEVICE void multiply_stage(const unsigned char* stage) {
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        const unsigned char* const weights = stage + PLACES * CHUNKS * 16;
#ifdef DTYPE_FP32
#pragma unroll 2
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            float4 hidden[SLOTS];
#pragma unroll
            for (int slot = 0; slot < SLOTS; slot++)
                hidden[slot] = *(const float4*)(stage + chunk_at(place_of(slot), chunk));
#pragma unroll
            for (int i = 0; i < OF_SLOT; i++) {
                const float4 weight = *(const float4*)(weights + chunk_at(column_of(i), chunk));
#pragma unroll
                for (int slot = 0; slot < SLOTS; slot++) {
                    float sum = at(slot, i);
                    sum = fmaf(hidden[slot].x, weight.x, sum);
                    sum = fmaf(hidden[slot].y, weight.y, sum);
                    sum = fmaf(hidden[slot].z, weight.z, sum);
                    at(slot, i) = fmaf(hidden[slot].w, weight.w, sum);
                }
            }
        }
        (void)lane, (void)warp;
#else
        const int place = warp / 2 * 32 + lane % 16, column = warp % 2 * 64 + lane % 8 + lane / 16 * 8;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk += 2) {
            unsigned hidden[2][4];
#pragma unroll
            for (int m = 0; m < 2; m++)
                load_matrices(hidden[m], stage + chunk_at(place + m * 16, chunk + lane / 16));
#pragma unroll
            for (int n = 0; n < 4; n++) {
                unsigned weight[4];
                load_matrices(weight, weights + chunk_at(column + n * 16, chunk + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < 2; m++) {
                    multiply<Element>(sums[m][2 * n], hidden[m], weight[0], weight[1]);
                    multiply<Element>(sums[m][2 * n + 1], hidden[m], weight[2], weight[3]);
                }
            }
        }
#endif
    }
};

// Rows of hidden states and weights on their way into a stage; rows and elements past the end are zeros.
struct Source {
    const SelectedLogprobsInputs& inputs;
    int first_place, end_column;

    DEVICE void fetch(unsigned char* stage, int first_column, int first_element) const {
        const int chunk = threadIdx.x % CHUNKS, element = first_element + chunk * CHUNK;
        const bool is_inside = element < inputs.size;
        const Element* const hidden = (const Element*)inputs.hidden + (is_inside ? element : 0);
        const Element* const weight = (const Element*)inputs.weight + (is_inside ? element : 0);
#pragma unroll
        for (int i = 0; i < PLACES; i += THREADS / CHUNKS) {
            const int row = i + threadIdx.x / CHUNKS, place = first_place + row;
            const bool exists = place < inputs.places;
            copy_async(stage + chunk_at(row, chunk), hidden + (exists ? place : 0) * inputs.hidden_stride,
                       exists && is_inside);
        }
#pragma unroll
        for (int i = 0; i < COLUMNS; i += THREADS / CHUNKS) {
            const int row = i + threadIdx.x / CHUNKS, column = first_column + row;
            const bool exists = column < end_column;
            copy_async(stage + PLACES * CHUNKS * 16 + chunk_at(row, chunk),
                       weight + (exists ? column : 0) * inputs.weight_stride, exists && is_inside);
        }
    }
};

// For each tile of columns from `begin` to `end`, a multiple of COLUMNS apart: `finish(tile, first column)`. IS_ONE: there
// is one at most, which spares registers.
template <bool IS_ONE, class Finish>
DEVICE void each_tile(const Source& source, int begin, int end, unsigned char* shared, Finish finish) {
    const int pieces = (source.inputs.size + DEPTH - 1) / DEPTH;
    const int steps = IS_ONE ? pieces : (end - begin + COLUMNS - 1) / COLUMNS * pieces;
    // Divisions cost less than counters in registers.
    auto column_in = [&](int step) { return IS_ONE ? begin : begin + step / pieces * COLUMNS; };
    auto fetch = [&](int step) {
        const int piece = IS_ONE ? step : step % pieces;
        if (step < steps) source.fetch(shared + step % STAGES * STAGE_BYTES, column_in(step), piece * DEPTH);
        copy_async_commit();
    };
    for (int step = 0; step < STAGES - 1; step++) fetch(step);
    Tile tile;
    tile.clear();
    for (int step = 0; step < steps; step++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();  // the stage is there for all; the one before it is read no more
        fetch(step + STAGES - 1);
        tile.multiply_stage(shared + step % STAGES * STAGE_BYTES);
        if (!IS_ONE && (step + 1) % pieces == 0) {
            finish(tile, column_in(step));
            tile.clear();
        }
    }
    if (IS_ONE) finish(tile, begin);
}

}  // namespace workbench
