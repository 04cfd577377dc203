"""Fused operators: each has a definition in plain PyTorch, a fast path, and a choice between the two."""

from __future__ import annotations

from typing import Any

__all__ = ["explain"]


def explain(operator: str, *args: Any, **options: Any) -> dict[str, Any]:
    """Which path an operator takes for a call, and why: see `workbench.ops.explanation.explain`."""
    from workbench.ops.explanation import explain as tell

    return tell(operator, *args, **options)
