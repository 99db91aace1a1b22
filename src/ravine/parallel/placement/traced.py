"""What a model computes for an example: its operations, the module in which each runs, and the tensors between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from ravine.saved import told

Kind = Literal["parameter", "buffer", "input", "constant", "activation"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the run. `tied` has the other names of a parameter."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype
    tied: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """How much memory its numbers take."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(slots=True)
class Op:
    """An operation: the modules around it from the root in, what it reads {value: has a gradient}, what it makes."""

    around: tuple[int, ...]
    reads: dict[int, bool]
    makes: tuple[int, ...]
    flops: int


@dataclass(slots=True)
class Unit:
    """A module that stays on one device, with the parameters and buffers that it is the first to read."""

    name: str
    cls: str
    values: list[Value] = field(default_factory=list)
    flops: int = 0

    @property
    def bytes(self) -> int:
        """Of its parameters and buffers."""
        return sum(x.bytes for x in self.values)

    @property
    def parameters(self) -> int:
        """How many elements its parameters have."""
        return sum(torch.Size(x.shape).numel() for x in self.values if x.kind == "parameter")


@dataclass(frozen=True, slots=True)
class Edge:
    """A value, the unit that has it, and a unit that reads it; `back` if a gradient comes back."""

    value: int
    source: int
    target: int
    back: bool


@dataclass(frozen=True)
class Graph:
    """The units in the order in which they run first, and which value goes from one to another."""

    units: Sequence[Unit]
    values: Sequence[Value]
    edges: Sequence[Edge]


def trace(model: nn.Module, example: Any, whole: tuple[type[nn.Module], ...] = ()) -> Graph:
    """Run a model on an example and note what it does. Nothing is computed: the tensors have shapes and no numbers.

    A unit is a module in which no other runs, or one of a class in `whole`. What runs between two units, such as the
    sum of a residual connection, is of the unit that began last; what runs before the first is of the first.
    A parameter is of the unit that reads it first.

    model: it keeps its weights, buffers and mode, and the random state is not touched.
    example: what forward takes: a tensor, a tuple of arguments, or a dict of arguments by name.

    Raises ValueError where the model does not run on the example, or where what it does depends on numbers.
    """
    named, tied = _named(model)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    run = _Run()
    args, kwargs = ((), example) if isinstance(example, Mapping) else (_arguments(example), {})
    try:
        stand_ins: dict[str, Tensor] = {name: fake.from_tensor(x) for name, x in named.items()}
        args, kwargs = tree_map_only(Tensor, fake.from_tensor, (args, dict(kwargs)))
        for name, x in stand_ins.items():
            kind = "parameter" if isinstance(named[name], nn.Parameter) else "buffer"
            run.value(x, name, kind, tied.get(name, ()))
        for i, x in enumerate(x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)):
            run.value(x, f"input {i}", "input")
        with run.inside(model), torch.enable_grad(), fake, run:
            torch.func.functional_call(model, stand_ins, args, kwargs)
    except Exception as error:  # whatever the model raises
        raise ValueError(
            f"the model does not run on this example without numbers: {type(error).__name__}: {told(str(error))}; give "
            "what forward takes, on the model's device; a forward that asks for the numbers in a tensor can't be traced"
        ) from error
    return _graph(run, [x for x in run.values if x.kind in ("parameter", "buffer")], whole)


def _arguments(example: Any) -> tuple[Any, ...]:
    return example if isinstance(example, tuple) else (example,)


def _named(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Parameters and buffers by their first name, and the other names that each has."""
    tensors, tied, first = dict[str, Tensor](), dict[str, tuple[str, ...]](), dict[int, str]()
    both = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, x in both:
        if is_lazy(x):
            raise ValueError(f"'{name}' has no shape yet; run the model once on an example before it is placed")
        if id(x) in first:
            tied[first[id(x)]] += (name,)
        else:
            first[id(x)], tensors[name], tied[name] = name, x, ()
    return tensors, tied


class _Run(TorchDispatchMode):
    """Notes each operation of a run, and in which modules it is."""

    def __init__(self):
        super().__init__()
        self.values: list[Value] = []
        self.ops: list[Op] = []
        self.began: list[tuple[int, ...]] = []  # the modules around each that began, and itself
        self.order: list[tuple[bool, int]] = []  # (is an operation, its place in `ops` or `began`)
        self.modules: list[tuple[str, nn.Module]] = []
        self.now: list[int] = []
        self.number: dict[int, int] = {}  # by id, of tensors that `kept` keeps alive
        self.kept: list[Tensor] = []

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Note which module runs, until the end."""
        self.modules = list(model.named_modules())
        hooks = [h for i, (_, module) in enumerate(self.modules) for h in self.hooked(i, module)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def hooked(self, i: int, module: nn.Module) -> Iterator[Any]:
        def begin(*_: Any) -> None:
            self.now.append(i)
            self.order.append((False, len(self.began)))
            self.began.append(tuple(self.now))

        def end(*_: Any) -> None:
            self.now.pop()

        yield module.register_forward_pre_hook(begin)
        yield module.register_forward_hook(end, always_call=True)

    def value(self, x: Tensor, name: str, kind: Kind, tied: tuple[str, ...] = ()) -> int:
        """A new value, which this tensor is from now on."""
        self.number[id(x)] = len(self.values)
        self.kept.append(x)
        self.values.append(Value(name, kind, tuple(x.shape), x.dtype, tied))
        return self.number[id(x)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        reads = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        read = {self.seen(x): x.requires_grad for x in reads}
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if made:
            self.order.append((True, len(self.ops)))
            name = self.named(func, read)
            makes = tuple(self.value(x, name, "activation") for x in made)
            self.ops.append(Op(tuple(self.now), read, makes, counted(func, args, kwargs, out)))
        return out

    def seen(self, x: Tensor) -> int:
        """The value that a tensor is."""
        return self.number[id(x)] if id(x) in self.number else self.value(x, "constant", "constant")

    def named(self, func: Any, read: Mapping[int, bool]) -> str:
        """A view of a result is called as that is; another result by its module and the operation."""
        returns, packet = func._schema.returns, func._overloadpacket.__name__
        view = packet == "_unsafe_view" or any(x.alias_info and not x.alias_info.is_write for x in returns)
        first = self.values[next(iter(read))] if read else None
        if view and first is not None and first.kind == "activation":
            return first.name
        where = self.modules[self.now[-1]][0] if self.now else ""
        return f"{where}: {packet}" if where else packet


def counted(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """The floating-point operations, as torch.utils.flop_counter counts them: of products of matrices, convolutions
    and attention; 0 for all else."""
    formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
    return int(formula(*args, **kwargs, out_val=out)) if formula else 0


def _graph(run: _Run, owned: Sequence[Value], whole: tuple[type[nn.Module], ...]) -> Graph:
    """Each operation's unit, each parameter's, and what goes between two."""
    kept_whole = {i for i, (_, module) in enumerate(run.modules) if isinstance(module, whole)}
    parents = {i for around in run.began for i in around[:-1]}

    def unit_of(around: tuple[int, ...]) -> int | None:
        outermost = next((i for i in around if i in kept_whole), None)
        return outermost if outermost is not None else around[-1] if around and around[-1] not in parents else None

    order = dict.fromkeys(u for around in run.began if (u := unit_of(around)) is not None)
    place = {module: i for i, module in enumerate(order)}
    units = [Unit(run.modules[i][0], type(run.modules[i][1]).__name__) for i in order]
    at, now = dict[int, int](), 0  # the unit of each value
    edges = dict[tuple[int, int], Edge]()
    for is_op, i in run.order:
        inside = unit_of(run.ops[i].around if is_op else run.began[i])
        now = now if inside is None else place[inside]
        if not is_op:
            continue
        op = run.ops[i]
        units[now].flops += op.flops
        for x, back in op.reads.items():
            source = at.setdefault(x, now)  # a parameter, buffer, input or constant is where it is first read
            if source != now:
                before = edges.get((x, now))
                edges[x, now] = Edge(x, source, now, back or (before is not None and before.back))
        at |= dict.fromkeys(op.makes, now)
    for i, x in enumerate(owned):  # parameters and buffers were the first values
        units[at.get(i, _nearest(x.name, units))].values.append(x)
    return Graph(units, run.values, [*edges.values()])


def _nearest(name: str, units: Sequence[Unit]) -> int:
    """The unit for a parameter that nothing reads: the one whose name has the longest beginning in common."""
    parts = name.split(".")

    def common(i: int) -> int:
        theirs = units[i].name.split(".")
        return next((n for n, (a, b) in enumerate(zip(parts, theirs, strict=False)) if a != b), len(theirs))

    return max(range(len(units)), key=lambda i: (common(i), -i))
