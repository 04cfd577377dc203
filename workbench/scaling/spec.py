"""What a study's file says: what its runs share, the budget, the grid, the shapes, the rules of training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from workbench.errors import RecipeError
from workbench.recipe.not_a_section import NOT_A_SECTION, not_a_section
from workbench.recipe.section import Section
from workbench.scaling.laws import Count

GridName = Literal["isoflop", "ratio", "free"]


class BudgetSection(Section):
    """What all runs of the study may take together: operations, or hours on something."""

    flops: float | None = Field(None, gt=0, description="Floating-point operations of all runs together.")
    hours: float | None = Field(
        None, gt=0, description="Hours instead: on this machine, or on `gpus` of `gpu`."
    )
    gpu: str | None = Field(None, description="A GPU by name, such as H100. Empty: this machine.")
    gpus: int = Field(1, ge=1, description="How many of them.")
    flops_per_second: float | None = Field(
        None, gt=0, description="What training reaches on the machine. Empty: as measured or assumed."
    )

    @model_validator(mode="after")
    def _one(self) -> BudgetSection:
        if self.flops is not None and self.hours is not None:
            raise ValueError("flops and hours are both given; choose one")
        return self


class IsoFlopSection(Section):
    """Several sizes at each of a few compute budgets (Hoffmann et al. 2022, approach 2)."""

    levels: int = Field(4, ge=1, description="Compute budgets.")
    spacing: float = Field(2.0, gt=1, description="Each budget as a multiple of the one before.")
    sizes: int = Field(4, ge=3, description="Sizes at each budget.")
    spread: float = Field(
        2.5,
        gt=1,
        description="The largest size at a budget as a multiple of the middle one; so the smallest.",
    )
    tokens_per_parameter: float | None = Field(
        None, gt=0, description="Tokens for each parameter of the middle size. Empty: what the law says."
    )
    compute: list[float] = Field(
        default_factory=list, description="The budgets in FLOPs, instead of levels and spacing."
    )


class RatioSection(Section):
    """Sizes, each trained on a fixed number of tokens for each of its parameters."""

    tokens_per_parameter: list[float] = Field(
        default_factory=lambda: [10.0, 20.0, 40.0], min_length=1, description="The numbers of tokens."
    )
    sizes: int = Field(4, ge=1, description="Sizes, the largest as large as the budget allows.")
    spacing: float = Field(2.0, gt=1, description="Each size as a multiple of the one before.")
    parameters: list[float] = Field(
        default_factory=list, description="The sizes, instead of sizes and spacing."
    )


class FreeSection(Section):
    """Every size with every number of tokens."""

    parameters: list[float] = Field(default_factory=list, description="Sizes.")
    tokens: list[float] = Field(default_factory=list, description="Tokens.")


class ShapesSection(Section):
    """How a number of parameters becomes a shape."""

    count: Count = Field("total", description="What N counts: total, or non_embedding.")
    aspect: float = Field(32.0, gt=0, description="Width for each layer; large models have 64 to 128.")
    head_size: int = Field(16, ge=2, description="Width of a head; the width is a multiple of it.")
    key_value_groups: int = Field(
        1, ge=1, description="Query heads that share keys and values, where the number of heads allows."
    )
    least_layers: int = Field(2, ge=1, description="Layers at least.")
    least_width: int = Field(
        0, ge=0, le=8192, description="Width at least: the narrowest models follow no law of the others."
    )


class RulesSection(Section):
    """How every run is trained; the learning rate decays to the end of each, whatever its length."""

    batch_tokens: int = Field(4096, ge=8, description="Tokens in an optimiser step, the same in all runs.")
    learning_rate: float = Field(
        3e-3, gt=0, description="Peak learning rate at `at_width`, of a run of `at_tokens`."
    )
    learning_rate_rule: Literal["width", "kaplan", "constant"] = Field(
        "width",
        description="width: a power of the width; kaplan: 0.003239 − 0.0001395·ln N (Kaplan et al. 2020, "
        "appendix D.6); constant.",
    )
    at_width: int = Field(128, ge=8, description="The width that learning_rate is for.")
    width_exponent: float = Field(
        -0.5,
        ge=-3,
        le=3,
        description="Of the width rule; −1 as for hidden weights under µP (Yang et al. 2022).",
    )
    at_tokens: float = Field(1e6, gt=0, description="The tokens that learning_rate is for.")
    tokens_exponent: float = Field(
        0.0,
        ge=-2,
        le=2,
        description="Of the tokens, in the width rule and the constant one: longer runs want lower rates, "
        "about −0.3 at one batch (Bjorck et al. 2024).",
    )
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="Share of the steps spent warming up.")
    lr_scheduler_type: Literal["cosine", "linear", "wsd"] = Field(
        "cosine", description="How it falls; always over the whole run."
    )
    min_lr_ratio: float = Field(0.1, ge=0, lt=1, description="What is left of it at the end.")
    evaluations: int = Field(8, ge=1, description="Evaluations in a run, one at the end.")
    eval_tokens: int = Field(131_072, ge=8, description="Held-out tokens in each, the same for all runs.")
    least_steps: int = Field(100, ge=1, description="A run of fewer steps says nothing: refused.")


class ArithmeticSection(Section):
    """Sums in several steps, mixed into the text, for the evaluation of emergence."""

    documents: int = Field(6000, ge=1, description="Documents of sums for training.")
    per_document: int = Field(12, ge=1, description="Sums in a document.")
    weight: float = Field(1.0, gt=0, description="How often each document is seen in an epoch.")
    steps: list[int] = Field(
        default_factory=lambda: [1, 2, 3], min_length=1, description="Additions in a sum."
    )
    largest: int = Field(29, ge=3, description="The largest number that is added.")
    intermediate: bool = Field(True, description="Write the intermediate sums: 3+4+5=7+5=12.")
    held_out: int = Field(100, ge=1, description="Sums kept for the evaluation, of each number of steps.")
    seed: int = Field(0, ge=0, description="Of the sums.")


class StudySpec(Section):
    """All of a study; enough to plan it again."""

    description: str = Field("", description="A line for yourself.")
    base: str = Field("nano", description="The preset or recipe that all runs share.")
    changes: dict[str, Any] = Field(default_factory=dict, description="Laid over it: sections of a recipe.")
    budget: BudgetSection = Field(default_factory=lambda: BudgetSection(), description="The budget.")
    grid: GridName = Field("isoflop", description="isoflop, ratio or free.")
    isoflop: IsoFlopSection = Field(default_factory=lambda: IsoFlopSection(), description="Grid isoflop.")
    ratio: RatioSection = Field(default_factory=lambda: RatioSection(), description="Grid ratio.")
    free: FreeSection = Field(default_factory=lambda: FreeSection(), description="Grid free.")
    shapes: ShapesSection = Field(default_factory=lambda: ShapesSection(), description="Shapes.")
    rules: RulesSection = Field(default_factory=lambda: RulesSection(), description="Training.")
    arithmetic: ArithmeticSection | None = Field(None, description="Sums among the text; empty: none.")
    law: str = Field("besiroglu", description="The published law that places the sizes of a budget.")


def read_spec(mapping: dict[str, Any], where: str) -> StudySpec:
    """Check a study's mapping. Raises `RecipeError` naming the key and what would be right."""
    try:
        return StudySpec.model_validate({key: value for key, value in mapping.items() if value is not None})
    except ValidationError as error:
        raise _explain(error, where) from None


def _explain(error: ValidationError, where: str) -> RecipeError:
    import difflib

    problems = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    first = problems[0]
    dotted = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(known_keys())
        near = difflib.get_close_matches(dotted, known, n=1, cutoff=0.5)
        return RecipeError(
            f"there is no key “{dotted}” in a study",
            where=where,
            hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(StudySpec.model_fields)}",
        )
    if first["type"] in NOT_A_SECTION:
        keys = [key.partition(".")[2] for key in known_keys() if key.startswith(f"{dotted}.")]
        return not_a_section(dotted, first["input"], keys, where)
    message = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] == "value_error" else f", not {first['input']!r}"
    return RecipeError(
        f"{dotted}: {message[0].lower()}{message[1:]}{value}", where=where, hint=known_keys().get(dotted, "")
    )


def known_keys() -> dict[str, str]:
    """Every dotted key of a study with its help."""
    found = {}
    sections: dict[str, type[Section]] = {
        "budget": BudgetSection,
        "isoflop": IsoFlopSection,
        "ratio": RatioSection,
        "free": FreeSection,
        "shapes": ShapesSection,
        "rules": RulesSection,
        "arithmetic": ArithmeticSection,
    }
    for name, field in StudySpec.model_fields.items():
        if name not in sections:
            found[name] = field.description or ""
            continue
        for key, inner in sections[name].model_fields.items():
            found[f"{name}.{key}"] = inner.description or ""
    return found
