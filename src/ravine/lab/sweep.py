"""Runs jobs on worker processes and yields what they say; the coordinator alone keeps records."""

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from .tasks import Data
from .trial import Trial
from .worker import Job, work


class TrialFailed(RuntimeError):
    """A trial raised an error, or its process died."""


def sweep(
    jobs: list[Job], task: str, folder: Path | None, data: Data, workers: int
) -> Iterator[tuple[str, Trial, Any]]:
    """Yields ("step", trial, step) as trials go on and ("result", trial, result) when they end, in no fixed order."""
    queue = list(reversed(jobs))
    parcel = pickle.dumps(data)  # pickled once, as plain bytes: no shared memory to run out of
    crew: dict[Connection, BaseProcess] = {}
    try:
        context = multiprocessing.get_context("spawn")
        for _ in range(min(workers, len(jobs))):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, task, folder), daemon=True)
            process.start()
            theirs.close()
            crew[ours] = process
        while crew:
            speaking = wait(list(crew))
            for conn in [conn for conn in crew if conn in speaking]:
                kind, trial, value = conn.recv()
                if kind == "failed":
                    raise TrialFailed(f"a trial failed:\n{value}")
                if kind == "ready":
                    conn.send_bytes(parcel)
                elif kind != "idle":
                    yield kind, trial, value
                    continue
                if queue:
                    conn.send(queue.pop())
                else:
                    conn.send(None)
                    crew.pop(conn).join()
                    conn.close()
    except (EOFError, ConnectionError):
        gone = wait([process.sentinel for process in crew.values()], timeout=5)
        dead = [process for process in crew.values() if process.sentinel in gone]
        for process in dead:
            process.join()  # its exit code comes a moment after its end of the pipe is gone
        raise TrialFailed(f"a worker process died (exit code {', '.join(str(p.exitcode) for p in dead)})") from None
    finally:
        for conn, process in crew.items():
            process.kill()
            process.join()
            conn.close()


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
