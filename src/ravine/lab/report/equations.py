"""LaTeX lines to MathML, which browsers show by themselves."""

import re

from latex2mathml.converter import convert


def mathml(latex: str) -> str:
    r"""A table of the aligned lines in `latex`: lines end with \\, the sign of equality stands after &."""
    rows = []
    for line in latex.strip().split(" \\\\\n"):  # only between lines; cases have a bare \\\\ of their own
        left, _, right = line.partition("&")
        rows.append(f'<mtr><mtd class="left">{_inner(left)}</mtd><mtd class="right">{_inner(right)}</mtd></mtr>')
    return f'<math display="block"><mtable displaystyle="true">{"".join(rows)}</mtable></math>'


def _inner(latex: str) -> str:
    """The converter knows no alignment, so each side is converted apart."""
    return re.sub(r"^<math[^>]*>|</math>$", "", convert(latex.strip())) if latex.strip() else ""
