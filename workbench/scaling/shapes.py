"""From a number of parameters to the shape of a decoder that has about as many, counted exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.errors import RecipeError
from workbench.models.estimate import Known, estimate
from workbench.recipe import Recipe
from workbench.scaling.laws import Count
from workbench.scaling.spec import ShapesSection

WIDEST = 65536
NEAR = 2
"""Widths, and layers, looked at on either side of the rule's."""
SMOOTH = 0.2
"""What being off the rule's aspect costs, against being off the wanted N."""


@dataclass(frozen=True)
class Sized:
    """A shape and what it comes to: exact parameters, operations for a token, bytes in training."""

    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int
    total: int
    non_embedding: int
    flops_per_token: float
    memory: int

    def parameters(self, count: Count) -> int:
        """N, as counted."""
        return self.total if count == "total" else self.non_embedding

    def changes(self) -> dict[str, int | None]:
        """The keys of a recipe's model section that make it."""
        return {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "intermediate_size": None,
        }


class Family:
    """The shapes of one recipe by one rule."""

    def __init__(self, recipe: Recipe, rule: ShapesSection, where: str) -> None:
        self.recipe, self.rule, self.where = recipe, rule, where
        self._known: dict[tuple[int, int], Sized] = {}

    def shape(self, width: int, layers: int) -> Sized:
        """A shape of this width and depth."""
        if (width, layers) not in self._known:
            self._known[width, layers] = self._measure(width, layers)
        return self._known[width, layers]

    def smallest(self) -> Sized:
        """The smallest shape that the rule allows."""
        return self.shape(self._narrowest * self.rule.head_size, self.rule.least_layers)

    @property
    def _narrowest(self) -> int:
        """Heads of the least width."""
        return max(1, -(-self.rule.least_width // self.rule.head_size))

    def nearest(self, parameters: float) -> Sized:
        """The shape whose N is nearest, its width near `aspect` for each layer."""
        step, count = self.rule.head_size, self.rule.count
        low, high = self._narrowest, WIDEST // step
        # The rule's own shapes grow with the width: the last that is not too large.
        while low < high:
            middle = (low + high + 1) // 2
            if self.shape(middle * step, self._layers(middle * step)).parameters(count) <= parameters:
                low = middle
            else:
                high = middle - 1
        return min(
            (
                self.shape(width * step, layers)
                for width in range(max(self._narrowest, low - NEAR), low + NEAR + 1)
                for layers in self._depths(width * step)
            ),
            # The family should stay smooth: a few percent of N are worth less than a shape like the others.
            key=lambda one: (
                abs(math.log(one.parameters(count) / parameters))
                + SMOOTH * abs(math.log(one.hidden_size / one.layers / self.rule.aspect))
            ),
        )

    def _layers(self, width: int) -> int:
        return max(self.rule.least_layers, round(width / self.rule.aspect))

    def _depths(self, width: int) -> range:
        middle = self._layers(width)
        # Where the least number of layers decides, more would be none of the rule's making.
        reach = 0 if width / self.rule.aspect < self.rule.least_layers - 0.5 else min(NEAR, middle // 4 + 1)
        return range(max(self.rule.least_layers, middle - reach), middle + reach + 1)

    def _measure(self, width: int, layers: int) -> Sized:
        heads = max(1, width // self.rule.head_size)
        groups = self.rule.key_value_groups
        shared = heads // groups if heads % groups == 0 else heads
        section = self.recipe.model.model_copy(
            update={
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "num_key_value_heads": shared,
                "intermediate_size": None,
            }
        )
        known = self._estimate(self.recipe.model_copy(update={"model": section}))
        return Sized(
            width,
            layers,
            heads,
            shared,
            known.parameters.total,
            known.parameters.without_embeddings,
            known.flops.training,
            known.memory.peak,
        )

    def _estimate(self, recipe: Recipe) -> Known:
        found = estimate(recipe)
        if found.known is None:
            raise RecipeError(f"the shape cannot be reckoned: {found.reason}", where=self.where)
        return found.known
