"""Jobs go to workers and come back once each; workers that die are replaced."""

import os
import signal
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from ravine.lab.protocol.trial import Trial
from ravine.lab.sweep.sweep import sweep
from ravine.lab.tasks import Data, load_task

TASK = '''
import os, signal, time
from pathlib import Path
import torch
from ravine.lab import Task
from ravine.lab.tasks import Data

def data():
    x = torch.linspace(-1, 1, 12)[:, None]
    return Data(x, 3 * x, x, 3 * x)

class Dies(torch.optim.SGD):
    """As long as the file `deaths` has fewer lines than lr says, its process is killed in mid-trial."""
    def step(self, closure=None):
        deaths = Path("deaths")
        with deaths.open("a") as file:
            print(os.getpid(), file=file)
        if len(deaths.read_text().split()) <= self.param_groups[0]["momentum"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()

class Stops(torch.optim.SGD):
    """The first is stopped in mid-trial."""
    def step(self, closure=None):
        if not Path("stopped").exists():
            Path("stopped").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().step()

class Fails(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("too frail\\nto go on")

task = Task("line", data, lambda: torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, metric=None, batch=4)
'''
SGD = Trial("line_of:task", "sgd", (("lr", 0.1),), seed=0, epochs=2, batch=4, content="")


@pytest.fixture
def data(tmp_path, monkeypatch) -> Data:
    (tmp_path / "line_of.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    return load_task("line_of:task").load()


def results(said):
    return {trial: replace(value, seconds=0) for kind, trial, value in said if kind == "result"}


@pytest.mark.ci
def test_the_caller_appends_while_it_listens(data):
    """Every third trial asks for three more; while two workers are there, the order does not matter."""
    queue = deque([(SGD,), (replace(SGD, seed=1),)])
    seen = []
    for kind, trial, _ in sweep(queue, SGD.task, None, data, workers=2):
        if kind == "result":
            seen.append(trial.seed)
            if trial.seed < 2:
                queue.extend((replace(trial, seed=s),) for s in range(10 * trial.seed + 10, 10 * trial.seed + 13))
    assert sorted(seen) == [0, 1, 10, 11, 12, 20, 21, 22]


def test_nothing_to_do_starts_nobody(data):
    assert list(sweep(deque(), SGD.task, None, data, workers=2)) == []


@pytest.mark.ci
@pytest.mark.parametrize("deaths", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_worker_that_dies_is_replaced(data, deaths):
    dies = replace(SGD, optimizer="line_of:Dies", hyper=(("lr", 0.1), ("momentum", float(deaths))))
    said = list(sweep(deque([(dies,), (SGD,)]), SGD.task, None, data, workers=1))
    assert [trial for kind, trial, _ in said if kind == "lost"] == [dies] * deaths
    assert len([trial for kind, trial, _ in said if kind == "result"]) == 2 and results(said).keys() == {dies, SGD}


@pytest.mark.slow
def test_three_deaths_of_one_trial_are_enough(data):
    dies = replace(SGD, optimizer="line_of:Dies", hyper=(("lr", 0.1), ("momentum", 9.0)))
    said = [x for x in sweep(deque([(dies,), (SGD,)]), SGD.task, None, data, workers=2) if x[0] in ("failed", "result")]
    (why,) = [why for kind, trial, why in said if kind == "failed" and trial == dies]
    assert "with seed 0: the worker process died 3 times (exit code -9, exit code -9, exit code -9)" in why
    assert [trial for kind, trial, _ in said if kind == "result"] == [SGD]
    assert len(Path("deaths").read_text().split()) == 3


@pytest.mark.ci
def test_a_trial_that_fails_ends_its_own_job(data):
    """The rest of the chain is not run; the same worker goes on with the other job."""
    fails = replace(SGD, optimizer="line_of:Fails")
    jobs = deque([(fails, replace(SGD, after=fails.key)), (SGD,)])
    said = [x for x in sweep(jobs, SGD.task, None, data, workers=1) if x[0] != "step"]
    assert [(kind, trial) for kind, trial, _ in said] == [("failed", fails), ("result", SGD)]
    assert said[0][2] == "RuntimeError: too frail to go on (line_of.py, line 32)"


@pytest.mark.ci
def test_a_worker_that_falls_silent_is_given_up(data):
    stops = replace(SGD, optimizer="line_of:Stops")
    said = list(sweep(deque([(stops,)]), SGD.task, None, data, workers=1, patience=2.0))
    assert [kind for kind, *_ in said if kind != "step"] == ["lost", "result"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("stopped").read_text()), signal.SIGCONT)


@pytest.mark.ci
def test_a_chain_that_is_run_again_gives_each_result_once(data):
    """The second of the chain dies; the first is run again for its weights, and not told again."""
    dies = replace(SGD, optimizer="line_of:Dies", hyper=(("lr", 0.1), ("momentum", 1.0)), after=SGD.key)
    said = list(sweep(deque([(SGD, dies)]), SGD.task, None, data, workers=1))
    assert [(kind, trial) for kind, trial, _ in said if kind != "step"] == [
        ("result", SGD), ("lost", dies), ("result", dies)
    ]  # fmt: skip
