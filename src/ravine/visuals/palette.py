"""One colour, dash and marker for each thing drawn; colours that colour-blind readers can tell apart (Okabe & Ito)."""

from dataclasses import dataclass

# Their black and yellow are changed for a grey and an olive that are seen on white and on near-black alike.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888", "#A69A00")
DASHES = ("solid", "dash", "dot", "dashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "hexagon", "pentagon")


@dataclass(frozen=True)
class Ink:
    """How one thing is drawn in every chart of a page."""

    colour: str
    dash: str
    marker: str

    def pale(self, opacity: float) -> str:
        """The colour, seen through."""
        r, g, b = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({r},{g},{b},{opacity})"


def ink(i: int) -> Ink:
    """The ink of thing number `i`: eight colours, then the same ones dashed."""
    return Ink(COLOURS[i % 8], DASHES[i // 8 % 4], MARKERS[i % 8])
