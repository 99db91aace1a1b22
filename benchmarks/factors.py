"""What would factors in bf16 cost? Their error against float64, for what Shampoo, SOAP and GaLore make of them.

    python benchmarks/factors.py        a minute; writes benchmarks/results/factors-cpu.json

A factor is a 256 × 256 covariance with eigenvalues from 1 down to 1 / condition, evenly in their logarithms. It is
stored in float32, in bf16 rounded to nearest, and in bf16 rounded stochastically, and computed with in float32:

root     its inverse fourth root with ε = 1e-6, the largest relative error of what it makes of an eigenvector
step     that root times a gradient of this covariance, relative to the length of the exact one
basis    its eigenvectors: the correlation that is left between two of 256 coordinates, root mean square (0 if exact)
average  2,000 steps of β = 0.999 in that type: the error of the average itself, relative to its norm
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import RESULTS, Record, arguments
from torch import Tensor

from ravine.compile.storage import round_stochastically
from ravine.matrix import basis, inverse_root

SIZE, EPS, STEPS, BETA = 256, 1e-6, 2000, 0.999
CONDITIONS = (1e2, 1e4, 1e6, 1e8, 1e12)
Store = Callable[[Tensor], Tensor]


def stores(made: torch.Generator) -> dict[str, Store]:
    """What becomes of a matrix in float32 where it is stored and read again."""

    def by_chance(x: Tensor) -> Tensor:
        random = torch.randint(0, 1 << 16, (x.numel(),), generator=made)
        return round_stochastically(x, random).float()

    return {"float32": lambda x: x, "bf16": lambda x: x.bfloat16().float(), "bf16 stochastic": by_chance}


def covariance(condition: float, n: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eigenvectors and eigenvalues in float64."""
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=made)).Q
    return q, condition ** -torch.linspace(0, 1, n, dtype=torch.float64)


def errors(condition: float, n: int, steps: int, made: torch.Generator) -> dict[str, dict[str, float]]:
    """{type: {what: error}} of one condition number."""
    q, w = covariance(condition, n, made)
    exact, g = (q * w) @ q.mT, (q * w.sqrt()) @ torch.randn(n, n, dtype=torch.float64, generator=made)
    right = (q * (w + EPS) ** -0.25) @ q.mT
    seen = [(q * w.sqrt()) @ torch.randn(n, 1, dtype=torch.float64, generator=made) for _ in range(steps)]
    mean = torch.zeros_like(exact)
    for x in seen:
        mean = BETA * mean + (1 - BETA) * (x @ x.mT)
    out = dict[str, dict[str, float]]()
    for name, store in stores(made).items():
        kept = store(exact.float())
        root = inverse_root(kept, EPS, 0.25).double()
        own = ((root - right) @ q).norm(dim=0) / (right @ q).norm(dim=0)
        turned = basis(kept).double()
        inside = turned.mT @ exact @ turned
        size = inside.diagonal().clamp(min=1e-300).sqrt()
        left = (inside / size / size[:, None]).abs()[~torch.eye(n, dtype=torch.bool)]
        average = torch.zeros(n, n)
        for x in seen:
            average = store(BETA * average + (1 - BETA) * (x @ x.mT).float())
        out[name] = {
            "root": own.max().item(),
            "step": ((root @ g - right @ g).norm() / (right @ g).norm()).item(),
            "basis": left.square().mean().sqrt().item(),
            "average": ((average.double() - mean).norm() / mean.norm()).item(),
        }
    return out


def main() -> None:
    parser = arguments(__doc__, "", rounds=1)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.set_defaults(out=RESULTS / "factors-cpu.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    record, made = Record(), torch.Generator().manual_seed(0)
    for condition in CONDITIONS:
        for name, found in errors(condition, args.size, args.steps, made).items():
            print(f"{condition:7.0e}  {name:15}  {'  '.join(f'{k} {x:.1e}' for k, x in found.items())}")
            record.rows.append({"condition": condition, "type": name, "size": args.size, "errors": found})
    record.write(args.out)


if __name__ == "__main__":
    main()
