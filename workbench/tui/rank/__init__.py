"""Ranking answers by keys: the list of sessions, the answers beside each other, what it all amounts to."""
