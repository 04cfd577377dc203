"""What the process can be asked to do."""

from __future__ import annotations

from transformers.utils import logging

from workbench.prediction.context_cost import context_cost
from workbench.prediction.corpus import corpus
from workbench.prediction.evaluate import evaluate_recipe
from workbench.prediction.evaluate_file import evaluate_file
from workbench.prediction.events import Command
from workbench.prediction.long_context.evaluate import long_context
from workbench.prediction.long_context.texts import passkey_texts
from workbench.prediction.predict import predict
from workbench.prediction.sums import sums

# What concerns a person is said by our own errors; the rest would stand in the midst of a progress line.
logging.set_verbosity_error()
logging.disable_progress_bar()

COMMANDS: dict[str, Command] = {
    "predict": predict,
    "evaluate_recipe": evaluate_recipe,
    "evaluate_file": evaluate_file,
    "long_context": long_context,
    "passkey_texts": passkey_texts,
    "context_cost": context_cost,
    "corpus": corpus,
    "sums": sums,
}
