"""The first pass over a source: what documents there are, before anything is made of them.

It finds every malformed record early, gives the split the hash of each document, and gives the token
cache a key by content, so that a file that was only touched or copied is not tokenised again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.artifact import build_once, key_of, read_meta, write_meta
from workbench.data.documents import Tally
from workbench.data.readers.hub import hub_revision
from workbench.data.sources import Source
from workbench.data.ticker import READING, Progress, Ticker
from workbench.errors import DataError
from workbench.paths import ensure_dir
from workbench.store.files import replace_file

VERSION = 1


def text_hash(raw: bytes) -> int:
    """64 bits that stand for a document: 10⁸ different ones collide with a chance of 0.03 %."""
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Scan:
    """What the first pass found in one source; `digest` stands for all its texts in their order."""

    path: Path
    documents: int
    num_bytes: int
    digest: str
    tally: Tally

    def hashes(self) -> NDArray[np.uint64]:
        """One hash a document, in order, from disk."""
        found: NDArray[np.uint64] = np.load(self.path / "hashes.npy", mmap_mode="r")
        return found

    def lengths(self) -> NDArray[np.int64]:
        """The UTF-8 bytes of each document, in order, from disk."""
        found: NDArray[np.int64] = np.load(self.path / "bytes.npy", mmap_mode="r")
        return found


def scan(source: Source, cache: Path, progress: Progress) -> Scan:
    """Read a source once, or take what an earlier pass over the very same files found.

    Raises `DataError` for anything wrong with the source, also when it holds no document at all.
    """
    target = cache / "scans" / key_of(VERSION, source.signature(), _revision(source, cache))
    build_once(target, _scanner(source, progress), lambda folder: read_meta(folder) is not None, progress)
    meta: dict[str, Any] = read_meta(target) or {}
    return Scan(target, meta["documents"], meta["num_bytes"], meta["digest"], Tally(**meta["tally"]))


def _revision(source: Source, cache: Path) -> str:
    """The commit of a data set on the hub; the last one known where the hub cannot be asked."""
    if not source.is_remote:
        return ""
    known = ensure_dir(cache / "scans") / f"hub-{key_of(source.signature())}"
    try:
        revision = hub_revision(source.spec)
    except DataError:
        if not known.is_file():
            raise
        return known.read_text()
    replace_file(known, revision.encode())
    return revision


def _scanner(source: Source, progress: Progress) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        hashes, lengths, tally = array("Q"), array("q"), Tally()
        ticker = Ticker(progress, READING)
        for document in source.documents(tally):
            hashes.append(text_hash(document.raw))
            lengths.append(len(document.raw))
            ticker.add(len(document.raw))
        if not hashes:
            raise _nothing(source, tally)
        ticker.finish()
        np.save(folder / "hashes.npy", np.frombuffer(hashes, np.uint64))
        np.save(folder / "bytes.npy", np.frombuffer(lengths, np.int64))
        digest = blake2b(hashes.tobytes() + lengths.tobytes(), digest_size=16).hexdigest()
        found = {"documents": len(hashes), "num_bytes": sum(lengths), "digest": digest}
        write_meta(folder, {**found, "tally": asdict(tally)})

    return build


def _nothing(source: Source, tally: Tally) -> DataError:
    where = source.spec.path
    if source.kind == "files" and len(source.files) == 1:
        where = str(source.files[0])
    what = f"only {tally.blank:,} blank ones" if tally.blank else "none at all"
    return DataError(
        f"the source holds no documents: {what}", where=where, hint="name a source with text in it"
    )
