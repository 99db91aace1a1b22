"""MLflow: a run for each trial in an experiment of the task's name, in SQLite.

OUT/mlflow.db, unless MLFLOW_TRACKING_URI names another place. `mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db`
shows it.
"""

import logging
import os
import time
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from . import Run


class Tracker:
    """The experiment is made with the first trial."""

    def __init__(self, out: Path, task: str):
        logging.getLogger("alembic").setLevel(logging.WARNING)
        there = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{out.resolve() / 'mlflow.db'}"
        self.client = MlflowClient(there)  # pyright: ignore[reportCallIssue]  # where mlflow is not installed
        self.artifacts, self.name = (out.resolve() / "mlflow-artifacts").as_uri(), task
        self.experiment: str | None = None

    def add(self, run: Run) -> None:
        """One finished trial."""
        if self.experiment is None:
            there = self.client.get_experiment_by_name(self.name)
            self.experiment = there.experiment_id if there else self.client.create_experiment(self.name, self.artifacts)
        now = int(time.time() * 1000)
        made = self.client.create_run(self.experiment, run_name=run.name, tags={"key": run.key}).info.run_id
        points = [Metric(name, x, now, step) for step, values in run.points for name, x in values.items()]
        last = [Metric(name, x, now, 0) for name, x in run.final.items()]
        params = [Param(name, str(x)) for name, x in run.hyper.items()]
        every = [*points, *last]
        for i in range(0, len(every), 1000):  # as many as it takes at once
            self.client.log_batch(made, metrics=every[i : i + 1000], params=[] if i else params)
        self.client.set_terminated(made)

    def close(self) -> None:
        """All is written."""
