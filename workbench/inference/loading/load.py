"""One way in: a name becomes a model that is ready to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.data.tokenizer import load_tokenizer
from workbench.data.turn_ends import ends_of_model
from workbench.errors import ModelError
from workbench.inference.loading.adapters import Adapter, apply, brought_by, outputs_of, read_adapter
from workbench.inference.loading.context import context_of
from workbench.inference.loading.device import device_of, dtype_of
from workbench.inference.loading.explain import explain
from workbench.inference.loading.kinds import class_of, kind_of, labels_of
from workbench.inference.loading.loaded import LoadedModel as LoadedModel
from workbench.inference.loading.places import Place, find_place
from workbench.inference.loading.pooling import MODULES, pooling_of
from workbench.inference.loading.weights import config_of, own_weights, read_model
from workbench.models.reward_head import carry_over, is_reward_model
from workbench.models.rope_scaling import extend, extension_of, hold_still, in_words, is_moving, recorded
from workbench.models.rope_scaling_dynamic import use_exact_dynamic

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.rope_extension import RopeExtension

LONGEST_TEXT = 8192
"""Tokens that an encoder reads at most: the work grows with their square."""
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def load_for_inference(
    name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    adapter: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    rope: RopeExtension | None = None,
    max_length: int | None = None,
) -> LoadedModel:
    """The model that a name means: a folder of transformers or PEFT, a run, a GGUF file, a hub's name.

    `adapter` names adapters to put on top, `rope` stretches its rotary positions, and dynamic NTK is held at
    the angles of `max_length` tokens, or of the whole context, where keys are cached. Only safetensors and
    GGUF files are read, and a model's own code is run only with `trust_remote_code`. Raises `ModelError`,
    `MissingExtraError`.
    """
    where = device_of(device)
    place = find_place(name, revision, code=trust_remote_code)
    adapters = [read_adapter(find_place(adapter).folder)] if adapter is not None else []
    if place.is_adapter:
        own = read_adapter(place.folder)
        adapters.insert(0, own)
        place = _base_of(own, trust_remote_code)
    config = _config(place, adapters, trust_remote_code)
    kind, head = kind_of(config, name, adapters[-1].task if adapters else None)
    if (place.folder / MODULES).is_file():
        kind, head = "embedder", None
    still = None
    if rope is not None:
        extend(config, rope, name)
    if kind == "decoder":
        still = hold_still(config, min(context_of(config), max_length or context_of(config)))
    precision, reason = dtype_of(dtype, where, encoder=kind in ("encoder", "embedder"))
    # Read before the weights, for it is what more folders lack, and sooner told.
    tokenizer = _tokenizer(place, [part.folder for part in adapters], trust_remote_code)
    model = read_model(
        place,
        config,
        class_of(config, kind, head),
        precision,
        where,
        code=trust_remote_code,
        brought=frozenset(name for part in adapters for name in brought_by(part)),
    )
    stretched, prefix = extension_of(config), None
    if is_moving(config):
        use_exact_dynamic(model)
    if adapters:
        own_weights(model)
    for part in adapters:
        model, found = apply(model, part)
        if found is not None and prefix is not None:
            raise ModelError("only one soft prompt can stand before a prompt", where=str(part.folder))
        prefix = found or prefix
    pooling = pooling_of(place.folder, last_token=kind == "decoder")
    longest = context_of(config) - (prefix.length if prefix else 0)
    if kind in ("encoder", "embedder"):
        # Where positions have no end, the tokenizer may say how long the texts were that it learnt from.
        longest = min(longest, tokenizer.model_max_length, LONGEST_TEXT)
    return LoadedModel(
        name=name,
        folder=place.folder,
        model=model,
        tokenizer=tokenizer,
        kind=kind,
        head=head,
        labels=labels_of(config, head),
        device=where,
        dtype=precision,
        notes=(
            reason,
            *(f"with the {part.kind} adapter in {part.folder}" for part in adapters),
            *([f"positions stretched: {in_words(stretched)}"] if stretched else []),
            *([still] if still else []),
        ),
        max_length=min(longest, pooling.max_length or longest),
        chat_template=_chat_template(tokenizer),
        eos=ends_of_model(model, tokenizer),
        generation=_generation(model),
        adapters=tuple(str(part.folder) for part in adapters),
        prefix=prefix,
        pooling=pooling,
    )


def _base_of(adapter: Adapter, code: bool) -> Place:
    try:
        base = find_place(adapter.base, adapter.revision, code=code)
    except ModelError as error:
        raise ModelError(
            f"the model that the adapters are for cannot be had: {error.message}",
            where=str(adapter.folder),
            hint=f"they name {adapter.base}; give its place as the model, and the adapters as the adapter",
        ) from None
    if base.is_adapter:
        raise ModelError("the adapters are for other adapters, not for a model", where=str(adapter.folder))
    return base


def _config(place: Place, adapters: list[Adapter], code: bool) -> Any:
    """The model's configuration, with the labels of a head that comes with adapters, and what its positions
    were stretched by: both stand in a config.json beside them, where they were trained here."""
    config = config_of(place, code=code)
    for adapter in adapters:
        beside = (adapter.folder / "config.json").is_file()
        made = recorded(config_of(Place(adapter.folder), code=code)) if beside else None
        if made is not None and extension_of(config) is None:
            # They were trained with other angles than those of their model.
            extend(config, made, str(adapter.folder))
        if adapter.task not in ("SEQ_CLS", "TOKEN_CLS"):
            continue
        if beside:
            own = config_of(Place(adapter.folder), code=code)
            config.id2label, config.label2id = own.id2label, own.label2id
            config.problem_type = own.problem_type
            if is_reward_model(own):
                carry_over(own, config)
        elif (outputs := outputs_of(adapter)) is not None:
            config.num_labels = outputs
    return config


def _tokenizer(place: Place, adapters: list[Path], code: bool) -> Any:
    """That of the adapters where they brought one, else the model's."""
    for folder in (*reversed(adapters), place.folder):
        if any((folder / file).is_file() for file in TOKENIZER_FILES):
            return load_tokenizer(str(folder), revision=None, trust_remote_code=code)
    if place.gguf is None:
        return load_tokenizer(str(place.folder), revision=None, trust_remote_code=code)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(place.folder), gguf_file=place.gguf)
    except Exception as error:
        # transformers reads the tokenizers of some architectures only, and each fails in its own way.
        raise explain(error, str(place.folder / place.gguf)) from error


def _chat_template(tokenizer: Any) -> str | None:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return str(template) if template else None


def _generation(model: Any) -> dict[str, Any]:
    config = getattr(model, "generation_config", None)
    found = {name: getattr(config, name, None) for name in SAMPLING}
    return {name: value for name, value in found.items() if value is not None}
