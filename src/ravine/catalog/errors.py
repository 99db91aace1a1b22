"""The one error of the catalog: something the person can mend. The command prints its text and exits with 2."""


class CatalogError(ValueError):
    """What was given, what was expected, what to do."""
