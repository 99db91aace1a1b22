"""What explain() and RAVINE_DEBUG show of a rule."""

import pytest
import torch
from matrix_rules import Shampoo
from torch import nn
from toys import compiled, rule, run, waves

import ravine
from ravine import words
from ravine.compile.emit import llvm
from ravine.words import sqrt


def test_explain_is_a_page_and_the_code_comes_where_it_is_asked_for():
    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt = ravine.Adam([p, q])
    text, whole = opt.explain(), opt.explain(code=True)
    for word in ("Adam on cpu in float32", "Equations", "Plan", "28 bytes moved per element", "in float64", "56 bytes"):
        assert word in text and word in whole
    for word in ("On the host", "def numbers(t, state, hyper", "Source", "define internal void"):
        assert word not in text and word in whole
    assert len(text.splitlines()) < 40 < len(whole.splitlines())
    assert not text.endswith("\n") and "\n\n\n" not in text


def test_explain_takes_the_types_that_the_states_have():
    p, q = nn.Parameter(torch.ones(3, dtype=torch.bfloat16)), nn.Parameter(torch.ones(3))
    opt = ravine.Adam([p, q], storage="float32")
    for _ in range(2):  # before the states are made and after
        text = opt.explain(code=True)
        assert "22 bytes moved per element" in text and "28 bytes moved per element" in text
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        opt.step()
    types = [batch.launch.types for batch in opt._arranged.batches]
    assert all(llvm.emit(opt.compiled(opt.param_groups[0]).plan, x) in text for x in types)
    z = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    assert "56 bytes moved per element" in ravine.Adam([z]).explain()


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_debug_prints_stages(level, monkeypatch, capsys):
    monkeypatch.setenv("RAVINE_DEBUG", level)
    work = {"1": words.abs, "2": sqrt, "3": lambda g: -words.abs(sqrt(g))}[level]  # source that no test made before
    cls = rule(lambda self, s, p, g, t: p - self.lr * work(g))
    run(cls, waves((2,), 1), (2,))
    text = capsys.readouterr().err
    assert "1 kernel(s)" in text
    assert ("def numbers" in text) == (level >= "2") and ("define internal void" in text) == (level >= "3")


@pytest.mark.parametrize("level", ["yes", "5", "-1"])
def test_a_wrong_debug_level_is_named(level, monkeypatch):
    monkeypatch.setenv("RAVINE_DEBUG", level)
    with pytest.raises(ValueError, match=f"RAVINE_DEBUG is '{level}'; it must be 1, 2, 3 or 4"):
        compiled(rule(lambda self, s, p, g, t: p - g))


def test_explain_writes_calls():
    text = Shampoo([nn.Parameter(torch.ones(3, 4))], interval=10).explain()
    assert "PLₜ = (inverse root(Lₜ, ε) if " in text and "else PLₜ₋₁)" in text
    assert "(inverse root)" not in text
