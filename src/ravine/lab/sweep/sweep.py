"""Runs jobs on workers and yields what they say; the coordinator alone keeps records."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import LabError, extra
from ..protocol.records import Records
from ..protocol.trial import Trial
from ..tasks import Data
from .crew import Crew, Engine
from .processes import Processes
from .worker import Job

ENGINES = ("processes", "ray")
ATTEMPTS = 3


class TrialFailed(RuntimeError):
    """A task raised an error in a worker, or all that was to be run did, or the processes that ran it died."""


def sweep(queue: deque[Job], task: str, folder: Path | None, data: Data, workers: int | Sequence[str],
          records: Records | None = None, engine: str = "processes", patience: float = 60.0,
          ) -> Iterator[tuple[str, Trial, Any]]:  # fmt: skip
    """Runs the jobs, and those that the caller appends meanwhile, until the queue is empty and none is in flight.

    Yields in no fixed order ("step", trial, step) as trials go on, ("result", trial, result) when they end, once each,
    and ("lost", trial, why) when their worker died or said nothing for `patience` seconds: it is replaced, and they are
    run again. ("failed", trial, why) is of a trial that raised an error, or lost its worker three times: what is left
    of its job is not run, and all else goes on. `workers` are so many processes, or one for each device named.
    `records` are told who works on what; to add the results is the caller's part.

    Raises TrialFailed where the task fails in the workers, before any trial.
    """
    devices = ("cpu",) * workers if isinstance(workers, int) else tuple(workers)
    if not queue:
        return
    if not devices:
        raise LabError(f"{sum(map(len, queue))} trials are missing: ravine compare --resume runs them")
    deaths: defaultdict[Job, list[str]] = defaultdict(list)
    done: set[Trial] = set()
    hired_from = _engine(engine, task, folder, data, patience / 12, devices)
    with closing(Crew(hired_from, devices, records, patience)) as crew:
        while queue or crew.busy:
            crew.give(queue)
            job, (kind, trial, value) = crew.hear()
            if kind == "failed":
                if trial is None:
                    raise TrialFailed(f"task '{task}' fails in a worker: {value}")
                done.update(job)
                yield kind, trial, value
            elif kind == "gone":
                left = [trial for trial in job if trial not in done]
                deaths[job].append(value)
                if len(deaths[job]) == ATTEMPTS and not left:
                    raise TrialFailed(_died(job, deaths[job]))
                if len(deaths[job]) == ATTEMPTS:
                    done.update(job)
                    yield "failed", left[0], _died(job, deaths[job])
                    continue
                if left:
                    queue.appendleft(job)
                for trial in left:
                    yield "lost", trial, value
            elif trial is not None and trial not in done:  # not one that a job run again has to go through
                if kind == "result":
                    done.add(trial)
                yield kind, trial, value


def _engine(name: str, task: str, folder: Path | None, data: Data, beat: float, devices: Sequence[str]) -> Engine:
    if name == "ray":
        with extra("ray", "--engine ray"):
            from .on_ray import Ray

        return Ray(task, folder, data, beat, devices)
    return Processes(task, folder, data, beat)


def _died(job: Job, how: list[str]) -> str:
    what = ", then ".join(f"{t.optimizer} at {dict(t.hyper)} with seed {t.seed}" for t in job)
    return f"{what or 'before any trial'}: the worker process died {len(how)} times ({', '.join(how)})"
