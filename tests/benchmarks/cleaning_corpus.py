"""A corpus with planted defects whose truth is known, for `cleaning_defects.py` and `cleaning_throughput.py`.

The base is Python's own library (`stdlib:`, module texts and docstrings) and public data in a folder:
Shakespeare, word problems, film reviews, Wikipedia sentences, instructions. Values are made by rules of their
own (check digits by python-stdnum's calculators), not by what is measured.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.data.cleaning.words import plain_words
from workbench.data.stdlib import stdlib_files

N_GRAMS = 5
LOW, HIGH = 0.70, 0.95
MIN_WORDS, MAX_WORDS = 60, 600

TOXIC = (
    "You are a worthless idiot and nobody wants you here.",
    "I will kill you if you come here again.",
    "Shut up, you stupid moron.",
    "All immigrants are scum and should be deported.",
    "What a f*cking piece of sh1t this is.",
    "Go kill yourself, loser.",
    "Those people are nothing but vermin.",
    "You should be shot for this, you filthy pig.",
    "This fucking shit makes me sick, you bastard.",
    "I hate all muslims and everything about them.",
    "He is such a retarded clown.",
    "F u c k off, you pathetic bitch.",
)
HARMLESS = (
    "Kill the process and hang up before the timer fires.",
    "The assassin in Scunthorpe drank a cocktail and passed the class.",
    "You are an ideal candidate for the position.",
    "She studied sex differences in breast cancer at Essex.",
    "The master node shoots a message to its dead peers.",
    "The trash folder is emptied when you shut the lid.",
)
LINES = (
    "We use cookies to give you the best experience on our site.",
    "Subscribe to our newsletter and never miss a story again.",
    "Click here to read the full terms and conditions of use.",
    "All rights reserved. No part may be reproduced without permission.",
    "Share this article with your friends on every network.",
    "Please enable scripts in your browser to see the comments.",
    "This page was last updated by the editors on a Monday.",
    "Home | About us | Contact | Privacy | Help and frequently asked questions",
    "Advertisement: continue reading the main story below this banner.",
    "You have reached your limit of free articles for this month.",
)
DECOYS = (
    "The build is version 10.4.18.2 of the driver.",
    "ISBN 978-3-16-148410-0 is out of print.",
    "Order 4539148803436468 was shipped in two parcels.",
    "The constant is 3.14159265358979323846 in this table.",
    "The reference is DE89370400440532013001 in our files.",
    "It took from 2021-03-04 10:11:12 to 2022-05-06 07:08:09 in all.",
    "The hosts 10.0.0.17 and 192.168.1.20 do not answer.",
    "Lot 123-45-678 weighs 1,234,567.89 grams.",
)


@dataclass
class Corpus:
    """Records with an `id`, and what was planted in which: kind to id to what it was."""

    records: list[dict[str, str]] = field(default_factory=list)
    planted: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, kind: str, identity: str, what: Any) -> None:
        """Remember a defect."""
        self.planted.setdefault(kind, {})[identity] = what


def base_texts(data: Path, *, code: bool = True) -> Iterator[str]:
    """With code or without, texts of 60 to 600 words, no two with half their 5-grams in common."""
    seen: set[int] = set()
    for text in _all_texts(data, code):
        words = text.split()
        for begin in range(0, len(words), MAX_WORDS):
            part = words[begin : begin + MAX_WORDS]
            if len(part) < MIN_WORDS:
                continue
            grams = [hash(gram) for gram in grams_of(" ".join(part))]
            if sum(gram in seen for gram in grams) * 2 < len(grams):
                seen.update(grams)
                yield _lines(part)


def _lines(words: list[str]) -> str:
    """Words in lines of about twelve, as prose in files is."""
    return "\n".join(" ".join(words[begin : begin + 12]) for begin in range(0, len(words), 12))


def _all_texts(data: Path, code: bool) -> Iterator[str]:
    for path in stdlib_files() if code else ():
        source = path.read_text(encoding="utf-8", errors="replace")
        yield source
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                doc := ast.get_docstring(node)
            ):
                yield doc
    yield (data / "tinyshakespeare.txt").read_text()
    problems = [json.loads(line) for line in (data / "gsm8k/train.jsonl").read_text().splitlines()]
    yield from (f"{problem['question']} {problem['answer']}" for problem in problems)
    reviews = [line.partition("\t")[0] for line in (data / "sst2/train.tsv").read_text().splitlines()]
    yield from ("\n".join(reviews[begin : begin + 12]) for begin in range(0, len(reviews), 12))
    tagged = (data / "wikiann-en/train.txt").read_text()
    sentences = [
        " ".join(line.partition("\t")[0].partition(":")[2] for line in part.splitlines())
        for part in tagged.split("\n\n")
    ]
    yield from ("\n".join(sentences[begin : begin + 12]) for begin in range(0, len(sentences), 12))


def grams_of(text: str) -> set[tuple[str, ...]]:
    """The shingles of a text as tuples of words: what similarity is defined by."""
    words = plain_words(text)
    return {tuple(words[at : at + N_GRAMS]) for at in range(max(1, len(words) - N_GRAMS + 1))}


def similarity(one: str, other: str) -> float:
    """Exact Jaccard."""
    a, b = grams_of(one), grams_of(other)
    return len(a & b) / len(a | b)


def near_copy(text: str, rng: random.Random) -> tuple[str, float] | None:
    """A copy with words exchanged, dropped, inserted, of about a similarity drawn from 0.7 to 0.95."""
    target = rng.uniform(LOW, HIGH)
    lines = [line.split() for line in text.split("\n")]
    best: tuple[str, float] | None = None
    for _ in range(200):
        line = rng.choice(lines)
        if not line:
            continue
        place = rng.randrange(len(line))
        action = rng.random()
        if action < 0.6:
            line[place] = rng.choice(("otherwise", "again", "seven", "harbour", "quietly", "anyone"))
        elif action < 0.8:
            del line[place]
        else:
            line.insert(place, rng.choice(("indeed", "perhaps", "still")))
        changed = "\n".join(" ".join(words) for words in lines)
        value = similarity(text, changed)
        if LOW <= value <= HIGH and value < 1:
            best = changed, value
        if value <= target:
            break
    return best


def personal_value(kind: str, rng: random.Random) -> tuple[str, str]:
    """A sentence with a made-up value, and the value."""
    from stdnum import luhn
    from stdnum.iso7064 import mod_97_10

    digits = "".join(rng.choice("0123456789") for _ in range(20))
    name = rng.choice(("anna", "bob.miller", "c_lee", "dora77", "e.m.ross")) + digits[:3]
    if kind == "email":
        value = f"{name}@{rng.choice(('mail.org', 'uni-koeln.de', 'corp.co.uk', 'post.fr'))}"
        return rng.choice(("Write to {} today.", "Contact: {}", "<{}> wrote this.")), value
    if kind == "phone":
        national = (
            f"{rng.choice(('212', '415', '312', '617'))}-{rng.choice('3568')}{digits[:2]}-{digits[2:6]}"
        )
        forms = (f"+1 {national}", f"({national[:3]}) {national[4:]}", national, f"+44 20 7946 0{digits[:3]}")
        return rng.choice(("Call {} after six.", "Phone: {}", "My number is {}.")), rng.choice(forms)
    if kind == "ip":
        value = ".".join(
            [rng.choice(("81", "93", "145", "203")), *(str(rng.randrange(1, 254)) for _ in "abc")]
        )
        return rng.choice(("The request came from {} at noon.", "Client {} was banned.")), value
    if kind == "card":
        prefix = rng.choice(("4", "51", "55", "2221"))
        bare = (prefix + digits)[:15]
        number = bare + luhn.calc_check_digit(bare)
        groups = " ".join(number[at : at + 4] for at in range(0, 16, 4))
        return rng.choice(("Pay by card {} please.", "The card was {}.")), rng.choice((number, groups))
    if kind == "iban":
        account = "37040044" + digits[:10]
        value = f"DE{mod_97_10.calc_check_digits(account + 'DE')}{account}"
        spaced = " ".join(value[at : at + 4] for at in range(0, len(value), 4))
        return rng.choice(("Transfer it to {} by Friday.", "IBAN {}")), rng.choice((value, spaced))
    return _national(rng, digits)


def _national(rng: random.Random, digits: str) -> tuple[str, str]:
    from stdnum.es import dni
    from stdnum.fr import nir
    from stdnum.pl import pesel

    choice = rng.randrange(4)
    if choice == 0:
        return (
            "His SSN is {}.",
            f"{rng.choice(('536', '212', '401'))}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}",
        )
    if choice == 1:
        return "El DNI es {}.", digits[:8] + dni.calc_check_digit(digits[:8])
    if choice == 2:
        body = f"2{rng.randrange(50, 99)}{rng.randrange(1, 13):02d}75{digits[:3]}{digits[3:6]}"
        return "Numéro de sécurité sociale : {}", body + nir.calc_check_digits(body)
    body = f"{rng.randrange(50, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 28):02d}{digits[:4]}"
    return "PESEL {}", body + pesel.calc_check_digit(body)


def put_in(text: str, line: str, rng: random.Random) -> str:
    """A text with a line more, somewhere inside."""
    lines = text.split("\n")
    lines.insert(rng.randrange(1, len(lines)), line)
    return "\n".join(lines)


PII_KINDS = ("email", "phone", "ip", "card", "iban", "national")


def make_corpus(data: Path, records: int, defects: int, seed: int = 0) -> Corpus:
    """At most so many base records, and so many defects: 30 % near copies, 30 % personal data, 15 %
    boilerplate, 10 % toxic lines, 15 % leaked questions; and harmless look-alikes beside them."""
    rng = random.Random(seed)
    texts = list(base_texts(data))
    rng.shuffle(texts)
    texts = texts[:records]
    corpus = Corpus([{"id": f"base-{n}", "text": text} for n, text in enumerate(texts)])
    free = iter(rng.sample(range(len(texts)), len(texts)))

    def take() -> dict[str, str]:
        return corpus.records[next(free)]

    count = {kind: round(defects * share) for kind, share in SHARES.items()}
    for number in range(count["near"]):
        origin = take()
        if made := near_copy(origin["text"], rng):
            identity = f"near-{number}"
            corpus.records.append({"id": identity, "text": made[0]})
            corpus.note("near", identity, {"of": origin["id"], "similarity": made[1]})
    for number in range(count["pii"]):
        kind, record = PII_KINDS[number % len(PII_KINDS)], take()
        sentence, value = personal_value(kind, rng)
        record["text"] = put_in(record["text"], sentence.format(value), rng)
        corpus.note("pii", record["id"], {"kind": kind, "value": value})
    for kind, lines, number in (
        ("boilerplate", LINES, count["boilerplate"]),
        ("toxic", TOXIC, count["toxic"]),
        ("harmless", HARMLESS, count["toxic"] // 2),
        ("decoy", DECOYS, count["pii"] // 3),
    ):
        for _ in range(number):
            record, line = take(), rng.choice(lines)
            record["text"] = put_in(record["text"], line, rng)
            corpus.note(kind, record["id"], line)
    questions = [
        json.loads(line)["question"] for line in (data / "gsm8k/test.jsonl").read_text().splitlines()
    ]
    for number in range(count["leaked"]):
        record, question = take(), questions[number % len(questions)]
        record["text"] = put_in(record["text"], _disguised(question, number % 3, rng), rng)
        corpus.note("leaked", record["id"], {"question": question, "how": HOW[number % 3]})
    rng.shuffle(corpus.records)
    return corpus


SHARES = {"near": 0.3, "pii": 0.3, "boilerplate": 0.15, "toxic": 0.1, "leaked": 0.15}
HOW = ("verbatim", "other case and punctuation", "two thirds of it")


def _disguised(question: str, how: int, rng: random.Random) -> str:
    """A question as it may leak: as it stands, rewritten in upper case without marks, or its greater part."""
    if how == 1:
        return re.sub(r"[^\w\s]", " ", question).upper()
    if how == 2:
        words = question.split()
        length = max(15, len(words) * 2 // 3)
        begin = rng.randrange(0, max(1, len(words) - length + 1))
        return " ".join(words[begin : begin + length])
    return question


def write(corpus: Corpus, path: Path) -> None:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in corpus.records), encoding="utf-8")
