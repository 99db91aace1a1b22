"""The playground in one file that opens offline: the same page, with paths computed beforehand for a grid of rates."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.catalog.names import find as find_optimizer
from ravine.cli.answer import write as write_file
from ravine.rule.hyper import fields
from ravine.surfaces.find import NAMES, find
from ravine.surfaces.path import Run, descend
from ravine.surfaces.play import answers, asked
from ravine.surfaces.rates import GRID
from ravine.surfaces.surface import Surface

PAGE = File(__file__).parent / "page"
EIGHT = ("sgd", "momentum", "nag", "adagrad", "adadelta", "rmsprop", "adam", "radam")
STEPS = 300
RATES = tuple(lr for lr in GRID if lr <= 10)  # four to a decade from 1e-5; a tuned one beyond is added
COLUMNS, ASPECT = 97, 4 / 3
DECADES = (-16.0, 16.0)  # of losses above the lowest, and of norms
NOTHING = 65535  # what is not finite, or too far away to be drawn
Codes = NDArray[np.uint16]


def write(file: File, surfaces: Sequence[str] | None, optimizers: Sequence[str] | None) -> None:
    """Writes the page; says how large it is."""
    for option, given in (("--surfaces", surfaces), ("--optimizers", optimizers)):
        if given is not None and not given:
            raise ValueError(f"{option}: it names nothing")
    text = page([find(x).name for x in surfaces or NAMES], [played(x) for x in optimizers or EIGHT])
    try:
        write_file(file, text)
    except OSError as error:
        raise ValueError(f"--export {file}: cannot be written: {error.strerror}") from None
    print(f"{file}: {len(text) / 1e6:.1f} MB, opens offline")


def played(typed: str) -> str:
    """The optimizer that is meant, by its name on the page."""
    cls, settings = find_optimizer(typed)
    if settings:
        raise ValueError(f"--optimizers: {typed!r} has settings, which the page has controls for; give the name alone")
    if cls.__name__.lower() not in asked.OPTIMIZERS:
        raise ValueError(f"--optimizers: {cls.__name__} takes sparse gradients only, and a surface has none")
    return cls.__name__.lower()


def page(surfaces: Sequence[str], optimizers: Sequence[str]) -> str:
    """The HTML with style, modules and data inside."""
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for name in ("vendor/uplot.css", "style.css"):
        style = (PAGE / name).read_text(encoding="utf-8")
        html = html.replace(f'<link rel="stylesheet" href="{name}">', f"<style>{style}</style>")
    library = (PAGE / "vendor" / "uplot.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    data = base64.b64encode(gzip.compress(baked(surfaces, optimizers), 9, mtime=0)).decode()
    modules = {f"ravine/{file.name}": module(file) for file in sorted(PAGE.glob("*.js"))}
    scripts = (
        f"<script>{library}</script>\n"
        f'<script type="importmap">{json.dumps({"imports": modules})}</script>\n'
        f'<script type="text/plain" id="baked">{data}</script>\n'
        '<script type="module">import { Baked } from "ravine/baked.js";\n'
        'globalThis.ravineBaked = await Baked.open(document.getElementById("baked").textContent);\n'
        'await import("ravine/main.js");</script>'
    )
    return re.sub(r'<script src="vendor/.*?</script>\n<script src="main.js".*?</script>', lambda _: scripts, html)


def module(file: File) -> str:
    """A module as an address of its own; those that it imports are found by name."""
    text = re.sub(r'(from ")\./', r"\1ravine/", file.read_text(encoding="utf-8"))
    return "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()


# the data: a JSON head, and then 16-bit codes


def baked(surfaces: Sequence[str], optimizers: Sequence[str]) -> bytes:
    """Everything that the page shows."""
    choices = answers.choices()
    choices["surfaces"] = [{**x, "controls": []} for x in choices["surfaces"] if x["name"] in surfaces]
    choices["optimizers"] = [x for x in choices["optimizers"] if x["name"] in optimizers]
    head: dict[str, Any] = {"choices": choices, "steps": STEPS, "rates": RATES, "surfaces": {}}
    codes: list[Codes] = []
    for name in surfaces:
        head["surfaces"][name], made = one(find(name), optimizers)
        codes += made
    text = json.dumps(head, allow_nan=False).encode()
    text += b" " * (len(text) % 2)
    return b"".join([len(text).to_bytes(4, "little"), text, *(x.astype("<u2").tobytes() for x in codes)])


def one(surface: Surface, optimizers: Sequence[str]) -> tuple[dict[str, Any], list[Codes]]:
    """What the head says of a surface, and its codes: heights, and for each optimizer and rate x, y, loss and norm."""
    view, heights = answers.heights(surface, surface.view, ASPECT, COLUMNS)
    tuned = {name: answers.tuned(surface, asked.Racer(name, {}), STEPS) for name in optimizers}
    rates = {name: sorted({*RATES, default(name), tuned[name]}) for name in optimizers}
    runs = [Run(asked.OPTIMIZERS[name], {"lr": lr}, surface.start) for name in optimizers for lr in rates[name]]
    paths = descend(surface, runs, STEPS)
    lowest = answers.lowest(surface, heights)
    floor = min([lowest, *(float(p.losses[np.isfinite(p.losses)].min()) for p in paths)])
    box = tuple((low - (high - low), high + (high - low)) for low, high in view)
    head = {
        "view": view, "box": box, "rows": heights.shape[0], "columns": heights.shape[1], "floor": lowest,
        "lowest": floor, "start": surface.start, "minima": surface.minima, "saddles": surface.saddles,
        "log": surface.log, "shape": surface.shape, "decades": DECADES, "rates": rates, "tuned": tuned,
    }  # fmt: skip
    codes = [logarithmic(heights - lowest)]
    for path in paths:
        codes += [change(linear(path.points[:, i], *box[i])) for i in (0, 1)]
        codes += [change(logarithmic(path.losses - floor)), change(logarithmic(norms(path.gradients)))]
    return head, codes


def norms(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row; infinite where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.hypot(*gradients.T)


def default(name: str) -> float:
    """The rate that an optimizer takes where none is given."""
    return float(fields(asked.OPTIMIZERS[name])["lr"][1])


def linear(x: NDArray[np.float64], low: float, high: float) -> Codes:
    """Equal steps from low to high; nothing beyond."""
    inside = np.isfinite(x) & (low <= x) & (x <= high)
    return np.where(inside, np.rint((np.where(inside, x, low) - low) / (high - low) * (NOTHING - 1)), NOTHING).astype(
        np.uint16
    )


def logarithmic(x: NDArray[np.float64]) -> Codes:
    """Equal ratios over `DECADES`; what is smaller is the smallest."""
    low, high = DECADES
    good = np.isfinite(x) & (x < 10**high)
    return linear(np.where(good, np.log10(np.maximum(np.where(good, x, 1.0), 10**low)), np.nan), low, high)


def change(codes: Codes) -> Codes:
    """Each code less the one before it, in 16 bits: paths are smooth, and small numbers pack well."""
    return np.diff(codes, prepend=np.uint16(0))
