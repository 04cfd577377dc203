"""Abuse: what a line scores, and what becomes of records."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.toxicity.scoring import Scorer
from workbench.data.cleaning.toxicity.step import Toxicity
from workbench.errors import DataError, ModelError, RecipeError
from workbench.recipe.cleaning.content import ToxicityStep

SCORER = Scorer(ToxicityStep())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("I will kill you tomorrow", "threat"),
        ("all immigrants are scum", "hate"),
        ("such a retarded idea", "slur"),
        ("you are a complete idiot", "abuse"),
        ("this is f*cking sh1t", "vulgar"),
        ("fuuuuck this shit", "vulgar"),
        ("f u c k this s h i t", "vulgar"),
    ],
)
def test_a_toxic_line_says_why(line: str, why: str) -> None:
    score = SCORER.score(line)
    assert score.value >= 0.5 and why in score.why


@pytest.mark.parametrize(
    "line",
    [
        "Scunthorpe's cocktail classics assassinate analysis in Essex",
        "kill the process and hang up",
        "she studied sex differences in breast cancer",
        "you are an idea man",
        "the class is useless here",
        "",
    ],
)
def test_a_harmless_line_scores_nothing(line: str) -> None:
    assert SCORER.score(line).value == 0.0


def test_one_vulgar_word_is_not_enough_and_two_are() -> None:
    one, two = SCORER.score("well, shit").value, SCORER.score("well, shit, fuck").value
    assert one == 0.35 and two == pytest.approx(1 - 0.65**2)


def test_lines_go_and_records_with_too_many() -> None:
    kept = "\n".join(f"A quiet line of text, number {n}." for n in range(6))
    item = Item({"text": f"{kept}\nYou are a complete idiot."}, "text")
    assert Toxicity(ToxicityStep()).judge(item).action == "changed" and item.text == kept
    assert (
        Toxicity(ToxicityStep()).judge(Item({"text": "You are an idiot.\nFine."}, "text")).action == "dropped"
    )
    scored = Item({"text": "You are an idiot."}, "text")
    verdict = Toxicity(ToxicityStep(action="score")).judge(scored)
    assert (verdict.action, verdict.reason, scored.text) == ("kept", "abuse", "You are an idiot.")


def test_own_lists_and_exceptions(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("# mine\nsnollygoster\nblithering oaf\n")
    scorer = Scorer(ToxicityStep(lists=[str(own)], allow=["shit"]))
    assert scorer.score("a snollygoster, a blithering oaf").value == pytest.approx(1 - 0.65**2)
    assert scorer.score("shit shit").value == 0.0
    with pytest.raises(DataError, match="not there"):
        Scorer(ToxicityStep(lists=[str(tmp_path / "none.txt")]))
    with pytest.raises(RecipeError, match="no word list of “xx”"):
        Scorer(ToxicityStep(languages=["xx"]))
    with pytest.raises(ModelError, match="no folder"):
        Scorer(ToxicityStep(classifier=str(tmp_path / "none")))
    assert Scorer(ToxicityStep(languages=["de", "ru", "zh"])).score("ein Arschloch и хуй").value > 0.5


@pytest.mark.slow
def test_a_classifier_of_ones_own_scores_beside_the_lists(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "vile": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        tmp_path
    )
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(
        vocab_size=3, id2label={0: "fine", 1: "toxic"}, label2id={"fine": 0, "toxic": 1}, **shape
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 2.0]))
    model.save_pretrained(tmp_path)
    scorer = Scorer(ToxicityStep(classifier=str(tmp_path)))
    score = scorer.score("anything at all")
    assert score.value == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item(), abs=1e-5)
    assert score.why == ("model",)
    with pytest.raises(ModelError, match="no label “rude”"):
        Scorer(ToxicityStep(classifier=str(tmp_path), classifier_label="rude")).score("x")
