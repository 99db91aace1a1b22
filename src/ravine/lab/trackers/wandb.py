"""Weights & Biases: a run for each trial, in the group of its optimizer.

WANDB_MODE=offline (or `wandb offline`) keeps all on this machine, under OUT/wandb. What is sent is what the records
have: nothing about the machine, its files or its repository.
"""

import os
from pathlib import Path

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb  # where it is not installed, pyright takes this file for it

from . import Run


class Tracker:
    """In the project "ravine-TASK", unless WANDB_PROJECT names another."""

    def __init__(self, out: Path, task: str):
        self.out, self.project = out, os.environ.get("WANDB_PROJECT") or f"ravine-{task}".replace(":", "-")
        self.settings = wandb.Settings(  # pyright: ignore[reportAttributeAccessIssue]
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True,
            x_disable_machine_info=True, x_save_requirements=False, host="", root_dir=str(out),
        )  # fmt: skip

    def add(self, run: Run) -> None:
        """One finished trial; its id is the trial's key, so none is there twice."""
        with wandb.init(  # pyright: ignore[reportAttributeAccessIssue]
            project=self.project, group=run.optimizer, job_type=run.stage, name=run.name, id=run.key,
            config=dict(run.hyper), dir=str(self.out), resume="allow", settings=self.settings,
        ) as there:  # fmt: skip
            for step, values in run.points:
                there.log(dict(values), step=step)
            there.summary.update(dict(run.final))

    def close(self) -> None:
        """All is written."""
