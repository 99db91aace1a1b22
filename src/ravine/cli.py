"""The `ravine` command; what it does is in the extras, and where one is missing it says which to install."""

import sys


def main(argv: list[str] | None = None) -> int:
    """Runs `ravine ARGUMENTS` and returns the exit status."""
    try:
        from .lab import cli
    except ModuleNotFoundError as error:
        missing = str(error.name).split(".")[0]
        if missing == "ravine":
            raise  # our own fault, to be seen
        print(f'ravine: needs {missing}: pip install ".[lab]" in ravine\'s folder', file=sys.stderr)
        return 2
    return cli.main(sys.argv[1:] if argv is None else argv)
