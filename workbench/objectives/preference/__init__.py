"""Losses that learn from preferences, as pure functions on tensors: rankings, pairs, DPO."""
