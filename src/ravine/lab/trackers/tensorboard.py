"""TensorBoard: a folder for each trial under OUT/tensorboard, with its curves and an entry on the HPARAMS page."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ravine.cli.answer import file_name

from . import Run


class Tracker:
    """`tensorboard --logdir OUT/tensorboard` shows it."""

    def __init__(self, out: Path, task: str):
        self.folder = out / "tensorboard"

    def add(self, run: Run) -> None:
        """One finished trial."""
        with SummaryWriter(str(self.folder / file_name(f"{run.optimizer}-{run.stage}-{run.key[:8]}"))) as writer:
            for step, values in run.points:
                for name, x in values.items():
                    writer.add_scalar(name, x, step)
            writer.add_hparams(dict(run.hyper), {f"hparam/{k}": x for k, x in run.final.items()}, run_name=".")

    def close(self) -> None:
        """All is written."""
