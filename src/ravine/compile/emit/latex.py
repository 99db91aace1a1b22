"""Equations as LaTeX lines, for an `aligned` environment."""

from ravine.compile.emit.equations import Notation
from ravine.compile.emit.equations import equations as write_equations
from ravine.compile.trace import Program

LATEX = Notation(
    forms={
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "neg": "-{0}",
        "mul": r"{0}\,{1}",
        "dot": r"{0} \cdot {1}",
        "div": r"\frac{{{0}}}{{{1}}}",
        "pow": "{{{0}}}^{{{1}}}",
        "square": "{{{0}}}^{{2}}",
        "sqrt": r"\sqrt{{{0}}}",
        "abs": r"\left|{0}\right|",
        "max": r"\max\left({0}, {1}\right)",
        "min": r"\min\left({0}, {1}\right)",
        "gt": "{0} > {1}",
        "ge": r"{0} \ge {1}",
        "lt": "{0} < {1}",
        "le": r"{0} \le {1}",
        "where": r"\begin{{cases}} {1} & {0} \\ {2} & \text{{else}} \end{{cases}}",
        "exp": r"\exp\left({0}\right)",
        "log": r"\ln\left({0}\right)",
        "cbrt": r"\sqrt[3]{{{0}}}",
        "sum": r"\sum {0}",
        "sum row": r"\sum_j {0}",
        "sum column": r"\sum_i {0}",
        "sum matrix": r"\sum_{{ij}} {0}",
        "amax": r"\max {0}",
        "amax row": r"\max_j {0}",
        "amax column": r"\max_i {0}",
        "every": r"\sum_\text{{all}} {0}",
        "normal": r"\mathcal{{N}}(0, 1)",
        "matmul": r"{0}\,{1}",
        "transpose": r"{{{0}}}^\top",
        "call": r"{0}\left({1}\right)",
    },
    levels={"add": 1, "sub": 1, "neg": 2, "mul": 2, "sum": 2, "every": 2, "matmul": 2, "transpose": 3},
    greek={
        "betas.0": r"\beta_1",
        "betas.1": r"\beta_2",
        "etas.0": r"\eta_-",
        "etas.1": r"\eta_+",
        "step_sizes.0": r"\Delta_{min}",
        "step_sizes.1": r"\Delta_{max}",
        "eps": r"\varepsilon",
        "weight_decay": r"\lambda",
        "lr": r"\eta",
        "rho": r"\rho",
        "alpha": r"\alpha",
        "momentum": r"\mu",
        "dampening": r"\tau",
        "momentum_decay": r"\psi",
    },
    states={"delta": r"\Delta", "mu_product": r"\Pi", "vmax": r"\hat{v}", "ahead": r"\alpha"},
    word=r"\text{{{0}}}",
    now="{0}_t",
    before="{0}_{{t-1}}",
    number="{0}_{{{1}}}",
    parameter=r"\theta",
    gradient="g",
    brackets=r"\left({0}\right)",
    line="{0} &= {1}",
    between=" \\\\\n",
)


def equations(program: Program) -> str:
    """The rule as LaTeX, one equation a line."""
    return write_equations(program, LATEX)
