"""Many soft prompts on one model: every row writes what PEFT's own model writes for its soft prompt alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from saved_models import save

from workbench.errors import ModelError
from workbench.inference.engine.paged_runner import BLOCK, PagedRunner
from workbench.inference.loading.adapters import read_adapter, read_soft_prompt
from workbench.inference.loading.load import load_for_inference
from workbench.inference.loading.soft_prompt import SoftPrompt
from workbench.models.fused_weights import fuse

pytestmark = [
    pytest.mark.filterwarnings("ignore:.past_key_values. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]
CONTEXT, NEW = 640, 6
KINDS: dict[str, Any] = {
    "vectors": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "long": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=BLOCK + 3),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=20),
}


@dataclass
class Setting:
    """A base in a folder, PEFT's model of each soft prompt, and the folders that these were saved to."""

    base: Path
    models: dict[str | None, Any]
    folders: dict[str, Path]

    def logits(self, name: str | None, ids: list[int]) -> torch.Tensor:
        """What PEFT gives for a whole text [n, V]."""
        given = torch.tensor([ids])
        with torch.inference_mode():
            found: torch.Tensor = self.models[name](
                input_ids=given, attention_mask=torch.ones_like(given)
            ).logits[0]
        return found[-len(ids) :]

    def read(self, name: str) -> SoftPrompt:
        return read_soft_prompt(read_adapter(self.folders[name]))


def base_model(folder: Path) -> Any:
    return load_for_inference(str(folder), device="cpu", dtype="float32").model


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("m")
    save(folder / "base", "Llama", num_key_value_heads=2, max_position_embeddings=CONTEXT)
    models: dict[str | None, Any] = {None: base_model(folder / "base")}
    for seed, (name, config) in enumerate(KINDS.items()):
        model: Any = peft.get_peft_model(base_model(folder / "base"), config()).eval()
        torch.manual_seed(seed)
        for part in model.parameters():
            if part.requires_grad:
                torch.nn.init.normal_(part, 0, 0.5)
        model.save_pretrained(str(folder / name))
        models[name] = model
    return Setting(folder / "base", models, {name: folder / name for name in KINDS})


@pytest.fixture(params=["native", "dense"])
def runner(request: pytest.FixtureRequest, setting: Setting) -> Any:
    if request.param == "native":
        return PagedRunner(fuse(base_model(setting.base), CONTEXT))
    dense = load_for_inference(str(setting.base), device="cpu", dtype="float32").make_runner()
    # The long one is then held once for all of its rows; the others are copied.
    dense.least_shared = 2 * BLOCK
    return dense


def some_ids(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, 270, (length,), generator=generator).tolist()


def read(runner: Any, prompt: list[int], **options: Any) -> tuple[Any, torch.Tensor]:
    prefill, logits = runner.begin(prompt, **options), None
    while prefill.remaining:
        logits = runner.advance(prefill)
    assert logits is not None
    return prefill, logits


@torch.inference_mode()
def test_rows_of_all_soft_prompts_and_of_none_go_on_together(runner: Any, setting: Setting) -> None:
    prefixes = {name: runner.place(setting.read(name)) for name in KINDS}
    shared = some_ids(2 * BLOCK, seed=7)
    rows = []
    for seed, name in enumerate([None, *KINDS, None, *KINDS]):
        # Prompts that begin alike, whose keys and values must not be those behind another soft prompt.
        prompt = [*shared, *some_ids(3 + seed, seed)] if seed % 2 else some_ids(20 + seed, seed)
        prefill, logits = read(runner, prompt, prefix=prefixes.get(name or ""))
        rows.append((name, list(prompt), runner.open(prefill, NEW), [logits]))
    for _ in range(NEW - 1):
        tokens = [int(found[-1].argmax()) for _, _, _, found in rows]
        logits = runner.decode([row for _, _, row, _ in rows], tokens)
        for (_, ids, _, found), token, after in zip(rows, tokens, logits, strict=True):
            ids.append(token)
            found.append(after.clone())
    for name, ids, row, found in rows:
        wanted = setting.logits(name, ids)[-NEW:]
        # Logits reach some tens: 1e-4 of them is what sums in another order differ by.
        torch.testing.assert_close(torch.stack(found), wanted, atol=2e-3, rtol=1e-4)
        assert torch.equal(torch.stack(found).argmax(-1), wanted.argmax(-1))
        runner.close(row, ids)


@torch.inference_mode()
@pytest.mark.parametrize("name", KINDS)
def test_what_was_read_is_found_again_only_behind_the_same_soft_prompt(
    runner: Any, setting: Setting, name: str
) -> None:
    prefix = runner.place(setting.read(name))
    prompt = some_ids(2 * BLOCK + 9, seed=1)
    prefill, first = read(runner, prompt, prefix=prefix)
    assert prefill.cached == 0
    row = runner.open(prefill, BLOCK)
    answer = some_ids(BLOCK - 1, seed=2)
    for token in answer:
        runner.decode([row], [token])
    runner.close(row, [*prompt, *answer])
    runner.forget(prefill)
    assert read(runner, prompt)[0].cached == 0
    again, logits = read(runner, prompt, prefix=prefix, exact=True)
    assert again.cached >= BLOCK and torch.equal(logits, first)
    longer = [*prompt, *answer, 9]
    continued, logits = read(runner, longer, prefix=prefix)
    assert continued.cached >= 2 * BLOCK + 9, "the answer was kept, too"
    torch.testing.assert_close(logits, setting.logits(name, longer)[-1], atol=2e-3, rtol=1e-4)


@torch.inference_mode()
def test_an_encoder_decoder_takes_several_at_a_time_too(tmp_path: Path) -> None:
    own: dict[str, Any] = {"num_decoder_layers": 2, "d_kv": 16, "decoder_start_token_id": 0}
    save(tmp_path / "base", "T5", head="ForConditionalGeneration", tie_word_embeddings=False, **own)
    loaded = load_for_inference(str(tmp_path / "base"), device="cpu", dtype="float32")
    runner = loaded.make_runner()
    models: dict[str | None, Any] = {None: loaded.model}
    for name, kind in (("vectors", peft.PromptTuningConfig), ("prefix", peft.PrefixTuningConfig)):
        torch.manual_seed(1)
        config: Any = kind(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=5)
        models[name] = peft.get_peft_model(base_model(tmp_path / "base"), config).eval()
        for encoder in models[name].prompt_encoder.values():
            torch.nn.init.normal_(encoder.embedding.weight, 0, 0.5)
        models[name].save_pretrained(str(tmp_path / name))
    rows = []
    for seed, chosen in enumerate([*models, *models]):
        prompt = some_ids(5 + 9 * seed, seed)
        prefix = runner.place(read_soft_prompt(read_adapter(tmp_path / chosen))) if chosen else None
        prefill, logits = read(runner, prompt, prefix=prefix)
        rows.append((chosen, prompt, runner.open(prefill, NEW), [int(logits.argmax())]))
    for _ in range(NEW - 1):
        logits = runner.decode([row for _, _, row, _ in rows], [text[-1] for _, _, _, text in rows])
        for (_, _, _, text), after in zip(rows, logits, strict=True):
            text.append(int(after.argmax()))
    for chosen, prompt, _, text in rows:
        given = torch.tensor([prompt])
        logits = models[chosen](
            input_ids=given,
            attention_mask=torch.ones_like(given),
            decoder_input_ids=torch.tensor([[0, *text[:-1]]]),
        ).logits[0, -NEW:]
        assert logits.argmax(-1).tolist() == text


def test_virtual_tokens_count(runner: Any, setting: Setting) -> None:
    prefix = runner.place(setting.read("long"))
    assert runner.room(100, prefix) == runner.room(100) - prefix.length
    assert runner.room(0, prefix) == CONTEXT - BLOCK - 3
    soft_prompt = SoftPrompt("PROMPT_TUNING", torch.zeros(CONTEXT, 64), where="x")
    with pytest.raises(ModelError, match="640 virtual tokens leave no room in this model, which takes 640"):
        runner.place(soft_prompt)


def test_soft_prompts_of_other_models(runner: Any) -> None:
    with pytest.raises(ModelError, match="vectors have 96 numbers, the model's embeddings 64") as caught:
        runner.place(SoftPrompt("P_TUNING", torch.zeros(4, 96), base="other/model", where="there"))
    assert caught.value.where == "there" and "other/model" in caught.value.hint
    ours = "this model's 2 × 2 layers × 2 heads × 16 = 128"
    for layers, theirs in ((None, "256"), (4, "2 × 4 layers × 32 = 256")):
        with pytest.raises(ModelError, match=f"{theirs} numbers, {ours}"):
            runner.place(SoftPrompt("PREFIX_TUNING", torch.zeros(4, 256), layers=layers))
