// A step of a Llama-shaped decoder: new tokens behind rows whose keys and values are there already. One token a
// row is decoding; many for one row is reading a prompt. A token's results are the same bits in both.
//
// Shapes: N new tokens, V vocabulary, D hidden size, H query heads and KV key/value heads of size hd, F
// intermediate size. Weights are row-major [out, in], bf16 or fp32, and stay where PyTorch has them;
// activations are fp32, rounded to bf16 only where the dot-product instruction takes bf16.
// Bound for one row by memory (SmolLM2-135M in bf16: 270 MB a token), for many by arithmetic.

#include "cpu/attention.h"
#include "cpu/memory.h"
#include "cpu/pieces.h"
#include "cpu/pool.h"
#include "cpu/products.h"

extern "C" {

// Norms, biases and tables are fp32; embedding, matrices, keys and values are of the weights' type.
struct WorkbenchLayer {
    const float *input_norm, *post_norm, *q_norm, *k_norm, *qkv_bias,
        *output_bias;  // the last four may be null
    const void *qkv, *output, *gate_up, *down;
};

struct WorkbenchShape {
    std::int64_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary, is_bf16;
    double eps, scaling;
    const void *embedding, *head;
    const float *norm, *cos, *sin;
};

// Row r has the segments row_ends[r − 1] … row_ends[r] and the new tokens token_ends[r − 1] … token_ends[r], whose
// keys and values go behind the `length` positions of its last segment. Logits [wanted, V] are those of the
// tokens whose numbers are in `wanted`.
struct WorkbenchStep {
    std::int64_t rows, wanted_count, threads;
    const std::int64_t *tokens, *token_ends, *row_ends, *wanted;
    const WorkbenchSegment* segments;
    float* logits;
};
}

namespace workbench {
namespace {

// Adds products [count, BLOCK] to rows of fp32.
inline void add_block(const float* block, std::size_t batch, std::size_t count, float* to,
                      std::size_t stride) {
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

class AnyDecoder {
  public:
    virtual ~AnyDecoder() = default;
    virtual int run(const WorkbenchStep& step) = 0;
};

template <class Weight>
class Decoder final : public AnyDecoder, private Job {
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
          // Strides of the activations of one token; a vector may be read behind the last number.
          hidden_stride(round_up(D, 64)),
          qkv_stride(round_up(qkv_rows, 64)),
          attended_stride(round_up(H * hd, 64)),
          gated_stride(round_up(F, 64)) {
        zeros.resize(columns);
        for (const WorkbenchLayer& layer : layers) {
            norms.push_back(padded(layer.input_norm));
            norms.push_back(padded(layer.post_norm));
        }
        norms.push_back(padded(shape.norm));
    }

    int run(const WorkbenchStep& step) override {
        const auto count = static_cast<std::size_t>(step.rows ? step.token_ends[step.rows - 1] : 0);
        for (std::size_t t = 0; t < count; ++t)
            if (step.tokens[t] < 0 || static_cast<std::size_t>(step.tokens[t]) >= V) return 1;
        const auto threads = static_cast<std::size_t>(step.threads);
        SharedPool::with(threads, [&](Pool& pool) {
            N = count;
            wanted.assign(step.wanted, step.wanted + step.wanted_count);
            logits = step.logits;
            pieces.plan(step.segments, static_cast<std::size_t>(step.rows), step.row_ends, step.token_ends,
                        H);
            make_room(threads);
            divide_work(threads);
            for (std::size_t t = 0; t < N; ++t) {
                const Weight* from = static_cast<const Weight*>(shape.embedding) +
                                     static_cast<std::size_t>(step.tokens[t]) * D;
                for (std::size_t i = 0; i < D; ++i)
                    residual.data()[t * hidden_stride + i] = to_float(from[i]);
            }
            pool.execute(*this);
        });
        return 0;
    }

  private:
    enum Kind : std::size_t {
        INPUT_NORM,
        QKV,
        ROTATE,
        ATTEND,
        MERGE,
        OUTPUT,
        POST_NORM,
        GATE_UP,
        DOWN,
        KINDS,
        LAST_NORM = KINDS,
        HEAD
    };

    Kind kind_of(std::size_t phase) const {
        const std::size_t in_layers = layers.size() * KINDS;
        return static_cast<Kind>(phase < in_layers ? phase % KINDS : KINDS + (phase - in_layers));
    }

    std::size_t phases() const override { return layers.size() * KINDS + 2; }

    const Schedule& schedule_of(std::size_t phase) const {
        switch (kind_of(phase)) {
            case QKV:
                return qkv_schedule;
            case ATTEND:
                return attend_schedule;
            case OUTPUT:
            case DOWN:
                return hidden_schedule;
            case GATE_UP:
                return gate_schedule;
            case LAST_NORM:
                return wanted_schedule;
            case HEAD:
                return head_schedule;
            default:
                return token_schedule;
        }
    }

    std::size_t tasks(std::size_t phase) const override { return schedule_of(phase).tasks(); }

    void run(std::size_t phase, std::size_t task, std::size_t thread) override {
        const Schedule& schedule = schedule_of(phase);
        const std::size_t number = std::min(phase / KINDS, layers.size() - 1);
        const WorkbenchLayer& layer = layers[number];
        switch (kind_of(phase)) {
            case INPUT_NORM:
                return schedule.each(task, [&](std::size_t t) { normalize(norms[2 * number], t, t); });
            case POST_NORM:
                return schedule.each(task, [&](std::size_t t) { normalize(norms[2 * number + 1], t, t); });
            case LAST_NORM:
                return schedule.each(task, [&](std::size_t i) { normalize(norms.back(), wanted[i], i); });
            case ROTATE:
                return schedule.each(task, [&](std::size_t t) { rotate(layer, number, t); });
            case MERGE:
                return schedule.each(task, [&](std::size_t t) { merge_token(t); });
            case ATTEND:
                return attend_task(task, number, thread);
            case GATE_UP:
                return gate(layer, task, thread);
            case QKV:
                return multiply(layer.qkv, qkv_rows, D, normed, hidden_stride, N, schedule, task, thread,
                                [&](float* block, std::size_t first, std::size_t count) {
                                    if (layer.qkv_bias) add_bias(block, N, count, layer.qkv_bias + first);
                                    put(block, N, count, qkv.data() + first, qkv_stride);
                                });
            case OUTPUT:
                return multiply(layer.output, D, H * hd, attended, attended_stride, N, schedule, task, thread,
                                [&](float* block, std::size_t first, std::size_t count) {
                                    if (layer.output_bias)
                                        add_bias(block, N, count, layer.output_bias + first);
                                    add_block(block, N, count, residual.data() + first, hidden_stride);
                                });
            case DOWN:
                return multiply(layer.down, D, F, gated, gated_stride, N, schedule, task, thread,
                                [&](float* block, std::size_t first, std::size_t count) {
                                    add_block(block, N, count, residual.data() + first, hidden_stride);
                                });
            case HEAD:
                return multiply(shape.head, V, D, normed, hidden_stride, wanted.size(), schedule, task,
                                thread, [&](float* block, std::size_t first, std::size_t count) {
                                    put(block, wanted.size(), count, logits + first, V);
                                });
        }
    }

    // finish(block, first, count) gets the products of weight rows first … first + count with all of x.
    template <class Finish>
    void multiply(const void* weights, std::size_t rows, std::size_t depth, const Buffer<Activation>& x,
                  std::size_t stride, std::size_t batch, const Schedule& schedule, std::size_t task,
                  std::size_t thread, Finish finish) const {
        float* block = blocks[thread].data();
        schedule.each(task, [&](std::size_t i) {
            const std::size_t first = i * BLOCK;
            multiply_block(static_cast<const Weight*>(weights), rows, depth, first, x.data(), stride, batch,
                           block);
            finish(block, first, std::min(BLOCK, rows - first));
        });
    }

    static void put(const float* block, std::size_t batch, std::size_t count, float* to, std::size_t stride) {
        for (std::size_t b = 0; b < batch; ++b) store_all(to + b * stride, block + b * BLOCK, count);
    }

    // silu(gate) · up. First all of a task's rows of the gate, then those of the other half of the matrix: two
    // long streams from memory, not two that take turns (17 GB/s against 22).
    void gate(const WorkbenchLayer& layer, std::size_t task, std::size_t thread) {
        const Weight* weights = static_cast<const Weight*>(layer.gate_up);
        multiply(weights, F, D, normed, hidden_stride, N, gate_schedule, task, thread,
                 [&](float* block, std::size_t first, std::size_t count) {
                     for (std::size_t t = 0; t < N; ++t) {
                         float* x = block + t * BLOCK;
                         for (std::size_t r = 0; r < BLOCK; r += WIDTH)
                             store(x + r, load(x + r) / (exponential(-load(x + r)) + 1.0f));
                         store_all(silu.data() + t * gated_stride + first, x, count);
                     }
                 });
        multiply(weights + F * D, F, D, normed, hidden_stride, N, gate_schedule, task, thread,
                 [&](float* block, std::size_t first, std::size_t count) {
                     for (std::size_t t = 0; t < N; ++t) {
                         float* x = block + t * BLOCK;
                         const float* factor = silu.data() + t * gated_stride + first;
                         for (std::size_t r = 0; r < BLOCK; r += WIDTH)
                             store(x + r, load(x + r) * load(factor + r));
                         store_all(gated.data() + t * gated_stride + first, x, count);
                     }
                 });
    }

    // Token t's hidden state over its root mean square, to row `to`. Both are zero behind D.
    void normalize(const Buffer<float>& weight, std::size_t t, std::size_t to) {
        const float* x = residual.data() + t * hidden_stride;
        Vec squares = {};
        for (std::size_t i = 0; i < D; i += WIDTH) squares = load(x + i) * load(x + i) + squares;
        const float inverse =
            1 / std::sqrt(sum(squares) / static_cast<float>(D) + static_cast<float>(shape.eps));
        for (std::size_t i = 0; i < D; i += WIDTH)
            store(normed.data() + to * hidden_stride + i, load(x + i) * inverse * load(weight.data() + i));
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

    // A token's queries to `queries`, its keys and values to their place in the row's last segment.
    void rotate(const WorkbenchLayer& layer, std::size_t number, std::size_t t) {
        const Token& token = pieces.tokens()[t];
        float* x = qkv.data() + t * qkv_stride;
        for (std::size_t h = 0; h < H; ++h, x += hd) {
            rotate_head(x, layer.q_norm, token.length - 1);
            store_all(queries.data() + (t * H + h) * columns, x, hd);
        }
        for (std::size_t h = 0; h < KV; ++h, x += hd) {
            rotate_head(x, layer.k_norm, token.length - 1);
            store_all(pieces.key_place(token, number, h), x, hd);
        }
        for (std::size_t h = 0; h < KV; ++h, x += hd) store_all(pieces.value_place(token, number, h), x, hd);
    }

    // An item is a piece and a head; those of one head come one after another, as they lie in memory.
    void attend_task(std::size_t task, std::size_t layer, std::size_t thread) {
        typename Pieces<Weight>::Place places[2];
        const auto look_up = [&](std::size_t item) {
            pieces.find(pieces[item % pieces.size()], layer, item / pieces.size(), zeros.data(),
                        places[item % 2]);
        };
        const std::size_t begin = attend_schedule.begin(task), end = attend_schedule.end(task);
        look_up(begin);
        for (std::size_t item = begin; item < end; ++item) {
            if (item + 1 < end) look_up(item + 1);
            attend_piece(pieces[item % pieces.size()], item / pieces.size(), places[item % 2],
                         places[(item + 1) % 2], thread);
        }
    }

    void attend_piece(const Piece& piece, std::size_t head, const typename Pieces<Weight>::Place& place,
                      const typename Pieces<Weight>::Place& next, std::size_t thread) {
        Activation* keys = panels[thread].data();
        Activation* values = keys + columns * CHUNK;
        pack_keys(place.keys, piece.count, hd, keys);
        pack_values(place.values, piece.count, hd, columns, values);
        const std::size_t group = H / KV;
        std::vector<const Activation*>& from = piece_queries[thread];
        std::vector<Partial>& to = piece_partials[thread];
        from.clear();
        to.clear();
        for (std::size_t m = piece.first_member; m < piece.first_member + piece.member_count; ++m) {
            const std::size_t t = pieces.members()[m];
            const Token& token = pieces.tokens()[t];
            const std::size_t seen = std::min(CHUNK, token.length - piece.chunk * CHUNK);
            for (std::size_t h = head * group; h < (head + 1) * group; ++h) {
                const std::size_t partial = token.first_partial + h * token.chunks + piece.chunk;
                from.push_back(queries.data() + (t * H + h) * columns);
                to.push_back({seen, partial_values.data() + partial * columns, partial_most.data() + partial,
                              partial_total.data() + partial});
            }
        }
        attend<Weight>(
            {keys, values, piece.count, hd, columns, reinterpret_cast<std::uintptr_t>(next.keys[0]),
             reinterpret_cast<std::uintptr_t>(next.values[0])},
            static_cast<float>(shape.scaling), from.data(), to.data(), from.size());
    }

    void merge_token(std::size_t t) {
        const Token& token = pieces.tokens()[t];
        float* out = merged.data() + t * columns;
        for (std::size_t h = 0; h < H; ++h) {
            const std::size_t partial = token.first_partial + h * token.chunks;
            merge(partial_values.data() + partial * columns, partial_most.data() + partial,
                  partial_total.data() + partial, token.chunks, columns, out);
            store_all(attended.data() + t * attended_stride + h * hd, out, hd);
        }
    }

    void divide_work(std::size_t threads) {
        const auto blocks_of = [](std::size_t count) { return (count + BLOCK - 1) / BLOCK; };
        token_schedule.plan(N, threads, 8);
        wanted_schedule.plan(wanted.size(), threads, 8);
        qkv_schedule.plan(blocks_of(qkv_rows), threads, 1);
        hidden_schedule.plan(blocks_of(D), threads, 1);
        gate_schedule.plan(blocks_of(F), threads, 1);
        head_schedule.plan(wanted.empty() ? 0 : blocks_of(V), threads, 1);
        // Packing a chunk costs about as much as the queries of one token.
        attend_schedule.plan(pieces.size() * KV, threads, 4,
                             [&](std::size_t i) { return 1 + pieces[i % pieces.size()].member_count; });
        std::size_t most = 0;
        for (std::size_t i = 0; i < pieces.size(); ++i) most = std::max(most, pieces[i].member_count);
        for (std::size_t thread = 0; thread < threads; ++thread) {
            piece_queries[thread].reserve(most * (H / KV));
            piece_partials[thread].reserve(most * (H / KV));
        }
    }

    // Memory for all tokens and threads, noted as there only when all of it is. What is behind the numbers of
    // a token is zero and stays so.
    void make_room(std::size_t threads) {
        if (N > token_room) {
            const std::size_t room = round_up(N, 8);
            residual.resize(room * hidden_stride);
            normed.resize(room * hidden_stride);
            qkv.resize(room * qkv_stride);
            merged.resize(room * columns);
            queries.resize(room * H * columns);
            attended.resize(room * attended_stride);
            silu.resize(room * gated_stride);
            gated.resize(room * gated_stride);
            token_room = room;
            thread_room = 0;
        }
        if (threads > thread_room) {
            blocks = std::vector<Buffer<float>>(threads);
            panels = std::vector<Buffer<Activation>>(threads);
            for (Buffer<float>& block : blocks) block.resize(token_room * BLOCK);
            for (Buffer<Activation>& panel : panels) panel.resize(2 * columns * CHUNK);
            piece_queries.resize(threads);
            piece_partials.resize(threads);
            thread_room = threads;
        }
        if (pieces.partial_count() > partial_room) {
            const std::size_t room = pieces.partial_count() + pieces.partial_count() / 4;
            partial_values.resize(room * columns);
            partial_most.resize(room);
            partial_total.resize(room);
            partial_room = room;
        }
    }

    Buffer<float> padded(const float* from) const {
        Buffer<float> buffer;
        buffer.resize(hidden_stride);
        std::copy(from, from + D, buffer.data());
        return buffer;
    }

    const WorkbenchShape shape;
    const std::vector<WorkbenchLayer> layers;
    const std::size_t D, H, KV, hd, F, V, qkv_rows, columns;
    const std::size_t hidden_stride, qkv_stride, attended_stride, gated_stride;
    std::vector<Buffer<float>> norms;
    Buffer<Weight> zeros;

    // Of the step.
    std::size_t N = 0;
    std::vector<std::size_t> wanted;
    float* logits = nullptr;
    Pieces<Weight> pieces;
    Schedule token_schedule, wanted_schedule, qkv_schedule, attend_schedule, hidden_schedule, gate_schedule,
        head_schedule;

    std::size_t token_room = 0, thread_room = 0, partial_room = 0;
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
    using namespace workbench;
    try {
        if (shape->is_bf16) return static_cast<AnyDecoder*>(new Decoder<Bf16>(*shape, layers));
        return static_cast<AnyDecoder*>(new Decoder<float>(*shape, layers));
    } catch (const std::exception&) {
        return nullptr;
    }
}

void workbench_decoder_free(void* decoder) { delete static_cast<workbench::AnyDecoder*>(decoder); }

// 0: done; 1: a token outside the vocabulary; 2: no memory or no thread to be had.
int workbench_decoder_step(void* decoder, const WorkbenchStep* step) {
    try {
        return static_cast<workbench::AnyDecoder*>(decoder)->run(*step);
    } catch (const std::exception&) {
        return 2;
    }
}
}
