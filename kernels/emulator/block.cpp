#include "block.h"

#include <signal.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <numeric>

namespace emulator {

Place place;
Block* block;
Thread* current;
Schedule schedule;
std::vector<Buffer> buffers;
const char* kernel_name = "";

namespace {

constexpr std::size_t STACK = 256 << 10;
constexpr unsigned char POISON = 0xff;  // a NaN in every floating type
Fiber scheduler;
void (*kernel)(const void*);
const void* kernel_params;
std::mt19937 draw;
#ifdef WORKBENCH_TSAN
char ended;  // a token: what threads did is known after the launch, not to other blocks
// ThreadSanitizer would take a new fiber for the one whose number it gets, and has 8,128 of them.
std::vector<void*> finished;

void forget_finished() {
    for (void* fiber : finished) __tsan_destroy_fiber(fiber);
    finished.clear();
}
#endif

void resume(Thread& thread) {
    current = &thread;
    place.thread = thread.index;
    switch_fiber(scheduler, thread);
    current = nullptr;
}

void entry() {
    kernel(kernel_params);
    if (!current->open.empty()) complain("ends with copies that were never committed");
    for (const auto& group : current->groups)
        if (!group.empty()) complain("ends with copies that were never waited for");
    current->state = State::DONE;
    ++block->done;
    ++block->warps[(std::size_t)current->number / 32].done;
#ifdef WORKBENCH_TSAN
    __tsan_release(&ended);
#endif
    switch_fiber(*current, scheduler);
    abort();
}

bool run_if_ready(Thread& thread) {
    if (thread.state != State::READY) return false;
    resume(thread);
    return true;
}

[[noreturn]] void report_deadlock() {
    int at_block = 0, at_warp = 0;
    for (const auto& thread : block->threads) {
        at_block += thread.state == State::AT_BLOCK_BARRIER;
        at_warp += thread.state == State::AT_WARP;
    }
    complain("deadlock: %d threads wait at __syncthreads, %d in an operation of their warp, %d have ended", at_block,
             at_warp, block->done);
}

void run_threads() {
    const std::size_t count = block->threads.size(), warps = block->warps.size();
    std::vector<std::size_t> order(schedule.order > 1 && schedule.order % 2 == 0 ? warps : count);
    std::iota(order.begin(), order.end(), 0);
    if (schedule.order == 1) std::reverse(order.begin(), order.end());
    while (block->done < (int)count) {
        bool any = false;
        if (schedule.order > 1) std::shuffle(order.begin(), order.end(), draw);
        for (std::size_t i : order) {
            if (schedule.order < 2 || schedule.order % 2) {
                any |= run_if_ready(block->threads[i]);
                continue;
            }
            const std::size_t first = i * 32, size = (std::size_t)block->warps[i].size, turn = draw() % size;
            for (bool moved = true; moved; any |= moved) {
                moved = false;
                for (std::size_t l = 0; l < size; ++l)
                    moved |= run_if_ready(block->threads[first + (l + turn) % size]);
            }
        }
        if (!any) report_deadlock();
    }
}

void run_block(dim3 threads, std::size_t shared_bytes) {
    const std::size_t count = (std::size_t)threads.x * threads.y * threads.z;
    // Mapped anew for each block, so that ThreadSanitizer sees no order between blocks and no clash either.
    Guarded stacks(count * STACK, 16);
    Block here;
    here.threads.resize(count);
    here.warps.resize((count + 31) / 32);
    here.shared = std::make_unique<Guarded>(shared_bytes, 128);
    poison(*here.shared);
    block = &here;
    for (std::size_t t = 0; t < count; ++t) {
        Thread& thread = here.threads[t];
        thread.number = (int)t;
        thread.index = {unsigned(t % threads.x), unsigned(t / threads.x % threads.y),
                        unsigned(t / threads.x / threads.y)};
        ++here.warps[t / 32].size;
        prepare(thread, stacks.data + t * STACK, STACK, entry);
#ifdef WORKBENCH_TSAN
        thread.sanitized = __tsan_create_fiber(0);
#endif
    }
    run_threads();
#ifdef WORKBENCH_TSAN
    for (auto& thread : here.threads) finished.push_back(thread.sanitized);
    if (finished.size() > 4000) forget_finished();
#endif
    check_surroundings(*here.shared, "shared memory", 0);
    block = nullptr;
}

// The memory that an address lies nearest to, and on which side of it.
struct Nearest {
    std::size_t distance = 64 << 10;
    const char* side = nullptr;
    char name[40] = "";

    void consider(const Guarded& memory, std::uintptr_t at, const char* what, std::size_t number) {
        const auto start = (std::uintptr_t)memory.data, end = start + memory.used;
        const std::size_t away = at < start ? start - at : at - end;
        if (away >= distance) return;
        distance = away;
        side = at < start ? "before" : "behind";
        snprintf(name, sizeof name, what, number);
    }
};

void on_bad_address(int, siginfo_t* info, void*) {
    const auto at = (std::uintptr_t)info->si_addr;
    Nearest nearest;
    for (std::size_t i = 0; i < buffers.size(); ++i) nearest.consider(*buffers[i].memory, at, "buffer %zu", i);
    if (block) nearest.consider(*block->shared, at, "shared memory", 0);
    if (nearest.side) complain("an address %zu bytes %s %s", nearest.distance, nearest.side, nearest.name);
    complain("the address %p, which is no buffer's", info->si_addr);
}

}  // namespace

void complain(const char* format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "emulator: %s", kernel_name);
    if (block) fprintf(stderr, ", block (%u, %u, %u)", place.block.x, place.block.y, place.block.z);
    if (current) fprintf(stderr, ", thread %d", current->number);
    fprintf(stderr, ": %s\n", text);
    fflush(stderr);
    _exit(3);
}

void give_way() { switch_fiber(*current, scheduler); }

void launch(void (*call)(const void*), const void* params, dim3 grid, dim3 threads, std::size_t shared_bytes) {
    const std::size_t count = (std::size_t)grid.x * grid.y * grid.z;
    if (!count || !threads.x || !threads.y || !threads.z) complain("a grid or block of no size");
    if (threads.x * threads.y * threads.z > 1024) complain("more than 1024 threads a block");
    if (grid.y > 65535 || grid.z > 65535) complain("more than 65,535 blocks along y or z");
    kernel = call;
    kernel_params = params;
    place.block_size = threads;
    place.grid_size = grid;
    draw.seed((unsigned)schedule.order);
#ifdef WORKBENCH_TSAN
    scheduler.sanitized = __tsan_get_current_fiber();
#endif
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    if (schedule.order == 1) std::reverse(order.begin(), order.end());
    if (schedule.order > 1) std::shuffle(order.begin(), order.end(), draw);
    for (std::size_t i : order) {
        place.block = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)};
        run_block(threads, shared_bytes);
    }
#ifdef WORKBENCH_TSAN
    __tsan_acquire(&ended);
    forget_finished();
#endif
}

void catch_bad_addresses() {
    static unsigned char stack[64 << 10];
    stack_t other{};
    other.ss_sp = stack;
    other.ss_size = sizeof stack;
    sigaltstack(&other, nullptr);
    struct sigaction action {};
    action.sa_sigaction = on_bad_address;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
}

void poison(Guarded& memory) { memset(memory.first, POISON, memory.inner); }

void check_surroundings(const Guarded& memory, const char* what, std::size_t number) {
    const unsigned char* end = memory.first + memory.inner;
    for (const unsigned char* at = memory.first; at < end; ++at) {
        if (at == memory.data) at += memory.used;
        if (at < end && *at != POISON)
            complain("%s %zu was written to %td bytes after its start", what, number, at - memory.data);
    }
}

}  // namespace emulator
