"""Several completions of a prompt through a decoder with the prompt computed once: all tokens of a batch are
in one flat row, and only attention sees them as the separate rows that they are."""
