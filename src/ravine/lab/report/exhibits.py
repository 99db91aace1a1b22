"""The figures of the report, each from what the comparison found."""

import math
from collections.abc import Mapping, Sequence

from ravine import visuals
from ravine.visuals import Ink
from ravine.visuals.figure import Figure

from ..protocol.best_of import band, best_of
from ..protocol.inside import Inside
from ..protocol.judged import starts
from ..protocol.outcome import Method, Outcome, steps_of_each
from ..protocol.score import Times, ratios
from .width import envelope, usable

TITLES = {
    "train": "Training loss",
    "valid": "On the validation data",
    "rates": "By learning rate",
    "widths": "Usable width: rates within 5 % of the best",
    "best-of": "What the best of k trials is expected to reach",
    "search": "The search: a line for each trial",
    "by-rate": "Learning by learning rate",
    "seeds": "Each seed",
    "profile": "Performance profile",
    "batch-steps": "Steps to the target by batch size",
    "batch-loss": "Training loss by batch size",
    "time": "Time per step",
    "state": "Optimizer state",
    "memory": "Memory of a step",
    "gradients": "Sizes of gradients",
    "updates": "Sizes of updates",
    "ratio": "Update by weights, ‖Δw‖ / ‖w‖",
    "effective": "Effective learning rate, ‖Δw‖ / ‖g‖",
}


def inks(outcome: Outcome, times: Times | None = None) -> dict[str, Ink]:
    """The ink of each method, those of other tasks too: its own by the alphabet, whatever its rank."""
    names = {m.name for m in outcome.methods}.union(*(times or {}).values())
    return {name: visuals.ink(i) for i, name in enumerate(sorted(names))}


def exhibits(outcome: Outcome) -> dict[str, Figure]:
    """All figures that compare methods, by name; one that has nothing to show is not among them."""
    methods, ink, quantity = outcome.methods, inks(outcome), outcome.quantity
    alive = [m for m in methods if any(math.isfinite(r.final) for r in m.tuned)]
    searched = [m for m in methods if len({point.hyper.get("lr") for point in m.tried}) > 1]
    widths = [width for m in searched if (width := _width(m, ink))]
    clocked = [m for m in methods if math.isfinite(m.time.whole)]
    timed = [m for m in methods if math.isfinite(m.time.state_bytes)]
    peaked = [m for m in methods if math.isfinite(m.time.peak)]
    figures: dict[str, Figure | None] = {
        "train": _learning(outcome, alive, ink, "train", "training loss", {}),
        "valid": _learning(outcome, alive, ink, "valid", f"validation {quantity}", _targets(outcome)),
        "rates": visuals.sensitivity(
            [_scan(m, ink) for m in searched[::-1]], "learning rate", f"final validation {quantity}"
        ) if searched else None,
        "widths": visuals.widths(widths, "learning rate") if widths else None,
        "best-of": _best_of(searched, ink, quantity) if searched else None,
        "seeds": visuals.spread(
            [visuals.Values(m.name, ink[m.name], m.losses) for m in methods],
            outcome.measure,
        ),
        "batch-steps": _batch_steps(outcome, ink) if outcome.sweep else None,
        "batch-loss": _batch_loss(outcome) if outcome.sweep else None,
        "time": visuals.bars(
            [visuals.Bar(m.name, ink[m.name],
                         {"update": m.time.update, "forward and backward": m.time.whole - m.time.update})
             for m in clocked], "ms per step",
        ) if clocked else None,
        "state": visuals.bars(
            [visuals.Bar(m.name, ink[m.name], {"state": m.time.state_bytes}) for m in timed],
            "bytes for each parameter",
        ) if timed else None,
        "memory": visuals.bars(
            [visuals.Bar(m.name, ink[m.name], {"peak": m.time.peak}) for m in peaked],
            "MiB added at the peak",
        ) if peaked else None,
    }  # fmt: skip
    return {name: figure | {"title": TITLES[name]} for name, figure in figures.items() if figure is not None}


def profile(times: Times, ink: Mapping[str, Ink]) -> Figure:
    """The performance profile over tasks; a task that no method solves is beyond everyone's reach."""
    return visuals.profile([
        visuals.Ratios(name, ink[name], by_the_fastest) for name, by_the_fastest in reversed(ratios(times).items())
    ]) | {"title": TITLES["profile"]}  # fmt: skip


def search(method: Method, ink: Ink, quantity: str = "loss") -> dict[str, Figure]:
    """What one method tried: its trials in parallel coordinates, and their curves by learning rate."""
    figures = {"search": _parallel(method, ink, quantity), "by-rate": _by_rate(method, quantity)}
    return {name: figure | {"title": TITLES[name]} for name, figure in figures.items() if figure is not None}


def _parallel(method: Method, ink: Ink, quantity: str) -> Figure | None:
    """None where it has fewer than two hyperparameters to search."""
    ranges = {name: (min(low, *at), max(high, *at)) for name, (low, high) in method.space.items()
              if low < high and (at := [p.hyper[name] for p in method.tried])}  # fmt: skip
    if len(ranges) < 2:
        return None
    return visuals.parallel([p.hyper for p in method.tried], [p.result.final for p in method.tried], ranges,
                             f"validation {quantity}", ink)  # fmt: skip


def _by_rate(method: Method, quantity: str) -> Figure | None:
    """None where it has one rate."""
    rates, losses = _points(method) if method.tried else ([], [])
    if len(set(rates)) < 2:
        return None
    found = [visuals.Shade(p.hyper["lr"], p.result.step, p.result.valid) for p in method.tried]
    return visuals.shades(found, losses.index(min(losses)), "lr", "step", f"validation {quantity}")


def looks(inside: Inside) -> dict[str, Figure]:
    """What happens inside one method: histograms of gradients and updates, and two ratios for each layer."""
    at = inside.histogram_step
    x = [*at, at[-1] + (at[-1] - at[-2] if len(at) > 1 else 1)]
    figures: dict[str, Figure] = {}
    for name, counts in (("gradients", inside.gradients), ("updates", inside.updates)):
        used = [j for j in range(len(counts[0])) if any(sample[j] for sample in counts)] or [0]
        edges = [2.0 ** (inside.low + j) for j in range(used[0], used[-1] + 2)]
        shares = [[n / 10 for n in sample[used[0] : used[-1] + 1]] for sample in counts]
        size = {"gradients": "|gradient|", "updates": "|update|"}[name]
        figures[name] = visuals.heat(x, edges, shares, ("step", size, "% of numbers"), most=25)
    for name, part, title in (
        ("ratio", inside.ratio, "‖Δw‖ / ‖w‖"),
        ("effective", inside.effective_lr, "effective lr ‖Δw‖ / ‖g‖"),
    ):
        lines = [
            visuals.Line(
                f"layer {layer}" if layer.isdigit() else layer,
                visuals.ink(i),
                inside.step,
                [[math.nan if v is None else v for v in values]],
            )
            for i, (layer, values) in enumerate(zip(inside.layers, part, strict=True))
        ]
        figures[name] = visuals.curves(lines[::-1], "step", title)
        figures[name]["layout"] |= {"showlegend": True}
    return {name: figure | {"title": TITLES[name]} for name, figure in figures.items()}


def _learning(
    outcome: Outcome, alive: Sequence[Method], ink: Mapping[str, Ink], part: str, title: str, targets: dict[str, float]
) -> Figure:
    """Curves at the best point, the leader drawn last, so on top."""
    lines = []
    for method in alive[::-1]:
        step, runs = _aligned(method, part)
        units = {"epoch": outcome.facts.epochs / outcome.facts.steps}
        if all(math.isfinite(m.time.whole) for m in alive):
            units["second"] = method.time.whole / 1e3
        lines.append(visuals.Line(method.name, ink[method.name], step, runs, units))
    return lit(visuals.curves(lines, "step", title, targets))


def lit(figure: Figure) -> Figure:
    """The best stands out: it is drawn last."""
    return figure | {"lit": figure["data"][-1]["legendgroup"]} if figure["data"] else figure


def _aligned(method: Method, part: str) -> tuple[list[int], list[list[float]]]:
    """The steps of the longest run, and all runs; one that diverged ends early and goes on as nan."""
    step = max((r.step for r in method.tuned), key=len)
    return step, [getattr(r, part) + [math.nan] * (len(step) - len(r.step)) for r in method.tuned]


def _batch_steps(outcome: Outcome, ink: Mapping[str, Ink]) -> Figure:
    """To the target of the main comparison, whatever the batch."""
    sizes, target = _sizes(outcome), -math.inf if outcome.aim is None else outcome.aim
    lines = []
    for name in [m.name for m in outcome.methods[::-1]]:
        there = [next(m for m in o.methods if m.name == name) for o in sizes]
        seeds = zip(*(steps_of_each(m.tuned, target) for m in there), strict=True)
        lines.append(visuals.Line(name, ink[name], [o.facts.task.batch for o in sizes], [list(run) for run in seeds]))
    figure = visuals.curves(lines, "examples a step", "steps to the target")
    for trace in figure["data"]:
        if trace["name"] in ink:  # a mean: seen between two gaps too
            drawn = ink[trace["name"]]
            trace |= {"mode": "lines+markers", "marker": {"symbol": drawn.marker, "size": 7, "color": drawn.colour}}
    return _ticked(figure, [o.facts.task.batch for o in sizes])


def _batch_loss(outcome: Outcome) -> Figure:
    """Of the method that is best in the main comparison, its first seed: losses of batches, and how far they spread."""
    found = []
    for i, o in enumerate(_sizes(outcome)):
        method = next(m for m in o.methods if m.name == outcome.methods[0].name)
        one = method.tuned[0]
        epochs = [s * o.facts.epochs / o.facts.steps for s in one.step]
        ends = [[x + side * d for x, d in zip(one.train, one.deviation, strict=True)] for side in (-1, 1)]
        found.append(visuals.Band(f"batch {o.facts.task.batch}", visuals.ink(i), epochs, one.train, *ends))
    figure = visuals.bands(found[::-1], "epoch", "training loss", "less a deviation", "and a deviation")
    figure["layout"] |= {"showlegend": True}
    return figure


def _sizes(outcome: Outcome) -> list[Outcome]:
    """The comparisons at all batch sizes, smallest first."""
    return sorted((outcome, *outcome.sweep), key=lambda o: o.facts.task.batch)


def _targets(outcome: Outcome) -> dict[str, float]:
    named = {"target": outcome.target, "easy target": outcome.easy_target}
    return {name: value for name, value in named.items() if value is not None}


def _points(method: Method) -> tuple[list[float], list[float]]:
    """The rates tried, and the final validation loss at each."""
    return [p.hyper["lr"] for p in method.tried], [p.result.final for p in method.tried]


def _scan(method: Method, ink: Mapping[str, Ink]) -> visuals.Scan:
    lrs, losses = _points(method)
    chosen = min(range(len(losses)), key=losses.__getitem__)
    return visuals.Scan(method.name, ink[method.name], lrs, [[x] for x in losses], chosen, envelope(lrs, losses))


def _width(method: Method, ink: Mapping[str, Ink]) -> visuals.Width | None:
    lrs, losses = _points(method)
    found = usable(lrs, losses)
    return found and visuals.Width(
        method.name, ink[method.name], method.space.get("lr", (min(lrs), max(lrs))), (found.low, found.high),
        lrs[losses.index(min(losses))], str(found),
    )  # fmt: skip


def _best_of(methods: Sequence[Method], ink: Mapping[str, Ink], quantity: str) -> Figure | None:
    """A trial that diverged counts as the loss before its first step: who meets one is left with that. None where
    nothing is a number."""
    lines = []
    for method in methods[::-1]:
        runs = [p.result for p in method.tried]
        losses = [x if math.isinf(r.final) else r.final for r, x in zip(runs, starts(runs), strict=True)]
        if not all(map(math.isfinite, losses)):
            continue
        low, high = band(losses)
        k = list(range(1, len(losses) + 1))
        lines.append(visuals.Band(method.name, ink[method.name], k, best_of(losses), low, high))
    if not lines:
        return None
    figure = visuals.bands(lines, "trials of the search, k", f"validation {quantity} of the best", "2.5 %", "97.5 %")
    return lit(_ticked(figure, [2**i for i in range(8)]))


def _ticked(figure: Figure, at: Sequence[int]) -> Figure:
    """With x on a logarithmic scale, labelled at these numbers."""
    ticks = {"tickmode": "array", "tickvals": list(at), "ticktext": list(map(str, at))}
    figure["layout"]["xaxis"] |= {"type": "log", **ticks}
    return figure
