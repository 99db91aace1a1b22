"""The definitions mean what they say, and docs/surfaces.md has the shares that are computed."""

import re
from pathlib import Path as File

import numpy as np
import pytest

from ravine.surfaces.observations import (
    ADAPTIVE,
    ASKED,
    PLAIN,
    animation,
    corrects_sooner,
    heads_right,
    leaves,
    leaves_first,
    leaving,
    led_off,
    lingers,
    shares,
    strays,
)
from ravine.surfaces.path import Path

PAGE = (File(__file__).parents[2] / "docs" / "surfaces.md").read_text(encoding="utf-8")
MODES = ("same", "default", "tuned")
GOAL = (10.0, 0.0)


def path(*points, losses=None):
    at = np.array(points, dtype=float)
    flat = np.zeros(len(at)) if losses is None else np.array(losses)
    return Path(at, flat, at, flat, at, flat)


def test_heading_is_asked_when_a_tenth_of_the_way_is_gone():
    assert heads_right(path((0, 0), (0, 0.5), (2, 1)), GOAL)  # the first half step sideways is not yet a heading
    assert not heads_right(path((0, 0), (0.8, 0.9), (9, 0)), GOAL)  # 48°
    assert not heads_right(path((0, 0), (0.5, 0)), GOAL)  # has not gone anywhere


def test_led_off_is_to_come_back_from_where_it_has_been():
    straight, past, away = path((0, 0), (6, 0), (9.5, 0)), path((0, 0), (9, 0), (12, 0)), path((0, 0), (8, 0), (8, 5))
    assert not led_off(straight, GOAL) and led_off(past, GOAL) and led_off(away, GOAL)
    assert not led_off(path((0, 0), (-0.5, 0), (9, 0)), GOAL)  # half a unit of ten
    assert not led_off(path((0, 0), (5, 9), losses=[1.0, np.inf]), GOAL)  # it diverges: that is something else


def test_to_correct_sooner_is_to_turn_at_an_earlier_step():
    early = path((0, 0), (12, 0), (10, 0), (10, 0))
    late = path((0, 0), (9, 0), (12, 0), (13, 0))
    calm = path((0, 0), (9, 0), (10, 0), (10, 0))
    assert corrects_sooner(early, late, GOAL) and not corrects_sooner(late, early, GOAL)
    assert corrects_sooner(calm, late, GOAL) and not corrects_sooner(late, late, GOAL)


def test_to_linger_is_to_be_there_when_two_adaptive_methods_have_left():
    out = {k: path(*[(0, 0)] * k, (0, -1.2)) for k in (1, 3, 5, 9)}
    never = path(*[(0, 0)] * 10)
    assert leaves(out[3]) == 3 and leaves(never) == np.inf
    paths = dict(zip((*PLAIN, *ADAPTIVE), (out[5], out[3], never, out[1], out[3], out[9], never), strict=True))
    assert lingers(paths, "sgd") and not lingers(paths, "momentum") and lingers(paths, "nag")
    assert [leaves_first(paths, name) for name in ADAPTIVE] == [True, False, False, False]


def rows(surface):
    """{sentence: shares} of the page's table."""
    (table,) = re.findall(rf"\| {surface}[: ].*\n\|[-|]+\n((?:\|.*\n)+)", PAGE)
    cells = [[x.strip() for x in line.strip("|").split("|")] for line in table.splitlines()]
    return {text: [float(x.strip("%")) for x in values] for text, *values in cells}


@pytest.mark.ci
@pytest.mark.parametrize("surface", ASKED)
def test_the_page_has_the_shares_that_are_measured(surface):
    told = rows(surface)
    measured = {mode: shares(surface, mode) for mode in MODES}
    assert set(told) == set(ASKED[surface][2])
    for text, values in told.items():  # a few starts lie so that another processor's rounding may decide
        assert values == pytest.approx([100 * measured[mode][text] for mode in MODES], abs=2.0), text


@pytest.mark.ci
def test_the_page_has_the_steps_of_leaving():
    told = rows("median step of leaving")
    for name in (*PLAIN, *ADAPTIVE):
        assert told[name] == pytest.approx([leaving(mode)[name] for mode in MODES], abs=1.0), name


def test_to_stray_is_to_be_far_from_the_straight_way():
    assert strays(path((0, 0), (3, -4), (6, 2)), GOAL) == 4
    assert strays(path((1, 1), (3, 3), (2, 4)), (5.0, 5.0)) == pytest.approx(2**0.5)


def test_the_classic_animations_show_what_they_are_known_for():
    far = {name: strayed for name, (_, strayed) in animation("beale", "classic").items()}
    adaptive = [far[name] for name in far if name in ADAPTIVE]
    assert far["momentum"] > far["nag"] > 2 * max(adaptive)  # led off, NAG less; the adaptive ones are not
    out = {name: step for name, (_, step) in animation("saddle", "classic").items()}
    assert max(out[name] for name in out if name in ADAPTIVE) < min(out[name] for name in PLAIN)
    assert out["sgd"] == np.inf


@pytest.mark.ci
@pytest.mark.parametrize(
    ("surface", "title"),
    [
        ("beale", "farthest from the straight way to the minimum"),
        ("saddle", "the step at which it leaves the ridge of the saddle"),
    ],
)
def test_the_page_says_how_the_classic_animations_and_the_tuned_ones_differ(surface, title):
    told = rows(title)
    classic, tuned = (animation(surface, mode) for mode in ("classic", "tuned"))
    assert list(told) == list(classic)
    for name, (lr, far, other, there) in told.items():
        assert (lr, other) == (classic[name][0], tuned[name][0])
        assert (far, there) == pytest.approx((classic[name][1], tuned[name][1]), abs=0.02 if surface == "beale" else 1)
