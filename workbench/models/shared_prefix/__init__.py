"""Attention to a prefix shared by all rows, inside decoders of transformers: learned (PEFT's prefix tuning)
or the common prompt of many samples; never expanded over the batch."""
