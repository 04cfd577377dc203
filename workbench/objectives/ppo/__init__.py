"""The formulas of PPO and its critic-free relatives, as pure functions on tensors, and what guards a run."""
