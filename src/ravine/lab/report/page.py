"""Gathers what the template shows: the table, the figures, the equations, and how it was all made."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ravine.visuals import Ink
from ravine.visuals.engine import engine
from ravine.visuals.figure import Figure

from ..protocol.examined import examined
from ..protocol.found import Made
from ..protocol.inside import MOST
from ..protocol.judged import score
from ..protocol.outcome import Method, Outcome, reaches, stays_at
from ..protocol.score import Scores, Times
from ..protocol.verdict import advised, doubts, power, whose
from .classic import epochs, marks, training
from .equations import mathml
from .exhibits import TITLES, exhibits, inks, looks, profile, search

HERE = Path(__file__).parent


def page(outcome: Outcome, verdict: str, times: Times | None = None, scores: Scores | None = None) -> str:
    """The report as HTML, under the verdict in words. `times` to target of several tasks add a performance profile,
    `scores` over them a table."""
    ink = inks(outcome, times)
    figures = exhibits(outcome)
    if times is not None:
        figures["profile"] = profile(times, ink)
    searches = {m.name: found for m in outcome.methods if (found := search(m, ink[m.name], outcome.quantity))}
    inside = {m.name: looks(m.inside) for m in outcome.methods if m.inside and m.inside.histogram_step}
    return rendered(
        "page.html",
        figures,
        {"who": inside, "tried": searches},
        facts=outcome.facts,
        outcome=outcome,
        infinity=math.inf,
        low=marks(outcome) if outcome.facts.preset == "classic" else {},
        training=training,
        epochs=epochs,
        verdict=verdict,
        doubts=doubts(outcome),
        power=power(outcome),
        advised=advised(outcome),
        measure=outcome.measure,
        quantity=outcome.quantity,
        whose=whose(outcome),
        test=examined(outcome),
        score=score,
        zero=100 * _part(0.0, *_range(outcome)),
        points=len(outcome.methods[0].tried),
        names=list(dict.fromkeys(key for m in outcome.methods for p in m.tried for key in p.hyper)),
        rows=[_row(m, ink[m.name], outcome) for m in outcome.methods],
        titles=TITLES,
        inside=inside,
        searches=searches,
        most_looked=MOST,
        findings={m.name: m.inside.findings for m in outcome.methods if m.inside},
        tasks=list(times or {}),
        scores=scores,
        made=outcome.facts.made or Made.here(),
    )


Chosen = Mapping[str, Mapping[str, Mapping[str, Figure]]]  # what is chosen with -> optimizer -> name -> figure


def rendered(template: str, figures: Mapping[str, Figure], chosen: Chosen, **known: Any) -> str:
    """A page with these figures, and those of one optimizer at a time that are chosen with a control."""
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    charts = _json({"figures": figures, "chosen": {"who": {}, **chosen}})
    return _template(template).render(
        figures=figures, style=style, script=script, charts=charts, engine=Markup(engine()), **known
    )


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _row(method: Method, ink: Ink, outcome: Outcome) -> dict[str, Any]:
    """A row of the verdict, and what the sections below show of the method."""
    low, high = _range(outcome)
    d = outcome.behind(method)
    return {
        "method": method, "name": method.name, "ink": ink,
        "group": outcome.groups[method.name],
        "metric": fmean(method.metrics) if method.metrics else None,
        "behind": d,
        "forest": [100 * _part(x, low, high) for x in (d.low, d.mean, d.high)] if d and math.isfinite(d.half) else [],
        "defaults": method.usual,
        "steps": [(reaches(method.tuned, t), stays_at(method.tuned, t))
                  for t in (outcome.target, outcome.easy_target) if t is not None],
        "diverged": [p for p in method.tried if p.result.diverged_at is not None],
        "meaning": method.card.meaning,
        "equations": Markup(mathml(method.card.equations)) if method.card.equations else Markup(),
    }  # fmt: skip


def _range(outcome: Outcome) -> tuple[float, float]:
    """What the forest plot in the table spans: all intervals, zero, and a little air."""
    found = [d for m in outcome.methods if (d := outcome.behind(m)) and math.isfinite(d.half)]
    low, high = min([0.0, *(d.low for d in found)]), max([0.0, *(d.high for d in found)])
    air = 0.05 * (high - low) + 1e-9
    return low - air, high + air


def _part(value: float, low: float, high: float) -> float:
    """Where in the range a value lies, from 0 to 1."""
    return (value - low) / (high - low)


def _json(charts: dict[str, Any]) -> Markup:
    """For a script element: without "<", neither "</" ends it nor "<!--" opens a comment in it."""
    return Markup(json.dumps(charts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))
