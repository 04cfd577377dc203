// Products of tiles of bf16 or fp16 by tensor cores (mma.sync m16n8k16), fp32 sums. Warp w has resident rows
// 16 w to 16 w + 15; scores are in the registers of the product that made them, which as weights of the next are
// its left operand with no exchange between lanes (Dao 2023, FlashAttention-2).
#pragma once

namespace workbench {

constexpr int RESIDENT = 64;
constexpr int STREAMED = HEAD == 64 ? 64 : 32;
constexpr int ROW_BYTES = HEAD * 2;
constexpr int SCRATCH_BYTES = 0;
constexpr int COLUMNS = STREAMED / 4;

DEVICE int lane() { return threadIdx.x % WARP; }
DEVICE int warp() { return threadIdx.x / WARP; }

// Byte offset of a chunk of 16 bytes in a tile: within each TURNED chunks those of a row change places so that
// eight rows of one column of chunks, which load_matrices reads at once, lie in different banks (rows of 192 bytes
// alternate by themselves).
constexpr int TURNED = HEAD == 96 ? 4 : 8;

DEVICE int place(int row, int chunk) {
    const int turn = HEAD == 96 ? row / 2 % TURNED : row % TURNED;
    return row * ROW_BYTES + (chunk ^ turn) * 16;
}
// The same of chunk 2 k + `half`, with k known when compiling: what differs by whole turns is a constant apart,
// which spares registers.
DEVICE int place(int row, int k, int half) {
    return place(row, 2 * k % TURNED + half) + 2 * k / TURNED * TURNED * 16;
}

struct Scores {
    float of[STREAMED / 8][4];

    DEVICE float& at(int slot, int column) { return of[column / 2][slot * 2 + column % 2]; }
};
DEVICE int row_of(int slot) { return warp() * 16 + lane() / 4 + slot * 8; }
DEVICE int column_of(int column) { return column / 2 * 8 + lane() % 4 * 2 + column % 2; }

struct Sums {
    float of[HEAD / 8][4];

    DEVICE void clear() {
#pragma unroll
        for (auto& four : of) four[0] = four[1] = four[2] = four[3] = 0.0f;
    }
};

// scores = resident . streamed^T
DEVICE void multiply_rows(Scores& scores, const unsigned char* resident, const unsigned char* streamed) {
#pragma unroll
    for (auto& four : scores.of) four[0] = four[1] = four[2] = four[3] = 0.0f;
#pragma unroll
    for (int k = 0; k < HEAD / 16; k++) {
        unsigned left[4];
        load_matrices(left, resident + place(warp() * 16 + lane() % 16, k, lane() / 16));
#pragma unroll
        for (int n = 0; n < STREAMED / 16; n++) {
            unsigned right[4];
            load_matrices(right, streamed + place(n * 16 + lane() / 16 * 8 + lane() % 8, k, lane() / 8 % 2));
            multiply<Element>(scores.of[2 * n], left, right[0], right[1]);
            multiply<Element>(scores.of[2 * n + 1], left, right[2], right[3]);
        }
    }
}

// sums += weights . streamed, the weights rounded to elements
DEVICE void add_weighted(Sums& sums, const Scores& weights, const unsigned char* streamed, unsigned char*) {
#pragma unroll
    for (int k = 0; k < STREAMED / 16; k++) {
        const float(&low)[4] = weights.of[2 * k], (&high)[4] = weights.of[2 * k + 1];
        const unsigned left[4] = {pack<Element>(low[0], low[1]), pack<Element>(low[2], low[3]),
                                  pack<Element>(high[0], high[1]), pack<Element>(high[2], high[3])};
#pragma unroll
        for (int j = 0; j < HEAD / 16; j++) {
            unsigned right[4];
            load_matrices_transposed(right, streamed + place(k * 16 + lane() % 16, j, lane() / 16));
            multiply<Element>(sums.of[2 * j], left, right[0], right[1]);
            multiply<Element>(sums.of[2 * j + 1], left, right[2], right[3]);
        }
    }
}

DEVICE void put(Element* to, float one, float other) { *reinterpret_cast<unsigned*>(to) = pack<Element>(one, other); }
DEVICE void put(float* to, float one, float other) { *reinterpret_cast<float2*>(to) = float2{one, other}; }

// One slot's row of the sums, times a factor, to a row of elements or of fp32.
template <class To>
DEVICE void store_row(const Sums& sums, int slot, float factor, To* row) {
#pragma unroll
    for (int j = 0; j < HEAD / 8; j++)
        put(row + j * 8 + lane() % 4 * 2, sums.of[j][slot * 2] * factor, sums.of[j][slot * 2 + 1] * factor);
}

}  // namespace workbench
