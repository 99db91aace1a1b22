"""The report's figures as pictures, for a paper or a README."""

import re
from pathlib import Path

from ..errors import LabError
from ..protocol.outcome import Outcome
from ..protocol.score import Times
from .exhibits import exhibits, inks, looks, profile, search


def stills(outcome: Outcome, png: Path | None, pdf: Path | None, times: Times | None = None) -> None:
    """Writes them into the folder `png`, a file each, and into the file `pdf`, a page each; None leaves it out."""
    if png is None and pdf is None:
        return
    from ravine.visuals import still  # matplotlib: imported when used

    figures, ink = exhibits(outcome), inks(outcome, times)
    if times is not None:
        figures["profile"] = profile(times, ink)
    for method in outcome.methods:
        own = search(method, ink[method.name], outcome.quantity)
        if method.inside and method.inside.histogram_step:
            own |= looks(method.inside)
        for name, figure in own.items():
            label = re.sub("[^A-Za-z0-9]+", "-", method.name)
            figures[f"{label}-{name}"] = figure | {"title": f"{method.name}: {figure['title']}"}
    for option, path, write in (("--png", png, still.png), ("--pdf", pdf, still.pdf)):
        try:
            if path is not None:
                write(figures, path)
        except OSError as error:
            raise LabError(f"{option} {path}: cannot be written: {error.strerror}") from error
