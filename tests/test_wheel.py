"""The wheel is pure Python and needs torch, llvmlite and numpy, nothing else."""

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEP = """
import sys, torch, ravine
p = torch.nn.Parameter(torch.ones(3))
p.grad = torch.ones(3)
opt = ravine.Adam([p], lr=0.1)
opt.step()
assert abs(p[0].item() - 0.9) < 1e-6, p
assert type(opt._arranged.batches[0].launch).__name__ == "LLVM"
assert "plotly" not in sys.modules and "sklearn" not in sys.modules
"""


def needed(names: list[str]) -> set[str]:
    """The distributions that `names` require, all the way down, without extras."""
    found: set[str] = set()
    while names:
        name = names.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        names += [re.match(r"[\w.-]+", r).group() for r in requires if "extra ==" not in r and "platform" not in r]  # pyright: ignore
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_is_pure_python_and_typed(wheel: Path):
    assert wheel.name.endswith("-py3-none-any.whl")
    listing = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True)
    assert "ravine/py.typed" in listing.stdout and "LICENSE" in listing.stdout
    assert "ravine/optim/papers.bib" in listing.stdout  # what `ravine cite` prints
    for name in ("index.html", "style.css", "main.js", "vendor/uplot.js", "vendor/LICENSE"):
        assert f"ravine/surfaces/play/page/{name}" in listing.stdout  # what `ravine play` serves
    assert not re.search(r"\.(so|pyd|dll|dylib)\b", listing.stdout)


@pytest.mark.ci
def test_takes_a_step_in_a_bare_environment(wheel: Path, tmp_path: Path):
    """Only torch, llvmlite, numpy and what they require are there, linked from this environment to save a download."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    site = next((tmp_path / "bare" / "lib").glob("python*/site-packages"))
    for name in needed(["torch", "llvmlite", "numpy"]):
        dist = distribution(name)
        for top in {path.parts[0] for path in dist.files or [] if path.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                os.symlink(Path(str(dist.locate_file(top))), site / top)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel],
        check=True,
        capture_output=True,
    )
    env = {k: x for k, x in os.environ.items() if k != "PYTHONPATH"} | {"RAVINE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([python, "-c", STEP], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
