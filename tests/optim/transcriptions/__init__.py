"""Each paper's pseudocode, line by line, in float64: what the rules of `ravine.optim` are tested against.

Written from the papers (and from torch where the form is torch's own), never from ravine's rules. Naive
on purpose: one tensor, out of place, t counted from 1. `step(g)` takes the gradient and returns the new
parameter; `lr` may be set between steps. NAG asks for its gradients itself, so its `step` takes a
function.

A file here holds a class `NamePaper` for each class `Name` of ravine that it transcribes, and for newer ones
`SPACES = {"Name": {hyperparameter: values}}` with values as in `draw`, and perhaps `EDGES = {"Name": [dict, …]}`
and `IDLE = {"Name": (changed keys, hyperparameters) -> bool}`: changes that by the paper itself do nothing.

A paper whose numbers belong to all tensors at once says `whole = True`: it is made from a list of tensors and its
`step` takes a list of gradients and returns a list. One that needs the loss says `loss = True`, and `step(g, loss)`.
One that is given the Hessian's diagonal says `curvature = True`, and `step(g, h)`, with None where it is not measured;
`least` is the smallest of its elements. With `whole` these are lists; what the rule calls the array does not matter.
One that evaluates at other weights than it trains at has `evaluated()`, which returns them.
`tolerance` is how far apart backends may be, where that is more than the rounding of float64.
"""

import pkgutil
from importlib import import_module

PAPERS, FOUND_SPACES, FOUND_EDGES, FOUND_IDLE = {}, {}, {}, {}
for found in sorted(pkgutil.iter_modules(__path__), key=lambda x: x.name):
    module = import_module(f"{__name__}.{found.name}")
    own = {k: x for k, x in vars(module).items() if k.endswith("Paper") and x.__module__ == module.__name__}
    PAPERS |= {k.removesuffix("Paper"): x for k, x in own.items()}
    FOUND_SPACES |= getattr(module, "SPACES", {})
    FOUND_EDGES |= getattr(module, "EDGES", {})
    FOUND_IDLE |= getattr(module, "IDLE", {})
