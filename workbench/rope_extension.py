"""Reading beyond the trained length by other rotary angles: how, how far, and what it takes. No torch.

What the angles become is computed by transformers from what is written into a model's configuration; here
is what is written there, and what cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

RopeMethod = Literal["linear", "ntk", "dynamic", "yarn"]
METHODS: tuple[RopeMethod, ...] = get_args(RopeMethod)
TITLES: dict[str, str] = {
    "none": "no extension",
    "linear": "position interpolation",
    "ntk": "NTK-aware",
    "dynamic": "dynamic NTK",
    "yarn": "YaRN",
}
YARN_KEYS = ("beta_fast", "beta_slow", "attention_factor")
"""What only YaRN takes, as transformers calls it."""
ROPE_THETA = 10_000.0
"""The base of the angles where none is said."""
MOST = 1024.0
"""A larger factor is a mistake: angles would be closer together than bf16 can tell apart."""

POSITIONS: dict[str, str] = {
    **dict.fromkeys(("gpt2", "gpt_neo", "opt", "gpt_bigcode", "openai-gpt", "xglm"), "a learned table"),
    **dict.fromkeys(
        ("bert", "electra", "roberta", "distilbert", "albert", "bart", "mbart"), "a learned table"
    ),
    **dict.fromkeys(("camembert", "xlm-roberta", "mpnet"), "a learned table"),
    **dict.fromkeys(("t5", "mt5", "umt5"), "biases by distance"),
    **dict.fromkeys(("bloom", "mpt"), "ALiBi, slopes by distance"),
    "xlnet": "relative positions in two streams",
    **dict.fromkeys(("pegasus", "marian", "m2m_100"), "fixed sinusoids"),
    **dict.fromkeys(("mamba", "mamba2", "rwkv", "falcon_mamba"), "none at all"),
    **dict.fromkeys(("gptj", "codegen"), "rotary ones whose angles are a table of its own"),
}
"""How models without rotary frequencies in their configuration tell places apart, by model type."""


@dataclass(frozen=True)
class RopeExtension:
    """A way to stretch rotary positions (Su et al. 2021) so that `factor` times as many can be told apart.

    `original` is the trained length; None is the model's own context. The last three are YaRN's.
    """

    method: RopeMethod
    factor: float
    original: int | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None

    def context(self, original: int) -> int:
        """Tokens that a model trained on `original` reads then."""
        return math.floor((self.original or original) * self.factor + 1e-9)

    def parameters(self, rope: Mapping[str, Any], original: int, rotary_size: int) -> dict[str, Any]:
        """`rope_parameters` as transformers takes them, from those of a model whose positions are plain.

        `rotary_size` d is the width of a head that is turned. With factor s and base b:

        - linear: frequencies / s (Chen et al. 2023, equation 4);
        - ntk: plain, with the base b·s^(d / (d − 2)), so that the lowest frequency is divided by s and the
          highest by nothing (bloc97 2023; Peng et al. 2023, equation 16);
        - dynamic: the same with s = f·L/L₀ − (f − 1) for a text of L tokens, from L₀ on (emozilla 2023, with
          the factor f, as transformers has it);
        - yarn: by parts, the ramp between `beta_slow` and `beta_fast` turns over L₀ (Peng et al. 2023,
          equations 17 to 22), and cosine and sine times 0.1 ln s + 1.

        Raises `ValueError` where the method needs more room than a head has.
        """
        plain = {key: value for key, value in rope.items() if key not in ("type", "factor")}
        if self.method in ("ntk", "dynamic") and rotary_size < 4:
            raise ValueError(
                f"{TITLES[self.method]} raises the base to the power d/(d − 2), and its heads turn only "
                f"{rotary_size} numbers; linear or yarn would do"
            )
        if self.method == "ntk":
            base = float(plain["rope_theta"]) * self.factor ** (rotary_size / (rotary_size - 2))
            return {**plain, "rope_type": "default", "rope_theta": base}
        found = {**plain, "rope_type": self.method, "factor": float(self.factor)}
        if self.method == "yarn":
            found["original_max_position_embeddings"] = self.original or original
            found |= {name: float(value) for name in YARN_KEYS if (value := getattr(self, name)) is not None}
        return found


def extension_problem(
    method: str | None, factor: float | None, others: Mapping[str, float | None]
) -> str | None:
    """What is wrong with such an extension whatever the model is, and what would be right; None if nothing.

    `others` are `original_max_position_embeddings` and the keys of YaRN, as far as they are given.
    """
    given = {name: value for name, value in others.items() if value is not None}
    if method is None:
        if factor is not None or given:
            name = "rope_factor" if factor is not None else f"rope_{next(iter(given))}"
            name = name.replace("rope_original_max", "original_max")
            return (
                f"{name} says how far positions are stretched, and rope_scaling not how: one of {_listed()}"
            )
        return None
    if method not in METHODS:
        return f"there is no rope_scaling “{method}”: one of {_listed()}"
    if factor is None:
        return f"rope_scaling {method} needs rope_factor, how many times longer: 4 makes 256 tokens 1,024"
    if not (isinstance(factor, int | float) and math.isfinite(factor)):
        return f"rope_factor {factor} is no number"
    if factor < 1:
        return (
            f"rope_factor {factor:g} would shorten the context; 1 leaves it, {_inverse(factor)} lengthens it"
        )
    if factor > MOST:
        return f"rope_factor {factor:g} is more than {MOST:g}, which no method was seen to bear"
    wrong = sorted(set(given) & set(YARN_KEYS)) if method != "yarn" else []
    if wrong:
        return f"rope_{wrong[0]} belongs to rope_scaling yarn, not to {method}"
    fast, slow = others.get("beta_fast") or 32.0, others.get("beta_slow") or 1.0
    if fast <= slow:
        return f"rope_beta_fast {fast:g} must be more than rope_beta_slow {slow:g}: 32 and 1 are the paper's"
    return None


def _inverse(factor: float) -> str:
    return f"{1 / factor:g}" if factor > 1 / MOST else "2"


def _listed() -> str:
    return ", ".join(METHODS)


def positions_of(model_type: str) -> str:
    """How a model of a type tells places apart, in words, where it is not by rotary frequencies."""
    return POSITIONS.get(model_type, "no rotary ones")


def config_problem(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config.json cannot be stretched, as far as the file tells; None where it can."""
    kind = str(config.get("model_type", ""))
    if kind in POSITIONS:
        return f"a model of type {kind} tells places apart by {POSITIONS[kind]}, which cannot be stretched"
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    types = {
        str(part.get("rope_type", part.get("type", "default")))
        for part in (rope, *rope.values())
        if isinstance(part, Mapping)
    }
    done = sorted(types - {"default"})
    made = config.get("rope_extension")
    if isinstance(made, Mapping) or done:
        how = str((made.get("method") if isinstance(made, Mapping) else None) or ", ".join(done))
        return f"its positions are stretched already ({TITLES.get(how, how)}); leave rope_scaling out"
    return None


FLAT: dict[str, str] = {
    "rope_type": "rope_scaling",
    "type": "rope_scaling",
    "factor": "rope_factor",
    "rope_theta": "rope_theta",
    "original_max_position_embeddings": "original_max_position_embeddings",
    **{name: f"rope_{name}" for name in YARN_KEYS},
}
"""The keys of the recipe by those of transformers' mapping."""


def with_flat_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """A model section with keys of its own for what `rope_scaling` says in transformers' way.

    transformers writes the base of the angles there too, and a mapping for plain positions. Raises
    `ValueError` for a key that the mapping has not, for a base of a model that is loaded with its own, and
    for two bases.
    """
    given = values.get("rope_scaling")
    if not isinstance(given, Mapping):
        return dict(values)
    unknown = [str(name) for name in given if name not in FLAT]
    if unknown:
        known = ", ".join(name for name in FLAT if name != "type")
        raise ValueError(f"rope_scaling knows no key “{unknown[0]}”; it takes {known}")
    if "rope_theta" in given and values.get("model_name_or_path"):
        raise ValueError("rope_scaling: rope_theta is the loaded model's own; leave it out")
    flat = {FLAT[name]: value for name, value in given.items()}
    if flat.get("rope_scaling") == "default":
        flat["rope_scaling"] = None
    # What was set beside the mapping was set later: by a form, or as key.path=value.
    beside = {name: values[name] for name in FLAT.values() if name != "rope_scaling" and values.get(name)}
    if (own := flat.get("rope_theta")) is not None:
        # But a base stands in every preset and whole recipe, be it the default.
        base = beside.pop("rope_theta", ROPE_THETA)
        if base not in (own, ROPE_THETA):
            raise ValueError(
                f"rope_theta is {own} in rope_scaling, and {base} beside it; leave one of them out"
            )
    return {**values, "rope_scaling": None, **flat, **beside}
