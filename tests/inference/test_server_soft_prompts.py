"""Soft prompts chosen by clients of the protocol, and loaded, described and removed while the engine runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from safetensors.torch import save_file
from saved_soft_prompts import HIDDEN, write
from served import openai_client, plain_client, service, serving, slow_down, until

from workbench import paths
from workbench.inference.server.service import Service

HI = [{"role": "user", "content": "hi"}]
KV_NUMBERS = 2 * 2 * 2 * 16
"""Keys and values of a token of the model behind, in two layers with two heads of 16."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Service:
    served = service()
    served.folder = tmp_path_factory.mktemp("model")
    return served


@pytest.fixture(scope="module")
def path(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(served, tmp_path_factory.mktemp("s")) as path:
        yield path


@pytest.fixture
def http(path: Path) -> Iterator[Any]:
    with plain_client(path) as http:
        yield http
        for one in http.get("/v1/soft_prompts").json()["data"]:
            http.delete(f"/v1/soft_prompts/{one['id']}")


def load(http: Any, name: str, folder: Path) -> Any:
    return http.post("/v1/soft_prompts", json={"name": name, "folder": str(folder)})


def said(http: Any, **asked: Any) -> Any:
    body = {"messages": HI, "max_tokens": 8, "temperature": 0, **asked}
    return http.post("/v1/chat/completions", json=body)


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_they_are_loaded_chosen_and_removed(http: Any, path: Path, served: Service, tmp_path: Path) -> None:
    vectors = write(tmp_path / "a", served.folder or tmp_path)
    prefix = write(
        tmp_path / "b", served.folder or tmp_path, kind="PREFIX_TUNING", length=20, width=KV_NUMBERS
    )
    answer = load(http, "polite", vectors)
    assert answer.status_code == 201
    told = answer.json()
    assert (told["id"], told["model"], told["kind"]) == ("polite", "tiny:polite", "prompt tuning")
    assert (told["length"], told["parameters"]) == (4, 4 * HIDDEN)
    assert load(http, "polite", vectors).status_code == 201, "the same once more does no harm"
    assert load(http, "brief", prefix).status_code == 201
    assert "another soft prompt" in load(http, "polite", prefix).json()["error"]["message"]

    plain, polite, brief = (text_of(said(http, model=f"tiny{name}")) for name in ("", ":polite", ":brief"))
    assert len({plain, polite, brief}) == 3
    assert text_of(said(http, soft_prompt="polite")) == polite
    assert text_of(said(http, model="tiny:polite", soft_prompt="polite")) == polite
    assert said(http, soft_prompt="brief").json()["model"] == "tiny:brief"
    with openai_client(path) as client:
        models = {model.id: model for model in client.models.list().data}
        assert set(models) == {"tiny", "tiny:brief", "tiny:polite"}
        assert models["tiny:brief"].max_model_len == served.max_length - 20
        assert models["tiny:brief"].parent == "tiny"
        assert client.models.retrieve("tiny:polite").soft_prompt == "polite"
        chunks = client.chat.completions.create(
            model="tiny:polite", messages=HI, max_tokens=8, temperature=0, stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == polite
        written = client.completions.create(model="tiny:brief", prompt="hi", max_tokens=2)
        assert written.model == "tiny:brief"
    tokens = http.post("/tokenize", json={"prompt": "hi", "model": "tiny:brief"}).json()
    assert "20 virtual tokens of the soft prompt brief" in tokens["notes"][0]

    assert http.delete("/v1/soft_prompts/polite").json()["deleted"]
    error = said(http, model="tiny:polite")
    assert error.status_code == 404
    assert "no soft prompt “polite”" in error.json()["error"]["message"]
    assert "there are brief" in error.json()["error"]["message"]
    assert text_of(said(http, model="tiny")) == plain


def test_requests_with_several_and_with_none_share_their_steps(
    http: Any, path: Path, served: Service, tmp_path: Path
) -> None:
    names = [None, "one", "two"]
    for seed, name in enumerate(names[1:]):
        load(http, str(name), write(tmp_path / str(name), tmp_path, length=3 + seed, seed=seed))
    alone = [text_of(said(http, soft_prompt=name, max_tokens=40)) for name in names]
    engine = served.writer()
    steps = engine.counters.steps
    found: dict[int, str] = {}

    def ask(place: int) -> None:
        with plain_client(path) as own:
            found[place] = text_of(said(own, soft_prompt=names[place % 3], max_tokens=40))

    decode, widths = engine.runner.decode, list[int]()
    engine.runner.decode = lambda rows, tokens: widths.append(len(rows)) or decode(rows, tokens)  # type: ignore
    slow_down(served, 0.005)
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    engine.runner.decode = decode  # type: ignore[method-assign]
    assert [found[place] for place in range(6)] == alone * 2
    assert max(widths) >= 3 and engine.counters.steps > steps


def test_one_that_is_removed_while_it_writes_is_there_until_the_end(
    http: Any, path: Path, served: Service, tmp_path: Path
) -> None:
    load(http, "short-lived", write(tmp_path / "s", tmp_path))
    wanted = text_of(said(http, soft_prompt="short-lived", max_tokens=60))
    decode = served.writer().runner.decode
    slow_down(served, 0.01)
    found = list[str]()

    def ask() -> None:
        with plain_client(path) as own:
            found.append(text_of(said(own, soft_prompt="short-lived", max_tokens=60)))

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: served.writer().load["active"] == 1 or not thread.is_alive())
    assert http.delete("/v1/soft_prompts/short-lived").status_code == 200
    thread.join(30)
    served.writer().runner.decode = decode  # type: ignore[method-assign]
    assert found == [wanted]
    assert served.writer().load["promised_bytes"] == 0


def test_what_runs_have_learnt_is_found(http: Any, served: Service, tmp_path: Path) -> None:
    for name, base in (("kind-run", served.folder), ("of-another", tmp_path)):
        write(paths.runs_dir() / name / "final", base or tmp_path)
        (paths.runs_dir() / name / "status.json").write_text("{}")
    (listed,) = http.get("/v1/soft_prompts").json()["data"]
    assert (listed["id"], listed["length"], listed["is_loaded"]) == ("kind-run", 4, False)
    assert "tiny:kind-run" in {model["id"] for model in http.get("/v1/models").json()["data"]}
    before = text_of(said(http, model="tiny:kind-run", max_tokens=40))
    assert http.get("/v1/soft_prompts").json()["data"][0]["is_loaded"]
    shutil.rmtree(paths.runs_dir() / "kind-run" / "final")
    assert text_of(said(http, model="tiny:kind-run", max_tokens=40)) == before, "what was read is there still"
    write(paths.runs_dir() / "kind-run" / "final", tmp_path, seed=5)
    assert text_of(said(http, model="tiny:kind-run", max_tokens=40)) != before, "trained anew, read anew"


def test_vectors_are_read_as_the_tokens_next_to_them(http: Any, served: Service, tmp_path: Path) -> None:
    table = served.writer().runner.embeddings
    folder = write(tmp_path / "near", tmp_path, length=2)
    save_file({"prompt_embeddings": table[[7, 9]] * 3}, folder / "adapter_model.safetensors")
    load(http, "near", folder)
    told = http.get("/v1/soft_prompts/near").json()
    assert [place[0]["id"] for place in told["nearest"]] == [7, 9]
    assert told["nearest"][0][0]["cosine"] == pytest.approx(1) and len(told["nearest"][0]) == 5
    load(http, "kv", write(tmp_path / "kv", tmp_path, kind="PREFIX_TUNING", width=KV_NUMBERS))
    assert http.get("/v1/soft_prompts/kv").json()["nearest"] is None
    assert http.get("/v1/soft_prompts/nobody").status_code == 404


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("x", {"width": 40}, "vectors have 40 numbers, the model's embeddings 48"),
        ("x", {"kind": "PREFIX_TUNING", "width": 96}, "2 × 2 layers × 2 heads × 16 = 128"),
        ("x", {"length": 3000}, "3,000 virtual tokens leave no room in this model, which takes 2,048"),
        ("x", {"kind": "LORA"}, "kind LORA, no soft prompt"),
        ("a:b", {}, "“a:b” cannot name a soft prompt"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    http: Any, tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    answer = load(http, name, write(tmp_path / "s", tmp_path, **options))
    assert answer.status_code == 400 and words in answer.json()["error"]["message"]
    assert http.get("/v1/soft_prompts").json()["data"] == []


def test_what_cannot_be_chosen_says_why(http: Any, path: Path, served: Service, tmp_path: Path) -> None:
    load(http, "one", write(tmp_path / "one", tmp_path, length=40))
    error = said(http, model="tiny:one", soft_prompt="two").json()["error"]
    assert "two soft prompts for one request: one in model, and two in soft_prompt" in error["message"]
    error = said(http, soft_prompt="ones").json()["error"]
    assert "did you mean one?" in error["message"] and error["param"] == "soft_prompt"
    room = served.max_length - 40
    error = http.post(
        "/v1/completions", json={"prompt": [5] * room, "soft_prompt": "one", "max_tokens": 1}
    ).json()["error"]
    assert f"{room:,} tokens and the 40 virtual ones" in error["message"]
    with pytest.raises(openai.NotFoundError), openai_client(path) as client:
        client.chat.completions.create(model="tiny:", messages=HI)


def test_only_the_owner_has_folders_read(http: Any, served: Service, tmp_path: Path) -> None:
    served.is_owners = False
    try:
        answer = load(http, "one", write(tmp_path / "one", tmp_path))
        assert answer.status_code == 400 and "only by the owner" in answer.json()["error"]["message"]
        assert http.delete("/v1/soft_prompts/one").status_code == 400
    finally:
        served.is_owners = True


def test_a_soft_prompt_before_every_prompt_takes_no_second_one(tmp_path: Path) -> None:
    served = service()
    runner = served.writer().runner
    served.writer().soft_prompts.add("one", read(write(tmp_path / "one", tmp_path)))
    runner.prefix = runner.place(read(write(tmp_path / "two", tmp_path, seed=2)))
    with serving(served, tmp_path) as path, plain_client(path) as http:
        assert text_of(said(http))
        error = said(http, soft_prompt="one").json()["error"]["message"]
        assert "two soft prompts for one request" in error


def read(folder: Path) -> Any:
    from workbench.inference.loading.adapters import read_adapter, read_soft_prompt

    return read_soft_prompt(read_adapter(folder))
