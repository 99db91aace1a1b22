"""The interpreter: the graph, node by node, in torch. Every backend is tested against it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.accumulated import accumulated, is_gram
from ravine.compile.block import View
from ravine.compile.call import Call, plain, turned
from ravine.compile.expr import COL, COMPARE, FULL, HOST, LONG, MATRIX, SCALAR, SEVERAL, Expr, is_matrix, pair, walk
from ravine.compile.geometry import batch_of, extent, size_of, sizes
from ravine.compile.plan import wide_sum, widened
from ravine.compile.products import added, symmetric


def cbrt(x: Tensor) -> Tensor:
    """The real cube root."""
    return torch.copysign(x.abs().double() ** (1 / 3), x).to(x.dtype)


def where(condition: Tensor, *a: Tensor) -> Tensor:
    """The first of a where the condition holds, else the second."""
    like: Tensor = max((condition, *a), key=Tensor.dim)
    yes, no = common(a)
    return torch.where(condition.bool().to(like.device), yes, no)


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
    number, elements = wide(p.device), torch.promote_types(p.dtype, torch.float32)
    value: dict[Expr, Any] = dict(known or {})
    size = partial(size_of, size=sizes(p.shape, view) if whole is None else whole)
    like = torch.empty(0, dtype=elements, device=p.device)
    roots = dict.fromkeys(roots)
    order = walk(roots, value)
    sums = accumulated(tuple(order), frozenset(x for x in order if x in value or x in roots))
    for x in order:
        if x in value or x in sums.within:
            continue
        if x in sums.found:
            beta, old, alpha, (a, b) = sums.found[x]
            factors = [1.0 if f is None else plain(value[f]) for f in (beta, alpha)]
            matrices = (narrow(value[y], elements) for y in (a, b, old))
            product = symmetric if is_gram(a, b) else added
            value[x] = product(*matrices, beta=factors[0], alpha=factors[1])
            continue
        if x.op == "part":
            value[x] = widened_rows(x, value[x.src[0]][cast(int, x.arg)], number)
            continue
        narrows = x.shape in (FULL, COL) or x.op in MATRIX or is_matrix(x)
        a = [narrow(value[s], elements) if narrows else value[s] for s in x.src]
        match x.op:
            case "const":
                value[x] = torch.tensor(x.arg, dtype=number, device="cpu")
            case "size":
                value[x] = torch.tensor(float(size(str(x.arg))), dtype=number, device="cpu")
            case "eye":
                value[x] = torch.eye(size(str(x.arg)), dtype=elements, device=p.device).expand(extent(p, x.shape, view))
            case "turn":
                value[x] = torch.tensor(turned(plain(a[0]), plain(a[1]), index), device="cpu")
            case "fill":
                precise = torch.promote_types(p.dtype, torch.float32)
                filled = torch.tensor(float(a[0]), dtype=precise, device=p.device)  # one number, seen everywhere
                value[x] = a[0] if x.shape is HOST else filled.expand(extent(p, x.shape, view))
            case "sum" | "amax":
                value[x] = reduce(x, summed(x.src[0], value, number) if wide_sum(x) else a[0], number)
            case "normal" if x.shape != FULL:
                draw = factor.__wrapped__ if p.is_meta or isinstance(p, FakeTensor) else factor
                drawn = draw(tuple(extent(p, x.shape, view)), int(plain(a[0])), int(plain(a[1])), p.device)
                value[x] = drawn.to(elements)
            case "normal":
                i = torch.arange(p.numel(), device="cpu") if numbers is None else numbers()
                value[x] = (
                    normals(i, int(plain(a[0])), int(plain(a[1])), index).to(p.device).reshape(extent(p, FULL, view))
                )
            case "call":
                made = cast(Call, x.arg).run(a, size, batch_of(p, view), like)
                value[x] = made if x.shape == SEVERAL else widened_rows(x, made, number)
            case "matmul" if is_gram(*x.src):
                value[x] = widened_rows(x, symmetric(a[0], a[1]), number)
            case op if op in OPS:
                value[x] = widened_rows(x, OPS[op](*a), number) if op in MATRIX else OPS[op](*a)
            case _:
                value[x] = read(x).to(number) if x.shape in LONG else read(x)
    return value


def summed(x: Expr, value: Mapping[Expr, Tensor], number: torch.dtype, last: bool = True) -> Tensor:
    """The terms of a sum in float64: see `widened`."""
    if not widened(x, last):
        return value[x] if x.op in COMPARE else value[x].to(number)
    parts = {s: summed(s, value, number, False) for s in x.src}
    return OPS[x.op](*(parts[s] for s in x.src))


def narrow(x: Tensor, elements: torch.dtype) -> Tensor:
    """Numbers of rows in the elements' type, where they meet these; one number has no say in the type by itself. What
    is finite and too large for that type is its largest."""
    if x.dtype == torch.float64 and elements == torch.float32:
        most = torch.finfo(torch.float32).max
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


def widened_rows(x: Expr, value: Tensor, number: torch.dtype) -> Tensor:
    """What matrix work has made, in the type of numbers where it is numbers of rows or matrices."""
    return value.to(number) if x.shape in LONG else value


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
