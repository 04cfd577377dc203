"""Steps that judge a record by what its text looks like. Defaults are the papers'."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workbench.recipe.section import Section


class StepSection(Section):
    """What every step has."""

    enabled: bool = Field(True, description="Whether the step is taken at all.")


class NormaliseStep(StepSection):
    """Spelling of characters, before anything is measured."""

    unicode_form: Literal["NFC", "NFKC", "none"] = Field(
        "NFC", description="Unicode normal form; NFKC also turns ligatures and full-width letters plain."
    )
    strip_control: bool = Field(
        True, description="Take out control characters, terminal sequences and byte order marks."
    )
    unify_line_ends: bool = Field(True, description="CR LF and lone CR become LF.")


class LanguageStep(StepSection):
    """Language identification by fastText's lid.176, which comes in a package."""

    keep: list[str] = Field(
        default_factory=list,
        description="ISO 639-1 codes of the languages that stay, as [en, de]. Empty: all, counted.",
    )
    min_score: float = Field(
        0.65,
        ge=0,
        le=1,
        description="The model's probability from which on a language is believed; below it, it "
        "counts as `und`, and goes where `keep` is set.",
    )


class GopherQualityStep(StepSection):
    """The quality rules of Gopher (Rae et al. 2021, appendix A1). Null switches a rule off."""

    min_doc_words: int | None = Field(50, ge=0, description="Fewest words, punctuation not counted.")
    max_doc_words: int | None = Field(100_000, ge=1, description="Most words.")
    min_avg_word_length: float | None = Field(3, ge=0, description="Shortest mean length of a word.")
    max_avg_word_length: float | None = Field(10, ge=0, description="Longest mean length of a word.")
    max_symbol_word_ratio: float | None = Field(
        0.1, ge=0, description="Most hashes, and most ellipses, for each word."
    )
    max_bullet_lines_ratio: float | None = Field(0.9, ge=0, le=1, description="Most lines that are bullets.")
    max_ellipsis_lines_ratio: float | None = Field(
        0.3, ge=0, le=1, description="Most lines that end in an ellipsis."
    )
    min_alpha_words_ratio: float | None = Field(0.8, ge=0, le=1, description="Fewest words with a letter.")
    min_stop_words: int | None = Field(2, ge=0, description="Fewest different stop words.")
    stop_words: list[str] = Field(
        default_factory=lambda: ["the", "be", "to", "of", "and", "that", "have", "with"],
        description="The stop words; English ones by default.",
    )


class GopherRepetitionStep(StepSection):
    """The repetition rules of Gopher (Rae et al. 2021, table A1): shares of the text that repeat."""

    dup_line_frac: float | None = Field(0.3, ge=0, le=1, description="Most lines that came before.")
    dup_para_frac: float | None = Field(0.3, ge=0, le=1, description="Most paragraphs that came before.")
    dup_line_char_frac: float | None = Field(0.2, ge=0, le=1, description="The same, in characters.")
    dup_para_char_frac: float | None = Field(0.2, ge=0, le=1, description="The same, in characters.")
    top_n_grams: dict[int, float] = Field(
        default_factory=lambda: {2: 0.2, 3: 0.18, 4: 0.16},
        description="For n words, the most characters that the commonest n-gram may make up; 1: any.",
    )
    dup_n_grams: dict[int, float] = Field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="For n words, the most characters that repeated n-grams may make up; 1: any.",
    )


class C4Step(StepSection):
    """The rules of C4 (Raffel et al. 2020, section 2.2): lines are taken out, records dropped."""

    remove_citations: bool = Field(True, description="Take out [1], [edit] and [citation needed].")
    filter_no_terminal_punct: bool = Field(True, description="Take out lines that end in no . ! ? or quote.")
    min_num_sentences: int = Field(5, ge=-1, description="Fewest sentences that must be left; -1: any.")
    min_words_per_line: int = Field(3, ge=-1, description="Take out lines of fewer words; -1: none.")
    max_word_length: int = Field(
        1000, ge=-1, description="Take out lines with a longer word, in characters; -1: none."
    )
    filter_lorem_ipsum: bool = Field(True, description="Drop records with “lorem ipsum”.")
    filter_javascript: bool = Field(True, description="Take out lines that speak of JavaScript.")
    filter_curly_bracket: bool = Field(True, description="Drop records with a curly bracket: code.")
    filter_policy: bool = Field(True, description="Take out lines about cookies, terms and privacy policies.")


class FineWebStep(StepSection):
    """The rules that FineWeb adds (Penedo et al. 2024, section 3.6)."""

    line_punct_thr: float = Field(0.12, ge=0, le=1, description="Fewest lines that end in punctuation.")
    line_punct_exclude_zero: bool = Field(
        False, description="Let records pass in which no line at all ends in punctuation."
    )
    short_line_thr: float = Field(0.67, ge=0, le=1, description="Most lines that are short.")
    short_line_length: int = Field(30, ge=1, description="A line of so many characters is short.")
    char_duplicates_ratio: float = Field(
        0.01, ge=0, le=1, description="Most characters that stand in repeated lines."
    )
    new_line_ratio: float = Field(0.3, ge=0, description="Most line breaks for each word.")


class BoilerplateStep(StepSection):
    """Lines that recur over the whole corpus (as CCNet, Wenzek et al. 2020, by paragraph)."""

    min_records: int = Field(
        10, ge=2, description="A line that stands in so many records is boilerplate, in all of them."
    )
    min_words: int = Field(5, ge=1, description="Shorter lines are left alone.")
    drop_below_words: int = Field(
        0, ge=0, description="Drop records of which fewer words are left; 0: only those with nothing left."
    )
