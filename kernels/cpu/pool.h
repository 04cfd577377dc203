// A few threads that go through the phases of a job together.
//
// A phase is a number of tasks, drawn by an atomic ticket; whoever finishes its last task opens the next phase.
// Nobody waits for a thread, only for tasks: one whose core another process took holds up at most the task it
// was at. (A barrier of all threads after each of the 150 phases of a step loses most of a busy machine.)
#pragma once

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace workbench {

class Job {
  public:
    virtual std::size_t phases() const = 0;
    virtual std::size_t tasks(std::size_t phase) const = 0;  // at most 65,000
    virtual void run(std::size_t phase, std::size_t task, std::size_t thread) = 0;

  protected:
    ~Job() = default;
};

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

class Pool {
  public:
    explicit Pool(std::size_t threads) {
        try {
            for (std::size_t thread = 1; thread < threads; ++thread)
                workers.emplace_back([this, thread] { serve(thread); });
        } catch (...) {
            stop();
            throw;
        }
    }

    ~Pool() { stop(); }

    std::size_t threads() const { return workers.size() + 1; }

    // One caller at a time. Returns when every phase is done.
    void execute(Job& next) {
        job = &next;
        job_phase = 0;
        open_next();
        if (open(ticket.load())) {
            wake();
            work(0);
        }
    }

  private:
    // A ticket is the number of the phase, counted since the pool began (32 bits), its tasks (16) and the next
    // task (16). Which task a ticket stands for is thus known without looking at the job, which may be over.
    static std::uint32_t phase_of(std::uint64_t t) { return static_cast<std::uint32_t>(t >> 32); }
    static std::uint32_t tasks_of(std::uint64_t t) { return static_cast<std::uint32_t>(t >> 16) & 0xffff; }
    static std::uint32_t task_of(std::uint64_t t) { return static_cast<std::uint32_t>(t) & 0xffff; }
    static bool open(std::uint64_t t) { return tasks_of(t) > 0; }

    // Opens the next phase that is worth sharing; those of one task are run on the way.
    void open_next(std::size_t thread = 0) {
        for (; job_phase < job->phases(); ++job_phase) {
            const std::size_t tasks = job->tasks(job_phase);
            if (tasks > 1 && !workers.empty()) {
                publish(tasks);
                return;
            }
            for (std::size_t task = 0; task < tasks; ++task) job->run(job_phase, task, thread);
        }
        publish(0);
    }

    void publish(std::uint64_t tasks) {
        done.store(0, std::memory_order_relaxed);
        const std::uint64_t phase = phase_of(ticket.load(std::memory_order_relaxed)) + 1;
        ticket.store(phase << 32 | tasks << 16);
    }

    void work(std::size_t thread) {
        for (;;) {
            const std::uint64_t t = ticket.fetch_add(1);
            if (!open(t)) return;
            if (task_of(t) < tasks_of(t)) {
                job->run(job_phase, task_of(t), thread);
                if (done.fetch_add(1) + 1 == tasks_of(t)) {
                    ++job_phase;
                    open_next(thread);
                }
            } else {
                wait([this, t] { return phase_of(ticket.load(std::memory_order_acquire)) != phase_of(t); });
            }
        }
    }

    // Spins for some 50 µs, longer than a phase waits for its last task, then lets others run.
    template <class Condition>
    static void wait(Condition over) {
        for (int turn = 0; !over(); ++turn)
            if (turn < SPINS)
                relax();
            else
                std::this_thread::yield();
    }

    void serve(std::size_t thread) {
        while (!stopping.load()) {
            for (int turn = 0; turn < SPINS && !open(ticket.load(std::memory_order_acquire)); ++turn) relax();
            if (!open(ticket.load())) {
                std::unique_lock lock(mutex);
                sleeping.fetch_add(1);
                condition.wait(lock, [this] { return stopping.load() || open(ticket.load()); });
                sleeping.fetch_sub(1);
            }
            work(thread);
        }
    }

    void stop() {
        stopping.store(true);
        wake();
        for (std::thread& worker : workers) worker.join();
    }

    void wake() {
        if (sleeping.load() == 0 && !stopping.load()) return;
        {
            const std::lock_guard lock(mutex);
        }
        condition.notify_all();
    }

    static constexpr int SPINS = 2000;

    alignas(64) std::atomic<std::uint64_t> ticket{0};
    alignas(64) std::atomic<std::uint32_t> done{0};
    alignas(64) Job* job = nullptr;
    std::size_t job_phase = 0;  // of the job; written only by the thread that opens a phase
    std::atomic<bool> stopping{false};
    std::atomic<int> sleeping{0};
    std::mutex mutex;
    std::condition_variable condition;
    std::vector<std::thread> workers;
};

// The process's pool, made anew when another number of threads is asked for and in a forked child, where the
// threads of the parent do not exist. It is never destroyed: nothing runs at exit.
class SharedPool {
  public:
    // Calls `work` with the pool, which nobody else has in the meantime.
    template <class Work>
    static void with(std::size_t threads, Work work) {
        static std::atomic<SharedPool*> current{nullptr};
        SharedPool* shared = current.load();
        while (shared == nullptr || shared->process != getpid()) {
            auto* fresh = new SharedPool;
            if (current.compare_exchange_strong(shared, fresh))
                shared = fresh;  // that of the parent process stays behind, its lock perhaps held
            else
                delete fresh;
        }
        const std::lock_guard lock(shared->mutex);
        if (shared->pool == nullptr || shared->pool->threads() != threads) {
            delete shared->pool;
            shared->pool = nullptr;
            shared->pool = new Pool(threads);
        }
        work(*shared->pool);
    }

  private:
    const pid_t process = getpid();
    std::mutex mutex;
    Pool* pool = nullptr;
};

}  // namespace workbench
