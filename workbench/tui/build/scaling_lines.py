"""What the view of scaling laws says in words: the runs of a study, its law, a prediction, its sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.tui.text import meter, reveal_control, short_loss, short_number
from workbench.tui.widgets.text_lines import Line, plain
from workbench.units import duration

if TYPE_CHECKING:
    from workbench.store.scaling_prediction import Predicted

BAR = 20
NAMES = {"alpha": "α", "beta": "β"}
ROLES = {"done": "good", "running": "key", "failed": "bad", "stopped": "warn", "waiting": "dim"}


def runs_lines(view: Mapping[str, Any], symbols: str) -> list[Line]:
    """How far a study is, and each of its runs."""
    counts, total = view["counts"], sum(view["counts"].values())
    share = view["flops_done"] / view["flops"] if view["flops"] else 0.0
    left = f", {duration(view['seconds_left'])} left" if view["seconds_left"] else ""
    lines: list[Line] = [
        (
            ("compute ", "key"),
            (meter(share, BAR, symbols), "good"),
            (f" {share:4.0%}  {counts['done']} of {total} runs, {view['flops']:.2g} FLOPs{left}", ""),
        )
    ]
    lines += [plain(reveal_control(part), "bad") for part in view["message"].splitlines()]
    lines += [plain(f"note: {reveal_control(note)}", "warn") for note in view["notes"]]
    width = max((len(run["name"]) for run in view["runs"]), default=4)
    head = f"{'run':<{width}}  {'':<7}  {'N':>6}  {'tokens':>6}  {'FLOPs':>7}  {'step':>13}  {'loss':>7}"
    lines += [plain(""), plain(head, "title")]
    for run in view["runs"]:
        step = f"{run['step']:,}/{run['steps']:,}"
        numbers = f"{short_number(run['parameters']):>6}  {short_number(run['tokens']):>6}"
        figures = f"  {numbers}  {run['flops']:7.1e}  {step:>13}  {short_loss(run['eval_loss']):>7}"
        error = f"  {reveal_control(run['error'])}" if run["error"] else ""
        lines.append(
            (
                (f"{reveal_control(run['name']):<{width}}  ", ""),
                (f"{run['queue']:<7}", ROLES.get(run["queue"], "")),
                (figures, ""),
                (error, "bad"),
            )
        )
    return lines


def law_lines(fit: Mapping[str, Any] | None) -> list[Line]:
    """The coefficients with their intervals, the frontier, and what is doubtful."""
    if fit is None:
        return [plain("Not fitted yet: f fits the runs that have finished.", "warn")]
    counted = "all parameters" if fit["count"] == "total" else "parameters without embeddings"
    lines: list[Line] = [
        plain("L(N, D) = E + A/N^α + B/D^β", "title"),
        plain(f"N: {counted}; {len(fit['points'])} runs; R² {fit['r_squared']:.4f}", "dim"),
    ]
    for name, value in fit["coefficients"].items():
        lines.append(_with_interval(NAMES.get(name, name), value, fit["intervals"][name]))
    lines += [plain(""), plain("compute-optimal", "title")]
    lines.append(_with_interval("a", fit["exponents"]["a"], fit["intervals"]["a"], "N_opt ∝ C^a"))
    lines.append(_with_interval("b", fit["exponents"]["b"], fit["intervals"]["b"], "D_opt ∝ C^b"))
    for row in fit["frontier"][-3:]:
        size, tokens = short_number(row["parameters"]), short_number(row["tokens"])
        words = f"{row['flops']:.1e} FLOPs: N {size}, D {tokens}, loss {row['loss']:.3f}"
        lines.append(plain(words))
    section = fit["isoflop"]
    if section["parameters"]:
        a, b = section["parameters"]["exponent"], section["tokens"]["exponent"]
        lines.append(plain(f"by the parabolas: a {a:.3f}, b {b:.3f}", "dim"))
    joint = fit["joint"]["coefficients"]
    lines += [
        plain(""),
        plain("second form: E + ((N_c/N)^(α_N/α_D) + D_c/D)^α_D", "title"),
        plain(
            f"E {joint['E']:.4g}, N_c {joint['N_c']:.3g}, D_c {joint['D_c']:.3g}, "
            f"α_N {joint['alpha_N']:.3g}, α_D {joint['alpha_D']:.3g}"
        ),
    ]
    for form, rate in fit["rates"].items():
        words = (
            f"{form}: erred by {rate:.2%} for each factor e of compute (weight {fit['weights'][form]:.0%})"
        )
        lines.append(plain(words))
    left = fit["leave_largest_out"]
    if left is not None:
        words = f"largest left out ({left['factor']:.1f}× compute): predicted within {abs(left['worst']):.2%}"
        lines += [plain(""), plain(words)]
    lines += [plain(f"doubt: {reveal_control(words)}", "warn") for words in fit["doubts"]]
    lines += [plain(""), plain("beside", "title")]
    for one in fit["published"]:
        if one["coefficients"] is not None:
            c = one["coefficients"]
            formula = f"{c['E']:.3g} + {c['A']:.4g}/N^{c['alpha']:.2f} + {c['B']:.4g}/D^{c['beta']:.2f}"
            lines.append(((f"{reveal_control(one['name']):<12}", "key"), (formula, "")))
    return lines


def _with_interval(name: str, value: float, interval: list[float], words: str = "") -> Line:
    ends = f"[{interval[0]:.4g}, {interval[1]:.4g}]"
    return ((f"{name:<3}", "key"), (f"{value:<9.4g}", "strong"), (f" {ends:<24}", "dim"), (words, "dim"))


def outlook_lines(found: Mapping[str, Any] | None, runs: Sequence[Predicted]) -> list[Line]:
    """What is predicted of a size that was typed, what was of runs, and how those came."""
    if found is None:
        lines = [plain("p asks for a size: 8x, or parameters and tokens, as in 1e6 2e7.")]
    else:
        lines = _prediction_lines(found)
    if runs:
        lines += [plain(""), plain("runs that this law predicted", "title")]
    for run in runs:
        lines.append(((f"{reveal_control(run.name)}  ", "key"), (reveal_control(run.words), "")))
    return lines


def _prediction_lines(found: Mapping[str, Any]) -> list[Line]:
    interval = f"  [{found['low']:.4f}, {found['high']:.4f}]" if found["level"] else ""
    size, tokens = found["parameters"], found["tokens"]
    lines: list[Line] = [
        (("loss ", "key"), (f"{found['loss']:.4f}", "strong"), (f"{interval}  nats a token", "")),
        plain(f"N {short_number(size)}, D {short_number(tokens)} ({tokens / size:.3g} a parameter)"),
        plain(
            f"{found['flops']:.3g} FLOPs, {found['step']:,} steps, perplexity {math.exp(found['loss']):.3g}"
        ),
    ]
    lines += [
        plain(reveal_control(note), "warn" if note.startswith("doubt") else "") for note in found["notes"]
    ]
    return [*lines, plain("P starts this run, with the prediction on its curve.", "dim")]


def emergence_lines(found: Mapping[str, Any] | None) -> list[Line]:
    """The sums by compute: right answers, likelihood, and the verdict."""
    from workbench.scaling.figures import compute_of

    if found is None:
        return [plain("No sums were asked yet: E asks the models of the finished runs.", "warn")]
    lines: list[Line] = [
        plain(f"{'FLOPs':>7}  {'N':>6}  steps  exact match            nats/token  p(answer)", "title")
    ]
    for model in found["models"]:
        for row in model["rows"]:
            low, high = row["exact_interval"]
            share = f"{row['exact']:6.1%} [{low:.1%}, {high:.1%}]"
            first = row is model["rows"][0]
            flops = f"{compute_of(model):.1e}" if first else ""
            size = short_number(model["parameters"]) if first else ""
            words = (
                f"{flops:>7}  {size:>6}  {row['steps']:>5}  {share:<22} {row['per_token']:>10.3f}  "
                f"{row['expected']:9.2%}"
            )
            lines.append(plain(words))
    lines.append(plain(""))
    for steps, words in found["verdicts"].items():
        lines.append(((f"{steps} step{'s' * (steps != '1')}: ", "key"), (words, "")))
    return lines
