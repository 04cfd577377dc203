"""C4's rules (Raffel et al. 2020), as datatrove implements them, text by text."""

from __future__ import annotations

from typing import ClassVar

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import get_filter_result
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.utils.text import split_into_sentences

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.steps import measures
from workbench.data.cleaning.steps.tables import rule_table
from workbench.data.cleaning.verdicts import KEPT, Rule, Step, Verdict, changed, dropped
from workbench.data.cleaning.words import TOKENIZER
from workbench.recipe.cleaning.quality import C4Step


class C4(Step):
    """Lines are taken out, and records with too little left (Raffel et al. 2020)."""

    name: ClassVar[str] = "c4"

    def __init__(self, settings: C4Step) -> None:
        s = self.settings = settings
        # Of a record with several texts each loses its lines; the sentences are those of all together.
        self.lines = C4QualityFilter(
            remove_citations=s.remove_citations,
            filter_no_terminal_punct=s.filter_no_terminal_punct,
            min_num_sentences=-1,
            min_words_per_line=s.min_words_per_line,
            max_word_length=s.max_word_length,
            filter_lorem_ipsum=s.filter_lorem_ipsum,
            filter_javascript=s.filter_javascript,
            filter_curly_bracket=s.filter_curly_bracket,
            filter_policy=s.filter_policy,
            language=TOKENIZER,
        )
        self._rules = rule_table(
            self.name,
            [
                (
                    "too_few_sentences",
                    "min_num_sentences",
                    "sentences left",
                    self._sentences_left,
                    f"≥ {s.min_num_sentences}",
                ),
                ("curly_bracket", "filter_curly_bracket", "curly brackets", measures.brackets, "none"),
                ("lorem_ipsum", "filter_lorem_ipsum", "“lorem ipsum”", measures.lorem, "none"),
            ],
        )

    def rules(self) -> dict[str, Rule]:
        return self._rules

    def judge(self, item: Item) -> Verdict:
        kept: list[str] = []
        for text in item.texts:
            document = Document(text=text, id="")
            passes, reason = get_filter_result(self.lines.filter(document))
            if not passes:
                return dropped(reason)
            kept.append(document.text)
        sentences = self._sentences(kept)
        if sentences < self.settings.min_num_sentences:
            return dropped("too_few_sentences", value=sentences, wants=f"≥ {self.settings.min_num_sentences}")
        if not any(text.strip() for text in kept):
            return dropped("nothing_left")
        before = sum(text.count("\n") + 1 for text in item.texts)
        if not item.can_change:
            return KEPT
        texts = iter(kept)
        if not item.edit(lambda _: next(texts)):
            return KEPT
        after = sum(text.count("\n") + 1 for text in kept if text)
        return changed("lines_removed" if after < before else "spaces", lines=before - after)

    def _sentences(self, texts: list[str]) -> int:
        return sum(
            len(split_into_sentences(line, TOKENIZER)) for text in texts for line in text.split("\n") if line
        )

    def _sentences_left(self, item: Item) -> float:
        documents = [Document(text=text, id="") for text in item.texts]
        return float(
            self._sentences([d.text for d in documents if get_filter_result(self.lines.filter(d))[0]])
        )
