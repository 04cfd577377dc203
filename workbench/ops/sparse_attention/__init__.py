"""Causal attention to some of the keys: a window, a window and global tokens, every so manieth."""
