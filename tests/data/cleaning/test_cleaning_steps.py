"""The rules against datatrove's own filters, and what is told of them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.filters.base_filter import get_filter_result
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.utils.hashing import HashConfig

from tests.data.cleaning.conftest import prose, sentence, write_lines
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.steps.c4 import C4
from workbench.data.cleaning.steps.decontamination import Decontamination, build_index
from workbench.data.cleaning.steps.language import Language, identify
from workbench.data.cleaning.steps.normalise import Normalise
from workbench.data.cleaning.steps.quality import FineWeb, GopherQuality, GopherRepetition
from workbench.data.cleaning.verdicts import Step
from workbench.data.cleaning.words import TOKENIZER, plain_words
from workbench.errors import DataError, RecipeError
from workbench.recipe.cleaning import CleaningRecipe
from workbench.recipe.cleaning.content import DecontaminationStep
from workbench.recipe.cleaning.quality import LanguageStep, NormaliseStep

RECIPE = CleaningRecipe()


def texts() -> list[str]:
    """Texts of many shapes: plain, short, repeated, lists, code, lines without an end."""
    rng = random.Random(3)
    found = [prose(rng, count) for count in (1, 3, 5, 9, 30)]
    found += ["\n".join(sentence(rng, 6) for _ in range(20)), "\n".join([sentence(rng)] * 12)]
    found += [
        "\n".join(f"- {sentence(rng)}" for _ in range(12)),
        "\n".join(sentence(rng)[:-1] for _ in range(9)),
    ]
    found += [
        "def f(x):\n    return {x: 1}\n" * 8,
        "a b c d e f g " * 30,
        "# # # ... ...\n" * 20,
        "1 2 3 4 5 " * 20,
    ]
    found += [
        prose(rng) + "\nLorem ipsum dolor sit amet and so on.\n",
        prose(rng) + "\nPlease enable JavaScript now.\n",
    ]
    found += [
        "\n".join(f"{sentence(rng)} [1] [edit]" for _ in range(8)),
        "word\n" * 40,
        "…\n" * 30 + prose(rng),
    ]
    found += ["averyverylongwordindeed" * 60 + " " + prose(rng), "\n\n".join([prose(rng, 2)] * 4)]
    return found


PAIRS: list[tuple[Step, Any]] = [
    (GopherQuality(RECIPE.gopher_quality), GopherQualityFilter(language=TOKENIZER)),
    (GopherRepetition(RECIPE.gopher_repetition), GopherRepetitionFilter(language=TOKENIZER)),
    (FineWeb(RECIPE.fineweb), FineWebQualityFilter(language=TOKENIZER)),
    (C4(RECIPE.c4), C4QualityFilter(language=TOKENIZER)),
]


def repeats_nothing(text: str, reason: str | None) -> bool:
    """Whether datatrove drops a text for an n-gram that occurs once; we do not."""
    if not (reason or "").startswith("top_"):
        return False
    words = TOKENIZER.word_tokenize(text)
    grams = list(zip(*(words[begin:] for begin in range(int(str(reason)[4]))), strict=False))
    return len(set(grams)) == len(grams)


def test_a_text_that_repeats_nothing_is_kept_however_short() -> None:
    text = "The quick brown fox jumps over a lazy dog near the old stone bridge today."
    assert repeats_nothing(text, get_filter_result(PAIRS[1][1].filter(Document(text=text, id="")))[1])
    assert PAIRS[1][0].judge(Item({"text": text}, "text")).action == "kept"


@pytest.mark.parametrize(("step", "reference"), PAIRS, ids=[step.name for step, _ in PAIRS])
def test_a_rule_says_what_datatrove_says(step: Step, reference: Any) -> None:
    reasons = set()
    for text in texts():
        document, item = Document(text=text, id=""), Item({"text": text}, "text")
        passes, reason = get_filter_result(reference.filter(document))
        verdict = step.judge(item)
        if repeats_nothing(text, reason):
            continue
        assert (verdict.action != "dropped") == passes, (text[:60], verdict, reason)
        if passes:
            assert item.text == document.text
        else:
            assert verdict.reason == reason
            reasons.add(reason)
    assert len(reasons) >= 3 or step.name == "c4"


def test_repetition_is_what_datatrove_finds_in_texts_that_repeat() -> None:
    rng = random.Random(13)
    ours, theirs = PAIRS[1]
    reasons = set()
    for _ in range(400):
        parts = [sentence(rng, rng.randint(2, 9)) for _ in range(rng.randint(1, 12))]
        chosen = [rng.choice(parts) for _ in range(rng.randint(3, 40))]
        text = rng.choice([" ", "\n", "\n\n"]).join(chosen)
        passes, reason = get_filter_result(theirs.filter(Document(text=text, id="")))
        if repeats_nothing(text, reason):
            continue
        verdict = ours.judge(Item({"text": text}, "text"))
        assert (verdict.action != "dropped") == passes and (passes or verdict.reason == reason)
        reasons.add(reason)
    assert len(reasons) > 8


def test_accents_are_taken_off_as_datatrove_does() -> None:
    from datatrove.utils.text import simplify_text

    text = "Éléonore a\u0301 bu 1,5 l d’eau à Ǻrhus — ΆΈ, naïve! 東京 ﬁn"
    assert " ".join(plain_words(text)) == " ".join(plain_words(simplify_text(text)))


def test_what_a_rule_measured_is_on_the_wrong_side_of_its_bound() -> None:
    checked = 0
    for step, _ in PAIRS:
        for text in texts():
            item = Item({"text": text}, "text")
            verdict = step.judge(item)
            if verdict.action != "dropped" or "value" not in verdict.detail:
                continue
            sign, _, bound = str(verdict.detail["wants"]).partition(" ")
            if bound:
                value = float(verdict.detail["value"])
                # What is told is rounded to four digits.
                assert value < float(bound) + 1e-4 if sign == "≥" else value > float(bound) - 1e-4
                checked += 1
    assert checked > 20


def test_c4_counts_the_sentences_of_all_texts() -> None:
    rng = random.Random(4)
    item = Item({"prompt": prose(rng, 3), "completion": prose(rng, 3)}, "prompt_completion")
    assert C4(RECIPE.c4).judge(item).action == "kept"
    assert C4(RECIPE.c4).judge(Item({"text": prose(rng, 3)}, "text")).reason == "too_few_sentences"


def test_a_part_with_nothing_left_is_seen() -> None:
    item = Item({"prompt": "Say it.", "completion": "No."}, "prompt_completion")
    before = item.texts
    assert not item.has_lost_a_part(before)
    item.edit(lambda text: text.replace("No.", ""))
    assert item.has_lost_a_part(before)


def test_sentences_tile_the_text() -> None:
    for text in [*texts(), "One. Two! Three? e.g. this one; “Four.” 5. Yes", "", "一。二！三？"]:
        spans = TOKENIZER.span_tokenize(text)
        assert "".join(text[a:b] for a, b in spans) == text or not text.strip()
    assert TOKENIZER.sent_tokenize("He has 3.5 m. It is, e.g. this, long! “Really?” Yes.") == [
        "He has 3.5 m.",
        "It is, e.g. this, long!",
        "“Really?”",
        "Yes.",
    ]
    assert TOKENIZER.word_tokenize("Don't stop, 東京 U.S.A!") == [
        "Don't",
        "stop",
        ",",
        "東",
        "京",
        "U.S.A",
        "!",
    ]


def test_normalising_writes_characters_one_way() -> None:
    item = Item({"text": "e\u0301t\u00e9\r\nA\x1b[31mred\x1b[0m\ufeff\x00 line\rend"}, "text")
    verdict = Normalise(NormaliseStep()).judge(item)
    assert item.text == "été\nAred line\nend" and verdict.action == "changed"
    assert Normalise(NormaliseStep()).judge(item).action == "kept"
    assert Normalise(NormaliseStep()).judge(Item({"text": " \n"}, "text")).reason == "blank"
    # A terminal sequence that never ends does not take the rest of the text with it.
    item = Item({"text": "a\x1b]0;title\x07b \x1b]8;;and\nthe rest"}, "text")
    Normalise(NormaliseStep()).judge(item)
    assert item.text == "ab ]8;;and\nthe rest"


SPOKEN = {
    "en": "The old harbour was quiet in the morning, and only a few fishermen were mending their nets.",
    "de": "Der alte Hafen war am Morgen still, und nur wenige Fischer flickten ihre Netze am Ufer.",
    "fr": "Le vieux port était calme le matin, et seuls quelques pêcheurs réparaient leurs filets.",
    "es": "El viejo puerto estaba tranquilo por la mañana y solo unos pescadores arreglaban sus redes.",
    "ru": "Старый порт был тихим утром, и лишь несколько рыбаков чинили свои сети у берега.",
    "zh": "清晨的老港口很安静，只有几个渔民在岸边修补他们的渔网。",
}


def test_languages_are_told_apart_without_a_network() -> None:
    assert {code: identify(text)[0] for code, text in SPOKEN.items()} == {code: code for code in SPOKEN}
    assert identify("12 345 --- ###") == ("und", 0.0)
    step = Language(LanguageStep(keep=["en"]))
    assert step.judge(Item({"text": SPOKEN["en"]}, "text")).action == "kept"
    assert step.judge(Item({"text": SPOKEN["de"]}, "text")).reason == "another_language"
    sure, unsure = (Language(LanguageStep(min_score=score)) for score in (0.1, 1.0))
    item = Item({"text": SPOKEN["de"] + " and some words of English"}, "text")
    assert sure.judge(item).action == "kept" and item.language == "de"
    assert unsure.judge(item).action == "kept" and item.language == "und"
    with pytest.raises(RecipeError, match="no code of a language"):
        Language(LanguageStep(keep=["english"]))


def test_decontamination_agrees_with_datatrove(tmp_path: Any) -> None:
    rng = random.Random(6)
    questions = [prose(rng, 2) for _ in range(12)]
    path = write_lines(tmp_path / "exam.jsonl", [{"question": q, "n": 1} for q in questions])
    settings = DecontaminationStep.model_validate({"eval_sources": [str(path)], "n_grams": 8})
    build_index(settings, tmp_path / "index")
    step = Decontamination(settings, tmp_path / "index")
    config = NGramsDecontConfig(n_grams=8, hash_config=HashConfig(hash_fc="sha1"))
    (tmp_path / "theirs").mkdir()
    reference = NGramsDecontFilter(str(tmp_path / "theirs"), config=config, language=TOKENIZER)
    from datatrove.utils.text import ngrams, simplify_text

    reference._index_hashes = {
        reference.hash_func(" ".join(gram)): "exam"
        for q in questions
        for gram in ngrams(TOKENIZER.word_tokenize(simplify_text(q)), 8)
    }
    found = 0
    for number in range(60):
        words = prose(rng, 6).split()
        part = rng.choice(questions).split()
        length = rng.choice([0, 5, 7, 8, 9, 14])
        begin = rng.randrange(0, len(part) - length)
        text = " ".join(words[:30] + part[begin : begin + length] + words[30:])
        ours = step.judge(Item({"text": text}, "text")).action == "dropped"
        theirs = not get_filter_result(reference.filter(Document(text=text, id=str(number))))[0]
        assert ours == theirs
        found += ours
    assert 10 < found < 50


def test_what_is_shared_can_be_cut_out(tmp_path: Any) -> None:
    rng = random.Random(7)
    question = "How many apples does the tall farmer carry if he begins with thirty and sells twelve today?"
    path = write_lines(tmp_path / "exam.jsonl", [{"question": question}])
    settings = DecontaminationStep.model_validate({"eval_sources": [str(path)], "action": "cut"})
    build_index(settings, tmp_path / "index")
    before, after = prose(rng, 2), prose(rng, 2)
    item = Item({"text": f"{before} {question} {after}"}, "text")
    verdict = Decontamination(settings, tmp_path / "index").judge(item)
    assert verdict.action == "changed" and verdict.detail["set"] == f"{path}:1"
    assert item.text.split() == f"{before} {after}".split()
    short = write_lines(tmp_path / "short.jsonl", [{"question": "Why?"}])
    with pytest.raises(DataError, match="nothing to look for"):
        build_index(settings.model_copy(update={"eval_sources": _sources(short)}), tmp_path / "none")


def _sources(path: Any) -> Any:
    return DecontaminationStep.model_validate({"eval_sources": [str(path)]}).eval_sources
