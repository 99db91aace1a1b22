"""What a rule is: fields, `init` and `update`, and facts about itself. It holds no parameters and makes no step."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Signature, signature
from typing import Any, ClassVar, dataclass_transform

from ravine.rule.hyper import constructor, fields
from ravine.rule.programs import fixed


@dataclass_transform()
class Rule:
    """Hyperparameters as annotated fields, `init(s, p)` and `update(s, p, g, t)`.

    An optimizer asks the rule of a group for its program; `ravine.Optimizer` is a rule with torch's interface around
    it, `ravine.Routed` has a rule for each group, and `ravine.functional` calls one without any optimizer.

    Editors and type checkers read the fields as the optimizer's constructor. They take what comes before `_: KW_ONLY`
    by place too. In rules that torch has, that is torch's order but for the switches at its end; in others the
    constructor takes params and lr by place, and all else by name.
    """

    twin: ClassVar[type[Any] | None] = None  # the same method in torch.optim
    names: ClassVar[Mapping[str, str]] = {}  # of states: the rule's -> torch's
    papers: ClassVar[tuple[str, ...]] = ()  # keys in optim/papers.bib: what `ravine cite` prints, its own first
    inputs: ClassVar[Mapping[str, str]] = {}  # of what update() takes after t: "r c" as p, "c c" …; others are numbers
    asks: ClassVar[str] = ""  # the lines that make a source for it, for the error where nobody gives an array
    turned: ClassVar[tuple[str, ...]] = ()  # arrays whose negative counts with maximize=True, as update() has it
    ranges: ClassVar[Mapping[str, str]] = {}  # of hyperparameters that may lie outside [0, inf)
    sparse: ClassVar[bool] = False  # True: a sparse gradient moves its rows alone, and that makes sense for this rule
    dense: ClassVar[bool] = True  # False: it takes sparse gradients only
    matrices: ClassVar[bool] = False  # made for the matrices inside a network: `ravine.create` gives the rest to AdamW
    layers: ClassVar[bool] = False  # of these, made for weights and biases of layers that have Kronecker factors
    largest_factor: ClassVar[int] = 2**14  # the most rows of a square factor: 1 GiB, whose eigenvectors take minutes
    real_only: ClassVar[bool] = False  # refuses complex parameters though it has a twin; without one every rule does
    several: ClassVar[bool] = False  # True: no rule, but an optimizer whose groups name theirs, under "rule"
    flags: ClassVar[Any]  # (group) -> tuple: what a program is made for

    def __init_subclass__(cls, rule: bool = True) -> None:
        """rule: False for an optimizer whose groups name rules of their own, and which is none."""
        super().__init_subclass__()
        cls.several = not rule
        if rule:
            cls.flags = fixed(fields(cls))
            cls.__signature__ = constructor(cls)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            _, *taken = signature(cls.__init__).parameters.values()
            cls.__signature__ = Signature(taken)  # pyright: ignore[reportAttributeAccessIssue]

    # what a subclass writes

    def init(self, s: Any, p: Any) -> None:
        """Make the state of a parameter, for example `s.m = zeros(p)`."""

    def update(self, s: Any, p: Any, g: Any, t: Any, *args: Any, **kwargs: Any) -> Any:
        """The new parameter, from the state s, the parameter p, its gradient g and the step count t = 1, 2 …

        A rule that needs more names it after t, as `loss`; what is no number stands in `inputs` too. `fresh` is 1.0 in
        a step that is given arrays, and 0.0 in one that keeps the last.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        """Raise ValueError for hyperparameters that do not go together."""

    # what an optimizer asks

    @classmethod
    def key(cls, state: str) -> str:
        """The key in `opt.state[p]` of a state that the rule calls so: torch's name where torch has one."""
        return cls.names.get(state, state)
