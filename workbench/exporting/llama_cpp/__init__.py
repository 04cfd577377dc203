"""GGUF files as llama.cpp reads them: names, shapes and orders of its own, checked by loading them in it."""
