// Runs a job on the threads that PyTorch itself computes with, so that theirs and ours never wait for a core
// that the other's spin on; where those cannot be had, on a pool of our own.
#pragma once

#include <dlfcn.h>

#include "pool.h"

namespace workbench {

class Team {
  public:
    static void execute(Job& job, std::size_t threads) {
        if (threads <= 1) {
            for (std::size_t phase = 0; phase < job.phases(); ++phase)
                for (std::size_t task = 0; task < job.tasks(phase); ++task) job.run(phase, task, 0);
            return;
        }
        if (const auto parallel = openmp()) {
            Turn turn(job);
            parallel([](void* turn) { static_cast<Turn*>(turn)->work(); }, &turn,
                     static_cast<unsigned>(threads), 0);
            return;
        }
        SharedPool::with(threads, [&](Pool& pool) { pool.execute(job); });
    }

  private:
    using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

    // The entry of a parallel region in GNU's OpenMP runtime, which PyTorch has loaded on Linux.
    static Parallel openmp() {
        static const auto found = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
        return found;
    }

    // However many threads come, the tasks are all done: a phase waits for tasks, not for threads.
    struct Turn {
        explicit Turn(Job& job_) : job(job_), phases(job_.phases()) {}

        void work() {
            const std::size_t thread = entered.fetch_add(1);
            for (std::size_t phase = 0; phase < phases.size(); ++phase) {
                const std::size_t tasks = job.tasks(phase);
                for (std::size_t task; (task = phases[phase].next.fetch_add(1)) < tasks;) {
                    job.run(phase, task, thread);
                    phases[phase].done.fetch_add(1, std::memory_order_release);
                }
                for (int turn = 0; phases[phase].done.load(std::memory_order_acquire) < tasks; ++turn)
                    if (turn < SPINS)
                        relax();
                    else
                        std::this_thread::yield();
            }
        }

        static constexpr int SPINS = 2000;
        struct alignas(64) Phase {
            std::atomic<std::size_t> next{0}, done{0};
        };
        Job& job;
        std::vector<Phase> phases;
        std::atomic<std::size_t> entered{0};
    };
};

}  // namespace workbench
