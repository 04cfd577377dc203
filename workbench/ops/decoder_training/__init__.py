"""A Llama-shaped decoder trained on a CPU: layers and loss as operators with backward passes of their own."""
