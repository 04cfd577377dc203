// What the soft-prompt embedding kernels are called with: plain C structures, one a kernel, passed by value.
//
// Letters: B rows of the batch, T tokens of a row, P virtual tokens, N soft prompts, V entries of the table, D size
// of an embedding. Element type (compiled in, DTYPE_*) is that of the table and the output; the prompt has it too, or
// fp32 with the macro PROMPT_FP32.
//
// Required: all tensors contiguous, addresses multiples of 16 bytes, D a multiple of 8 (DTYPE_FP32: of 4), B, P and
// D at least 1, (P + T) B below 2^31.
#pragma once

// soft_prompt_embedding
struct SoftPromptEmbeddingParams {
    const void* table;            // [V, D], elements
    const long long* ids;         // [B, T]; a row of NaN for one outside 0 .. V - 1
    const void* prompt;           // [N, P, D]
    const long long* index;       // [B] or null (the first prompt for all); rows of NaN for one outside 0 .. N - 1
    void* output;                 // [B, P + T, D], elements
    long long vocabulary, prompts;
    int batch, tokens, virtual_tokens, size;
    float scale;  // of the tokens, rounded to the element type here; 1: untouched
};

// soft_prompt_embedding_backward
struct SoftPromptEmbeddingBackwardParams {
    const void* grad;             // [B, P + T, D], elements
    const long long* index;       // [B] or null
    void* prompt_grad;            // [N, P, D], of the prompt's type: summed over the rows in fp32, in their order
    int batch, tokens, virtual_tokens, prompts, size;
};
