// One block of CUDA threads under the emulator: its state, its schedule, and how a run ends in a complaint.
#pragma once

#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "device.h"
#include "fibers.h"

namespace emulator {

// The order in which the threads of a block run between barriers, and when asynchronous copies land.
// order 0: by number; 1: backwards; even n > 1: one warp runs as far as barriers let it, then another, drawn
// from seed n; odd: any thread that can run. Blocks run in the same manner of order.
struct Schedule {
    int order = 0;
    enum Landing { LATE, EARLY, MIXED } landing = LATE;
};

enum class State { READY, AT_BLOCK_BARRIER, AT_WARP, DONE };

struct Copy {
    unsigned char* to;
    const unsigned char* from;  // null: zeros
};

// What a lane brings to a collective operation of its warp, and where it wants the result.
struct Deposit {
    const void *from, *more;
    void* result;
    unsigned numbers[2];
};

struct Thread : Fiber {
    dim3 index{};
    int number = 0;
    State state = State::READY;
    std::vector<Copy> open;
    std::deque<std::vector<Copy>> groups;
};

struct Warp {
    int size = 0, arrived = 0, operation = 0, done = 0;
    unsigned generation = 0;
    Deposit deposits[32]{};
};

struct Block {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::unique_ptr<Guarded> shared;
    int arrived = 0, done = 0;
    unsigned generation = 0;
};

struct Buffer {
    std::unique_ptr<Guarded> memory;
};

extern Block* block;
extern Thread* current;
extern Schedule schedule;
extern std::vector<Buffer> buffers;
extern const char* kernel_name;

// Says what is wrong and where, and ends the process with status 3.
[[noreturn]] void complain(const char* format, ...) __attribute__((format(printf, 1, 2)));
// The running thread gives way until its state is READY again.
void give_way();
// Runs all blocks of a launch.
void launch(void (*call)(const void*), const void* params, dim3 grid, dim3 threads, std::size_t shared_bytes);
// Addresses that belong to nobody, and stacks that are used up, become complaints too.
void catch_bad_addresses();
// Whether memory around the buffers was left as it was.
void check_surroundings(const Guarded& memory, const char* what, std::size_t number);
void poison(Guarded& memory);

}  // namespace emulator
