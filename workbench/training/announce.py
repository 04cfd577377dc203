"""What a person would want to check before believing a curve, as lines of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.training.announce_positions import position_lines

if TYPE_CHECKING:
    from workbench.training.loop import Trainer

# Counts that are worth a line only when they are not zero, and what they count.
LEFT_OUT = {
    "blank_documents": "blank documents skipped",
    "dropped_from_train": "documents dropped from training, for they are held out too",
    "invalid_utf8": "documents with broken surrogate pairs repaired",
    "cut_files": "long files cut into several documents",
}


def lines(trainer: Trainer, data: dict[str, Any], device: str) -> list[str]:
    """The model, the data, what was left out of it, and the rows and steps it makes."""
    rows, packed = trainer.rows, trainer.rows.report()
    told = [
        *_model(trainer.about, device),
        *position_lines(trainer.recipe, rows),
        f"tokenizer  {data['tokenizer']}, {data['vocab_size']:,} entries",
        f"training   {data['documents']:,} documents, {data['tokens']:,} tokens, {data['bytes']:,} bytes "
        f"({data['bytes_per_token']:.2f} a token)",
        f"held out   {data['eval_documents']:,} documents, {data['eval_tokens']:,} tokens, {data['split']}",
    ]
    for source in [*data["sources"], *data["eval_sources"]]:
        told.append(
            f"source     {source['path']}: {source['documents']:,} documents, {source['bytes']:,} bytes, "
            f"weight {source['weight']:g}"
        )
    told += [f"left out   {data[name]:,} {what}" for name, what in LEFT_OUT.items() if data[name]]
    told.append(
        f"rows       {packed['rows']:,} of {rows.length:,} tokens in an epoch, "
        f"{packed['efficiency']:.2%} filled, {packed['cropped']:,} tokens cropped"
    )
    epochs = trainer.max_steps * trainer.rows_per_step / trainer.rows_per_epoch
    told.append(f"steps      {trainer.max_steps:,} of {trainer.rows_per_step:,} rows: {epochs:.2f} epochs")
    return told


@dataclass(frozen=True)
class About:
    """A model before it is split: its class, how many weights it has and how many of them learn, which are
    new."""

    name: str
    parameters: int
    learning: int
    new: tuple[str, ...]


def about(model: Any) -> About:
    """What there is to say of a whole model."""
    return About(
        type(model).__name__,
        sum(parameter.numel() for parameter in model.parameters()),
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        tuple(getattr(model, "new_weights", None) or ()),
    )


def _model(model: About, device: str) -> list[str]:
    """The model, how much of it learns, and what of it is new."""
    told = [f"model      {model.name}, {model.parameters:,} parameters, on {device}"]
    if model.learning < model.parameters:
        share = f"{model.learning / model.parameters:.2%}"
        told.append(f"learning   {model.learning:,} parameters, {share}; the others stay as they are")
    if model.new:
        names = ", ".join(model.new[:4]) + (" …" if len(model.new) > 4 else "")
        told.append(f"new        {len(model.new)} weights are drawn anew, not from the checkpoint: {names}")
    return told
