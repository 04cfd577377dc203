"""In what numbers a layout multiplies, and by what operators."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.models.estimate.activations import FLOAT, HALF
from workbench.scaling.layouts.layout import Layout


@dataclass(frozen=True)
class Precision:
    """Whether matrices are multiplied in half precision; whether a CPU has fused layers and heads, which
    are used where a layer is not split inside."""

    half: bool = True
    fused: bool = False
    fused_head: bool = False

    def within(self, layout: Layout) -> Precision:
        """What of it holds in a layout."""
        return replace(
            self,
            fused=self.fused and layout.tp * layout.cp == 1,
            # A head that is sharded is whole only inside its own forward pass.
            fused_head=self.fused_head and layout.ranks == layout.dp_replicate,
        )

    @property
    def width(self) -> int:
        """Bytes of a number that matrices are multiplied in."""
        return HALF if self.half else FLOAT
