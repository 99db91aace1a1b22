"""What a comparison found: for each optimizer all that was tried, what the best of it gave, and what it costs."""

from dataclasses import dataclass

from .inside import Inside
from .search import Entry
from .stopwatch import StepTime
from .tasks import Data, Task
from .trial import Result


@dataclass(frozen=True)
class Tried:
    """One point of the search: its hyperparameters, and a result for each selection seed; of validation data only."""

    hyper: dict[str, float]
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Method:
    """One optimizer in the comparison.

    space: name -> (low, high) of what was searched, on a log scale; "lr", "1-beta1", "weight_decay" …
    tried: the points in the order of the search, as many as for every other method.
    hyper: those of the best point.
    tuned, defaults, runner_up: results of fresh seeds at the best point, at the method's defaults and at the second
    best point; seeds are paired by position across methods. The last two may be empty.
    edges: the hyperparameters whose best value lies at an edge of the space.
    group: rank letters; methods that share one cannot be told apart.
    inside: what a monitor saw in one run of the best point.
    """

    entry: Entry
    space: dict[str, tuple[float, float]]
    tried: tuple[Tried, ...]
    hyper: dict[str, float]
    tuned: tuple[Result, ...]
    defaults: tuple[Result, ...]
    runner_up: tuple[Result, ...]
    edges: tuple[str, ...]
    group: str
    time: StepTime
    inside: Inside | None = None


@dataclass(frozen=True)
class Facts:
    """How the comparison was made. Points of the search were run with `selection_seeds`, what is reported with `seeds`;
    where these are the same, as in a preset, the report says what that does."""

    task: Task
    command: str
    epochs: int
    steps: int
    selection_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    preset: str | None
    carry_over: bool
    schedule: str
    data: Data


@dataclass(frozen=True)
class Outcome:
    """The methods, best first; the validation losses that steps to target are counted to; and how it was made."""

    methods: tuple[Method, ...]
    target: float | None
    easy_target: float | None
    facts: Facts
