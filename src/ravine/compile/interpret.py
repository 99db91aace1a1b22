"""The interpreter: the graph, node by node, in torch. Every backend is tested against it."""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.accumulated import accumulated, is_gram
from ravine.compile.block import View
from ravine.compile.call import Call, plain, turned
from ravine.compile.expr import COL, COMPARE, FULL, HOST, LONG, MATRIX, SCALAR, Expr, is_matrix, pair, walk
from ravine.compile.geometry import batch_of, extent, size_of, sizes
from ravine.compile.plan import wide_sum, widened
from ravine.compile.products import added, symmetric

Values = dict[Expr, Any]
Maker = Callable[[Values], Any]


def cbrt(x: Tensor) -> Tensor:
    """The real cube root."""
    return torch.copysign(x.abs().double() ** (1 / 3), x).to(x.dtype)


def where(condition: Tensor, *a: Tensor) -> Tensor:
    """The first of a where the condition holds, else the second."""
    like: Tensor = max((condition, *a), key=Tensor.dim)
    yes, no = common(a)
    return torch.where(condition.bool().to(like.device), yes, no)


VIEWS = ("transpose",)  # of these, those whose result lies in the memory of an operand
OPS: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "sqrt": torch.sqrt,
    "cbrt": cbrt,
    "exp": torch.exp,
    "log": torch.log,
    "floor": torch.floor,
    "abs": torch.abs,
    "max": lambda *a: torch.maximum(*common(a)),
    "min": lambda *a: torch.minimum(*common(a)),
    "gt": torch.gt,
    "ge": torch.ge,
    "where": where,
    "matmul": torch.matmul,
    "transpose": partial(torch.transpose, dim0=-2, dim1=-1),
}


def evaluate(
    roots: Iterable[Expr],
    read: Callable[[Expr], Tensor],
    p: Tensor,
    known: Mapping[Expr, Tensor] | None = None,
    view: View = "first",
    index: int = 0,
    numbers: Callable[[], Tensor] | None = None,
    whole: Mapping[str, int] | None = None,
) -> dict[Expr, Tensor]:
    """The values of `roots` for the parameter p, of all arrays as matrices or batches of them.

    `read` gives p, g, t, states and hyperparameters. Numbers of the host, of the tensor and of its rows are of the
    `wide` type, elements of the type that `read` gives them. `index` is the place of p in its optimizer, `numbers()`
    has the number of each of its elements in the whole parameter: noise depends on both. `whole` has the sizes of a
    parameter of which p is a part.
    """
    value: dict[Expr, Any] = dict(known or {})
    return make(Interpreter(read, p, view, index, numbers, whole).makers(roots, value), value)


def make(makers: Iterable[tuple[Expr, Maker]], value: dict[Expr, Any]) -> dict[Expr, Any]:
    """Add what these make to the values that there are."""
    for x, maker in makers:
        value[x] = maker(value)
    return value


class Interpreter:
    """How each node is made for one parameter: a function of the values before it. See `evaluate`."""

    def __init__(
        self,
        read: Callable[[Expr], Tensor],
        p: Tensor,
        view: View = "first",
        index: int = 0,
        numbers: Callable[[], Tensor] | None = None,
        whole: Mapping[str, int] | None = None,
    ):
        self.read, self.p, self.view, self.index, self.numbers = read, p, view, index, numbers
        self.number, self.elements = wide(p.device), torch.promote_types(p.dtype, torch.float32)
        self.size = cache(partial(size_of, size=sizes(p.shape, view) if whole is None else whole))
        self.batch = batch_of(p, view)
        self.like = torch.empty(0, dtype=self.elements, device=p.device)

    def makers(self, roots: Iterable[Expr], known: Container[Expr]) -> list[tuple[Expr, Maker]]:
        """What makes the roots out of what is known, in order."""
        roots = dict.fromkeys(roots)
        order = walk(roots, known)
        sums = accumulated(tuple(order), frozenset(x for x in order if x in known or x in roots))
        needed = [x for x in order if x not in known and x not in sums.within]
        return [(x, self.with_product(*sums.found[x]) if x in sums.found else self.maker(x)) for x in needed]

    def with_product(self, beta: Expr | None, old: Expr, alpha: Expr | None, pair: tuple[Expr, Expr]) -> Maker:
        """What makes β X + α a b."""
        elements, (a, b) = self.elements, pair
        product = symmetric if is_gram(a, b) else added

        def made(value: Values) -> Tensor:
            left, right, plus = narrow(value[a], elements), narrow(value[b], elements), narrow(value[old], elements)
            first = 1.0 if beta is None else plain(value[beta])
            return product(left, right, plus, beta=first, alpha=1.0 if alpha is None else plain(value[alpha]))

        return made

    def maker(self, x: Expr) -> Maker:
        """What makes a node."""
        p, view, number, elements, src = self.p, self.view, self.number, self.elements, x.src
        match x.op:
            case "part":
                (whole,), place = src, cast(int, x.arg)
                return self.widened(x, lambda value: value[whole][place])
            case "const":
                return always(torch.tensor(x.arg, dtype=number, device="cpu"))
            case "size":
                return always(torch.tensor(float(self.size(str(x.arg))), dtype=number, device="cpu"))
            case "eye":
                n, shape = self.size(str(x.arg)), extent(p, x.shape, view)
                return lambda _: torch.eye(n, dtype=elements, device=p.device).expand(shape)
            case "turn":
                return self.applied(x, partial(self.turn, [torch.tensor(a, device="cpu") for a in (False, True)]))
            case "fill" if x.shape is HOST:
                return lambda value: value[src[0]]
            case "fill":
                return self.applied(x, partial(self.fill, extent(p, x.shape, view)))
            case "sum" | "amax" if wide_sum(x):
                return lambda value: reduce(x, summed(src[0], value, number), number)
            case "sum" | "amax":
                return self.applied(x, partial(reduce, x, number=number))
            case "normal" if x.shape == FULL:
                return self.applied(x, self.normal)
            case "normal":
                return self.applied(x, partial(self.factor, tuple(extent(p, x.shape, view))))
            case "call":
                return self.widened(x, self.applied(x, partial(self.call, cast(Call, x.arg))))
            case "matmul" if is_gram(*src):
                return self.widened(x, self.applied(x, symmetric))
            case op if op in OPS:
                return self.widened(x, self.applied(x, OPS[op]))
            case _:
                read = self.read
                return (lambda _: read(x).to(number)) if x.shape in LONG else lambda _: read(x)

    def applied(self, x: Expr, f: Callable[..., Any]) -> Maker:
        """What applies f to a node's operands, in the type that it computes in."""
        src, elements = x.src, self.elements
        if not (x.shape in (FULL, COL) or x.op in MATRIX or is_matrix(x)):
            return lambda value: f(*[value[s] for s in src])
        if len(src) == 2:  # the most
            a, b = src
            return lambda value: f(narrow(value[a], elements), narrow(value[b], elements))
        return lambda value: f(*[narrow(value[s], elements) for s in src])

    def widened(self, x: Expr, maker: Maker) -> Maker:
        """What matrix work makes, in the type of numbers where it is numbers of rows or matrices."""
        number = self.number
        return (lambda value: maker(value).to(number)) if x.op in MATRIX and x.shape in LONG else maker

    def turn(self, answers: Sequence[Tensor], t: Tensor, k: Tensor) -> Tensor:
        """Whether it is the turn of this parameter."""
        return answers[turned(plain(t), plain(k), self.index)]

    def fill(self, shape: Sequence[int], a: Tensor) -> Tensor:
        """One number, seen everywhere."""
        return torch.tensor(float(a), dtype=self.elements, device=self.p.device).expand(shape)

    def call(self, call: Call, *a: Any) -> Any:
        """The results of a call."""
        return call.run(a, self.size, self.batch, self.like)

    def normal(self, seed: Tensor, t: Tensor) -> Tensor:
        """Standard normal numbers for elements."""
        i = torch.arange(self.p.numel(), device="cpu") if self.numbers is None else self.numbers()
        drawn = normals(i, int(plain(seed)), int(plain(t)), self.index)
        return drawn.to(self.p.device).reshape(extent(self.p, FULL, self.view))

    def factor(self, shape: tuple[int, ...], seed: Tensor, t: Tensor) -> Tensor:
        """Standard normal numbers for a factor."""
        draw = factor.__wrapped__ if self.p.is_meta or isinstance(self.p, FakeTensor) else factor
        return draw(shape, int(plain(seed)), int(plain(t)), self.p.device).to(self.elements)


def always(value: Tensor) -> Maker:
    """What makes the same at all times."""
    return lambda _: value


def summed(x: Expr, value: Mapping[Expr, Tensor], number: torch.dtype, last: bool = True) -> Tensor:
    """The terms of a sum in float64: see `widened`."""
    if not widened(x, last):
        return value[x] if x.op in COMPARE else value[x].to(number)
    parts = {s: summed(s, value, number, False) for s in x.src}
    return OPS[x.op](*(parts[s] for s in x.src))


def narrow(x: Tensor, elements: torch.dtype) -> Tensor:
    """Numbers of rows in the elements' type, where they meet these; one number has no say in the type by itself. What
    is finite and too large for that type is its largest."""
    if x.dtype is elements:
        return x
    if x.dtype == torch.float64 and elements == torch.float32:
        most = torch.finfo(torch.float32).max
        if type(x) is Tensor and x.is_cpu and not x.dim() and not most < abs(float(x)) < math.inf:
            return x
        x = torch.where(x.isinf(), x, x.clamp(-most, most))
    return x.to(elements) if x.dim() and x.is_floating_point() else x


def reduce(x: Expr, a: Tensor, number: torch.dtype) -> Tensor:
    """A sum or maximum: of all, or of each matrix, row or column, which keep their dimensions."""
    if x.shape == SCALAR:
        return torch.sum(a, dtype=number) if x.op == "sum" or not a.numel() else a.amax().to(number)
    dims = [d for d, size in zip((-2, -1), pair(x.shape), strict=True) if size == "1"]
    if x.op == "sum":
        return a.sum(dims, keepdim=True)
    return a.amax(dims, keepdim=True) if a.numel() else a.sum(dims, keepdim=True)


def wide(device: torch.device) -> torch.dtype:
    """The type of numbers beside tensors of this device: float64, or float32 where the device has no other."""
    return torch.float32 if device.type == "mps" else torch.float64


def common(a: Sequence[Tensor]) -> Sequence[Tensor]:
    """torch.maximum and torch.where take one device and type: a number becomes an array of the other's."""
    like = max(a, key=lambda x: x.dim())
    return [x.to(like) for x in a] if like.dim() else a


def normals(i: Tensor, seed: int, t: int, index: int) -> Tensor:
    """Standard normal numbers in float32: Philox 4x32-10 with the key (seed, index) at the counters (i, t)."""
    u, v = uniform(i, seed, t, index, 0)[:2]
    return torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * math.pi * v)


@lru_cache(maxsize=1)  # tensors of one size follow each other, and have the same
def factor(shape: tuple[int, ...], seed: int, t: int, device: torch.device) -> Tensor:
    """A factor of standard normal numbers in float32: four of each counter, which are no counters of elements."""
    count = math.prod(shape)
    words = uniform(torch.arange(-(-count // 4), device=device), seed, t, 0, 1)
    pairs = [(torch.sqrt(-2 * torch.log(u)), 2 * math.pi * v) for u, v in (words[:2], words[2:])]
    made = torch.stack([f(angle) * radius for radius, angle in pairs for f in (torch.cos, torch.sin)], -1)
    return made.flatten()[:count].reshape(shape)


def uniform(i: Tensor, seed: int, t: int, index: int, kind: int) -> list[Tensor]:
    """Four numbers in (0, 1) of 24 bits: Philox 4x32-10 with the key (seed, index) at the counters (i, t, kind)."""
    word = 0xFFFFFFFF
    c = [i & word, i >> 32, torch.full_like(i, t & word), torch.full_like(i, kind)]
    k0, k1 = seed & word, index & word
    for _ in range(10):
        (high0, low0), (high1, low1) = product(c[0], 0xD2511F53), product(c[2], 0xCD9E8D57)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B9) & word, (k1 + 0xBB67AE85) & word
    return [((x >> 8).float() + 0.5) * 2.0**-24 for x in c]


def product(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower 32 bits of the product of 32-bit numbers, in int64."""
    low, high = a * (b & 0xFFFF), a * (b >> 16)  # of 48 bits each
    middle = high + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)
