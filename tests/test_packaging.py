"""What the wheel carries, and the rules of the tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from workbench import paths
from workbench.errors import StorageError

ROOT = Path(__file__).resolve().parent.parent


def test_no_python_under_kernels() -> None:
    # A package called `kernels` would shadow one that transformers imports.
    assert list((ROOT / "kernels").rglob("*.py")) == []


def test_resources_are_found_in_the_repository() -> None:
    assert paths.resources("presets") == ROOT / "presets"
    assert paths.resources("kernels") == ROOT / "kernels"


def test_a_missing_resource_folder_is_explained() -> None:
    with pytest.raises(StorageError, match="lacks its folder"):
        paths.resources("nonsense")


@pytest.mark.slow
def test_the_wheel_is_pure_and_finds_its_presets(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    for folder in ("presets", "kernels"):
        inside = {
            name.removeprefix("workbench/_data/")
            for name in names
            if name.startswith(f"workbench/_data/{folder}/")
        }
        assert inside == {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*") if p.is_file()}
    code = "from workbench import paths, recipe; print(paths.resources('presets')); recipe.load('quickstart')"
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert output.returncode == 0, output.stderr
    assert output.stdout.strip() == str(tmp_path / "site" / "workbench" / "_data" / "presets")
