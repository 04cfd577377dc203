"""Models opened for inference, from wherever they lie: folders, runs, the hub, GGUF files, adapters."""
