"""Numbers with check digits: payment cards (Luhn, ISO/IEC 7812), IBAN (ISO 13616), and phone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.pii.finding import Find, Finder, says
from workbench.errors import RecipeError

_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_BRANDS: tuple[tuple[str, re.Pattern[str], tuple[int, ...]], ...] = (
    ("Visa", re.compile("4"), (13, 16, 19)),
    ("Mastercard", re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    ("American Express", re.compile("3[47]"), (15,)),
    ("Discover", re.compile("6011|64[4-9]|65"), (16, 17, 18, 19)),
    ("JCB", re.compile("352[89]|35[3-8]"), (16, 17, 18, 19)),
    ("Diners Club", re.compile("30[0-5]|3095|36|3[89]"), (14, 15, 16, 17, 18, 19)),
    ("UnionPay", re.compile("62"), (16, 17, 18, 19)),
    ("Maestro", re.compile("50|5[6-8]|6[0137]"), (16, 17, 18, 19)),
)
_CARD_WORD = re.compile(r"card|visa|mastercard|amex|credit|debit|payment|paid", re.IGNORECASE)
_IBAN = re.compile(r"(?<![\w])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_PHONE = re.compile(r"(?<![\w.,/\-])(?:\+|\(|\d)[\d\s().\-/\u2010-\u2015]{5,24}\d(?![\w]|[.,/-]\d)")
_PHONE_WORD = re.compile(
    r"\b(?:phone|tel|telephone|call|mobile|cell|fax|text|sms|"
    r"whatsapp|contact|ring|dial|reach|number is|hotline)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"^(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4})\b")
_GAP = re.compile(r"[\s/]+")
_JOINED = re.compile(r"[()\-\u2010-\u2015]")
_ONE_LINE = re.compile(r"[ \t().\-/\u2010-\u2015]")


def cards(text: str) -> Iterator[Find]:
    """Card numbers: a brand's prefix and length, and Luhn's check digit; in groups, or said to be a card."""
    with needed("python-stdnum"):
        from stdnum import luhn
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        brand = next((n for n, prefix, sizes in _BRANDS if len(digits) in sizes and prefix.match(digits)), "")
        # A row of noughts passes Luhn, and so does every tenth number: without groups a word must say it.
        if not brand or len(set(digits)) < 2 or not luhn.is_valid(digits):
            continue
        if match[0] != digits or says(text, match.start(), _CARD_WORD) or len(digits) == 16:
            yield Find(match.start(), match.end(), "card", match[0], brand)


def ibans(text: str) -> Iterator[Find]:
    """Account numbers: a country's length and form, and the check digits modulo 97."""
    with needed("python-stdnum"):
        from stdnum import iban
    for match in _IBAN.finditer(text):
        value = match[0]
        # The last group may be the next word in capitals: the shortest that is valid counts.
        for end in sorted({len(value), *(m.start() for m in re.finditer(" ", value))}):
            if end >= 15 and iban.is_valid(value[:end], check_country=False):
                yield Find(match.start(), match.start() + end, "iban", value[:end], value[:2])
                break


def phones(regions: Sequence[str]) -> Finder:
    """A finder of phone numbers that are possible in their country (libphonenumber), with + or in
    `regions`."""
    with needed("phonenumbers"):
        import phonenumbers
    wrong = [region for region in regions if region.upper() not in phonenumbers.SUPPORTED_REGIONS]
    if wrong:
        raise RecipeError(
            f"pii.phone_regions: “{wrong[0]}” is no region of phone numbers",
            hint="ISO 3166 codes as US, GB, DE",
        )
    places = [region.upper() for region in regions]

    def region_of(raw: str, said: bool, whole: bool) -> str:
        """Where a number is valid, `international` with a +; nothing where it is none."""
        international = raw.lstrip("(").startswith("+")
        # A bare run of digits is anything; groups, or a word before it, make it a phone number. The
        # beginning of a run of groups may be that of a row of a table, and needs more than blanks.
        grouped = len(_ONE_LINE.findall(raw)) >= 2 and not re.fullmatch(r"[\d.]+", raw)
        if not (international or said or (grouped and (whole or _JOINED.search(raw)))):
            return ""
        for region in [None] if international else places:
            try:
                number = phonenumbers.parse(raw, region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                return region or "international"
        return ""

    def find(text: str) -> Iterator[Find]:
        place = 0
        while match := _PHONE.search(text, place):
            start, place = match.start(), match.end()
            if "\n" in match[0] or _DATE.match(match[0]):
                continue
            said = says(text, start, _PHONE_WORD)
            for raw in _beginnings(match[0]):
                if region := region_of(raw, said, raw == match[0]):
                    place = start + len(raw)
                    yield Find(start, place, "phone", raw, region)
                    break

    return find


def _beginnings(run: str) -> Iterator[str]:
    """A run of digits and separators, then what of it stands before a gap, the longest first: another number
    may stand behind."""
    yield run
    for gap in reversed(list(_GAP.finditer(run))):
        if run[: gap.start()][-1:].isdigit():
            yield run[: gap.start()]
