"""The one error of the catalog: something the person can mend. The command prints its text and exits with 2."""

from ravine.cli.answer import Mistake


class CatalogError(Mistake):
    """What was given, what was expected, what to do."""
