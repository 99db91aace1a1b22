"""Are the gradients right? Backward against differences of forward, layer by layer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from ravine.instruments.columns import columns
from ravine.instruments.differences import compare
from ravine.loop.feed import Forward, Loss, plain, run

EPS = torch.finfo(torch.float64).eps
LOSS = "(loss)"  # the name of what is around the model
INSIDE = "all inside"  # every parameter of the layers that a layer holds


@dataclass(frozen=True)
class Row:
    """One gradient: of an input or a parameter, in the call of one layer."""

    layer: str
    kind: str
    of: str
    at: str  # the coordinates, or "" for a random direction through all elements
    backward: float
    differences: float
    error: float  # relative
    verdict: str  # "right", "wrong", "unused" or "undecided"

    def cells(self) -> tuple[str, ...]:
        numbers = (f"{self.backward:.6g}", f"{self.differences:.6g}", f"{self.error:.0e}")
        return (shown(self.layer, self.kind), f"{self.of}[{self.at}]" if self.at else self.of, *numbers, self.verdict)


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found. `rows` has the worst of each gradient; as a string it is a table."""

    rows: tuple[Row, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the layers whose backward is wrong; the model itself is "", its loss "(loss)"."""
        bad = list(dict.fromkeys(row.layer for row in self.rows if row.verdict == "wrong"))
        inner = [name for name in bad if name != LOSS]
        deepest = [a for a in inner if not any(b != a and inside(b, a) for b in inner)]
        return tuple(deepest or bad)

    def __str__(self) -> str:
        head = ("layer", "gradient of", "backward", "differences", "relative error", "")
        return columns([head, *(row.cells() for row in self.rows)])


class GradientError(AssertionError):
    """A gradient is wrong; `report` has all of them."""

    report: GradientReport

    def __init__(self, report: GradientReport):
        self.report = report
        bad = [row for row in report.rows if row.verdict == "wrong" and row.layer in report.wrong]
        kinds = {row.layer: shown(row.layer, row.kind) for row in bad}
        lines = [f"the backward of {' and of '.join(kinds.values())} is not the derivative of its forward"]
        lines.append(str(GradientReport(tuple(bad))))
        if any(row.of == INSIDE for row in bad):
            lines.append("The layers inside are right, each by itself: look at what its own forward does with them.")
        if any(row.backward == 0 != row.differences for row in bad):
            lines.append("Where backward says 0, the way may be cut: detach(), .data, no_grad(), item()?")
        lines.append("If it is meant so, as in a straight-through estimator: skip=[name of the layer].")
        super().__init__("\n".join(lines))


def check_gradients(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    forward: Forward | None = None,
    samples: int = 4,
    tolerance: float = 1e-5,
    seed: int = 0,
    skip: Sequence[str] = (),
) -> GradientReport:
    """Compare every layer's backward with central differences of its forward; raise and name the layer that is wrong.

        (f(w + h d) − f(w − h d)) / 2h  =  ⟨∇f(w), d⟩

        >>> import torch, ravine
        >>> from torch import nn
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         return g * ctx.saved_tensors[0]  # the 2 was forgotten
        >>> class Squared(nn.Module):
        ...     def forward(self, x):
        ...         return Square.apply(x)
        >>> model = nn.Sequential(nn.Linear(3, 4), Squared(), nn.Linear(4, 1))
        >>> batch = torch.randn(8, 3), torch.randn(8, 1)
        >>> try:
        ...     ravine.check_gradients(model, batch, nn.functional.mse_loss)
        ... except ravine.instruments.GradientError as error:
        ...     print(error.report.wrong)
        ('1',)

    The model is copied in float64 and runs once. Each layer (every module that is called) is then looked at for itself,
    with the inputs it had, a random weighted sum of its outputs for f, and for d a random direction through each
    parameter and input that gets a gradient, and `samples` single coordinates of it, half of them where the gradient is
    large. So a layer below a wrong one, whose gradient is wrong through no fault of its own, is not accused; modules
    that hold others are, where none of those is wrong. It takes one to two hundred forward passes, however many
    layers there are. Last comes the loss, along a direction through all parameters.

    h is 10⁻⁵ of the weights' size, and where that does not decide 10⁻⁸ to 10⁻³. A gap that a kink such as ReLU's
    explains, since the slopes to both sides differ by as much, or that changes with h, is undecided and not counted.
    Dropout and the like draw the same numbers in each run, batch norm keeps its running statistics. The copy's weights
    are moved by a hundredth of their size first: what begins as zero (biases, the last layer of a branch) hides errors.
    The model itself, its buffers and random numbers are as before.

    model: in train() or eval() mode as it should be checked.
    batch: a tensor, (x, y, …), or a mapping that is given as keywords; small: a few examples do.
    loss: loss(model(x), y, …), for a mapping loss(model(**batch), batch). None takes all outputs.
    forward: forward(model, batch), where the model wants to be called otherwise; returns its outputs or the loss.
    samples: single coordinates of each parameter and input.
    tolerance: the relative error that passes; correct layers stay below 10⁻⁶. What rounds to float32 inside is given as
        much more as its differences are unsure by.
    seed: of directions, coordinates and of the random numbers in the model.
    skip: names of modules that are meant to differ from the derivative. They and all that hold them, the loss
        too, are left out.

    Returns a GradientReport; raises GradientError with it where a gradient is wrong, and ValueError where two runs of
    the model differ. Only the first call of each module is looked at by itself; others count in what holds it. The row
    of an Embedding's padding_idx gets no gradient, and that is right.

    torch.autograd.gradcheck does this for one function and every coordinate; a module wants random directions.
    """
    if unknown := set(skip) - {name for name, _ in model.named_modules()}:
        raise ValueError(
            f"check_gradients: skip has {sorted(unknown)}, which this model has no modules of that name for"
        )
    with repeatable(model, seed) as again:
        double = deepcopy(model)
        double._apply(widened)
        batch = tree_map(lambda x: widened(x.detach()) if isinstance(x, Tensor) else x, plain(batch))
        if isinstance(loss, nn.Module):
            loss = deepcopy(loss)._apply(widened)
        dice = torch.Generator().manual_seed(seed)
        for p in double.parameters():
            real(p.detach()).add_(0.01 * rms(real(p.detach())) * draw(real(p), dice))

        calls: dict[str, Call] = {}
        hooks = [
            x.register_forward_pre_hook(partial(record, calls, dice, name), with_kwargs=True)
            for name, x in double.named_modules()
        ]
        whole = Call(LOSS, double, lambda: run(double, batch, loss, forward), (), {}, dice)
        again()
        try:
            whole.call()
        finally:
            for hook in hooks:
                hook.remove()
        sites = [*calls.values()]
        if loss is not None or forward is not None or "" not in calls:
            sites.append(whole)
        found: dict[str, list[Row]] = {}
        for site in sorted(
            sites, key=lambda x: -x.name.count(".") - bool(x.name)
        ):  # what cannot be run twice is then named where it is deepest
            if any(inside(name, site.name) or inside(site.name, name) for name in skip):
                continue
            within = [x for name, x in calls.items() if inside(name, site.name) and name != site.name]
            try:
                found[site.name] = [*Look(site, within, again, dice, samples, tolerance).rows()]
            except Exception as error:
                error.add_note(f"check_gradients: in {shown(site.name, site.kind)}, called alone, in a float64 copy")
                raise
    report = GradientReport(tuple(row for site in sites for row in found.get(site.name, ())))
    if report.wrong:
        raise GradientError(report)
    return report


@dataclass
class Call:
    """A call of a module, which can be repeated.

    Inputs that get a gradient are made smaller by up to a hundredth: equal neighbours are a kink of max-pooling.
    """

    name: str
    module: nn.Module
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dice: torch.Generator
    inputs: dict[int, Tensor] = field(default_factory=dict)  # by place: those that got a gradient, to be moved

    def __post_init__(self):
        flat, self.form = tree_flatten((self.args, self.kwargs))
        kept: dict[int, Tensor] = {}  # a tensor that is given twice stays one
        for x in flat:
            if isinstance(x, Tensor) and id(x) not in kept:
                kept[id(x)] = x.detach().clone()
                if x.requires_grad:
                    shrink = 1 - 0.01 * torch.rand(x.shape, generator=self.dice)
                    kept[id(x)] = kept[id(x)].mul_(shrink.to(x.device)).requires_grad_()
        self.flat = [kept[id(x)] if isinstance(x, Tensor) else x for x in flat]
        places = {id(x): i for i, x in reversed([*enumerate(self.flat)])}
        self.inputs = {
            i: x for i, x in enumerate(self.flat) if isinstance(x, Tensor) and x.requires_grad and places[id(x)] == i
        }
        self.buffers = [
            (owner, name, x.clone())
            for owner in self.module.modules()
            for name, x in owner._buffers.items()
            if x is not None
        ]

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    def call(self) -> list[Tensor]:
        """The real numbers that come out; inputs are given as copies, since a layer may write into them."""
        for owner, name, x in self.buffers:
            owner._buffers[name] = x.clone()
        given: dict[int, Tensor] = {}
        flat = [given.setdefault(id(x), x.clone()) if isinstance(x, Tensor) else x for x in self.flat]
        args, kwargs = tree_unflatten(flat, self.form)
        with torch.enable_grad():
            out = self.function(*args, **kwargs)
        found = [x for x in tree_leaves(plain(out)) if isinstance(x, Tensor)]
        return [real(x) for x in found if x.is_floating_point() or x.is_complex()]


def record(calls: dict[str, Call], dice: torch.Generator, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
    """Keep a module's first call that has gradients."""
    if name not in calls and torch.is_grad_enabled():
        calls[name] = Call(name, module, module, args, kwargs, dice)


class Look:
    """At one call: its gradients by backward, and beside them the differences."""

    def __init__(
        self,
        site: Call,
        within: list[Call],
        again: Callable[[], None],
        dice: torch.Generator,
        samples: int,
        tolerance: float,
    ):
        self.site, self.again, self.dice, self.samples, self.tolerance = site, again, dice, samples, tolerance
        theirs = {id(p) for x in within for p in x.module.parameters()}
        params = [(name, p) for name, p in site.module.named_parameters() if p.requires_grad and p.numel()]
        several = len(site.inputs) > 1
        self.own = [(f"input {i}" if several else "input", x) for i, x in site.inputs.items() if x.numel()]
        self.own += [(name, p) for name, p in params if id(p) not in theirs]
        self.held = [(name, p) for name, p in params if id(p) in theirs]
        self.deaf = {  # rows that get no gradient on purpose
            id(x.weight): x.padding_idx
            for x in site.module.modules()
            if isinstance(x, nn.Embedding | nn.EmbeddingBag) and x.padding_idx is not None
        }

    def rows(self) -> Iterator[Row]:
        tensors = dict.fromkeys(x for _, x in self.own + self.held)
        for x in tensors:
            x.grad = None
        self.again()
        outs = self.site.call()
        self.places = [i for i, x in enumerate(outs) if x.requires_grad and x.numel()]
        outs = [outs[i] for i in self.places]
        if not outs or not tensors:
            return
        only = len(outs) == 1 and outs[0].numel() == 1  # a loss is taken as it is
        self.finite = [x.detach().isfinite() for x in outs]
        self.sums = [
            (torch.ones_like(x) if only else draw(x, self.dice)).where(ok, 0.0)
            for x, ok in zip(outs, self.finite, strict=True)
        ]
        self.rounding = 10 * EPS * self.terms(outs).abs().sum().item()
        torch.autograd.backward(outs, self.sums)
        self.grads = {x: None if x.grad is None else real(x.grad.to_dense().resolve_conj()) for x in tensors}
        self.here = self.value()
        if not (self.here - self.value()).abs().sum().item() <= self.rounding:
            raise ValueError(
                f"check_gradients: two runs of {shown(self.site.name, self.site.kind)} with the same numbers differ; "
                "does it keep something from call to call, or draw random numbers that torch.manual_seed does not set?"
            )
        for name, x in self.own:
            lines = [self.line([x])]
            if x.numel() > 1:
                lines += [self.coordinate(x, i) for i in self.chosen(x)]
            yield self.worst(name, [self.along(line) for line in lines], self.grads[x] is None)
        if self.held:
            row = self.worst(INSIDE, [self.along(self.line([x for _, x in self.held]))], False)
            yield row
            if row.verdict == "wrong" and len(self.held) > 1:
                for name, x in self.held:
                    yield self.worst(name, [self.along(self.line([x]))], False)

    def value(self) -> Tensor:
        """f, as the terms that are added up."""
        self.again()
        outs = self.site.call()
        return self.terms([outs[i] for i in self.places])

    def terms(self, outs: list[Tensor]) -> Tensor:
        """The outputs times their weights, in one row; infinities, as in masks, count for nothing."""
        parts = zip(outs, self.finite, self.sums, strict=True)
        return torch.cat([(x.detach().where(ok, 0.0) * c).flatten() for x, ok, c in parts])

    def line(self, tensors: list[Tensor]) -> dict[Tensor, Tensor]:
        """A random direction through all elements, as large as they are.

        Zeros of an input stay: they come from ReLU or a mask, and are kinks of what follows.
        """
        out = {}
        for x in tensors:
            start = real(x.detach())
            d = torch.where(draw(start, self.dice) < 0, -1.0, 1.0) * rms(start)
            if not isinstance(x, nn.Parameter) and start.any():
                d[start == 0] = 0.0
            if (row := self.deaf.get(id(x))) is not None:
                d[row] = 0.0
            out[x] = d
        return out

    def coordinate(self, x: Tensor, i: int) -> dict[Tensor, Tensor]:
        """A single element, as far as it or all are large."""
        flat = real(x.detach()).reshape(-1)
        d = torch.zeros_like(flat)
        d[i] = max(abs(flat[i].item()), rms(flat)) if flat[i].isfinite() else 1.0
        return {x: d.view(real(x).shape)}

    def chosen(self, x: Tensor) -> list[int]:
        """Coordinates: half of them drawn in proportion to the gradient, the others evenly."""
        open_ = torch.ones_like(real(x.detach()))
        if (row := self.deaf.get(id(x))) is not None:
            open_[row] = 0.0
        g = self.grads[x]
        out: dict[int, None] = {}
        for weight, count in ((open_ if g is None else g.abs() * open_, self.samples // 2), (open_, self.samples)):
            chances = weight.flatten() / draw(weight.flatten(), self.dice, "exponential")
            best = chances.topk(min(self.samples, chances.numel()))
            picks = [i for i, c in zip(best.indices.tolist(), best.values.tolist(), strict=True) if c > 0]
            out |= dict.fromkeys(picks[: max(0, count - len(out))])
        return [*out]

    def along(self, line: dict[Tensor, Tensor]) -> tuple[str, float, float, float, str]:
        """Where, by backward, by differences, the relative error, and the verdict."""
        starts = {x: x.detach().clone() for x in line}

        def f(t: float) -> Tensor:
            for x, d in line.items():
                real(x.detach()).copy_(real(starts[x]) + t * d)
            return self.value()

        products = [self.grads[x] * d for x, d in line.items() if self.grads[x] is not None]  # pyright: ignore
        backward = sum(x.sum().item() for x in products)
        typical = sum(x.square().sum().item() for x in products) ** 0.5  # of a random direction
        try:
            n, verdict = compare(f, self.here, backward, typical, self.rounding, self.tolerance)
        finally:
            for x, start in starts.items():
                x.detach().copy_(start)
        size = max(abs(backward), abs(n), typical)
        error = abs(backward - n) / size if verdict == "wrong" or size > 1e8 * self.rounding else 0.0  # both are zero
        d = next(iter(line.values()))
        if len(line) > 1 or d.count_nonzero() != 1:
            return "", backward, n, error, verdict
        step = d.sum().item()
        return where(d), backward / step, n / step, error, verdict

    def worst(self, of: str, lines: list[tuple[str, float, float, float, str]], unused: bool) -> Row:
        """One row of several lines: a wrong one first, then the least exact."""
        order = ("undecided", "right", "wrong")
        at, backward, differences, error, verdict = max(lines, key=lambda x: (order.index(x[4]), x[3]))
        verdict = "unused" if unused and verdict == "right" else verdict
        return Row(self.site.name, self.site.kind, of, at, backward, differences, error, verdict)


def where(d: Tensor) -> str:
    """The place of the one element of d that is not zero; of a complex number's part, 0 or 1 stands last."""
    return ", ".join(str(i) for i in d.nonzero()[0].tolist())


def inside(name: str, outer: str) -> bool:
    """Whether a module is another or stands in it."""
    return outer in ("", name, LOSS) or name.startswith(f"{outer}.")


def shown(name: str, kind: str) -> str:
    """A layer as it is called in reports."""
    return f"{name or 'the model itself'} ({kind})" if name != LOSS else "the loss"


def widened(x: Tensor) -> Tensor:
    """In float64 or complex128; whole numbers as they are."""
    return x.to(torch.complex128) if x.is_complex() else x.double() if x.is_floating_point() else x


def real(x: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones, in the same memory."""
    return torch.view_as_real(x) if x.is_complex() else x


def rms(x: Tensor) -> float:
    """The size of the elements, 1 where all are zero."""
    x = x[x.isfinite()]
    return x.square().mean().sqrt().item() or 1.0 if x.numel() else 1.0


def draw(like: Tensor, dice: torch.Generator, law: str = "normal") -> Tensor:
    """Random numbers of the same shape, drawn on the CPU so that every device has the same."""
    x = torch.empty(like.shape, dtype=like.dtype)
    return (x.normal_(generator=dice) if law == "normal" else x.exponential_(generator=dice)).to(like.device)


@contextmanager
def repeatable(model: nn.Module, seed: int) -> Iterator[Callable[[], None]]:
    """Gives a function that begins all random numbers again; what they were before comes back in the end."""

    devices = sorted({x.device.index for x in model.parameters() if x.device.type == "cuda"})
    generators = [torch.default_generator, *(torch.cuda.default_generators[i] for i in devices)]

    def again() -> None:
        for generator in generators:  # torch.manual_seed takes a millisecond, for devices that are not there
            generator.manual_seed(seed)
        random.seed(seed)

    before, dtype = random.getstate(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of what forward makes itself
    try:
        with torch.random.fork_rng(devices):
            yield again
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(before)
