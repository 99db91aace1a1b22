"""No test passes in silence: one that does not apply is skipped with a reason, or not made."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def silent(body: list[ast.stmt]) -> Iterator[int]:
    """The lines of each `if …: return` that nothing else stands in."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                continue  # what a test defines may return
            case ast.If(body=[ast.Return(lineno=line)]):
                yield line
        for name in ("body", "orelse", "finalbody"):
            yield from silent(getattr(statement, name, []))


def test_no_test_passes_in_silence():
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found += [f"{path.relative_to(TESTS)}:{line} {node.name}" for line in silent(node.body)]
    assert found == [], "say pytest.skip(reason), or do not parametrize so"


def test_it_is_found_at_any_depth():
    code = "def test_a():\n    for x in y:\n        with z:\n            if x:\n                return\n    assert y\n"
    (test,) = ast.parse(code).body
    assert isinstance(test, ast.FunctionDef) and list(silent(test.body)) == [5]
