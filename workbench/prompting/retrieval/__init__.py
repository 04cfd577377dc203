"""Retrieval: documents are read, cut into passages, indexed, found again, and cited. No torch."""
