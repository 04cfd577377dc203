// What both soft-prompt embedding kernels share: rows moved in pieces of 16 bytes of elements.
#pragma once
#include "primitives.cuh"
#include "soft_prompt_embedding_params.h"

namespace workbench {

#ifdef PROMPT_FP32
using PromptElement = float;
#else
using PromptElement = Element;
#endif

constexpr int THREADS = 128;
constexpr int PIECE = 16 / (int)sizeof(Element);  // elements of 16 bytes

struct alignas(16) Piece {
    Element of[PIECE];
};
struct alignas(16) PromptPiece {
    PromptElement of[PIECE];
};

}  // namespace workbench
