// What lies between the matrix products of a Llama-shaped decoder that is trained on a CPU: see the headers.
// Bound by memory: each tensor is read and written once. Functions answer 0, or 1 where there is no memory or no
// thread to be had.

#include <new>
#include <system_error>

#include "cpu/cross_entropy.h"
#include "cpu/decoder_rows.h"
#include "cpu/team.h"

namespace {

using namespace workbench;
using Count = std::int64_t;

// Activations of `type` 0 are fp32, of 1 bf16.
template <class Made>
int run(Count type, Count threads, Made made) {
    try {
        const auto with = [&](auto number) {
            auto job = made(number);
            Team::execute(job, static_cast<std::size_t>(threads));
        };
        if (type == 0)
            with(0.0f);
        else
            with(Bf16{});
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    } catch (const std::system_error&) {
        return 1;
    }
}

template <class Number>
Number* as(void* pointer) {
    return static_cast<Number*>(pointer);
}

}  // namespace

extern "C" {

int workbench_norm(Count type, Count threads, Count rows, Count width, double eps, const float* x, void* added,
                   float* total, const float* weight, void* out) {
    return run(type, threads, [&](auto number) {
        using Number = decltype(number);
        return NormForward<Number>(rows, width, static_cast<float>(eps), x, as<Number>(added), total, weight,
                                   as<Number>(out));
    });
}

int workbench_norm_backward(Count type, Count threads, Count rows, Count width, double eps, const float* x,
                            const float* weight, void* grad, void* second, void* third, const float* residual,
                            float* of_x, float* of_weight) {
    return run(type, threads, [&](auto number) {
        using Number = decltype(number);
        return NormBackward<Number>(rows, width, static_cast<float>(eps), x, weight, as<Number>(grad),
                                    as<Number>(second), as<Number>(third), residual, of_x, of_weight);
    });
}

int workbench_rope(Count type, Count threads, Count rows, Count heads, Count size, Count period, void* x,
                   const float* cos, const float* sin, int is_backward) {
    return run(type, threads, [&](auto number) {
        using Number = decltype(number);
        return Rope<Number>(rows, heads, size, period, as<Number>(x), cos, sin, is_backward != 0);
    });
}

int workbench_swiglu(Count type, Count threads, Count rows, Count width, void* gate, void* up, void* act,
                     void* grad, void* of_gate, void* of_up) {
    return run(type, threads, [&](auto number) {
        using Number = decltype(number);
        return SwiGLU<Number>(rows, width, as<Number>(gate), as<Number>(up), as<Number>(act), as<Number>(grad),
                              as<Number>(of_gate), as<Number>(of_up));
    });
}

int workbench_cross_entropy(Count type, Count threads, Count rows, Count width, const Count* targets,
                            void* logits, float* losses, std::uint8_t* is_best, int wants_gradient) {
    return run(type, threads, [&](auto number) {
        using Number = decltype(number);
        return CrossEntropy<Number>(rows, width, threads, targets, as<Number>(logits), losses, is_best,
                                    wants_gradient != 0);
    });
}
}
