"""Each block of code on a page runs by itself and prints what stands below it; commands print what is shown."""

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks, differs, every

RUN = [block for block in every("python") if block.page.name != "integrations.md"]  # tests/integrations run these


@pytest.mark.parametrize("block", RUN, ids=str)
@pytest.mark.ci
def test_a_block_runs_alone_and_prints_what_is_shown(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # what it writes
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), {"__name__": block.page.stem})
    if block.prints is not None:
        assert not (wrong := differs(out.getvalue(), block.prints)), f"{block}: {wrong}"


COMMANDS = [block for block in every("console") if any(not line.startswith("$ ") for line in block.text.splitlines())]
QUICK = ("lr-find",)


def slow(block: Block) -> bool:
    return not any(f"ravine {name}" in block.text for name in QUICK)


@pytest.mark.ci
@pytest.mark.parametrize("block", [pytest.param(x, id=str(x), marks=[pytest.mark.slow] * slow(x)) for x in COMMANDS])
def test_a_command_prints_what_is_shown(block: Block, tmp_path: Path):
    typed = re.findall(r"^\$ ravine (.*)$", block.text, re.MULTILINE)
    shown = re.sub(r"^\$ .*\n", "", block.text, flags=re.MULTILINE)
    if any(line.startswith("tune") for line in typed):
        pytest.importorskip("optuna", reason="optuna is not installed")
    data = Path(os.environ.get("RAVINE_DATA", ROOT.parent / "shared" / "data"))
    if "fashion-mnist" in block.text and not (data / "fashion-mnist").exists():
        pytest.skip(f"no {data}/fashion-mnist (set RAVINE_DATA)")
    env = os.environ | {"RAVINE_DATA": str(data), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    printed = ""
    for line in typed:
        command = [
            sys.executable,
            "-c",
            "import sys, ravine.cli; sys.exit(ravine.cli.main())",
            *shlex.split(line, comments=True),
        ]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed += re.sub(r"^\d+ of \d+ trials\n", "", done.stdout, flags=re.MULTILINE)  # in place, in a terminal
    # the noise scale is a small difference of large numbers: another processor's rounding shows
    within = 0.25 if "noise-scale" in block.text else 0.02
    assert not (wrong := differs(printed, shown, within)), f"{block}: {wrong}"


@pytest.mark.parametrize("block", every("python signature"), ids=str)
def test_a_signature_is_a_call_and_nothing_else(block: Block):
    (statement,) = ast.parse(f"def {block.text.strip()}: ...").body
    assert isinstance(statement, ast.FunctionDef)


@pytest.mark.parametrize("block", every("python sketch"), ids=str)
def test_a_sketch_is_python(block: Block):
    assert ast.parse(block.text).body


def test_every_block_says_what_it_is():
    kinds = {"python", "python signature", "python sketch", "python gpu", "console", "bibtex", ""}
    assert [f"{block}: {block.kind}" for page in PAGES for block in blocks(page) if block.kind not in kinds] == []
    unmarked = [str(block) for page in PAGES for block in blocks(page) if block.text.lstrip().startswith("$ ")]
    assert unmarked == [str(block) for page in PAGES for block in blocks(page) if block.kind == "console"]


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("a 1.00 b\n", "a 1.01 b\n", True),
        ("a 1.00 b\n", "a 1.03 b\n", False),
        ("error 4e-11\n", "error 2e-10\n", True),
        ("error 4e-11\n", "error 2e-5\n", False),
        ("a  12.5\n", "a 12.5\n", True),  # columns move with what is in them
        ("a −3\n", "a −3\n", True),
        ("a 3\n", "a -3\n", False),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("a\nx\ny\nb 2\n", "a\n…\nb 2\n", True),
        ("a\nx\n", "a\n…\n", True),
        ("a\nx\n", "a\n…\nb\n", False),
        ("a of many words 2\n", "a of … 2\n", True),
        ("adam2 3\n", "adam3 3\n", False),  # a digit in a name is no number
        ("(1, 2.5)\n", "(1, 2.5)\n", True),
        ("(1, 2.5)\n", "(2, 2.5)\n", False),
    ],
)
def test_what_is_shown_is_compared(printed: str, shown: str, same: bool):
    assert (differs(printed, shown) == "") is same
