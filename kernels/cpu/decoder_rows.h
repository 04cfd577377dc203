// The element-wise parts of a Llama layer, forward and backward, row by row: RMS norm, rotary positions, SwiGLU.
// Numbers of the residual stream and of weights are fp32; activations are `Number`, and rounded once.
//
// Every sum is made in one order, whatever the number of threads.
#pragma once

#include <cmath>

#include "memory.h"
#include "pool.h"

namespace workbench {

// Rows in parts: at most 4096, of at least `least` rows.
class RowsJob : public Job {
  public:
    RowsJob(std::size_t rows_, std::size_t least) : rows(rows_), each(std::max(least, (rows_ + 4095) / 4096)) {}
    std::size_t phases() const override { return 1; }
    std::size_t tasks(std::size_t) const override { return parts(); }
    void run(std::size_t, std::size_t task, std::size_t thread) override {
        for (std::size_t row = task * each; row < std::min(rows, (task + 1) * each); ++row)
            run_row(row, task, thread);
    }

  protected:
    virtual void run_row(std::size_t row, std::size_t part, std::size_t thread) = 0;
    std::size_t parts() const { return (rows + each - 1) / each; }
    ~RowsJob() = default;
    const std::size_t rows, each;
};

// 1 / sqrt(mean of squares + eps)
inline float inverse_rms(const float* x, std::size_t width, float eps) {
    Vec squares[2] = {};
    std::size_t i = 0;
    for (; i + 2 * WIDTH <= width; i += 2 * WIDTH)
        for (std::size_t half = 0; half < 2; ++half) {
            const Vec here = load(x + i + half * WIDTH);
            squares[half] += here * here;
        }
    for (; i < width; i += WIDTH) squares[0] += load(x + i) * load(x + i);
    return 1.0f / std::sqrt(sum(squares[0] + squares[1]) / static_cast<float>(width) + eps);
}

// total = x + added (where there is something to add), out = weight * total / rms(total).
template <class Number>
class NormForward final : public RowsJob {
  public:
    NormForward(std::size_t rows, std::size_t width_, float eps_, const float* x_, const Number* added_,
                float* total_, const float* weight_, Number* out_)
        : RowsJob(rows, 16), width(width_), eps(eps_), x(x_), added(added_), total(total_), weight(weight_),
          out(out_) {}

  protected:
    void run_row(std::size_t row, std::size_t, std::size_t) override {
        const float* from = x + row * width;
        if (added != nullptr) {
            float* to = total + row * width;
            for (std::size_t i = 0; i < width; i += WIDTH)
                store(to + i, load(from + i) + load(added + row * width + i));
            from = to;
        }
        if (out == nullptr) return;
        const float scale = inverse_rms(from, width, eps);
        for (std::size_t i = 0; i < width; i += WIDTH)
            store(out + row * width + i, load(weight + i) * (load(from + i) * scale));
    }

  private:
    const std::size_t width;
    const float eps;
    const float* x;
    const Number* added;
    float* total;
    const float* weight;
    Number* out;
};

// With g the sum of up to three gradients and n = x / rms: of_weight = Σ g n,
// of_x = residual + (weight g − n mean(weight g n)) / rms (Zhang and Sennrich 2019, equation 4, derived).
template <class Number>
class NormBackward final : public RowsJob {
  public:
    NormBackward(std::size_t rows, std::size_t width_, float eps_, const float* x_, const float* weight_,
                 const Number* grad, const Number* second, const Number* third, const float* residual_,
                 float* of_x_, float* of_weight_)
        : RowsJob(rows, 16), width(width_), eps(eps_), x(x_), weight(weight_), grads{grad, second, third},
          residual(residual_), of_x(of_x_), of_weight(of_weight_) {
        sums.resize(parts() * width);
    }

    std::size_t phases() const override { return 2; }
    std::size_t tasks(std::size_t phase) const override { return phase == 0 ? parts() : 1; }
    void run(std::size_t phase, std::size_t task, std::size_t thread) override {
        if (phase == 0) return RowsJob::run(phase, task, thread);
        for (std::size_t i = 0; i < width; i += WIDTH) {
            Vec total = {};
            for (std::size_t part = 0; part < parts(); ++part) total += load(sums.data() + part * width + i);
            store(of_weight + i, total);
        }
    }

  protected:
    void run_row(std::size_t row, std::size_t part, std::size_t) override {
        const std::size_t first = row * width;
        const float scale = inverse_rms(x + first, width, eps);
        float* of_row = sums.data() + part * width;
        Vec products = {};
        for (std::size_t i = 0; i < width; i += WIDTH) {
            const Vec grad = total(first + i), normed = load(x + first + i) * scale;
            products += load(weight + i) * grad * normed;
            store(of_row + i, load(of_row + i) + grad * normed);
        }
        const float mean = sum(products) / static_cast<float>(width);
        for (std::size_t i = 0; i < width; i += WIDTH) {
            const Vec normed = load(x + first + i) * scale;
            const Vec slope = (load(weight + i) * total(first + i) - normed * mean) * scale;
            store(of_x + first + i, load(residual + first + i) + slope);
        }
    }

  private:
    Vec total(std::size_t at) const {
        Vec grad = load(grads[0] + at);
        if (grads[1] != nullptr) grad += load(grads[1] + at);
        if (grads[2] != nullptr) grad += load(grads[2] + at);
        return grad;
    }

    const std::size_t width;
    const float eps;
    const float *x, *weight;
    const Number* const grads[3];
    const float* residual;
    float *of_x, *of_weight;
    Buffer<float> sums;
};

// Rotary positions in place (Su et al. 2021, equation 34, the halves of a head being its pairs): row n is turned
// by the angles of row n mod `period` of cos and sin, or, backward, by their transpose.
template <class Number>
class Rope final : public RowsJob {
  public:
    Rope(std::size_t rows, std::size_t heads_, std::size_t size, std::size_t period_, Number* x_,
         const float* cos_, const float* sin_, bool is_backward_)
        : RowsJob(rows, 16), heads(heads_), half(size / 2), period(period_), x(x_), cos(cos_), sin(sin_),
          is_backward(is_backward_) {}

  protected:
    void run_row(std::size_t row, std::size_t, std::size_t) override {
        const float *c = cos + row % period * 2 * half, *s = sin + row % period * 2 * half;
        for (std::size_t head = 0; head < heads; ++head) {
            Number* low = x + (row * heads + head) * 2 * half;
            std::size_t i = 0;
            for (; i + WIDTH <= half; i += WIDTH) {
                const Vec a = load(low + i), b = load(low + half + i);
                store(low + i, a * load(c + i) + b * (is_backward ? load(s + half + i) : -load(s + i)));
                store(low + half + i,
                      b * load(c + half + i) + a * (is_backward ? -load(s + i) : load(s + half + i)));
            }
            for (; i < half; ++i) {
                const float a = to_float(low[i]), b = to_float(low[half + i]);
                put(low + i, a * c[i] + b * (is_backward ? s[half + i] : -s[i]));
                put(low + half + i, b * c[half + i] + a * (is_backward ? -s[i] : s[half + i]));
            }
        }
    }

  private:
    static void put(Number* to, float value) {
        Number lanes[WIDTH];
        store(lanes, broadcast(value));
        *to = lanes[0];
    }

    const std::size_t heads, half, period;
    Number* x;
    const float *cos, *sin;
    const bool is_backward;
};

// act = gate sigmoid(gate) up (Shazeer 2020, equation 6); backward also the gradients of gate and up from that of
// act.
template <class Number>
class SwiGLU final : public RowsJob {
  public:
    SwiGLU(std::size_t rows, std::size_t width_, const Number* gate_, const Number* up_, Number* act_,
           const Number* grad_, Number* of_gate_, Number* of_up_)
        : RowsJob(rows, 16), width(width_), gate(gate_), up(up_), act(act_), grad(grad_), of_gate(of_gate_),
          of_up(of_up_) {}

  protected:
    void run_row(std::size_t row, std::size_t, std::size_t) override {
        const std::size_t first = row * width;
        for (std::size_t i = first; i < first + width; i += WIDTH) {
            const Vec g = load(gate + i), u = load(up + i);
            const Vec share = 1.0f / (1.0f + exponential(-g));
            store(act + i, g * share * u);
            if (grad == nullptr) continue;
            const Vec slope = load(grad + i);
            store(of_up + i, slope * g * share);
            store(of_gate + i, slope * u * share * (1.0f + g * (1.0f - share)));
        }
    }

  private:
    const std::size_t width;
    const Number *gate, *up;
    Number* act;
    const Number* grad;
    Number *of_gate, *of_up;
};

}  // namespace workbench
