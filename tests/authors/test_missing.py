"""`scripts/missing`: nothing is missing, and of a method that is only a file each place is named."""

import re
from pathlib import Path

import missing
import pytest

import ravine


class Invented(ravine.Optimizer):
    def update(self, s, p, g, t):
        return p - self.lr * g


@pytest.mark.ci
def test_nothing_is_missing(capsys):
    assert missing.main([]) == 0
    assert capsys.readouterr().out.startswith("nothing is missing: AdaBelief, ")


def test_each_place_is_named_with_a_line_that_is_there():
    found = [re.match(r"(\S+):(\d+): \S", x) for x in missing.missing(Invented)]
    places = [(Path(x[1]), int(x[2])) for x in found if x]
    assert len(places) == len(found) and {path.name for path, _ in places} >= {
        *("__init__.py", "test_missing.py", "spaces.py", "test_signature.py", "test_l1.py", "mutation.json"),
        *("invented.md", "optimizers.md", "proof.md"),
    }
    for path, line in places:
        at = missing.ROOT / path
        assert not at.exists() or line <= 1 + len(at.read_text("utf-8").splitlines())


def test_rows_are_put_where_the_alphabet_has_them():
    lines = (missing.ROOT / "src/ravine/optim/__init__.py").read_text("utf-8").splitlines()
    assert missing.before("src/ravine/optim/__init__.py", "from ravine.optim", "from ravine.optim.lamb_2").endswith(
        f":{1 + next(i for i, x in enumerate(lines) if '.laprop' in x)}"
    )


def test_what_is_no_rule_is_said(capsys):
    assert missing.main(["nothing"]) == 2
    assert "there is no src/ravine/optim/nothing.py with a rule in it" in capsys.readouterr().err
