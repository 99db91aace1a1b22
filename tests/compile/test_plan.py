"""How a rule is cut into kernels and numbers of the host, and what their code may not say."""

import re

import torch
from toys import compiled, rule, run, waves

import ravine
from ravine.compile.emit import llvm
from ravine.compile.expr import FULL, MATRIX, REDUCE, walk
from ravine.compile.plan import Host, Matrix, Reduce, Short, Sweep
from ravine.optim import registry
from ravine.words import norm


def test_elementwise_rules_are_one_kernel_and_no_other_writes_before_the_last():
    for name, cls in registry().items():
        plan = compiled(cls).plan
        ops = {x.op for x in walk(plan.outputs.values())}
        assert ops & MATRIX or (len(plan.kernels) == 1) == (not ops & {*REDUCE}), name
        assert [x.stage for x in plan.phases if isinstance(x, Host)] == list(range(1 + len(plan.gathers)))
        assert isinstance(plan.phases[-1], Short | Sweep | Reduce | Matrix), name
        assert not any(k.stores for k in plan.kernels[:-1])


def test_lamb_is_two_kernels():
    plan = compiled(ravine.LAMB).plan
    assert len(plan.kernels[0].sums) == 2 and not plan.kernels[1].sums
    assert list(plan.reads(plan.kernels[0])) == ["p", "m", "v", "g"] and list(plan.writes(plan.kernels[1])) == [
        "p",
        "m",
        "v",
    ]


def test_what_depends_on_the_count_and_hyperparameters_is_done_on_the_host():
    for cls in (ravine.Adam, ravine.NAdam, ravine.RAdam):
        plan = compiled(cls).plan
        inner = [x for k in plan.kernels for x in plan.needs(k) if x.shape == FULL]
        assert not any(x.op == "pow" for x in inner)
        assert sum(x.op in ("div", "sqrt") for x in inner) <= 2


def test_norms_of_norms_take_a_kernel_each():
    def update(self, s, p, g, t):
        u = g / norm(g)
        v = u * norm(u + p)
        return p - self.lr * v / norm(v)

    cls = rule(update)
    assert len(compiled(cls).plan.kernels) == 4
    (g,) = waves((3, 4), 1)
    u = g / g.norm()
    v = u * (u + 1).norm()
    for backend in ("llvm", "reference"):
        p, _ = run(cls, [g], backend=backend, lr=0.1)
        assert torch.allclose(p, 1 - 0.1 * v / v.norm(), rtol=1e-13)


def test_emitted_ir_has_no_flag_that_hides_a_nan():
    for cls in registry().values():
        plan = compiled(cls).plan
        text = llvm.emit(plan, dict.fromkeys(plan.arrays, "float32"))
        assert not re.search(r"\b(nnan|ninf|fast|afn|arcp)\b", text)
