"""A rule for PPO beside a reward model that likes what is short: words missing to a whole sentence cost."""

WORDS = 12
COST = 0.5


def long_enough(prompts: list[str], completions: list[str], **_: object) -> list[float]:
    """0 for prompts and answers of together `WORDS` words or more, `COST` less for each that is missing."""
    words = (len((prompt + answer).split()) for prompt, answer in zip(prompts, completions, strict=True))
    return [COST * min(0, count - WORDS) for count in words]
