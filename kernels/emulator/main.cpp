// Runs the launches of one file on the host: PROGRAM CASE RESULT [order] [late | early | mixed].
//
// CASE (little-endian, numbers of 8 bytes): the count of buffers, and of each its bytes and contents; the count of
// launches, and of each the kernel's name (64 bytes, zeros behind), grid (3), block (3), bytes of dynamic shared
// memory, bytes of parameters and these, the count of pointers in them, and of each: where in the parameters, which
// buffer, and how far into it. RESULT: the buffers' contents afterwards, one behind the other. Exit status 0, or 3
// with one line on standard error that says what the kernel did wrong.
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "block.h"
#include "registry.h"

namespace emulator {

Kernel* kernels;

namespace {

FILE* input;

void read(void* to, std::size_t bytes) {
    if (fread(to, 1, bytes, input) != bytes) complain("the case ends too early");
}

std::size_t number() {
    std::int64_t n;
    read(&n, sizeof n);
    return (std::size_t)n;
}

dim3 three() {
    dim3 n{};
    n.x = (unsigned)number();
    n.y = (unsigned)number();
    n.z = (unsigned)number();
    return n;
}

void read_buffers() {
    for (std::size_t i = number(); i > 0; --i) {
        buffers.push_back({std::make_unique<Guarded>(number(), 16)});
        Guarded& memory = *buffers.back().memory;
        poison(memory);
        read(memory.data, memory.used);
    }
}

void run_launch() {
    char name[64];
    read(name, sizeof name);
    kernel_name = name;
    const dim3 grid = three(), threads = three();
    const std::size_t shared = number();
    std::vector<unsigned char> params(number());
    read(params.data(), params.size());
    for (std::size_t i = number(); i > 0; --i) {
        const std::size_t at = number(), which = number(), offset = number();
        const unsigned char* pointer = buffers.at(which).memory->data + offset;
        memcpy(&params.at(at), &pointer, sizeof pointer);
    }
    const Kernel* kernel = kernels;
    while (kernel && strcmp(kernel->name, name)) kernel = kernel->next;
    if (!kernel) complain("no such kernel in this program");
    if (params.size() != kernel->params_bytes)
        complain("%zu bytes of parameters, not %zu", params.size(), kernel->params_bytes);
    launch(kernel->call, params.data(), grid, threads, shared);
    for (std::size_t i = 0; i < buffers.size(); ++i) check_surroundings(*buffers[i].memory, "buffer", i);
    kernel_name = "";
}

int run(int count, char** words) {
    if (count < 3) complain("wants CASE RESULT [order] [late | early | mixed]");
    if (count > 3) schedule.order = atoi(words[3]);
    if (count > 4)
        schedule.landing = words[4][0] == 'e'   ? Schedule::EARLY
                           : words[4][0] == 'm' ? Schedule::MIXED
                                                : Schedule::LATE;
    if (!(input = fopen(words[1], "rb"))) complain("cannot read %s", words[1]);
    catch_bad_addresses();
    read_buffers();
    for (std::size_t i = number(); i > 0; --i) run_launch();
    FILE* output = fopen(words[2], "wb");
    for (const auto& buffer : buffers)
        if (fwrite(buffer.memory->data, 1, buffer.memory->used, output) != buffer.memory->used)
            complain("cannot write %s", words[2]);
    return fclose(output);
}

}  // namespace
}  // namespace emulator

int main(int count, char** words) { return emulator::run(count, words); }
