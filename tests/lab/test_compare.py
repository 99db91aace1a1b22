"""The main job from end to end, undisturbed and killed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import deque
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

from ravine.lab.protocol.trial import Trial
from ravine.lab.sweep.sweep import TrialFailed, sweep
from ravine.lab.tasks import Data

from .conftest import COMMAND, ROOT

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds its workers in /proc")


def table(folder: Path) -> list[tuple]:
    """All that the records hold of each trial but for how long it took."""
    with closing(sqlite3.connect(folder / "trials.sqlite")) as db:
        rows = db.execute("select key, optimizer, lr, seed, status, result from trials order by key").fetchall()
    return [(*row, {k: v for k, v in json.loads(result).items() if k != "seconds"}) for *row, result in rows]


def test_smoke(smoke):
    folder, printed = smoke
    rows = table(folder)
    assert len(rows) == 8 * (8 + 1 + 2)  # points, the default, seeds of the best
    assert {status for *_, status, _ in rows} <= {"done", "diverged"}
    for name in ("SGD", "Momentum", "NAG", "Adagrad", "RMSprop", "Adam", "NAdam", "RAdam"):
        assert name in printed
    assert "validation loss" in printed and "ms/step" in printed
    assert f"Report: {(folder / 'report.html').resolve().as_uri()}" in printed  # to be clicked, or given to a browser


def test_again_runs_nothing_and_says_so(smoke, ravine_command):
    folder, printed = smoke
    before = table(folder)
    status, again = ravine_command("compare", "--tier", "smoke", cwd=folder.parents[1])
    assert status == 0 and "88 of 88 trials are in the records already" in again
    assert table(folder) == before
    verdict = [line for line in printed.splitlines() if line.endswith("behind.") or "told" in line]
    assert verdict and all(line in again for line in verdict)


@linux
@pytest.mark.slow
def test_killed_and_started_again(smoke, ravine_command, tmp_path):
    """kill -9 of the coordinator in mid-sweep: its workers go, what was recorded stays, and the end is the same."""
    folder = tmp_path / "runs" / "digits"
    with _started(tmp_path, trials=5) as (process, workers):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = len(_keys(folder))
    assert 5 <= kept < 88
    _wait(lambda: not any(map(_alive, workers)))

    status, resumed = ravine_command("compare", "--tier", "smoke", cwd=tmp_path)
    assert status == 0 and f"{kept} of 88 trials are in the records already" in resumed
    assert table(folder) == table(smoke[0])


@linux
@pytest.mark.faults
def test_ctrl_c_in_mid_sweep_is_one_line(tmp_path):
    with _started(tmp_path, trials=1) as (process, workers):
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "ravine: stopped; what was finished is kept, run the same command to go on\n"
    assert not any(map(_alive, workers))


@linux
@pytest.mark.faults
def test_a_killed_worker_is_replaced(smoke, tmp_path):
    with _started(tmp_path, trials=1) as (process, workers):
        os.kill(workers[-1], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ""
    assert table(tmp_path / "runs" / "digits") == table(smoke[0])


@pytest.mark.faults
def test_a_failing_trial_is_told_and_kept_out(ravine_command, tmp_path):
    (tmp_path / "frail.py").write_text(
        "import torch\n"
        "class Frail(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        raise RuntimeError('too frail')\n"
    )
    status, printed = ravine_command("compare", "--optimizers", "frail:Frail", "--tier", "smoke", cwd=tmp_path)
    assert status == 1 and "RuntimeError: too frail" in printed
    assert table(tmp_path / "runs" / "digits") == []


@pytest.mark.ci
def test_a_task_that_fails_in_the_worker_is_told_however_large_its_data(tmp_path, monkeypatch):
    (tmp_path / "main_only.py").write_text(
        "from multiprocessing import parent_process\n"
        "from ravine.lab import Task\n"
        "if parent_process() is not None:\n"
        "    raise RuntimeError('not here')\n"
        "task = Task('main_only', data=None, model=None)\n"
    )
    monkeypatch.chdir(tmp_path)
    x = torch.zeros(1_000_000)  # 4 MB: no pipe holds it
    trial = Trial("main_only:task", "sgd", (("lr", 0.1),), seed=0, epochs=1, batch=1, content="")
    with pytest.raises(TrialFailed, match="RuntimeError: not here"):
        list(sweep(deque([(trial,)]), "main_only:task", None, Data(x, x, x, x), workers=1))


def test_an_unwritable_report_is_one_line(smoke, ravine_command, tmp_path):
    folder = tmp_path / "runs" / "digits"
    (folder / "report.html").mkdir(parents=True)
    shutil.copy(smoke[0] / "trials.sqlite", folder)
    status, printed = ravine_command("compare", "--tier", "smoke", cwd=tmp_path)
    last = printed.splitlines()[-1]
    assert status == 2 and last.startswith("ravine: ") and "report.html: cannot be written: Is a directory" in last


@pytest.mark.ci
def test_the_example_task_and_a_stranger_s_optimizer(ravine_command, tmp_path):
    example = (ROOT / "examples" / "my_task.py").read_text()
    assert example.count("\n") < 100
    (tmp_path / "my_task.py").write_text(example)
    status, printed = ravine_command(
        "compare", "--task", "my_task:task", "--optimizers", "sgd,torch.optim:SGD", "--points", "2", "--seeds", "1",
        "--epochs", "2", "--workers", "1", cwd=tmp_path,
    )  # fmt: skip
    assert status == 0 and "with 2 trials of each none of the others can be told from it" in printed
    page = (tmp_path / "runs" / "spirals" / "report.html").read_text(encoding="utf-8")
    for name in ("sgd", "torch.optim:SGD"):  # two classes called SGD
        assert f"{name} " in printed and f'data-name="{name}"' in page and f'"name":"{name}"' in page
    assert ">SGD<" not in page


@pytest.mark.slow
def test_carried_over(ravine_command, fashion_mnist, tmp_path):
    status, printed = ravine_command(
        "compare", "--preset", "classic", "--carry-over", "--data", str(fashion_mnist), "--seeds", "1", "--epochs", "1",
        cwd=tmp_path,
    )  # fmt: skip
    assert status == 0, printed
    results = {name: result for _, name, *_, result in table(tmp_path / "runs" / "fashion-mnist-classic")}
    assert results["nadam"]["valid"][0] == results["sgd"]["valid"][-1]
    assert results["rmsprop"]["valid"][0] == results["nadam"]["valid"][-1]


@contextmanager
def _started(folder: Path, trials: int):
    """The command in a process of its own, when it has recorded this many trials; and the ids of its workers."""
    process = subprocess.Popen([*COMMAND, "compare", "--tier", "smoke"], cwd=folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    try:
        _wait(lambda: len(_keys(folder / "runs" / "digits")) >= trials)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield process, [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _keys(folder: Path) -> list[str]:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'trials.sqlite'}?mode=ro", uri=True)) as db:
            return [key for (key,) in db.execute("select key from trials")]
    except sqlite3.OperationalError:  # not made yet
        return []


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


def _wait(until, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
