"""A fit of a scaling law for a person: coefficients, backtests, the frontier, parabolas, doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.store.scaling_prediction import Predicted

NAMES = {"alpha": "α", "beta": "β"}


def page(found: dict[str, Any], predicted: Sequence[Predicted] = (), *, charts: bool) -> str:
    """A fit for a person, with the runs that it predicted."""
    from workbench.cli import render
    from workbench.cli.scale_chart import still
    from workbench.scaling import figures

    parts = [
        _law(found),
        _titled("second form: L(N, D) = E + ((N_c/N)^(α_N/α_D) + D_c/D)^α_D", _joint(found)),
        _titled("backtests: higher budgets predicted from the lower", _backtests(found)),
        _titled("compute-optimal frontier", _frontier(found)),
        _titled("IsoFLOP parabolas (approach 2)", _isoflop(found)),
    ]
    if found["fixed_ratio"]:
        parts.append(_titled("at fixed ratios: L(C) = E + K/C^γ", _ratios(found)))
    parts.append(_titled("goodness of fit", _goodness(found)))
    parts.append(_titled("residuals", _residuals(found)))
    parts.append(_titled("beside published laws", _published(found)))
    if predicted:
        lines = [(render.literal(run.name), render.literal(run.words)) for run in predicted]
        parts.append(_titled("predicted by this law", render.pairs(lines, "  ")))
    if charts:
        parts += [still(figures.loss_figure(found, predicted))]
        if found["isoflop"]["parabolas"]:
            parts.append(still(figures.isoflop_figure(found)))
    parts += [f"doubt: {render.literal(words)}" for words in found["doubts"]]
    if found["left_out"]:
        lines = [(render.literal(name), render.literal(why)) for name, why in found["left_out"].items()]
        parts.append(_titled("not fitted", render.pairs(lines, "  ")))
    return "\n\n".join(parts)


def _titled(title: str, body: str) -> str:
    from workbench.cli import render

    return f"{render.style(title, 'bold')}\n{body}"


def _law(found: dict[str, Any]) -> str:
    from workbench.cli import render
    from workbench.scaling.laws import COUNT_WORDS

    rows = [
        (NAMES.get(name, name), f"{value:.5g}", _interval(found["intervals"][name]))
        for name, value in found["coefficients"].items()
    ]
    title = f"L(N, D) = E + A/N^α + B/D^β, N: {COUNT_WORDS[found['count']]}, {len(found['points'])} runs"
    repeats = "\n  D: tokens seen again count for what they are worth" if found["repeats_counted"] else ""
    headers = ("", "fitted", f"{found['level']:.0%} interval")
    return _titled(title + repeats, render.table(headers, rows, right=(1,)))


def _joint(found: dict[str, Any]) -> str:
    joint = found["joint"]
    words = ", ".join(f"{name} {value:.4g}" for name, value in joint["coefficients"].items())
    for name, sign in (("alpha_N", "α_N"), ("alpha_D", "α_D")):
        words = words.replace(name, sign)
    return f"  {words}; worst residual {joint['worst_residual']:.2%}"


def _backtests(found: dict[str, Any]) -> str:
    from workbench.cli import render

    if not found["backtests"]:
        return "  none: too few budgets. Predictions hold both forms for equally good"
    rows = [
        (
            one["form"],
            str(one["runs"]),
            f"{one['flops']:.2e}",
            f"{one['factor']:.1f}×",
            f"{one['error']:+.2%}",
        )
        for one in found["backtests"]
    ]
    headers = ("form", "runs fitted", "FLOPs predicted", "beyond", "measured over predicted")
    told = ", ".join(
        f"{form} {rate:.2%} (weight {found['weights'][form]:.0%})" for form, rate in found["rates"].items()
    )
    return (
        f"{render.table(headers, rows, right=range(1, 5))}\n"
        f"  error for each factor e of compute: {told}; predictions are weighted by it"
    )


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:.4g}, {ends[1]:.4g}]"


def _frontier(found: dict[str, Any]) -> str:
    from workbench.cli import render

    exponents, intervals = found["exponents"], found["intervals"]
    words = (
        f"  N_opt ∝ C^{exponents['a']:.3f} {_interval(intervals['a'])}, "
        f"D_opt ∝ C^{exponents['b']:.3f} {_interval(intervals['b'])}, "
        f"C = {found['flops_per_parameter']:.2f}·N·D"
    )
    rows = [
        (
            f"{row['flops']:.2e}",
            render.count(row["parameters"]),
            render.count(row["tokens"]),
            f"{row['tokens'] / row['parameters']:.1f}",
            f"{row['loss']:.4f}",
        )
        for row in [*found["frontier"][:-2:4], *found["frontier"][-3:]]
    ]
    return f"{words}\n{render.table(('FLOPs', 'N_opt', 'D_opt', 'D/N', 'loss'), rows, right=range(5))}"


def _isoflop(found: dict[str, Any]) -> str:
    from workbench.cli import render

    section = found["isoflop"]
    if not section["parabolas"]:
        return "  none: no compute budget has three sizes"
    rows = []
    for one in section["parabolas"]:
        size = render.count(one["parameters"]) if one["parameters"] else "none"
        where = (
            ""
            if one["inside"]
            else "outside of the sizes that were run"
            if one["parameters"]
            else "no valley"
        )
        loss = f"{one['loss']:.4f}" if one["loss"] is not None else ""
        rows.append((f"{one['flops']:.2e}", size, render.count(one["tokens"]), loss, where))
    table = render.table(("FLOPs", "N at the minimum", "D", "loss", ""), rows, right=range(4))
    if section["parameters"] is None:
        return f"{table}\n  fewer than two minima lie among the sizes that were run: no power law"
    a, b = section["parameters"]["exponent"], section["tokens"]["exponent"]
    told = {name: _interval(ends) for name, ends in section["intervals"].items()}
    return f"{table}\n  N_opt ∝ C^{a:.3f} {told.get('a', '')}, D_opt ∝ C^{b:.3f} {told.get('b', '')}"


def _ratios(found: dict[str, Any]) -> str:
    from workbench.cli import render

    rows = [
        (
            f"{one['ratio']:.3g}",
            str(len(one["runs"])),
            f"{one['E']:.4g}",
            f"{one['K']:.4g}",
            f"{one['gamma']:.3f}",
            f"{one['worst']:.2%}",
        )
        for one in found["fixed_ratio"]
    ]
    return render.table(("D/N", "runs", "E", "K", "γ", "worst error"), rows, right=range(6))


def _goodness(found: dict[str, Any]) -> str:
    from workbench.cli import render

    errors = [abs(one["error"]) for one in found["residuals"]]
    rms = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    facts = [
        ("R² of log loss", f"{found['r_squared']:.5f}"),
        ("relative errors", f"root mean square {rms:.2%}, worst {max(errors):.2%}"),
    ]
    left = found["leave_largest_out"]
    if left is None:
        facts.append(("largest left out", "too few runs to leave any out"))
    else:
        facts.append(
            (
                "largest left out",
                f"{len(left['runs'])} runs of {left['factor']:.1f}× the compute of the others, predicted by "
                f"them: worst error {left['worst']:+.2%}",
            )
        )
    return render.pairs(facts, "  ")


def _residuals(found: dict[str, Any]) -> str:
    from workbench.cli import render

    by_name = {point["name"]: point for point in found["points"]}
    rows = [
        (
            render.literal(one["name"]),
            render.count(by_name[one["name"]]["parameters"]),
            render.count(by_name[one["name"]]["tokens"]),
            f"{by_name[one['name']]['loss']:.4f}",
            f"{one['predicted']:.4f}",
            f"{one['error']:+.2%}",
        )
        for one in found["residuals"]
    ]
    return render.table(("run", "N", "D", "loss", "law", "error"), rows, right=range(1, 6))


def _published(found: dict[str, Any]) -> str:
    from workbench.cli import render

    own = found["coefficients"]
    rows = [("these runs", *(f"{own[name]:.4g}" for name in own), f"{found['exponents']['a']:.3f}", "")]
    for one in found["published"]:
        values = one["coefficients"]
        cells = [f"{values[name]:.4g}" for name in own] if values else ["–"] * 5
        a = f"{one['a']:.3f}" if one["a"] is not None else "–"
        rows.append((render.literal(one["name"]), *cells, a, f"{one['tokens_per_parameter']:.1f}"))
    headers = ("law", "E", "A", "B", "α", "β", "a", "D/N at 5.76e23")
    return render.table(headers, rows, right=range(1, 8))
