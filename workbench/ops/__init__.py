"""Fused operators: each has a definition in plain PyTorch, a fast path, and a choice between the two."""
