"""The alignment losses against TRL's own code, on fixed tensors: the largest differences.

    PYTHONPATH=TRL python tests/benchmarks/alignment_losses_trl.py

TRL is not a dependency: unpack the version to compare with and name its folder in PYTHONPATH. What a version
still has as code that can be called is compared, the rest is listed as `absent`: 1.x has DPO's and the reward
model's losses in its trainers, 0.11 is the last with PPO's formulas in methods and has the conservative DPO
loss. The baselines of RLOO and GRPO stand in the middle of methods that generate, and cannot be called.
Values and gradients; differences are relative to the largest number of what is compared; fp64 against fp64,
fp32 against fp32. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import Tensor

from workbench.objectives.ppo.advantages import generalized_advantages, token_rewards, whiten_rewards
from workbench.objectives.ppo.kl_controller import AdaptiveKL
from workbench.objectives.ppo.losses import policy_loss, token_entropy, value_loss
from workbench.objectives.preference.dpo_losses import DPOLoss, DPOOptions, PairLogprobs, dpo_loss
from workbench.objectives.preference.ranking_loss import pairwise_ranking_loss
from workbench.objectives.preference.sequence_logprobs import completion_logprobs
from workbench.objectives.reductions import masked_mean, masked_whiten

PAIRS, LENGTH = 16, 40
Found = tuple[str, Tensor, Tensor]


def uniform(shape: tuple[int, ...], seed: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """Numbers between −scale and scale."""
    generator = torch.Generator().manual_seed(seed)
    return scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1).to(dtype)


def module(name: str) -> Any:
    """A module of TRL; None where this version has none, or it cannot be imported."""
    try:
        return importlib.import_module(f"trl.{name}")
    except (ImportError, RuntimeError):
        return None


def make_importable() -> None:
    """What old versions of TRL expect of a transformers of their time, and which has changed since."""
    # A table that was renamed; it is for models of images, which are not compared here.
    names = transformers.models.auto.modeling_auto
    if not hasattr(names, "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES"):
        names.MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES = names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    # Whether a package is there was a bool and is a pair, which is always true.
    found = vars(importlib.import_module("trl.import_utils"))
    for name, value in list(found.items()):
        if name.endswith("_available") and isinstance(value, tuple):
            found[name] = value[0]


def pairs_of(logprobs: Tensor, mask: Tensor) -> PairLogprobs:
    """Chosen in the first half of the rows, rejected in the second."""
    both = completion_logprobs(logprobs, mask)
    return PairLogprobs(both[:PAIRS], both[PAIRS:])


def with_gradient(name: str, ours: Tensor, theirs: Tensor, wrt: Tensor) -> Iterator[Found]:
    """A loss, and its gradient."""
    yield name, ours.detach(), theirs.detach()
    gradients = [torch.autograd.grad(loss, wrt, retain_graph=True)[0] for loss in (ours, theirs)]
    yield f"{name}, gradient", gradients[0], gradients[1]


class Fake1x:
    """As much of a trainer of TRL 1.x as its loss reads; its models answer with given log-probabilities."""

    def __init__(self, trainer: Any, options: DPOOptions, policy: Tensor, reference: Tensor) -> None:
        self.accelerator = SimpleNamespace(
            device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x, unwrap_model=lambda x: x
        )
        self.loss_types: list[str] = [options.loss_type]
        self.loss_weights = [1.0]
        self.beta, self.label_smoothing = options.beta, options.label_smoothing
        if options.nll_coefficient:
            self.loss_types.append("sft")
            self.loss_weights.append(options.nll_coefficient)
        self.f_divergence_type, self.ld_alpha, self.use_weighting = "reverse_kl", None, False
        self.precompute_ref_logps, self.aux_loss_enabled = False, False
        self.args = SimpleNamespace(gradient_checkpointing_kwargs=None)
        self._metrics: dict[str, dict[str, list[float]]] = {"train": defaultdict(list)}
        self._total_train_tokens, self._tp_size = 0, 1
        self.model = Answering(policy)
        self.ref_model = Answering(reference)
        self.loss = trainer._compute_loss


class Answering(torch.nn.Module):
    """Answers with given log-probabilities, zero where there is no label, as TRL's fused head does."""

    is_gradient_checkpointing = False

    def __init__(self, logprobs: Tensor) -> None:
        super().__init__()
        self.logprobs = logprobs

    def forward(self, labels: Tensor, **_: Any) -> SimpleNamespace:
        """What TRL reads of an output."""
        zeros = torch.zeros_like(self.logprobs)
        found = self.logprobs.masked_fill(labels[:, 1:] == -100, 0.0)
        return SimpleNamespace(log_probs=found, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


def dpo(dtype: torch.dtype) -> Iterator[Found]:
    """Every loss that this TRL has."""
    trainer: Any = getattr(module("trainer.dpo_trainer"), "DPOTrainer", None)
    lengths = torch.randint(1, LENGTH, (2 * PAIRS,), generator=torch.Generator().manual_seed(5))
    mask = torch.arange(LENGTH) < lengths.unsqueeze(1)
    even = torch.arange(LENGTH).expand(2 * PAIRS, LENGTH) < 23
    cases = [
        (DPOOptions("sigmoid", 0.1), mask),
        (DPOOptions("sigmoid", 0.1, label_smoothing=0.1), mask),
        (DPOOptions("hinge", 0.1), mask),
        (DPOOptions("ipo", 0.1), mask),
        (DPOOptions("robust", 0.1, label_smoothing=0.1), mask),
        (DPOOptions("sigmoid_norm", 2.0), mask),
        # TRL averages the NLL over all tokens of a batch, the paper and we over each completion's: the same
        # where completions are equally long.
        (DPOOptions("sigmoid", 0.1, nll_coefficient=0.5), even),
    ]
    for options, where in cases:
        policy = (uniform((2 * PAIRS, LENGTH), 0, dtype, 2) - 2).requires_grad_()
        reference = uniform((2 * PAIRS, LENGTH), 1, dtype, 2) - 2
        ours = dpo_loss(pairs_of(policy, where), pairs_of(reference, where), options)
        name = (
            f"dpo {options.loss_type}, smoothing {options.label_smoothing:g}, nll {options.nll_coefficient:g}"
        )
        theirs = dpo_by_trl(trainer, options, policy, reference, where)
        if theirs is None:
            yield name, ours.losses[:0], ours.losses[:0]
            continue
        yield from with_gradient(name, ours.losses.mean(), theirs[0], policy)
        for key, value in theirs[1].items():
            yield f"{name}, {key}", mean_of(ours, key), torch.tensor(value, dtype=dtype)


def mean_of(loss: DPOLoss, key: str) -> Tensor:
    """A metric's mean over pairs."""
    return loss.metrics()[key].mean()


def dpo_by_trl(
    trainer: Any, options: DPOOptions, policy: Tensor, reference: Tensor, mask: Tensor
) -> tuple[Tensor, dict[str, float]] | None:
    """The mean loss and the metrics by TRL's code; None where it has no such loss."""
    if hasattr(trainer, "_compute_loss"):
        if options.label_smoothing and options.loss_type != "robust":
            return None
        fake = Fake1x(trainer, options, policy, reference)
        # The prompt is one token; log-probabilities are of the tokens after it.
        ids = torch.zeros(2 * PAIRS, LENGTH + 1, dtype=torch.long)
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "completion_mask": torch.nn.functional.pad(mask.long(), (1, 0)),
        }
        loss = fake.loss(fake, fake.model, inputs, False)
        logged = {key: values[-1] for key, values in fake._metrics["train"].items()}
        return loss, {key: logged[key] for key in logged if key.startswith(("rewards/", "logps/"))}
    if hasattr(trainer, "dpo_loss"):
        if options.loss_type == "sigmoid_norm" or options.nll_coefficient:
            return None
        kind = importlib.import_module("trl.trainer.dpo_config").FDivergenceType.REVERSE_KL
        fake_old = SimpleNamespace(
            accelerator=SimpleNamespace(device="cpu"),
            reference_free=False,
            f_divergence_type=kind.value,
            f_divergence_params=None,
            beta=options.beta,
            label_smoothing=options.label_smoothing,
            loss_type=options.loss_type,
        )
        # There the forward pass averages over tokens for IPO.
        lengths = mask.sum(1) if options.loss_type == "ipo" else torch.ones(2 * PAIRS)
        sums = [((table * mask).sum(1) / lengths).chunk(2) for table in (policy, reference)]
        return trainer.dpo_loss(fake_old, *sums[0], *sums[1])[0].mean(), {}
    return None


def reward_model(dtype: torch.dtype) -> Iterator[Found]:
    """Pairs with margins and centring."""
    trainer: Any = getattr(module("trainer.reward_trainer"), "RewardTrainer", None)
    scores = uniform((2 * PAIRS,), 2, dtype, 3).requires_grad_()
    margin = uniform((PAIRS,), 3, dtype).abs()
    both = torch.stack(scores.chunk(2), 1)
    ranks, present = torch.tensor([1, 2]).expand(PAIRS, 2), torch.ones(PAIRS, 2)
    ours = pairwise_ranking_loss(
        both, ranks, present, margins=margin.view(-1, 1, 1), center_coefficient=0.01
    ).mean()

    inputs: dict[str, Any] = {"margin": margin, "attention_mask": torch.ones(2 * PAIRS, 1)}
    fake = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=0.01),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    name = "reward model, margins and centring"
    if trainer is None or "input_ids_chosen" in str(trainer.compute_loss.__code__.co_consts):
        # Up to 0.x chosen and rejected come in two calls; the formula is the same.
        yield name, margin[:0], margin[:0]
        return
    theirs = trainer.compute_loss(fake, lambda **_: SimpleNamespace(logits=scores.unsqueeze(1)), inputs)
    yield from with_gradient(name, ours, theirs, scores)


def ppo(dtype: torch.dtype) -> Iterator[Found]:
    """Rewards, GAE, whitening, both losses, statistics and the adaptive coefficient."""
    core = module("core")
    trainer: Any = getattr(module("trainer.ppo_trainer"), "PPOTrainer", None)
    rows, length, vocabulary = 8, 24, 11
    lengths = torch.tensor([24, 1, 7, 13, 20, 2, 24, 9])
    mask = (torch.arange(length) < lengths.unsqueeze(1)).to(dtype)
    shape = (rows, length)
    if hasattr(core, "masked_whiten"):
        values = uniform(shape, 0, dtype, 3) + 2
        yield "masked mean", masked_mean(values, mask), core.masked_mean(values, mask)
        for shift in (True, False):
            whitened = core.masked_whiten(values, mask, shift_mean=shift) * mask
            yield f"whitening, shift {shift}", masked_whiten(values, mask, shift_mean=shift), whitened
    if not hasattr(trainer, "compute_advantages"):
        yield "ppo", mask[:0], mask[:0]
        return
    fake = SimpleNamespace(
        config=SimpleNamespace(
            gamma=0.99,
            lam=0.95,
            whiten_rewards=True,
            cliprange=0.2,
            cliprange_value=0.2,
            vf_coef=0.1,
            ratio_threshold=1e9,
            kl_penalty="kl",
        ),
        kl_ctl=SimpleNamespace(value=0.05),
    )
    fake._kl_penalty = lambda a, b: trainer._kl_penalty(fake, a, b)
    logprobs, reference, scores = (
        uniform(shape, 1, dtype) - 2,
        uniform(shape, 2, dtype) - 2,
        uniform((8,), 3, dtype),
    )
    theirs = trainer.compute_rewards(fake, scores, logprobs, reference, mask)
    ours = token_rewards(logprobs, reference, scores, mask, 0.05)
    for name, a, b in zip(("rewards", "non-score", "kl"), vars(ours).values(), theirs, strict=True):
        yield f"token {name}", a, b * mask

    old_values = uniform(shape, 4, dtype)
    _, advantages, returns = trainer.compute_advantages(fake, old_values, theirs[0], mask)
    rewards = whiten_rewards(ours.rewards, mask)
    found = generalized_advantages(rewards, old_values, mask, gamma=0.99, lam=0.95)
    # TRL's rewards at padding are not 0 once whitened without a shift; rows that fill the width have none.
    full = lengths == length
    yield "returns of full rows, rewards whitened", found.returns[full], returns[full]
    fake.config.whiten_rewards = False
    _, advantages, returns = trainer.compute_advantages(fake, old_values, theirs[0], mask)
    found = generalized_advantages(ours.rewards, old_values, mask, gamma=0.99, lam=0.95)
    yield "returns", found.returns, returns * mask
    yield "advantages, whitened", found.whitened(mask), advantages * mask

    logits = uniform((*shape, vocabulary), 5, dtype, 3)
    new = (logprobs + uniform(shape, 6, dtype, 0.5)).requires_grad_()
    values = uniform(shape, 7, dtype).requires_grad_()
    of_policy, of_values, stats = trainer.loss(
        fake, logprobs, old_values, logits, values, new, mask, advantages, returns
    )
    policy = policy_loss(new, logprobs, advantages, mask)
    value = value_loss(values, old_values, returns, mask)
    yield from with_gradient("policy loss", policy.loss, of_policy, new)
    yield from with_gradient("value loss times 0.1", 0.1 * value.loss, of_values, values)
    yield "entropy", masked_mean(token_entropy(logits), mask), stats["policy/entropy"]
    yield "approxkl", policy.approxkl, stats["policy/approxkl"]
    yield "policykl", policy.policykl, stats["policy/policykl"]
    yield "clipfrac", policy.clipfrac, stats["policy/clipfrac"]
    yield "ratio", policy.ratio, core.masked_mean(stats["policy/ratio"], mask)
    yield "value clipfrac", value.clipfrac, stats["val/clipfrac"]
    yield "value error", value.error, stats["val/error"]

    theirs_kl = module("trainer.utils").AdaptiveKLController(0.1, 6.0, 1000)
    ours_kl = AdaptiveKL(0.1, 6.0, 1000)
    course = []
    for step in range(50):
        for controller in (ours_kl, theirs_kl):
            controller.update(abs(6 + 5 * (-1) ** step * step / 10), 64)
        course.append((ours_kl.coefficient, float(theirs_kl.value)))
    both = torch.tensor(course, dtype=torch.float64)
    yield "adaptive coefficient", both[:, 0], both[:, 1]


def main() -> None:
    """Compare and print."""
    torch.set_num_threads(1)
    make_importable()
    report: dict[str, Any] = {
        "trl": importlib.import_module("trl").__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    parts: list[Callable[[torch.dtype], Iterator[Found]]] = [dpo, reward_model, ppo]
    for dtype in (torch.float64, torch.float32):
        differences: dict[str, float] = {}
        absent = []
        for part in parts:
            for name, ours, theirs in part(dtype):
                if ours.numel() == 0:
                    absent.append(name)
                    continue
                scale = max(float(theirs.detach().abs().max()), 1e-300)
                differences[name] = float((ours.double() - theirs.double()).detach().abs().max()) / scale
        report[str(dtype).removeprefix("torch.")] = {
            "largest": max(differences.values()),
            "differences": differences,
            "absent": absent,
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
