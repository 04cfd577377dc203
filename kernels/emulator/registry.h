// The kernels of a program, by name: EMULATED(name) after the kernel's source enters it.
#pragma once

#include <cstddef>

namespace emulator {

struct Kernel {
    const char* name;
    std::size_t params_bytes;
    void (*call)(const void* params);
    Kernel* next;
};
extern Kernel* kernels;

template <class Params>
constexpr std::size_t params_bytes(void (*)(Params)) {
    return sizeof(Params);
}

template <class Params>
void call(void (*kernel)(Params), const void* params) {
    kernel(*(const Params*)params);
}

struct Entry {
    explicit Entry(Kernel& kernel) {
        kernel.next = kernels;
        kernels = &kernel;
    }
};

}  // namespace emulator

#define EMULATED(name)                                                                            \
    static emulator::Kernel emulated_##name{#name, emulator::params_bytes(name),                  \
                                            [](const void* params) { emulator::call(name, params); }, nullptr}; \
    static emulator::Entry entry_##name(emulated_##name);
