"""National identity, tax and insurance numbers, by form and check digits (python-stdnum).

One check digit lets every tenth number pass, so where the form says little, a word before it must say what it
is (`word`); forms of their own (letters, dates with two check digits) stand alone.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.pii.finding import Find, Finder, says
from workbench.errors import RecipeError


class Scheme(NamedTuple):
    """A country's numbers: stdnum's module, how they are written, and the words that go before a bare one."""

    country: str
    module: str
    form: str
    word: str = ""
    alone: str = ""


SCHEMES: tuple[Scheme, ...] = (
    Scheme("US", "us.ssn", r"\d{3}-\d{2}-\d{4}|\d{9}", r"ssn|social security", r"\d{3}-\d{2}-\d{4}"),
    Scheme("GB", "gb.nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", r"\bnhs\b"),
    Scheme(
        "GB",
        "",
        r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        r"national insurance|\bnino?\b",
        r"[A-Z]{2} \d{2} \d{2} \d{2} [A-D]",
    ),
    Scheme("CA", "ca.sin", r"\d{3}[ -]?\d{3}[ -]?\d{3}", r"\bsin\b|social insurance"),
    Scheme("DE", "de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer|\bidnr|tax|identifikation"),
    Scheme("FR", "fr.nir", r"[12] ?\d{2} ?(?:\d{2}) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", "", r".+"),
    Scheme("ES", "es.dni", r"\d{8}-?[A-HJ-NP-TV-Z]", "", r".+"),
    Scheme("ES", "es.nie", r"[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]", "", r".+"),
    Scheme("IT", "it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", "", r".+"),
    Scheme("NL", "nl.bsn", r"\d{9}|\d{4}[. ]\d{2}[. ]\d{3}", r"\bbsn\b|burgerservice|sofi"),
    Scheme(
        "BE",
        "be.nn",
        r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}|\d{11}",
        r"rijksregister|national|niss|\bnn\b",
        r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}",
    ),
    Scheme("PL", "pl.pesel", r"\d{11}", r"pesel"),
    Scheme("BR", "br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}", r"\bcpf\b", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    Scheme("IN", "in_.aadhaar", r"[2-9]\d{3} ?\d{4} ?\d{4}", r"aadhaar|aadhar|uidai"),
    Scheme("CN", "cn.ric", r"\d{17}[\dX]", "", r".+"),
    Scheme("SE", "se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}", "", r".+"),
    Scheme("FI", "fi.hetu", r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]", "", r".+"),
    Scheme("NO", "no.fodselsnummer", r"\d{6} ?\d{5}", r"f[øo]dselsnummer|personnummer"),
    Scheme("DK", "dk.cpr", r"\d{6}-?\d{4}", r"\bcpr\b|personnummer"),
    Scheme("CH", "ch.ssn", r"756\.\d{4}\.\d{4}\.\d{2}|756\d{10}", "", r".+"),
    Scheme("AT", "at.vnr", r"\d{4} ?\d{6}", r"svnr|sozialversicherung|versicherungsnummer"),
    Scheme("RO", "ro.cnp", r"[1-9]\d{12}", r"\bcnp\b"),
    Scheme("CZ", "cz.rc", r"\d{6}/\d{3,4}", "", r"\d{6}/\d{4}"),
    Scheme("KR", "kr.rrn", r"\d{6}-[1-8]\d{6}", "", r".+"),
    Scheme("MX", "mx.curp", r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", "", r".+"),
    Scheme("ZA", "za.idnr", r"\d{13}", r"\bid\b|identity"),
    Scheme("AU", "au.tfn", r"\d{3} ?\d{3} ?\d{2,3}", r"\btfn\b|tax file"),
    Scheme("TR", "tr.tckimlik", r"[1-9]\d{10}", r"kimlik|\btc\b|t\.c\."),
    Scheme(
        "CL",
        "cl.rut",
        r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]|\d{7,8}-[\dkK]",
        r"\brut\b|\brun\b",
        r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]",
    ),
    Scheme("IE", "ie.pps", r"\d{7}[A-W][A-IW]?", r"\bpps"),
    Scheme("BG", "bg.egn", r"\d{10}", r"\begn\b|егн"),
    Scheme("HR", "hr.oib", r"\d{11}", r"\boib\b"),
)


def countries() -> list[str]:
    """ISO codes of the countries that are known."""
    return sorted({scheme.country for scheme in SCHEMES})


def nationals(wanted: Sequence[str]) -> Finder:
    """A finder of the numbers of some countries, or of all. Raises `RecipeError` for one that is not
    known."""
    codes = {code.upper() for code in wanted}
    if unknown := sorted(codes - set(countries())):
        raise RecipeError(
            f"pii.national_countries: no numbers of “{unknown[0]}” are known", hint=", ".join(countries())
        )
    with needed("python-stdnum"):
        compiled = [_compiled(scheme) for scheme in SCHEMES if not codes or scheme.country in codes]

    def find(text: str) -> Iterator[Find]:
        if not any(map(str.isdigit, text)):
            return
        for scheme, module, form, word, alone in compiled:
            for match in form.finditer(text):
                stands = alone is not None and alone.fullmatch(match[0])
                if not stands and not (word is not None and says(text, match.start(), word)):
                    continue
                if module is None or module.is_valid(match[0]):
                    yield Find(match.start(), match.end(), "national", match[0], scheme.country)

    return find


def _compiled(
    scheme: Scheme,
) -> tuple[Scheme, Any, re.Pattern[str], re.Pattern[str] | None, re.Pattern[str] | None]:
    module = importlib.import_module(f"stdnum.{scheme.module}") if scheme.module else None
    return (
        scheme,
        module,
        re.compile(rf"(?<![\w.+/-])(?:{scheme.form})(?![\w-]|[./]\d)"),
        re.compile(scheme.word, re.IGNORECASE) if scheme.word else None,
        re.compile(scheme.alone) if scheme.alone else None,
    )
