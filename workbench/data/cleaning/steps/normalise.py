"""Spelling of characters: Unicode form, control characters, line ends."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.verdicts import KEPT, Step, Verdict, changed, dropped
from workbench.recipe.cleaning.quality import NormaliseStep

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe]"
)
"""Terminal sequences; C0 and C1 but for tab, line feed, form feed, carriage return, next line; byte order
marks."""


class Normalise(Step):
    """Writes the same characters the same way."""

    name: ClassVar[str] = "normalise"

    def __init__(self, settings: NormaliseStep) -> None:
        self.settings = settings

    def judge(self, item: Item) -> Verdict:
        if not item.can_change:
            return KEPT if item.text.strip() else dropped("blank")
        reasons: list[str] = []
        item.edit(lambda text: self._write(text, reasons))
        if not item.text.strip():
            return dropped("blank")
        return changed(reasons[0], what=sorted(set(reasons))) if reasons else KEPT

    def _write(self, text: str, reasons: list[str]) -> str:
        if self.settings.unify_line_ends and "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            reasons.append("line_ends")
        if self.settings.strip_control and _CONTROL.search(text):
            text = _CONTROL.sub("", text)
            reasons.append("control_characters")
        form = self.settings.unicode_form
        if form != "none" and not text.isascii() and not unicodedata.is_normalized(form, text):
            text = unicodedata.normalize(form, text)
            reasons.append("unicode_form")
        return text
