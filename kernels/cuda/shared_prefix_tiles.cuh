// Tiles of shared-prefix attention: which rows and keys a block works on, their copies in shared memory, and the
// two products of a warp's 16 rows with a tile of keys, on tensor cores for 16-bit elements, by FMA for fp32.
#pragma once

#include "primitives.cuh"
#include "shared_prefix_params.h"

namespace workbench {

constexpr int WARPS = 4, THREADS = WARPS * WARP;
constexpr int ROWS = WARPS * 16;                     // queries of a block, 16 a warp
constexpr int KEYS = sizeof(Element) == 2 ? 64 : 32;  // keys of a tile
// Elements from one row of a tile to the next. The 16 bytes beyond the head put the rows that a warp reads at once
// into different banks, whatever the head's size.
constexpr int PITCH = HEAD + 16 / (int)sizeof(Element);
constexpr int PIECES = HEAD * (int)sizeof(Element) / 16;  // copies of 16 bytes a row
constexpr int PREFIX = -1;                                // as a segment; other segments are rows of the batch
static_assert(HEAD % 16 == 0 && KEYS * PIECES % THREADS == 0 && ROWS * PIECES % THREADS == 0, "whole copies");

// The queries of a key/value head, folded: row r is query r / G % S of head r % G in its group and of row
// r / (G S) of the batch. So neighbours share keys: the prefix all of them, own keys most.
struct Row {
    int batch, head, query;
};

DEVICE Row row_at(const SharedPrefixInputs& in, int kv_head, int row) {
    const int group = in.heads / in.kv_heads, position = row / group;
    return {position / in.queries, kv_head * group + row % group, position % in.queries};
}

// Rows [first, until) of a block or a warp, with the place of the first and the last.
struct Rows {
    int first, until;
    Row front, back;
};

DEVICE Rows rows_between(const SharedPrefixInputs& in, int kv_head, int first, int until) {
    return {first, until, row_at(in, kv_head, first), row_at(in, kv_head, until - 1)};
}

// Behind the last key of `segment` that any of `rows` sees, given that `until` bounds the segment itself.
DEVICE int seen_until(const SharedPrefixInputs& in, const Rows& rows, int segment, int until) {
    if (segment == PREFIX) return until;
    if (segment < rows.front.batch || segment > rows.back.batch) return 0;
    const int last = segment < rows.back.batch ? in.queries - 1 : rows.back.query;
    return min(until, last + in.own - in.queries + 1);
}

// Keys [first, until) of a segment are still to come, and then those of the segments up to `last`.
struct Span {
    int segment, last, first, until;
};

DEVICE Span prefix_span(const SharedPrefixInputs& in, int last) { return {PREFIX, last, 0, in.prefix}; }

DEVICE Span own_span(const SharedPrefixInputs& in, const Rows& rows, int segment, int last) {
    const int start = in.starts ? max(in.starts[segment], 0) : 0;
    const int end = in.ends ? min(in.ends[segment], in.own) : in.own;
    return {segment, last, start, seen_until(in, rows, segment, end)};
}

DEVICE bool is_empty(const Span& span) { return span.first >= span.until; }

// Behind the tile at the front of `span`; empty at the end.
DEVICE Span next_tile(const SharedPrefixInputs& in, const Rows& rows, Span span) {
    span.first += KEYS;
    while (is_empty(span) && span.segment < span.last)
        span = own_span(in, rows, span.segment == PREFIX ? rows.front.batch : span.segment + 1, span.last);
    return span;
}

// Part `split` of `splits` of a span, in whole tiles.
DEVICE Span part_of(Span span, int split, int splits) {
    const int tiles = (max(span.until - span.first, 0) + KEYS - 1) / KEYS, each = (tiles + splits - 1) / splits;
    span.first = min(span.until, span.first + split * each * KEYS);
    span.until = min(span.until, span.first + each * KEYS);
    return span;
}

// Begins to copy the tile at the front of `span`, zeros behind its end.
DEVICE void copy_keys(const SharedPrefixInputs& in, const Span& span, int kv_head, Element* keys, Element* values) {
    const bool prefix = span.segment == PREFIX;
    const SharedPrefixStrides ks = prefix ? in.prefix_key_strides : in.key_strides;
    const SharedPrefixStrides vs = prefix ? in.prefix_value_strides : in.value_strides;
    const long long batch = prefix ? 0 : span.segment;
    const Element* key = (const Element*)(prefix ? in.prefix_key : in.key) + batch * ks.batch + kv_head * ks.head;
    const Element* value =
        (const Element*)(prefix ? in.prefix_value : in.value) + batch * vs.batch + kv_head * vs.head;
#pragma unroll
    for (int i = threadIdx.x; i < KEYS * PIECES; i += THREADS) {
        const int at = i / PIECES, column = i % PIECES * (16 / (int)sizeof(Element)), row = span.first + at;
        const bool valid = row < span.until;
        const long long from = valid ? row : 0;
        copy_async(keys + at * PITCH + column, key + from * ks.row + column, valid);
        copy_async(values + at * PITCH + column, value + from * vs.row + column, valid);
    }
}

DEVICE void copy_queries(const SharedPrefixInputs& in, const Rows& rows, int kv_head, Element* queries) {
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int at = i / PIECES, column = i % PIECES * (16 / (int)sizeof(Element));
        const bool valid = rows.first + at < rows.until;
        const Row row = row_at(in, kv_head, valid ? rows.first + at : rows.first);
        const Element* from = (const Element*)in.query + row.batch * in.query_strides.batch +
                              row.head * in.query_strides.head + row.query * in.query_strides.row;
        copy_async(queries + at * PITCH + column, from + column, valid);
    }
}

// A warp's 16 x n results: lane l holds, of rows l / 4 and l / 4 + 8 of every 8 columns, numbers [0] and [1], [2]
// and [3]. Of scores they are columns 2 (l % 4) and the next one.
using Fragment = float[4];

DEVICE void clear(Fragment& fragment) { fragment[0] = fragment[1] = fragment[2] = fragment[3] = 0.0f; }

#ifndef DTYPE_FP32

// The queries of a warp, kept in registers.
struct Queries {
    unsigned fragments[HEAD / 16][4];
};

DEVICE void load_queries(Queries& queries, const Element* rows) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < HEAD / 16; ++i)
        load_matrices(queries.fragments[i], rows + lane % 16 * PITCH + i * 16 + lane / 16 * 8);
}

DEVICE void score(Fragment (&scores)[KEYS / 8], const Queries& queries, const Element* keys) {
    const int lane = threadIdx.x % WARP;
    const Element* corner = keys + (lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int i = 0; i < HEAD / 16; ++i)
#pragma unroll
        for (int j = 0; j < KEYS / 16; ++j) {
            unsigned key[4];
            load_matrices(key, corner + j * 16 * PITCH + i * 16);
            multiply<Element>(scores[2 * j], queries.fragments[i], key[0], key[1]);
            multiply<Element>(scores[2 * j + 1], queries.fragments[i], key[2], key[3]);
        }
}

// output += shares values
DEVICE void weigh(Fragment (&output)[HEAD / 8], const Fragment (&shares)[KEYS / 8], const Element* values) {
    const int lane = threadIdx.x % WARP;
    const Element* corner = values + lane % 16 * PITCH + lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < KEYS / 16; ++j) {
        const Fragment &left = shares[2 * j], &right = shares[2 * j + 1];
        const unsigned share[4] = {pack<Element>(left[0], left[1]), pack<Element>(left[2], left[3]),
                                   pack<Element>(right[0], right[1]), pack<Element>(right[2], right[3])};
#pragma unroll
        for (int i = 0; i < HEAD / 16; ++i) {
            unsigned value[4];
            load_matrices_transposed(value, corner + j * 16 * PITCH + i * 16);
            multiply<Element>(output[2 * i], share, value[0], value[1]);
            multiply<Element>(output[2 * i + 1], share, value[2], value[3]);
        }
    }
}

// Numbers `half` * 2 and the next one of the fragment `i` of an output lie at this column.
DEVICE int output_column(int i) { return i * 8 + threadIdx.x % 4 * 2; }

#else

struct Queries {
    const float* rows;  // too many for registers
};

DEVICE void load_queries(Queries& queries, const Element* rows) { queries.rows = rows; }

DEVICE float dot(const float4& a, const float4& b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

DEVICE void score(Fragment (&scores)[KEYS / 8], const Queries& queries, const Element* keys) {
    const int lane = threadIdx.x % WARP;
    const float* query = queries.rows + lane / 4 * PITCH;
    const float* key = keys + lane % 4 * 2 * PITCH;
#pragma unroll 2
    for (int d = 0; d < HEAD; d += 4) {
        const float4 upper = *(const float4*)(query + d), lower = *(const float4*)(query + 8 * PITCH + d);
#pragma unroll
        for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const float4 k = *(const float4*)(key + (j * 8 + e) * PITCH + d);
                scores[j][e] = dot(upper, k, scores[j][e]);
                scores[j][2 + e] = dot(lower, k, scores[j][2 + e]);
            }
    }
}

// A lane's columns of the output are 4 in every 16, so that one load of a value feeds 8 multiplications.
DEVICE void weigh(Fragment (&output)[HEAD / 8], const Fragment (&shares)[KEYS / 8], const Element* values) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e)
#pragma unroll 1
            for (int t = 0; t < 4; ++t) {
                const float upper = shuffle(shares[j][e], lane / 4 * 4 + t);
                const float lower = shuffle(shares[j][2 + e], lane / 4 * 4 + t);
                const float* value = values + (j * 8 + t * 2 + e) * PITCH + lane % 4 * 4;
#pragma unroll
                for (int i = 0; i < HEAD / 16; ++i) {
                    const float4 v = *(const float4*)(value + i * 16);
                    Fragment &left = output[2 * i], &right = output[2 * i + 1];
                    left[0] = fmaf(upper, v.x, left[0]);
                    left[1] = fmaf(upper, v.y, left[1]);
                    right[0] = fmaf(upper, v.z, right[0]);
                    right[1] = fmaf(upper, v.w, right[1]);
                    left[2] = fmaf(lower, v.x, left[2]);
                    left[3] = fmaf(lower, v.y, left[3]);
                    right[2] = fmaf(lower, v.z, right[2]);
                    right[3] = fmaf(lower, v.w, right[3]);
                }
            }
}

DEVICE int output_column(int i) { return i / 2 * 16 + threadIdx.x % 4 * 4 + i % 2 * 2; }

#endif

}  // namespace workbench
