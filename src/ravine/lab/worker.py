"""A worker: a process with one torch thread that runs the trials it is sent and sends back what they measured."""

import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path

import torch

from .search import optimizer_class
from .tasks import Data, Task, load_task
from .trial import Result, Trial, run

Job = tuple[Trial, ...]  # run in order, each on the weights of the one before; nearly always one trial


def work(conn: Connection, task_name: str, folder: Path | None) -> None:
    """Until None comes: takes a job, tells how it goes, sends each result. "ready" asks for the data, once."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        task = load_task(task_name, folder)
        conn.send(("ready", None, None))  # not before: what fails above must be heard, not meet a pipe full of data
        data = pickle.loads(conn.recv_bytes())
        while job := conn.recv():
            for trial, result in run_job(job, task, data, lambda trial, step: conn.send(("step", trial, step))):
                conn.send(("result", trial, result))
            conn.send(("idle", None, None))
    except KeyboardInterrupt:  # Ctrl-C reaches every process of the terminal: the coordinator answers it
        pass
    except Exception:
        conn.send(("failed", None, traceback.format_exc()))


def run_job(job: Job, task: Task, data: Data, tell: Callable[[Trial, int], None]) -> Iterator[tuple[Trial, Result]]:
    """Runs the trials of a job, each from where the one before it left the weights."""
    model = None
    for trial in job:
        cls = optimizer_class(trial.optimizer)
        result, model = run(trial, task, data, cls, model, partial(tell, trial))
        yield trial, result


def _die_with_parent() -> None:
    """A coordinator that is killed closes its end of this pipe; nobody waits for the result then."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
