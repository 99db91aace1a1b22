"""Mutants are other programs, each is one change, and the record has every file."""

import ast
import json

import engine
from changes import mutants

SOURCE = """
def larger(a, b, also=()):
    \"\"\"Words are left alone.\"\"\"
    if a > b and not also:
        return max(a, b) + 1
    raise ValueError(f"{a} is not above {b}")
"""


def test_each_mutant_is_another_program():
    count = len(mutants(SOURCE)[1])
    assert count > 5
    made = set()
    for i in range(count):
        tree, every = mutants(SOURCE)
        every[i].apply()
        text = ast.unparse(ast.fix_missing_locations(tree))
        compile(text, "mutant", "exec")
        assert "Words are left alone." in text and ("is not above" in text or "raise" not in text)
        made.add(text)
    assert len(made) == count and ast.unparse(ast.parse(SOURCE)) not in made


def test_the_record_has_every_file():
    known = json.loads(engine.RESULT.read_text(encoding="utf-8"))
    assert [*known] == [*engine.FILES]
    for record in known.values():
        assert record["mutants"] == sum(record["killed"].values()) + len(record["survivors"]) <= record["changes"]
