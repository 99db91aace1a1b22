"""The Kronecker factors of the Fisher matrix of a model's layers, and gradients that are preconditioned by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.functional import one_hot
from torch.utils.hooks import RemovableHandle

from ravine.groups import factored_layers
from ravine.loop.hook import Hook
from ravine.matrix.eigen import eigh
from ravine.matrix.kronecker import damped_inverses, into, moved, out_of
from ravine.rule.processes import average
from ravine.rule.source import Source
from ravine.saved import told
from ravine.sources.layers import Layer, gram, layer_of
from ravine.sources.targets import chance, classes

Loss = Literal["cross_entropy", "bce", "mse"]
Fisher = Literal["sampled", "exact", "empirical"]

ADAPTS = 5  # steps from one change of the damping to the next


class Seen:
    """What a layer has shown since the last step: sums over its rows of a aᵀ and δ δᵀ, and for EKFAC the rows."""

    def __init__(self) -> None:
        self.a: Tensor | float = 0.0
        self.g: Tensor | float = 0.0
        self.rows = 0.0
        self.calls = list[tuple[Tensor, Tensor]]()


class KroneckerFactors(Source):
    """Of each layer of a model the factors A and G of its block G ⊗ A of the Fisher matrix, for `ravine.KFAC`:

        A = E[a aᵀ], of what the layer is given, with a 1 that the bias meets     G = E[δ δᵀ], δ = ∂loss / ∂output

        >>> import torch, ravine
        >>> from torch.nn.functional import cross_entropy
        >>> from ravine.sources import KroneckerFactors
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        >>> factors = KroneckerFactors(model)
        >>> opt = ravine.create("kfac", model, sources=[factors])
        >>> for x, y in [(torch.randn(8, 4), torch.arange(8) % 3)]:
        ...     opt.zero_grad()
        ...     outputs = model(x)
        ...     factors.backward(outputs)
        ...     cross_entropy(outputs, y).backward()
        ...     opt.step()

    Layers are nn.Linear, nn.Conv2d (any stride, padding, dilation; groups have factors each) and nn.Embedding, whose A
    is diagonal; `ravine.groups.factored` says which, and why others are not. A weight and its bias are one block. What
    the rule is given is u, the part of each in the preconditioned gradient of both. Averages, inverses and bases lie
    beside the states of the weight and are saved with them. Intervals, damping and approximation are the rule's
    hyperparameters: see `ravine.KFAC`.

    loss: of whose outputs `backward` is called, with torch's mean over its terms: "cross_entropy" of logits
        (…, classes), a term a row; "bce" of logits and "mse", a term an element.
    fisher: whose δ they are. "sampled": of targets that the model draws, one backward pass to layers' outputs. "exact":
        of all targets in expectation, a pass for each class or output. "empirical": of targets of the data.
    adaptive: `adapt` changes the damping, by Levenberg and Marquardt's rule.
    seed: of the targets, which depend on it, the step and the process.
    group: the processes that train one model: factors are those of all their rows. False: each by itself.

    Factors are means over rows and terms, so a loss that is a sum, or parts of a batch that are accumulated, make no
    other factors; give `rows` to `backward` where the loss divides by another number. A measurement that is not finite
    is passed over.

    Martens & Grosse 2015; Grosse & Martens 2016    https://arxiv.org/abs/1503.05671
    """

    gives = ("u",)
    keeps = (
        *("input_factor", "output_factor", "input_inverse", "output_inverse"),
        *("input_basis", "output_basis", "second_moments"),
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Loss = "cross_entropy",
        fisher: Fisher = "sampled",
        adaptive: bool = False,
        seed: int = 0,
        group: Any = None,
    ):
        super().__init__()
        for name, said, known in (("loss", loss, Loss), ("fisher", fisher, Fisher)):
            if said not in known.__args__:
                raise ValueError(f"KroneckerFactors: {name} is {said!r}; it must be one of {known.__args__}")
        layers = factored_layers(model)
        if not layers:
            raise ValueError(
                f"KroneckerFactors: {type(model).__name__} has no nn.Linear, nn.Conv2d or nn.Embedding that has factors"
            )
        self.loss, self.fisher, self.adaptive, self.seed, self.group = loss, fisher, adaptive, seed, group
        self.layers = [layer_of(name, module) for name, module in layers.items()]
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.handles: list[RemovableHandle] = [
            x.module.register_forward_hook(Hook(self.forward, x), with_kwargs=True) for x in self.layers
        ]
        self.last: list[tuple[Tensor, Tensor, Tensor]] = []  # (parameter, what it was, its gradient), where adaptive
        self.found: tuple[Any, dict[int, Mapping[str, Any]]] = ((), {})  # which groups there are, and whose
        self._forget()

    def _forget(self) -> None:
        self.waiting: list[tuple[Layer, Tensor, GradientEdge]] = []
        self.seen: dict[Layer, Seen] = {}
        self.terms, self.calls = 0.0, 0

    # the backward pass

    def hyper(self, layer: Layer) -> Mapping[str, Any] | None:
        """The group that a layer's weight is in; None where the optimizer has it not, or by another rule."""
        owner = None if self._owner is None else self._owner()
        groups: Any = () if owner is None else owner.param_groups
        key = tuple((id(group), len(group["params"])) for group in groups)
        if key != self.found[0]:
            self.found = key, {id(p): x for x in groups if "factor_interval" in x for p in x["params"]}
        return self.found[1].get(id(layer.weight))

    def measures(self, layer: Layer) -> bool:
        """True if the next step takes new factors of this layer."""
        group = self.hyper(layer)
        return group is not None and self.steps % group["factor_interval"] == 0

    def forward(self, layer: Layer, _: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], y: Tensor) -> None:
        """A layer is called: its output may be changed in place later, so the place in the graph is kept."""
        if y.requires_grad and self.measures(layer):
            x: Tensor = args[0] if args else named["input"]
            self.waiting.append((layer, x.detach(), get_gradient_edge(y)))

    def backward(self, outputs: Tensor, targets: Tensor | None = None, *, rows: float | None = None) -> None:
        """Measure factors, where the next step takes new ones; p.grad is left alone.

        Call it before `loss.backward()`, which frees the graph. With gradient accumulation call it for each part.

        outputs: of the model, (…, classes) for cross-entropy; of the rows that count, as `logits[mask]`.
        targets: of the data, for fisher="empirical".
        rows: what the loss divides by, where it is not torch's mean: the batch for a sum over features, 1 for a sum.
        """
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        if not outputs.requires_grad:
            raise ValueError(f"KroneckerFactors: outputs of shape {tuple(outputs.shape)} have no graph; call the model "
                             "with gradients enabled, and backward() before loss.backward()")  # fmt: skip
        if (targets is None) == (self.fisher == "empirical"):
            said = "needs targets, those of the data" if targets is None else "takes no targets"
            raise ValueError(f"KroneckerFactors: fisher={self.fisher!r} {said}")
        flat = outputs.reshape(-1, outputs.shape[-1]) if outputs.dim() else outputs.reshape(1, 1)
        with torch.no_grad():
            wide = flat.detach().to(torch.promote_types(flat.dtype, torch.float32))
            drawn = list(self.gradients(wide, targets))
        edges = [edge for *_, edge in waiting]
        for i, v in enumerate(drawn):
            found = torch.autograd.grad(flat, edges, v.to(flat.dtype), retain_graph=True, allow_unused=True)
            for (layer, x, _), delta in zip(waiting, found, strict=True):
                if delta is not None:
                    self.add(layer, x, delta, first=not i)
        terms = len(flat) if self.loss == "cross_entropy" else flat.numel()
        self.terms, self.calls = self.terms + (terms if rows is None else rows), self.calls + 1

    def gradients(self, z: Tensor, targets: Tensor | None) -> Iterator[Tensor]:
        """∂ loss / ∂ z of drawn targets, of those of the data, or the columns of the root of the loss's Hessian."""
        numbers = chance(self.seed, self.steps, self.calls, self.group, z.device)
        p = z.softmax(1) if self.loss == "cross_entropy" else z.sigmoid()
        if self.fisher == "exact":
            axes = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
            for k, axis in enumerate(axes):
                if self.loss == "cross_entropy":
                    yield p[:, k, None].sqrt() * (axis - p)
                else:
                    yield axis * (2**0.5 if self.loss == "mse" else (p * (1 - p)).sqrt()) * torch.ones_like(z)
        elif self.loss == "cross_entropy":
            yield p - one_hot(classes(z, numbers) if targets is None else targets.reshape(-1), z.shape[1])
        elif self.loss == "bce":
            yield p - (torch.bernoulli(p, generator=numbers) if targets is None else targets.reshape(z.shape))
        elif targets is None:  # the variance for which (z − y)² is the negative logarithm of its density is ½
            yield 2**0.5 * torch.randn(z.shape, generator=numbers, dtype=z.dtype, device=z.device)
        else:
            yield 2 * (z - targets.reshape(z.shape))

    @torch.no_grad()
    def add(self, layer: Layer, x: Tensor, delta: Tensor, first: bool) -> None:
        """A call of a layer, and the gradient of what it returned."""
        group, seen = self.hyper(layer), self.seen.setdefault(layer, Seen())
        assert group is not None
        a, d = layer.inputs(x), layer.outputs(delta)
        if group["ekfac"]:
            seen.calls.append((a, d))
        if group["approximation"] == "reduce" and not layer.diagonal:
            a, d = layer.mean(a), d.sum(1, keepdim=True)
        if first:
            seen.a, seen.rows = seen.a + layer.second_moment(a), seen.rows + a.shape[0] * a.shape[1]
        seen.g = seen.g + gram(d)

    # the step

    @torch.no_grad()
    def give(self, wanted: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Mapping[Tensor, Tensor]]:
        """{"u": {p: its part of (G ⊗ A + λ I)⁻¹ g}} of weights and biases."""
        if cut := [p for p in wanted["u"] if hasattr(p, "placements")]:
            raise ValueError(
                f"KFAC: {told(cut[0])} is distributed over processes, as by FSDP2, and factors are of whole layers; "
                "train with DDP, or give it to another rule"
            )
        params = {id(p) for p in wanted["u"]}
        layers = [x for x in self.layers if id(x.weight) in params]
        served = {id(p) for x in layers for p in x.params}
        if odd := [p for p in wanted["u"] if id(p) not in served]:
            raise ValueError(
                f"KFAC: {self.names.get(id(odd[0]), 'a parameter')} of shape {tuple(odd[0].shape)} has no Kronecker "
                "factors; ravine.create('kfac', model) gives such parameters to AdamW, as does ravine.Routed of the "
                "two lists of ravine.groups.factored(model)"
            )
        measured = [x for x in layers if self.measures(x)]
        if measured and not self.calls:
            raise RuntimeError(
                "KroneckerFactors: backward(outputs) was not called in a step that takes new factors; call it before "
                "each loss.backward(): where it is not needed, it does nothing"
            )
        new = self.measured(measured)
        owner = self._owner() if self._owner is not None else None
        assert owner is not None
        found = dict[Tensor, Tensor]()
        for layer in layers:
            group, state = self.hyper(layer), owner.state[layer.weight]
            assert group is not None
            if layer in new:
                self.averaged(state, group, *new[layer])
            elif "input_factor" not in state:
                raise RuntimeError(f"KroneckerFactors: '{layer.name}' has a gradient, and outputs were not made of it; "
                                   "give the outputs that the loss is of, or the layer to another rule")  # fmt: skip
            due = self.steps % group["interval"] == 0
            found |= layer.parts((self.natural if group["ekfac"] else self.inverted)(layer, state, group, due))
        self._forget()
        if self.adaptive and self.steps % ADAPTS == 0:
            self.last = [(p, p.detach().clone(), p.grad.clone()) for p in self.params if p.grad is not None]
        return {"u": found}

    @torch.no_grad()
    def begin(self) -> None:
        """Zeros for what it keeps."""
        owner = None if self._owner is None else self._owner()
        assert owner is not None
        for layer in self.layers:
            if (group := self.hyper(layer)) is not None:
                a, g = layer.blank()
                kept = {"input_factor": a, "output_factor": g}
                if group["ekfac"]:
                    kept |= {
                        "output_basis": g.clone(),
                        "second_moments": g[..., :1] * a.reshape(len(a), -1, a.shape[-1])[:, :1],
                    }
                    kept |= {} if layer.diagonal else {"input_basis": a.clone()}
                else:
                    kept |= {"input_inverse": a.clone(), "output_inverse": g.clone()}
                owner.state[layer.weight].update(kept)

    def measured(self, layers: Sequence[Layer]) -> dict[Layer, tuple[Tensor, Tensor]]:
        """A and G of these layers, of all processes."""
        new = dict[Layer, tuple[Tensor, Tensor]]()
        for layer in layers:
            seen = self.seen.get(layer, Seen())
            if not seen.rows and self.group in (None, False):  # other processes may have seen it
                continue
            a, g = (x + y for x, y in zip(layer.blank(), (seen.a, seen.g), strict=True))
            counts = torch.tensor([seen.rows, self.terms], dtype=a.dtype, device=a.device)
            average("KroneckerFactors", (a, g, counts), self.group)
            a, g = a / counts[0], g / counts[1]  # not finite where nobody has
            if (a.sum() + g.sum()).isfinite():
                new[layer] = a, g
        return new

    def averaged(self, state: dict[str, Any], group: Mapping[str, Any], a: Tensor, g: Tensor) -> None:
        """Factors a step further: means of all at first, then with a weight that decays."""
        keep = min(1 - 1 / (self.steps // group["factor_interval"] + 1), group["factor_decay"])
        for key, x in (("input_factor", a), ("output_factor", g)):
            if key in state:
                state[key].lerp_(x.to(state[key].dtype), 1 - keep)
            else:
                state[key] = x

    def inverted(self, layer: Layer, state: dict[str, Any], group: Mapping[str, Any], due: bool) -> Tensor:
        """The gradient between the inverses of both factors."""
        if due or "input_inverse" not in state:
            a, g = damped_inverses(state["input_factor"], state["output_factor"], group["damping"], layer.diagonal)
            put(state, "input_inverse", a)
            put(state, "output_inverse", g)
        a, g = state["input_inverse"], state["output_inverse"]
        u = g @ layer.gradient()
        return u * a[..., None, :] if layer.diagonal else u @ a

    def natural(self, layer: Layer, state: dict[str, Any], group: Mapping[str, Any], due: bool) -> Tensor:
        """The gradient over second moments of the gradients of examples, in the eigenbasis of the factors."""
        if due or "second_moments" not in state:
            wg, qg = eigh(state["output_factor"])
            wa, qa = (state["input_factor"], None) if layer.diagonal else eigh(state["input_factor"])
            if "second_moments" in state:
                v = moved(state["second_moments"], state.get("input_basis"), qa)
                v = moved(v.mT, state["output_basis"], qg).mT
            else:
                v = wg.clamp(min=0)[..., :, None] * wa.clamp(min=0)[..., None, :]
            put(state, "second_moments", v)
            put(state, "output_basis", qg)
            if qa is not None:
                put(state, "input_basis", qa)
        qa, qg, v = state.get("input_basis"), state["output_basis"], state["second_moments"]
        if (seen := self.seen.get(layer)) is not None and seen.calls:
            new = sum(layer.squares(a, d, qa, qg) for a, d in seen.calls)
            assert isinstance(new, Tensor)
            terms = torch.tensor(self.terms, dtype=new.dtype, device=new.device)
            average("KroneckerFactors", (new, terms), self.group)
            if new.sum().isfinite():
                keep = min(1 - 1 / (self.steps // group["factor_interval"] + 2), group["factor_decay"])
                v.copy_(keep * v + (1 - keep) * new / terms)
        return out_of(into(layer.gradient(), qa, qg) / (v + group["damping"]), qa, qg)

    @property
    def adapts(self) -> bool:
        """True after a step for which `adapt` should be called: with adaptive=True the first, and every fifth."""
        return bool(self.last)

    @torch.no_grad()
    def adapt(self, before: Tensor | float, after: Tensor | float) -> float:
        """Change the damping by how well the quadratic model of the loss has foretold the last step, and return this:

            ρ = (after − before) / (Σ g Δ + ½ Σ Δ F Δ)        λ ← 0.9⁵ λ where ρ > ¾, λ / 0.9⁵ where ρ < ¼

            if factors.adapts:
                factors.adapt(loss, loss_of(model(x), y))

        before, after: the loss of one batch at the weights before and after the step, without dropout. On noisy losses
            this rule is not reliable: a fixed damping, or one with a schedule, is the default.

        Martens & Grosse 2015, section 6.5; 5, 0.9, ¼ and ¾ as in kfac-jax.
        """
        if not self.last:
            raise RuntimeError("KroneckerFactors: adapt() is of a step for which adapts is true, with adaptive=True")
        moves = {p: (p - old, g) for p, old, g in self.last}
        self.last = []
        owner = None if self._owner is None else self._owner()
        assert owner is not None
        foretold = sum(float((d * g).sum()) for d, g in moves.values())
        for layer in self.layers:
            if layer.weight in moves and "input_factor" in (state := owner.state[layer.weight]):
                bias = None if layer.bias is None or layer.bias not in moves else moves[layer.bias][0]
                d = layer.joint(moves[layer.weight][0], bias)
                a, gd = state["input_factor"], state["output_factor"] @ d
                foretold += 0.5 * float((gd * (d * a[..., None, :] if layer.diagonal else d @ a)).sum())
        change = torch.tensor([float(after) - float(before), foretold], dtype=torch.float64)
        average("KroneckerFactors", [change], self.group)
        happened, foretold = change.tolist()
        ratio = happened / foretold if foretold < 0 else 0.0
        factor = 0.9**ADAPTS if ratio > 0.75 else 0.9**-ADAPTS if not ratio >= 0.25 else 1.0
        for group in owner.param_groups:
            if "factor_interval" in group:
                group["damping"] = max(group["damping"] * factor, 1e-8)
        return ratio

    def remove(self) -> None:
        """Take the hooks away from the model."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: it watches no model."""
        lists: dict[str, Any] = {key: [] for key in ("handles", "layers", "waiting", "last")}
        return super().__getstate__() | {**lists, "names": {}, "seen": {}, "terms": 0.0, "calls": 0, "found": ((), {})}


def put(state: dict[str, Any], key: str, x: Tensor) -> None:
    """A new value in the memory of the last one, which a step finds where it was."""
    if key in state and state[key].shape == x.shape:
        state[key].copy_(x)
    else:
        state[key] = x.clone(memory_format=torch.contiguous_format)
