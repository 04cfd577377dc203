// Memory aligned to cache lines, and how work on it is divided.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "lanes.h"

namespace workbench {

// Numbers that are zero at first.
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

// The tasks of a phase: parts of a list of items, each of some cost. Large parts come first, for long streams
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

    template <class Work>
    void each(std::size_t task, Work work) const {
        for (std::size_t i = begin(task); i < end(task); ++i) work(i);
    }

  private:
    std::vector<std::size_t> bounds{0};
};

}  // namespace workbench
