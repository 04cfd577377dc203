from __future__ import annotations

import random

import pytest

from workbench.inference.engine.text import Detokenizer, StopStrings


def decode_bytes(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("text", ["plain", "naïve café", "日本語", "👩‍👩‍👧", "a\u0301", "\x1b[31m[red]"])
def test_streamed_bytes_never_split_a_character_and_add_up(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(byte) for byte in text.encode()] + [detokenizer.finish()]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)


def test_characters_whole_in_a_stream_of_broken_ones_come_out_whole() -> None:
    detokenizer = Detokenizer(decode_bytes)
    data = b"\xff\xfe\xff\xff" + "é€😀".encode() + b"\xf0\x9f"
    text = "".join([*(detokenizer.add(byte) for byte in data), detokenizer.finish()])
    assert "é€😀" in text
    assert text == data.decode(errors="replace")


def test_any_bytes_stream_as_they_decode_at_once() -> None:
    rng = random.Random(0)
    for _ in range(200):
        data = bytes(rng.choice([*range(97, 123), *range(128, 256)]) for _ in range(30))
        detokenizer = Detokenizer(decode_bytes)
        text = "".join([*(detokenizer.add(byte) for byte in data), detokenizer.finish()])
        # How many signs stand for broken bytes depends on where decoding began; what is whole does not.
        assert text.replace("\ufffd", "") == data.decode(errors="replace").replace("\ufffd", "")


def cut(text: str, rng: random.Random) -> list[str]:
    pieces = []
    while text:
        size = rng.randint(1, 4)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.mark.parametrize(
    ("stops", "text", "shown", "found"),
    [
        (["STOP"], "one STOP two", "one ", "STOP"),
        (["STOP"], "one STO P", "one STO P", None),
        (["abcd", "bc"], "xabcd", "xa", "bc"),
        (["\n\n"], "a\nb\n\nc", "a\nb", "\n\n"),
        (["aab"], "aaaab", "aa", "aab"),
        ([], "anything", "anything", None),
    ],
)
def test_stop_strings_across_pieces(stops: list[str], text: str, shown: str, found: str | None) -> None:
    for seed in range(20):
        stop = StopStrings(stops)
        out = "".join(stop.add(piece) for piece in cut(text, random.Random(seed))) + stop.finish()
        assert (out, stop.found) == (shown, found)


def test_nothing_of_a_stop_string_is_ever_shown() -> None:
    stop = StopStrings(["<end>"])
    seen = []
    for char in "text <en":
        seen.append(stop.add(char))
    assert "".join(seen) == "text "
    assert stop.finish() == "<en"


def test_a_stop_string_can_be_kept() -> None:
    stop = StopStrings(["."], include=True)
    assert stop.add("One. Two.") == "One."
