// delta: of each query the sum over d of grad x output, which every other kernel of the backward subtracts.
//
// Launch: shared_prefix_backward_delta
//   grid    (ceil(B H S / 4), 1, 1): a warp a query
//   block   (128, 1, 1)
//   shared  0 bytes
//   params  SharedPrefixBackwardParams; reads output, grad; writes delta
#include "shared_prefix_backward_tiles.cuh"

namespace workbench {

#ifdef DTYPE_FP32
DEVICE float2 load_pair(const float* from) { return *reinterpret_cast<const float2*>(from); }
#else
DEVICE float2 load_pair(const Element* from) {
    const unsigned both = *reinterpret_cast<const unsigned*>(from);
    return float2{to_float(Element{(unsigned short)both}), to_float(Element{(unsigned short)(both >> 16)})};
}
#endif

}  // namespace workbench

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS)
    shared_prefix_backward_delta(const SharedPrefixBackwardParams params) {
    const SharedPrefixInputs& inputs = params.inputs;
    const int lane = threadIdx.x % WARP;
    const long long at = (long long)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (at >= (long long)inputs.batch * inputs.heads * inputs.queries) return;
    const long long head = at / inputs.queries, batch = head / inputs.heads;
    auto row_of = [&](const void* tensor, const SharedPrefixStrides& strides) {
        return (const Element*)tensor + batch * strides.batch + (head - batch * inputs.heads) * strides.head +
               (at - head * inputs.queries) * strides.row;
    };
    const Element* grad = row_of(params.grad, params.grad_strides);
    const Element* output = row_of(params.output, params.output_strides);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < (HEAD / 2 + WARP - 1) / WARP; i++) {
        const int pair = lane + i * WARP;
        if (pair < HEAD / 2) {
            const float2 one = load_pair(grad + 2 * pair), other = load_pair(output + 2 * pair);
            sum = fmaf(one.x, other.x, fmaf(one.y, other.y, sum));
        }
    }
#pragma unroll
    for (int mask = WARP / 2; mask; mask /= 2) sum += shuffle_xor(sum, mask);
    if (lane == 0) params.delta[at] = sum;
}
