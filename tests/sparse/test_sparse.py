"""Sparse gradients: the touched rows move as in a dense step, with torch's numbers where it has any; nothing else."""

import copy
import io

import pytest
import torch
from torch import nn

import ravine
from ravine.compile.launch.rows import LLVMRows
from ravine.mods import EMA, ClipNorm, ClipTensorNorm, ClipValue
from ravine.words import normal, numel, zeros

BACKENDS = ["llvm", "reference"]
both = pytest.mark.parametrize("backend", BACKENDS)


def sparse(p, t, count=9, seed=0, dims=1):
    """A gradient that is not coalesced: rows drawn with repetition, values with their step."""
    made = torch.Generator().manual_seed(1000 * seed + t)
    index = torch.stack([torch.randint(0, n, (count,), generator=made) for n in p.shape[:dims]])
    values = torch.randn(count, *p.shape[dims:], generator=made, dtype=torch.float64).to(p.dtype)
    return torch.sparse_coo_tensor(index, values, p.shape, check_invariants=True)


def table(shape=(23, 7), dtype=torch.float32, seed=0):
    made = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(shape, generator=made, dtype=torch.float64).to(dtype))


def near(a, b, tolerance):
    a, b = a.detach(), b.detach()
    gap = ((a - b).abs() / b.abs().clamp(min=1)).max() if a.numel() else torch.tensor(0.0)
    assert gap <= tolerance, f"{float(gap):.2e} apart"


# torch's numbers


@pytest.fixture
def kinds():
    yield
    torch.set_default_dtype(torch.float32)


TORCHS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("SparseAdam", {}),
    ("SparseAdam", {"lr": 0.1, "betas": (0.7, 0.95), "eps": 1e-2, "maximize": True}),
]


@both
@pytest.mark.parametrize(("name", "hyper"), TORCHS)
@pytest.mark.parametrize(
    ("shape", "dims"),
    [((23, 7), 1), ((6, 5, 3), 2), *(pytest.param(x, 1, marks=pytest.mark.ci) for x in ((23, 1), (23,), (6, 5, 3)))],
)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_a_path_of_torch(name, hyper, backend, shape, dims, kinds):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 5e-6)):
        torch.set_default_dtype(dtype)  # torch makes its factor of lr_decay in it
        p, q = table(shape, dtype), table(shape, dtype)
        mine = getattr(ravine, name)([p], backend=backend, **hyper)
        theirs = getattr(torch.optim, name)([q], **hyper)
        for t in range(30):
            count = 0 if t % 11 == 4 else 9
            p.grad, q.grad = sparse(p, t, count, dims=dims), sparse(q, t, count, dims=dims)
            if t % 5 == 2:
                p.grad = p.grad.coalesce()
            mine.step()
            theirs.step()
        near(p, q, tolerance)
        for k, x in theirs.state[q].items():
            near(torch.as_tensor(mine.state[p][k]), torch.as_tensor(x), tolerance)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_dense_and_sparse_steps_of_torch(name):
    p, q = table(dtype=torch.float64), table(dtype=torch.float64)
    mine, theirs = getattr(ravine, name)([p], lr=0.1), getattr(torch.optim, name)([q], lr=0.1)
    for t in range(40):
        for x in (p, q):
            x.grad = sparse(x, t) if t % 3 else sparse(x, t).to_dense()
        mine.step()
        theirs.step()
    near(p, q, 1e-13)


def test_an_embedding_trains_as_torchs():
    made = [nn.EmbeddingBag(50, 5, sparse=True) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    opts = ravine.SparseAdam(made[0].parameters(), lr=0.1), torch.optim.SparseAdam(made[1].parameters(), lr=0.1)
    for t in range(30):
        words = torch.randint(0, 50, (4, 6), generator=torch.Generator().manual_seed(t))
        for model, opt in zip(made, opts, strict=True):
            opt.zero_grad(set_to_none=t % 2 == 0)
            model(words).square().sum().backward()
            opt.step()
    near(made[0].weight, made[1].weight, 5e-6)


def test_names_and_defaults_are_torchs():
    theirs = torch.optim.SparseAdam([table()]).defaults
    mine = ravine.SparseAdam([table()]).defaults
    assert {k: mine[k] for k in theirs} == theirs
    for cls in (ravine.SparseAdam, torch.optim.SparseAdam):
        with pytest.raises(ValueError, match=r"complex|Complex"):
            cls([table(dtype=torch.complex64)])


def test_torch_and_ravine_hand_over_in_the_middle():
    p, q = table(), table()
    mine, theirs = ravine.SparseAdam([p]), torch.optim.SparseAdam([q])
    for t in range(60):
        p.grad, q.grad = sparse(p, t), sparse(q, t)
        mine.step()
        theirs.step()
        if t == 20:
            other = io.BytesIO()
            torch.save(mine.state_dict(), other)
            other.seek(0)
            saved, mine = theirs.state_dict(), ravine.SparseAdam([p])
            theirs = torch.optim.SparseAdam([q])
            theirs.load_state_dict(torch.load(other, weights_only=True))
            mine.load_state_dict(copy.deepcopy(saved))
    near(p, q, 1e-6)
    assert float(mine.state[p]["step"]) == 60


# what lazy means


RULES = [
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.8, "dampening": 0.5}),
    ("Adagrad", {"weight_decay": 0.1, "lr_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"bias_correction": False, "maximize": True}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"storage": "float32"}),
    ("AdamW", {"mods": (ClipValue(0.5), EMA(0.9))}),
    ("SparseAdam", {}),
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64]


class Always(ravine.SparseAdam):
    """With dense gradients, to be compared with."""

    dense = True


def takes(dtype, name, hyper):
    """Whether a rule takes weights of a type: SparseAdam and modifiers refuse complex ones."""
    return not dtype.is_complex or ("mods" not in hyper and name != "SparseAdam")


@both
@pytest.mark.parametrize(
    ("dtype", "name", "hyper"),
    [
        pytest.param(d, *rule, marks=() if d == torch.float32 else pytest.mark.ci)
        for d in DTYPES
        for rule in RULES
        if takes(d, *rule)
    ],
    ids=str,
)
def test_touched_rows_move_as_in_a_dense_step_and_the_others_stay(name, hyper, dtype, backend):
    cls = Always if name == "SparseAdam" else getattr(ravine, name)
    for shape, dims in ((23, 7), 1), ((23, 1), 1), ((23,), 1), ((5, 4, 35), 2):
        p, q = table(shape, dtype), table(shape, dtype)
        lazy, whole = (cls([x], lr=0.1, backend=backend, **hyper) for x in (p, q))
        for t in range(12):
            dense = t % 5 == 3  # in some steps the gradient is dense
            g = sparse(p, t, count=0 if t == 7 else 6, dims=dims).coalesce()
            touched = torch.zeros(shape[:dims], dtype=torch.bool).index_put_(tuple(g.indices()), torch.tensor(True))
            p.grad, q.grad = (g.to_dense(), g.to_dense()) if dense else (g, g.to_dense())
            before = [x.detach().clone() for x in (q, *whole.state[q].values())]
            lazy.step()
            whole.step()
            after = [q.detach(), *whole.state[q].values()]
            if not before[1:]:
                before += [x.clone() for k, x in lazy.state[p].items()]  # of rows not touched: as they began
            for old, new in zip(before, after, strict=True):
                if new.shape == q.shape and not dense:
                    new[~touched] = old[~touched]
            for k, x in whole.state[q].items():
                assert lazy.state[p][k].dtype == x.dtype
                near(lazy.state[p][k], x, 1e-6 if dtype != torch.float64 else 1e-15)
            near(p, q, 1e-6 if dtype != torch.float64 else 1e-15)


def test_a_row_keeps_its_momentum_and_the_count_goes_on():
    p = nn.Parameter(torch.zeros(3, 2))
    opt = ravine.Adam([p], lr=0.1)
    for row in (0, 1, 1, 1):
        p.grad = torch.sparse_coo_tensor([[row]], torch.ones(1, 2), p.shape, check_invariants=True)
        opt.step()
    state = opt.state[p]
    near(state["exp_avg"][0], torch.full((2,), 0.1), 1e-7)
    near(state["exp_avg"][1], torch.full((2,), 0.271), 1e-6)
    assert float(state["step"]) == 4
    assert not p[2].any() and not state["exp_avg"][2].any()


def test_nothing_touched_is_a_step_without_change():
    for name in ("SGD", "Adagrad", "Adam", "AdamW", "SparseAdam"):
        for backend in BACKENDS:
            p = table()
            opt = getattr(ravine, name)([p], backend=backend)
            before = p.detach().clone()
            p.grad = sparse(p, 0, count=0)
            opt.step()
            assert torch.equal(p, before) and float(opt.state[p]["step"]) == 1


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_tables_without_elements(shape):
    p = nn.Parameter(torch.zeros(shape))
    p.grad = torch.sparse_coo_tensor(
        torch.zeros(1, min(shape[0], 1), dtype=torch.int64),
        torch.zeros(min(shape[0], 1), shape[1]),
        shape,
        check_invariants=True,
    )
    opt = ravine.Adam([p])
    opt.step()
    assert float(opt.state[p]["step"]) == 1


def test_a_number_of_no_dimensions():
    p = nn.Parameter(torch.tensor(1.0))
    opt = ravine.SGD([p], lr=0.5)
    p.grad = torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), torch.ones(2), (), check_invariants=True)
    opt.step()
    assert p == 0


# what it costs


def test_the_work_is_that_of_the_touched_rows():
    p = nn.Parameter(torch.zeros(200_000, 3))
    opt = ravine.SparseAdam([p])
    seen = []
    for count in (5, 50):
        p.grad = torch.sparse_coo_tensor(
            torch.arange(count)[None], torch.ones(count, 3), p.shape, check_invariants=True
        )
        opt.step()
        launch = opt._arranged.batches[0].launch
        assert isinstance(launch, LLVMRows)
        assert launch.calls == len(seen) + 1, "one pass"
        seen.append(int(launch.ends[-1]))
    assert seen == [15, 150]


@pytest.mark.parametrize("width", [1, 3, 16, 37])
def test_the_number_of_threads_changes_nothing(width):
    def run(threads):
        torch.set_num_threads(threads)
        p, q = table((30_000, width)), table((1000, 64), seed=1)
        opt = ravine.Adam([p, q], lr=0.1)
        for t in range(4):
            p.grad, q.grad = sparse(p, t, 40_000), sparse(q, t, 5000, seed=1)
            opt.step()
        return torch.cat([p.flatten(), q.flatten()])

    assert torch.equal(run(1), run(3))


# beside others


@both
def test_sparse_and_dense_parameters_in_one_optimizer(backend):
    shapes = [(23, 7), (4, 3), (11, 5), (30,), (23, 7)]
    lazy = {0, 2, 4}

    def run(together):
        params = [table(s, seed=i) for i, s in enumerate(shapes)]
        groups = [{"params": params[:3], "lr": 0.1}, {"params": params[3:], "lr": 0.01, "weight_decay": 0.5}]
        if together:
            opts = [ravine.AdamW(groups, backend=backend)]
        else:
            opts = [ravine.AdamW([g | {"params": [p]}], backend=backend) for g in groups for p in g["params"]]
        for t in range(12):
            for i, p in enumerate(params):
                p.grad = sparse(p, t, seed=i) if i in lazy and (t + i) % 4 else sparse(p, t, seed=i).to_dense()
                if (t + i) % 7 == 3:
                    p.grad = None
            for opt in opts:
                opt.step()
        return params

    for p, q in zip(run(True), run(False), strict=True):
        near(p, q, 1e-6)


def test_counters_hooks_and_closures():
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 1))
    opt, called = ravine.Adagrad(model.parameters(), lr=0.1), []
    opt.register_step_pre_hook(lambda *_: called.append("before"))
    opt.register_step_post_hook(lambda *_: called.append("after"))
    model[0].weight.register_post_accumulate_grad_hook(lambda p: called.append(p.grad.layout))

    def closure():
        opt.zero_grad()
        loss = model(torch.tensor([1, 1, 3])).square().sum()
        loss.backward()
        return loss

    version = model[0].weight._version
    losses = [opt.step(closure).item() for _ in range(5)]
    assert losses[-1] < losses[0]
    assert called[:3] == ["before", torch.sparse_coo, "after"]
    assert model[0].weight._version > version


def test_a_rate_that_a_schedule_changes():
    p, q = table(), table()
    mine, theirs = ravine.SparseAdam([p], lr=0.1), torch.optim.SparseAdam([q], lr=0.1)
    plans = [torch.optim.lr_scheduler.ExponentialLR(x, 0.8) for x in (mine, theirs)]
    for t in range(10):
        p.grad, q.grad = sparse(p, t), sparse(q, t)
        for opt, plan in zip((mine, theirs), plans, strict=True):
            opt.step()
            plan.step()
    near(p, q, 1e-6)


def test_grad_scaler_skips_and_unscales():
    models = [nn.Embedding(9, 4, sparse=True) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    opts = ravine.SparseAdam(models[0].parameters(), lr=0.1), ravine.SparseAdam(models[1].parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for t in range(5):
        for i, (model, opt) in enumerate(zip(models, opts, strict=True)):
            opt.zero_grad()
            loss = model(torch.tensor([t, 1, t])).square().sum()
            if i == 0:
                scaler.scale(loss * (float("inf") if t == 3 else 1.0)).backward()
                scaler.step(opt)
                scaler.update()
            elif t != 3:
                loss.backward()
                opt.step()
    assert torch.equal(models[0].weight, models[1].weight)
    assert scaler.get_scale() == 4.0


def test_a_checkpoint_continues_bit_for_bit():
    p, q = table(), table()
    first = ravine.Adam([p], lr=0.1, amsgrad=True)
    for t in range(7):
        p.grad = sparse(p, t)
        first.step()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = ravine.Adam([q])
    second.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        q.copy_(p)
    for t in range(7, 14):
        p.grad, q.grad = sparse(p, t), sparse(q, t)
        first.step()
        second.step()
    assert torch.equal(p, q)
    p.grad, twin = sparse(p, 20), copy.deepcopy(first)  # a copy arranges anew
    twin.step()


# what is refused


def refused(opt, kind, match):
    """Raises, and has changed nothing."""
    params = [p for g in opt.param_groups for p in g["params"]]
    before = [p.detach().clone() for p in params]
    with pytest.raises(kind, match=match):
        opt.step()
    for p, old in zip(params, before, strict=True):
        assert torch.equal(p, old) or not p.is_contiguous()


def test_dense_gradients_are_not_sparse_adams():
    first, p = table(), table()
    opt = ravine.SparseAdam([first, p])
    first.grad, p.grad = sparse(first, 0), torch.ones_like(p)
    refused(opt, RuntimeError, r"parameter 1 of shape \(23, 7\) has a dense gradient, and SparseAdam .*Adam")
    assert not opt.state
    p.grad = sparse(p, 0)
    opt.step()
    p.grad = torch.ones_like(p)
    refused(opt, RuntimeError, "has a dense gradient")
    with pytest.raises(RuntimeError):
        torch.optim.SparseAdam([p]).step()


@pytest.mark.parametrize("name", ["RMSprop", "LAMB", "Lion", "AMSGrad"])
def test_other_rules_name_those_that_can(name):
    p = table()
    p.grad = sparse(p, 0)
    refused(getattr(ravine, name)([p]), RuntimeError, f"{name}: parameter 0 .*sparse.*SGD, Adagrad, Adam, AdamW and")


class Sized(ravine.SGD):
    def update(self, s, p, g, t):
        return p - self.lr * g / numel(p)


class Noisy(ravine.SGD):
    def update(self, s, p, g, t):
        return p - self.lr * (g + normal(p, 1, t))


@both
def test_programs_that_need_the_whole_tensor(backend):
    p = table()
    p.grad = sparse(p, 0)
    for mod in (ClipNorm(1.0), ClipTensorNorm(1.0)):
        opt = ravine.AdamW([p], mods=[mod], backend=backend)
        refused(opt, RuntimeError, rf"AdamW with mods \['{type(mod).__name__}'\] needs the whole tensor")
    for cls in (Sized, Noisy):
        refused(cls([p], backend=backend), RuntimeError, f"{cls.__name__} needs the whole tensor")


@both
def test_tables_that_do_not_lie_row_after_row(backend):
    p = nn.Parameter(torch.ones(7, 5).T)
    p.grad = sparse(p, 0)
    refused(ravine.SGD([p], backend=backend), RuntimeError, r"parameter 0 of shape \(5, 7\).*contiguous")
    q = table()
    opt = ravine.Adam([q], backend=backend)
    q.grad = sparse(q, 0)
    opt.step()
    opt.state[q]["exp_avg"] = opt.state[q]["exp_avg"].T.contiguous().T
    refused(opt, RuntimeError, "its state exp_avg does not lie row after row")


@both
def test_indices_outside_the_table(backend):
    for row in (-1, 23):
        p = table()
        p.grad = torch.sparse_coo_tensor([[3, row]], torch.ones(2, 7), p.shape, check_invariants=False)
        refused(ravine.SGD([p], backend=backend), RuntimeError, "indices")


def test_memory_that_was_freed():
    p = table()
    opt = ravine.SGD([p])
    p.grad = sparse(p, 0)
    p.data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="no memory"):
        opt.step()


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_other_layouts():
    p = table((4, 4))
    p.data = torch.ones(4, 4)
    p.grad = None
    opt = ravine.SGD([p])
    csr = torch.eye(4).to_sparse_csr()
    from ravine.optimizer.bind import batches

    with pytest.raises(RuntimeError, match=r"sparse gradient.*torch\.sparse_csr.*sparse_coo"):
        batches(opt, [(0, opt.param_groups[0], p, csr)])


def test_a_fault_in_one_parameter_moves_no_other():
    p, q = table(), table()
    opt = ravine.SGD([p, q], lr=0.1)
    p.grad, q.grad = sparse(p, 0), torch.ones_like(q)
    opt.step()
    p.grad, q.grad = sparse(p, 1), torch.sparse_coo_tensor([[99]], torch.ones(1, 7), q.shape, check_invariants=False)
    refused(opt, RuntimeError, "parameter 1 .*indices")
    q.grad = sparse(q, 1)
    opt.step()
    assert float(opt.state[p]["step"]) == 2


def test_a_rule_of_ones_own_says_that_it_is_sparse():
    class Mine(ravine.Optimizer):
        sparse = True

        def init(self, s, p):
            s.m = zeros(p)

        def update(self, s, p, g, t):
            s.m = 0.5 * s.m + g
            return p - self.lr * s.m

    p, q = table(), table()
    a, b = Mine([p], lr=0.1), ravine.SGD([q], lr=0.1, momentum=0.5)
    for t in range(5):
        p.grad, q.grad = sparse(p, t), sparse(q, t)
        a.step()
        b.step()
    near(p, q, 1e-6)
