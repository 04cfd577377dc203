"""Log-probabilities of chosen tokens, from hidden states and the head's weights, without all the logits."""
