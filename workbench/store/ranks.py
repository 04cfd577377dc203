"""`ranks/rank-00012.json` in a run folder: what one process of a run is doing, written by itself.

Each rank replaces its own small file, at most once a second and at least every ten: no two hosts write one
file, which network file systems would tear, and the folder never grows. A rank that dies shows by its
silence. One that hangs does not, for a thread goes on writing; it shows by `since`, the time of its last
step or turn to another phase, and by `passes`, how far it is in its step. The file holds who the rank is
(`Place`), what it does now, and the last steps as columns:

    {"place": {...}, "phase": "computing", "step": 812, "updated": 1764442396.1, "since": 1764442395.8,
     "passes": 24, "tokens": 3325952,
     "memory": 91268055040, "peak_memory": 95563022336, "memory_limit": 150754820096,
     "steps": {"step": [809, 810], "seconds": [0.41, 0.40], "busy": [0.33, 0.33], "tokens": [4096, 4096]}}

`seconds` is the wall time of an optimiser step, `busy` the part of it in which the rank did its own work
before it waited for others (null where that is not measured), `tokens` those that it worked on itself.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import StorageError, storage_error
from workbench.store.files import replace_file

FOLDER = "ranks"
STEPS_KEPT = 128
HEARTBEAT_SECONDS = 10.0
WRITE_SECONDS = 1.0
# Where steps are very short, so often that the steps kept by two ranks always overlap.
WRITE_STEPS, LEAST_SECONDS = STEPS_KEPT // 2, 0.25

PHASES = ("preparing", "computing", "waiting", "evaluating", "sampling", "saving", "ended", "failed")
"""What a rank may be in. `waiting` is for the rows of other ranks; the last two are a rank's last word."""
OVER = ("ended", "failed")
MOST_RANKS = 1 << 17
"""More than any run has: a larger number in a file is a mistake."""


@dataclass(frozen=True)
class Place:
    """Which rank this is, and where in the layout it stands.

    `axes` are the sizes of the device mesh, outermost first, by the names of the recipe's section
    `parallel` (`{"pp": 2, "dp_replicate": 1, "dp_shard": 4, "cp": 1, "tp": 8}`), and `coordinates` this
    rank's place on each; both may be empty for a run of one process. `device` is `cpu`, or a name such as
    `cuda:3 NVIDIA H100 80GB HBM3`.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    device: str = "cpu"
    axes: dict[str, int] = field(default_factory=dict)
    coordinates: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_environment(
        cls,
        device: str,
        axes: Mapping[str, int] | None = None,
        coordinates: Mapping[str, int] | None = None,
    ) -> Place:
        """The place that torchrun or accelerate gave this process (RANK, WORLD_SIZE, LOCAL_RANK)."""
        rank, size, local = (
            int(os.environ.get(name) or default)
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        return cls(
            rank, size, local, device=device, axes=dict(axes or {}), coordinates=dict(coordinates or {})
        )


class RankWriter:
    """One rank's side: `step` after every optimiser step, `phase` when it turns to something else.

    Nothing here raises once the writer is made, and a full disk is said once on standard error: telemetry
    must not end a run.
    """

    def __init__(self, run: Path, place: Place) -> None:
        """Make the folder and say that the rank is there. Rank 0 takes out what a larger run left.

        Raises `StorageError`.
        """
        self.place = place
        self.path = run / FOLDER / _name(place.rank)
        self._phase, self._step, self._tokens = "preparing", 0, 0
        self._since = time.time()
        self.passes = 0
        """Passes through layers in this step; the next write carries it."""
        self._memory: tuple[int | None, int | None, int | None] = (None, None, None)
        self._steps: deque[tuple[int, float, float | None, int]] = deque(maxlen=STEPS_KEPT)
        self._lock = threading.Lock()
        self._written, self._unwritten, self._complained = 0.0, 0, False
        self._over = threading.Event()
        try:
            self.path.parent.mkdir(exist_ok=True)
            if place.rank == 0:
                _drop_others(self.path.parent, place.world_size)
        except OSError as error:
            raise storage_error(error, self.path.parent) from None
        self._write()
        self._beating = threading.Thread(target=self._beat, name="rank heartbeat", daemon=True)
        self._beating.start()

    def phase(self, phase: str) -> None:
        """What the rank turns to, one of `PHASES`; costs nothing, the next write carries it."""
        if phase != self._phase:
            self._phase, self._since = phase, time.time()

    def step(
        self,
        step: int,
        *,
        seconds: float,
        busy_seconds: float | None = None,
        tokens: int = 0,
        memory: int | None = None,
        peak_memory: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Account for one optimiser step of this rank; times in seconds, memory in bytes.

        `memory` is what the device's allocator holds (on a CPU, the resident memory of the process),
        `peak_memory` the most it held, `memory_limit` what the device or the host has.
        """
        with self._lock:
            self._step, self._since = step, time.time()
            self._tokens += tokens
            self._steps.append((step, seconds, busy_seconds, tokens))
            if memory is not None:
                self._memory = (memory, peak_memory, memory_limit)
            self._unwritten += 1
        since = time.monotonic() - self._written
        if since >= WRITE_SECONDS or (self._unwritten >= WRITE_STEPS and since >= LEAST_SECONDS):
            self._write()

    def close(self, phase: str = "ended") -> None:
        """The rank's last word; closing twice is harmless."""
        if self._over.is_set():
            return
        self._over.set()
        self._phase = phase
        self._write()

    def _write(self) -> None:
        with self._lock:
            self._written, self._unwritten = time.monotonic(), 0
            columns = list(zip(*self._steps, strict=True)) or [(), (), (), ()]
            content = {
                "place": asdict(self.place),
                "phase": self._phase,
                "step": self._step,
                "updated": time.time(),
                "since": self._since,
                "passes": self.passes,
                "tokens": self._tokens,
                **dict(zip(("memory", "peak_memory", "memory_limit"), self._memory, strict=True)),
                "steps": dict(zip(("step", "seconds", "busy", "tokens"), columns, strict=True)),
            }
            try:
                replace_file(self.path, orjson.dumps(content))
            except StorageError as error:
                if not self._complained:
                    print(error.render(), file=sys.stderr)
                self._complained = True

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            if time.monotonic() - self._written >= HEARTBEAT_SECONDS / 2:
                self._write()


@dataclass(frozen=True)
class Rank:
    """One rank as a reader sees it. The columns are the last steps, oldest first."""

    place: Place
    phase: str
    step: int
    updated: float
    tokens: int
    memory: int | None
    peak_memory: int | None
    memory_limit: int | None
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    busy: tuple[float | None, ...]
    step_tokens: tuple[int, ...]
    since: float | None = field(default=None, kw_only=True)
    passes: int = field(default=0, kw_only=True)

    @property
    def tokens_per_second(self) -> float | None:
        """Over the steps that are kept."""
        seconds = sum(self.seconds)
        return sum(self.step_tokens) / seconds if seconds > 0 else None


class RanksReader:
    """Reads the folder of a run again and again, each file only when it changed."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self._known: dict[str, tuple[tuple[int, int], Rank | None]] | None = None

    def poll(self) -> tuple[Rank, ...] | None:
        """All ranks in order when anything changed since the last time, else None.

        A folder that is not there has none; a damaged file is left out. Raises `StorageError`.
        """
        found: dict[str, tuple[tuple[int, int], Rank | None]] = {}
        before = self._known or {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("rank-") or not entry.name.endswith(".json"):
                        continue
                    try:
                        info = entry.stat()
                    except FileNotFoundError:
                        continue
                    stamp = (info.st_mtime_ns, info.st_ino)
                    known = before.get(entry.name)
                    found[entry.name] = known if known and known[0] == stamp else (stamp, _read(entry.path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(error, self.folder) from None
        if found == self._known:
            return None
        self._known = found
        return tuple(_of_one_run(rank for _, rank in found.values() if rank))


def read_ranks(run: Path) -> tuple[Rank, ...]:
    """All ranks of a run, in order; none where it never wrote any. Raises `StorageError`."""
    return RanksReader(run).poll() or ()


def _of_one_run(ranks: Any) -> list[Rank]:
    """The ranks in order, without those that a larger run before left behind."""
    by_number = sorted(ranks, key=lambda rank: rank.place.rank)
    newest = max(by_number, key=lambda rank: rank.updated, default=None)
    size = newest.place.world_size if newest else 0
    return [rank for rank in by_number if rank.place.rank < size]


def _read(path: str) -> Rank | None:
    try:
        with open(path, "rb") as file:
            value = orjson.loads(file.read())
        steps, place = value["steps"], Place(**value["place"])
        _check_numbers(place, value, steps)
        return Rank(
            place,
            str(value["phase"]),
            int(value["step"]),
            float(value["updated"]),
            int(value["tokens"]),
            value["memory"],
            value["peak_memory"],
            value["memory_limit"],
            *(tuple(steps[name]) for name in ("step", "seconds", "busy", "tokens")),
            since=value.get("since"),
            passes=value.get("passes", 0),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _check_numbers(place: Place, value: dict[str, Any], steps: dict[str, Any]) -> None:
    """Raise `TypeError` where a number or a name is something else: a person may have edited the file."""
    names = [*place.axes, *place.coordinates]
    texts = all(isinstance(word, str) for word in (place.host, place.device, *names))
    if not texts or value["phase"] not in PHASES or not all(name.isidentifier() for name in names):
        raise TypeError("not a name")
    if max(place.world_size, math.prod(place.axes.values())) > MOST_RANKS:
        raise TypeError("too many ranks")
    memory = [*(value[name] for name in ("memory", "peak_memory", "memory_limit")), value.get("since")]
    numbers = [place.rank, place.world_size, place.local_rank, place.pid, *place.axes.values()]
    numbers += [*place.coordinates.values(), *steps["step"], *steps["seconds"], *steps["tokens"]]
    numbers.append(value.get("passes", 0))
    numbers += [number for number in (*memory, *steps["busy"]) if number is not None]
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
        raise TypeError("not a number")


def _name(rank: int) -> str:
    return f"rank-{rank:05}.json"


def _drop_others(folder: Path, size: int) -> None:
    for path in folder.glob("rank-*.json"):
        number = path.stem.removeprefix("rank-")
        if not number.isdigit() or int(number) >= size:
            path.unlink(missing_ok=True)
