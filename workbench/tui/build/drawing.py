"""The drawing of a design: stacks of boxes with the sizes of every part, from tokens down to the head."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.recipe.families import OBJECTIVES
from workbench.rope_extension import TITLES
from workbench.tui.build.canvas import Canvas, fit
from workbench.tui.build.design import Design
from workbench.tui.widgets.text_lines import Line

GAP, NARROW = 3, 22
WIDEST = 66
NORMS = {"llama": "RMS norm", "t5": "RMS norm", "modernbert": "layer norm"}
PRE_NORM = ("llama", "t5", "modernbert")
ACTIVATIONS = {"llama": "SwiGLU", "modernbert": "GeGLU", "t5": "ReLU"}

Part = tuple[str, str]
"""Words and their role."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of one stack."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    groups: int

    @property
    def head_size(self) -> str:
        """Width of a head; a fraction where the heads do not divide."""
        share = self.hidden / self.heads
        return f"{share:,.0f}" if share == int(share) else f"{share:,.2f} ✗"


def draw_design(design: Design, width: int, height: int, symbols: str) -> list[Line]:
    """The stack of a design in at most `width` columns, airy where `height` has room for it."""
    canvas = Canvas(min(width, WIDEST), symbols)
    family = design.family
    if family.is_encoder_decoder:
        _encoder_decoder(canvas, design)
    elif family.name == "electra" and design.objective == "rtd":
        _generator_discriminator(canvas, design)
    else:
        _one_stack(canvas, design)
    return canvas.lines()


def main_sizes(design: Design) -> Sizes:
    """The sizes of the encoder, or of the only stack."""
    section = design.section
    groups = section.key_value_heads if design.family.name == "llama" else section.num_attention_heads
    return Sizes(
        section.num_hidden_layers,
        section.hidden_size,
        section.feed_forward_size,
        section.num_attention_heads,
        groups,
    )


def generator_sizes(design: Design) -> Sizes:
    """The sizes of ELECTRA's generator."""
    section = design.section
    width, heads = section.generator_hidden_size, section.generator_heads
    inner = section.feed_forward_of(width)
    if section.intermediate_size:
        inner = round(section.intermediate_size * width / section.hidden_size)
    return Sizes(section.num_hidden_layers, width, inner, heads, heads)


def _one_stack(canvas: Canvas, design: Design) -> None:
    width, sizes = canvas.width, main_sizes(design)
    y = _embeddings(canvas, design, 0)
    y = _arrow(canvas, 0, width, y, f"{sizes.hidden:,}")
    parts = _two_streams(design, sizes) if design.family.name == "xlnet" else _block(design, sizes)
    y = _box(canvas, 0, y, width, f"{sizes.layers} × {design.family.title} block", parts)
    y = _arrow(canvas, 0, width, y, f"{sizes.hidden:,}")
    _box(canvas, 0, y, width, "head", _head(design))


def _encoder_decoder(canvas: Canvas, design: Design) -> None:
    side, far = _halves(canvas)
    right = canvas.width - far
    sizes = main_sizes(design)
    below = _embeddings(canvas, design, 0)
    _arrow(canvas, 0, side, below, "text with gaps")
    _arrow(canvas, right, far, below, "what is missing")
    y = below + 1
    end = _box(canvas, 0, y, side, f"{sizes.layers} × encoder", _block(design, sizes))
    decoder = _block(design, sizes, decoder=True)
    layers = design.section.decoder_layers
    low = _box(canvas, right, y, far, f"{layers} × decoder", decoder)
    cross = y + 1 + [words for words, _ in decoder].index("cross-attention")
    canvas.link(side, right - side, end - 2, cross)
    low = _arrow(canvas, right, far, low, f"{sizes.hidden:,}")
    _box(canvas, right, low, far, "head", _head(design))


def _generator_discriminator(canvas: Canvas, design: Design) -> None:
    side, far = _halves(canvas)
    right = canvas.width - far
    small, large = generator_sizes(design), main_sizes(design)
    y = _embeddings(canvas, design, 0)
    embedding = design.section.embedding_size or design.section.hidden_size
    _arrow(canvas, 0, side, y, "masked text")
    low = _box(canvas, 0, y + 1, side, "generator", _narrow(design, small, embedding))
    low = _arrow(canvas, 0, side, low, f"{small.hidden:,}")
    head: list[Part] = [(f"{small.hidden:,} → {embedding:,}", ""), (f"→ {design.section.vocab_size:,}", "")]
    low = _box(canvas, 0, low, side, "mask head", [*head, ("sampled tokens", "dim")])
    _arrow(canvas, right, far, y, "replaced text")
    end = _box(canvas, right, y + 1, far, "discriminator", _narrow(design, large, embedding))
    canvas.link(side, right - side, low - 2, y + 2)
    end = _arrow(canvas, right, far, end, f"{large.hidden:,}")
    _box(canvas, right, end, far, "head", [(f"{large.hidden:,} → 1", ""), ("replaced or not", "dim")])


def _halves(canvas: Canvas) -> tuple[int, int]:
    """Widths of two boxes with a gap between them."""
    gap = GAP if canvas.width < 50 else GAP + 2
    side = (canvas.width - gap) // 2
    return side, canvas.width - gap - side


def _narrow(design: Design, sizes: Sizes, embedding: int) -> list[Part]:
    """A block in a narrow box, which also says how many there are."""
    first = [(f"{embedding:,} → {sizes.hidden:,}", "dim")] if embedding != sizes.hidden else []
    return [*first, (f"{sizes.layers} × block", "title"), *_block(design, sizes)]


def _block(design: Design, sizes: Sizes, *, decoder: bool = False) -> list[Part]:
    """One layer, its parts from the top."""
    name = design.family.name
    norm = (NORMS.get(name, "layer norm"), "dim")
    pattern = "causal" if decoder or design.family.pattern == "causal" else "both ways"
    attention: list[Part] = [(f"attention, {pattern}", "key"), *_heads(sizes)]
    if name == "llama":
        attention += _decoder_attention(design)
        attention.append((f"rotary, θ {design.section.rope_theta:,.0f}", "dim"))
    if name == "modernbert":
        every = design.section.global_attn_every_n_layers
        attention[0] = ("attention, both ways", "key")
        attention.append((f"every {_ordinal(every)} layer: everything", "dim"))
        attention.append((f"others: window {design.section.local_attention:,}", "dim"))
    cross: list[Part] = [("cross-attention", "key"), *_heads(sizes)[:1]] if decoder else []
    parts = [part for part in (attention, cross, _feed_forward(design, sizes)) if part]
    lines: list[Part] = []
    for part in parts:
        lines += [norm, *part] if name in PRE_NORM else [*part, norm]
    return lines


def _decoder_attention(design: Design) -> list[Part]:
    """What a decoder sees, and what is done to its queries and keys."""
    section, attention = design.section, design.section.attention_shape
    lines: list[Part] = [("RMS norm of queries and keys", "dim")] if section.qk_norm else []
    if attention.is_linear:
        return [*lines, ("linear: a sum, no softmax", "dim")]
    if attention.window is None:
        return lines
    words = f"window {attention.window:,}"
    if attention.global_tokens:
        words += f" + {attention.global_tokens:,} first tokens"
    if attention.stride:
        words += f" + every {attention.stride:,}th"
    if attention.global_every:
        lines.append((f"every {_ordinal(attention.global_every)} layer: everything", "dim"))
        words = f"others: {words}"
    return [*lines, (words, "dim")]


def _heads(sizes: Sizes) -> list[Part]:
    lines: list[Part] = [(f"  {sizes.heads:,} head{'' if sizes.heads == 1 else 's'} × {sizes.head_size}", "")]
    if sizes.groups != sizes.heads:
        share = sizes.heads / sizes.groups
        words = f", {share:.0f}:1" if share == int(share) else " ✗"
        lines.append((f"  {sizes.groups:,} key/value{words}", ""))
    return lines


def _feed_forward(design: Design, sizes: Sizes) -> list[Part]:
    gated = design.family.gated
    activation = ACTIVATIONS.get(design.family.name, "GELU")
    inner = f"{'2 × ' if gated else ''}{sizes.feed_forward:,}"
    return [(f"feed-forward, {activation}", "key"), (f"  {sizes.hidden:,} → {inner}", "")]


def _two_streams(design: Design, sizes: Sizes) -> list[Part]:
    return [
        ("content stream h", "title"),
        ("  sees itself and what is before", "dim"),
        ("query stream g", "title"),
        ("  sees its place, not its token", "dim"),
        ("both through the same weights:", "dim"),
        ("attention, in a random order", "key"),
        *_heads(sizes),
        ("  relative positions", "dim"),
        ("layer norm", "dim"),
        *_feed_forward(design, sizes),
        ("layer norm", "dim"),
    ]


def _embeddings(canvas: Canvas, design: Design, y: int) -> int:
    section, name = design.section, design.family.name
    width = (section.embedding_size or section.hidden_size) if name == "electra" else section.hidden_size
    parts: list[Part] = [(f"token     {section.vocab_size:,} × {width:,}", "")]
    if name in ("bert", "electra", "bart"):
        parts.append((f"position  {section.max_position_embeddings:,} × {width:,}", ""))
    if name in ("bert", "electra"):
        parts.append((f"segment   {section.type_vocab_size:,} × {width:,}", ""))
    if name == "t5":
        parts.append((f"position  32 × {section.num_attention_heads:,} biases, relative", "dim"))
    if name in ("llama", "modernbert"):
        parts.append((f"position  rotary, to {section.context:,} tokens", "dim"))
        if (extension := section.rope_extension) is not None:
            how = f"{TITLES[extension.method]} ×{extension.factor:g}"
            parts.append((f"          by {how}", "dim"))
    if name == "xlnet":
        parts.append(("position  relative, in every layer", "dim"))
    title = "shared embeddings" if design.family.is_encoder_decoder or name == "electra" else "embeddings"
    return _box(canvas, 0, y, canvas.width, title, parts)


def _head(design: Design) -> list[Part]:
    section, objective = design.section, design.objective
    norm: list[Part] = [("RMS norm", "dim")] if design.family.name in ("llama", "t5") else []
    tied = section.tie_word_embeddings or design.family.name not in ("llama",)
    outputs = {
        "classification": "labels of a text",
        "regression": "1 number",
        "tagging": "labels of each token",
        "span_extraction": "2: start and end",
    }
    if objective in outputs:
        line = f"{section.hidden_size:,} → {outputs[objective]}"
        return [*norm, (line, ""), (OBJECTIVES[objective].split(":")[0], "dim")]
    line = f"{section.hidden_size:,} → {section.vocab_size:,}"
    return [*norm, (line, ""), ("tied to the embeddings" if tied else "a matrix of its own", "dim")]


SHORTER = {
    "attention, both ways": "full attention",
    "attention, causal": "causal attention",
    "tied to the embeddings": "tied",
}
"""Words for boxes with no room for more."""


def _shorter(words: str) -> str:
    return "feed-forward" if words.startswith("feed-forward") else SHORTER.get(words, words)


def _box(canvas: Canvas, x: int, y: int, width: int, title: str, parts: list[Part]) -> int:
    """A box with lines in it; returns the row below it."""
    canvas.box(x, y, width, len(parts) + 2, title)
    for row, (words, role) in enumerate(parts, y + 1):
        role = "bad" if "✗" in words else role
        words = _shorter(words) if width < NARROW else words
        canvas.put(x + 2, row, fit(canvas.words(words), width - 3, canvas.set), role)
    return y + len(parts) + 2


def _arrow(canvas: Canvas, x: int, width: int, y: int, words: str) -> int:
    place = 2 if width < 2 * NARROW else 12
    canvas.down(x + place, y, fit(canvas.words(words), width - place - 2, canvas.set))
    return y + 1


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
