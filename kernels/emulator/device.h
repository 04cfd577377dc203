// The host's side of ../cuda/primitives.cuh: what stands in for a GPU while a kernel's source runs on a CPU.
// Light on purpose: every kernel includes it, and what it declares is compiled once, in runtime.cpp.
#pragma once

#include <math.h>

#define DEVICE inline
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define DYNAMIC_SHARED(name) unsigned char* const name = emulator::shared_memory()

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a < b ? b : a; }

namespace emulator {

// Where the running thread stands; set by the scheduler before it runs.
struct Place {
    dim3 thread, block, block_size, grid_size;
};
extern Place place;

unsigned char* shared_memory();
int lane();
void block_barrier();
void warp_barrier();
void copy_async(void* shared, const void* global, bool valid);
void copy_async_commit();
void copy_async_wait(int groups);
void load_matrices(unsigned* registers, const void* row, bool transposed);
void multiply(float* c, const unsigned* a, unsigned b0, unsigned b1, bool bfloat16);
float shuffle(float x, int lane);
int shuffle(int x, int lane);
float exp2_flushed(float x);
float log2_flushed(float x);
float from_bfloat16(unsigned short bits);
float from_float16(unsigned short bits);
unsigned short to_bfloat16(float x);
unsigned short to_float16(float x);

}  // namespace emulator

#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)
inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp() { emulator::warp_barrier(); }
