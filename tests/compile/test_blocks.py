"""A rule on a tensor with a block is the same rule on the matrices of that block, each a tensor of its own."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import ravine
from ravine import Optimizer
from ravine.blocks import QKV, Block, Conv, Experts, Heads, Partition
from ravine.words import cols, eye, matrix_op, matrix_total, numel, row_total, rows, sqrt, turn, zeros

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])
F64 = torch.float64


@matrix_op("n n -> n n")
def inverse_root(a, eps, power=4):
    w, q = torch.linalg.eigh(a)
    return q * (w.clamp(min=0) + eps)[..., None, :] ** (-1 / power) @ q.mT


@matrix_op
def polar(x):
    """Written for one matrix: a norm of a stack would be another."""
    x = x / (x.norm() + 1e-7)
    for _ in range(4):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


class Shampoo(Optimizer):
    lr: float = 0.1
    eps: float = 1e-2
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.L, s.R, s.PL, s.PR = zeros(p), zeros("r r"), 0.5 * p.T @ p, eye("r"), eye("c")

    def update(self, s, p, g, t):
        s.m = 0.9 * s.m + g
        s.L, s.R = s.L + g @ g.T, 0.9 * s.R + g.T @ g
        s.PL = inverse_root(s.L, self.eps, due=turn(t, 2), old=s.PL)
        s.PR = inverse_root(s.R, self.eps, due=turn(t, 2), old=s.PR)
        return p - self.lr * (s.PL @ s.m @ s.PR)


class Muon(Optimizer):
    lr: float = 0.1
    blocks: Block | None = None

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = 0.9 * s.m + g
        return p - self.lr * sqrt(rows(p) / cols(p)) * polar(s.m + 0.1 * p)


class Rows(Optimizer):
    """Numbers of rows and of matrices meet the elements."""

    lr: float = 0.1
    blocks: Block | None = None

    def init(self, s, p):
        s.v = zeros("r")

    def update(self, s, p, g, t):
        s.v = s.v + row_total(g**2) + row_total(g @ g.T)
        return p - self.lr * g / (1 + sqrt(s.v) + matrix_total(g**2))


def gradients(shape, count=4):
    made = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=made, dtype=F64) for _ in range(count)]


def whole(cls, shape, dtype=F64, start=None, **options):
    """The parameter after some steps as one tensor, and the optimizer."""
    p = nn.Parameter((torch.ones(shape) if start is None else start).to(dtype))
    opt = cls([p], **options)
    for g in gradients(shape):
        p.grad = g.to(dtype)
        opt.step()
    return p.detach(), opt


def apart(cls, shape, take, put, start=None, **options):
    """The same with each matrix that `take` cuts out as a tensor of its own."""
    p = torch.ones(shape, dtype=F64) if start is None else start.clone()
    params = [nn.Parameter(x.clone()) for x in take(p)]
    opt = cls(params, **options)
    for g in gradients(shape):
        for part, x in zip(params, take(g), strict=True):
            part.grad = x.clone()
        opt.step()
    put(p, [x.detach() for x in params])
    return p, opt


def into(take):
    """Put matrices where `take` finds them."""

    def put(p, parts):
        for to, x in zip(take(p), parts, strict=True):
            to.copy_(x)

    return put


def tiles(rows, cols):
    """Blocks of these rows and columns."""
    return lambda x: [x[a:b, c:d] for a, b in rows for c, d in cols]


CASES = {
    "heads": (Heads(3), (6, 5), lambda x: list(x.split(2))),
    "heads of columns": (Heads(3, of="columns"), (5, 6), lambda x: list(x.split(2, 1))),
    "qkv": (QKV(), (6, 4), lambda x: list(x.split(2))),
    "qkv in heads": (QKV(heads=2), (12, 4), lambda x: list(x.split(2))),
    "experts": (Experts(), (3, 4, 2), lambda x: list(x)),
    "a matrix as one expert": (Experts(), (4, 2), lambda x: [x]),
    "a convolution, flat": (Conv(), (4, 2, 2, 3), lambda x: [x.view(4, 12)]),
    "a convolution by positions": (Conv("positions"), (4, 2, 1, 3), lambda x: [x[..., 0, j] for j in (0, 1, 2)]),
    "a convolution of 2 × 2": (Conv("positions"), (4, 2, 2, 2), lambda x: list(x.flatten(2).unbind(2))),
    "a convolution in one dimension": (Conv("positions"), (4, 2, 3), lambda x: [x[..., i] for i in (0, 1, 2)]),
    "a partition": (Partition(3), (6, 9), tiles([(0, 3), (3, 6)], [(0, 3), (3, 6), (6, 9)])),
    "a partition of blocks that are not square": (Partition(4), (6, 4), tiles([(0, 3), (3, 6)], [(0, 4)])),
    "a partition that is whole": (Partition(8), (6, 4), lambda x: [x]),
    "a partition of a convolution": (Partition(6), (4, 3, 2, 2), lambda x: list(x.view(4, 12).split(6, 1))),
}  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("cls", [Shampoo, Muon])
@pytest.mark.parametrize(("block", "shape", "take"), CASES.values(), ids=CASES.keys())
def test_a_block_is_its_matrices_one_by_one(block, shape, take, cls, backend):
    found, _ = whole(cls, shape, blocks=block, backend=backend)
    expected, _ = apart(cls, shape, take, into(take), backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@BACKENDS
@pytest.mark.parametrize("name", ["heads", "qkv", "experts", "a convolution, flat"])
def test_numbers_of_rows_and_matrices_are_of_the_blocks_too(name, backend):
    block, shape, take = CASES[name]
    found, _ = whole(Rows, shape, blocks=block, backend=backend)
    expected, _ = apart(Rows, shape, take, into(take), backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize("block", [Heads(2, of="columns"), Conv("positions"), Partition(2)], ids=repr)
def test_a_block_that_moves_elements_takes_no_numbers_of_rows(block, backend):
    with pytest.raises(ValueError, match="Rows has numbers of rows, columns or matrices beside its elements, and"):
        whole(Rows, (4, 4), blocks=block, backend=backend)


@BACKENDS
@pytest.mark.parametrize("shape", [(7, 5), (4, 4), (10, 3), (1, 9)], ids=str)
def test_a_ragged_partition_is_filled_up_with_zeros(shape, backend):
    class Sides(Optimizer):
        """Factors of both sides; where g is zero so is all that they make of it."""

        blocks: Block | None = Partition(3)

        def init(self, s, p):
            s.L, s.R = zeros("r r"), zeros("c c")

        def update(self, s, p, g, t):
            s.L, s.R = s.L + g @ g.T, s.R + g.T @ g
            return p - self.lr * (inverse_root(s.L, 1e-2) @ g @ inverse_root(s.R, 1e-2))

    def cuts(n):
        size = -(-n // -(-n // 3))
        return [(a, min(n, a + size)) for a in range(0, n, size)]

    take = tiles(*map(cuts, shape))
    found, opt = whole(Sides, shape, backend=backend, lr=0.1)
    expected, _ = apart(Sides, shape, take, into(take), backend=backend, lr=0.1, blocks=None)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    (state,) = opt.state.values()
    assert state["L"].shape[0] == len(cuts(shape[0])) * len(cuts(shape[1])) and max(state["L"].shape[1:]) <= 3


def test_factors_have_the_shape_of_the_stack_and_the_rest_of_the_parameter():
    _, opt = whole(Shampoo, (6, 5), blocks=Heads(3))
    (state,) = opt.state.values()
    assert {k: tuple(x.shape) for k, x in state.items()} == {
        "step": (), "m": (6, 5), "L": (3, 2, 2), "R": (3, 5, 5), "PL": (3, 2, 2), "PR": (3, 5, 5),
    }  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("block", [Heads(2), Heads(2, of="columns"), Partition(3)], ids=repr)
def test_vectors_are_one_column_under_every_block(block, backend):
    found, _ = whole(Shampoo, (5,), blocks=block, backend=backend)
    expected, _ = whole(Shampoo, (5,), backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize("block", [Heads(2), Heads(2, of="columns"), Partition(3)], ids=repr)
def test_groups_have_their_own_blocks(block, backend):
    p, q = nn.Parameter(torch.ones(4, 4, dtype=F64)), nn.Parameter(torch.ones(4, 4, dtype=F64))
    opt = Muon([{"params": [p], "blocks": block}, {"params": [q]}], backend=backend)
    for g in gradients((4, 4)):
        p.grad, q.grad = g.clone(), g.clone()
        opt.step()
    torch.testing.assert_close(p.detach(), whole(Muon, (4, 4), blocks=block, backend=backend)[0])
    torch.testing.assert_close(q.detach(), whole(Muon, (4, 4), backend=backend)[0])


@pytest.mark.ci
@BACKENDS
@pytest.mark.parametrize("storage", [None, "bf16", "float32"])
@pytest.mark.parametrize("block", [QKV(), Heads(3, of="columns"), Partition(4)], ids=repr)
def test_blocks_save_and_load_in_every_storage(block, storage, backend, tmp_path):
    def make(start):
        p = nn.Parameter(start.clone())
        return p, Shampoo([p], blocks=block, storage=storage, backend=backend)

    p, opt = make(torch.ones(6, 9, dtype=torch.bfloat16))
    for g in gradients((6, 9), 3):
        p.grad = g.bfloat16()
        opt.step()
    torch.save(opt.state_dict(), tmp_path / "saved.pt")
    q, other = make(p.detach())
    other.load_state_dict(torch.load(tmp_path / "saved.pt", weights_only=True))
    assert other.param_groups[0]["blocks"] == block and other.state[q]["PL"].dtype == torch.float32
    for g in gradients((6, 9), 2):
        p.grad, q.grad = g.bfloat16(), g.bfloat16()
        opt.step()
        other.step()
    assert torch.equal(p, q)


def test_a_checkpoint_with_other_blocks_is_refused():
    _, opt = whole(Shampoo, (6, 9), blocks=Heads(3))
    for blocks, said in ((Heads(2), r"Heads\(n=2, of='rows'\)"), (None, "None")):
        other = Shampoo([nn.Parameter(torch.ones(6, 9))], blocks=blocks)
        with pytest.raises(
            ValueError, match=rf"blocks=Heads\(n=3, of='rows'\) in the state_dict and blocks={said} here"
        ):
            other.load_state_dict(opt.state_dict())


@pytest.mark.parametrize(
    ("block", "shape", "text"),
    [
        (Heads(4), (6, 5), "has 6 rows, which are no 4 equal parts"),
        (Heads(4, of="columns"), (4, 6), "has 6 columns, which are no 4 equal parts"),
        (QKV(), (4, 6), "has 4 rows, which are no 3 equal parts"),
    ],
)
def test_a_tensor_that_is_no_such_stack_is_named(block, shape, text):
    p = nn.Parameter(torch.ones(shape))
    opt = Muon([nn.Parameter(torch.ones(12, 12)), p], blocks=block)
    p.grad = torch.ones(shape)
    with pytest.raises(RuntimeError, match=rf"Muon: parameter 1 of shape \({shape[0]}, {shape[1]}\) {text}"):
        opt.step()
    assert torch.equal(p, torch.ones(shape)) and not opt.state


@pytest.mark.parametrize("make", [lambda: Heads(2, of="rooms"), lambda: Conv("round"), lambda: Partition(0)])
def test_what_is_no_block_is_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_what_is_given_for_a_block_is_checked():
    with pytest.raises(TypeError, match="Muon: blocks is 'heads'; it must be a Block"):
        Muon([nn.Parameter(torch.ones(2, 2))], blocks="heads")


@BACKENDS
def test_a_block_of_ones_own(backend):
    @dataclass(frozen=True)
    class Pairs(Block):
        """Every other row belongs together."""

        moves = True

        def sizes(self, shape):
            return 2, shape[0] // 2, shape[1]

        def stack(self, x):
            return torch.stack([x[::2], x[1::2]])

        def unstack(self, x, shape):
            return torch.stack([x[0], x[1]], 1).reshape(shape)

    def take(x):
        return [x[::2], x[1::2]]

    found, _ = whole(Shampoo, (6, 4), blocks=Pairs(), backend=backend)
    expected, _ = apart(Shampoo, (6, 4), take, into(take), backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@BACKENDS
def test_a_class_may_say_its_view(backend):
    class Always(Muon):
        view = Heads(3)

    found, _ = whole(Always, (6, 5), backend=backend)
    torch.testing.assert_close(found, whole(Muon, (6, 5), blocks=Heads(3), backend=backend)[0])


@BACKENDS
def test_words_speak_of_the_block(backend):
    class Sizes(Optimizer):
        blocks: Block | None = None

        def update(self, s, p, g, t):
            return 0 * p + 100 * rows(p) + 10 * cols(p) + numel(p)

    for block, (b, r, c) in ((Heads(3), (3, 2, 5)), (Heads(5, of="columns"), (5, 6, 1)), (Partition(4), (4, 3, 3))):
        p, _ = whole(Sizes, (6, 5), blocks=block, backend=backend)
        assert (p == 100 * r + 10 * c + b * r * c).all()


@pytest.mark.parametrize("block", [None, Heads(7), Partition(4)], ids=repr)
def test_what_is_filled_up_is_no_weight(block):
    p = nn.Parameter(torch.full((7, 6), 2.0))
    opt = Muon([p], blocks=block, measured=True, mods=[ravine.mods.ClipValue(0.5)])
    p.grad = torch.ones(7, 6)
    opt.step()
    assert opt.metrics()["clipped"] == 1 and opt.metrics()["grad_norm"] == pytest.approx(42**0.5)


def test_memory_that_is_not_in_order_and_gradient_release():
    start = torch.arange(54, dtype=F64).view(9, 6).T / 54
    expected, _ = whole(Shampoo, (6, 9), start=start.contiguous(), blocks=Partition(4))
    found, _ = whole(Shampoo, (6, 9), start=start, blocks=Partition(4))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    model = nn.Linear(9, 6, bias=False, dtype=F64)
    with torch.no_grad():
        model.weight.copy_(start)
    ravine.release(model, Shampoo(model.parameters(), blocks=Partition(4)))
    for g in gradients((6, 9)):
        (model.weight * g).sum().backward()
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-12, atol=1e-12)
