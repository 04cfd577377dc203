// Attention of the rows of a batch to a prefix that all share and to each row's own keys, under one softmax,
// for CPUs: fp32, bf16 and fp16 in memory, sums in fp32.
//
// Bound by arithmetic where there are many rows: the prefix is read once for all of them.

#include <new>
#include <system_error>

#include "cpu/shared_prefix_backward.h"
#include "cpu/shared_prefix_forward.h"
#include "cpu/team.h"

namespace workbench {
namespace {

template <template <class> class Pass>
void run(const WorkbenchSharedPrefix& call, double scale) {
    const auto threads = static_cast<std::size_t>(call.threads);
    const auto with = [&](auto number) {
        Pass<decltype(number)> pass(call, scale, threads);
        Team::execute(pass, threads);
    };
    if (call.type == 0) with(0.0f);
    if (call.type == 1) with(Bf16{});
    if (call.type == 2) with(Half{});
}

}  // namespace
}  // namespace workbench

extern "C" {

// 0, or 1 where there is no memory or no thread to be had.
int workbench_shared_prefix(const WorkbenchSharedPrefix* call, double scale, int is_backward) {
    try {
        if (is_backward)
            workbench::run<workbench::SharedPrefixBackward>(*call, scale);
        else
            workbench::run<workbench::SharedPrefixForward>(*call, scale);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    } catch (const std::system_error&) {
        return 1;
    }
}
}
