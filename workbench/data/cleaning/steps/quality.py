"""Gopher's and FineWeb's rules, as datatrove implements them."""

from __future__ import annotations

from typing import ClassVar

from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.utils.text import split_into_words

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.steps import measures
from workbench.data.cleaning.steps.repetition import HashedRepetitionFilter
from workbench.data.cleaning.steps.tables import Row, rule_table
from workbench.data.cleaning.verdicts import KEPT, Rule, Step, Verdict, dropped
from workbench.data.cleaning.words import TOKENIZER
from workbench.recipe.cleaning.quality import FineWebStep, GopherQualityStep, GopherRepetitionStep


def _at_most(bound: float | None) -> float | None:
    # To datatrove a bound of 0 is none at all; here it is what it says, and null is none.
    return 1e-12 if bound == 0 else bound


class Filtered(Step):
    """A filter of datatrove's over all texts of a record."""

    filter: BaseFilter

    def judge(self, item: Item) -> Verdict:
        if not split_into_words(item.text, TOKENIZER):
            return dropped("empty")
        passes, reason = get_filter_result(self.filter.filter(item))
        if passes:
            return KEPT
        rule = self.rules().get(reason)
        return dropped(
            reason, **({"value": round(rule.measure(item), 4), "wants": rule.wants} if rule else {})
        )


class GopherQuality(Filtered):
    """Words, symbols and stop words (Rae et al. 2021)."""

    name: ClassVar[str] = "gopher_quality"

    def __init__(self, settings: GopherQualityStep) -> None:
        s = settings
        self.filter = GopherQualityFilter(
            min_doc_words=s.min_doc_words,
            max_doc_words=s.max_doc_words,
            min_avg_word_length=s.min_avg_word_length,
            max_avg_word_length=s.max_avg_word_length,
            max_symbol_word_ratio=_at_most(s.max_symbol_word_ratio),
            max_bullet_lines_ratio=_at_most(s.max_bullet_lines_ratio),
            max_ellipsis_lines_ratio=_at_most(s.max_ellipsis_lines_ratio),
            max_non_alpha_words_ratio=s.min_alpha_words_ratio,
            min_stop_words=s.min_stop_words,
            stop_words=s.stop_words,
            language=TOKENIZER,
        )
        self._rules = rule_table(
            self.name,
            [
                ("gopher_short_doc", "min_doc_words", "words", measures.words, f"≥ {s.min_doc_words}"),
                ("gopher_long_doc", "max_doc_words", "words", measures.words, f"≤ {s.max_doc_words}"),
                (
                    "gopher_below_avg_threshold",
                    "min_avg_word_length",
                    "mean word length",
                    measures.word_length,
                    f"≥ {s.min_avg_word_length}",
                ),
                (
                    "gopher_above_avg_threshold",
                    "max_avg_word_length",
                    "mean word length",
                    measures.word_length,
                    f"≤ {s.max_avg_word_length}",
                ),
                (
                    "gopher_too_many_hashes",
                    "max_symbol_word_ratio",
                    "hashes a word",
                    measures.hashes,
                    f"≤ {s.max_symbol_word_ratio}",
                ),
                (
                    "gopher_too_many_ellipsis",
                    "max_symbol_word_ratio",
                    "ellipses a word",
                    measures.ellipses,
                    f"≤ {s.max_symbol_word_ratio}",
                ),
                (
                    "gopher_too_many_bullets",
                    "max_bullet_lines_ratio",
                    "share of bullets",
                    measures.bullets,
                    f"≤ {s.max_bullet_lines_ratio}",
                ),
                (
                    "gopher_too_many_end_ellipsis",
                    "max_ellipsis_lines_ratio",
                    "share of lines with an ellipsis last",
                    measures.ellipsis_lines,
                    f"≤ {s.max_ellipsis_lines_ratio}",
                ),
                (
                    "gopher_below_alpha_threshold",
                    "min_alpha_words_ratio",
                    "share of words with a letter",
                    measures.alpha_words,
                    f"≥ {s.min_alpha_words_ratio}",
                ),
                (
                    "gopher_enough_stop_words",
                    "min_stop_words",
                    "different stop words",
                    measures.stop_words(s.stop_words),
                    f"≥ {s.min_stop_words}",
                ),
            ],
        )

    def rules(self) -> dict[str, Rule]:
        return self._rules


class GopherRepetition(Filtered):
    """Repeated lines, paragraphs and n-grams (Rae et al. 2021)."""

    name: ClassVar[str] = "gopher_repetition"

    def __init__(self, settings: GopherRepetitionStep) -> None:
        s = settings
        self.filter = HashedRepetitionFilter(
            dup_line_frac=s.dup_line_frac,
            dup_para_frac=s.dup_para_frac,
            dup_line_char_frac=s.dup_line_char_frac,
            dup_para_char_frac=s.dup_para_char_frac,
            top_n_grams=tuple(sorted(s.top_n_grams.items())),
            dup_n_grams=tuple(sorted(s.dup_n_grams.items())),
            language=TOKENIZER,
        )
        rows: list[Row] = [
            (key, key, words, measure, f"≤ {getattr(s, key)}")
            for key, words, measure in (
                ("dup_line_frac", "share of repeated lines", measures.repeated_lines),
                ("dup_para_frac", "share of repeated paragraphs", measures.repeated_paragraphs),
                ("dup_line_char_frac", "characters in repeated lines", measures.repeated_line_characters),
                (
                    "dup_para_char_frac",
                    "characters in repeated paragraphs",
                    measures.repeated_paragraph_characters,
                ),
            )
        ]
        rows += [
            (
                f"top_{n}_gram",
                f"top_n_grams.{n}",
                f"characters in the commonest {n}-gram",
                measures.top(n),
                f"≤ {most}",
            )
            for n, most in s.top_n_grams.items()
        ]
        rows += [
            (
                f"duplicated_{n}_n_grams",
                f"dup_n_grams.{n}",
                f"characters in repeated {n}-grams",
                measures.repeated(n),
                f"≤ {most}",
            )
            for n, most in s.dup_n_grams.items()
        ]
        self._rules = rule_table(self.name, rows)

    def rules(self) -> dict[str, Rule]:
        return self._rules


class FineWeb(Filtered):
    """Punctuation, short lines and lists (Penedo et al. 2024)."""

    name: ClassVar[str] = "fineweb"

    def __init__(self, settings: FineWebStep) -> None:
        s = settings
        self.filter = FineWebQualityFilter(
            line_punct_thr=s.line_punct_thr,
            line_punct_exclude_zero=s.line_punct_exclude_zero,
            short_line_thr=s.short_line_thr,
            short_line_length=s.short_line_length,
            char_duplicates_ratio=s.char_duplicates_ratio,
            new_line_ratio=s.new_line_ratio,
            language=TOKENIZER,
        )
        self._rules = rule_table(
            self.name,
            [
                (
                    "line_punct_ratio",
                    "line_punct_thr",
                    "share of lines with punctuation last",
                    measures.punctuated_lines,
                    f"≥ {s.line_punct_thr}",
                ),
                (
                    "short_line_ratio",
                    "short_line_thr",
                    "share of short lines",
                    measures.short_lines(s.short_line_length),
                    f"≤ {s.short_line_thr}",
                ),
                (
                    "char_dup_ratio",
                    "char_duplicates_ratio",
                    "characters in repeated lines",
                    measures.repeated_line_characters_fineweb,
                    f"≤ {s.char_duplicates_ratio}",
                ),
                (
                    "list_ratio",
                    "new_line_ratio",
                    "line breaks a word",
                    measures.line_breaks,
                    f"≤ {s.new_line_ratio}",
                ),
            ],
        )

    def rules(self) -> dict[str, Rule]:
        return self._rules
