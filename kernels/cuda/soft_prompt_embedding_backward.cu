// The gradient of soft prompts: that of their places, summed over the rows that have them. Each number is one thread's
// and the rows are added in their order, so that the same input gives the same bits.
//
// Launch: soft_prompt_embedding_backward
//   grid    (ceil(P D / (128 (16 / sizeof(Element)))), N, 1)
//   block   (128, 1, 1)
//   shared  0
//   params  SoftPromptEmbeddingBackwardParams; writes all of prompt_grad
#include "soft_prompt_embedding_rows.cuh"

using namespace workbench;

extern "C" __global__ void __launch_bounds__(THREADS)
    soft_prompt_embedding_backward(const SoftPromptEmbeddingBackwardParams params) {
    const int pieces = params.size / PIECE, own = params.virtual_tokens * pieces;
    const int at = blockIdx.x * THREADS + threadIdx.x, prompt = blockIdx.y;
    if (at >= own) return;
    float sums[PIECE];
#pragma unroll
    for (int i = 0; i < PIECE; i++) sums[i] = 0.0f;
    // Virtual tokens come first in a row of the output: place and piece count alike in both.
    const Piece* grad = (const Piece*)params.grad + at;
    const long long step = (long long)(params.virtual_tokens + params.tokens) * pieces;
    for (int row = 0; row < params.batch; row++, grad += step) {
        if (params.index && params.index[row] != prompt) continue;
        const Piece piece = *grad;
#pragma unroll
        for (int i = 0; i < PIECE; i++) sums[i] += to_float(piece.of[i]);
    }
    PromptPiece total;
#pragma unroll
    for (int i = 0; i < PIECE; i++) total.of[i] = from_float<PromptElement>(sums[i]);
    ((PromptPiece*)params.prompt_grad)[(long long)prompt * own + at] = total;
}
