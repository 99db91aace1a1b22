"""Equations as plain text, for a terminal."""

from ravine.compile.emit.equations import Notation
from ravine.compile.emit.equations import equations as write_equations
from ravine.compile.trace import Program

TEXT = Notation(
    forms={
        "add": "{0} + {1}",
        "sub": "{0} − {1}",
        "neg": "−{0}",
        "mul": "{0} {1}",
        "dot": "{0} · {1}",
        "div": "{0} / {1}",
        "pow": "{0}^{1}",
        "square": "{0}²",
        "sqrt": "√({0})",
        "abs": "|{0}|",
        "max": "max({0}, {1})",
        "min": "min({0}, {1})",
        "gt": "{0} > {1}",
        "ge": "{0} ≥ {1}",
        "lt": "{0} < {1}",
        "le": "{0} ≤ {1}",
        "where": "({1} if {0} else {2})",
        "exp": "exp({0})",
        "log": "ln({0})",
        "cbrt": "∛({0})",
        "sum": "Σ {0}",
        "sum row": "Σⱼ {0}",
        "sum column": "Σᵢ {0}",
        "sum matrix": "Σᵢⱼ {0}",
        "amax": "max({0})",
        "amax row": "maxⱼ({0})",
        "amax column": "maxᵢ({0})",
        "every": "Σ_all {0}",
        "normal": "N(0, 1)",
        "matmul": "{0} @ {1}",
        "transpose": "{0}ᵀ",
        "call": "{0}({1})",
    },
    levels={
        "add": 1,
        "sub": 1,
        "div": 2,
        "neg": 3,
        "mul": 3,
        "sum": 3,
        "every": 3,
        "matmul": 3,
        "pow": 4,
        "transpose": 5,
    },
    greek={
        "betas.0": "β₁",
        "betas.1": "β₂",
        "etas.0": "η₋",
        "etas.1": "η₊",
        "step_sizes.0": "Δmin",
        "step_sizes.1": "Δmax",
        "eps": "ε",
        "weight_decay": "λ",
        "rho": "ρ",
        "alpha": "α",
        "momentum": "μ",
        "dampening": "τ",
        "momentum_decay": "ψ",
    },
    states={"delta": "Δ", "mu_product": "Π", "vmax": "v̂", "ahead": "α"},
    word="{0}",
    now="{0}ₜ",
    before="{0}ₜ₋₁",
    number="{0}{1}",
    parameter="p",
    gradient="g",
    brackets="({0})",
    line="{0} = {1}",
    between="\n",
)


def equations(program: Program) -> str:
    """The rule as text, one equation a line."""
    return write_equations(program, TEXT)
