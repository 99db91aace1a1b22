"""The one error of the lab: something the person can mend. The command prints its text and exits with 2."""


class LabError(ValueError):
    """What was given, what was expected, what to do; never a fault of ravine's own."""
