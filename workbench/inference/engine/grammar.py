"""Grammar-constrained decoding through llguidance: only tokens that a grammar allows can be drawn."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from workbench.inference.engine.requests import RequestRefused

WHITESPACE = r"( |\n {0,16})?"
"""What may stand between the parts of a JSON answer. Small models that may write any number of blanks do so
until their tokens are used up."""
REMEMBERED = 64
"""Grammars that are kept ready: a large schema takes a second to read, and clients send the same again."""


class Grammars:
    """Makes grammars for one tokenizer. Reading the vocabulary takes a moment, so it is done once, when the
    first request wants a grammar. May be used from any thread."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._eos = eos
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _llguidance(self) -> Any:
        import llguidance.hf

        try:
            return llguidance.hf.from_tokenizer(
                self._tokenizer, n_vocab=self._vocabulary, eos_token=sorted(self._eos) or None
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestRefused(
                f"this model's tokenizer cannot be constrained by a grammar: {error}",
                hint="ask without response_format, and without tool_choice “required”",
            ) from None

    def start(self, grammar: str) -> GrammarState:
        """A new state at the start of a grammar. Raises `RequestRefused` when there is an error in it."""
        with self._lock:
            matcher = self._known.get(grammar)
        if matcher is None:
            matcher = self._read(grammar)
        with self._lock:
            self._known[grammar] = matcher
            self._known.move_to_end(grammar)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return GrammarState(matcher.deep_copy())

    def _read(self, grammar: str) -> Any:
        import llguidance

        matcher = llguidance.LLMatcher(self._llguidance, grammar, log_level=0)
        if error := matcher.get_error():
            raise RequestRefused(f"the grammar cannot be used: {error.strip().splitlines()[0]}")
        return matcher


class GrammarState:
    """Where one sample stands in its grammar."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def mask(self, logits: torch.Tensor) -> None:
        """Set the logits [V] of all tokens that may not come next to minus infinity, in place."""
        # llguidance's own function for this is compiled by torch when first called, for half a minute.
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = torch.from_numpy(np.unpackbits(packed, bitorder="little")[: len(logits)])
        logits[len(allowed) :] = -torch.inf
        logits[: len(allowed)].masked_fill_(allowed.to(logits.device) == 0, -torch.inf)

    def accept(self, token: int) -> None:
        """Go on by a token that the mask allowed."""
        self._matcher.consume_token(token)

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow any more, or the grammar's limits were met."""
        return bool(self._matcher.is_stopped())

    @property
    def is_broken(self) -> bool:
        """Whether the grammar became too complex to go on, so that the answer is not whole."""
        return bool(self._matcher.is_error())


def json_schema_grammar(schema: Mapping[str, Any] | None) -> str:
    """A grammar of JSON values that fit a schema; of any object for None. Raises `RequestRefused`."""
    import llguidance

    try:
        return str(
            llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(schema if schema is not None else {"type": "object"}),
                overrides={"whitespace_pattern": WHITESPACE},
            )
        )
    except (ValueError, RecursionError) as error:
        raise RequestRefused(
            f"the JSON schema cannot be used: {str(error).strip().splitlines()[0]}"
        ) from None


def regex_grammar(expression: str) -> str:
    """A grammar of what a regular expression matches as a whole."""
    import llguidance

    return str(llguidance.LLMatcher.grammar_from_regex(expression))
