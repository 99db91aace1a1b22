"""A rule by its name or class, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ravine.rule.functional import Functional

if TYPE_CHECKING:
    from ravine.rule.rule import Rule


def functional(rule: str | type[Rule], **hyper: Any) -> Functional:
    """The rule as two pure functions, `init(p) -> state` and `update(state, p, g, t) -> (p, state)`.

        >>> import ravine, torch
        >>> adam = ravine.functional("adam", lr=0.1)
        >>> p = torch.tensor([1.0, -2.0])
        >>> state = adam.init(p)
        >>> for t in range(1, 4):
        ...     p, state = adam.update(state, p, g=2 * p, t=t)
        >>> [round(x, 3) for x in p.tolist()]
        [0.702, -1.701]

    p may be a dict, list or tuple of arrays, of torch or of numpy; what comes back is of the same form and kind.
    Nothing that is given changes, so a step can be taken again, or thrown away:

        >>> import numpy as np
        >>> clipped = ravine.functional(ravine.SGD, lr=1.0, mods=[ravine.mods.ClipNorm(1.0)])
        >>> weights = {"w": np.zeros(2), "b": np.zeros(1)}
        >>> gradients = {"w": np.array([2.0, 2.0]), "b": np.array([1.0])}
        >>> moved, _ = clipped.update(clipped.init(weights), weights, gradients, t=1)
        >>> [x.round(3).tolist() for x in moved.values()]
        [[-0.667, -0.667], [-0.333]]

    The numbers are those of the optimizer with backend="reference", bit for bit; it runs node by node, for looking at
    a method and for trying it in other loops, and not for speed.

    rule: a name as `ravine list` has it, or a class, ravine's or your own.
    hyper: its hyperparameters, and mods, maximize and seed. `adam.replace(lr=…)` is the same with others.

    Raises TypeError or ValueError as the optimizer would. What the optimizer decides has no place here: storage,
    master_bits, nonfinite, measured and capturable.
    """
    if not isinstance(rule, str):
        return Functional(rule, hyper)
    from ravine.catalog.names import find  # which knows all optimizers

    cls, said = find(rule)
    return Functional(cls, {**said, **hyper})
