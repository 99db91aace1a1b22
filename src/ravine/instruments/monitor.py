"""The monitor: looks at every tenth step of a run, and says in words what looks wrong."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ravine.instruments import tensorboard
from ravine.instruments.findings import PERSISTS, SPIKES, Finding, growing_loss, judge, not_finite
from ravine.instruments.histogram import EDGES
from ravine.instruments.origin import finite, origin
from ravine.instruments.reading import Reading
from ravine.instruments.sample import Layer, Sample, divided, layers_of, length, trained
from ravine.instruments.terminal import table
from ravine.instruments.units import Units
from ravine.loop.hook import Hook
from ravine.optimizer import Optimizer
from ravine.optimizer.metrics import finite as gradients_finite
from ravine.optimizer.metrics import last
from ravine.rule.hyper import integer
from ravine.strategies.strategy import driven

KEPT = 1000  # samples at most: a picture is not wider. Of longer runs every second, fourth … sample stays


class Monitor:
    """Looks at a training run and says what looks wrong, where, and what to try; of a healthy run it says nothing.

        >>> import torch, ravine
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
        >>> opt = ravine.Adam(model.parameters(), lr=1e-2)
        >>> monitor = ravine.Monitor(model, opt)
        >>> for step in range(50):
        ...     x = torch.randn(64, 8)
        ...     loss = (model(x).squeeze(1) - x.sum(1)).square().mean()
        ...     opt.zero_grad()
        ...     loss.backward()
        ...     opt.step()
        ...     monitor.step(loss)
        >>> monitor.findings
        []
        >>> monitor.close()

    Call `step(loss)` after each `opt.step()`, before gradients are set to None. The first step and then each `every`-th
    is a sample: of every layer, that is a module with parameters of its own,

        ‖g‖, ‖w‖, ‖Δw‖             of gradient, weights and update
        ‖Δw‖ / ‖w‖                 the part of itself that a step changes
        ‖Δw‖ / ‖g‖                 the effective lr
        counts over ⌊log₂|x|⌋      log-histograms of gradients and updates, of 4096 numbers of each tensor
        dead units                 of nn.ReLU, ReLU6 and Threshold: those that have not fired for 500 outputs

    Norms are sums of the compiled pass: `measured=True` is switched on for as long as the monitor looks. With another
    library's optimizer, or where an embedding has sparse gradients, weights are copied in sampled steps instead.

    It finds frozen layers, dead units, spikes of the loss, a learning rate that is too large, and where a NaN comes
    from; `findings.py` has the thresholds with their reasons. When the model's output is not finite, its forward runs
    once more on the same batch before backward can spoil the weights, and the first module that made it is named. On
    the CPU that is the very step. On other devices, where reading a number waits, it is the next sampled one.

    model: what `opt` trains; layers that it does not train are found too.
    opt: an optimizer of ravine, of torch, or a strategy that drives one.
    every: steps from one sample to the next.
    histograms: samples from one with histograms to the next, since they cost most; 0 leaves them out.
    to: a torch.utils.tensorboard.SummaryWriter, or what has its add_scalar and add_histogram_raw.
    tell: is given each finding as a text, once; None says nothing, and `findings` and `report()` still have them.
    """

    def __init__(
        self,
        model: nn.Module,
        opt: torch.optim.Optimizer,
        *,
        every: int = 10,
        histograms: int = 5,
        to: tensorboard.Writer | None = None,
        tell: Callable[[str], object] | None = print,
    ):
        if not isinstance(model, nn.Module) or not isinstance(opt, torch.optim.Optimizer):
            raise TypeError(
                f"Monitor(model, opt) takes a module and an optimizer, not {type(model).__name__} and "
                f"{type(opt).__name__}"
            )
        every, histograms = integer("Monitor: every", every), integer("Monitor: histograms", histograms)
        if every < 1:
            raise ValueError(f"every is {every}; it is the number of steps from one sample to the next, 1 or more")
        self.model, self.opt, self.every, self.histograms = model, driven(opt)[-1], every, histograms
        self.to, self.tell = to, tell
        self.findings: list[Finding] = []
        self.losses = array("d")  # of every step
        self.samples: list[Sample] = []
        self.count = 0  # steps so far
        self._stride, self._sampled, self._judged = 1, 0, 0
        self._recent: deque[Sample] = deque(maxlen=PERSISTS)
        self._pending: list[Tensor] = []  # losses that are still on their way from the device
        self._said: Counter[tuple[str, str]] = Counter()
        self._suspect: tuple[str, str] | None = None  # where an output that is not finite came from
        self._masked = self._running = self._blamed = False
        self._slow = any(p.device.type != "cpu" for p in model.parameters())  # reading a number waits for the device
        self._switched = [g for g in self.opt.param_groups if not g.get("measured", True) and not self._sparse()]
        for group in self._switched:
            group["measured"] = True
        self._units = Units(model)
        self._handles: list[RemovableHandle] = []
        self._root: RemovableHandle | None = model.register_forward_hook(Hook(self._output), with_kwargs=True)
        self._skipped = getattr(self.opt, "skipped", 0)
        self._arm()

    # what a training loop calls

    def step(self, loss: float | Tensor | None = None) -> None:
        """Call after each `opt.step()`. loss: of this step, a number; give it in every step or in none."""
        if self._root is None:
            raise RuntimeError("this Monitor is closed; make a new one")
        self.count += 1
        sampled = bool(self._handles)
        if loss is not None:
            if self._slow and isinstance(loss, Tensor):
                self._pending.append(loss.detach())
            else:
                self.losses.append(loss.item() if isinstance(loss, Tensor) else loss)
        if sampled or not self._slow:
            self.losses.extend(x.item() for x in self._pending)
            self._pending = []
            self._not_finite(loss is not None, sampled)
        if sampled:
            self._disarm()
            self._sample()
        if (self.count + 1) % self.every == 0:
            self._arm()

    def report(self) -> list[Finding]:
        """Print the last sample as a table and all findings, or that nothing looks wrong; returns the findings."""
        self._finish()
        lines = [table(self.layers, self.samples[-1])] if self.samples else []
        print("\n".join([*lines, *(map(str, self.findings) if self.findings else ["nothing looks wrong"])]))
        return self.findings

    def close(self) -> None:
        """Take all hooks away and switch `measured` back; what was seen stays."""
        self._finish()
        self._disarm()
        if self._root is not None:
            self._root.remove()
            self._root = None
        for group in self._switched:
            group["measured"] = False
        self._switched = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what it has seen

    @property
    def history(self) -> dict[str, Any]:
        """All samples as lists, for pictures and JSON: numbers are [sample][layer], histograms, of the samples
        at "histogram_step" only, [sample][layer][bin].

        "loss" has every step. "edges" are the sizes from which the bins count. "dead" is {module: shares}.
        """
        kinds = ("lr", "grad_norm", "update_norm", "weight_norm", "ratio", "effective_lr")
        counted = [sample for sample in self.samples if sample.updates is not None]
        names = dict.fromkeys(name for sample in self.samples for name in sample.dead)
        share = {name: [divided(*sample.dead.get(name, (0, 0))) for sample in self.samples] for name in names}
        return {
            "every": self.every,
            "loss": self.losses.tolist(),
            "layers": [layer.name for layer in self.layers],
            "step": [sample.step for sample in self.samples],
            **{kind: [getattr(sample, kind) for sample in self.samples] for kind in kinds},
            "edges": list(EDGES),
            "histogram_step": [sample.step for sample in counted],
            "gradients": [None if (x := sample.gradients) is None else x.tolist() for sample in counted],
            "updates": [None if (x := sample.updates) is None else x.tolist() for sample in counted],
            "dead": share,
            "findings": [vars(finding) for finding in self.findings],
        }

    def save(self, path: str | Path) -> None:
        """Write `history` as JSON; what is NaN or infinite is null there."""
        Path(path).write_text(json.dumps(plain(self.history)) + "\n", encoding="utf-8")

    # a sample

    def _arm(self) -> None:
        """Make the next step a sample."""
        seen = [id(p) for _, p in trained(self.opt)]
        if not hasattr(self, "_places") or seen != self._places:  # the first time, or after add_param_group
            self._places = seen
            old = [layer.name for layer in self.layers] if hasattr(self, "layers") else []
            self.layers: list[Layer] = layers_of(self.model, self.opt)
            if old != [layer.name for layer in self.layers]:
                self.samples, self._stride, self._sampled = [], 1, 0
            self._recent.clear()
            self._reading = Reading(self.opt)
            self._layer_of = torch.zeros(len(seen), dtype=torch.int64)
            for i, layer in enumerate(self.layers):
                self._layer_of[layer.places] = i
            self._versions = [sum(p._version for p in layer.params) for layer in self.layers]
        begin, finish = self._reading.begin, self._reading.finish
        self._reading.arm(self.histograms > 0 and self._sampled % self.histograms == 0)
        self._handles = self._units.watch()
        self._handles += [self.opt.register_step_pre_hook(begin), self.opt.register_step_post_hook(finish)]

    def _disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _sample(self) -> None:
        if not (norms := self._reading.read()):  # the step was skipped
            return
        lrs = [float(group["lr"]) for group in self.opt.param_groups]
        found: dict[str, list[float]] = {"grad_norm": [], "update_norm": [], "weight_norm": []}
        still: list[str] = []
        lr: list[float] = []
        for i, layer in enumerate(self.layers):
            own = {kind: [norms[kind][place] for place in layer.places] for kind in found}
            for kind, parts in own.items():
                found[kind].append(length(parts))
            lr.append(max((lrs[k] for k in layer.groups), default=math.nan))
            still.append(self._still(i, layer, own, lr[-1]))
        sample = Sample(
            self.count,
            lr,
            found["grad_norm"],
            found["update_norm"],
            found["weight_norm"],
            still,
            self._by_layer(self._reading.gradients),
            self._by_layer(self._reading.updates),
            self._units.dead(),
        )
        self._recent.append(sample)
        if self._sampled % self._stride == 0:
            self.samples.append(sample)
        self._sampled += 1
        if len(self.samples) > KEPT:
            self._stride *= 2
            del self.samples[1::2]
        if self.to is not None:
            tensorboard.write(self.to, self.layers, sample, self.losses[-1] if self.losses else None)
        if not self._blamed:  # after a NaN every number is one
            new, self._judged = len(self.losses) - self._judged, len(self.losses)
            for finding in judge(self.layers, self._recent, self.losses, new):
                self._find(finding)

    def _still(self, i: int, layer: Layer, own: dict[str, list[float]], lr: float) -> str:
        """Why a layer did not move, or ""."""
        version = sum(p._version for p in layer.params)
        before, self._versions[i] = self._versions[i], version
        grads = [x for x in own["grad_norm"] if not math.isnan(x)]
        if not any(p.requires_grad for p in layer.params):
            return ""  # frozen on purpose, as what a LoRA adapter stands beside
        if not layer.places:
            return "outside" if version == before else ""
        if not grads:
            return "no gradient"
        if not any(grads):
            return "zero gradient"
        if any(x != 0 for x in own["update_norm"] if not math.isnan(x)):
            return ""
        return "rounded" if lr else "lr 0"

    def _by_layer(self, counts: Tensor | None) -> Tensor | None:
        """Log-histograms of layers from those of parameters."""
        if counts is None:
            return None
        out = torch.zeros(len(self.layers), counts.shape[1], dtype=counts.dtype)
        return out.index_add_(0, self._layer_of, counts.cpu())

    # what is not finite

    def _output(self, model: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        """After each forward of the whole model: is its output finite? If not, find the origin now."""
        if self._running or self._blamed or self._masked or self._suspect is not None:
            return
        if not (model.training and torch.is_grad_enabled()) or (self._slow and not self._handles) or finite(out):
            return
        self._running = True
        try:
            self._suspect = origin(model, args, kwargs)
        finally:
            self._running = False

    def _not_finite(self, told: bool, sampled: bool) -> None:
        """Say where a NaN of this step comes from."""
        if self._blamed:
            return
        loss_finite = not told or math.isfinite(self.losses[-1])
        if told and loss_finite and self._suspect is not None:
            self._suspect, self._masked = None, True  # an output that is meant to be infinite, as masked classes are
        if self._suspect is not None:
            self._finish()
        elif not loss_finite:
            self._blame("", "the loss is not finite, and the outputs of the model are: the loss function makes it")
        elif (names := self._bad_gradients(sampled)) and told:
            last = names[-1]
            many = f" and of {len(names) - 1} parameters before it" * (len(names) > 1)
            self._blame(
                last.rpartition(".")[0] or last,
                f"the loss is finite, and the gradient of '{last}'{many} is not: backward makes it between the output "
                "of this layer and the loss",
            )

    def _bad_gradients(self, sampled: bool) -> list[str]:
        """The parameters, in the model's order, whose gradients are not finite."""
        opt = self.opt
        if isinstance(opt, Optimizer):
            skipped, self._skipped = opt.skipped > self._skipped, opt.skipped
            guarded = skipped and any(group["nonfinite"] != "ignore" for group in opt.param_groups)
            made = last(opt) or ()
            bad = guarded or (bool(made) and not gradients_finite(made))
        else:
            bad = sampled and self._reading.done
        if not bad:
            return []
        return [name for name, p in self.model.named_parameters() if p.grad is not None and not finite(p.grad)]

    def _finish(self) -> None:
        """Say what was found in a forward pass after which no step() was called, as where an exception came."""
        if self._suspect is not None:
            self._blame(*self._suspect)
            self._suspect = None

    def _blame(self, layer: str, seen: str) -> None:
        self._blamed = True
        for finding in growing_loss(self.count, self.losses):
            self._find(finding)
        self._find(not_finite(self.count, layer, seen))

    def _find(self, finding: Finding) -> None:
        """Keep a finding and say it, once for each layer; of spikes the first few."""
        most = SPIKES if finding.rule == "loss spike" else 1
        keys = [(finding.rule, layer) for layer in finding.layers or ("",)]
        new = [key for key in keys if self._said[key] < most]
        self._said.update(new)
        if new:
            self.findings.append(finding)
            if self.tell is not None:
                self.tell(str(finding))

    def _sparse(self) -> bool:
        """True if a gradient will be sparse: the pass sums over whole ones only."""
        return any(getattr(module, "sparse", False) is True for module in self.model.modules())


def plain(tree: Any) -> Any:
    """A tree in which every number is one that JSON has."""
    if isinstance(tree, dict):
        return {k: plain(x) for k, x in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(x) for x in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
