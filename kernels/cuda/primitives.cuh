// What kernels are written with, beyond the C++ that every compiler knows: matrix products of a warp, copies
// that run by themselves, shuffles, conversions. Two implementations of one interface: PTX here, for NVRTC and
// nvcc (sm_80 and up; no CUDA header is needed), and the host's, in ../emulator/device.h.
//
// Kernels use, besides what is declared here: threadIdx, blockIdx, blockDim, gridDim, __syncthreads(),
// __syncwarp(), min and max of integers, fmaf, fmaxf, fminf, float2, float4, uint2, uint4.
#pragma once

#ifdef WORKBENCH_EMULATOR
#include "../emulator/device.h"
#else
#define DEVICE __device__ __forceinline__
// Dynamic shared memory as bytes, as many as the launch asks for.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

namespace workbench {

struct bfloat16 {
    unsigned short bits;
};
struct float16 {
    unsigned short bits;
};

#if defined(DTYPE_BF16)
using Element = bfloat16;
#elif defined(DTYPE_FP16)
using Element = float16;
#elif defined(DTYPE_FP32)
using Element = float;
#endif

constexpr int WARP = 32;
constexpr float LOG2_E = 1.44269504088896340736f;
constexpr float LN_2 = 0.69314718055994530942f;

#ifndef WORKBENCH_EMULATOR

DEVICE float infinity() { return __int_as_float(0x7f800000); }

// 2^x and log2 x to about 2 units in the last place; denormal numbers count as zero.
DEVICE float exp2_approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float log2_approximate(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory, or 16 zero bytes if not `valid`; both addresses multiples of 16. They
// are there for this thread after `copy_async_wait`, for the others after a barrier behind that.
DEVICE void copy_async(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
}
// Closes a group: of all copies this thread has begun since the last one.
DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most the last N groups of this thread are under way.
template <int N>
DEVICE void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes,
// shared memory) and receives of each matrix, in one register, elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
// Transposed: rows 2 (l % 4) and 2 (l % 4) + 1 of column l / 4.
DEVICE void load_matrices(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
DEVICE void load_matrices_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b of a warp, fp32 sums: a 16 x 16 by rows, b 16 x 8 by columns, c 16 x 8. With g = lane / 4 and
// t = lane % 4: c is (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1); a, two elements a register: (g, 2t),
// (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); b: rows 2t and 2t + 8 of column g.
template <class T>
DEVICE void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
template <>
DEVICE void multiply<bfloat16>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
DEVICE void multiply<float16>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Of all 32 lanes at once.
DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE int shuffle_xor(int x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE float shuffle(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
DEVICE int shuffle(int x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bfloat16 x) { return __int_as_float((int)x.bits << 16); }
DEVICE float to_float(float16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

// To the nearest, ties to even.
template <class T>
DEVICE T from_float(float x);
template <>
DEVICE float from_float<float>(float x) { return x; }
template <>
DEVICE bfloat16 from_float<bfloat16>(float x) {
    bfloat16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
template <>
DEVICE float16 from_float<float16>(float x) {
    float16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two elements in one register, `low` in the lower half.
template <class T>
DEVICE unsigned pack(float low, float high);
template <>
DEVICE unsigned pack<bfloat16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
template <>
DEVICE unsigned pack<float16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

#else

DEVICE float infinity() { return __builtin_huge_valf(); }
DEVICE float exp2_approximate(float x) { return emulator::exp2_flushed(x); }
DEVICE float log2_approximate(float x) { return emulator::log2_flushed(x); }
DEVICE void copy_async(void* shared, const void* global, bool valid) {
    emulator::copy_async(shared, global, valid);
}
DEVICE void copy_async_commit() { emulator::copy_async_commit(); }
template <int N>
DEVICE void copy_async_wait() {
    emulator::copy_async_wait(N);
}
DEVICE void load_matrices(unsigned (&r)[4], const void* row) { emulator::load_matrices(r, row, false); }
DEVICE void load_matrices_transposed(unsigned (&r)[4], const void* row) { emulator::load_matrices(r, row, true); }
template <class T>
DEVICE void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
template <>
DEVICE void multiply<bfloat16>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    emulator::multiply(c, a, b0, b1, true);
}
template <>
DEVICE void multiply<float16>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    emulator::multiply(c, a, b0, b1, false);
}
DEVICE float shuffle_xor(float x, int mask) { return emulator::shuffle(x, emulator::lane() ^ mask); }
DEVICE int shuffle_xor(int x, int mask) { return emulator::shuffle(x, emulator::lane() ^ mask); }
DEVICE float shuffle(float x, int lane) { return emulator::shuffle(x, lane); }
DEVICE int shuffle(int x, int lane) { return emulator::shuffle(x, lane); }
DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bfloat16 x) { return emulator::from_bfloat16(x.bits); }
DEVICE float to_float(float16 x) { return emulator::from_float16(x.bits); }
template <class T>
DEVICE T from_float(float x);
template <>
DEVICE float from_float<float>(float x) { return x; }
template <>
DEVICE bfloat16 from_float<bfloat16>(float x) { return {emulator::to_bfloat16(x)}; }
template <>
DEVICE float16 from_float<float16>(float x) { return {emulator::to_float16(x)}; }
template <class T>
DEVICE unsigned pack(float low, float high) {
    return from_float<T>(low).bits | (unsigned)from_float<T>(high).bits << 16;
}

#endif

// Two neighbours at an address that is a multiple of their size together.
DEVICE void store_pair(float* to, float low, float high) { *(float2*)to = {low, high}; }
DEVICE void store_pair(bfloat16* to, float low, float high) { *(unsigned*)to = pack<bfloat16>(low, high); }
DEVICE void store_pair(float16* to, float low, float high) { *(unsigned*)to = pack<float16>(low, high); }

}  // namespace workbench
