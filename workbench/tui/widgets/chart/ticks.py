"""Where the marks of an axis stand and how numbers are written beside them."""

from __future__ import annotations

import math
from typing import Literal

Kind = Literal["number", "count", "duration"]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
DURATION_STEPS = (1, 2, 5, 10, 15, 30, *(MINUTE * m for m in (1, 2, 5, 10, 15, 30))) + tuple(
    HOUR * h for h in (1, 2, 3, 6, 12)
)
NICE_ENDS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
LOG_DIGITS = (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def nice_step(span: float, target: int, kind: Kind = "number") -> float:
    """The smallest round step that puts about `target` marks or fewer on `span`."""
    raw = span / max(target, 1)
    if kind == "duration" and raw > 0.5:
        if raw > DURATION_STEPS[-1]:
            return DAY * nice_step(span / DAY, target, "count")
        return next(step for step in DURATION_STEPS if step >= raw)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = scale * next(step for step in (1, 2, 5, 10) if step * scale >= raw * (1 - 1e-9))
    return max(step, 1.0) if kind == "count" else step


def nice_end(length: float) -> float:
    """The next round number at or above a positive `length`; at most a quarter above it."""
    scale = 10.0 ** math.floor(math.log10(length))
    return scale * next(end for end in NICE_ENDS if end * scale >= length * (1 - 1e-9))


def linear_ticks(low: float, high: float, target: int, kind: Kind = "number") -> tuple[list[float], float]:
    """Multiples of a round step in [low, high], and the step."""
    step = nice_step(high - low, target, kind)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)], step


def log_ticks(low: float, high: float, target: int) -> list[float]:
    """Round values between 10^low and 10^high for a logarithmic axis."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first + 1 >= 3 or last - first + 1 > target:
        stride = max(1, math.ceil((last - first + 1) / max(target, 1)))
        return [10.0**power for power in range(first, last + 1) if power % stride == 0]
    for digits in LOG_DIGITS:
        inside = [
            digit * 10.0**power
            for power in range(first - 1, last + 1)
            for digit in digits
            if low - 1e-9 <= math.log10(digit) + power <= high + 1e-9
        ]
        if len(inside) <= target:
            break
    if len(inside) >= 3:
        return inside
    return [tick for tick in linear_ticks(10.0**low, 10.0**high, target)[0] if tick > 0] or inside


def format_tick(value: float, step: float, kind: Kind = "number") -> str:
    """A tick as short as it can be while its neighbours, `step` away, look different."""
    if kind == "duration":
        return format_duration(value) if step >= 1 else f"{value:.{_decimals(step)}f}s"
    if abs(value) < step * 1e-6:
        return "0"
    if abs(value) >= 1e16:
        return f"{value:.0e}".replace("e+", "e")
    if abs(value) >= 1000 and (step >= 10 or abs(value) >= 1e5):
        unit, suffix = next(pair for pair in SUFFIXES if abs(value) >= pair[0] * (1 - 1e-9))
        return f"{value / unit:.{_decimals(step / unit)}f}{suffix}"
    if abs(value) < 1e-3 or step < 1e-4:
        return _scientific(value, max(0, _exponent(value) + _decimals(step)))
    return f"{value:.{_decimals(step)}f}"


def format_log_tick(value: float) -> str:
    """A tick of a logarithmic axis, whose neighbours are far away."""
    return format_tick(value, 10.0 ** (_exponent(value) - (0 if _is_round(value) else 1)))


def format_value(value: float, kind: Kind = "number") -> str:
    """A value a person reads off: four significant digits, or a duration."""
    if not math.isfinite(value):
        return str(value)
    if kind == "duration":
        return format_duration(value)
    size = abs(value)
    if kind == "count" and size < 1e6:
        return f"{value:,.0f}"
    if size >= 1e16:
        return _scientific(value, 2)
    if size >= 1e5:
        unit, suffix = next(pair for pair in SUFFIXES if size >= pair[0])
        return f"{value / unit:.4g}{suffix}"
    if 0 < size < 1e-3:
        return _scientific(value, 2)
    # Always as many digits, so that a live value does not push what stands to its right.
    return f"{value:.{max(0, 3 - (_exponent(value) if size else 0))}f}"


def format_duration(seconds: float) -> str:
    """45s, 12m30s, 1h05m, 2d03h: the two largest units, the second only when it is not nought."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for unit, name, part, part_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "m"),
        (MINUTE, "m", 1, "s"),
    ):
        if whole >= unit:
            rest = int(whole % unit // part)
            return f"{int(whole // unit)}{name}" + (f"{rest:02d}{part_name}" if rest else "")
    return f"{whole}s"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)) + 1e-12)


def _decimals(step: float) -> int:
    """Digits behind the point that a multiple of `step` needs."""
    return max(0, -_exponent(step))


def _is_round(value: float) -> bool:
    digits = abs(value) / 10.0 ** _exponent(value)
    return abs(digits - round(digits)) < 1e-6


def _scientific(value: float, decimals: int) -> str:
    mantissa, _, power = f"{value:.{decimals}e}".partition("e")
    return f"{mantissa}e{int(power)}"
