"""Token embeddings with soft prompts before them, gathered and written in one pass."""
