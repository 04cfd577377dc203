// Cross-entropy of rows of logits, and its gradient in their place.
#pragma once

#include "decoder_rows.h"

namespace workbench {

// Of each row with a target ≥ 0: loss = log Σ exp(logits) − logits[target], whether no logit is larger than the
// target's, and softmax(logits) − one_hot(target) where the logits were, if wanted. Of others zeros.
template <class Number>
class CrossEntropy final : public RowsJob {
  public:
    CrossEntropy(std::size_t rows, std::size_t width_, std::size_t threads, const std::int64_t* targets_,
                 Number* logits_, float* losses_, std::uint8_t* is_best_, bool wants_gradient_)
        : RowsJob(rows, 1), width(width_), room(round_up(width_, WIDTH)), targets(targets_), logits(logits_),
          losses(losses_), is_best(is_best_), wants_gradient(wants_gradient_) {
        shares.resize(threads * room);
    }

  protected:
    void run_row(std::size_t row, std::size_t, std::size_t thread) override {
        Number* here = logits + row * width;
        const std::int64_t target = targets[row];
        if (target < 0) {
            if (wants_gradient) std::memset(static_cast<void*>(here), 0, width * sizeof(Number));
            losses[row] = 0.0f;
            is_best[row] = 0;
            return;
        }
        const float own = to_float(here[target]);
        const std::size_t whole = width / WIDTH * WIDTH;
        Vec most_of = broadcast(own);
        for (std::size_t i = 0; i < whole; i += WIDTH) most_of = larger(most_of, load(here + i));
        float most = maximum(most_of);
        for (std::size_t i = whole; i < width; ++i) most = std::max(most, to_float(here[i]));
        float* share = shares.data() + thread * room;
        Vec totals = {};
        for (std::size_t i = 0; i < whole; i += WIDTH) {
            const Vec each = exponential(load(here + i) - most);
            store(share + i, each);
            totals += each;
        }
        float total = sum(totals);
        if (whole < width) {
            store(share + whole, exponential(load_part(here + whole, width - whole) - most));
            for (std::size_t i = whole; i < width; ++i) total += share[i];
        }
        losses[row] = most - own + std::log(total);
        is_best[row] = own >= most;
        if (!wants_gradient) return;
        for (std::size_t i = 0; i < room; i += WIDTH) store(share + i, load(share + i) / total);
        share[target] -= 1.0f;
        store_all(here, share, width);
    }

  private:
    const std::size_t width, room;
    const std::int64_t* targets;
    Number* logits;
    float* losses;
    std::uint8_t* is_best;
    const bool wants_gradient;
    Buffer<float> shares;
};

}  // namespace workbench
