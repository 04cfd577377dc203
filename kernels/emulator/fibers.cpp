#include "fibers.h"

#ifdef WORKBENCH_SWITCH
// The registers that a called function must preserve, on the stack that is left and from the one entered.
asm(R"(
.text
.globl workbench_switch_stack
workbench_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#endif

namespace emulator {

void prepare(Fiber& fiber, unsigned char* stack, std::size_t bytes, void (*entry)()) {
#ifdef WORKBENCH_SWITCH
    auto* top = (std::uint64_t*)(stack + bytes);
    *--top = 0;  // a return address for `entry`, which keeps the stack aligned as a call would
    *--top = (std::uint64_t)entry;
    for (int i = 0; i < 6; ++i) *--top = 0;
    fiber.stack_pointer = top;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#endif
}

void switch_fiber(Fiber& from, Fiber& to) {
#ifdef WORKBENCH_TSAN
    __tsan_switch_to_fiber(to.sanitized, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef WORKBENCH_SWITCH
    workbench_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
}

}  // namespace emulator
