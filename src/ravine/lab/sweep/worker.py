"""A worker: a process with one torch thread that runs the trials it is sent and says what they measured."""

import os
import pickle
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any

import torch

import ravine

from ..errors import LabError
from ..protocol.search import optimizer_class
from ..protocol.trial import Result, Trial, run
from ..tasks import Data, Task, load_task

AROUND = Path(ravine.__file__).parent / "lab" / "protocol", Path(__file__).parent, Path(torch.__file__).parent
Job = tuple[Trial, ...]  # run in order, each on the weights of the one before; nearly always one trial
Message = tuple[str, Trial | None, Any]


def work(conn: Connection, task_name: str, folder: Path | None, device: str, beat: float) -> None:
    """Serves the coordinator at the other end of the pipe, until it is killed or the coordinator is."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()  # two threads speak

    def say(message: Message) -> None:
        with lock:
            conn.send(message)

    threading.Thread(target=_beat, args=(say, beat), daemon=True).start()
    serve(task_name, folder, device, say, conn.recv_bytes, conn.recv)


def serve(task_name: str, folder: Path | None, device: str, say: Callable[[Message], None],
          take_data: Callable[[], bytes], take_job: Callable[[], Job]) -> None:  # fmt: skip
    """For ever: asks for the data with "ready", once, and for a job with "idle"; says how it goes with "step", and what
    was measured with "result". An error in a trial is "failed", and ends the job; one in the task, of no trial, is the
    end. So is any on a GPU, which may take no more work after it."""
    alone()
    try:
        task = load_task(task_name, folder)
        say(("ready", None, None))  # not before: what fails above must be heard, not meet a pipe full of data
        data = pickle.loads(take_data()).to(device)
        while True:
            say(("idle", None, None))
            for message in attempt(take_job(), task, data, lambda trial, step: say(("step", trial, step))):
                say(message)
                if message[0] == "failed" and device != "cpu":
                    return
    except KeyboardInterrupt:  # Ctrl-C may reach every process of the terminal: the coordinator answers it
        pass
    except Exception as error:
        say(("failed", None, told(error)))


def alone() -> None:
    """One thread for this process, since others have the other cores; torch.compile's helpers too."""
    torch.set_num_threads(1)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def attempt(job: Job, task: Task, data: Data, tell: Callable[[Trial, int], None]) -> Iterator[Message]:
    """Runs a job: what each trial measured, and what the first that fails says."""
    left = deque(job)
    try:
        for trial, result in run_job(job, task, data, tell):
            left.popleft()
            yield "result", trial, result
    except Exception as error:
        yield "failed", left[0], told(error)


def told(error: Exception) -> str:
    """In a line, with the place in the code of the task or the optimizer; all of it if RAVINE_DEBUG is set."""
    if os.environ.get("RAVINE_DEBUG"):
        return "".join(traceback.format_exception(error))
    text = " ".join(str(error).split())
    if isinstance(error, LabError):
        return text
    frames = [x for x in traceback.extract_tb(error.__traceback__) if x.filename[0] != "<"]
    theirs = [x for x in frames if not any(Path(x.filename).is_relative_to(folder) for folder in AROUND)]
    place = "".join(f" ({Path(x.filename).name}, line {x.lineno})" for x in theirs[-1:])
    return f"{type(error).__name__}: {text:.1000}{place}"


def run_job(job: Job, task: Task, data: Data, tell: Callable[[Trial, int], None]) -> Iterator[tuple[Trial, Result]]:
    """Runs the trials of a job, each from where the one before it left the weights."""
    model = None
    for trial in job:
        cls = optimizer_class(trial.optimizer)
        result, model = run(trial, task, data, cls, model, partial(tell, trial))
        yield trial, result


def _beat(say: Callable[[Message], None], seconds: float) -> None:
    """Says that the process runs, however long a step takes; stopped, or hung with Python's lock, it is silent."""
    while True:
        say(("alive", None, None))
        time.sleep(seconds)


def _die_with_parent() -> None:
    """A coordinator that is killed closes its end of this pipe; nobody waits for the result then."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
