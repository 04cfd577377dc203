"""Models that read beyond the trained length: their rotary angles stretched, in transformers' format.

Nothing of a model changes but its configuration, which is saved with it: what is trained or served with an
extension loads anywhere with the same angles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.rope_extension import (
    METHODS,
    TITLES,
    YARN_KEYS,
    RopeExtension,
    extension_problem,
    positions_of,
)

if TYPE_CHECKING:
    from workbench.recipe import ModelSection

RECORD = "rope_extension"
"""Where a configuration says by what, and from what length, its positions were stretched: transformers has
no type for a larger base, and forgets the trained length of most methods."""
MOVING = ("dynamic",)
"""Kinds whose angles depend on the length of the text."""
WINDOWED = ("sliding", "chunked", "local")
"""Words in the names of layers that see no further than a window: their angles never leave what they know."""


def extend(config: Any, extension: RopeExtension, where: str = "") -> None:
    """Stretch the rotary positions of a configuration of transformers, in place; a factor of 1 leaves it.

    `max_position_embeddings` becomes the new context, but for dynamic NTK, where transformers reads from it
    from which length on to stretch. Layers with a window keep their angles where they have parameters of
    their own. Raises `ModelError` for a model that has no rotary positions, stretched ones already, or
    windows alone, and for heads that are too small.
    """
    text = config.get_text_config()
    original = _original(text, extension, where)
    _check(text, extension, original, where)
    if extension.factor == 1:
        return
    size = rotary_size(text)
    try:
        changed = [(rope, extension.parameters(rope, original, size)) for rope in _stretched(text)]
    except ValueError as error:
        raise ModelError(str(error), where=where) from None
    for rope, new in changed:
        rope.clear()
        rope.update(new)
    dynamic = extension.method == "dynamic"
    text.max_position_embeddings = original if dynamic else extension.context(original)
    if hasattr(text, "original_max_position_embeddings"):
        # Phi-3 has it beside the parameters, and believes that one.
        text.original_max_position_embeddings = original
    record = {"method": extension.method, "factor": float(extension.factor)}
    setattr(text, RECORD, {**record, "original_max_position_embeddings": original})


def _original(text: Any, extension: RopeExtension, where: str) -> int:
    context = int(getattr(text, "max_position_embeddings", 0) or 0)
    if extension.original is not None:
        if context and extension.original > context:
            raise ModelError(
                f"original_max_position_embeddings {extension.original:,} is more than the model's context "
                f"of {context:,} tokens",
                where=where,
                hint="name the length that it was trained on, or leave it empty",
            )
        return extension.original
    return context


def _check(text: Any, extension: RopeExtension, original: int, where: str) -> None:
    if problem := extension_problem(extension.method, extension.factor, {}):
        raise ModelError(problem, where=where)
    kind = str(getattr(text, "model_type", ""))
    ropes = list(parameters_of(text))
    if not ropes or getattr(text, "alibi", False):
        found = "ALiBi, slopes by distance" if getattr(text, "alibi", False) else positions_of(kind)
        raise ModelError(
            f"its rotary positions cannot be stretched, for it has none: a model of type {kind} tells places "
            f"apart by {found}",
            where=where,
            hint="extension is for Llama, Mistral, Qwen, SmolLM, Gemma, ModernBERT and the like",
        )
    done = extension_of(text)
    if done is not None:
        raise ModelError(
            f"its positions are stretched already: {in_words(done)}",
            where=where,
            hint="leave rope_scaling out, or start from the model that was extended",
        )
    stretched = _stretched(text)
    if other := sorted({str(rope.get("rope_type", "default")) for rope in stretched} - {"default"}):
        raise ModelError(
            f"its rotary positions are of a kind of their own ({other[0]}), which no method here stretches",
            where=where,
            hint="leave rope_scaling out",
        )
    if not stretched or _sees_windows_only(text, original):
        raise ModelError(
            "every layer of it sees a window only, and no distance in it is new",
            where=where,
            hint="leave rope_scaling out",
        )


def parameters_of(config: Any) -> Iterator[dict[str, Any]]:
    """The mappings with rotary parameters of a configuration: one, or one for each kind of layer."""
    for _, rope in _named(config):
        yield rope


def _named(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    found = getattr(config.get_text_config(), "rope_parameters", None) or {}
    nested = {name: part for name, part in found.items() if isinstance(part, dict)}
    if nested:
        yield from nested.items()
    elif found and (found.get("rope_theta") or found.get("rope_type")):
        yield "", found


def _stretched(text: Any) -> list[dict[str, Any]]:
    """The parameters of the layers that see everything, to be changed."""
    found = []
    for name, rope in list(_named(text)):
        if any(word in name for word in WINDOWED):
            continue
        if name:
            # Kinds of layers may share one mapping.
            rope = text.rope_parameters[name] = dict(rope)
        found.append(rope)
    return found


def _sees_windows_only(text: Any, original: int) -> bool:
    """Whether all layers have a window that is no longer than the trained length."""
    window, kinds = getattr(text, "sliding_window", None), getattr(text, "layer_types", None)
    if not window or window > original:
        return False
    if not kinds:
        return bool(text.model_type == "mistral")
    return all(any(word in kind for word in WINDOWED) for kind in kinds)


def rotary_size(config: Any) -> int:
    """How many numbers of a head are turned."""
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    rope = next(parameters_of(text), {})
    share = rope.get("partial_rotary_factor") or getattr(text, "partial_rotary_factor", None) or 1.0
    return int(head * share)


def extension_of(config: Any) -> dict[str, Any] | None:
    """By what a configuration's positions are stretched: `method`, `factor` and, where it is known,
    `original_max_position_embeddings`; None where they are as the model was built."""
    text = config.get_text_config()
    if (made := _record(text)) is not None:
        return made
    for rope in parameters_of(text):
        kind = str(rope.get("rope_type", rope.get("type", "default")))
        if kind not in ("default", "proportional", "axial"):
            names = ("factor", "original_max_position_embeddings")
            return {"method": kind, **{name: rope[name] for name in names if rope.get(name) is not None}}
    return None


def _record(text: Any) -> dict[str, Any] | None:
    """What `extend` wrote into a configuration; None where there is nothing, or nothing of the kind."""
    found = getattr(text, RECORD, None)
    if not isinstance(found, Mapping) or found.get("method") not in METHODS:
        return None
    numbers = (found.get(name) for name in ("factor", "original_max_position_embeddings"))
    return dict(found) if all(isinstance(number, int | float) for number in numbers) else None


def recorded(config: Any) -> RopeExtension | None:
    """The extension that was made here and saved with a configuration, to be made again of that of the
    model that adapters are for, which knows nothing of it."""
    text = config.get_text_config()
    found = _record(text)
    if found is None:
        return None
    rope = next((part for part in parameters_of(text) if part.get("rope_type") == "yarn"), {})
    return RopeExtension(
        found["method"],
        float(found["factor"]),
        int(found["original_max_position_embeddings"]),
        **{name: rope.get(name) for name in YARN_KEYS},
    )


def in_words(extension: Mapping[str, Any]) -> str:
    """An extension for people: `YaRN ×4 from 256 tokens`."""
    method, original = str(extension["method"]), extension.get("original_max_position_embeddings")
    factor = f" ×{float(extension['factor']):g}" if extension.get("factor") else ""
    return TITLES.get(method, method) + factor + (f" from {int(original):,} tokens" if original else "")


def is_moving(config: Any) -> bool:
    """Whether angles depend on the length of the text, so that cached keys do not stay what they were."""
    return any(rope.get("rope_type") in MOVING for rope in parameters_of(config))


def stretched_context(config: Any, context: int) -> int:
    """The context of a configuration that says `context`: with dynamic NTK that is the trained length."""
    factors = [float(rope["factor"]) for rope in parameters_of(config) if rope.get("rope_type") in MOVING]
    return int(context * max(factors, default=1.0) + 1e-9)


def hold_still(config: Any, length: int) -> str | None:
    """Give a dynamic NTK configuration the angles of a text of `length` tokens once and for all, in place;
    says so, or None where nothing moves.

    A cache holds keys turned by the base of the moment: were the base to change with every further token, the
    keys before would be of another model than the queries, and so would their values be in all layers but the
    first, which no turning mends. So whoever keeps a cache decides first for how long a text.
    """
    if not is_moving(config):
        return None
    text = config.get_text_config()
    size, original = rotary_size(text), int(text.max_position_embeddings)
    for rope in _stretched(text):
        if rope.get("rope_type") not in MOVING:
            continue
        factor = float(rope.pop("factor"))
        scale = max(1.0, factor * length / original - (factor - 1))
        rope["rope_theta"] = float(rope["rope_theta"]) * scale ** (size / (size - 2))
        rope["rope_type"] = "default"
    text.max_position_embeddings = max(original, length)
    return f"dynamic NTK held at the angles of {max(original, length):,} tokens, for keys that are cached"


def with_extension(section: ModelSection, extension: RopeExtension) -> ModelSection:
    """A recipe's model section that asks for an extension."""
    update = {
        "rope_scaling": extension.method,
        "rope_factor": extension.factor,
        "original_max_position_embeddings": extension.original,
        **{f"rope_{name}": getattr(extension, name) for name in YARN_KEYS},
    }
    return section.model_copy(update=update)
