"""What rankings amount to: agreement, bias, strength of models, and what to rank next."""
