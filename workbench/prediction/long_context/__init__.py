"""How a decoder reads beyond the length it was trained on: perplexity by position, and passkeys."""
