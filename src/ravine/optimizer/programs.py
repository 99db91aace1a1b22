"""The program of a group for a parameter: what the rule is told of the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ravine.compile import MATRIX, Compiled, facts_of
from ravine.optimizer.state import movable
from ravine.rule import programs

if TYPE_CHECKING:
    from ravine.rule.rule import Rule


def compiled(rule: type[Rule], group: Mapping[str, Any], p: Tensor | None = None) -> Compiled:
    """The program of a rule for the flags of a group and a parameter, else for a matrix."""
    facts = MATRIX if p is None or not movable(p) else facts_of(p)
    return programs.compiled(rule, rule.flags(group), group, facts)
