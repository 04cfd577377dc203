"""What predictions are worth, by the metrics and libraries that the field compares with."""

from __future__ import annotations

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from seqeval.metrics.v1 import precision_recall_fscore_support as entity_scores
from seqeval.scheme import IOB2
from sklearn import metrics as sk

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)


def classification_scores(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """`accuracy`, `f1` (macro), `matthews_correlation` (Matthews 1975), and `majority_accuracy`: what
    always answering the most frequent label would get."""
    if not gold:
        return {}
    return {
        "accuracy": float(sk.accuracy_score(gold, predicted)),
        "f1": float(sk.f1_score(gold, predicted, average="macro", zero_division=0)),
        "matthews_correlation": _matthews(gold, predicted),
        "majority_accuracy": Counter(gold).most_common(1)[0][1] / len(gold),
    }


def _matthews(gold: Sequence[int], predicted: Sequence[int]) -> float:
    with warnings.catch_warnings():
        # One class alone on both sides has no correlation: 0, and nothing to warn of.
        warnings.simplefilter("ignore")
        return float(sk.matthews_corrcoef(gold, predicted))


def regression_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """`pearson`, `spearman` (not a number where one side is constant), `mse`, and `mean_mse`: what always
    answering the mean would get."""
    if not gold:
        return {}
    error = np.asarray(gold) - np.asarray(predicted)
    constant = len(set(gold)) < 2 or len(set(predicted)) < 2
    return {
        "pearson": math.nan if constant else float(stats.pearsonr(gold, predicted).statistic),
        "spearman": math.nan if constant else float(stats.spearmanr(gold, predicted).statistic),
        "mse": float((error**2).mean()),
        "mean_mse": float(np.var(gold)),
    }


def is_iob2(tags: Sequence[str]) -> bool:
    """Whether tags are entities in IOB2: `O`, `B-X` and `I-X`."""
    return any(tag[:2] == "B-" for tag in tags) and all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags)


def tagging_scores(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> dict[str, float]:
    """Scores of tag sequences, one a sentence.

    `token_accuracy`, and `majority_token_accuracy`: always answering the most frequent tag. For IOB2 tags
    entity-level `precision`, `recall` and `f1`: an entity counts when type and both ends are right, and a
    predicted one begins with B- (seqeval, strict). For other tags (parts of speech) macro averages.
    """
    gold_tags = [tag for tags in gold for tag in tags]
    predicted_tags = [tag for tags in predicted for tag in tags]
    if not gold_tags:
        return {}
    if is_iob2(sorted({*gold_tags, *predicted_tags})):
        found = entity_scores(
            list(gold), list(predicted), mode="strict", scheme=IOB2, average="micro", zero_division=0
        )
    else:
        found = sk.precision_recall_fscore_support(
            gold_tags, predicted_tags, average="macro", zero_division=0
        )
    precision, recall, f1 = map(float, found[:3])
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "token_accuracy": float(sk.accuracy_score(gold_tags, predicted_tags)),
        "majority_token_accuracy": Counter(gold_tags).most_common(1)[0][1] / len(gold_tags),
    }


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation, articles and spare space, as SQuAD compares answers
    (Rajpurkar et al. 2016)."""
    text = "".join(character for character in text.lower() if character not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def answer_scores(answer: str, gold: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 over words of an answer against the best of the right ones; no right one means
    that the right answer is none."""
    words = normalize_answer(answer).split()
    exact, best = 0.0, 0.0
    for right in list(gold) or [""]:
        right_words = normalize_answer(right).split()
        exact = max(exact, float(words == right_words))
        if not words or not right_words:
            best = max(best, float(words == right_words))
            continue
        common = sum((Counter(words) & Counter(right_words)).values())
        best = max(best, 2 * common / (len(words) + len(right_words)))
    return exact, best


def span_scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Mean `exact_match` and `f1` over questions, from 0 to 1."""
    if not gold:
        return {}
    found = [answer_scores(answer, right) for answer, right in zip(predicted, gold, strict=True)]
    exact, f1 = np.asarray(found).mean(0).tolist()
    return {"exact_match": exact, "f1": f1}


@dataclass(frozen=True)
class ClassScores:
    """One class's line of a report; `support` counts its gold examples (entities, for IOB2 tags)."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def per_class(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each label."""
    found = sk.precision_recall_fscore_support(gold, predicted, labels=list(labels), zero_division=0)
    return _lines(labels, found)


def per_entity(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> list[ClassScores]:
    """Precision, recall and F1 of each type of entity in IOB2 tags, strict."""
    types = sorted({tag[2:] for tags in (*gold, *predicted) for tag in tags if tag != "O"})
    if not types:
        return []
    found = entity_scores(list(gold), list(predicted), mode="strict", scheme=IOB2, zero_division=0)
    return _lines(types, found)


def _lines(labels: Sequence[str], found: Any) -> list[ClassScores]:
    columns = [np.asarray(column).tolist() for column in found]
    return [ClassScores(label, *line) for label, line in zip(labels, zip(*columns, strict=True), strict=True)]


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """How many examples of each gold label (rows) were given each label (columns)."""
    matrix: list[list[int]] = sk.confusion_matrix(gold, predicted, labels=list(labels)).tolist()
    return matrix
