// Shared-prefix attention, backward: five products for each block of rows and keys (Dao 2023,
// FlashAttention-2, algorithm 2), weights recomputed from the log-sum-exp.
//
// The rows of a key/value head are cut into N parts and the prefix into N ranges. In phase t part r meets
// range (r + t) mod N: no two tasks of a phase write the same gradient, each is added to in the order of the
// phases, and no thread needs sums of its own. N depends on the shape alone, so that the number of threads
// changes no bit. The own keys are done before, in the same way, N mostly 1. Sums over rows are taken in
// registers (96 rows), then in the cache (384), then in memory: long ones err little.
#pragma once

#include "pool.h"
#include "shared_prefix.h"

namespace workbench {

template <class Number>
class SharedPrefixBackward final : public Job {
    using A = Arithmetic<Number>;
    using Activation = typename A::Activation;

    static constexpr std::size_t MOST_ROWS = 384, GROUP = 96;
    static constexpr bool IS_PAIRED = A::PAIR > 1;
    static constexpr bool IS_EXACT = std::is_same_v<Number, float>;  // gradients are summed where they go

  public:
    SharedPrefixBackward(const WorkbenchSharedPrefix& call_, double scale_, std::size_t threads)
        : call(call_), n(call_), scale(static_cast<float>(scale_)), factor(static_cast<float>(scale_ * LOG2_E)) {
        own_rows = n.S * n.G;
        own_parts = n.B * n.KV >= 16 ? 1 : power_below({16 / (n.B * n.KV), n.T / KEYS, own_rows / 48});
        prefix_parts = power_below({2 * round_up(16, n.KV) / n.KV, n.P / 32, n.rows / GROUP});
        if (!IS_EXACT) {
            query_sums.resize(n.KV * n.rows * n.d);
            prefix_sums.resize(prefix_parts > 1 || n.rows > MOST_ROWS ? 2 * n.KV * n.P * n.d : 0);
            own_sums.resize(own_parts > 1 || own_rows > MOST_ROWS ? 2 * n.B * n.KV * n.T * n.d : 0);
        }
        scratch = std::make_unique<Scratch[]>(threads);
        for (std::size_t thread = 0; thread < threads; ++thread)
            scratch[thread].resize(std::min(MOST_ROWS, round_up(n.rows, 2)), n);
    }

    std::size_t phases() const override { return own_parts + prefix_parts; }

    std::size_t tasks(std::size_t phase) const override {
        return n.KV * (phase < own_parts ? n.B * own_parts : prefix_parts);
    }

    void run(std::size_t phase, std::size_t task, std::size_t thread) override {
        Meeting meeting;
        if (phase < own_parts) {
            const std::size_t part = task % own_parts, range = (part + phase) % own_parts;
            meeting.b = task / own_parts % n.B;
            meeting.kv = task / own_parts / n.B;
            const std::size_t start = meeting.b * own_rows;
            meeting.first_row = start + bound(own_rows, part, own_parts, 1);
            meeting.last_row = start + bound(own_rows, part + 1, own_parts, 1);
            meeting.first_key = bound(n.T, range, own_parts, KEYS);
            meeting.last_key = bound(n.T, range + 1, own_parts, KEYS);
            meeting.is_own = true;
            meeting.is_first = meeting.is_first_of_rows = phase == 0;
            meeting.is_last = phase + 1 == own_parts;
            meeting.is_last_of_rows = false;
        } else {
            phase -= own_parts;
            const std::size_t part = task % prefix_parts, range = (part + phase) % prefix_parts;
            meeting.b = 0;
            meeting.kv = task / prefix_parts;
            meeting.first_row = bound(n.rows, part, prefix_parts, 1);
            meeting.last_row = bound(n.rows, part + 1, prefix_parts, 1);
            meeting.first_key = bound(n.P, range, prefix_parts, 32);
            meeting.last_key = bound(n.P, range + 1, prefix_parts, 32);
            meeting.is_own = false;
            meeting.is_first = phase == 0;
            meeting.is_first_of_rows = false;
            meeting.is_last = meeting.is_last_of_rows = phase + 1 == prefix_parts;
        }
        meet(scratch[thread], meeting);
    }

  private:
    struct Scratch {
        void resize(std::size_t rows, const Geometry& n) {
            queries.resize(rows * n.columns);
            grads.resize(rows * n.columns);
            if (IS_PAIRED) {
                query_panel.resize(rows * n.columns);
                grad_panel.resize(rows * n.columns);
            }
            of_queries.resize(rows * n.columns);
            lse.resize(rows);
            lse_rest.resize(rows);
            mean.resize(rows);
            seen.resize(rows);
            keys.resize(KEYS * n.columns);
            values.resize(KEYS * n.columns);
            key_rows.resize(KEYS * n.columns);
            of_keys.resize(KEYS * n.columns);
            of_values.resize(KEYS * n.columns);
            for (Room<Activation>* each : {&weights, &changes, &weight_panel, &change_panel})
                each->resize(GROUP * KEYS);
        }
        // Rows as they are and, for pairs, as the right matrix of a product over rows.
        Room<Activation> queries, grads, query_panel, grad_panel;
        // The log-sum-exp to the base of two in two parts (rounded to one it would cost as much accuracy as
        // all else); mean is ⟨dO, O⟩.
        Room<float> of_queries, lse, lse_rest, mean;
        Room<Geometry::Seen> seen;
        Room<Activation> keys, values, key_rows;  // of a block: both transposed, keys as they are
        Room<float> of_keys, of_values;
        Room<Activation> weights, changes, weight_panel, change_panel;  // P and dS of a group of rows
    };

    // Rows and keys that meet in a task; whether what it adds to is begun and ended by it.
    struct Meeting {
        std::size_t kv, b, first_row, last_row, first_key, last_key;
        bool is_own, is_first, is_last, is_first_of_rows, is_last_of_rows;
    };

    static std::size_t power_below(std::initializer_list<std::size_t> limits) {
        const std::size_t most = std::min(limits);
        std::size_t power = 1;
        while (power * 2 <= most) power *= 2;
        return power;
    }

    static std::size_t bound(std::size_t count, std::size_t part, std::size_t parts, std::size_t unit) {
        return std::min(count, (count + unit - 1) / unit * part / parts * unit);
    }

    void meet(Scratch& room, const Meeting& with) {
        const std::size_t rows = with.last_row - with.first_row;
        const std::size_t chunks = std::max<std::size_t>((rows + MOST_ROWS - 1) / MOST_ROWS, 1);
        const std::size_t chunk = round_up((rows + chunks - 1) / chunks, TILE_ROWS);
        for (std::size_t c = 0; c < chunks; ++c) {
            const std::size_t first = with.first_row + std::min(rows, c * chunk);
            const std::size_t count = std::min(chunk, with.last_row - first);
            begin(room, with.kv, first, count);
            for (std::size_t key = with.first_key; key < with.last_key; key += KEYS) {
                const std::size_t keys = std::min(KEYS, with.last_key - key);
                std::fill_n(room.of_keys.data(), KEYS * n.columns, 0.0f);
                std::fill_n(room.of_values.data(), KEYS * n.columns, 0.0f);
                if (!with.is_own) {
                    pack(room, call.prefix_key, call.prefix_value, 0, with.kv, key, keys);
                    add_rows(room, 0, count, keys, key, false);
                } else if (count > 0) {
                    add_own(room, with, first, count, key, keys);
                }
                for (std::size_t i = 0; i < keys; ++i)
                    end_key(room, with, i, key + i, with.is_first && c == 0, with.is_last && c + 1 == chunks);
            }
            for (std::size_t i = 0; i < count; ++i) end_row(room, with, i, first + i);
        }
    }

    void begin(Scratch& room, std::size_t kv, std::size_t first, std::size_t count) const {
        for (std::size_t i = 0; i < count; ++i) {
            const Geometry::Place place = n.place(first + i);
            const std::size_t head = kv * n.G + place.g;
            const Number* grad = at<const Number>(call.grad, place.b, head, place.s);
            const Number* output = at<const Number>(call.output, place.b, head, place.s);
            pack_row(at<const Number>(call.query, place.b, head, place.s), n.d, n.columns,
                     room.queries.data() + i * n.columns);
            pack_row(grad, n.d, n.columns, room.grads.data() + i * n.columns);
            Vec mean = {};
            for (std::size_t k = 0; k < n.d; k += WIDTH) mean += load(grad + k) * load(output + k);
            room.mean.data()[i] = sum(mean);
            const double lse = *at<const float>(call.lse, place.b, head, place.s) * LOG2_E;
            room.lse.data()[i] = static_cast<float>(lse);
            room.lse_rest.data()[i] = static_cast<float>(lse - room.lse.data()[i]);
            room.seen.data()[i] = n.seen(place);
        }
        std::fill_n(room.of_queries.data(), count * n.columns, 0.0f);
        if constexpr (IS_PAIRED) {
            interleave(room.queries.data(), count, n.columns, room.query_panel.data());
            interleave(room.grads.data(), count, n.columns, room.grad_panel.data());
        }
    }

    // Rows [count, columns] to [count / 2][columns][2]; the partner of the last of an odd number is zero.
    static void interleave(const Activation* from, std::size_t count, std::size_t columns, Activation* to) {
        static constexpr Activation zeros[MOST_SIZE] = {};
        for (std::size_t i = 0; i < count; i += 2) {
            const Activation* pair[2] = {from + i * columns, i + 1 < count ? from + (i + 1) * columns : zeros};
            pack_values(pair, 2, columns, columns, to + i * columns);
        }
    }

    void pack(Scratch& room, const WorkbenchView& keys, const WorkbenchView& values, std::size_t b,
              std::size_t kv, std::size_t first, std::size_t count) const {
        const KeyRows<Number> key(keys, b, kv, first, count), value(values, b, kv, first, count);
        pack_keys(key.rows, round_up(count, PANEL_STEP), n.d, room.keys.data());
        pack_keys(value.rows, round_up(count, PANEL_STEP), n.d, room.values.data());
        pack_values(key.rows, count, n.d, n.columns, room.key_rows.data());
    }

    void add_own(Scratch& room, const Meeting& with, std::size_t first, std::size_t count, std::size_t key,
                 std::size_t keys) const {
        const Geometry::Seen most = room.seen.data()[count - 1];
        if (static_cast<std::size_t>(most.first) >= key + keys || static_cast<std::size_t>(most.last) <= key)
            return;
        // Rows before those of the first query that the block's first key is not after see none of it.
        const std::size_t earliest = key > n.T - n.S ? (key - (n.T - n.S)) * n.G : 0;
        const std::size_t here = first - with.b * own_rows;
        const std::size_t begin = earliest > here ? (earliest - here) / 2 * 2 : 0;
        if (begin >= count) return;
        pack(room, call.key, call.value, with.b, with.kv, key, keys);
        add_rows(room, begin, count, keys, key, true);
    }

    // Rows [begin, end) of the chunk, begin even, and a block of keys.
    void add_rows(Scratch& room, std::size_t begin, std::size_t end, std::size_t count, std::size_t start,
                  bool is_own) const {
        for (std::size_t first = begin; first < end; first += GROUP) {
            const std::size_t rows = std::min(GROUP, end - first);
            for (std::size_t i = 0; i < rows; i += TILE_ROWS)
                weigh_tile(room, first + i, i, std::min(TILE_ROWS, rows - i), count, start, is_own);
            const Activation *weights = room.weights.data(), *changes = room.changes.data();
            const Activation *queries = room.queries.data(), *grads = room.grads.data();
            if constexpr (IS_PAIRED) {
                interleave(weights, rows, KEYS, room.weight_panel.data());
                interleave(changes, rows, KEYS, room.change_panel.data());
                weights = room.weight_panel.data();
                changes = room.change_panel.data();
                queries = room.query_panel.data();
                grads = room.grad_panel.data();
            }
            const std::size_t depth = (rows + A::PAIR - 1) / A::PAIR;
            multiply_halves<Number, Left::COLUMNS, Start::ADD>(
                count, weights, KEYS * A::PAIR, grads + first * n.columns, n.columns * A::PAIR, depth,
                room.of_values.data(), n.columns, n.columns);
            multiply_halves<Number, Left::COLUMNS, Start::ADD>(
                count, changes, KEYS * A::PAIR, queries + first * n.columns, n.columns * A::PAIR, depth,
                room.of_keys.data(), n.columns, n.columns);
        }
    }

    // P and dS of a few rows and a block of keys, and what they add to dQ; `i` counts in the chunk, `to` in
    // the group.
    void weigh_tile(Scratch& room, std::size_t i, std::size_t to, std::size_t rows, std::size_t count,
                    std::size_t start, bool is_own) const {
        Activation *weights = room.weights.data() + to * KEYS, *changes = room.changes.data() + to * KEYS;
        const Geometry::Seen* seen = room.seen.data() + i;
        std::size_t last = count;
        if (is_own) {
            const auto furthest = static_cast<std::size_t>(seen[rows - 1].last);
            last = furthest <= start ? 0 : std::min(count, furthest - start);
        }
        const std::size_t columns = round_up(last, PANEL_STEP);
        alignas(64) float scores[TILE_ROWS * KEYS], slopes[TILE_ROWS * KEYS];
        if (last > 0) {
            multiply_halves<Number, Left::ROWS, Start::ZERO>(
                rows, room.queries.data() + i * n.columns, n.columns, room.keys.data(), KEYS * A::PAIR,
                n.d / A::PAIR, scores, KEYS, columns);
            multiply_halves<Number, Left::ROWS, Start::ZERO>(
                rows, room.grads.data() + i * n.columns, n.columns, room.values.data(), KEYS * A::PAIR,
                n.d / A::PAIR, slopes, KEYS, columns);
        }
        for (std::size_t r = 0; r < rows; ++r) {
            float* row = scores + r * KEYS;
            const auto from = static_cast<std::int32_t>(start);
            if (is_own)
                hide(row, seen[r].first - from, std::min<std::int32_t>(seen[r].last - from, last), columns);
            else if (last < columns)
                hide(row, 0, last, columns);
            const float lse = room.lse.data()[i + r], rest = room.lse_rest.data()[i + r];
            const float mean = room.mean.data()[i + r];
            std::size_t k = 0;
            for (; k < columns; k += WIDTH) {
                const Vec weight = power_of_two((load(row + k) * factor - lse) - rest);
                const Vec slope = load(slopes + r * KEYS + k);
                store(weights + r * KEYS + k, weight);
                store(changes + r * KEYS + k, weight * scale * (slope - mean));
            }
            std::memset(static_cast<void*>(weights + r * KEYS + k), 0, (KEYS - k) * sizeof(Activation));
            std::memset(static_cast<void*>(changes + r * KEYS + k), 0, (KEYS - k) * sizeof(Activation));
        }
        if (last > 0)
            multiply_rows<Number, Left::ROWS, Start::ADD>(
                rows, changes, KEYS, room.key_rows.data(), n.columns * A::PAIR,
                (last + A::PAIR - 1) / A::PAIR, room.of_queries.data() + i * n.columns, n.columns, n.columns);
    }

    // Adds a row of d numbers to sums in memory and, at the end, gives the gradient.
    void add(const float* from, float* sums, Number* gradient, bool is_first, bool is_last) const {
        if constexpr (IS_EXACT) sums = gradient;
        for (std::size_t k = 0; k < n.d; k += WIDTH) {
            const Vec value = is_first ? load(from + k) : load(from + k) + load(sums + k);
            if (is_last)
                store(gradient + k, value);
            else
                store(sums + k, value);
        }
    }

    void end_row(const Scratch& room, const Meeting& with, std::size_t i, std::size_t row) const {
        const Geometry::Place place = n.place(row);
        add(room.of_queries.data() + i * n.columns, query_sums.data() + (with.kv * n.rows + row) * n.d,
            at<Number>(call.of_query, place.b, with.kv * n.G + place.g, place.s), with.is_first_of_rows,
            with.is_last_of_rows);
    }

    void end_key(const Scratch& room, const Meeting& with, std::size_t i, std::size_t key, bool is_first,
                 bool is_last) const {
        const WorkbenchView& of_key = with.is_own ? call.of_key : call.of_prefix_key;
        const WorkbenchView& of_value = with.is_own ? call.of_value : call.of_prefix_value;
        const std::size_t place = ((with.is_own ? with.b * n.KV : 0) + with.kv) * (with.is_own ? n.T : n.P) + key;
        float* sums = (with.is_own ? own_sums : prefix_sums).data() + place * 2 * n.d;
        add(room.of_keys.data() + i * n.columns, sums, at<Number>(of_key, with.b, with.kv, key), is_first,
            is_last);
        add(room.of_values.data() + i * n.columns, sums + n.d, at<Number>(of_value, with.b, with.kv, key),
            is_first, is_last);
    }

    const WorkbenchSharedPrefix& call;
    const Geometry n;
    const float scale, factor;
    std::size_t own_rows, own_parts, prefix_parts;
    Room<float> query_sums, prefix_sums, own_sums;  // in fp32, where the gradients are of another type
    std::unique_ptr<Scratch[]> scratch;
};

}  // namespace workbench
