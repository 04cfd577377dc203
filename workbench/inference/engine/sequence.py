"""One sample of a request on its way: what it has written, and when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.inference.engine.requests import EngineRequest, Progress, TokenInfo
from workbench.inference.engine.sampling import SamplerState
from workbench.inference.engine.text import Decode, Detokenizer, StopStrings

if TYPE_CHECKING:
    from workbench.inference.engine.grammar import GrammarState
    from workbench.inference.engine.runner import Handle


class Sample:
    """One of the `n` continuations of a prompt; `handle` holds its keys and values once it is opened."""

    def __init__(
        self,
        request: EngineRequest,
        index: int,
        decode: Decode,
        eos: frozenset[int],
        grammar: GrammarState | None,
    ) -> None:
        self.request = request
        self.index = index
        self.eos = eos
        self.grammar = grammar
        self.sampler = SamplerState(request.params, request.prompt, index, eos)
        self.ids: list[int] = []
        self.handle: Handle | None = None
        self.finish_reason: str | None = None
        self._detokenizer = Detokenizer(decode, request.prompt if request.continues else ())
        self._stops = StopStrings(request.params.stop, include=request.params.include_stop)

    @property
    def is_seeded(self) -> bool:
        """Whether the same request must give the same answer again."""
        return self.request.params.seed is not None

    def accept(self, token: TokenInfo) -> Progress:
        """Take a drawn token: what it adds to the text, and whether it was the last."""
        self.ids.append(token.id)
        self.sampler.accept(token.id)
        text = ""
        if token.id in self.eos and not self.request.params.ignore_eos:
            self.finish_reason = "stop"
        else:
            if self.grammar is not None:
                self.grammar.accept(token.id)
            text = self._stops.add(self._detokenizer.add(token.id))
            if self.grammar is not None and self.grammar.is_broken:
                self.finish_reason = "length"
            elif self._stops.found is not None or (self.grammar is not None and self.grammar.is_over):
                self.finish_reason = "stop"
            elif len(self.ids) >= self.request.params.max_tokens:
                self.finish_reason = "length"
        if self.finish_reason is not None and self._stops.found is None:
            text += self._stops.add(self._detokenizer.finish()) + self._stops.finish()
            if self._stops.found is not None:
                self.finish_reason = "stop"
        return Progress(self.index, text, (token,), self.finish_reason)
