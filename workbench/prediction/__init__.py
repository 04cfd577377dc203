"""Predicting and evaluating with a trained model, a process of its own: `python -m workbench.prediction`."""
