"""The page can move every hyperparameter of every optimizer, over a range that its class allows."""

import math

import pytest

from ravine.rule.hyper import fields, settle
from ravine.surfaces import find
from ravine.surfaces.known.matrix import Matrix
from ravine.surfaces.play.answers import surface
from ravine.surfaces.play.asked import OPTIMIZERS
from ravine.surfaces.play.controls import COMMON, controls


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_field_has_its_controls(name):
    cls = OPTIMIZERS[name]
    found = controls(cls)
    assert {c.name for c in found} == fields(cls).keys() - COMMON
    for c in found:
        whole = fields(cls)[c.name][1]
        assert c.default == (whole if c.part is None else whole[c.part])
        if c.kind in ("number", "whole"):
            assert c.low < c.high
        if c.kind == "number" and c.default is not None and math.isfinite(c.default) and c.scale != "near-one":
            assert c.default == 0 or c.low <= c.default <= c.high


def test_a_whole_number_stays_within_its_interval():
    (side,) = (c for c in surface(Matrix)["controls"] if c["name"] == "side")
    assert (side["kind"], side["low"], side["high"]) == ("whole", 2, 20)
    assert find("matrix", side=2).shape == (2, 2) and find("matrix", side=20).shape == (20, 20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_ends_of_a_slider_are_allowed(name):
    cls = OPTIMIZERS[name]
    for c in controls(cls):
        if c.kind != "number":
            continue
        for end in (c.low, c.high):
            whole = fields(cls)[c.name][1]
            value = end if c.part is None else tuple(end if i == c.part else x for i, x in enumerate(whole))
            try:
                settle(cls, {c.name: value})
            except ValueError as error:  # an open end: just inside it is allowed
                inside = c.low + (c.high - c.low) * (0.01 if end == c.low else 0.99)
                value = inside if c.part is None else tuple(inside if i == c.part else x for i, x in enumerate(whole))
                assert settle(cls, {c.name: value}), error
