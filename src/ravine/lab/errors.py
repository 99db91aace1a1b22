"""The one error of the lab: something the person can mend. The command prints its text and exits with 2."""

from collections.abc import Iterator
from contextlib import contextmanager

from ravine.cli.answer import Mistake


class LabError(Mistake):
    """What was given, what was expected, what to do; never a fault of ravine's own."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Inside, what is imported comes with the extra of this name; one that is missing is said for `what`."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = str(error.name).split(".")[0]
        if missing == "ravine":
            raise  # our own fault, to be seen
        raise LabError(f'{what} needs {missing}: pip install ".[{name}]" in ravine\'s folder') from error
