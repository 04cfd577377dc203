// What the backward's kernels share: how rows of queries are folded, how tiles come into shared memory, and the
// two products of tiles (by tensor cores for bf16 and fp16, by fused multiply-adds for fp32).
//
// A block keeps RESIDENT rows (queries, or keys) and streams tiles of STREAMED rows of the other kind past them:
//   scores = resident . streamed^T      and      sums += weights . streamed
// are all that the five products of the backward consist of. Of scores a thread holds SLOTS rows of COLUMNS
// each, of sums the same rows. Compiled in: the element type (DTYPE_*) and HEAD: 64, 96 or 128.
#pragma once
#include "primitives.cuh"
#include "shared_prefix_params.h"

namespace workbench {

static_assert(HEAD == 64 || HEAD == 96 || HEAD == 128, "no tile layout for this head size");
constexpr int THREADS = 128;
constexpr int SLOTS = 2;
// How many blocks a multiprocessor shall have registers for; left to itself the compiler spills some for one more.
constexpr int QUERY_BLOCKS = 3, KEY_BLOCKS = sizeof(Element) == 4 ? 3 : 2;
constexpr int CHUNK = 16 / (int)sizeof(Element);  // elements that one copy_async moves
constexpr int CHUNKS = HEAD / CHUNK;         // of one row

}  // namespace workbench

#ifdef DTYPE_FP32
#include "shared_prefix_backward_fma.cuh"
#else
#include "shared_prefix_backward_mma.cuh"
#endif

namespace workbench {

// Dynamic shared memory: two resident tiles, two stages of two streamed tiles, two stages of lse and delta of the
// streamed rows, scratch of the products. The same of all three kernels that multiply.
constexpr int RESIDENT_BYTES = RESIDENT * ROW_BYTES, STREAMED_BYTES = STREAMED * ROW_BYTES;
constexpr int SHARED_BYTES =
    2 * RESIDENT_BYTES + 4 * STREAMED_BYTES + 4 * STREAMED * (int)sizeof(float) + SCRATCH_BYTES;
static_assert(SHARED_BYTES <= 99 * 1024, "more shared memory than compute capability 8.6 has");
static_assert(2 * STREAMED <= THREADS, "a thread fetches at most one of lse and delta");

struct Shared {
    unsigned char* base;

    DEVICE unsigned char* resident(int tensor) const { return base + tensor * RESIDENT_BYTES; }
    DEVICE unsigned char* streamed(int stage, int tensor) const {
        return base + 2 * RESIDENT_BYTES + (2 * stage + tensor) * STREAMED_BYTES;
    }
    // Of a stage: STREAMED log-sum-exps, then STREAMED deltas.
    DEVICE float* sides(int stage) const {
        return reinterpret_cast<float*>(base + 2 * RESIDENT_BYTES + 4 * STREAMED_BYTES) + stage * 2 * STREAMED;
    }
    DEVICE unsigned char* scratch() const {
        return base + 2 * RESIDENT_BYTES + 4 * STREAMED_BYTES + 4 * STREAMED * sizeof(float);
    }
};

// Quotients of numbers from 0 to 2^31 - 1 by one that is known only when running, as a product and a shift
// (Granlund and Montgomery 1994): in the loops over rows, divisions would be a fifth of all instructions.
struct Divisor {
    int by, shift = 0;
    unsigned factor;

    DEVICE explicit Divisor(int by) : by(by) {
        while ((1ull << shift) < (unsigned)by) shift++;
        factor = (unsigned)(((1ull << 32) * ((1ull << shift) - by)) / by + 1);
    }
    DEVICE int quotient(int of) const {
        const unsigned high = (unsigned)((unsigned long long)(unsigned)of * factor >> 32);
        return (int)((high + of) >> shift);
    }
};

// Queries that see the same keys are folded into rows: row r of a batch row and kv head is query r / G of head
// r % G of the group, so that rows are ordered by position.
struct Folded {
    int batch, head, query;

    DEVICE Folded(const Divisor& by_group, int batch, int kv_head, int row)
        : batch(batch) {
        query = by_group.quotient(row);
        head = kv_head * by_group.by + row - query * by_group.by;
    }
    DEVICE long long in(const SharedPrefixStrides& strides) const {
        return batch * strides.batch + head * strides.head + query * strides.row;
    }
    // In [B, H, S], as lse and delta are.
    DEVICE long long of_scalars(const SharedPrefixInputs& inputs) const {
        return ((long long)batch * inputs.heads + head) * inputs.queries + query;
    }
};

constexpr int UNROLLED = 2;  // copies prepared at once: more cost registers that the products need

// Where a row of two tensors begins; null: a row of zeros.
struct Beginnings {
    const Element *one, *other;
};

// Begins to copy ROWS rows of two tensors into a tile each; `row_at(i)` says where row i begins. `any` is some
// valid address of either, for rows of zeros.
template <int ROWS, class RowAt>
DEVICE void load_tiles(unsigned char* one, unsigned char* other, const void* any, RowAt row_at) {
    static_assert(ROWS * CHUNKS % THREADS == 0, "threads would have unequal shares");
#pragma unroll(UNROLLED)
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
        const int piece = i * THREADS + (int)threadIdx.x, row = piece / CHUNKS, chunk = piece % CHUNKS;
        const Beginnings from = row_at(row);
        const bool is_there = from.one != nullptr;
        copy_async(one + place(row, chunk), is_there ? from.one + chunk * CHUNK : any, is_there);
        copy_async(other + place(row, chunk), is_there ? from.other + chunk * CHUNK : any, is_there);
    }
}

// exp(scale score - lse): rounded once before the exponential, where what matters is small.
DEVICE float probability(float score, float scale, float lse) {
    return exp2_approximate(fmaf(score, scale, -lse) * LOG2_E);
}

// The own keys that a row of the batch may see.
struct Bounds {
    int begin, end;

    DEVICE Bounds(const SharedPrefixInputs& inputs, int batch) {
        begin = inputs.starts ? max(inputs.starts[batch], 0) : 0;
        end = inputs.ends ? min(inputs.ends[batch], inputs.own) : inputs.own;
    }
};

}  // namespace workbench
