"""Run the laws on a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ravine.optimizer import Optimizer
from ravine.rule.mistake import place
from ravine.rule.source import Given
from ravine.testing.laws import LAWS, Law, can_be_read, says_what_it_is
from ravine.testing.report import Line, Report
from ravine.testing.subject import LeftOut, Reminder, Subject


def check(
    rule: type[Optimizer],
    *,
    given: Callable[[Optimizer, int], Mapping[str, Given]] | None = None,
    laws: Sequence[Law] = LAWS,
    **hyper: Any,
) -> Report:
    """The laws of `ravine.testing.laws`, one after the other, on a rule that need not be registered.

        >>> import ravine
        >>> from ravine.testing import check
        >>> from ravine.words import abs
        >>> class Signs(ravine.Optimizer):
        ...     def update(self, s, p, g, t):
        ...         return p - self.lr * g / abs(g)
        >>> report = check(Signs)
        >>> bool(report)
        False
        >>> print(report.broken[0])
        BROKEN  Gradients of zeros leave all finite: parameter 0 of shape (): 1 of 1 numbers are nan

    It takes seconds. In a test of your own: `assert check(MyRule)`.

    given: what a step is given beside gradients, as `given(opt, t)` → `{name: value}`, for a rule whose `update` takes
        inputs. None: positive numbers and arrays, and matrices that are positive definite.
    hyper: hyperparameters, where its defaults are not what should be tested.
    """
    if not (isinstance(rule, type) and issubclass(rule, Optimizer)):
        raise TypeError(f"check: {rule!r} is no class derived from ravine.Optimizer; give the class, as check(MyRule)")
    subject = Subject(rule, hyper, given)
    lines = list[Line]()
    for law in laws:
        lines.append(judged(law, subject))
        if lines[-1].what == "broken" and law is can_be_read:
            break  # nothing else can hold
    return Report(rule.__name__, tuple(lines))


def judged(law: Law, subject: Subject) -> Line:
    """What becomes of one law."""
    name = (law.__doc__ or law.__name__).split("\n\n")[0].replace("\n    ", " ").rstrip(".")
    try:
        if not subject.rule.dense and law not in (can_be_read, says_what_it_is):
            raise LeftOut("it takes sparse gradients only, and the laws give dense ones")
        law(subject)
    except LeftOut as why:
        return Line(name, "left out", str(why))
    except Reminder as what:
        return Line(name, "reminder", str(what))
    except AssertionError as error:
        return Line(name, "broken", str(error))
    except Exception as error:  # the rule is somebody's code
        where = place(subject.rule, error)
        return Line(name, "broken", f"{type(error).__name__}{where and f' at {where}'}: {error}")
    return Line(name, "held")
