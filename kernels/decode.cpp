// One decode step of a Llama-shaped decoder: one new token for each row of a batch.
//
// Shapes: B rows of the batch, V vocabulary, D hidden size, H query heads and KV key/value heads of size hd,
// F intermediate size. Weights are row-major [out, in], bf16 or fp32, and stay where PyTorch has them;
// activations are fp32, rounded to bf16 only where the dot-product instruction takes bf16.
// Bound for one row by memory (SmolLM2-135M in bf16: 270 MB a token), for many by arithmetic.

#include <algorithm>
#include <memory>
#include <new>
#include <unordered_map>

#include "cpu/attention.h"
#include "cpu/lanes.h"
#include "cpu/pool.h"
#include "cpu/products.h"

extern "C" {

// Norms, biases and tables are fp32; embedding, matrices, keys and values are of the weights' type.
struct WorkbenchLayer {
    const float *input_norm, *post_norm, *q_norm, *k_norm, *qkv_bias, *output_bias;  // the last four may be null
    const void *qkv, *output, *gate_up, *down;
};

struct WorkbenchShape {
    std::int64_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary, is_bf16;
    double eps, scaling;
    const void *embedding, *head;
    const float *norm, *cos, *sin;
};

// One segment of a row's keys and values; strides in numbers.
struct WorkbenchSegment {
    const void *keys, *values;
    std::int64_t key_layer, key_head, key_position, value_layer, value_head, value_position, length;
};
}

namespace workbench {
namespace {

// Memory aligned to cache lines, zero at first.
template <class Number>
class Buffer {
  public:
    void resize(std::size_t count) {
        const std::size_t bytes = round_up(std::max<std::size_t>(count, 1) * sizeof(Number), 64);
        memory.reset(static_cast<Number*>(::operator new(bytes, std::align_val_t{64})));
        std::memset(static_cast<void*>(memory.get()), 0, bytes);
    }
    Number* data() const { return memory.get(); }

  private:
    struct Free {
        void operator()(Number* numbers) const { ::operator delete(numbers, std::align_val_t{64}); }
    };
    std::unique_ptr<Number, Free> memory;
};

// The tasks of a phase, as bounds in a list of items of some cost each: large ones first, for long streams
// from memory, small ones last, so that the threads end together.
class Schedule {
  public:
    template <class Cost>
    void plan(std::size_t items, std::size_t threads, std::size_t least, Cost cost) {
        bounds.assign(1, 0);
        std::size_t left = 0;
        for (std::size_t i = 0; i < items; ++i) left += cost(i);
        for (std::size_t i = 0; i < items;) {
            const std::size_t share = std::max(threads > 1 ? left / (2 * threads) : left, least);
            for (std::size_t taken = 0; i < items && (taken == 0 || taken + cost(i) <= share); ++i) {
                taken += cost(i);
                left -= cost(i);
            }
            bounds.push_back(i);
        }
    }
    void plan(std::size_t items, std::size_t threads, std::size_t least) {
        plan(items, threads, least, [](std::size_t) { return std::size_t{1}; });
    }
    std::size_t tasks() const { return bounds.size() - 1; }
    std::size_t begin(std::size_t task) const { return bounds[task]; }
    std::size_t end(std::size_t task) const { return bounds[task + 1]; }

  private:
    std::vector<std::size_t> bounds{0};
};

// Adds a block of products to fp32 rows.
inline void add_block(const float* block, std::size_t batch, std::size_t count, float* to, std::size_t stride) {
    for (std::size_t b = 0; b < batch; ++b, block += BLOCK, to += stride)
        if (count == BLOCK)
            for (std::size_t r = 0; r < BLOCK; r += WIDTH) store(to + r, load(to + r) + load(block + r));
        else
            for (std::size_t r = 0; r < count; ++r) to[r] += block[r];
}

inline void add_bias(float* block, std::size_t batch, std::size_t count, const float* bias) {
    for (std::size_t b = 0; b < batch; ++b, block += BLOCK)
        for (std::size_t r = 0; r < count; ++r) block[r] += bias[r];
}

// 1 / root mean square of `count` numbers, which are zero from there to a multiple of WIDTH.
inline float inverse_rms(const float* x, std::size_t count, float eps) {
    Vec squares = {};
    for (std::size_t i = 0; i < count; i += WIDTH) squares = load(x + i) * load(x + i) + squares;
    return 1 / std::sqrt(sum(squares) / static_cast<float>(count) + eps);
}

class Step {
  public:
    virtual ~Step() = default;
    virtual int run(std::size_t batch, const std::int64_t* tokens, const std::int64_t* row_ends,
                    const WorkbenchSegment* segments, float* logits, std::size_t threads) = 0;
};

template <class Weight>
class Decoder final : public Step, private Job {
    using A = Arithmetic<Weight>;
    using Activation = typename A::Activation;

  public:
    Decoder(const WorkbenchShape& shape_, const WorkbenchLayer* layers_)
        : shape(shape_),
          layers(layers_, layers_ + shape_.layers),
          D(shape.hidden),
          H(shape.heads),
          KV(shape.kv_heads),
          hd(shape.head_dim),
          F(shape.intermediate),
          V(shape.vocabulary),
          qkv_rows((H + 2 * KV) * hd),
          columns(round_up(hd, std::max(PANEL_STEP, A::STEP))),
          // Strides of the activations of one row; a vector may be read behind the last number.
          hidden_stride(round_up(D, 64)),
          qkv_stride(round_up(qkv_rows, 64)),
          attended_stride(round_up(H * hd, 64)),
          gated_stride(round_up(F, 64)) {
        zeros.resize(columns);
        for (const WorkbenchLayer& layer : layers) {
            norms.emplace_back(padded(layer.input_norm, D));
            norms.emplace_back(padded(layer.post_norm, D));
        }
        norms.emplace_back(padded(shape.norm, D));
    }

    int run(std::size_t batch, const std::int64_t* tokens, const std::int64_t* row_ends,
            const WorkbenchSegment* segments_, float* logits_, std::size_t threads) override {
        for (std::size_t b = 0; b < batch; ++b)
            if (tokens[b] < 0 || static_cast<std::size_t>(tokens[b]) >= V) return 1;
        SharedPool::with(threads, [&](Pool& pool) {
            B = batch;
            logits = logits_;
            segments = segments_;
            row_end = row_ends;
            make_room(threads);
            plan_attention(threads);
            plan_products(threads);
            for (std::size_t b = 0; b < B; ++b) {
                const Weight* from = static_cast<const Weight*>(shape.embedding) + static_cast<std::size_t>(tokens[b]) * D;
                for (std::size_t i = 0; i < D; ++i) residual.data()[b * hidden_stride + i] = to_float(from[i]);
            }
            pool.execute(*this);
        });
        return 0;
    }

  private:
    enum Kind : std::size_t {
        INPUT_NORM, QKV, ROTATE, ATTEND, MERGE, OUTPUT, POST_NORM, GATE_UP, DOWN, KINDS, LAST_NORM = KINDS, HEAD
    };

    // Keys and values of up to CHUNK consecutive positions, and the rows that have these very ones.
    struct Piece {
        std::size_t chunk, count;
        std::size_t first_row, row_count;  // in piece_rows
    };

    struct RowPlan {
        std::size_t length;         // with the new token
        std::size_t chunks;
        std::size_t first_partial;  // of its partial results, those of one head after those of another
    };

    static Buffer<float> padded(const float* from, std::size_t count) {
        Buffer<float> buffer;
        buffer.resize(round_up(count, 64));
        std::copy(from, from + count, buffer.data());
        return buffer;
    }

    std::size_t phases() const override { return layers.size() * KINDS + 2; }

    Kind kind_of(std::size_t phase) const {
        const std::size_t in_layers = layers.size() * KINDS;
        return static_cast<Kind>(phase < in_layers ? phase % KINDS : KINDS + (phase - in_layers));
    }

    std::size_t tasks(std::size_t phase) const override {
        switch (kind_of(phase)) {
            case QKV:
                return qkv_schedule.tasks();
            case ATTEND:
                return attend_schedule.tasks();
            case OUTPUT:
            case DOWN:
                return hidden_schedule.tasks();
            case GATE_UP:
                return gate_schedule.tasks();
            case HEAD:
                return head_schedule.tasks();
            default:
                return row_schedule.tasks();
        }
    }

    void run(std::size_t phase, std::size_t task, std::size_t thread) override {
        const std::size_t number = phase / KINDS;
        const WorkbenchLayer& layer = layers[std::min(number, layers.size() - 1)];
        float* block = blocks[thread].data();
        switch (kind_of(phase)) {
            case INPUT_NORM:
                return normalize(norms[2 * number].data(), task);
            case POST_NORM:
                return normalize(norms[2 * number + 1].data(), task);
            case LAST_NORM:
                return normalize(norms.back().data(), task);
            case QKV:
                return multiply(layer.qkv, qkv_rows, D, normed, hidden_stride, qkv_schedule, task, block,
                                [&](std::size_t first, std::size_t count) {
                                    if (layer.qkv_bias) add_bias(block, B, count, layer.qkv_bias + first);
                                    for (std::size_t b = 0; b < B; ++b)
                                        store_all(qkv.data() + b * qkv_stride + first, block + b * BLOCK, count);
                                });
            case ROTATE:
                return for_rows(task, [&](std::size_t b) { rotate_row(layer, number, b); });
            case ATTEND:
                return attend_task(task, number, thread);
            case MERGE:
                return for_rows(task, [&](std::size_t b) { merge_row(b); });
            case OUTPUT:
                return multiply(layer.output, D, H * hd, attended, attended_stride, hidden_schedule, task, block,
                                [&](std::size_t first, std::size_t count) {
                                    if (layer.output_bias) add_bias(block, B, count, layer.output_bias + first);
                                    add_block(block, B, count, residual.data() + first, hidden_stride);
                                });
            case GATE_UP:
                return gate(static_cast<const Weight*>(layer.gate_up), task, block);
            case DOWN:
                return multiply(layer.down, D, F, gated, gated_stride, hidden_schedule, task, block,
                                [&](std::size_t first, std::size_t count) {
                                    add_block(block, B, count, residual.data() + first, hidden_stride);
                                });
            case HEAD:
                return multiply(shape.head, V, D, normed, hidden_stride, head_schedule, task, block,
                                [&](std::size_t first, std::size_t count) {
                                    for (std::size_t b = 0; b < B; ++b)
                                        store_all(logits + b * V + first, block + b * BLOCK, count);
                                });
        }
    }

    template <class Finish>
    void multiply(const void* weights, std::size_t rows, std::size_t depth, const Buffer<Activation>& x,
                  std::size_t stride, const Schedule& schedule, std::size_t task, float* block, Finish finish) {
        for (std::size_t i = schedule.begin(task); i < schedule.end(task); ++i) {
            const std::size_t first = i * BLOCK;
            multiply_block(static_cast<const Weight*>(weights), rows, depth, first, x.data(), stride, B, block);
            finish(first, std::min(BLOCK, rows - first));
        }
    }

    // silu(gate) · up. First all of a task's rows of the gate, then those of the other half of the matrix: two
    // long streams from memory, not two that take turns (17 GB/s against 22).
    void gate(const Weight* gate_up, std::size_t task, float* block) {
        multiply(gate_up, F, D, normed, hidden_stride, gate_schedule, task, block, [&](std::size_t first, std::size_t count) {
            for (std::size_t b = 0; b < B; ++b) {
                float* x = block + b * BLOCK;
                for (std::size_t r = 0; r < BLOCK; r += WIDTH)
                    store(x + r, load(x + r) / (exponential(-load(x + r)) + 1.0f));
                store_all(silu.data() + b * gated_stride + first, x, count);
            }
        });
        multiply(gate_up + F * D, F, D, normed, hidden_stride, gate_schedule, task, block, [&](std::size_t first, std::size_t count) {
            for (std::size_t b = 0; b < B; ++b) {
                float* x = block + b * BLOCK;
                const float* factor = silu.data() + b * gated_stride + first;
                for (std::size_t r = 0; r < BLOCK; r += WIDTH) store(x + r, load(x + r) * load(factor + r));
                store_all(gated.data() + b * gated_stride + first, x, count);
            }
        });
    }

    template <class Work>
    void for_rows(std::size_t task, Work work) {
        for (std::size_t b = row_schedule.begin(task); b < row_schedule.end(task); ++b) work(b);
    }

    void normalize(const float* weight, std::size_t task) {
        for_rows(task, [&](std::size_t b) {
            const float* x = residual.data() + b * hidden_stride;
            const float inverse = inverse_rms(x, D, static_cast<float>(shape.eps));
            for (std::size_t i = 0; i < D; i += WIDTH)
                store(normed.data() + b * hidden_stride + i, load(x + i) * inverse * load(weight + i));
        });
    }

    void normalize_head(float* x, const float* norm) const {
        float squares = 0;
        for (std::size_t i = 0; i < hd; ++i) squares += x[i] * x[i];
        const float inverse = 1 / std::sqrt(squares / static_cast<float>(hd) + static_cast<float>(shape.eps));
        for (std::size_t i = 0; i < hd; ++i) x[i] *= inverse * norm[i];
    }

    // Numbers i and i + hd/2 of a head make a pair, turned by the position's angle.
    void rotate_head(float* x, const float* norm, std::size_t position) const {
        if (norm) normalize_head(x, norm);
        const float *cos = shape.cos + position * hd, *sin = shape.sin + position * hd;
        const std::size_t half = hd / 2;
        std::size_t i = 0;
        for (; i + WIDTH <= half; i += WIDTH) {
            const Vec low = load(x + i), high = load(x + i + half);
            store(x + i, low * load(cos + i) - high * load(sin + i));
            store(x + i + half, high * load(cos + i + half) + low * load(sin + i + half));
        }
        for (; i < half; ++i) {
            const float low = x[i], high = x[i + half];
            x[i] = low * cos[i] - high * sin[i];
            x[i + half] = high * cos[i + half] + low * sin[i + half];
        }
    }

    // Queries to `queries`; the new token's keys and values to their place in the row's last segment.
    void rotate_row(const WorkbenchLayer& layer, std::size_t number, std::size_t b) {
        float* x = qkv.data() + b * qkv_stride;
        const std::size_t position = rows[b].length - 1;
        for (std::size_t h = 0; h < H; ++h, x += hd) {
            rotate_head(x, layer.q_norm, position);
            store_all(queries.data() + (b * H + h) * columns, x, hd);
        }
        const WorkbenchSegment& own = segments[row_end[b] - 1];
        for (std::size_t h = 0; h < KV; ++h, x += hd) {
            rotate_head(x, layer.k_norm, position);
            auto* to = static_cast<Weight*>(const_cast<void*>(own.keys)) + number * own.key_layer +
                       h * own.key_head + own.length * own.key_position;
            store_all(to, x, hd);
        }
        for (std::size_t h = 0; h < KV; ++h, x += hd) {
            auto* to = static_cast<Weight*>(const_cast<void*>(own.values)) + number * own.value_layer +
                       h * own.value_head + own.length * own.value_position;
            store_all(to, x, hd);
        }
    }

    // Where the keys and values of a row's positions first … first + count are, in one layer and head.
    void find(std::size_t b, std::size_t first, std::size_t count, std::size_t layer, std::size_t head,
              const Weight** keys, const Weight** values) const {
        std::size_t found = 0, start = 0;
        for (std::int64_t s = b ? row_end[b - 1] : 0; found < count; ++s) {
            const WorkbenchSegment& segment = segments[s];
            const bool own = s + 1 == row_end[b];
            const std::size_t length = static_cast<std::size_t>(segment.length) + own;
            const auto* key = static_cast<const Weight*>(segment.keys) + layer * segment.key_layer + head * segment.key_head;
            const auto* value = static_cast<const Weight*>(segment.values) + layer * segment.value_layer + head * segment.value_head;
            for (; found < count && first + found < start + length; ++found) {
                const auto position = static_cast<std::int64_t>(first + found - start);
                keys[found] = key + position * segment.key_position;
                values[found] = value + position * segment.value_position;
            }
            start += length;
        }
        for (; found < CHUNK; ++found) keys[found] = values[found] = zeros.data();
    }

    // Where the keys and values of a piece are, for one of its heads.
    struct Found {
        const Weight *keys[CHUNK], *values[CHUNK];
    };

    // An item is a piece and a head; those of one head come one after another, as they lie in memory.
    void attend_task(std::size_t task, std::size_t layer, std::size_t thread) {
        Found found[2];
        const auto look_up = [&](std::size_t item) {
            const Piece& piece = pieces[item % pieces.size()];
            find(piece_rows[piece.first_row], piece.chunk * CHUNK, piece.count, layer, item / pieces.size(),
                 found[item % 2].keys, found[item % 2].values);
        };
        const std::size_t begin = attend_schedule.begin(task), end = attend_schedule.end(task);
        look_up(begin);
        for (std::size_t item = begin; item < end; ++item) {
            if (item + 1 < end) look_up(item + 1);
            attend_piece(pieces[item % pieces.size()], found[item % 2], found[(item + 1) % 2],
                         item / pieces.size(), thread);
        }
    }

    void attend_piece(const Piece& piece, const Found& found, const Found& next, std::size_t head, std::size_t thread) {
        const std::size_t* piece_row = piece_rows.data() + piece.first_row;
        Activation* keys = panels[thread].data();
        Activation* values = keys + columns * CHUNK;
        pack_keys(found.keys, piece.count, hd, keys);
        pack_values(found.values, piece.count, hd, columns, values);
        const std::size_t group = H / KV;
        std::vector<const Activation*>& from = piece_queries[thread];
        std::vector<Partial>& to = piece_partials[thread];
        from.clear();
        to.clear();
        for (std::size_t i = 0; i < piece.row_count; ++i)
            for (std::size_t h = head * group; h < (head + 1) * group; ++h) {
                const RowPlan& row = rows[piece_row[i]];
                const std::size_t partial = row.first_partial + h * row.chunks + piece.chunk;
                from.push_back(queries.data() + (piece_row[i] * H + h) * columns);
                to.push_back({partial_values.data() + partial * columns, partial_most.data() + partial,
                              partial_total.data() + partial});
            }
        attend<Weight>({keys, values, piece.count, hd, columns, reinterpret_cast<std::uintptr_t>(next.keys[0]),
                        reinterpret_cast<std::uintptr_t>(next.values[0])},
                       static_cast<float>(shape.scaling), from.data(), to.data(), from.size());
    }

    void merge_row(std::size_t b) {
        float* out = merged.data() + b * columns;
        for (std::size_t h = 0; h < H; ++h) {
            const std::size_t partial = rows[b].first_partial + h * rows[b].chunks;
            merge(partial_values.data() + partial * columns, partial_most.data() + partial,
                  partial_total.data() + partial, rows[b].chunks, columns, out);
            store_all(attended.data() + b * attended_stride + h * hd, out, hd);
        }
    }

    // Cuts every row's positions into chunks and finds the rows that share one.
    void plan_attention(std::size_t threads) {
        rows.clear();
        pieces.clear();
        std::size_t partials = 0;
        std::vector<std::vector<std::size_t>> members;
        std::unordered_map<const void*, std::vector<std::size_t>> shared;  // by the address of the first key
        for (std::size_t b = 0; b < B; ++b) {
            const std::int64_t begin = b ? row_end[b - 1] : 0;
            std::size_t length = 1;
            for (std::int64_t s = begin; s < row_end[b]; ++s) length += static_cast<std::size_t>(segments[s].length);
            const std::size_t chunks = (length + CHUNK - 1) / CHUNK;
            rows.push_back({length, chunks, partials});
            partials += H * chunks;
            std::int64_t s = begin;
            std::size_t start = 0;  // of segment s
            for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
                const std::size_t first = chunk * CHUNK, count = std::min(CHUNK, length - first);
                for (; s + 1 < row_end[b] && start + static_cast<std::size_t>(segments[s].length) <= first; ++s)
                    start += static_cast<std::size_t>(segments[s].length);
                const WorkbenchSegment& segment = segments[s];
                std::vector<std::size_t>* same = nullptr;
                if (s + 1 < row_end[b] && first + CHUNK <= start + static_cast<std::size_t>(segment.length)) {
                    const auto offset = static_cast<std::int64_t>(first - start) * segment.key_position;
                    same = &shared[static_cast<const Weight*>(segment.keys) + offset];
                    const auto known = std::find_if(same->begin(), same->end(),
                                                    [&](std::size_t i) { return pieces[i].chunk == chunk; });
                    if (known != same->end()) {
                        members[*known].push_back(b);
                        continue;
                    }
                    same->push_back(pieces.size());
                }
                pieces.push_back({chunk, count, 0, 0});
                members.push_back({b});
            }
        }
        piece_rows.clear();
        std::size_t most_rows = 0;
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            pieces[i].first_row = piece_rows.size();
            pieces[i].row_count = members[i].size();
            most_rows = std::max(most_rows, members[i].size());
            piece_rows.insert(piece_rows.end(), members[i].begin(), members[i].end());
        }
        std::stable_sort(pieces.begin(), pieces.end(),
                         [](const Piece& a, const Piece& b) { return a.row_count > b.row_count; });
        for (std::size_t thread = 0; thread < threads; ++thread) {
            piece_queries[thread].reserve(most_rows * (H / KV));
            piece_partials[thread].reserve(most_rows * (H / KV));
        }
        // Packing a chunk costs about as much as the queries of one row.
        attend_schedule.plan(pieces.size() * KV, threads, 4, [&](std::size_t i) { return 1 + pieces[i % pieces.size()].row_count; });
        if (partials > partial_room) {
            const std::size_t room = partials + partials / 4;
            partial_values.resize(room * columns);
            partial_most.resize(room);
            partial_total.resize(room);
            partial_room = room;
        }
    }

    void plan_products(std::size_t threads) {
        const auto blocks_of = [](std::size_t count) { return (count + BLOCK - 1) / BLOCK; };
        qkv_schedule.plan(blocks_of(qkv_rows), threads, 1);
        hidden_schedule.plan(blocks_of(D), threads, 1);
        gate_schedule.plan(blocks_of(F), threads, 1);
        head_schedule.plan(blocks_of(V), threads, 1);
        row_schedule.plan(B, threads, 8);
    }

    // Everything for B rows and the threads; noted as there only when all of it is. What is behind the numbers of a row is zero and stays so.
    void make_room(std::size_t threads) {
        if (B > row_room) {
            const std::size_t room = round_up(B, 8);
            residual.resize(room * hidden_stride);
            normed.resize(room * hidden_stride);
            qkv.resize(room * qkv_stride);
            merged.resize(room * columns);
            queries.resize(room * H * columns);
            attended.resize(room * attended_stride);
            silu.resize(room * gated_stride);
            gated.resize(room * gated_stride);
            row_room = room;
            thread_room = 0;
        }
        if (threads > thread_room) {
            blocks = std::vector<Buffer<float>>(threads);
            panels = std::vector<Buffer<Activation>>(threads);
            for (Buffer<float>& block : blocks) block.resize(row_room * BLOCK);
            for (Buffer<Activation>& panel : panels) panel.resize(2 * columns * CHUNK);
            piece_queries.resize(threads);
            piece_partials.resize(threads);
            thread_room = threads;
        }
    }

    const WorkbenchShape shape;
    const std::vector<WorkbenchLayer> layers;
    const std::size_t D, H, KV, hd, F, V, qkv_rows, columns;
    const std::size_t hidden_stride, qkv_stride, attended_stride, gated_stride;
    std::vector<Buffer<float>> norms;
    Buffer<Weight> zeros;

    // Of the step.
    std::size_t B = 0;
    float* logits = nullptr;
    const WorkbenchSegment* segments = nullptr;
    const std::int64_t* row_end = nullptr;
    std::vector<RowPlan> rows;
    std::vector<Piece> pieces;
    std::vector<std::size_t> piece_rows;
    Schedule qkv_schedule, attend_schedule, hidden_schedule, gate_schedule, head_schedule, row_schedule;

    std::size_t row_room = 0, thread_room = 0, partial_room = 0;
    Buffer<float> residual, qkv, merged, silu;
    Buffer<Activation> normed, queries, attended, gated;
    Buffer<float> partial_values, partial_most, partial_total;
    std::vector<Buffer<float>> blocks;
    std::vector<Buffer<Activation>> panels;
    std::vector<std::vector<const Activation*>> piece_queries;
    std::vector<std::vector<Partial>> piece_partials;
};

}  // namespace
}  // namespace workbench

extern "C" {

const char* workbench_instructions() {
#if WORKBENCH_LEVEL == 2
    return "AVX512 with bf16 dot products";
#elif WORKBENCH_LEVEL == 1
    return "AVX512";
#else
    return "portable";
#endif
}

// A decoder over weights that the caller keeps alive; null if there is no memory.
void* workbench_decoder_new(const WorkbenchShape* shape, const WorkbenchLayer* layers) {
    try {
        if (shape->is_bf16) return static_cast<workbench::Step*>(new workbench::Decoder<workbench::Bf16>(*shape, layers));
        return static_cast<workbench::Step*>(new workbench::Decoder<float>(*shape, layers));
    } catch (const std::exception&) {
        return nullptr;
    }
}

void workbench_decoder_free(void* decoder) { delete static_cast<workbench::Step*>(decoder); }

// Logits [B, V] of the tokens that come next in each row. Row b has the segments row_ends[b − 1] … row_ends[b];
// the new token's keys and values go behind the `length` positions of the last one.
// 0: done; 1: a token outside the vocabulary; 2: no memory or no thread to be had.
int workbench_decoder_step(void* decoder, std::int64_t batch, const std::int64_t* tokens,
                           const std::int64_t* row_ends, const WorkbenchSegment* segments, float* logits,
                           std::int64_t threads) {
    try {
        return static_cast<workbench::Step*>(decoder)->run(static_cast<std::size_t>(batch), tokens, row_ends, segments,
                                                           logits, static_cast<std::size_t>(threads));
    } catch (const std::exception&) {
        return 2;
    }
}
}
