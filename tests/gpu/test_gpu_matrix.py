"""Matrix operations between Triton's kernels: on the device, with its numbers of rows and tensors."""

import pytest
import torch
from pairs import Pair, gradients

import ravine
from ravine.blocks import Block, Experts, Heads, Partition
from ravine.words import diagonal, every, eye, matrix_op, norm, sqrt, total, trace, turn, zeros


@matrix_op("n n -> n n")
def inverse_root(a, eps):
    w, q = torch.linalg.eigh(a)
    return q * (w.clamp(min=0) + eps)[..., None, :] ** -0.25 @ q.mT


class Shampoo(ravine.Optimizer):
    lr: float = 0.1
    eps: float = 1e-2
    blocks: Block | None = None

    def init(self, s, p):
        s.L, s.R, s.PL, s.PR = zeros("r r"), zeros("c c"), eye("r"), eye("c")

    def update(self, s, p, g, t):
        due = turn(t, 2, stagger=True)
        s.L, s.R = s.L + g @ g.T, s.R + g.T @ g
        s.PL = inverse_root(s.L, self.eps * (1 + norm(g)), due=due, old=s.PL)
        s.PR = inverse_root(s.R, self.eps, due=due, old=s.PR)
        return p - self.lr * (s.PL @ g @ s.PR)


class Numbers(ravine.Optimizer):
    """Numbers of tensors, rows and columns that torch makes, in a kernel."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        left, right = g @ g.T, g.T @ g
        scale = 1 + norm(left) + trace(right) + sqrt(every(total(left)))
        return p - self.lr * (g / scale + diagonal(left) / (1 + diagonal(right)))


SHAPES = {None: [(8, 6), (5,), (8, 6)], Heads(2): [(8, 6), (5,)], Partition(4): [(7, 9)], Experts(): [(3, 4, 2)]}
FACTORS = [pytest.param(Shampoo, {"blocks": x}, SHAPES[x], id=str(x)) for x in SHAPES]


@pytest.mark.parametrize(("rule", "options", "shapes"), [*FACTORS, (Numbers, {}, SHAPES[None])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_matrix_operations_are_those_of_the_reference(device, rule, options, shapes, dtype):
    params = [torch.nn.Parameter(torch.ones(s, device=device, dtype=dtype)) for s in shapes]
    pair = Pair(rule, params, **options)
    for t in range(4):
        pair.step(gradients(params, t))
    near = 1e-3 if dtype == torch.float32 else 1e-9  # eigenvectors of another library
    for p, q in zip(pair.ours, pair.law, strict=True):
        torch.testing.assert_close(p.detach().cpu(), q.detach(), rtol=near, atol=near)
