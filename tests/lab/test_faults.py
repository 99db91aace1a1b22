"""Whatever happens to a sweep, and whenever: what was recorded stays, nothing is run twice, and the end is the same."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from .test_compare import _alive, _keys, _wait, linux, table

pytestmark = [linux, pytest.mark.faults]

PATIENCE = 4.0  # seconds: as if 60
COMMAND = ("compare", "--tier", "smoke", "--workers", "2", "--epochs")
FAULTS = ("kill a worker", "stop a worker", "kill", "sleep", "fill the disk",
          "kill a worker", "Ctrl-C", "stop a worker", "fill the disk", "kill")  # fmt: skip
DRIVER = f"""
import sys
from functools import partial
from ravine.cli import main
from ravine.lab.commands import one_task
from ravine.lab.protocol.records import Records

class Watched(Records):
    def lease(self, trials, *about):
        assert not any(trial in self for trial in trials), "what is recorded is run again"
        super().lease(trials, *about)

    def add(self, trial, result):
        assert trial not in self, "a result came twice"
        super().add(trial, result)

one_task.Records = Watched
one_task.sweep = partial(one_task.sweep, patience={PATIENCE})
if __name__ == "__main__":
    sys.exit(main())
"""


class Sweep:
    """`ravine compare --tier smoke` in processes of its own, started again whenever it has ended."""

    def __init__(self, folder: Path, seed: int, epochs: int):
        self.folder, self.random, self.log, self.epochs = folder, random.Random(seed), [f"seed {seed}"], epochs
        self.records = folder / "runs" / "digits"
        self.driver = folder / "driver.py"
        self.driver.write_text(DRIVER)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-W", "error", self.driver, *COMMAND, str(self.epochs)]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, start_new_session=True)  # fmt: skip

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=300)
        return self.process.returncode, err

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def busy(self) -> list[int]:
        """The workers that have a lease."""
        with closing(sqlite3.connect(f"file:{self.records / 'trials.sqlite'}?mode=ro", uri=True)) as db:
            return [int(worker.removeprefix("process ")) for (worker,) in db.execute("select worker from leases")]

    def suffer(self, fault: str) -> None:
        """After some trial has been recorded, and a while."""
        kept = len(_keys(self.records))
        _wait(lambda: len(_keys(self.records)) > kept or self.process.poll() is not None, 120)
        delay = self.random.uniform(0, 1)
        time.sleep(delay)
        self.log.append(f"{fault} {delay:.3f} s after trial {len(_keys(self.records))}")
        assert self.process.poll() is None, (self.log, self.end())
        workers = self.workers()
        if fault in ("kill a worker", "stop a worker"):
            _wait(lambda: bool(self.busy()))
            victim = self.random.choice(self.busy())
            os.kill(victim, signal.SIGKILL if fault == "kill a worker" else signal.SIGSTOP)
            _wait(lambda: not _alive(victim))
            return
        if fault == "sleep":
            os.killpg(self.process.pid, signal.SIGSTOP)
            time.sleep(1.5 * PATIENCE)
            os.killpg(self.process.pid, signal.SIGCONT)
            time.sleep(0.5 * PATIENCE)
            assert set(workers) <= set(self.workers()), self.log  # nobody was given up
            return
        if fault == "fill the disk":
            full = (self.records / "trials.sqlite-wal").stat().st_size  # no file of theirs may grow beyond this
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (full, full))
            status, err = self.end()
            assert status == 2 and "what was recorded before is kept" in err and "Traceback" not in err, (err, self.log)
        elif fault == "Ctrl-C":
            os.killpg(self.process.pid, signal.SIGINT)
            status, err = self.end()
            assert (status, err.count("\n")) == (130, 1), (err, self.log)
        else:
            os.kill(self.process.pid, signal.SIGKILL)
            self.end()
        _wait(lambda: not any(map(_alive, workers)))
        self.start()


def test_ten_faults_at_random_moments(ravine_command, tmp_path):
    """Trials of 60 epochs, so that there is time for ten faults on an idle machine too."""
    (tmp_path / "undisturbed").mkdir()
    status, printed = ravine_command(*COMMAND, "60", cwd=tmp_path / "undisturbed")
    assert status == 0, printed
    sweep = Sweep(tmp_path, seed=6, epochs=60)
    try:
        for fault in FAULTS:
            sweep.suffer(fault)
        status, err = sweep.end()
    finally:
        if sweep.process.poll() is None:
            sweep.process.kill()
            sweep.process.communicate()
        print("\n".join(sweep.log))
    assert (status, err) == (0, "")
    assert table(sweep.records) == table(tmp_path / "undisturbed" / "runs" / "digits")


def test_a_disk_that_is_full(smoke, tmp_path):
    """A real one, of 200 KB: it is full in mid-sweep, and has room again after."""
    folder = tmp_path / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        sweep = Sweep(tmp_path, seed=0, epochs=3)
        status, err = sweep.end()
        assert status == 2 and "database or disk is full; what was recorded before is kept" in err
        assert 0 < len(_keys(sweep.records)) < 56
        subprocess.run(["mount", "-o", "remount,size=50m", folder], check=True)
        sweep.start()
        assert sweep.end() == (0, "")
        assert table(sweep.records) == table(smoke[0])
    finally:
        subprocess.run(["umount", folder], check=True)
