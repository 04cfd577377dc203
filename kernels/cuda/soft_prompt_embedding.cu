// Embeddings of soft prompts and of the tokens behind them, each read and written once.
//
// Launch: soft_prompt_embedding
//   grid    (ceil(B (P + T) / 4), 1, 1)
//   block   (128, 1, 1): a warp a row of the output
//   shared  0
//   params  SoftPromptEmbeddingParams; writes all of output
#include "soft_prompt_embedding_rows.cuh"

using namespace workbench;

namespace workbench {

DEVICE Piece not_a_number() {
    Piece piece;
#pragma unroll
    for (int i = 0; i < PIECE; i++) piece.of[i] = from_float<Element>(infinity() - infinity());
    return piece;
}

DEVICE Piece rounded(const PromptPiece& prompt) {
    Piece piece;
#pragma unroll
    for (int i = 0; i < PIECE; i++) piece.of[i] = from_float<Element>(to_float(prompt.of[i]));
    return piece;
}

DEVICE Piece scaled(const Piece& piece, float scale) {
    Piece product;
#pragma unroll
    for (int i = 0; i < PIECE; i++) product.of[i] = from_float<Element>(to_float(piece.of[i]) * scale);
    return product;
}

}  // namespace workbench

extern "C" __global__ void __launch_bounds__(THREADS)
    soft_prompt_embedding(const SoftPromptEmbeddingParams params) {
    const int lane = threadIdx.x % WARP, length = params.virtual_tokens + params.tokens;
    const long long row = (long long)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= (long long)params.batch * length) return;
    const long long batch = row / length;
    const int place = (int)(row - batch * length), pieces = params.size / PIECE;
    Piece* const output = (Piece*)params.output + row * pieces;
    if (place < params.virtual_tokens) {
        const long long which = params.index ? params.index[batch] : 0;
        const bool exists = which >= 0 && which < params.prompts;
        const PromptPiece* const prompt =
            (const PromptPiece*)params.prompt + (which * params.virtual_tokens + place) * pieces;
        for (int i = lane; i < pieces; i += WARP) output[i] = exists ? rounded(prompt[i]) : not_a_number();
        return;
    }
    const long long id = params.ids[batch * params.tokens + place - params.virtual_tokens];
    const bool exists = id >= 0 && id < params.vocabulary;
    const Piece* const entry = (const Piece*)params.table + id * pieces;
    const float scale = to_float(from_float<Element>(params.scale));
    for (int i = lane; i < pieces; i += WARP) {
        if (!exists)
            output[i] = not_a_number();
        else
            output[i] = params.scale == 1.0f ? entry[i] : scaled(entry[i], scale);
    }
}
