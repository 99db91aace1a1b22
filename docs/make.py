"""Write docs/optimizers.md from the docstrings and from the traced equations: scripts/docs (--check only compares)."""

import inspect
import sys
from pathlib import Path

from ravine.explain import moved
from ravine.hyper import SWITCHES, fields
from ravine.optim import registry
from ravine.optimizer import Optimizer

PAGE = Path(__file__).parent / "optimizers.md"
COMMON = {"maximize", "storage", *SWITCHES}


def section(cls: type[Optimizer]) -> str:
    """One optimizer: what it says of itself, what the compiler sees, what it takes and costs."""
    import torch

    opt = cls([torch.nn.Parameter(torch.zeros(1))])
    plan = opt.compiled(opt.param_groups[0]).plan
    cost = moved(plan, dict.fromkeys(plan.arrays, "float32"))
    takes = ", ".join(f"`{k}={default!r}`" for k, (_, default) in fields(cls).items() if k not in COMMON)
    first, _, rest = inspect.cleandoc(cls.__doc__ or "").partition("\n")
    return f"""## {cls.__name__}

{first}

```
{rest.strip(chr(10))}
```

$$\\begin{{aligned}}
{cls.equations()}
\\end{{aligned}}$$

Takes {takes}. Moves {cost} bytes per float32 parameter in {len(plan.kernels)} pass{"es" * (len(plan.kernels) > 1)}.
"""


def page() -> str:
    """The whole page."""
    every = registry()
    head = f"""# The optimizers

Made by `scripts/docs`. For each: the text of its file, then the equations as the compiler has traced them at the
defaults (θ is the parameter, η the learning rate). All take `maximize` and `storage="float32"`, which keeps the
states of bfloat16 and float16 parameters in float32; those that torch has take its switches {", ".join(SWITCHES)}.

{", ".join(f"[{cls.__name__}](#{name})" for name, cls in every.items())}
"""
    return "\n".join([head, *map(section, every.values())])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else "docs/optimizers.md is out of date: run scripts/docs")
    PAGE.write_text(page())
