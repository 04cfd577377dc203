"""Copies and near copies: signatures on disk, candidates by sorting, exact verification, one that stays."""
