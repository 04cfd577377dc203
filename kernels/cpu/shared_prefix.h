// What the two passes of shared-prefix attention have in common: where things lie, and packing them.
//
// Letters: B rows of the batch, H query heads, KV key/value heads, G = H / KV, S queries, P positions of the
// prefix, T own positions, d size of a head. The rows of a key/value head are all queries that use it,
// numbered (b S + s) G + g: to the prefix they are one matrix, whatever row of the batch they belong to.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <type_traits>

#include "attention.h"
#include "half.h"
#include "tiles.h"

extern "C" {

// [B, heads, n, d] whose last stride is 1; the others are in numbers. The prefix has no batch.
struct WorkbenchView {
    void* data;
    std::int64_t batch, head, place;
};

struct WorkbenchSharedPrefix {
    std::int64_t batch, heads, kv_heads, queries, prefix, own, size, type, threads;
    const std::int64_t *starts, *ends;  // [B], or null
    WorkbenchView query, prefix_key, prefix_value, key, value, output, lse;
    WorkbenchView grad, of_query, of_prefix_key, of_prefix_value, of_key, of_value;
};
}

namespace workbench {

constexpr std::size_t KEYS = CHUNK;  // of a block
constexpr std::size_t MOST_SIZE = 256;
constexpr double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;

template <class Number>
inline Number* at(const WorkbenchView& view, std::size_t b, std::size_t head, std::size_t place) {
    return static_cast<Number*>(view.data) + static_cast<std::int64_t>(b) * view.batch +
           static_cast<std::int64_t>(head) * view.head + static_cast<std::int64_t>(place) * view.place;
}

// Numbers that begin undefined.
template <class Number>
class Room {
  public:
    void resize(std::size_t count) {
        memory.reset(static_cast<Number*>(
            ::operator new(std::max<std::size_t>(count, 1) * sizeof(Number), std::align_val_t{64})));
    }
    Number* data() const { return memory.get(); }

  private:
    struct Free {
        void operator()(Number* numbers) const { ::operator delete(numbers, std::align_val_t{64}); }
    };
    std::unique_ptr<Number, Free> memory;
};

struct Geometry {
    explicit Geometry(const WorkbenchSharedPrefix& call)
        : B(call.batch),
          KV(call.kv_heads),
          G(call.heads / call.kv_heads),
          S(call.queries),
          P(call.prefix),
          T(call.own),
          d(call.size),
          columns(round_up(d, 2 * WIDTH)),
          rows(B * S * G),
          starts(call.starts),
          ends(call.ends) {}

    struct Place {
        std::size_t b, s, g;
    };
    Place place(std::size_t row) const { return {row / (S * G), row / G % S, row % G}; }

    // Own keys that a query sees: from `first` up to, not including, `last`.
    struct Seen {
        std::int32_t first, last;
    };
    Seen seen(const Place& at) const {
        std::int64_t first = 0, last = static_cast<std::int64_t>(T - S + at.s + 1);
        if (starts != nullptr) first = std::clamp<std::int64_t>(starts[at.b], 0, T);
        if (ends != nullptr) last = std::min(last, std::max<std::int64_t>(ends[at.b], 0));
        return {static_cast<std::int32_t>(first), static_cast<std::int32_t>(std::max(first, last))};
    }

    std::size_t B, KV, G, S, P, T, d, columns, rows;
    const std::int64_t *starts, *ends;
};

// A row as what is multiplied, zeros behind its end up to `columns`.
template <class Number>
inline void pack_row(const Number* from, std::size_t d, std::size_t columns,
                     typename Arithmetic<Number>::Activation* to) {
    using Activation = typename Arithmetic<Number>::Activation;
    if constexpr (std::is_same_v<Number, Activation>)
        std::memcpy(to, from, d * sizeof(Number));
    else
        for (std::size_t i = 0; i < d; i += WIDTH) store(to + i, load(from + i));
    std::memset(static_cast<void*>(to + d), 0, (columns - d) * sizeof(Activation));
}

// Addresses of up to KEYS rows of keys or values, those behind `count` being zeros.
template <class Number>
struct KeyRows {
    KeyRows(const WorkbenchView& view, std::size_t b, std::size_t head, std::size_t first,
            std::size_t count) {
        for (std::size_t i = 0; i < KEYS; ++i)
            rows[i] = i < count ? at<const Number>(view, b, head, first + i) : zeros;
    }
    alignas(64) static constexpr Number zeros[MOST_SIZE] = {};
    const Number* rows[KEYS];
};

// Scores outside [first, last) of a row become −∞.
inline void hide(float* scores, std::int32_t first, std::int32_t last, std::size_t columns) {
    for (std::size_t i = 0; i < columns; ++i)
        if (static_cast<std::int32_t>(i) < first || static_cast<std::int32_t>(i) >= last)
            scores[i] = -INFINITY;
}

}  // namespace workbench
