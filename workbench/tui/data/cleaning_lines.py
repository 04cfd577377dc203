"""Settings, examples, reports and cards of a cleaning as lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.tui.text import meter, reveal_control
from workbench.tui.widgets.text_lines import Line, Span, plain

if TYPE_CHECKING:
    from workbench.store.cleaning_steps import StepCounts

SHOWN = 20_000
"""Characters of a record that are laid out."""

BAR = 20


def bar(row: dict[str, Any], width: int, symbols: str) -> tuple[str, str, str]:
    """Kept, changed and dropped as three pieces of a bar; what happened at all is seen."""
    came = row["came"] or 1
    changed = max(round(row["changed"] / came * width), int(row["changed"] > 0))
    dropped = max(round(row["dropped"] / came * width), int(row["dropped"] > 0))
    full, half, empty = ("#", "+", ".") if symbols == "ascii" else ("█", "▓", "░")
    return full * max(0, width - changed - dropped), half * changed, empty * dropped


def settings_lines(step: str, settings: list[tuple[str, Any, str]], counts: StepCounts | None) -> list[Line]:
    """What a step did, and what it goes by."""
    lines: list[Line] = [plain(step, "title")]
    if counts is not None and counts.came:
        told = ", ".join(f"{counts.counts[name]:,} {name}" for name in ("kept", "changed", "dropped"))
        lines.append(plain(f"of {counts.came:,} records {told}"))
        most = max(counts.reasons.values(), default=1)
        for reason, count in counts.reasons.most_common(12):
            share = meter(count / most, BAR, "ascii")
            lines.append(((f"  {share} {count:>9,}  ", ""), (reveal_control(reason), "key")))
        if counts.found:
            found = ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.found.items()))
            lines.append(plain(f"found: {found}"))
    lines.append(plain(""))
    for key, value, meaning in settings:
        lines.append(((f"  {key} = {_shown(value)}  ", "key"), (meaning, "dim")))
    return lines


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return reveal_control(text if len(text) <= 60 else text[:59] + "…")


def example_lines(row: dict[str, Any]) -> list[Line]:
    """A record that was dropped or changed: where, why, and what differs."""
    role = "warn" if row["action"] == "changed" else "bad"
    lines: list[Line] = [
        plain(reveal_control(row["where"]), "dim"),
        ((f"{row['action']}: ", role), (reveal_control(row["reason"]), f"{role} strong")),
    ]
    lines += [
        ((f"  {key} ", "key"), (reveal_control(str(value)), "")) for key, value in row["detail"].items()
    ]
    lines.append(plain(""))
    if row["before"] is None:
        return [*lines, plain("its text was not kept (report.keep_text)", "dim")]
    if row["after"] is not None:
        return lines + difference(row["before"], row["after"])
    if row["other"]:
        note = "beside the record that stays: red only in that, green only in this"
        return [*lines, plain(note, "dim"), *difference(row["other"], row["before"])]
    return lines + text_lines(row["before"])


def text_lines(text: str) -> list[Line]:
    """A text as it is."""
    lines = [plain(reveal_control(line)) for line in text[:SHOWN].split("\n")]
    return [*lines, plain(f"… {len(text) - SHOWN:,} more characters", "dim")] if len(text) > SHOWN else lines


def difference(before: str, after: str) -> list[Line]:
    """Two texts line by line, words that differ in red and green; lines far from any change are left out."""
    old, new = before[:SHOWN].split("\n"), after[:SHOWN].split("\n")
    lines: list[Line] = []
    for tag, a, b, c, d in _opcodes(old, new):
        if tag == "equal":
            kept = old[a:b]
            if len(kept) > 5:
                lines += [plain(f"  {reveal_control(line)}", "dim") for line in kept[:2]]
                lines.append(plain(f"  … {len(kept) - 4:,} lines alike", "dim"))
                kept = kept[-2:]
            lines += [plain(f"  {reveal_control(line)}", "dim") for line in kept]
        elif tag == "replace" and b - a == d - c:
            for one, other in zip(old[a:b], new[c:d], strict=True):
                lines += _words(one, other)
        else:
            lines += [((("- " + reveal_control(line)), "bad"),) for line in old[a:b]]
            lines += [((("+ " + reveal_control(line)), "good"),) for line in new[c:d]]
    return lines


def _words(one: str, other: str) -> list[Line]:
    """A line before and after, with the words that changed marked in each."""
    old, new = _split(one), _split(other)
    first: list[Span] = [("- ", "bad")]
    second: list[Span] = [("+ ", "good")]
    for tag, a, b, c, d in _opcodes(old, new):
        mark = "" if tag == "equal" else " strong"
        if a < b:
            first.append((reveal_control("".join(old[a:b])), f"bad{mark}" if mark else ""))
        if c < d:
            second.append((reveal_control("".join(new[c:d])), f"good{mark}" if mark else ""))
    return [tuple(first), tuple(second)]


def _split(line: str) -> list[str]:
    return re.findall(r"\S+|\s+", line)


def _opcodes(old: list[str], new: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    # Of long lists what is frequent is no anchor: the time is the square of how often a word stands there.
    return difflib.SequenceMatcher(None, old, new, autojunk=len(new) > 1000).get_opcodes()


def trial_lines(found: dict[str, Any]) -> list[Line]:
    """What a trial of the rules came to."""
    lines: list[Line] = [plain("the rules on some records; nothing was written", "title")]
    for line in str(found.get("stopped", "")).split("\n"):
        if line:
            lines.append(plain(reveal_control(line), "bad"))
    for step in found.get("steps", []):
        told = f"{step['in']:>6,} in {step['changed']:>6,} changed {step['dropped']:>6,} dropped"
        lines.append(((f"{step['step']:<18}", "key"), (told, "")))
        rules = {rule["reason"]: rule for rule in step["rules"]}
        for reason, count in step["reasons"].items():
            lines.append(plain(f"    {count:,} {reveal_control(reason)}"))
            if rule := rules.get(reason):
                lines.append(plain(f"      {rule['key']} wants {rule['measures']} {rule['wants']}", "dim"))
                lines.append(plain(f"      observed: {rule['observed']}", "dim"))
        for example in step["examples"][:1]:
            lines += [plain("")] + example_lines(example)[:12]
    return lines


def card_lines(card: str) -> list[Line]:
    """The data card as it is written."""
    if not card:
        return [plain("there is no card before the end", "dim")]
    return [plain(reveal_control(line), "title" if line.startswith("#") else "") for line in card.split("\n")]


def report_lines(report: dict[str, Any]) -> list[Line]:
    """Mixture, diversity and bias, with bars."""
    if not report:
        return [plain("there is no report before the end", "dim")]
    mixture = report["mixture"]
    lines: list[Line] = [plain("mixture", "title")]
    for source in mixture["sources"]:
        share = meter(source["share"], BAR, "ascii")
        counts = f"{source['words']:>13,} words {source['records']:>10,} records"
        told = f"  {share} {source['share']:>6.1%} {counts}  "
        lines.append(((told, ""), (reveal_control(source["source"]), "key")))
    lines.append(plain(f"  effective number of sources {mixture['effective_sources']}", "dim"))
    if mixture["languages"]:
        languages = ", ".join(f"{code} {count:,}" for code, count in list(mixture["languages"].items())[:12])
        lines.append(plain(f"  languages: {reveal_control(languages)}"))
    most = max((bin_["records"] for bin_ in report["lengths"]), default=1)
    lines += [plain(""), plain("length in words", "title")]
    for bin_ in report["lengths"]:
        bounds = f"{bin_['from']:,}-{bin_['to']:,}"
        lines.append(
            plain(f"  {bounds:>17} {meter(bin_['records'] / most, BAR, 'ascii')} {bin_['records']:,}")
        )
    return lines + _diversity(report.get("diversity")) + _bias(report.get("bias"))


def _diversity(found: dict[str, Any] | None) -> list[Line]:
    if not found:
        return []
    lines: list[Line] = [plain(""), plain("diversity", "title")]
    lines.append(
        plain(f"  {found['vocabulary']:,} different words, entropy {found['word_entropy_bits']} bits")
    )
    lines.append(plain(f"  a record compresses to 1/{found['compression']} by zlib"))
    grams = ", ".join(f"{n}-grams {found[f'distinct_{n}']['ratio']:.1%}" for n in (1, 2, 3))
    return [*lines, plain(f"  different ones among all: {grams}")]


def _bias(found: dict[str, Any] | None) -> list[Line]:
    if not found:
        return []
    told = f"who stands near what, within {found['window']} words (PMI in bits, 0 is chance)"
    lines: list[Line] = [plain(""), plain(told, "title")]
    for pair in found["pairs"][:40]:
        role = "warn" if abs(pair["pmi"]) >= 1 else ""
        counts = f"{pair['count']:>8,} seen {pair['expected']:>11,.1f} by chance"
        words = f"{pair['group']:<12} {pair['attribute']:<12}"
        lines.append(((f"  {words}{counts}  ", ""), (f"{pair['pmi']:+.2f}", role)))
    for group, company in found["company"].items():
        words = ", ".join(f"{entry['word']} {entry['pmi']:+.1f}" for entry in company[:8])
        lines.append(((f"  near {group}: ", "key"), (reveal_control(words), "")))
    return lines
