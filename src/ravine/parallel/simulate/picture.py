"""The picture of simulated runs: loss against time for each method, and what its workers did, as lanes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine.cli.answer import replacing
from ravine.parallel.simulate.run import Run
from ravine.visuals import ink
from ravine.visuals.figure import Figure, finite, layout, stroke, thin

COLOURS = {"computes": "#009E73", "waits": "#E69F00", "dead": "#555555"}


def chart(runs: Sequence[Run]) -> Figure:
    """Loss against time, for a page."""
    traces: list[dict[str, Any]] = []
    values = [x for run in runs for x in run.losses if 0 < x < float("inf")] or [1.0]
    for i, run in enumerate(runs):
        at = thin(len(run.times))
        traces.append({
            "type": "scatter", "mode": "lines", "legendgroup": run.name, "name": run.name,
            "x": finite(run.times[k] for k in at), "y": finite(run.losses[k] for k in at), "line": stroke(ink(i)),
            "hovertemplate": "%{y:.4g} at %{x:.4~g} s<extra>" + run.name + "</extra>", "showlegend": True,
        })  # fmt: skip
    return {"data": traces, "layout": layout("simulated seconds", "loss", False, values) | {"showlegend": True}}


def draw(runs: Sequence[Run], out: Path, title: str, part: float = 0.1) -> None:
    """Write the picture, as the file's name says: .svg, .png or .pdf. Lanes show the first `part` of the time."""
    from ravine.visuals.charts import Curve  # matplotlib, an extra: imported when used
    from ravine.visuals.lanes import Stack, lanes

    curves = [Curve(x.name, ink(i), np.array(x.times), np.array(x.losses)) for i, x in enumerate(runs)]
    stacks = [
        Stack(f"{x.name}: {x.share('computes'):.0%} computing, mean staleness {x.mean_staleness:.3g}", x.lanes)
        for x in runs
        if x.lanes
    ]
    axes, note = ("simulated seconds", "loss"), "simulated seconds; a lane is a worker"
    sheet = lanes(curves, stacks, COLOURS, axes, title, note, part * max(x.seconds for x in runs))
    with replacing(out) as new:
        sheet.savefig(new, dpi=130, metadata={"Date": None} if out.suffix == ".svg" else None)
