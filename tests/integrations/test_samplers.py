"""The samplers in the loops of others, stopped in the middle of an epoch; skipped where those are not installed."""

import logging

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.data import Shuffle

N = 37
DATA = TensorDataset(torch.arange(N).float()[:, None])
WHOLE = [Shuffle(range(N), seed=3).order(epoch).split(4) for epoch in range(2)]
WHOLE = [batch.tolist() for epoch in WHOLE for batch in epoch]  # 20 batches
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # theirs are not ours


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_goes_on_from_its_checkpoint(workers, tmp_path):
    lightning = pytest.importorskip("lightning")
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.f, self.seen = torch.nn.Linear(1, 1), []

        def training_step(self, batch, i):
            self.seen.append(batch[0].flatten().int().tolist())
            return self.f(batch[0]).square().mean()

        def configure_optimizers(self):
            return ravine.AdamW(self.parameters(), lr=1e-3)

    def run(seed, checkpoint=None):
        model = Model()
        keep = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=6, save_top_k=-1)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        loader = loaders.StatefulDataLoader(DATA, 4, sampler=Shuffle(DATA, seed=seed), num_workers=workers)
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[keep], **quiet)
        trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=False)
        return model.seen

    assert run(3) == WHOLE
    for step in (6, 12):
        assert run(99, str(tmp_path / f"step={step}.ckpt")) == WHOLE[step:]


def test_hugging_faces_trainer_goes_on_from_its_checkpoint(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Trainer(transformers.Trainer):
        seen: list[list[int]]

        def _get_train_sampler(self, *_):
            return Shuffle(self.train_dataset, seed=3, num_replicas=1, rank=0)

        def compute_loss(self, model, inputs, **_):
            self.seen.append(inputs["x"].flatten().int().tolist())
            return model(inputs["x"]).square().mean()

    def run(checkpoint=None):
        model = torch.nn.Linear(1, 1)
        how = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "logging_strategy": "no"}
        how |= {"remove_unused_columns": False, "save_steps": 6, "num_train_epochs": 2}
        args = transformers.TrainingArguments(str(tmp_path), per_device_train_batch_size=4, **how)
        rows = [{"x": x} for (x,) in DATA]
        trainer = Trainer(model, args, train_dataset=rows, optimizers=(ravine.AdamW(model.parameters()), None))
        trainer.seen = []
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer.seen

    assert run() == WHOLE
    for step in (6, 12):
        assert run(str(tmp_path / f"checkpoint-{step}")) == WHOLE[step:]


def test_accelerate_skips_what_was_seen():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    loader = accelerator.prepare(DataLoader(DATA, 4, sampler=Shuffle(DATA, seed=3, num_replicas=1, rank=0)))
    seen = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        seen += [x.flatten().int().tolist() for (x,) in loader]
    assert seen == WHOLE
    loader.set_epoch(1)
    rest = accelerator.skip_first_batches(loader, 3)
    assert [x.flatten().int().tolist() for (x,) in rest] == WHOLE[13:]
