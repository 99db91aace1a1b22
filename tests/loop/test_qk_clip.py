"""QKClip: the largest logit of a head comes to τ, and no other head moves; what cannot be seen is refused."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine
from ravine.loop import QKClip

HEADS, SIZE = 4, 6


class Attention(nn.Module):
    """Separate layers, with as many heads of keys as are said."""

    def __init__(self, groups=HEADS, bias=True, rotate=None):
        super().__init__()
        self.n, self.groups, self.rotate = HEADS, groups, rotate
        self.q_proj, self.k_proj = nn.Linear(8, HEADS * SIZE, bias), nn.Linear(8, groups * SIZE, bias)
        self.v_proj = nn.Linear(8, groups * SIZE, bias)

    def heads(self, x, y=None):
        y = x if y is None else y
        q = self.q_proj(x).unflatten(-1, (self.n, SIZE)).transpose(1, 2)
        k, v = (f(y).unflatten(-1, (self.groups, SIZE)).transpose(1, 2) for f in (self.k_proj, self.v_proj))
        return (*(self.rotate(q, k) if self.rotate else (q, k)), v)

    def forward(self, x, y=None):
        q, k, v = self.heads(x, y)
        return nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    def logits(self, x, y=None):
        """Of each head: of all pairs of tokens, of all batches."""
        q, k, _ = self.heads(x, y)
        return (q @ k.repeat_interleave(self.n // self.groups, 1).mT / SIZE**0.5).detach().transpose(0, 1)


class Fused(nn.Module):
    """One layer for queries, keys and values."""

    def __init__(self, layout="qkv", groups=HEADS, bias=True):
        super().__init__()
        self.layout, self.groups, self.qkv = layout, groups, nn.Linear(8, (HEADS + 2 * groups) * SIZE, bias)

    def heads(self, x):
        y = self.qkv(x)
        if self.layout == "heads":
            return y.unflatten(-1, (HEADS, 3, SIZE)).permute(3, 0, 2, 1, 4)
        sizes = [HEADS * SIZE, self.groups * SIZE, self.groups * SIZE]
        return [a.unflatten(-1, (-1, SIZE)).transpose(1, 2) for a in y.split(sizes, -1)]

    def forward(self, x):
        q, k, v = self.heads(x)
        return nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    def logits(self, x):
        q, k, _ = self.heads(x)
        return (q @ k.repeat_interleave(HEADS // self.groups, 1).mT / SIZE**0.5).detach().transpose(0, 1)


class Conv1D(nn.Module):
    """Hugging Face's, whose weight is (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.weight, self.bias = nf, nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


def rotary(q, k):
    """A turn of each pair of features by an angle of its token's place."""
    angle = torch.arange(q.shape[-2])[:, None] / 3.0 ** torch.arange(q.shape[-1] // 2)

    def turned(x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)

    return turned(q), turned(k)


def models():
    """(name, module, how QKClip is told)"""
    yield "separate", Attention, {"heads": "n"}
    yield "no bias", lambda: Attention(bias=False), {"heads": HEADS}
    yield "shared keys", lambda: Attention(groups=2), {"heads": HEADS, "kv_heads": "groups"}
    yield "one key", lambda: Attention(groups=1), {"heads": HEADS, "kv_heads": 1}
    yield "rotary", lambda: Attention(rotate=rotary), {"heads": HEADS, "rotate": rotary}
    yield "fused", Fused, {"heads": HEADS, "qkv": "qkv"}
    yield "fused, shared keys", lambda: Fused(groups=2), {"heads": HEADS, "qkv": "qkv", "kv_heads": 2}
    yield "fused by heads", lambda: Fused("heads"), {"heads": HEADS, "qkv": "qkv", "layout": "heads"}
    yield "Conv1D", lambda: conv(), {"heads": HEADS, "qkv": "qkv"}


def conv():
    model = Fused()
    model.qkv = Conv1D(3 * HEADS * SIZE, 8)
    return model


every_model = pytest.mark.parametrize(("make", "told"), [x[1:] for x in models()], ids=[x[0] for x in models()])


def batches(count=1, seed=0):
    made = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(5, 7, 8, generator=made) for _ in range(count)]


def passes(model, xs):
    """Forward and backward, so that there are gradients."""
    for x in xs:
        model(x).square().sum().backward()


def fresh(make):
    torch.manual_seed(3)
    return make()


def tau_between(most):
    """A threshold that half of the heads pass."""
    low, high = most.sort().values[HEADS // 2 - 1 : HEADS // 2 + 1].tolist()
    return (low + high) / 2


# the laws


@every_model
def test_logits_above_tau_come_to_it_and_others_do_not_move(make, told):
    model, (x,) = fresh(make), batches()
    before = model.logits(x)
    most = before.flatten(1).amax(1)
    tau = tau_between(most)
    v = copy.deepcopy(model)
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, tau=tau, **told)
    passes(model, [x])
    opt.step()
    after = model.logits(x)
    high = most > tau
    assert high.sum() == HEADS // 2
    torch.testing.assert_close(after[high].flatten(1).amax(1), torch.full_like(most[high], tau), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        after[high], before[high] * (tau / most[high])[:, None, None, None], rtol=2e-4, atol=1e-4
    )
    assert torch.equal(after[~high], before[~high])
    assert torch.equal(model.heads(x)[2], v.heads(x)[2]), "values"
    (seen,) = clip.logits.values()
    torch.testing.assert_close(torch.tensor(seen), most, rtol=1e-5, atol=0)


@every_model
def test_what_is_below_tau_is_left_bit_for_bit(make, told):
    model, (x,) = fresh(make), batches()
    twin = copy.deepcopy(model)
    opt, other = (ravine.create("adam", m.parameters(), lr=0.1) for m in (model, twin))
    QKClip(opt, model, tau=1e6, **told)
    for _ in range(3):
        passes(model, [x])
        passes(twin, [x])
        opt.step()
        other.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def test_roots_go_to_both_and_shared_keys_stay():
    model, (x,) = fresh(Attention), batches()
    q, k = model.q_proj.weight.detach().clone(), model.k_proj.bias.detach().clone()
    most = model.logits(x).flatten(1).amax(1)
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS, tau=1.0)
    passes(model, [x])
    opt.step()
    root = (1 / most).sqrt().repeat_interleave(SIZE)
    assert (most > 1).all()
    torch.testing.assert_close(model.q_proj.weight.detach(), q * root[:, None])
    torch.testing.assert_close(model.k_proj.bias.detach(), k * root)
    model = fresh(lambda: Attention(groups=2))
    k = model.k_proj.weight.detach().clone()
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS, kv_heads=2, tau=1.0)
    passes(model, [x])
    opt.step()
    assert torch.equal(model.k_proj.weight, k)


def test_all_batches_since_the_last_step_count_and_none_before():
    model, xs = fresh(Attention), batches(3)
    most = torch.stack([model.logits(x).flatten(1).amax(1) for x in xs])
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, HEADS, tau=1e6)
    for seen in ((0, 1, 2), (1,)):
        passes(model, [xs[i] for i in seen])
        opt.step()
        torch.testing.assert_close(torch.tensor(clip.logits["Attention"]), most[list(seen)].amax(0), rtol=1e-5, atol=0)
    with torch.no_grad():
        model(100 * xs[0])  # validation does not count
    passes(model, xs[1:2])
    opt.step()
    torch.testing.assert_close(torch.tensor(clip.logits["Attention"]), most[1], rtol=1e-5, atol=0)


def test_a_step_that_calls_the_step_of_its_parent_is_one_step():
    """torch runs the hooks of both, once any optimizer of the parent's class has been made."""

    class Ours(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    weights = []
    for cls in (torch.optim.SGD, Ours):
        model, xs = fresh(Attention), batches(3)
        opt = cls(model.parameters(), lr=0.0)
        QKClip(opt, model, HEADS, tau=1.0, every=2)
        for x in xs:
            passes(model, [x])
            opt.step()
        weights.append(model.q_proj.weight.detach().clone())
    assert torch.equal(*weights)


@pytest.mark.parametrize("limit", [2**24, 100])
def test_causal_pairs_and_the_other_scale(limit, monkeypatch):
    monkeypatch.setattr("ravine.loop.qk_clip.AT_ONCE", limit)  # and some queries at a time
    model, (x,) = fresh(Attention), batches()
    logits = model.logits(x)
    allowed = torch.ones(7, 7, dtype=torch.bool).tril()
    for causal, scale in ((False, None), (True, None), (True, 0.25)):
        opt = ravine.SGD(model.parameters(), lr=0.0)
        clip = QKClip(opt, model, HEADS, tau=1e6, causal=causal, scale=scale)
        passes(model, [x])
        opt.step()
        most = logits.masked_fill(~allowed & causal, -torch.inf).flatten(1).amax(1)
        most = most if scale is None else most * SIZE**0.5 * scale
        torch.testing.assert_close(torch.tensor(clip.logits["Attention"]), most, rtol=1e-5, atol=0)
        clip.remove()
    assert not torch.equal(logits.flatten(1).amax(1), logits.masked_fill(~allowed, -torch.inf).flatten(1).amax(1))


def test_keys_of_another_sequence():
    model, (x, y) = fresh(Attention), batches(2)
    y = y[:, :3]
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, HEADS, tau=1e6)
    passes(lambda z: model(z, y), [x])
    opt.step()
    most = model.logits(x, y).flatten(1).amax(1)
    torch.testing.assert_close(torch.tensor(clip.logits["Attention"]), most, rtol=1e-5, atol=0)


def test_every_third_step_looks_and_clips():
    model, (x,) = fresh(Attention), batches()
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, HEADS, tau=1.0, every=3)
    weights = []
    for t in range(4):
        passes(model, [x if t in (0, 3) else 9 * x])  # which nobody looks at
        opt.step()
        weights.append(model.q_proj.weight.detach().clone())
        if len(weights) == 2:
            with torch.no_grad():
                model.q_proj.weight.mul_(3.0)
    assert clip.count == 4
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[2], 3 * weights[1])
    assert not torch.equal(weights[3], weights[2])
    most = model.logits(x).flatten(1).amax(1)
    torch.testing.assert_close(most, torch.ones_like(most), rtol=1e-5, atol=0)


def test_with_muon_and_the_rest_logits_stay_near_tau():
    """Without it they are twenty times as large and more."""
    ends = []
    for clipped in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), Attention())
        opt = ravine.create("muon", model, lr=0.3, weight_decay=0.0)
        clip = QKClip(opt, model, HEADS, tau=20.0 if clipped else 1e9)
        for x in batches(30, seed=1):
            opt.zero_grad()
            model(x).square().sum().neg().backward()
            opt.step()
        ends.append(max(clip.logits["1"]))
        names = [x.name for x in opt.routes()]
        assert "1.q_proj.weight" in names
    assert ends[1] < ends[0] / 20


def test_a_logit_that_is_not_finite_changes_nothing():
    model, (x,) = fresh(Attention), batches()
    weights = [p.detach().clone() for p in model.parameters()]
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, HEADS, tau=1.0)
    for bad in (float("inf"), float("nan")):
        clip.largest = lambda q, k, bad=bad: torch.full((HEADS,), bad)
        passes(model, [x])
        opt.step()
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype):
    model, (x,) = fresh(Attention).to(dtype), batches()
    x = x.to(dtype)
    opt = ravine.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS, tau=1.0)
    passes(model, [x])
    opt.step()
    assert model.q_proj.weight.dtype == dtype
    most = model.double().logits(x.double()).flatten(1).amax(1)
    torch.testing.assert_close(most, torch.ones_like(most), rtol=0, atol=0.05 if dtype == torch.bfloat16 else 1e-2)


def test_recomputed_activations_count_once():
    from torch.utils.checkpoint import checkpoint

    model, (x,) = fresh(Attention), batches()
    most = model.logits(x).flatten(1).amax(1)
    for reentrant in (False, True):
        opt = ravine.SGD(model.parameters(), lr=0.0)
        clip = QKClip(opt, model, HEADS, tau=1e6)
        checkpoint(model, x.clone().requires_grad_(), use_reentrant=reentrant).square().sum().backward()
        opt.step()
        torch.testing.assert_close(torch.tensor(clip.logits["Attention"]), most, rtol=1e-5, atol=0)
        clip.remove()


def test_copies_of_the_model_are_not_watched():
    model, (x,) = fresh(Attention), batches()
    opt = ravine.SGD(model.parameters(), lr=0.0)
    clip = QKClip(opt, model, HEADS, tau=1.0)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    twin(100 * x).sum().backward()
    passes(model, [x])
    opt.step()
    assert max(clip.logits["Attention"]) < model.logits(100 * x).max()
    clip.remove()
    weights = model.q_proj.weight.detach().clone()
    passes(model, [x])
    opt.step()
    assert torch.equal(weights, model.q_proj.weight)


def test_an_optimizer_keeps_it_alive():
    import gc

    model, (x,) = fresh(Attention), batches()
    opt = ravine.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS, tau=1.0)
    gc.collect()
    passes(model, [x])
    opt.step()
    most = model.logits(x).flatten(1).amax(1)
    torch.testing.assert_close(most, torch.ones_like(most), rtol=1e-5, atol=0)


# what cannot be seen


class Bypass(Attention):
    """Multiplies by the weights without calling the layers."""

    def forward(self, x):
        return nn.functional.linear(x, self.q_proj.weight) + nn.functional.linear(x, self.k_proj.weight)


def test_weights_that_are_used_without_their_layers_are_refused():
    model, (x,) = fresh(Bypass), batches()
    opt = ravine.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS)
    with pytest.raises(RuntimeError, match="Bypass was used, and its layers of queries and keys were not called"):
        model(x)
    model = fresh(Bypass)
    opt = ravine.SGD(model.parameters(), lr=0.0)
    QKClip(opt, model, HEADS)
    model.forward(x).sum().backward()  # around the module's hooks, too
    with pytest.raises(RuntimeError, match="cannot be seen"):
        opt.step()
    opt.zero_grad()
    opt.step()  # nothing was used: nothing to see


def refused(error, match, make, **told):
    model = make()
    params = told.pop("params", None) or model.parameters()
    with pytest.raises(error, match=match):
        QKClip(ravine.SGD(params, lr=0.1), model, **({"heads": HEADS} | told))


def test_what_is_refused_at_once():
    refused(ValueError, "no module of Linear has q_proj and k_proj; say which", lambda: nn.Linear(2, 2))
    refused(TypeError, "0 is nn.MultiheadAttention", lambda: nn.Sequential(nn.MultiheadAttention(8, 2), Attention()))
    refused(ValueError, "have 24 and 12 features.*say heads= and kv_heads=", lambda: Attention(groups=2))
    refused(ValueError, "are not 5 heads", Attention, heads=5)
    refused(ValueError, "heads='no' is None", Attention, heads="no")
    refused(ValueError, "4 heads of queries, which 3 of keys", Attention, kv_heads=3)
    refused(ValueError, "tau is 0", Attention, tau=0)
    refused(ValueError, "layout is 'rows'", Attention, layout="rows")
    refused(ValueError, "layout is 'heads'", Fused, qkv="qkv", layout="heads", kv_heads=2)
    refused(ValueError, "weight of q_proj of Attention is no parameter", Attention, params=nn.Linear(2, 2).parameters())

    def normed():
        model = Attention()
        model.q_proj = nn.utils.parametrizations.weight_norm(model.q_proj)
        return model

    refused(TypeError, "whose features are not of one weight", normed)

    def shared():
        model = nn.Sequential(Attention(), Attention())
        model[1].q_proj = model[0].q_proj
        return model

    refused(ValueError, "q_proj of 1 is another module's layer too", shared)


# several processes

SCRIPT = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
sys.path.insert(0, sys.argv[4])
from test_qk_clip import Attention, Fused, HEADS, batches, fresh, passes, conv
import ravine
from ravine.loop import QKClip
rank, world = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=world)
xs = batches(world, seed=5)
for make, told in ((Attention, {}), (Fused, {"qkv": "qkv"}), (lambda: Attention(groups=2), {"kv_heads": 2})):
    one = fresh(make)
    opt = ravine.SGD(one.parameters(), lr=0.0)
    QKClip(opt, one, HEADS, tau=1.0, group=False, **told)
    passes(one, xs)
    opt.step()
    for kind in ("DDP", "FSDP2"):
        many = fresh(make)
        mesh = init_device_mesh("cpu", (world,))
        many = DistributedDataParallel(many) if kind == "DDP" else fully_shard(many, mesh=mesh)
        opt = ravine.SGD(many.parameters(), lr=0.0)
        clip = QKClip(opt, many, HEADS, tau=1.0, group=dist.group.WORLD, **told)
        passes(many, [xs[rank]])
        opt.step()
        for p, q in zip(one.parameters(), many.parameters(), strict=True):
            q = q.full_tensor() if hasattr(q, "full_tensor") else q
            assert torch.allclose(p, q, rtol=1e-5, atol=0), (kind, (p - q).abs().max())
    try:
        one = fresh(make)
        opt = ravine.SGD(one.parameters(), lr=0.0)
        QKClip(opt, one, HEADS, **told)
        passes(one, xs)
        opt.step()
    except RuntimeError as error:
        assert "group=torch.distributed.group.WORLD" in str(error)
    else:
        raise AssertionError("nobody has said which processes train one model")
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.ci
def test_of_several_processes_the_largest_logit_counts(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    here = str(Path(__file__).parent)
    command = [sys.executable, str(tmp_path / "script.py")]
    running = [
        subprocess.Popen([*command, str(rank), "2", str(tmp_path / "store"), here], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said[-3000:]
