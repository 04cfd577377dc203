"""Abuse in text: word lists, patterns, classifiers."""
