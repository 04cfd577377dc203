"""Estimates."""
from workbench.models.estimate.load import Load, load_for, load_of
