"""LaTeX lines to MathML, which browsers show by themselves."""

import re
from html import escape

from latex2mathml.converter import convert

TAG = re.compile(r"</?m[a-z]+(?: [a-z]+=\"[\w.#%+-]*\")* ?/?>")  # of MathML, none of whose attributes run anything


def mathml(latex: str) -> str:
    r"""A table of the aligned lines in `latex`: lines end with \\, the sign of equality stands after &."""
    rows = []
    for line in latex.strip().split(" \\\\\n"):  # only between lines; cases have a bare \\\\ of their own
        left, _, right = line.partition("&")
        rows.append(f'<mtr><mtd class="left">{_inner(left)}</mtd><mtd class="right">{_inner(right)}</mtd></mtr>')
    return f'<math display="block"><mtable displaystyle="true">{"".join(rows)}</mtable></math>'


def _inner(latex: str) -> str:
    """The converter knows no alignment, so each side is converted apart. It lets HTML in \\text through, and equations
    may come from somebody else's records: what is more than MathML is shown as it is written."""
    if not latex.strip():
        return ""
    try:
        inner = re.sub(r"^<math[^>]*>|</math>$", "", convert(latex.strip()))
    except Exception:  # of a package of others, at LaTeX that is none
        inner = "<"
    return f"<mtext>{escape(latex)}</mtext>" if "<" in TAG.sub("", inner) else inner
