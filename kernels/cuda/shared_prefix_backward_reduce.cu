// The prefix's gradients out of their parts, always added in the same order: a run repeats bit for bit.
//
// Launch: shared_prefix_backward_reduce
//   grid    (ceil(KV P d / 512), 2, 1): y 0 the keys' gradient, 1 the values'
//   block   (128, 1, 1)
//   shared  0 bytes
//   params  SharedPrefixBackwardParams; reads partial_prefix_key_grad, partial_prefix_value_grad; writes
//           prefix_key_grad, prefix_value_grad
#include "shared_prefix_backward_tiles.cuh"

namespace workbench {

constexpr int FEW = 4;  // parts fetched at once

}  // namespace workbench

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS)
    shared_prefix_backward_reduce(const SharedPrefixBackwardParams params) {
    const SharedPrefixInputs& inputs = params.inputs;
    const long long all = (long long)inputs.kv_heads * inputs.prefix * HEAD;
    const long long at = ((long long)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at >= all) return;
    const bool is_value = blockIdx.y == 1;
    const float* parts = (is_value ? params.partial_prefix_value_grad : params.partial_prefix_key_grad) + at;
    float4 sum{0.0f, 0.0f, 0.0f, 0.0f};
    for (int first = 0; first < params.prefix_splits; first += FEW) {
        float4 few[FEW];
#pragma unroll
        for (int i = 0; i < FEW; i++)
            few[i] = first + i < params.prefix_splits ? *reinterpret_cast<const float4*>(parts + (first + i) * all)
                                                      : float4{0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < FEW; i++) {
            sum.x += few[i].x;
            sum.y += few[i].y;
            sum.z += few[i].z;
            sum.w += few[i].w;
        }
    }
    const long long row = at / HEAD, head = row / inputs.prefix;
    const SharedPrefixStrides& strides = is_value ? params.prefix_value_grad_strides : params.prefix_key_grad_strides;
    Element* to = (Element*)(is_value ? params.prefix_value_grad : params.prefix_key_grad) + head * strides.head +
                  (row - head * inputs.prefix) * strides.row + at % HEAD;
#ifdef DTYPE_FP32
    *reinterpret_cast<float4*>(to) = sum;
#else
    *reinterpret_cast<uint2*>(to) = uint2{pack<Element>(sum.x, sum.y), pack<Element>(sum.z, sum.w)};
#endif
}
