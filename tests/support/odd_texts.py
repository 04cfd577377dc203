"""Texts that tokenizers disagree on: scripts, blanks, digits, code, contractions, marks that join, emoji."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence

PARTS = (
    *(
        "",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        " \n ",
        "\r\n",
        "   word",
        "word   ",
        "a\n  b\n\n\n  c",
        "\u00a0x\u2003y",
    ),
    *("Hello, world!", "I'm we'll they've HE'S it'd don'T", "x=1;y=22;z=333;w=4444", "1234567890 12 1.5e-10"),
    *("½ ² ٣٤٥ Ⅻ ①②", "naïve café Ångström", "cafe\u0301 n\u0303", "Grüße aus München", "Здравствуй, мир"),
    *(
        "こんにちは世界、元気？",
        "你好，世界。123",
        "안녕하세요 세계",
        "مرحبا بالعالم ١٢٣",
        "שלום עולם",
        "नमस्ते दुनिया",
    ),
    *(
        "สวัสดีชาวโลก",
        "ελληνικά Ω",
        "🙂🙃 👩‍👩‍👧 🇫🇷",
        "→←↑↓ ∑∫√ ≤≥",
        "a\u200bb\u200dc",
        "\ufeffbom",
        "ſtraße İı",
    ),
    *("def f(x):\n    return x**2  # square\n", "for (int i=0;i<n;++i){a[i]+=b;}", "<a href='x'>y</a>"),
    *(
        "https://example.org/a?b=c&d=%20e#f",
        "C:\\dir\\file.txt",
        "__init__ snake_case camelCase SHOUT",
        "!!!???...---",
    ),
    *(
        "```py\nprint('hi')\n```",
        "| a | b |\n|---|---|",
        '{"k": [1, 2.0, null], "s": "é\\n"}',
        "\x01\x02\x7f",
    ),
)
RANGES = ((0x20, 0x7E), (0xA1, 0x24F), (0x370, 0x52F), (0x5D0, 0x6FF), (0x900, 0x97F), (0x3041, 0x30FF))
MORE = ((0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x2010, 0x2BFF), (0x1F300, 0x1F6FF), (0x0300, 0x036F))


def odd_texts(count: int, special: Sequence[str] = (), seed: int = 0) -> list[str]:
    """`count` of them: those above, then joined and drawn anew; every fourth has `special` tokens inside."""
    draw = random.Random(seed)
    texts = list(PARTS[:count])
    while len(texts) < count:
        kind = len(texts) % 4
        if kind == 0 and special:
            parts = [draw.choice((*PARTS, *special)) for _ in range(4)]
            parts[draw.randrange(4)] = draw.choice(special)
            texts.append(draw.choice(("", " ", "\n")).join(parts))
        elif kind == 1:
            texts.append("".join(draw.choice(PARTS) + draw.choice(("", " ", "\n")) for _ in range(5)))
        else:
            texts.append("".join(_letter(draw, kind == 2) for _ in range(draw.randrange(1, 40))))
    return texts


def _letter(draw: random.Random, any_script: bool) -> str:
    if draw.random() < 0.15:
        return draw.choice(" \n\t  '’0123456789.,")
    low, high = draw.choice((*RANGES, *MORE)) if any_script else RANGES[0]
    letter = chr(draw.randint(low, high))
    return letter if unicodedata.category(letter) != "Cn" else "x"
