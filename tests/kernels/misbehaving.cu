// What no kernel may do, for the emulator to complain of.
#include "primitives.cuh"

struct MisbehavingParams {
    const float* from;  // 64
    float* to;          // 64
    int what;
};

extern "C" __global__ void __launch_bounds__(64) misbehaving(const MisbehavingParams params) {
    using namespace workbench;
    DYNAMIC_SHARED(memory);  // 256 bytes
    float* const shared = (float*)memory;
    const int thread = threadIdx.x;
    float x = params.from[thread];
    switch (params.what) {
        case 0:  // nothing wrong: thread i gets the number of thread i ^ 33
            copy_async(shared + thread % 16 * 4, params.from + thread % 16 * 4, true);
            copy_async_commit();
            copy_async_wait<0>();
            __syncthreads();
            x = shuffle_xor(shared[thread ^ 32], 1);
            break;
        case 1:
            if (thread < 40) x = shuffle_xor(x, 1);
            break;
        case 2:
            if (thread < 32) __syncthreads();
            break;
        case 3:
            if (thread < 16)
                x = shuffle_xor(x, 1);
            else
                __syncwarp();
            break;
        case 4:
            params.to[thread + 1] = x;
            break;
        case 5:
            x = params.from[thread - 64 * 64];
            break;
        case 6:
            shared[thread + 32] = x;
            break;
        case 7:
            copy_async(memory + 4, params.from, true);
            break;
        case 8:
            copy_async(memory, params.from + 64, true);
            break;
        case 9:
            copy_async(memory + 256, params.from, true);
            break;
        case 10:
            copy_async(shared + thread % 16 * 4, params.from + thread % 16 * 4, true);
            copy_async_commit();
            break;
        case 11: {
            unsigned matrices[4];
            load_matrices(matrices, memory + thread * 16);
            break;
        }
        case 12:  // undefined numbers
            x = shared[thread];
            break;
    }
    params.to[thread] = x;
}
