"""Prompting techniques: each turns an input into requests, and their results into an outcome. No torch."""
