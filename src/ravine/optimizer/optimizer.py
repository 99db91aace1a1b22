"""What every optimizer shares: torch's interface outside, a traced rule inside."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import KW_ONLY
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from weakref import ref

import torch
import torch.optim.optimizer as torch_optimizer
from torch import Tensor
from torch.autograd import profiler

from ravine.compile import Compiled
from ravine.compile.emit import latex
from ravine.compile.emit.host import NONE
from ravine.compile.expr import Shape
from ravine.compile.launch import BACKENDS, Changed, backend_of
from ravine.compile.trace import inputs
from ravine.optimizer.bind import Batch
from ravine.optimizer.exchange import NonFinite
from ravine.optimizer.explain import explain
from ravine.optimizer.group import checked
from ravine.optimizer.inputs import add, take
from ravine.optimizer.load import Loaded, load, load_all, load_what_fits
from ravine.optimizer.metrics import last, metrics, metrics_of_each
from ravine.optimizer.programs import compiled
from ravine.optimizer.save import follow, saved
from ravine.optimizer.state import begins_only, move
from ravine.optimizer.step import Whole
from ravine.optimizer.swap import put_back, show
from ravine.optimizer.untraced import untraced
from ravine.optimizer.zero import maker
from ravine.rule.hyper import by_place, check_params, constants, fields, settle
from ravine.rule.modifier import Modifier
from ravine.rule.rule import Rule
from ravine.rule.source import Given, Source

Pair = tuple[float, float] | list[float]  # of hyperparameters, which are tuples once they are given
Triple = tuple[float, float, float] | list[float]

# torch's own, without the wrapper that imports torch._dynamo at the first call: seconds at every start
add_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
clear_gradients = inspect.unwrap(torch.optim.Optimizer.zero_grad)


def checked_backend(backend: str | None) -> str | None:
    """The name of a backend, or None for the fastest; raises ValueError for another."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; it must be None or one of {', '.join(map(repr, BACKENDS))}")
    return backend


class Optimizer(Rule, torch.optim.Optimizer):
    """A real torch.optim.Optimizer made from a rule: fields, `init` and `update`.

    Subclass it as the optimizers here do: hyperparameters are annotated fields with defaults, `init(s, p)`
    makes the state, `update(s, p, g, t)` returns the new parameter. The rule is traced once and compiled
    into one pass over all tensors. It is used as any optimizer of torch:

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.Adam(model.parameters(), lr=1e-2)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()
        >>> opt.zero_grad()

    params: tensors, (name, tensor) pairs, or dicts with "params" and hyperparameters of that group.
    lr: the step size; a float, or a tensor of one element.
    maximize: go up the gradient instead of down.
    mods: changes that any rule can wear, traced into the same pass: `mods=[ClipNorm(1.0), EMA(0.999)]` (`ravine.mods`).
    storage: how states are stored. None: in the parameter's dtype; "float32": in float32 also where parameters are bf16
        or fp16; "bf16": in 2 bytes with stochastic rounding, so that slow averages still move; "int8": in 8-bit codes
        with stochastic rounding and a scale for each block of 256 elements (of the square root where a state is
        never negative). Per-tensor, per-row and per-column states, factors, averages of the weights and, with "int8",
        tensors of fewer than 4096 elements and moments of a low rank (GaLore) stay in float32.
    master_bits: master weights for bf16 parameters. 8 or 16: that many more bits of each weight are kept as a state,
        and the step is made on both together, so that small steps count; 16 is float32. 0: no more bits, but
        stochastic rounding. None: rounding to nearest.
    seed: of stochastic rounding.
    nonfinite: what happens where a gradient is NaN or infinite. "ignore" makes the step; "skip" leaves parameters
        and states as they are, bit for bit, and counts it in `opt.skipped`; "raise" does so too and raises
        FloatingPointError with the name of the parameter. Both read all gradients once before anything moves; a
        `ClipNorm` does so anyway, and then it costs nothing.
    measured: compute what `metrics()` returns in each step.
    capturable: on a GPU, make steps without the host, so that they can be recorded in a CUDA graph: numbers that it
        computes otherwise (bias corrections, norms over all parameters) are computed there, and give it lr as a tensor
        on the GPU to change it between replays. Elsewhere it changes nothing.
    backend: "llvm", "triton" or "reference"; None takes the fastest for each parameter's device.
    sources: for rules whose `update` takes more than s, p, g and t: who gives it (`ravine.sources`).
    process_group: for rules that take a number, as MoMo takes the loss, where each process has that of its own part of
        the batch: the processes that train one model, over which it is averaged (`torch.distributed.group.WORLD` under
        DDP). False: each by itself. None: all, where every parameter is distributed over them; else an error asks.

    Parameters that move together share one tensor `step` in `opt.state`, in float64, so that it counts beyond 2²⁴: to
    set the count of one, put a new tensor there, and do not change that one in place.

    torch's switches `foreach` and `fused` are accepted where torch's class has them and change nothing: they
    choose an implementation there, and here there is one. `differentiable=True` raises.
    """

    params: torch_optimizer.ParamsT
    lr: float | Tensor = 1e-3
    _: KW_ONLY
    maximize: bool = False
    mods: Sequence[Modifier] = ()
    storage: Literal["float32", "bf16", "int8"] | None = None
    master_bits: Literal[0, 8, 16] | None = None
    seed: int = 0
    nonfinite: Literal["ignore", "skip", "raise"] = "ignore"
    measured: bool = False
    capturable: bool = False
    if TYPE_CHECKING:  # torch's switches, where its class has them; and what is no group's
        foreach: bool | None = None
        fused: bool | None = None
        differentiable: bool = False
        backend: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
        sources: Sequence[Source] = ()
        process_group: Any = None

    def __init__(
        self,
        params: torch_optimizer.ParamsT,
        lr: Any = None,
        *more: Any,
        backend: str | None = None,
        sources: Sequence[Source] = (),
        process_group: Any = None,
        **hyper: Any,
    ):
        check_params(type(self).__name__, params)
        if more:
            hyper |= by_place(type(self), more, hyper)
        self._begin()
        self.backend = checked_backend(backend)
        self._zero, self.process_group = maker(), process_group
        given = hyper if lr is None else {"lr": lr, **hyper}
        defaults = {k: d for k, (_, d) in fields(type(self)).items()} | settle(type(self), given)
        self.validate(defaults)
        super().__init__(params, defaults | constants(type(self)))
        for source in sources:
            self.watch(source)

    def _begin(self) -> None:
        """Sets private attributes per instance: Lightning's wrapper copies the class, and class attributes leak."""
        self._rule: type[Rule] = type(self)
        self._takes: Mapping[str, Shape] = inputs(self._rule)
        self.sources = ()
        self._orphaned: set[str] = set()  # inputs that sources gave, of a copy, which has none
        self._skipped: int | Tensor = 0  # a tensor where the host has no part in steps
        self._arranged: Whole | None = None  # found again after a copy or a load
        self._watched: Sequence[Batch] | None = None  # the launches of the last step; none where it was skipped
        self._released: Any = (
            None  # what ravine.release returned; it knows this class, and this class no more than that
        )
        self.driver: ref[torch.optim.Optimizer] | None = None  # the strategy that drives it
        self.process_group: Any = None
        self._zero: ref[Any] | None = None  # the ZeroRedundancyOptimizer that made it, for a part of the parameters
        # (copy of a count in a state dict, the state it mirrors, its key)
        self._given: list[tuple[ref[Tensor], dict[str, Any], str]] = []

    # which rule

    @property
    def rules(self) -> tuple[type[Rule], ...]:
        """The rules of all groups: here one, the class itself."""
        return (self._rule,)

    def rule_of(self, group: Mapping[str, Any]) -> type[Rule]:
        """The rule of a group: here of all groups, the class itself."""
        return self._rule

    def defaults_of(self, rule: type[Rule]) -> dict[str, Any]:
        """The hyperparameters of a group of this rule that says nothing."""
        return self.defaults

    # what runs

    @untraced
    def step(self, closure: Callable[[], Any] | None = None, **given: Given | None) -> Any:
        """Make one step. `closure`, if given, computes the loss and its gradients again; its loss is returned.

        given: what `update` takes beside s, p, g and t, where no closure and no source gives it: a number, such as the
            loss (`step(loss=loss)`, for MoMo), or an array for each parameter (`step(h={p: tensor, …})`).
        """
        hooks = (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
        )
        run = self._observed if hooks or profiler._is_profiler_enabled else self._step
        return run(closure, **given) if given else run(closure)

    step.hooked = True  # pyright: ignore[reportFunctionMemberAccess]  # torch need not wrap it: _observed is its wrapper

    def _step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        loss = given.get("loss")
        if closure is not None:
            with torch.enable_grad():
                loss = given["loss"] = closure()
        if loss is None and given:
            given = {k: x for k, x in given.items() if x is not None}
        if self._released is not None:
            self._released.rest()
            return loss
        found, scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)  # of torch's GradScaler
        if found is not None and not self._recorded and found:
            self._skip()
            return loss
        if scale is None:
            self._move(given, found)
            return loss
        for group in self.param_groups:
            group["grad_scale"] = scale if self._recorded else float(scale)
        try:
            self._move(given, found)
        finally:
            for group in self.param_groups:
                del group["grad_scale"]
        return loss

    @property
    def _recorded(self) -> bool:
        """True if the host has no part in a step."""
        first = next(p for group in self.param_groups for p in group["params"])
        return self.param_groups[0]["capturable"] and (self.backend or backend_of(first)) == "triton"

    def _move(self, given: Mapping[str, Any], found: Tensor | None = None) -> None:
        """New values for all parameters that have gradients."""
        begins = not given and begins_only(self)
        try:
            numbers = take(self, given, begins) if given or self._takes else NONE
            arranged = self._arranged
            if arranged is None or not arranged.holds(self):
                arranged = self._arranged = Whole(self)
            if begins and self._takes:
                return
            try:
                arranged.step(numbers, found)
            except Changed:
                arranged = self._arranged = Whole(self)
                arranged.step(numbers, found)
            self._watched = arranged.batches
        except NonFinite as error:
            self._skip()
            if any(group["nonfinite"] == "raise" for group in self.param_groups):
                why = str(error) or self._arranged.blame(self)  # pyright: ignore[reportOptionalMemberAccess]
                raise FloatingPointError(f"{type(self).__name__}: {why}") from None

        if self._given:
            follow(self)

    def _skip(self) -> None:
        self._skipped += 1
        self._watched = ()

    @property
    def skipped(self) -> int:
        """How many steps were not made, since a gradient was not finite. With `capturable` it waits for the GPU."""
        return int(self._skipped)

    _step_supports_amp_scaling = True  # GradScaler sets grad_scale and found_inf, and leaves gradients as they are

    def metrics(self, *, each: bool = False) -> dict[str, Tensor]:
        """The last step in numbers, as 0-d tensors where the parameters are: nothing is read again and nothing waits.

        "grad_norm": ‖g‖ over all parameters, before clipping; "update_norm": ‖Δp‖; "weight_norm": ‖p‖ before the step;
        "clipped", with a modifier that clips: the share of elements that it made smaller. Raises RuntimeError without
        `measured=True`, or before the first step. After a step that was skipped it is empty.

        each: for each parameter by itself, in the order of the groups; NaN where one had no gradient.
        """
        if not any(group["measured"] for group in self.param_groups):
            raise RuntimeError(f"{type(self).__name__}: metrics() needs {type(self).__name__}(…, measured=True)")
        if self._zero is not None:
            raise RuntimeError(
                f"{type(self).__name__}: under ZeroRedundancyOptimizer metrics() would tell of the parameters of this "
                "process alone; use torch.distributed.fsdp.fully_shard, or plain DDP"
            )
        if (made := last(self)) is None:
            raise RuntimeError(f"{type(self).__name__}: metrics() tells of a step; make one first")
        count = sum(len(group["params"]) for group in self.param_groups)
        return metrics_of_each(made, count) if each else metrics(made)

    _observed = torch.optim.Optimizer.profile_hook_step(_step)

    def compiled(self, group: Mapping[str, Any], p: Tensor | None = None) -> Compiled:
        """The program for the flags of a group and a parameter, else for a matrix; each is compiled once a process."""
        return compiled(self.rule_of(group), group, p)

    # training and evaluation weights

    def eval(self) -> None:
        """Put the weights to evaluate with into the model, for rules that train at others. Call before validation."""
        show(self)

    def train(self) -> None:
        """Put the weights to train with back, bit for bit. Call after `eval()`, before the next step."""
        put_back(self)

    # groups, sources and state

    def watch(self, source: Source) -> None:
        """Let a source give to this optimizer, as `sources=[…]` of the constructor does; a copy needs it."""
        add(self, source)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: {"params": …} and hyperparameters that differ from the constructor's."""
        group = checked(self, param_group)
        add_group(self, group)
        if self._released is not None:
            self._released.watch(group["params"])
        group["mods"] = tuple(map(copy, group["mods"]))
        self._arranged = None

    @untraced
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False set them to zero."""
        clear_gradients(self, set_to_none)

    def state_dict(self, *, decoded: bool = False) -> dict[str, Any]:
        """As in torch, under torch's names where torch has the method: its class loads it.

        It is live, as torch's: a dict you keep follows further steps in its states and counts; its hyperparameters
        stay as they were. `copy.deepcopy(opt.state_dict())` or torch.save keep the states of then. Counts and
        other numbers of the host are for reading: parameters share theirs in `opt.state`, and have their own here.

        decoded: a copy, in which states that `storage` compresses are float32, which loads into any storage and class.
        """
        if self._released is not None:
            self._released.close()
        return saved(self, super().state_dict(), decoded)

    @overload
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: Literal[True] = True) -> None: ...
    @overload
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: Literal[False]) -> Loaded: ...
    @untraced
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Loaded | None:
        """Take over a state made here or by torch's class: a copy of it, in which each value keeps its type.

        Parameters that have names on both sides (`Adam(model.named_parameters())`) are found by them within their
        group, others by their place. What wrappers put into names, `_orig_mod.` of torch.compile and `module.` of DDP
        and their like, is passed over.

        strict=False takes over the states of those parameters that fit, by name over all groups, and returns what was
        left. Hyperparameters, and parameters for which there is no state, stay as they are:

            >>> import torch, ravine
            >>> old = ravine.Adam([("body", torch.zeros(3, requires_grad=True))])
            >>> new = ravine.Adam([(k, torch.zeros(3, requires_grad=True)) for k in ("body", "head")])
            >>> old.param_groups[0]["params"][0].grad = torch.ones(3)
            >>> old.step()
            >>> print(new.load_state_dict(old.state_dict(), strict=False))
            loaded the states of 1 parameter; missing: head

        Raises ValueError, and changes nothing, where it is not this optimizer's or not these parameters'.
        """
        if self._released is not None:
            self._released.close()
        return load(self, state_dict, partial(load_all if strict else load_what_fits, self))

    def to(self, device: torch.device | str | None = None) -> Self:
        """Move the states to a device; None: each beside its parameter. Returns the optimizer itself.

        After `model.to("cuda")` the states of the steps before are still on the CPU, and the next step says so:

            >>> import torch, ravine
            >>> model = torch.nn.Linear(3, 1)
            >>> opt = ravine.Adam(model.parameters())
            >>> opt = opt.to()  # wherever the model is now

        `opt.to("cpu")` also frees a GPU's memory while nothing is trained; `opt.to()` brings the states back. Step
        counts and other numbers of the host stay on the CPU. Parameters, gradients and lr stay where they are.
        """
        move(self, device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {
            "backend": self.backend,
            "_skipped": self.skipped,
            "_orphaned": self._orphaned | {k for source in self.sources for k in source.gives if k in self._takes},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_arranged" not in vars(self):  # a copy
            self._begin()
        super().__setstate__(state)
        self._arranged, self._given = None, []

    # to look inside

    @classmethod
    def equations(cls, **hyper: Any) -> str:
        """The rule as LaTeX lines, drawn from the graph that the kernels come from."""
        made = {k: d for k, (_, d) in fields(cls).items()} | settle(cls, hyper)
        return latex.equations(compiled(cls, made).program)

    def explain(self, *, code: bool = False) -> str:
        """Equations, plan and bytes moved per element, for each program of this optimizer.

        code: also what the host computes once per step, and the source that was emitted: hundreds of lines.
        """
        return explain(self, code)
