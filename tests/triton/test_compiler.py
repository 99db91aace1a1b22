"""The real compiler, which needs no GPU: every rule becomes machine code, with the instructions that it should have."""

import re
from functools import partial
from importlib.util import find_spec

import pytest
import torch

from ravine.compile.emit.triton import BLOCK, emit
from ravine.compile.expr import FULL
from ravine.compile.launch.triton import load
from ravine.compile.storage import table
from ravine.mods import Averaging, ClipNorm
from ravine.optim import registry

pytestmark = pytest.mark.skipif(find_spec("triton.language") is None, reason="triton is made for Linux only")

TABLES = {
    "pointers": "*i64",
    "sizes": "*i64",
    "blocks": "*i32",
    "numbers": "*fp64",
    "sums": "*fp64",
    "partials": "*fp64",
    "clocks": "*i64",
    "given": "*fp64",
    "totals": "*i64",
}
APPROXIMATE = re.compile(r"\b(?:div\.(?:full|approx)|sqrt\.approx|rsqrt|rcp|ex2|lg2)\S*")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def assembly(rule, kind, shape=(1,), **hyper):
    """The PTX of each function of a rule, as an H100 gets it."""
    opt = rule([torch.nn.Parameter(torch.zeros(shape))], **hyper)
    plan = opt.compiled(opt.param_groups[0]).plan
    wide = "float64" if kind == "float64" else "float32"
    kinds = dict.fromkeys(plan.arrays, kind) | dict.fromkeys(plan.between.values(), wide)
    if plan.storage == "int8":
        kinds |= {k: "uint8" if x.arg is True else "int8" for k, x in plan.start.items()}
    kinds = table({a: plan.kind(a, kinds[a]) for a in plan.arrays})
    functions = load(emit(plan, kinds, recorded=opt.defaults["capturable"]))
    return plan, {k: ptx(f, wide) for k, f in functions.items() if re.match(r"(kernel|finish|stage|gather)\d|close", k)}


def ptx(function, wide):
    """The PTX of one function, which the launch would call."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    types = TABLES | {"tensors": "i32", "rows": "i32"}
    types["columns"] = "*fp64" if wide == "float64" else "*fp32"
    types = {name: types[name] for name in function.arg_names if name in types}
    constants = {"BLOCK": BLOCK} if "BLOCK" in function.arg_names else {}
    tables = [i for i, name in enumerate(function.arg_names) if types.get(name, "").startswith("*")]
    aligned = {(i,): [["tt.divisibility", 16]] for i in tables}
    source = ASTSource(function, types | dict.fromkeys(constants, "constexpr"), constants, aligned)
    options = {"num_warps": 4, "enable_fp_fusion": True}
    return build(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]


def marked(mark, *values) -> list:
    """Cases that CI runs, or the slow suite."""
    return [pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=mark) for x in values]


ci, more = partial(marked, pytest.mark.ci), partial(marked, pytest.mark.slow)
QUICK = [("sgd", "float32"), ("adamw", "float32"), ("rprop", "float64")]
LATER = [("lamb", "float32"), ("prodigy", "float32"), ("adamw", "bfloat16")]
EVERY = [*((name, "float32") for name in registry()), ("rprop", "float64"), ("adamw", "bfloat16"),
         ("adamw", "float16"), ("lamb", "bfloat16")]  # fmt: skip
CASES = [*QUICK, *ci(*LATER), *more(*(x for x in EVERY if x not in QUICK + LATER))]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_rule_compiles(name, kind):
    plan, found = assembly(registry()[name], kind)
    for text in found.values():
        assert not APPROXIMATE.findall(text)
        assert not re.findall(r"\b(?:atom|red)\.", text)  # no sum depends on which block was first
    for i, kernel in enumerate(plan.kernels):
        if plan.rowwise(kernel):
            continue
        text = found[f"kernel{i}"]
        reads = sum(x.shape == FULL for x in plan.reads(kernel).values())
        bytes_per_thread = BLOCK // 128 * {"float64": 8, "float32": 4}.get(kind, 2)
        # the fast form moves 16 bytes at a time, although the addresses come from memory
        assert len(re.findall(r"ld\.global\.v[24]\.b(?:32|64)", text)) == reads * bytes_per_thread // 16
        writes = len(plan.writes(kernel))
        assert len(re.findall(r"st\.global\.v[24]\.b(?:32|64)", text)) == writes * bytes_per_thread // 16


@pytest.mark.parametrize("kind", ["float32", *more("float64", "bfloat16")])
@pytest.mark.parametrize("name", ["sm3", *ci("adafactor"), *more("came")])
def test_rules_of_matrices_compile(name, kind):
    plan, found = assembly(registry()[name], kind, (2, 2))
    assert any(plan.rowwise(k) for k in plan.kernels)
    for text in found.values():
        assert not APPROXIMATE.findall(text)
        assert not re.findall(r"\b(?:atom|red)\.", text)


@pytest.mark.parametrize("name", ["adamw", *more("lion", "lamb", "radam")])
@pytest.mark.parametrize(
    ("storage", "bits", "kind"),
    [("bf16", None, "float32"), *ci(("int8", None, "float32"), ("int8", 8, "bfloat16"), (None, 0, "bfloat16"))],
)
def test_storages_compile(name, storage, bits, kind):
    _, found = assembly(registry()[name], kind, storage=storage, master_bits=bits, nonfinite="skip", measured=True)
    for text in found.values():
        assert not APPROXIMATE.findall(text)
        assert not re.findall(r"\b(?:atom|red)\.", text)


@pytest.mark.ci
@pytest.mark.parametrize("name", ["prodigy", "adafactor", *more("adamw", "radam", "momoadam", "lamb")])
def test_the_part_of_the_host_compiles(name):
    shape = (2, 2) if name == "adafactor" else (1,)
    mods = [ClipNorm(1.0), Averaging(1, 2)]
    plan, found = assembly(registry()[name], "float32", shape, capturable=True, mods=mods, nonfinite="skip")
    sums = [plan.sums.index(x.src[0]) for phase in plan.gathers for x in phase.sums]
    assert {"close", *(f"stage{i}" for i in range(len(plan.stages))), *(f"gather{i}" for i in sums)} <= found.keys()
    last = len(plan.kernels) - 1
    for name, text in found.items():
        assert not re.findall(r"\b(?:atom|red)\.", text)
        if part := re.match(r"(?:kernel|finish)(\d+)", name):  # the last ones look first whether the step is made
            looks = re.search(r"add\.s64 \s*%rd\d+, %rd\d+, -16;", text) is not None
            assert looks == (int(part[1]) == last)


def test_the_source_is_read_from_memory():
    """Nothing is written where another user could change it before it runs."""
    import inspect
    from pathlib import Path

    opt = registry()["sgd"]([torch.nn.Parameter(torch.zeros(1))])
    plan = opt.compiled(opt.param_groups[0]).plan
    text = emit(plan, dict.fromkeys(plan.arrays, "float32"))
    function = load(text)["kernel0"].fn
    assert inspect.getsource(function) in text
    assert not Path(function.__code__.co_filename).exists()
