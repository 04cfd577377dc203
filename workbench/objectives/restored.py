"""What a model makes of a corrupted text, shown in the place of what was cut out."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from workbench.data.corruption.spans import NO_SPAN, Corrupted, Tokens, split
from workbench.objectives.fill import TokenText

NOTHING = "nothing"


@dataclass(frozen=True)
class Restorer:
    """Tells a restored text: `the «queen of» (king and) country`, with the truth behind what was said.

    `special` are the ids that are no text. Without `truth` in the corrupted text (a prompt that came with
    its own masks) there is none behind.
    """

    text: TokenText
    sentinels: Tokens
    special: frozenset[int]

    def prompt(self, found: Corrupted) -> str:
        """What the encoder read."""
        return self.text.join(self._runs(found.inputs.tolist()))

    def spans(self, found: Corrupted, output: list[int]) -> str:
        """Each span from what stands behind its sentinel in the output."""
        said = split(output, self.sentinels)
        parts, begin, inputs = list[str](), 0, found.inputs.tolist()
        for place, mark in enumerate(found.marks.tolist()):
            if mark == NO_SPAN:
                continue
            parts += self._runs(inputs[begin:place])
            parts.append(self._told(said.get(inputs[place], []), self._truth(found, [mark])))
            begin = place + 1
        return self.text.join([*parts, *self._runs(inputs[begin:])])

    def whole(self, found: Corrupted, output: list[int]) -> str:
        """A whole text that was said, marked where it is not what the encoder read."""
        said = [token for token in output if token not in self.special]
        inputs, marks = found.inputs.tolist(), found.marks.tolist()
        # A mask is equal to nothing that can be said.
        read = [token if mark == NO_SPAN else -1 for token, mark in zip(inputs, marks, strict=True)]
        parts = []
        for kind, low, high, begin, end in SequenceMatcher(None, read, said, autojunk=False).get_opcodes():
            if kind == "equal":
                parts += self._runs(said[begin:end])
                continue
            truth = None if found.targets.size == 0 else list[int]()
            for token, mark in zip(inputs[low:high], marks[low:high], strict=True):
                if truth is not None:
                    truth += [token] if mark == NO_SPAN else self._truth(found, [mark]) or []
            parts.append(self._told(said[begin:end], truth))
        return self.text.join(parts)

    def _truth(self, found: Corrupted, marks: list[int]) -> list[int] | None:
        if found.targets.size == 0:
            return None
        return [
            token
            for token, span in zip(found.targets.tolist(), found.spans.tolist(), strict=True)
            if span in marks
        ]

    def _told(self, said: list[int], truth: list[int] | None) -> str:
        said = [token for token in said if token not in self.special]
        text = self.text.run(said)
        model = text if truth is None else self.text.run(truth)
        blank = " " if (text or model).startswith(" ") else ""
        behind = "" if truth is None else f" ({model.strip(' ') or NOTHING})"
        return f"{blank}«{text.strip(' ')}»{behind}"

    def _runs(self, tokens: list[int]) -> list[str]:
        return [self.text.run(tokens)] if tokens else []
