"""Compiled kernels on disk, in the workbench's cache: one file a kernel and architecture.

A file is named by what its code was made of, written under a name of its own and renamed, and carries a
checksum: one that was cut short or altered is made again. Two processes may compile the same at once. Where
nothing can be kept (a full disk), kernels are compiled anew each time, and that is said once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from functools import cache
from pathlib import Path

from workbench.ops.cuda import compile as compiler
from workbench.ops.cuda.compile import Binary
from workbench.ops.cuda.kernel import Kernel, sources
from workbench.paths import cache_dir

log = logging.getLogger(__name__)
MAGIC = b"workbench kernel 1\n"
DIGEST_BYTES = 32


def folder() -> Path:
    """Where compiled kernels lie."""
    return cache_dir("cuda")


def compiled(kernel: Kernel, target: str) -> Binary:
    """The kernel for an architecture, from the cache or compiled and kept. Raises `KernelError`."""
    path = folder() / f"{key(kernel, target)}.bin"
    binary = _read(path)
    if binary is None:
        binary = compiler.compile_kernel(kernel, target)
        _write(path, binary)
    return binary


def key(kernel: Kernel, target: str) -> str:
    """A name made of all that the code depends on: sources, instance, options, architecture, compiler."""
    known = hashlib.sha256()
    parts = (*kernel.options, *compiler.OPTIONS, kernel.name, target, compiler.version())
    texts = sources(kernel.source)
    for part in (*parts, *(word for name in sorted(texts) for word in (name, texts[name]))):
        known.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    return known.hexdigest()[:32]


def _read(path: Path) -> Binary | None:
    try:
        if path.stat().st_uid != os.getuid():
            return None  # code that somebody else could have put there
        whole = path.read_bytes()
    except OSError:
        return None
    head = len(MAGIC) + DIGEST_BYTES
    body = whole[head:]
    if not whole.startswith(MAGIC) or hashlib.sha256(body).digest() != whole[len(MAGIC) : head]:
        log.warning("the compiled kernel %s is damaged: it is compiled again", path)
        return None
    facts, _, code = body.partition(b"\n")
    words = json.loads(facts)
    return Binary(code, words["symbol"], words["is_ptx"])


def _write(path: Path, binary: Binary) -> None:
    facts = json.dumps({"symbol": binary.symbol, "is_ptx": binary.is_ptx}).encode()
    body = facts + b"\n" + binary.code
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except OSError as error:
        _say_once(
            f"compiled kernels cannot be kept in {path.parent}: {error.strerror}; each start compiles them"
        )
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@cache
def _say_once(text: str) -> None:
    log.warning(text)
