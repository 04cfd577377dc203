"""What `workbench ask` prints: the answer as it is written, the answers, the trace, all of it as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.cli import render
from workbench.cli.steps_text import step_lines

if TYPE_CHECKING:
    from workbench.inference.generation import Delta, Response
    from workbench.prompting.evaluation.observed import Observed
    from workbench.prompting.technique import Outcome, Step, Trace


class Answers:
    """Shows what comes, in the way that was asked for; text of models is literal on a terminal."""

    def __init__(self, args: argparse.Namespace, *, streams: bool) -> None:
        self.args, self.streams = args, streams
        self.terminal = render.is_terminal(sys.stdout)
        self._ends_line = True

    def delta(self, delta: Delta) -> None:
        """A piece of the only answer."""
        if delta.text:
            print(self._shown(delta.text), end="", flush=True)
            self._ends_line = delta.text.endswith("\n")

    def step(self, step: Step) -> None:
        """Something that happened on the way."""
        if self.args.trace:
            self._end_line()
            render.talk("\n".join(step_lines(asdict(step))))

    def end(
        self, technique: str, model: Observed, outcomes: Sequence[Outcome], trace: Trace, seconds: float
    ) -> int:
        """Everything that has not been shown yet; returns the exit code."""
        unfit = [outcome.details["schema_problem"] for outcome in outcomes if _unfit(outcome)]
        if self.args.json:
            print(render.as_json(as_json(technique, model, outcomes, trace, seconds)))
        else:
            self._print(outcomes)
            self._tell(model, outcomes)
        for problem in unfit:
            render.talk(render.literal(f"the answer does not fit its schema: {problem}"))
        missing = self.args.answer_only and any(outcome.answer is None for outcome in outcomes)
        return 1 if unfit or missing else 0

    def _print(self, outcomes: Sequence[Outcome]) -> None:
        if self.streams:
            self._end_line()
            return
        if self.args.answer_only:
            for outcome in outcomes:
                print(self._shown(outcome.answer or ""))
            return
        for number, outcome in enumerate(outcomes, 1):
            head = f"[{number}] " if len(outcomes) > 1 else ""
            print(f"{head}{self._shown(outcome.text)}")

    def _tell(self, model: Observed, outcomes: Sequence[Outcome]) -> None:
        """What else there is to know, on standard error."""
        for outcome in outcomes:
            if outcome.answer is not None and outcome.answer != outcome.text.strip():
                render.talk(render.literal(f"answer: {outcome.answer}{_agreement(outcome)}"))
            elif outcome.answer is None and (self.args.answer_kind or self.args.answer_only):
                render.talk("no answer was found in it")
            if outcome.details.get("finish_reason") == "length":
                render.talk("the answer was cut off: --max-tokens allows no more")
        for note in model.notes:
            render.talk(render.literal(f"note: {note}"))

    def _shown(self, text: str) -> str:
        return render.literal(text, keep_lines=True) if self.terminal else text

    def _end_line(self) -> None:
        if not self._ends_line:
            print(flush=True)
            self._ends_line = True


def as_json(
    technique: str, model: Observed, outcomes: Sequence[Outcome], trace: Trace, seconds: float
) -> dict[str, Any]:
    """All there is: texts, answers, what they cost, how long it took, and the trace."""
    first = outcomes[0]
    usage = [response.usage for response in model.responses]
    return {
        "model": model.name,
        "technique": technique,
        "text": first.text,
        "answer": first.answer,
        "outcomes": [
            {
                "text": outcome.text,
                "answer": outcome.answer,
                "logprob": outcome.logprob,
                "details": outcome.details,
                "messages": list(outcome.messages),
                "usage": asdict(outcome.usage),
            }
            for outcome in outcomes
        ],
        "usage": {
            name: sum(getattr(one, name) for one in usage)
            for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
        },
        "timings": {"seconds": seconds, "requests": [_timing(response) for response in model.responses]},
        "notes": model.notes,
        "trace": [asdict(step) for step in trace.steps],
    }


def _timing(response: Response) -> dict[str, Any]:
    rest = response.seconds - (response.first_token_seconds or 0.0)
    # The first token comes with the prompt's reading; the others are what was written in the rest.
    written = response.usage.completion_tokens - len(response.completions)
    return {
        "seconds": response.seconds,
        "first_token_seconds": response.first_token_seconds,
        "tokens_per_second": written / rest if rest > 0 and written > 0 else None,
    }


def _unfit(outcome: Outcome) -> bool:
    return "schema_problem" in outcome.details


def _agreement(outcome: Outcome) -> str:
    if "agreement" not in outcome.details:
        return ""
    details = outcome.details
    return f" ({details['agreement']:.0%} of {details['finished']} chains)"
