// Stacks that take turns on one CPU thread, one for each CUDA thread of a block. ThreadSanitizer, where the
// program is built for it (WORKBENCH_TSAN), is told of every switch, and of no order but what barriers make.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

// Where the switch below is not written for, the C library's, which costs two calls of the system, does as well.
#if defined(__x86_64__) && defined(__linux__) && !defined(WORKBENCH_UCONTEXT)
#define WORKBENCH_SWITCH
#else
#include <ucontext.h>
#endif

#ifdef WORKBENCH_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_read16(void*);
extern "C" void __tsan_write16(void*);
#endif

namespace emulator {

// Memory between two pages that nobody may touch, ending (up to `align` - 1 bytes) at the second.
class Guarded {
public:
    Guarded(std::size_t bytes, std::size_t align) : used(bytes) {
        const std::size_t page = (std::size_t)sysconf(_SC_PAGESIZE), whole = (bytes + align - 1) / align * align;
        inner = (whole + page - 1) / page * page;
        mapping = (unsigned char*)mmap(nullptr, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping == MAP_FAILED) abort();
        first = mapping + page;
        if (inner && mprotect(first, inner, PROT_READ | PROT_WRITE)) abort();
        data = first + inner - whole;
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { munmap(mapping, (std::size_t)(first - mapping) * 2 + inner); }

    bool holds(const void* p, std::size_t bytes) const {
        const auto* at = (const unsigned char*)p;
        return at >= data && at + bytes <= data + used;
    }

    unsigned char *mapping, *first, *data;
    std::size_t used, inner;
};

#ifdef WORKBENCH_SWITCH
// Keeps the caller's stack pointer at `save` and goes on from `load`.
extern "C" void workbench_switch_stack(void** save, void* load);
#endif

struct Fiber {
#ifdef WORKBENCH_SWITCH
    void* stack_pointer = nullptr;
#else
    ucontext_t context{};
#endif
#ifdef WORKBENCH_TSAN
    void* sanitized = nullptr;
#endif
};

// Makes `fiber` start with `entry`, which never returns, on a stack of its own.
void prepare(Fiber& fiber, unsigned char* stack, std::size_t bytes, void (*entry)());
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace emulator
