"""Text, headings and places out of text files, Markdown, source code, HTML and PDF."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from retrieval_setting import encrypted_pdf, pdf, pdf_with_bookmarks

from workbench.errors import DataError
from workbench.prompting.retrieval.extraction.document import Document, heading_paths
from workbench.prompting.retrieval.extraction.formats import extract


def read(name: str, content: str | bytes) -> Document:
    return extract(content.encode() if isinstance(content, str) else content, PurePath(name))


def outline(document: Document) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


def line_of(document: Document, words: str) -> tuple[int, int]:
    start = document.text.index(words)
    return document.place(start, start + len(words))


def test_a_text_file_keeps_its_lines_whatever_ends_them() -> None:
    document = read("notes.txt", "one\r\ntwo\rthree\nfour")
    assert document.text == "one\ntwo\nthree\nfour"
    assert (document.title, document.unit) == ("notes.txt", "line")
    assert line_of(document, "one") == (1, 1)
    assert line_of(document, "two\nthree") == (2, 3)
    assert line_of(document, "four") == (4, 4)


def test_byte_order_marks_decide_on_the_encoding() -> None:
    assert read("a.txt", "\ufeffgrün".encode()).text == "grün"
    assert read("a.txt", "grün".encode("utf-16")).text == "grün"


def test_what_is_not_utf8_is_replaced_and_said() -> None:
    document = read("a.txt", "Die Straße ist für alle da, und das ist gut so.".encode("latin-1"))
    assert document.text == "Die Stra\ufffde ist f\ufffdr alle da, und das ist gut so."
    assert document.notes == ("2 places that are not UTF-8 were replaced by U+FFFD",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
        (bytes(range(128, 256)) * 20, "not text"),
        ("все счастливые семьи".encode("koi8-r") * 20, "not text, or not in UTF-8"),
        (b" \n\t ", "empty"),
    ],
)
def test_what_is_no_text_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read("a.txt", content)


MARKDOWN = """\
---
title: front
---
# The *Guide* to [Things](http://x.org)

Intro.

Setext one
==========

```bash
# no heading
```

Setext two
---

- item
---

### Deep ###
    # code, not a heading
"""


def test_markdown_headings_are_found_and_those_in_code_are_not() -> None:
    document = read("guide.md", MARKDOWN)
    assert outline(document) == [
        (1, "The Guide to Things"),
        (1, "Setext one"),
        (2, "Setext two"),
        (3, "Deep"),
    ]
    assert document.title == "The Guide to Things"
    setext = document.headings[1]
    assert document.text[setext.start : setext.end] == "Setext one\n=========="
    assert heading_paths(document.headings)[3] == ("Setext one", "Setext two", "Deep")


CODE = '''\
import os


class Shelf:
    """Holds books."""

    @property
    def full(self) -> bool:
        return (
            True
        )

    async def add(self, book): ...


LIMIT = 5


# How many fit.
def limit(x):
    return x
'''


def test_definitions_are_the_headings_of_source_code() -> None:
    document = read("shelf.py", CODE)
    paths = heading_paths(document.headings)
    assert [path for path, heading in zip(paths, document.headings, strict=True) if heading.title] == [
        ("class Shelf",),
        ("class Shelf", "def full"),
        ("class Shelf", "def add"),
        ("def limit",),
    ]
    starts = {heading.title: document.text[heading.start :] for heading in document.headings}
    assert starts["def full"].startswith("    @property\n    def full")
    assert starts["def limit"].startswith("# How many fit.\ndef limit")
    assert starts[""].startswith("LIMIT = 5")


@pytest.mark.parametrize(
    ("name", "line", "title"),
    [
        ("a.rs", "pub async fn read(path: &str) -> u8 {", "fn read"),
        ("a.go", "func (s *Server) Serve(l net.Listener) error {", "func Serve"),
        ("a.go", "type Server struct {", "type Server"),
        ("a.ts", "export default function main() {", "function main"),
        ("a.java", "public static class Pair<A, B> {", "class Pair"),
        ("a.cpp", "namespace std::chrono {", "namespace std::chrono"),
    ],
)
def test_definitions_in_other_languages(name: str, line: str, title: str) -> None:
    assert outline(read(name, f"{line}\n}}\n")) == [(0, title)]


def test_minified_code_is_refused() -> None:
    with pytest.raises(DataError, match="minified"):
        read("a.js", "var a=function(b){return b};" * 100)
    assert read("a.txt", "a very long line " * 100).text


HTML = """\
<!DOCTYPE html>
<html><head><title>The &amp; Guide</title>
<style>body { color: red }</style><script>alert("<p>no</p>")</script></head>
<body>
<nav><a href="/">Home</a></nav>
<header><p>Site name</p></header>
<main>
<header><h1>Installing<a class="headerlink" href="#x">¶</a></h1></header>
<p>First <b>bold</b>
 and   <i>italic</i> &lt;text&gt;.<br>Second line.
<p hidden>secret</p>
<ul><li>one<li>two</ul>
<h2>Table</h2>
<table><tr><th>Name</th><th>Size</th></tr><tr><td>a</td><td>1</td></tr></table>
<pre>if x:
    go()</pre>
<div style="display: none">invisible</div><span aria-hidden="true">icon</span>
</main>
<footer>Imprint</footer>
</body></html>
"""


def test_html_gives_the_text_without_what_surrounds_it() -> None:
    document = read("page.html", HTML)
    assert document.text == (
        "Installing\n\n"
        "First bold and italic <text>.\nSecond line.\n\n"
        "- one\n- two\n\n"
        "Table\n\n"
        "Name | Size\na | 1\n\n"
        "if x:\n    go()"
    )
    assert document.title == "The & Guide"
    assert outline(document) == [(1, "Installing"), (2, "Table")]


def test_passages_of_html_point_to_the_lines_of_the_file() -> None:
    document = read("page.html", HTML)
    lines = HTML.split("\n")
    for words in ("Installing", "First bold", "one", "a | 1", "if x:", "go()"):
        first, last = line_of(document, words)
        assert first == last
        assert words.split()[0] in lines[first - 1]


def test_html_that_nobody_closed_loses_no_more_than_it_must() -> None:
    document = read("a.html", "<div><nav>menu<ul><li>x</div><p>kept <b>text<p>more</i></p><td>cell")
    assert document.text == "kept text\n\nmore\n\ncell"
    with pytest.raises(DataError, match="drawn by scripts"):
        read("a.html", "<body><script>var x = 1;</script><noscript>Enable it</noscript></body>")


def test_html_is_read_in_the_character_set_that_it_names() -> None:
    page = '<meta charset="iso-8859-1"><p>Straße</p>'.encode("latin-1")
    assert read("a.html", page).text == "Straße"
    assert read("a.html", b'<meta charset="no-such-set"><p>plain</p>').text == "plain"


def test_a_pdf_gives_its_text_with_the_pages() -> None:
    document = read("paper.pdf", pdf("Alpha (first)\nline two", "Beta page", title="A Paper"))
    assert document.text == "Alpha (first)\nline two\nBeta page"
    assert (document.title, document.unit) == ("A Paper", "page")
    assert line_of(document, "line two") == (1, 1)
    assert line_of(document, "two\nBeta") == (1, 2)
    assert line_of(document, "Beta page") == (2, 2)


def test_a_pdf_is_known_by_its_content_too() -> None:
    assert read("download", pdf("Hello")).unit == "page"


def test_bookmarks_of_a_pdf_become_headings_at_their_place() -> None:
    data = pdf_with_bookmarks("Intro", "Some text\nMethods\nmore", bookmarks=[("Start", 0), ("Methods", 1)])
    document = read("a.pdf", data)
    assert [(heading.title, heading.start) for heading in document.headings] == [
        ("Start", 0),
        ("Methods", document.text.index("Methods")),
    ]


def test_pages_without_text_are_counted_and_a_scan_is_refused() -> None:
    document = read("a.pdf", pdf("", "text", ""))
    assert document.notes == ("2 of 3 pages hold no text",)
    assert line_of(document, "text") == (2, 2)
    with pytest.raises(DataError, match="scan"):
        read("a.pdf", pdf("", ""))


def test_an_encrypted_pdf_is_refused_unless_it_opens_without_a_password() -> None:
    with pytest.raises(DataError, match="encrypted"):
        read("a.pdf", encrypted_pdf("secret", password="open sesame"))
    assert read("a.pdf", encrypted_pdf("open to all", password="")).text == "open to all"


@pytest.mark.parametrize(
    "data",
    [b"%PDF-1.4\n", b"no pdf at all", pdf("Hello")[:200], b"%PDF-1.7\n" + bytes(range(256)) * 4],
    ids=["empty", "text", "cut", "noise"],
)
def test_a_damaged_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="damaged"):
        read("a.pdf", data)


def test_terminal_escapes_and_markup_stay_as_they_are() -> None:
    text = "\x1b[31mred\x1b[0m [bold]not bold[/bold] <b>"
    assert read("a.txt", text).text == text
    assert read("a.md", f"# {text}\n").headings[0].title == text
