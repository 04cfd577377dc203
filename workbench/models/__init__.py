"""Models: built from scratch as transformers configurations, or loaded from safetensors."""
