"""Executes the PTX that NVRTC emitted, from exactly the launch that the driver would get.

Every register is an array with one element for each thread of all blocks. Of the threads those at the lowest
instruction go first, so diverged ones meet again; `bar.sync` waits for its block, operations of a warp need
all of it, copies of `cp.async` land at `wait_group` and not before. An unknown instruction is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import ptx_memory
from ptx_arithmetic import (
    BINARY,
    TYPES,
    UNARY,
    Array,
    compare,
    high,
    product,
    shifted,
    to_bfloat16,
    to_float16,
)
from ptx_memory import Fault, GlobalMemory, SharedMemory
from ptx_program import Instruction, Program, names, read
from torch import Tensor

from workbench.ops.cuda.compile import compile_kernel
from workbench.ops.cuda.kernel import Kernel, Launch

TARGET = "compute_80"
WARP = 32
CLASSES = {
    "%p": np.bool_,
    "%rs": np.uint16,
    "%rd": np.uint64,
    "%r": np.uint32,
    "%f": np.float32,
    "%h": np.uint16,
}
_programs: dict[Kernel, Program] = {}


def run(launches: Sequence[Launch], tensors: Sequence[Tensor]) -> None:
    """The launches, one after the other, on CPU tensors at whose addresses their parameters point."""
    memory = GlobalMemory(tensors)
    for launch in launches:
        if launch.kernel not in _programs:
            binary = compile_kernel(launch.kernel, TARGET)
            _programs[launch.kernel] = read(binary.code.rstrip(b"\0").decode(), binary.symbol)
        Machine(_programs[launch.kernel], launch, memory).run()
    memory.write_back()


class Machine:
    """One launch under way."""

    def __init__(self, program: Program, launch: Launch, memory: GlobalMemory) -> None:
        self.program, self.memory = program, memory
        sizes = [size for _, size in program.parameters.values()]
        if sizes != [len(part) for part in launch.parameters]:
            raise Fault(f"parameters of {[len(part) for part in launch.parameters]} bytes, not {sizes}")
        whole = b""
        for (offset, _), part in zip(program.parameters.values(), launch.parameters, strict=True):
            whole = whole.ljust(offset, b"\0") + part
        self.parameters = np.frombuffer(whole, np.uint8)
        threads, blocks = int(np.prod(launch.block)), int(np.prod(launch.grid))
        lane = np.arange(threads * blocks)
        self.count, self.threads, self.blocks = len(lane), threads, blocks
        self.block, thread = lane // threads, lane % threads
        self.special = {"%laneid": thread % WARP, "%warpid": thread // WARP}
        for kind, at, shape in (("tid", thread, launch.block), ("ctaid", self.block, launch.grid)):
            parts = (at % shape[0], at // shape[0] % shape[1], at // (shape[0] * shape[1]))
            limit = {"tid": "ntid", "ctaid": "nctaid"}[kind]
            for axis, place, size in zip("xyz", parts, shape, strict=True):
                self.special[f"%{kind}.{axis}"] = place
                self.special[f"%{limit}.{axis}"] = np.full(len(lane), size)
        self.shared = SharedMemory(blocks, launch.shared_bytes + max([0, *program.shared.values()]))
        self.registers: dict[str, Array] = {}
        self.at = np.zeros(self.count, np.int64)
        self.waiting, self.done = np.zeros(self.count, bool), np.zeros(self.count, bool)
        self.committed = np.zeros(self.count, np.int64)
        self.copies: list[tuple[Array, Array, Array, Array, Array]] = []
        self.steps = 0

    def run(self) -> None:
        """Until all threads have returned."""
        with np.errstate(all="ignore"):
            while not self.done.all():
                self._segment()

    def _segment(self) -> None:
        """The threads at the lowest instruction, up to where they part, meet others, or wait."""
        active = ~self.done & ~self.waiting
        if not active.any():
            raise Fault("all threads wait at a barrier that some have left")
        at = int(self.at[active].min())
        here = active & (self.at == at)
        others = self.at[active & ~here]
        meet = int(others.min()) if len(others) else len(self.program.instructions)
        lanes = np.nonzero(here)[0]
        while True:
            step = self.program.instructions[at]
            self.steps += 1
            taken = lanes
            if step.guard:
                holds = self.register(step.guard.lstrip("!"))[lanes]
                taken = lanes[~holds if step.guard[0] == "!" else holds]
            at += 1
            if step.operation[0] in ("bra", "ret", "exit", "bar", "barrier"):
                self.at[lanes] = at
                self._control(step, taken)
                return
            if len(taken):
                self._execute(step, taken)
            if at >= meet:
                self.at[lanes] = at
                return

    def _control(self, step: Instruction, lanes: Array) -> None:
        match step.operation[0]:
            case "bra":
                self.at[lanes] = self.program.labels[step.operands[0]]
            case "ret" | "exit":
                self.done[lanes] = True
            case _ if "warp" in step.operation:
                return
            case _:
                self.waiting[lanes] = True
                arrived = np.bincount(self.block[self.waiting], minlength=self.blocks)
                full = arrived == self.threads
                self.waiting &= ~full[self.block]

    def register(self, name: str) -> Array:
        if name not in self.registers:
            kind = next(
                (CLASSES[key] for key in ("%rs", "%rd", "%r", "%p", "%f", "%h") if name.startswith(key)), None
            )
            if kind is None:
                raise Fault(f"unknown register {name}")
            self.registers[name] = np.zeros(self.count, kind)
        return self.registers[name]

    def value(self, operand: str, kind: str, lanes: Array) -> Array:
        dtype = np.dtype(TYPES[kind])
        if operand in self.special:
            return self.special[operand][lanes].astype(np.uint32).astype(dtype)
        if operand[0] == "%":
            found = self.register(operand)[lanes]
            if found.dtype == dtype:
                return found
            return found.view(dtype) if found.itemsize == dtype.itemsize else found.astype(dtype)
        if operand[:2] in ("0f", "0F"):
            return np.full(len(lanes), np.uint32(int(operand[2:], 16)).view(np.float32))
        if operand in self.program.shared:
            return np.full(len(lanes), self.program.shared[operand], dtype)
        if operand in self.program.parameters:
            return np.full(len(lanes), self.program.parameters[operand][0], dtype)
        number = int(operand, 0)
        if dtype == np.bool_:
            return np.full(len(lanes), bool(number))
        return np.full(len(lanes), number & (2 ** (8 * dtype.itemsize) - 1), f"u{dtype.itemsize}").view(dtype)

    def put(self, name: str, value: Array, lanes: Array) -> None:
        if name == "_":
            return
        into = self.register(name)
        if value.dtype != into.dtype:
            same = value.dtype.itemsize == into.dtype.itemsize
            value = np.ascontiguousarray(value).view(into.dtype) if same else value.astype(into.dtype)
        into[lanes] = value

    def address(self, operand: str, lanes: Array) -> Array:
        found = re.fullmatch(r"\[([%\w$]+)(?:\+(-?\w+))?\]", operand.replace(" ", ""))
        assert found, operand
        return self.value(found[1], "u64", lanes).astype(np.int64) + int(found[2] or "0", 0)

    def _execute(self, step: Instruction, lanes: Array) -> None:
        name, kind, operands = step.operation[0], step.operation[-1], step.operands
        method = getattr(self, f"_{name}", None)
        if method is not None:
            method(step, lanes)
        elif name == "mul" and step.operation[1] in ("wide", "hi"):
            self._product(step, lanes)
        elif name in BINARY:
            found = BINARY[name](*(self.value(one, kind, lanes) for one in operands[1:]))
            self.put(operands[0], found, lanes)
        elif name in UNARY:
            self.put(operands[0], UNARY[name](self.value(operands[1], kind, lanes)), lanes)
        else:
            raise Fault(f"an instruction the interpreter does not know: {step.text}")

    def _product(self, step: Instruction, lanes: Array) -> None:
        kind = step.operation[-1]
        x, y = (self.value(one, kind, lanes) for one in step.operands[1:3])
        if step.operation[1] == "hi":
            self.put(step.operands[0], high(x, y), lanes)
            return
        wide = np.dtype(f"{x.dtype.kind}{2 * x.dtype.itemsize}")
        self.put(step.operands[0], x.astype(wide) * y.astype(wide), lanes)

    def _mad(self, step: Instruction, lanes: Array) -> None:
        kind = step.operation[-1]
        x, y = (self.value(one, kind, lanes) for one in step.operands[1:3])
        if step.operation[1] == "wide":
            wide = f"{kind[0]}{2 * int(kind[1:])}"
            x, y, kind = x.astype(TYPES[wide]), y.astype(TYPES[wide]), wide
        elif step.operation[1] == "hi":
            raise Fault(f"an instruction the interpreter does not know: {step.text}")
        self.put(step.operands[0], x * y + self.value(step.operands[3], kind, lanes), lanes)

    def _fma(self, step: Instruction, lanes: Array) -> None:
        x, y, z = (self.value(one, "f32", lanes) for one in step.operands[1:])
        self.put(step.operands[0], (x.astype(np.float64) * y + z).astype(np.float32), lanes)

    def _mov(self, step: Instruction, lanes: Array) -> None:
        into, out = step.operands
        if into[0] == "{":
            whole = self.register(out)[lanes]
            parts = names(into)
            split = (
                np.ascontiguousarray(whole).view(f"u{whole.itemsize // len(parts)}").reshape(-1, len(parts))
            )
            for number, part in enumerate(parts):
                self.put(part, np.ascontiguousarray(split[:, number]), lanes)
        elif out[0] == "{":
            joined = np.ascontiguousarray(np.stack([self.register(part)[lanes] for part in names(out)], 1))
            self.put(into, joined.view(self.register(into).dtype).reshape(-1), lanes)
        else:
            self.put(into, self.value(out, step.operation[-1], lanes), lanes)

    def _cvta(self, step: Instruction, lanes: Array) -> None:
        self.put(step.operands[0], self.value(step.operands[1], "u64", lanes), lanes)

    def _cvt(self, step: Instruction, lanes: Array) -> None:
        into, out = step.operation[-2:]
        values = [self.value(one, out, lanes) for one in step.operands[1:]]
        if into in ("bf16x2", "f16x2"):
            rounded = to_bfloat16 if into == "bf16x2" else to_float16
            upper, lower = (rounded(value).astype(np.uint32) for value in values)
            found: Array = upper << 16 | lower
        elif into == "bf16":
            found = to_bfloat16(values[0])
        elif into == "f16":
            found = to_float16(values[0])
        elif values[0].dtype.kind == "f" and TYPES[into] != np.float32:
            ways = {"rni": np.rint, "rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc}
            way = next((ways[part] for part in step.operation if part in ways), None)
            if way is None:
                raise Fault(f"an instruction the interpreter does not know: {step.text}")
            found = way(values[0]).astype(TYPES[into])
        else:
            found = values[0].astype(TYPES[into])
        if self.register(step.operands[0]).itemsize > found.itemsize:
            found = found.astype(
                f"{'i' if found.dtype.kind == 'i' else 'u'}{self.register(step.operands[0]).itemsize}"
            )
        self.put(step.operands[0], found, lanes)

    def _shl(self, step: Instruction, lanes: Array) -> None:
        x, by = (
            self.value(step.operands[1], step.operation[-1], lanes),
            self.value(step.operands[2], "u32", lanes),
        )
        self.put(step.operands[0], shifted(step.operation[0], x, by), lanes)

    _shr = _shl

    def _shf(self, step: Instruction, lanes: Array) -> None:
        low, upper, by = (self.value(one, "u32", lanes).astype(np.uint64) for one in step.operands[1:])
        by = by & np.uint64(31) if "wrap" in step.operation else np.minimum(by, np.uint64(32))
        both = upper << np.uint64(32) | low
        left = "l" in step.operation
        found = both << by >> np.uint64(32) if left else both >> by
        self.put(step.operands[0], found.astype(np.uint32), lanes)

    def _selp(self, step: Instruction, lanes: Array) -> None:
        x, y = (self.value(one, step.operation[-1], lanes) for one in step.operands[1:3])
        self.put(step.operands[0], np.where(self.register(step.operands[3])[lanes], x, y), lanes)

    def _setp(self, step: Instruction, lanes: Array) -> None:
        if len(step.operands) != 3 or step.operation[2] in ("and", "or", "xor"):
            raise Fault(f"an instruction the interpreter does not know: {step.text}")
        x, y = (self.value(one, step.operation[-1], lanes) for one in step.operands[1:])
        self.put(step.operands[0], compare(step.operation[1], x, y), lanes)

    def _bfe(self, step: Instruction, lanes: Array) -> None:
        x, at, size = (self.value(one, "u32", lanes).astype(np.int64) for one in step.operands[1:])
        found = x >> at & ((1 << size) - 1)
        if step.operation[-1] == "s32":
            found = np.where(found >> np.maximum(size - 1, 0) & 1, found - (1 << size), found)
        self.put(step.operands[0], found.astype(np.int32), lanes)

    def _bfi(self, step: Instruction, lanes: Array) -> None:
        x, into, at, size = (self.value(one, "u32", lanes).astype(np.uint64) for one in step.operands[1:])
        mask = ((np.uint64(1) << size) - np.uint64(1)) << at
        self.put(step.operands[0], (into & ~mask | x << at & mask).astype(np.uint32), lanes)

    def _prmt(self, step: Instruction, lanes: Array) -> None:
        x, y, choice = (self.value(one, "u32", lanes) for one in step.operands[1:])
        pool = np.stack([x, y], 1).view(np.uint8)
        picked = [pool[np.arange(len(lanes)), choice >> 4 * i & 7] for i in range(4)]
        self.put(step.operands[0], np.stack(picked, 1).view(np.uint32).reshape(-1), lanes)

    def _lop3(self, step: Instruction, lanes: Array) -> None:
        a, b, c = (self.value(one, "u32", lanes) for one in step.operands[1:4])
        table, found = int(step.operands[4], 0), np.zeros(len(lanes), np.uint32)
        for row in range(8):
            if table >> row & 1:
                found |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
        self.put(step.operands[0], found, lanes)

    def _ld(self, step: Instruction, lanes: Array) -> None:
        space, dtype = step.operation[1], np.dtype(TYPES[step.operation[-1]])
        into = names(step.operands[0])
        if space == "param":
            where = self.address(step.operands[1], lanes)
            if (where + dtype.itemsize * len(into) > len(self.parameters)).any():
                raise Fault(f"a parameter behind the last: {step.text}")
            arrays = ptx_memory.read(self.parameters, where, dtype, len(into))
        else:
            memory, where = self._place(space, step.operands[1], dtype.itemsize * len(into), step, lanes)
            arrays = ptx_memory.read(memory, where, dtype, len(into))
        for name, array in zip(into, arrays, strict=True):
            self.put(name, array, lanes)

    def _st(self, step: Instruction, lanes: Array) -> None:
        kind, out = step.operation[-1], names(step.operands[1])
        size = np.dtype(TYPES[kind]).itemsize * len(out)
        memory, where = self._place(step.operation[1], step.operands[0], size, step, lanes)
        ptx_memory.write(memory, where, [self.value(name, kind, lanes) for name in out])

    def _place(
        self, space: str, operand: str, size: int, step: Instruction, lanes: Array
    ) -> tuple[Array, Array]:
        address = self.address(operand, lanes)
        if space == "shared":
            return self.shared.bytes, self.shared.indices(self.block[lanes], address, size, step.text)
        if space == "global":
            return self.memory.bytes, self.memory.indices(address, size, step.text)
        raise Fault(f"an instruction the interpreter does not know: {step.text}")

    def _cp(self, step: Instruction, lanes: Array) -> None:
        if step.operation[:3] == ("cp", "async", "commit_group"):
            self.committed[lanes] += 1
        elif step.operation[:3] == ("cp", "async", "wait_group"):
            self._land(lanes, int(step.operands[0], 0))
        elif step.operation[:3] in (("cp", "async", "cg"), ("cp", "async", "ca")):
            size = int(step.operands[2], 0)
            into = self.shared.indices(
                self.block[lanes], self.address(step.operands[0], lanes), size, step.text
            )
            kept = np.full(len(lanes), size)
            if len(step.operands) > 3:
                kept = self.value(step.operands[3], "u32", lanes).astype(np.int64)
            if not np.isin(kept, (0, size)).all():
                raise Fault(f"a copy of a part is not known: {step.text}")
            self.shared.bytes[into[:, None] + np.arange(size)] = 0xFF  # nobody may read it before it lands
            out = np.zeros(len(lanes), np.int64)
            wanted = kept > 0
            address = self.address(step.operands[1], lanes)[wanted]
            out[wanted] = self.memory.indices(address, size, step.text)
            self.copies.append((lanes, into, out, kept, self.committed[lanes]))
        else:
            raise Fault(f"an instruction the interpreter does not know: {step.text}")

    def _land(self, lanes: Array, pending: int) -> None:
        """The copies of these threads' groups but the last `pending` are there."""
        waits = np.zeros(self.count, bool)
        waits[lanes] = True
        left = []
        for owner, into, out, kept, group in self.copies:
            lands = waits[owner] & (group < self.committed[owner] - pending)
            if lands.any():
                width = np.arange(16)
                data = self.memory.bytes[out[lands][:, None] + width]
                data[kept[lands] == 0] = 0
                self.shared.bytes[into[lands][:, None] + width] = data
            if not lands.all():
                stays = ~lands
                left.append((owner[stays], into[stays], out[stays], kept[stays], group[stays]))
        self.copies = left

    def _warps(self, lanes: Array, step: Instruction) -> Array:
        """The threads as [warps, 32]; `Fault` where some of a warp are elsewhere."""
        whole = lanes.reshape(-1, WARP) if len(lanes) % WARP == 0 else None
        if whole is None or (whole[:, 0] % WARP).any() or (whole[:, -1] - whole[:, 0] != WARP - 1).any():
            raise Fault(f"an operation of a warp without all its threads: {step.text}")
        return whole

    def _shfl(self, step: Instruction, lanes: Array) -> None:
        warps = self._warps(lanes, step)
        value = self.value(step.operands[1], "u32", lanes).reshape(warps.shape)
        other = self.value(step.operands[2], "u32", lanes).reshape(warps.shape).astype(np.int64)
        own = np.arange(WARP)
        mode = step.operation[2]
        wanted = {"bfly": own ^ other, "idx": other % WARP, "up": own - other, "down": own + other}[mode]
        exists = (wanted >= 0) & (wanted < WARP)
        found = np.take_along_axis(value, np.where(exists, wanted, own), 1)
        into, *valid = step.operands[0].split("|")
        self.put(into, found.reshape(-1), lanes)
        for name in valid:
            self.put(name, exists.reshape(-1), lanes)

    def _vote(self, step: Instruction, lanes: Array) -> None:
        warps = self._warps(lanes, step)
        holds = self.value(step.operands[1], "pred", lanes).reshape(warps.shape)
        if step.operation[2] == "ballot":
            found = np.repeat((holds.astype(np.uint64) << np.arange(WARP, dtype=np.uint64)).sum(1), WARP)
            self.put(step.operands[0], found.astype(np.uint32), lanes)
        else:
            together = holds.all(1) if step.operation[2] == "all" else holds.any(1)
            self.put(step.operands[0], np.repeat(together, WARP), lanes)

    def _ldmatrix(self, step: Instruction, lanes: Array) -> None:
        warps, into = self._warps(lanes, step), names(step.operands[0])
        used = warps[:, : 8 * len(into)].reshape(-1)
        place = self.shared.indices(self.block[used], self.address(step.operands[1], used), 16, step.text)
        rows = self.shared.bytes[place.reshape(len(warps), len(into), 8)[..., None] + np.arange(16)].view(
            np.uint16
        )
        if "trans" in step.operation:
            rows = rows.swapaxes(2, 3)
        for number, name in enumerate(into):
            one = np.ascontiguousarray(rows[:, number]).reshape(len(warps), WARP, 2)
            self.put(name, one.view(np.uint32).reshape(-1), lanes)

    def _mma(self, step: Instruction, lanes: Array) -> None:
        if "m16n8k16" not in step.operation or step.operation[-1] != "f32":
            raise Fault(f"an instruction the interpreter does not know: {step.text}")
        count = len(self._warps(lanes, step))
        into, left, right, added = (names(one) for one in step.operands)

        def halves(name: str) -> Array:
            raw = np.ascontiguousarray(self.register(name)[lanes])
            if "bf16" in step.operation:
                wide = raw.view(np.uint16).astype(np.uint32) << 16
                return wide.view(np.float32).reshape(count, 8, 8)
            return raw.view(np.float16).astype(np.float32).reshape(count, 8, 8)

        a, b = np.zeros((count, 16, 16), np.float32), np.zeros((count, 16, 8), np.float32)
        c = np.zeros((count, 16, 8), np.float32)
        for i, name in enumerate(left):
            a[:, i % 2 * 8 : i % 2 * 8 + 8, i // 2 * 8 : i // 2 * 8 + 8] = halves(name)
        for i, name in enumerate(right):
            b[:, i * 8 : i * 8 + 8] = halves(name).swapaxes(1, 2)
        for i, name in enumerate(added):
            c[:, i // 2 * 8 : i // 2 * 8 + 8, i % 2 :: 2] = self.value(name, "f32", lanes).reshape(
                count, 8, 4
            )
        d = product(a, b, c)
        for i, name in enumerate(into):
            part = d[:, i // 2 * 8 : i // 2 * 8 + 8, i % 2 :: 2]
            self.put(name, np.ascontiguousarray(part).reshape(-1), lanes)
