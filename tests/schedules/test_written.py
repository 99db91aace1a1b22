"""A schedule that is written in a line is the one that Python would make."""

import pytest

from ravine.schedules import Constant, Cosine, Linear, Warmup, create
from ravine.schedules.by_name import EVERY
from ravine.schedules.written import read, written


@pytest.mark.parametrize(
    "typed, made",
    [
        ("warmup=500*cosine", Warmup(500) * Cosine(2000)),
        ("Warmup=500 * Cosine(end=0.1)", Warmup(500) * Cosine(2000, end=0.1)),
        ("cosine(warmup=100)", create("cosine", 2000, warmup=100)),
        ("constant=0.5*linear*warmup", Constant(0.5) * Linear(2000) * Warmup(200)),
        ("wsd(warmup=10,shape=linear)", create("wsd", 2000, warmup=10, shape="linear")),
        ("multi-step(at=(10,20))", create("multi-step", 2000, at=(10, 20))),
    ],
)
def test_it_is_what_python_makes(typed, made):
    assert read(typed, 2000) == made
    assert read(written(typed), 2000) == made and written(written(typed)) == written(typed)


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.name)
def test_every_name_is_written_as_itself(cls):
    assert written(cls.name) == cls.name and read(cls.name, 300) == create(cls.name, 300)


@pytest.mark.parametrize(
    "typed, why",
    [
        ("cosin", "did you mean cosine"),
        ("warmup=500*", "'' is no schedule"),
        ("cosine=0.1", r"in parentheses, as cosine\(end=0.1\)"),
        ("cosine(total=3)", "leave out total: it is the length of the run"),
        ("cosine(name=x)", "leave out name"),
        ("cosine(end=0.1", "is no schedule"),
        ("warmup=fast", "must be a whole number"),
        ("warmup=-1", "must lie in"),
        ("cosine(ends=0)", "cosine has no 'ends': did you mean end"),
    ],
)
def test_what_means_nothing_is_an_error_that_says_what_to_write(typed, why):
    with pytest.raises((ValueError, TypeError), match=why):
        written(typed)
