// Shared-prefix attention: output and log-sum-exp, under one online softmax (Milakov and Gimelshein 2018).
//
// Many rows are cut into chunks; a chunk goes through the prefix, whose blocks are packed once for all its
// rows, and then through the own keys of the rows of the batch that it has. Few rows (decoding) are not cut:
// the keys are, and the partial results are merged. Which of the two, and where it is cut, depends on the
// shape alone, so that the number of threads changes no bit.
#pragma once

#include "pool.h"
#include "shared_prefix.h"

namespace workbench {

template <class Number>
class SharedPrefixForward final : public Job {
    using A = Arithmetic<Number>;
    using Activation = typename A::Activation;

    static constexpr std::size_t FEW = 192;  // rows of a key/value head, up to which the keys are cut
    static constexpr std::size_t PREFIX_PART = 256, OWN_PART = 1024;
    static constexpr std::size_t MOST_ROWS = 384;  // of a chunk: 100 KiB of queries, as many of sums
    static constexpr float LOWEST = -3e38f;

  public:
    SharedPrefixForward(const WorkbenchSharedPrefix& call_, double scale, std::size_t threads)
        : call(call_), n(call_), factor(static_cast<float>(scale * LOG2_E)), is_cut(n.rows <= FEW) {
        if (is_cut) {
            chunk = n.rows;
            prefix_parts = (n.P + PREFIX_PART - 1) / PREFIX_PART;
            own_parts = (n.T + OWN_PART - 1) / OWN_PART;
            partials.resize(n.KV * (prefix_parts + own_parts) * n.rows * (n.columns + 2));
        } else {
            const std::size_t wanted = round_up(n.rows * n.KV / 24, TILE_ROWS);
            chunk = std::clamp<std::size_t>(wanted, 48, MOST_ROWS);
            chunk = round_up((n.rows + (n.rows + chunk - 1) / chunk - 1) / ((n.rows + chunk - 1) / chunk), 6);
            chunks = (n.rows + chunk - 1) / chunk;
        }
        scratch = std::make_unique<Scratch[]>(threads);
        for (std::size_t thread = 0; thread < threads; ++thread) scratch[thread].resize(chunk, n);
    }

    std::size_t phases() const override { return is_cut ? 2 : 1; }

    std::size_t tasks(std::size_t phase) const override {
        if (!is_cut) return n.KV * chunks;
        return n.KV * (phase == 0 ? prefix_parts + n.B * own_parts : n.B);
    }

    void run(std::size_t phase, std::size_t task, std::size_t thread) override {
        Scratch& room = scratch[thread];
        if (!is_cut) {
            const std::size_t kv = task / chunks, first = task % chunks * chunk;
            const std::size_t count = std::min(chunk, n.rows - first);
            begin(room, kv, first, count);
            attend_prefix(room, kv, 0, n.P);
            for (std::size_t b = n.place(first).b; b <= n.place(first + count - 1).b; ++b)
                attend_own(room, kv, b, 0, n.T);
            for (std::size_t i = 0; i < count; ++i)
                finish(kv, first + i, room.sums.data() + i * n.columns, room.most.data()[i],
                       sum(load(room.total.data() + i * WIDTH)));
        } else if (phase == 0) {
            if (task < n.KV * prefix_parts) {
                const std::size_t kv = task / prefix_parts, part = task % prefix_parts;
                begin(room, kv, 0, n.rows);
                attend_prefix(room, kv, part * PREFIX_PART, std::min(n.P, (part + 1) * PREFIX_PART));
                keep(room, kv, part);
            } else {
                task -= n.KV * prefix_parts;
                const std::size_t part = task % own_parts, b = task / own_parts % n.B,
                                  kv = task / own_parts / n.B;
                begin(room, kv, b * n.S * n.G, n.S * n.G);
                attend_own(room, kv, b, part * OWN_PART, std::min(n.T, (part + 1) * OWN_PART));
                keep(room, kv, prefix_parts + part);
            }
        } else {
            const std::size_t kv = task / n.B, b = task % n.B;
            for (std::size_t i = 0; i < n.S * n.G; ++i) merge_row(kv, b * n.S * n.G + i, room.sums.data());
        }
    }

  private:
    struct Scratch {
        void resize(std::size_t rows, const Geometry& n) {
            queries.resize(rows * n.columns);
            sums.resize(rows * n.columns);
            total.resize(rows * WIDTH);
            most.resize(rows);
            seen.resize(rows);
            keys.resize(KEYS * n.columns);
            values.resize(KEYS * n.columns);
        }
        std::size_t first, count;  // rows
        Room<Activation> queries, keys, values;
        Room<float> sums, total, most;  // of the rows so far: unnormalised values, sum in lanes, maximum
        Room<Geometry::Seen> seen;
    };

    void begin(Scratch& room, std::size_t kv, std::size_t first, std::size_t count) const {
        room.first = first;
        room.count = count;
        for (std::size_t i = 0; i < count; ++i) {
            const Geometry::Place place = n.place(first + i);
            pack_row(at<const Number>(call.query, place.b, kv * n.G + place.g, place.s), n.d, n.columns,
                     room.queries.data() + i * n.columns);
            room.seen.data()[i] = n.seen(place);
            room.most.data()[i] = LOWEST;
        }
        std::fill_n(room.sums.data(), count * n.columns, 0.0f);
        std::fill_n(room.total.data(), count * WIDTH, 0.0f);
    }

    void pack(Scratch& room, const WorkbenchView& keys, const WorkbenchView& values, std::size_t b,
              std::size_t kv, std::size_t first, std::size_t count) const {
        const KeyRows<Number> key(keys, b, kv, first, count), value(values, b, kv, first, count);
        pack_keys(key.rows, round_up(count, PANEL_STEP), n.d, room.keys.data());
        pack_values(value.rows, count, n.d, n.columns, room.values.data());
    }

    void attend_prefix(Scratch& room, std::size_t kv, std::size_t first, std::size_t last) const {
        for (std::size_t p = first; p < last; p += KEYS) {
            const std::size_t count = std::min(KEYS, last - p);
            pack(room, call.prefix_key, call.prefix_value, 0, kv, p, count);
            for (std::size_t i = 0; i < room.count; i += TILE_ROWS)
                attend_tile(room, i, std::min(TILE_ROWS, room.count - i), count, 0, false);
        }
    }

    // Own keys [first, last) of the batch's row b, for those of the chunk's rows that are of b.
    void attend_own(Scratch& room, std::size_t kv, std::size_t b, std::size_t first, std::size_t last) const {
        const std::size_t start = b * n.S * n.G, end = start + n.S * n.G;
        const std::size_t begin = start > room.first ? start - room.first : 0;
        const std::size_t stop = std::min(room.count, end - room.first);
        const Geometry::Seen most = room.seen.data()[stop - 1];
        first = std::max(first, static_cast<std::size_t>(most.first) / KEYS * KEYS);
        last = std::min(last, static_cast<std::size_t>(most.last));
        for (std::size_t t = first; t < last; t += KEYS) {
            const std::size_t count = std::min(KEYS, last - t);
            pack(room, call.key, call.value, b, kv, t, count);
            for (std::size_t i = begin; i < stop; i += TILE_ROWS)
                attend_tile(room, i, std::min(TILE_ROWS, stop - i), count, t, true);
        }
    }

    void attend_tile(Scratch& room, std::size_t i, std::size_t rows, std::size_t count, std::size_t start,
                     bool is_own) const {
        std::size_t last = count;
        const Geometry::Seen* seen = room.seen.data() + i;
        if (is_own) {
            const auto furthest = static_cast<std::size_t>(seen[rows - 1].last);
            if (furthest <= start) return;
            last = std::min(count, furthest - start);
        }
        const std::size_t columns = round_up(last, PANEL_STEP);
        alignas(64) float scores[TILE_ROWS * KEYS], factors[TILE_ROWS];
        alignas(64) Activation weights[TILE_ROWS * KEYS];
        multiply_halves<Number, Left::ROWS, Start::ZERO>(
            rows, room.queries.data() + i * n.columns, n.columns, room.keys.data(), KEYS * A::PAIR,
            n.d / A::PAIR, scores, KEYS, columns);
        for (std::size_t r = 0; r < rows; ++r) {
            float* row = scores + r * KEYS;
            if (is_own) {
                const auto from = static_cast<std::int32_t>(start);
                hide(row, seen[r].first - from, std::min<std::int32_t>(seen[r].last - from, last), columns);
            } else if (last < columns) {
                hide(row, 0, last, columns);
            }
            soften(row, columns, weights + r * KEYS, room.most.data()[i + r],
                   room.total.data() + (i + r) * WIDTH, factors[r]);
        }
        multiply_rows<Number, Left::ROWS, Start::SCALED>(
            rows, weights, KEYS, room.values.data(), n.columns * A::PAIR, (last + A::PAIR - 1) / A::PAIR,
            room.sums.data() + i * n.columns, n.columns, n.columns, factors);
    }

    // Scores to weights under the largest so far; `change` is what the sums so far are to be multiplied by.
    void soften(const float* scores, std::size_t columns, Activation* weights, float& most, float* total,
                float& change) const {
        Vec top = load(scores);
        for (std::size_t i = WIDTH; i < columns; i += WIDTH) top = larger(top, load(scores + i));
        const float before = most;
        const float now = maximum(top) * factor;
        most = now > before ? now : before;
        const Vec changes = power_of_two(broadcast(before - most));
        change = changes[0];
        Vec added = load(total) * change;
        for (std::size_t i = 0; i < columns; i += WIDTH) {
            const Vec weight = power_of_two(load(scores + i) * factor - most);
            added += weight;
            store(weights + i, weight);
        }
        store(total, added);
    }

    float* partial(std::size_t kv, std::size_t part, std::size_t row) const {
        return partials.data() + ((kv * (prefix_parts + own_parts) + part) * n.rows + row) * (n.columns + 2);
    }

    void keep(const Scratch& room, std::size_t kv, std::size_t part) const {
        for (std::size_t i = 0; i < room.count; ++i) {
            float* to = partial(kv, part, room.first + i);
            std::memcpy(to, room.sums.data() + i * n.columns, n.columns * sizeof(float));
            to[n.columns] = room.most.data()[i];
            to[n.columns + 1] = sum(load(room.total.data() + i * WIDTH));
        }
    }

    void merge_row(std::size_t kv, std::size_t row, float* sums) const {
        const std::size_t parts = prefix_parts + own_parts;
        float most = LOWEST, total = 0;
        for (std::size_t part = 0; part < parts; ++part)
            most = std::max(most, partial(kv, part, row)[n.columns]);
        std::fill_n(sums, n.columns, 0.0f);
        for (std::size_t part = 0; part < parts; ++part) {
            const float* from = partial(kv, part, row);
            const float weight = power_of_two(broadcast(from[n.columns] - most))[0];
            total += from[n.columns + 1] * weight;
            for (std::size_t i = 0; i < n.columns; i += WIDTH)
                store(sums + i, load(sums + i) + load(from + i) * weight);
        }
        finish(kv, row, sums, most, total);
    }

    void finish(std::size_t kv, std::size_t row, const float* sums, float most, float total) const {
        const Geometry::Place place = n.place(row);
        const std::size_t head = kv * n.G + place.g;
        Number* to = at<Number>(call.output, place.b, head, place.s);
        for (std::size_t i = 0; i < n.d; i += WIDTH) store(to + i, load(sums + i) / total);
        *at<float>(call.lse, place.b, head, place.s) =
            static_cast<float>((most + std::log2(static_cast<double>(total))) * LN_2);
    }

    const WorkbenchSharedPrefix& call;
    const Geometry n;
    const float factor;
    const bool is_cut;
    std::size_t chunk = 0, chunks = 1, prefix_parts = 0, own_parts = 0;
    Room<float> partials;
    std::unique_ptr<Scratch[]> scratch;
};

}  // namespace workbench
