"""Layers of Llama-shaped decoders that are trained on a CPU, computed by one operator each.

Which models these are is seen from what their layers compute, not from their names: Llama, Mistral, Qwen 2,
SmolLM and their like. Every other layer, and every call that asks for something else, goes the plain way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from workbench.models.attention.attend import NAME as BLOCKS
from workbench.models.attention.documents import documents_of
from workbench.models.frame import drawn
from workbench.models.shared_prompt.attention import IMPLEMENTATION as SHARED_PROMPT
from workbench.models.shared_prompt.plan import RowPlan
from workbench.ops.decoder_training import native
from workbench.ops.decoder_training.attention import Documents
from workbench.ops.decoder_training.branches import Branches
from workbench.ops.decoder_training.layer import LayerShape, LayerWeights, layer
from workbench.ops.shared_prefix import native as attention_native

TOLERANCE = 1e-4
"""Of the largest number of an output or a gradient: rounding of fp32, and never another formula."""
LEAST_SIZE = 128
"""Of the hidden states: a smaller layer gains too little to be worth the compilation."""
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
NORMS = ("input_layernorm", "post_attention_layernorm")
UNDERSTOOD = {"position_ids", "use_cache", "cache_position"}
"""Arguments of a layer that change nothing of what it computes."""


def fuse_layers(model: nn.Module, same: dict[type, bool] | None = None) -> int:
    """Let a model on a CPU compute its layers by the fused operator wherever that is the same; the number of
    layers. Weights, their names and what is saved stay as they are.

    The first layer of each kind is tried: output and gradients must be those of its own forward. What was
    found of each kind is put into `same`; of a kind that is there already nothing is tried.
    """
    same = {} if same is None else same
    alike = [module for module in model.modules() if _is_alike(module)]
    # Asked for only where there are such layers: it is compiled then.
    if not alike or any(isinstance(x, str) for x in (native.library(), attention_native.library())):
        return 0
    packed = _Packed()
    count = 0
    for module in alike:
        fused = _FusedLayer(module, packed)
        if type(module) not in same:
            # A layer without weights is tried with some.
            with drawn(module):
                same[type(module)] = _computes_the_same(module, fused)
        if same[type(module)]:
            module.forward = fused
            count += 1
    return count


def has_fused_layers(model: nn.Module) -> bool:
    """Whether `fuse_layers` found any in a model."""
    return any(isinstance(vars(module).get("forward"), _FusedLayer) for module in model.modules())


def _is_alike(module: Any) -> bool:
    """Whether a module has the parts of a Llama layer, and nothing else that computes."""
    attention, mlp = getattr(module, "self_attn", None), getattr(module, "mlp", None)
    if attention is None or mlp is None or "forward" in vars(module):
        return False
    holders = {module: (*NORMS, "self_attn", "mlp"), attention: ATTENTION, mlp: MLP}
    if any(_with_weights(holder) != set(names) for holder, names in holders.items()):
        return False
    linears = _linears(module)
    norms = [getattr(module, name) for name in NORMS]
    head, scale = getattr(attention, "head_dim", None), getattr(attention, "scaling", None)
    return (
        all(type(linear) is nn.Linear for linear in linears)
        and all(linear.bias is None for linear in linears[3:])
        and all([name for name, _ in norm.named_parameters()] == ["weight"] for norm in norms)
        and all(_eps(norm) is not None for norm in norms)
        and not any(
            part._forward_hooks or part._forward_pre_hooks for part in (attention, mlp, *linears, *norms)
        )
        and all(x.dtype == torch.float32 and x.device.type in ("cpu", "meta") for x in module.parameters())
        and linears[0].in_features >= LEAST_SIZE
        and not any(linear.in_features % native.WIDTH_STEP for linear in linears)
        and isinstance(scale, float)
        and isinstance(head, int)
        and 0 < head <= attention_native.MOST_SIZE
        and head % attention_native.SIZE_STEP == 0
    )


def _with_weights(holder: nn.Module) -> set[str]:
    return {name for name, child in holder.named_children() if next(child.parameters(), None) is not None}


def _linears(module: Any) -> list[nn.Linear]:
    found: list[nn.Linear] = [getattr(module.self_attn, name) for name in ATTENTION]
    return found + [getattr(module.mlp, name) for name in MLP]


def _eps(norm: Any) -> float | None:
    found = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return found if isinstance(found, float) else None


@dataclass
class _Packed:
    """The documents of the batch that goes through the layers: read from the first layer's mask, or, where
    attention takes none, from its positions."""

    mask: ReferenceType[Tensor] | None = None
    positions: ReferenceType[Tensor] | None = None
    documents: Documents | None = None
    is_known: bool = field(default=False)

    def read(self, mask: Tensor, position_ids: Tensor | None) -> bool:
        """Whether a mask is that of documents packed by their positions; then they are in `documents`."""
        if self.mask is None or self.mask() is not mask:
            self.documents = None if position_ids is None else _documents(mask, position_ids)
            self.mask, self.is_known = ref(mask), self.documents is not None
            self.positions = None
        return self.is_known

    def read_positions(self, position_ids: Tensor | None, batch: int, length: int) -> None:
        """Put into `documents` those that begin where positions do not go on."""
        if position_ids is None:
            self.documents = self.positions = None
        elif self.positions is None or self.positions() is not position_ids:
            numbers = documents_of(None, position_ids, batch, length)
            self.documents = None if numbers is None else _spans(_begins(position_ids, batch, length))
            self.positions, self.mask = ref(position_ids), None


def _documents(mask: Tensor, position_ids: Tensor) -> Documents | None:
    """Documents by where positions do not go on, as transformers reads them, if the mask [B, 1, T, T] says so
    too."""
    batch, length = mask.shape[0], mask.shape[-1]
    if mask.dtype != torch.bool or mask.shape != (batch, 1, length, length):
        return None
    if position_ids.shape[-1] != length:
        return None
    begins = _begins(position_ids, batch, length)
    number = begins.cumsum(1)
    seen = (number[:, :, None] == number[:, None, :]).tril()
    return _spans(begins) if torch.equal(mask[:, 0], seen) else None


def _begins(position_ids: Tensor, batch: int, length: int) -> Tensor:
    """Which tokens [B, T] are the first of a document."""
    begins = torch.ones(batch, length, dtype=torch.bool)
    begins[:, 1:] = position_ids.expand(batch, length).diff() != 1
    return begins


def _spans(begins: Tensor) -> Documents:
    batch, length = begins.shape
    starts = begins.flatten().nonzero()[:, 0]
    stops = torch.cat([starts[1:], starts.new_tensor([batch * length])])
    is_long = stops - starts > 1
    pairs = zip(starts[is_long].tolist(), stops[is_long].tolist(), strict=True)
    spans = [(start // length, start % length, (stop - 1) % length + 1) for start, stop in pairs]
    return Documents(spans, starts[~is_long])


class _FusedLayer:
    """A layer's forward."""

    def __init__(self, module: Any, packed: _Packed) -> None:
        attention = module.self_attn
        self.plain, self.module, self.packed = module.forward, module, packed
        self.linears = _linears(module)
        first, second = (getattr(module, name) for name in NORMS)
        self.shape = LayerShape(
            attention.head_dim, _eps(first) or 0.0, _eps(second) or 0.0, attention.scaling
        )

    def __call__(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Any = None,
        row_plan: RowPlan | None = None,
        **others: Any,
    ) -> Any:
        if (
            position_embeddings is not None
            and past_key_values is None
            and self._can(hidden_states, position_embeddings[0], others)
        ):
            documents: Documents | Branches | None = None
            can = True
            if row_plan is not None:
                # The mask that comes with a plan says nothing.
                documents, can = row_plan.branches, self._sees(row_plan.index.shape[1])
            elif self.module.self_attn.config._attn_implementation == BLOCKS:
                # A mask is one of padding there, and windows are no part of it.
                can = attention_mask is None and self._sees(hidden_states.shape[1])
                if can:
                    self.packed.read_positions(others.get("position_ids"), *hidden_states.shape[:2])
                    documents = self.packed.documents
            elif attention_mask is not None:
                can = self.packed.read(attention_mask, others.get("position_ids"))
                documents = self.packed.documents
            if can:
                given = (*position_embeddings, self._weights(), self.shape, documents)

                def compute(hidden: Tensor) -> Tensor:
                    return layer(hidden, *given)

                if self.module.training and getattr(self.module, "gradient_checkpointing", False):
                    # transformers does so in the forward of the class, which this one stands in for.
                    return self.module._gradient_checkpointing_func(compute, hidden_states)
                return compute(hidden_states)
        if row_plan is not None:
            others["row_plan"] = row_plan
        return self.plain(
            hidden_states,
            attention_mask=attention_mask,
            position_embeddings=position_embeddings,
            past_key_values=past_key_values,
            **others,
        )

    def _sees(self, length: int) -> bool:
        """Whether no window keeps a place from another so many before it."""
        attention = self.module.self_attn
        if (pattern := getattr(attention, "pattern", None)) is not None:
            return bool(pattern.covers(length))
        window = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
        return window is None or length <= window

    def _can(self, hidden: Tensor, cos: Tensor, others: dict[str, Any]) -> bool:
        attention = self.module.self_attn
        half = torch.is_autocast_enabled("cpu")
        return (
            hidden.dtype == cos.dtype == torch.float32
            and hidden.device.type == "cpu"
            and hidden.numel() > 0
            and cos.shape[1:] == (hidden.shape[1], self.shape.head_size)
            and cos.shape[0] in (1, hidden.shape[0])
            and (not half or torch.get_autocast_dtype("cpu") == torch.bfloat16)
            and attention.config._attn_implementation in ("sdpa", BLOCKS, SHARED_PROMPT)
            and not (self.module.training and getattr(attention, "attention_dropout", 0.0))
            and not torch.compiler.is_compiling()
            and all(name in UNDERSTOOD or value in (None, False) for name, value in others.items())
        )

    def _weights(self) -> LayerWeights:
        q, k, v, o, gate, up, down = self.linears
        first, second = (getattr(self.module, name).weight for name in NORMS)
        matrices = (q.weight, k.weight, v.weight, o.weight)
        return LayerWeights(
            first, *matrices, second, gate.weight, up.weight, down.weight, q.bias, k.bias, v.bias
        )


def _computes_the_same(module: Any, fused: _FusedLayer) -> bool:
    """Output, gradient of the input and gradients of all weights, on a few random rows."""
    generator = torch.Generator().manual_seed(0)
    size, head = fused.linears[0].in_features, fused.shape.head_size
    draws = torch.randn(2, 5, size, generator=generator), torch.randn(2, 5, size, generator=generator)
    angles = torch.rand(1, 5, head // 2, generator=generator).repeat(1, 1, 2) * 6
    given: dict[str, Any] = {"position_embeddings": (angles.cos(), angles.sin())}
    training = [part for part in module.modules() if part.training]
    module.eval()
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    found = []
    try:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            for forward in (fused.plain, fused):
                hidden = draws[0].clone().requires_grad_()
                out = forward(hidden, **given)
                if not isinstance(out, Tensor):
                    return False
                found.append((out, *torch.autograd.grad(out, (hidden, *weights), draws[1])))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        for part in training:
            part.training = True
    pairs = [[tensor.detach() for tensor in pair] for pair in zip(*found, strict=True)]
    return all(float((mine - plain).abs().max() / plain.abs().max()) <= TOLERANCE for plain, mine in pairs)
