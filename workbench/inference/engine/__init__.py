"""The engine: one loaded model, many requests at once, in one process."""
