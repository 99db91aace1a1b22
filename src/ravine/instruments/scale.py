"""Do activations and gradients keep their scale through a model, layer by layer?"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import exp, isfinite, log
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ravine.instruments.columns import columns
from ravine.instruments.initialize import LAYERS
from ravine.loop.feed import Forward, Loss, plain, run


@dataclass(frozen=True)
class Scale:
    """What came out of one layer, and the gradient with respect to it."""

    layer: str
    kind: str
    weighs: bool  # a linear layer or convolution: of these the course is taken
    varies: bool  # from example to example
    mean: float
    std: float
    gradient: float | None  # per example


@dataclass(frozen=True)
class ScaleReport:
    """What `check_scale` found: `rows`, and `problems` in words; as a string a table with them below."""

    rows: tuple[Scale, ...]
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        head = ("layer", "mean", "std", "gradient")
        rows = [
            (
                f"{x.layer} ({x.kind})",
                f"{x.mean:.2g}",
                f"{x.std:.2g}",
                "" if x.gradient is None else f"{x.gradient:.2g}",
            )
            for x in self.rows
        ]
        return "\n".join([columns([head, *rows]), *self.problems])


def check_scale(
    model: nn.Module, batch: Any, loss: Loss | None = None, *, forward: Forward | None = None, limit: float = 30.0
) -> ScaleReport:
    """Run forward and backward once on a copy, and say where activations or gradients vanish or explode with depth.

        >>> import torch, ravine
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(*[x for _ in range(8) for x in (nn.Linear(64, 64), nn.Tanh())])
        >>> for layer in model[::2]:
        ...     _ = nn.init.normal_(layer.weight, std=0.01), nn.init.zeros_(layer.bias)
        >>> for problem in ravine.instruments.check_scale(model, torch.randn(32, 64)).problems:
        ...     print(problem)
        activations vanish: 2e-08 of what they were, from 0 (Linear) to 14 (Linear)
        gradients vanish: 2e-08 of what they were, from 14 (Linear) to 0 (Linear)

    For each module without others in it: mean and standard deviation of what comes out, and the norm of the gradient
    with respect to it, for an example (√(Σ g² / examples), the first dimension being the examples). Norms, not the std
    of single gradients, because a pooling or a stride leaves many elements with little each, and nothing is lost.

    The course through the linear layers and convolutions is fitted by a straight line, log std (and log gradient) over
    their number, as in figures 6 and 7 of Glorot & Bengio; its change from the first to the last is the factor that is
    told. So a residual branch or a norm, which start small or large in every block, is not taken for a trend, and
    three layers at least are needed. Where the factor is beyond `limit`, it is a problem. So are a layer whose output
    is the same for all examples or not finite, and gradients that are zero everywhere or not finite.

    model: is not changed; it runs in the mode that it is in.
    batch, loss, forward: as for `check_gradients`. Without a loss, the gradient is that of a random weighted sum of all
        outputs, so that only the way back is measured.
    limit: 30 passes He's and Glorot's initialization with ReLU, leaky ReLU and ELU to a depth of 50, with GELU, SiLU,
        Mish and tanh to some ten layers (deeper, these do explode), residual networks and transformers; it catches
        torch's own initial weights, `kaiming_uniform_` with √5, in ReLU networks from about five layers.

    Glorot & Bengio 2010, section 4.2    https://proceedings.mlr.press/v9/glorot10a.html
    He, Zhang, Ren & Sun 2015, section 2.2    https://arxiv.org/abs/1502.01852
    """
    twin = deepcopy(model)
    calls: list[dict[str, Any]] = []
    for name, x in twin.named_modules():
        if not any(True for _ in x.children()):
            x.register_forward_hook(partial(_seen, calls, name or "the model itself"))
    devices = {x.device.index for x in model.parameters() if x.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)), torch.enable_grad():
        outs = tree_leaves(plain(run(twin, batch, loss, forward)))
        outs = [x for x in outs if isinstance(x, Tensor) and x.is_floating_point() and x.requires_grad]
        if not outs:
            raise ValueError(
                "check_scale: nothing that comes out has a gradient; is it all frozen, or under no_grad()?"
            )
        sums = [torch.ones_like(x) if x.numel() == 1 else torch.randn_like(x) for x in outs]
        torch.autograd.backward(outs, sums)
    rows = tuple(
        Scale(x["layer"], x["kind"], x["weighs"], x["varies"], x["mean"], x["std"], x.get("gradient")) for x in calls
    )
    return ScaleReport(rows, (*_broken(rows), *_course(rows, limit)))


def _seen(calls: list[dict[str, Any]], name: str, module: nn.Module, args: Any, out: Any) -> None:
    """Note what comes out of a layer, and when it arrives its gradient."""
    tensors = [x for x in tree_leaves(out) if isinstance(x, Tensor) and x.is_floating_point() and x.numel()]
    if not tensors:
        return
    x = tensors[0]
    z = x.detach().double()
    note: dict[str, Any] = {"layer": name, "kind": type(module).__name__, "weighs": isinstance(module, LAYERS)}
    note["varies"] = x.ndim == 0 or x.shape[0] == 1 or bool((z != z[:1]).any())
    calls.append(note | {"mean": z.mean().item(), "std": z.std(correction=0).item()})
    if x.requires_grad:
        note, examples = calls[-1], x.shape[0] if x.ndim else 1

        def arrived(g: Tensor) -> None:
            note["gradient"] = (g.detach().double().square().sum() / examples).sqrt().item()

        x.register_hook(arrived)


def _broken(rows: tuple[Scale, ...]) -> list[str]:
    """What is wrong whatever the depth; of each kind the first, which the others follow from."""
    ends = [x for x in reversed(rows) if x.gradient is not None]
    found = {
        "not finite comes out of": [x for x in rows if not isfinite(x.mean + x.std)],
        "the same for every example comes out of": [x for x in rows if not x.varies],
        "a gradient that is not finite arrives at": [x for x in ends if not isfinite(x.gradient or 0)],
        "no gradient but zero arrives at": [x for x in ends if x.gradient == 0],
    }
    return [f"{what} {bad[0].layer} ({bad[0].kind})" for what, bad in found.items() if bad]


def _course(rows: tuple[Scale, ...], limit: float) -> list[str]:
    """Where a line through the logarithms over depth leads too far."""
    weighing = [x for x in rows if x.weighs]
    out = []
    for what, order, sizes in (
        ("activations", weighing, [x.std for x in weighing]),
        ("gradients", weighing[::-1], [x.gradient or 0.0 for x in weighing[::-1]]),
    ):
        kept = [(x, size) for x, size in zip(order, sizes, strict=True) if size > 0 and isfinite(size)]
        if len(kept) < 3:
            continue
        logs, middle = [log(size) for _, size in kept], (len(kept) - 1) / 2
        steepness = sum((i - middle) * y for i, y in enumerate(logs)) / sum((i - middle) ** 2 for i in range(len(kept)))
        change = steepness * (len(kept) - 1)
        if abs(change) > log(limit):
            first, last = (f"{x.layer} ({x.kind})" for x in (kept[0][0], kept[-1][0]))
            factor = f"{exp(change):.0e} of" if change < 0 else f"{exp(change):.0e} times"
            verb = "vanish" if change < 0 else "explode"
            out.append(f"{what} {verb}: {factor} what they were, from {first} to {last}")
    return out
