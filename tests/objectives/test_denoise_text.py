"""Denoising as a person sees it: views of rows, samples; and on two processes."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from denoise_rows_setting import Denoise
from encoder_rows import TEXTS, gradients
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from workbench.data.corruption.spans import NO_SPAN

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("t5", {}),
    ("t5", {"data__isolate_documents": False}),
    ("bart", {}),
]


@pytest.mark.parametrize(("family", "changes"), KINDS)
def test_the_view_says_what_each_token_is(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    here = Denoise(tmp_path, family, **changes)
    batch = here.rows.batch(0, 6)
    arrays, mask = batch.arrays, here.tokenizer.mask_token_id
    states = set()
    for row, view in enumerate(here.objective.view(batch)):
        read, said = view.streams
        assert [read.name, said.name] == ["input", "decoder"]
        assert [token.id for token in read.tokens] == arrays["input_ids"][row].tolist()
        assert [token.id for token in said.tokens] == arrays["decoder_input_ids"][row].tolist()
        numbers = []
        for place, token in enumerate(read.tokens):
            states.add(token.state)
            assert (token.document < 0) == (token.state == "padding")
            assert token.target is None
            if token.state == "sentinel":
                assert token.id == mask or token.id in here.objective.sentinels
                span = int(batch.extra["marks"][row, place])
                numbers.append(span)
                assert token.note == f"span {span + 1}: {(arrays['spans'][row] == span).sum()} tokens"
            elif token.state == "special":
                assert token.id in (here.tokenizer.bos_token_id, here.tokenizer.eos_token_id)
            elif token.state == "context":
                assert token.id not in here.objective.sentinels and token.id != mask
        assert numbers == list(range(len(numbers))) and numbers
        for place, token in enumerate(said.tokens):
            if token.state == "padding":
                assert token.target is None and token.document == -1
                continue
            assert token.state == "supervised" and token.target == arrays["targets"][row, place]
            span = int(arrays["spans"][row, place])
            assert token.note == (f"span {span + 1}" if span != NO_SPAN else "")
    assert {"sentinel", "special", "context"} <= states


@pytest.mark.parametrize(("family", "changes"), KINDS)
def test_what_a_token_attends_to_is_what_moves_it(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    """Of the encoder, of the decoder, and of the decoder's view of the encoder."""
    here = Denoise(tmp_path, family, **changes)
    batch = here.rows.batch(1, 2)
    views = here.objective.view(batch)
    attends = np.stack([view.streams[0].attends for view in views])
    speaks, crosses = (
        np.stack([getattr(view.streams[1], name) for view in views]) for name in ("attends", "cross")
    )
    tensors = here.tensors(batch)
    encoded = list[torch.Tensor]()
    handle = here.model.get_encoder().register_forward_hook(
        lambda module, args, output: encoded.append(output.last_hidden_state)
    )
    predict = here.objective.predict
    with torch.no_grad():
        before = predict(here.model, tensors)
        for name, seen in (("input_ids", crosses), ("decoder_input_ids", speaks)):
            for place in range(0, tensors[name].shape[1], 3):
                changed = tensors[name].clone()
                changed[:, place] = (changed[:, place] + 7) % 300
                after = predict(here.model, {**tensors, name: changed})
                moved = ((after - before).abs().amax(-1) > 1e-6).numpy()
                real = batch.arrays["decoder_groups"] >= 0
                assert (moved[real] == seen[:, :, place][real]).all()
                if name == "input_ids":
                    moved = ((encoded[-1] - encoded[0]).abs().amax(-1) > 1e-6).numpy()
                    assert (moved == attends[:, :, place]).all()
    handle.remove()


def text_of(here: Denoise, prompt: str) -> str:
    """A prompt without the blank that only a tokenizer puts before it."""
    found: str = here.tokenizer.decode(here.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    return found


def test_a_sample_restores_spans_in_place(tmp_path: Path) -> None:
    here = Denoise(tmp_path)
    prompts = here.objective.default_prompts(here.held_out)
    assert len(prompts) == 3 and all(any(text.startswith(p) for text in TEXTS) for p in prompts)
    with torch.no_grad():
        found, again = (here.objective.sample(here.model, prompts[0]) for _ in range(2))
    assert found == again
    count = found["prompt"].count("<extra_id_")
    assert found["text"].count("«") == count > 0
    # The truth in the place of each span is the prompt again.
    restored = re.sub(r"«.*?» \((.*?)\)", r"\1", found["text"], flags=re.DOTALL)
    assert restored == text_of(here, prompts[0])
    assert here.objective.sample(here.model, "") == {"text": ""}


def test_what_is_said_stands_where_its_sentinel_was(tmp_path: Path) -> None:
    here = Denoise(tmp_path)
    corrupted = here.objective.corrupted(TEXTS[1], 100)
    eos = here.tokenizer.eos_token_id
    right = here.objective.restorer.spans(corrupted, [*corrupted.targets.tolist(), eos, 0, 0])
    told = re.findall(r"«(.*?)» \((.*?)\)", right, re.DOTALL)
    assert len(told) == (corrupted.marks != NO_SPAN).sum() > 1
    assert all(said == truth != "" for said, truth in told)
    silent = here.objective.restorer.spans(corrupted, [eos])
    assert [said for said, _ in re.findall(r"«(.*?)» \((.*?)\)", silent, re.DOTALL)] == [""] * len(told)
    with torch.no_grad():
        given = here.objective.sample(here.model, "the king <extra_id_0> of")
    assert given["prompt"] == "the king <extra_id_0> of"
    assert re.fullmatch(r"the king .*«.*» of", given["text"], re.DOTALL)


def test_a_whole_text_is_marked_where_it_was_masked(tmp_path: Path) -> None:
    here = Denoise(tmp_path, "bart")
    corrupted = here.objective.corrupted(TEXTS[1], 60)
    bos, eos = here.tokenizer.bos_token_id, here.tokenizer.eos_token_id
    told = here.objective.restorer.whole(corrupted, [bos, *corrupted.targets.tolist(), eos])
    pairs = re.findall(r"«(.*?)» \((.*?)\)", told, re.DOTALL)
    assert pairs and all(said == truth for said, truth in pairs)
    without_truth = re.sub(r"«(.*?)» \(.*?\)", r"\1", told, flags=re.DOTALL)
    assert without_truth == here.tokenizer.decode(corrupted.targets)
    with torch.no_grad():
        found = here.objective.sample(here.model, TEXTS[1])
        assert found["prompt"].count("<mask>") > 0 and "«" in found["text"]
        given = here.objective.sample(here.model, "the king<mask> of")
    assert given["prompt"] == "the king<mask> of" and "(" not in re.sub("«.*?»", "", given["text"])


def _process(rank: int, port: int, folder: str, family: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    own = Path(folder) / str(rank)
    own.mkdir()
    here = Denoise(own, family)
    wrapped = DistributedDataParallel(here.model.train())
    for step in range(2):
        batch = here.rows.batch(2 * (2 * step + rank), 2)
        output = here.objective.loss(wrapped, here.tensors(batch), batch)
        wrapped.zero_grad()
        output.sums[0].backward()
    # DDP averages; the sum over both processes is twice that.
    summed = {name: 2 * weight.grad for name, weight in here.model.named_parameters()}
    torch.save(summed, Path(folder) / f"gradients-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_two_processes_have_the_gradients_of_one(tmp_path: Path, family: str) -> None:
    """Also those of the encoder, which is called apart from what DDP wraps."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = tmp_path / "work"
    folders.mkdir()
    spawn(_process, (port, str(folders), family), nprocs=2)
    here = Denoise(tmp_path, family)
    expected = gradients(here.model, here.loss(here.rows.batch(4, 4)))
    for rank in range(2):
        found = torch.load(folders / f"gradients-{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5), name
