"""What is looked for in what a model writes, and when two answers are the same. A file for each kind."""

from __future__ import annotations

from workbench.prompting.answers.answer import Answer, Kind
from workbench.prompting.answers.extraction import extract, key, same

__all__ = ["Answer", "Kind", "extract", "key", "same"]
