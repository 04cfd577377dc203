// What the instructions behind ../cuda/primitives.cuh do.
#include <cmath>
#include <cstring>

#include "block.h"

namespace emulator {

namespace {

enum Operation { BARRIER, SHUFFLE, MULTIPLY_BFLOAT16, MULTIPLY_FLOAT16, LOAD, LOAD_TRANSPOSED };

Warp& warp() { return block->warps[(std::size_t)current->number / 32]; }

// All lanes bring a deposit; the last one carries out the operation for the warp. No order of memory follows:
// of these operations only __syncwarp promises one.
template <class Carry>
void collective(int operation, Deposit deposit, Carry carry) {
    Warp& w = warp();
    if (w.done) complain("an operation of a warp of which %d lanes have ended", w.done);
    if (w.size != 32 && operation != BARRIER) complain("an operation of a whole warp by %d lanes", w.size);
    if (w.arrived && w.operation != operation) complain("lanes of a warp meet in different operations");
    w.operation = operation;
    w.deposits[lane()] = deposit;
    if (++w.arrived < w.size) {
        current->state = State::AT_WARP;
        give_way();
        return;
    }
    carry(w.deposits);
    w.arrived = 0;
    ++w.generation;
    const auto first = (std::size_t)current->number / 32 * 32;
    for (std::size_t i = 0; i < (std::size_t)w.size; ++i) block->threads[first + i].state = State::READY;
}

float element(unsigned pair, int which, bool bfloat16) {
    const auto bits = (unsigned short)(pair >> 16 * which);
    return bfloat16 ? from_bfloat16(bits) : from_float16(bits);
}

// Layout of the fragments: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".
void multiply_warp(Deposit* deposits, bool bfloat16) {
    float a[16][16], b[16][8], c[16][8] = {};
    for (int l = 0; l < 32; ++l) {
        const int g = l / 4, t = l % 4;
        const auto* registers = (const unsigned*)deposits[l].from;
        for (int i = 0; i < 4; ++i)
            for (int e = 0; e < 2; ++e)
                a[g + i % 2 * 8][t * 2 + i / 2 * 8 + e] = element(registers[i], e, bfloat16);
        for (int i = 0; i < 2; ++i)
            for (int e = 0; e < 2; ++e) b[t * 2 + i * 8 + e][g] = element(deposits[l].numbers[i], e, bfloat16);
    }
    for (int row = 0; row < 16; ++row)
        for (int k = 0; k < 16; ++k)
            for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    for (int l = 0; l < 32; ++l)
        for (int i = 0; i < 4; ++i) ((float*)deposits[l].result)[i] += c[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
}

// PTX ISA, ldmatrix.x4: lanes 8 i to 8 i + 7 address the rows of matrix i.
void load_warp(Deposit* deposits, bool transposed) {
    for (int l = 0; l < 32; ++l)
        for (int i = 0; i < 4; ++i) {
            unsigned short pair[2];
            for (int e = 0; e < 2; ++e) {
                const int row = transposed ? l % 4 * 2 + e : l / 4, column = transposed ? l / 4 : l % 4 * 2 + e;
                memcpy(&pair[e], (const unsigned char*)deposits[8 * i + row].from + 2 * column, 2);
            }
            ((unsigned*)deposits[l].result)[i] = pair[0] | (unsigned)pair[1] << 16;
        }
}

template <class T>
T shuffled(T x, int from) {
    T result;
    Deposit deposit{&x, nullptr, &result, {(unsigned)from % 32, 0}};
    collective(SHUFFLE, deposit, [](Deposit* deposits) {
        for (int l = 0; l < 32; ++l)
            memcpy(deposits[l].result, deposits[deposits[l].numbers[0]].from, sizeof(T));
    });
    return result;
}

void land(const Copy& copy) {
#ifdef WORKBENCH_TSAN
    __tsan_write16(copy.to);
    if (copy.from) __tsan_read16((void*)copy.from);
#endif
    if (copy.from)
        memcpy(copy.to, copy.from, 16);
    else
        memset(copy.to, 0, 16);
}

}  // namespace

unsigned char* shared_memory() { return block->shared->data; }

int lane() { return current->number % 32; }

void block_barrier() {
    if (block->done) complain("__syncthreads after %d threads of the block have ended", block->done);
#ifdef WORKBENCH_TSAN
    // Two tokens in turn: a thread that is still in this barrier must not learn of what others do behind it.
    static char tokens[2];
    char* token = &tokens[block->generation % 2];
    __tsan_release(token);
#endif
    if (++block->arrived < (int)block->threads.size()) {
        current->state = State::AT_BLOCK_BARRIER;
        give_way();
    } else {
        block->arrived = 0;
        ++block->generation;
        for (auto& thread : block->threads) thread.state = State::READY;
    }
#ifdef WORKBENCH_TSAN
    __tsan_acquire(token);
#endif
}

void warp_barrier() {
#ifdef WORKBENCH_TSAN
    char* token = (char*)&warp() + warp().generation % 2;
    __tsan_release(token);
#endif
    collective(BARRIER, {}, [](Deposit*) {});
#ifdef WORKBENCH_TSAN
    __tsan_acquire(token);
#endif
}

float shuffle(float x, int from) { return shuffled(x, from); }
int shuffle(int x, int from) { return shuffled(x, from); }

void multiply(float* c, const unsigned* a, unsigned b0, unsigned b1, bool bfloat16) {
    collective(bfloat16 ? MULTIPLY_BFLOAT16 : MULTIPLY_FLOAT16, {a, nullptr, c, {b0, b1}},
               [bfloat16](Deposit* deposits) { multiply_warp(deposits, bfloat16); });
}

void load_matrices(unsigned* registers, const void* row, bool transposed) {
    if ((std::uintptr_t)row % 16) complain("load_matrices of a row that is not aligned to 16 bytes");
    if (!block->shared->holds(row, 16)) complain("load_matrices of a row outside shared memory");
#ifdef WORKBENCH_TSAN
    __tsan_read16((void*)row);
#endif
    collective(transposed ? LOAD_TRANSPOSED : LOAD, {row, nullptr, registers, {}},
               [transposed](Deposit* deposits) { load_warp(deposits, transposed); });
}

void copy_async(void* shared, const void* global, bool valid) {
    if (((std::uintptr_t)shared | (std::uintptr_t)global) % 16) complain("copy_async not aligned to 16 bytes");
    if (!block->shared->holds(shared, 16)) complain("copy_async to outside shared memory");
    if (valid) {
        bool known = false;
        for (const auto& buffer : buffers) known |= buffer.memory->holds(global, 16);
        if (!known) complain("copy_async from outside every buffer");
    }
    const Copy copy{(unsigned char*)shared, valid ? (const unsigned char*)global : nullptr};
    static std::mt19937 draw;
    const bool early =
        schedule.landing == Schedule::EARLY || (schedule.landing == Schedule::MIXED && draw() % 2);
#ifdef WORKBENCH_TSAN
    __tsan_write16(copy.to);
#endif
    if (early) {
        land(copy);
    } else {
        memset(copy.to, 0xff, 16);  // undefined until it has been waited for
        current->open.push_back(copy);
    }
}

void copy_async_commit() {
    current->groups.push_back(std::move(current->open));
    current->open.clear();
}

void copy_async_wait(int groups) {
    while ((int)current->groups.size() > groups) {
        for (const auto& copy : current->groups.front()) land(copy);
        current->groups.pop_front();
    }
}

float exp2_flushed(float x) {
    const float y = std::exp2(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}

float log2_flushed(float x) { return std::log2(std::fabs(x) < 1.17549435e-38f ? 0.0f : x); }

float from_bfloat16(unsigned short bits) {
    const unsigned wide = (unsigned)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

unsigned short to_bfloat16(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_float16(unsigned short bits) {
    static const std::vector<float> values = [] {
        std::vector<float> all(1 << 16);
        for (int b = 0; b < 1 << 16; ++b) {
            const int exponent = b >> 10 & 31, fraction = b & 1023;
            const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                               : exponent == 0 ? std::ldexp((float)fraction, -24)
                                               : std::ldexp((float)(fraction + 1024), exponent - 25);
            all[(std::size_t)b] = b & 0x8000 ? -size : size;
        }
        return all;
    }();
    return values[bits];
}

unsigned short to_float16(float x) {
    const unsigned short sign = std::signbit(x) ? 0x8000 : 0;
    const float size = std::fabs(x);
    if (std::isnan(x)) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size == 0.0f) return sign;
    int exponent;
    std::frexp(size, &exponent);
    const int place = exponent < -13 ? -24 : exponent - 11;  // power of two of the last bit kept
    const auto units = (unsigned)std::nearbyint(std::ldexp(size, -place));  // ties to even
    return sign | (unsigned short)(units + ((unsigned)(place + 24) << 10));
}

}  // namespace emulator
