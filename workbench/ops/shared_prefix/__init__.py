"""Attention to keys and values that all rows of a batch share, and to each row's own, under one softmax."""
