"""Turning a question, perhaps one of several in a conversation, into what is searched for."""

from __future__ import annotations

from dataclasses import replace

from workbench.inference.generation import Request, Sampling, Usage
from workbench.prompting.technique import Session, Task

INSTRUCTION = """\
Turn the last question into a search query that stands on its own: the names and words that a document with \
the answer would use. Reply with the query alone, on one line."""

LABELS = ("search query:", "query:")
MOST_TOKENS = 64
LONGEST_QUERY = 400
TURNS = 6
"""Messages before the question that are shown: enough for what `it` and `there` stand for."""


async def rewritten(task: Task, session: Session) -> tuple[str, Usage]:
    """A query by the model, and what it cost; the question itself where it writes nothing.

    Raises `ServerError`.
    """
    turns = [message for message in task.messages[:-1] if message["role"] != "system"][-TURNS:]
    lines = [f"{message['role']}: {message.get('content') or ''}" for message in turns]
    asked = "\n".join([*lines, f"user: {task.question}"])
    request = Request(
        messages=({"role": "user", "content": f"{asked}\n\n{INSTRUCTION}"},),
        sampling=Sampling(temperature=0.0, max_tokens=MOST_TOKENS, seed=task.sampling.seed),
    )
    # Nobody who waits for the answer is to see this one grow.
    response = await replace(session, on_delta=None).ask(request, "Search query")
    return _query(response.text) or task.question, response.usage


def _query(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    for label in LABELS:
        if line.lower().startswith(label):
            line = line[len(label) :]
    return line.strip(" \t\"'`*“”")[:LONGEST_QUERY]
