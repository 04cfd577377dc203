"""Soft prompts to train: made, begun from text, folded, saved in PEFT's format, and read as tokens."""

from workbench.models.soft_prompts.reading import NearToken, nearest_to, nearest_tokens

__all__ = ["NearToken", "nearest_to", "nearest_tokens"]
