"""The code on the pages passes pyright, as a person's editor would show it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, every


@pytest.mark.ci
def test_pyright_accepts_every_block(tmp_path: Path):
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        pytest.skip("pyright is not installed")
    files = {}
    for i, block in enumerate([*every("python"), *every("python gpu")]):
        files[f"block_{i}.py"] = block
        (tmp_path / f"block_{i}.py").write_text(block.text, encoding="utf-8")
    settings = {
        "include": ["."],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "reportMissingImports": False,  # of frameworks that are not installed
        "reportIncompatibleMethodOverride": False,  # torch.autograd.Function is written so everywhere
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [pyright, "--project", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert answer["summary"]["filesAnalyzed"] == len(files) > 40
    wrong = []
    for found in answer["generalDiagnostics"]:
        block = files[Path(found["file"]).name]
        line = block.line + found["range"]["start"]["line"]
        wrong.append(f"{block.page.relative_to(ROOT)}:{line}: {found['message']}")
    assert not wrong, "\n".join(wrong)
