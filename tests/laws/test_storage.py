"""However states lie in memory, the rule is the same: within a code, unbiased, and bit for bit where it can be."""

import copy

import pytest
import torch
from cases import ALL, ci, equal, every_program, give, near, parameters, slow, states, walk

import ravine
from ravine.compile.launch.base import as_numbers
from ravine.compile.storage import BLOCK, decode, encode, half, join, key, round_stochastically, split, words
from ravine.mods import EMA, ClipNorm, DecoupledDecay
from ravine.optimizer import Optimizer
from ravine.strategies import Lookahead

SHAPES = [(), (0,), (7,), (64, 64), (4097,), (50, 123), (2, 33, 64)]  # the last four have codes, and odd ends


def looks_at_rows(cls):
    """True for rules that go by rows and columns."""
    opt = cls([torch.nn.Parameter(torch.ones(2, 2))])
    plan = opt.compiled(opt.param_groups[0]).plan
    return any(map(plan.rowwise, plan.kernels))


MATRIX_WISE = [name for name, cls in ALL.items() if looks_at_rows(cls)]
storages = pytest.mark.parametrize("storage", ["int8", *ci("bf16")])
int8_and_slowly_bf16 = pytest.mark.parametrize("storage", ["int8", *slow("bf16")])


def fits(cls, storage):
    """Skip the rules that have no such storage."""
    if storage == "int8" and cls.__name__.lower() in MATRIX_WISE:
        pytest.skip(f"{cls.__name__} looks at rows and columns")


def numbers(opt, p):
    """The states of a parameter as numbers."""
    bound = next(b for batch in opt._arranged.batches for b in batch.bound if b.p is p)
    names = {key: name for name, key in bound.keys.items()}
    return {k: as_numbers(bound, names[k]).double() for k in states(opt, p)}


def grain(opt, p, k):
    """How far two neighbouring codes of a state are apart, element by element, and how far its rounding goes."""
    x = opt.state[p][k]
    if x.dtype == torch.bfloat16:
        return x.double().abs() * 2.0**-7 + 1e-6  # and what is left of numbers that cancel
    if x.dtype in (torch.int8, torch.uint8):
        scale = opt.state[p][f"{k}_scale"].double().repeat_interleave(BLOCK)[: x.numel()].view(x.shape)
        return scale / 127 if x.dtype == torch.int8 else ((x.double() + 1) ** 2 - x.double() ** 2) * (scale / 255) ** 2
    return x.double().abs() * 1e-4 + 1e-5


@every_program
@storages
def test_llvm_is_the_reference(cls, storage):
    """Step by step from one state: no code is further off than the next, and few are."""
    fits(cls, storage)
    law, fast = (cls(parameters(SHAPES), storage=storage, backend=b, seed=3) for b in ("reference", "llvm"))
    for t in range(3):
        walk(law, 1, first=t)
        for p, q in zip(walk(fast, 1, first=t), law.param_groups[0]["params"], strict=True):
            near(p, q, 1e-4)
            for k, x in numbers(fast, p).items():
                y, step = numbers(law, q)[k], grain(law, q, k)
                assert law.state[q][k].dtype == fast.state[p][k].dtype
                assert ((x - y).abs() <= 1.01 * step).all(), k
                assert ((x - y).abs() > 1e-2 * step).sum() <= 1 + 0.02 * x.numel(), k
        with torch.no_grad():
            for p, q in zip(fast.param_groups[0]["params"], law.param_groups[0]["params"], strict=True):
                p.copy_(q)
        fast.load_state_dict(copy.deepcopy(law.state_dict()))


@every_program
@int8_and_slowly_bf16
def test_the_first_step_is_that_of_float32(cls, storage):
    """New weights are made of new numbers, not of their codes: nothing is lost before the second step."""
    fits(cls, storage)
    a, b = cls(parameters(SHAPES)), cls(parameters(SHAPES), storage=storage)
    fills = [x for x in b.compiled(b.param_groups[0]).program.start.values() if x.op == "fill" and x.src[0].arg != 0]
    for p, q in zip(walk(a, 1), walk(b, 1), strict=True):
        near(p, q, 1e-4 if fills else 2e-6)  # what does not begin as 0 begins as a code


@every_program
@int8_and_slowly_bf16
def test_states_that_count_are_compressed_and_no_others(cls, storage):
    fits(cls, storage)
    opt = cls(parameters(SHAPES), storage=storage)
    for p in walk(opt, 1):
        program = opt.compiled(opt.param_groups[0], p).program
        for k, x in program.start.items():
            if x.shape is None or k in program.inputs:
                continue
            made = opt.state[p][opt.key(k)]
            if x.arg == "average" and storage == "bf16":  # a moment of a low rank
                assert made.dtype == torch.bfloat16, k
            elif x.op != "fill" or x.shape != ("r", "c"):
                assert made.dtype in (torch.float32, torch.float64), k
            elif storage == "bf16":
                assert made.dtype == torch.bfloat16, k
            else:
                coded = torch.uint8 if x.arg is True else torch.int8
                assert made.dtype == (coded if p.numel() >= 4096 else torch.float32), k


@every_program
def test_a_positive_state_never_is_negative(cls):
    """What rules say of their states is true, else the code of the root would lose it."""
    opt = cls(parameters([(80, 80)]), storage="float32")
    start = opt.compiled(opt.param_groups[0]).program.start
    for p in walk(opt, 4):
        for k in [k for k, x in start.items() if x.arg is True and x.shape == ("r", "c")]:
            assert (opt.state[p][opt.key(k)] >= 0).all(), k


@every_program
@pytest.mark.parametrize(
    ("storage", "bits"), [("int8", 8), *slow(("bf16", None), ("int8", None), (None, 0), (None, 16))]
)
def test_a_loaded_state_continues_bit_for_bit(cls, storage, bits):
    fits(cls, storage)
    dtype = torch.bfloat16 if bits is not None else torch.float32
    kept = {"storage": storage, "master_bits": bits, "seed": 1}
    a = cls(parameters(SHAPES[2:5], dtype=dtype), **kept)
    walk(a, 2)
    b = cls([torch.nn.Parameter(p.detach().clone()) for p in a.param_groups[0]["params"]], **kept)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for p, q in zip(walk(a, 2, first=2), walk(b, 2, first=2), strict=True):
        equal(p.detach(), q.detach())
        assert a.state[p].keys() == b.state[q].keys()
        for k, x in a.state[p].items():
            equal(x, b.state[q][k])


def test_weights_to_evaluate_have_the_further_bits_too():
    """Schedule-Free computes them from the weights that it trains, as float32 does."""
    start, grad = torch.randn(64), torch.randn(64)
    found = {}
    for dtype, bits in ((torch.float32, None), (torch.bfloat16, 16)):
        p = torch.nn.Parameter(start.bfloat16().to(dtype))
        opt = ravine.ScheduleFreeAdamW([p], 1e-3, storage="float32", master_bits=bits)
        for _ in range(20):
            p.grad = grad.bfloat16().to(dtype)
            opt.step()
        opt.eval()
        found[dtype] = p.detach().clone()
    assert torch.equal(found[torch.bfloat16], found[torch.float32].bfloat16())


@every_program
@pytest.mark.parametrize("bits", [16, *slow(8)])
def test_weights_in_two_parts_walk_like_float32(cls, bits):
    """16 further bits are float32, bit for bit where a rule does not ask for the precision of its weights."""
    whole = [torch.nn.Parameter(p.detach().float()) for p in parameters(SHAPES, dtype=torch.bfloat16)]
    cut = parameters(SHAPES, dtype=torch.bfloat16)
    a, b = cls(whole), cls(cut, storage="float32", master_bits=bits)
    compiled = b.compiled(b.param_groups[0], cut[3])
    asks, sums = "p.eps" in compiled.known, compiled.plan.reductions
    for t in range(4):
        give(cut, t)
        for p, q in zip(whole, cut, strict=True):
            p.grad = q.grad.float()
        a.step()
        b.step()
    for p, q in zip(whole, cut, strict=True):
        weights = join(q.detach(), b.state[q]["master"])
        if bits == 16 and not sums:
            equal(p.detach(), weights)
        elif not asks:
            near(p, weights, 1e-5 if bits == 16 else 1e-3)
        assert (weights - q).abs().max() <= weights.abs().max() * 2.0**-8 if q.numel() else True


# random bits


def test_random_bits_are_even_and_of_one_step_says_nothing_of_another():
    i = torch.arange(1 << 16)
    drawn = torch.stack([half(words(i, key(0, t, 0, 0)), which) for t in (1, 2) for which in (0, 1)]).double()
    assert (drawn.mean(1) / 65536 - 0.5).abs().max() < 0.01
    mutual = torch.corrcoef(drawn)
    assert (mutual - torch.eye(4)).abs().max() < 0.02
    assert torch.corrcoef(torch.stack([drawn[0, 1:], drawn[0, :-1]]))[0, 1].abs() < 0.02
    assert len({key(s, t, n, d) for s in (0, 1) for t in (1, 2) for n in (0, 1) for d in (0, 1)}) == 16


@pytest.mark.parametrize("kind", ["bfloat16~", "linear8", "root8"])
def test_the_mean_of_many_roundings_is_the_number(kind):
    x = torch.linspace(0.01, 1, 512).view(2, 256)
    total = torch.zeros(512, dtype=torch.float64)
    for t in range(1, 401):
        random = half(words(torch.arange(512), key(0, t, 0, 0)), t % 2)
        made = round_stochastically(x, random) if kind == "bfloat16~" else decode(*encode(x, kind, random))
        total += made.flatten().double().sqrt() if kind == "root8" else made.flatten().double()
    mean, law = total / 400, x.flatten().double().sqrt() if kind == "root8" else x.flatten().double()
    step = {"bfloat16~": 2.0**-7, "linear8": 1 / 127, "root8": 1 / 255}[kind]
    assert (mean - law).abs().max() < step / 2 * 5 / 20  # five times the deviation of such a mean


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("storage", ["bf16", "int8"])
def test_a_slow_average_moves(storage, backend):
    """Its change in a step is a hundredth of a code: to the nearest, it would stand still."""
    p = torch.nn.Parameter(torch.zeros(64, 64))
    opt = ravine.Adam([p], betas=(0.9995, 0.9995), storage=storage, backend=backend)
    p.grad = torch.ones(64, 64)
    opt.step()
    for k in ("exp_avg", "exp_avg_sq"):  # the average of what was 1
        full = torch.ones(64, 64)
        if storage == "bf16":
            opt.state[p][k].copy_(full)
        else:
            codes, scale = encode(full, "linear8" if k == "exp_avg" else "root8")
            opt.state[p][k].copy_(codes.view(64, 64))
            opt.state[p][f"{k}_scale"].copy_(scale)
    p.grad = torch.full((64, 64), 0.5)
    p.grad[:, ::2] = 1  # each block keeps its largest
    for _ in range(60):
        opt.step()
    m, v = (numbers(opt, p)[k][:, 1::2] for k in ("exp_avg", "exp_avg_sq"))
    assert m.mean() == pytest.approx(0.5 + 0.5 * 0.9995**60, abs=1e-3)
    assert v.mean() == pytest.approx(0.25 + 0.75 * 0.9995**60, abs=3e-3)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_a_nan_stays_in_its_block_and_zeros_stay_zeros(backend):
    p = torch.nn.Parameter(torch.zeros(5 * BLOCK * 4))
    opt = ravine.Adam([p], storage="int8", backend=backend)
    p.grad = torch.ones_like(p)
    p.grad[BLOCK + 3] = torch.nan
    p.grad[2 * BLOCK + 3] = torch.inf
    p.grad[3 * BLOCK : 4 * BLOCK] = 0
    opt.step()
    assert p.isnan().nonzero().flatten().tolist() == [BLOCK + 3, 2 * BLOCK + 3]
    for x in numbers(opt, p).values():
        finite = x.view(-1, BLOCK).isfinite()
        assert finite.all(1).tolist() == [True, False, False] + [True] * 17
        assert not finite[1].any() and not finite[2].all()
        assert (x.view(-1, BLOCK)[3] == 0).all()
    p.grad = torch.ones_like(p)
    opt.step()
    assert p[:BLOCK].isfinite().all() and p[3 * BLOCK :].isfinite().all()


@pytest.mark.parametrize("kind", ["bfloat16+8", "bfloat16+16"])
def test_a_number_is_cut_and_joined(kind):
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.linspace(-30, 30, 10_000)
    x[:4] = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0])
    p, bits = split(x, kind)
    back = join(p, bits)
    assert back.isnan().tolist() == x.isnan().tolist()
    near(back[3:] / x[3:].where(x[3:] != 0, 1), (x[3:] != 0).float(), 0 if kind == "bfloat16+16" else 2.0**-15)
    equal(p[4:], x[4:].to(torch.bfloat16).where((bits[4:] != bits.min()) & (bits[4:] != -bits.min()), p[4:]))


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_two_bytes_of_weights_rounded_stochastically_follow_small_steps(backend):
    """Rounding to nearest loses steps far below a bfloat16 weight's grain; stochastic rounding keeps their mean."""
    ends = {}
    for bits in (None, 0, 8):
        p = torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
        opt = ravine.SGD([p], lr=2.0**-8 / 64, master_bits=bits, backend=backend)
        for _ in range(128):
            p.grad = torch.ones_like(p)
            opt.step()
        ends[bits] = p.detach().float()
    assert (ends[None] == 1).all()
    assert ends[0].mean() == pytest.approx(1 - 2 / 256, abs=2e-4)
    near(ends[8], torch.full((4096,), 1 - 2 / 256), 2.0**-8)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("bits", [8, 16])
def test_weights_may_be_set_between_steps(bits, backend):
    """What further bits are left from the weight before is less than half of the last bit of the new one."""
    opt = ravine.AdamW(parameters([(5000,)], dtype=torch.bfloat16), lr=0.01, master_bits=bits, backend=backend)
    (p,) = walk(opt, 2)
    with torch.no_grad():
        p[:4000:2] = 0
        p[1:4000:2] = -0.0
        p[4000] = torch.inf
    set_to = p.detach().clone()
    p.grad = torch.zeros_like(p)
    opt.param_groups[0]["weight_decay"] = 0.0
    for state in opt.state.values():
        state["exp_avg"].zero_()
    opt.step()
    assert not p[:4000].isnan().any() and (p[:4000] == 0).all() and p[4000] == torch.inf
    near(p[4001:] / set_to[4001:], torch.ones(999), 2.0**-7)


def test_storage_and_bits_may_change_between_steps():
    opt = ravine.Adam(parameters([(64, 64)], dtype=torch.bfloat16), storage="int8", master_bits=8, seed=1)
    (p,) = walk(opt, 2)
    for storage, bits in (("bf16", 16), ("int8", 8), ("float32", 8), ("int8", 16), ("float32", None)):
        law = decode(opt.state[p]["exp_avg"], s) if (s := opt.state[p].get("exp_avg_scale")) is not None else None
        law = opt.state[p]["exp_avg"].float() if law is None else law
        opt.param_groups[0].update(storage=storage, master_bits=bits, lr=0.0)
        opt.param_groups[0]["betas"] = (0.999999, 0.999999)
        walk(opt, 1, first=2)
        x = opt.state[p]["exp_avg"]
        kinds = {"int8": torch.int8, "bf16": torch.bfloat16}
        assert x.dtype == kinds.get(storage, torch.float32)
        assert ("exp_avg_scale" in opt.state[p]) == (storage == "int8")
        assert opt.state[p].get("master", torch.zeros(0)).dtype == {8: torch.int8, 16: torch.int16}.get(
            bits, torch.float32
        )
        x = decode(x, opt.state[p]["exp_avg_scale"]) if storage == "int8" else x.float()
        near(x, law, 0.02)


def test_lookahead_draws_weights_in_two_parts_whole():
    whole, cut = torch.nn.Parameter(torch.ones(1000)), torch.nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    a = Lookahead(ravine.SGD([whole], lr=2.0**-12))
    b = Lookahead(ravine.SGD([cut], lr=2.0**-12, master_bits=16))
    for _ in range(100):
        whole.grad, cut.grad = torch.ones(1000), torch.ones(1000, dtype=torch.bfloat16)
        a.step()
        b.step()
    equal(whole.detach(), join(cut.detach(), b.optimizer.state[cut]["master"]))
    before = b.optimizer.state[cut]["master"].clone()
    b.eval()
    b.train()
    equal(b.optimizer.state[cut]["master"], before)


# together with everything else


@storages
def test_modifiers_and_evaluation_weights(storage):
    """Averages of the weights stay in float32, whatever the states are kept in."""
    worn = [ClipNorm(0.5), DecoupledDecay(0.1), EMA(0.9)]
    a, b = (ravine.Adam(parameters(SHAPES), mods=worn, storage=s) for s in (None, storage))
    for p, q in zip(walk(a, 3), walk(b, 3), strict=True):
        assert b.state[q]["ema_average"].dtype == torch.float32
        near(a.state[p]["ema_average"], b.state[q]["ema_average"], 5e-3)
    before = [q.detach().clone() for q in b.param_groups[0]["params"]]
    b.eval()
    for q in b.param_groups[0]["params"]:
        equal(q.detach(), b.state[q]["ema_average"])
    b.train()
    for q, old in zip(b.param_groups[0]["params"], before, strict=True):
        equal(q.detach(), old)


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("to", [None, "float32", "bf16", "int8"])
@pytest.mark.parametrize("saved", [None, "float32", "bf16", "int8"])
def test_a_state_loads_into_every_storage(saved, to, decoded):
    a = ravine.AdamW(parameters(SHAPES), storage=saved)
    walk(a, 3)
    b = ravine.AdamW([torch.nn.Parameter(p.detach().clone()) for p in a.param_groups[0]["params"]], storage=to)
    b.load_state_dict(copy.deepcopy(a.state_dict(decoded=decoded)))
    assert b.param_groups[0]["storage"] == to
    walk(a, 1, first=3)
    walk(b, 1, first=3)
    kinds = {None: torch.float32, "float32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
    for p, q in zip(a.param_groups[0]["params"], b.param_groups[0]["params"], strict=True):
        near(p, q, 2e-3)
        assert b.state[q]["exp_avg"].dtype == (kinds[to] if q.numel() >= 4096 or to != "int8" else torch.float32)
        assert ("exp_avg_scale" in b.state[q]) == (to == "int8" and q.numel() >= 4096)


def test_decoded_states_with_further_bits_and_under_a_strategy():
    opt = Lookahead(ravine.Adam(parameters([(64, 64)], dtype=torch.bfloat16), storage="int8", master_bits=8))
    walk(opt, 1)
    state = opt.state_dict(decoded=True)["state"][0]
    assert state["exp_avg"].dtype == torch.float32 and state["master"].dtype == torch.int8


def test_decoded_states_load_into_torch():
    a = ravine.Adam(parameters(SHAPES), storage="int8")
    walk(a, 3)
    params = [torch.nn.Parameter(p.detach().clone()) for p in a.param_groups[0]["params"]]
    b = torch.optim.Adam(params)
    b.load_state_dict(a.state_dict(decoded=True))
    for p, q in zip(a.param_groups[0]["params"], params, strict=True):
        for k, x in numbers(a, p).items():
            equal(b.state[q][k].double(), x)


@pytest.mark.parametrize(
    ("key", "x", "said"),
    [
        (
            "exp_avg_scale",
            torch.ones(3),
            r"exp_avg_scale is float32 of shape \(3,\) and must be float32 of shape \(16,\)",
        ),
        ("exp_avg_scale", torch.ones(16).bfloat16(), "exp_avg_scale is bfloat16 of shape"),
        ("master", torch.zeros(3, dtype=torch.int8), "master is int8 of shape .* must be int8 or int16 of shape"),
        ("master", torch.zeros(64, 64), "master is float32"),
    ],
)
def test_what_belongs_to_a_state_must_fit(key, x, said):
    a = ravine.Adam(parameters([(64, 64)], dtype=torch.bfloat16), storage="int8", master_bits=8)
    walk(a, 1)
    state = copy.deepcopy(a.state_dict())
    state["state"][0][key] = x
    before = copy.deepcopy(a.state_dict())
    with pytest.raises(ValueError, match=said):
        a.load_state_dict(state)
    params = a.param_groups[0]["params"]
    a.state[params[0]][key] = x
    with pytest.raises(RuntimeError, match=said):
        walk(a, 1, first=1)
    equal(a.state_dict()["state"][0]["exp_avg"], before["state"][0]["exp_avg"])


@storages
@pytest.mark.parametrize("shape", [(64, 65), (2, 40, 8, 8)])
def test_order_in_memory_does_not_matter(storage, shape):
    def run(turned):
        (p,) = parameters([shape])
        if turned:
            p = torch.nn.Parameter(p.detach().transpose(0, 1).contiguous().transpose(0, 1))
        opt = ravine.Adam([p], storage=storage)
        for t in range(3):
            p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(t))
            if turned:
                p.grad = p.grad.transpose(0, 1).contiguous().transpose(0, 1)
            opt.step()
        return p.detach(), numbers(opt, p)

    (p, a), (q, b) = run(False), run(True)
    near(p, q, 1e-3 if storage == "bf16" else 0)
    if storage == "int8":
        for k in a:
            equal(a[k], b[k])


def test_the_number_of_threads_does_not_matter():
    def run(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            opt = ravine.LAMB(parameters([(300, 257), (70_001,)]), storage="int8", mods=[ClipNorm(0.1)])
            return [p.detach() for p in walk(opt, 3)], opt
        finally:
            torch.set_num_threads(before)

    (one, a), (two, b) = run(1), run(2)
    for p, q in zip(one, two, strict=True):
        equal(p, q)
    for p, q in zip(a.param_groups[0]["params"], b.param_groups[0]["params"], strict=True):
        for k, x in a.state[p].items():
            equal(x, b.state[q][k])


def test_it_is_said_what_moves():
    opt = ravine.AdamW(parameters([(64, 64)]), storage="int8")
    assert "16.06 bytes moved per element" in opt.explain()
    assert "20 bytes moved per element" in ravine.AdamW(parameters([(64, 64)]), storage="bf16").explain()


# what cannot be


@pytest.mark.parametrize("name", MATRIX_WISE)
def test_rules_of_rows_and_columns_say_so(name):
    opt = ALL[name](parameters([(64, 64)]), storage="int8")
    with pytest.raises(ValueError, match='storage="int8" keeps blocks of elements; use storage="bf16"'):
        walk(opt, 1)


def test_what_is_refused():
    half_precision, complex_one = torch.zeros(3, dtype=torch.float16), torch.zeros(3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="is complex, and storage='int8' is for real ones"):
        ravine.Adam([torch.nn.Parameter(complex_one)], storage="int8")
    with pytest.raises(ValueError, match="is float16, and master_bits are for bfloat16"):
        ravine.Adam([torch.nn.Parameter(half_precision)], master_bits=8)
    with pytest.raises(ValueError, match="codes cannot be interpolated"):
        Lookahead(ravine.Adam(parameters([(3,)]), storage="int8"), inner_state="interpolate")
    table = torch.nn.Embedding(100, 64, sparse=True)
    table(torch.tensor([3])).sum().backward()
    with pytest.raises(RuntimeError, match='storage="int8" keeps whole blocks'):
        ravine.Adam(table.parameters(), storage="int8").step()


def test_optimizers_are_what_is_tested():
    assert all(issubclass(cls, Optimizer) for cls in ALL.values()) and {"adafactor", "came"} <= set(MATRIX_WISE)
