// Products of fp32 tiles by fused multiply-adds. Sixteen groups of eight threads: group g has resident rows g and
// g + 16, and of these its thread t the columns t, t + 8, ... of scores and four elements in every 32 of sums. A
// warp's four groups exchange weights among themselves alone.
#pragma once

namespace workbench {

constexpr int RESIDENT = 32;
constexpr int STREAMED = HEAD == 128 ? 16 : 32;
constexpr int ROW_BYTES = HEAD * 4 + 16;  // neighbouring rows begin in different banks
constexpr int WEIGHTS = STREAMED + 4;          // floats of a row of weights in scratch
constexpr int SCRATCH_BYTES = RESIDENT * WEIGHTS * 4;
constexpr int COLUMNS = STREAMED / 8;
constexpr int QUARTERS = HEAD / 32;  // of four elements, that a thread has of a row of sums

DEVICE int place(int row, int chunk) { return row * ROW_BYTES + chunk * 16; }

struct Scores {
    float of[SLOTS][COLUMNS];

    DEVICE float& at(int slot, int column) { return of[slot][column]; }
};
DEVICE int row_of(int slot) { return threadIdx.x / 8 + slot * 16; }
DEVICE int column_of(int column) { return threadIdx.x % 8 + column * 8; }

struct Sums {
    float4 of[SLOTS][QUARTERS];

    DEVICE void clear() {
#pragma unroll
        for (auto& row : of)
#pragma unroll
            for (auto& four : row) four = float4{0.0f, 0.0f, 0.0f, 0.0f};
    }
};

DEVICE float4 chunk_at(const unsigned char* tile, int row, int chunk) {
    return *reinterpret_cast<const float4*>(tile + place(row, chunk));
}
DEVICE void add_product(float4& sum, float weight, const float4& of) {
    sum.x = fmaf(weight, of.x, sum.x);
    sum.y = fmaf(weight, of.y, sum.y);
    sum.z = fmaf(weight, of.z, sum.z);
    sum.w = fmaf(weight, of.w, sum.w);
}

// scores = resident . streamed^T; four sums a score, which err less than one and wait less for each other
DEVICE void multiply_rows(Scores& scores, const unsigned char* resident, const unsigned char* streamed) {
    float4 parts[SLOTS][COLUMNS];
#pragma unroll
    for (auto& row : parts)
#pragma unroll
        for (auto& part : row) part = float4{0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        float4 left[SLOTS];
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) left[slot] = chunk_at(resident, row_of(slot), chunk);
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            const float4 right = chunk_at(streamed, column_of(column), chunk);
#pragma unroll
            for (int slot = 0; slot < SLOTS; slot++) {
                float4& part = parts[slot][column];
                part.x = fmaf(left[slot].x, right.x, part.x);
                part.y = fmaf(left[slot].y, right.y, part.y);
                part.z = fmaf(left[slot].z, right.z, part.z);
                part.w = fmaf(left[slot].w, right.w, part.w);
            }
        }
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
#pragma unroll
        for (int column = 0; column < COLUMNS; column++) {
            const float4& part = parts[slot][column];
            scores.of[slot][column] = (part.x + part.y) + (part.z + part.w);
        }
}

// sums += weights . streamed; a tile's part is summed by itself first, so that errors grow with the number of
// tiles and not of rows
DEVICE void add_weighted(Sums& sums, const Scores& weights, const unsigned char* streamed, unsigned char* scratch) {
    float* rows = reinterpret_cast<float*>(scratch);
    __syncwarp();  // what was there has been read
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
#pragma unroll
        for (int column = 0; column < COLUMNS; column++)
            rows[row_of(slot) * WEIGHTS + column_of(column)] = weights.of[slot][column];
    __syncwarp();
    Sums part;
    part.clear();
#pragma unroll 4
    for (int n = 0; n < STREAMED; n++) {
        float weight[SLOTS];
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) weight[slot] = rows[row_of(slot) * WEIGHTS + n];
#pragma unroll
        for (int quarter = 0; quarter < QUARTERS; quarter++) {
            const float4 of = chunk_at(streamed, n, quarter * 8 + threadIdx.x % 8);
#pragma unroll
            for (int slot = 0; slot < SLOTS; slot++) add_product(part.of[slot][quarter], weight[slot], of);
        }
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
#pragma unroll
        for (int quarter = 0; quarter < QUARTERS; quarter++)
            add_product(sums.of[slot][quarter], 1.0f, part.of[slot][quarter]);
}

// One slot's row of the sums, times a factor.
DEVICE void store_row(const Sums& sums, int slot, float factor, float* row) {
#pragma unroll
    for (int quarter = 0; quarter < QUARTERS; quarter++) {
        const float4& from = sums.of[slot][quarter];
        *reinterpret_cast<float4*>(row + quarter * 32 + threadIdx.x % 8 * 4) =
            float4{from.x * factor, from.y * factor, from.z * factor, from.w * factor};
    }
}

}  // namespace workbench
