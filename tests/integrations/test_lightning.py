"""Lightning trains, stops, resumes and schedules with these optimizers as with torch's."""

import logging

import pytest
import torch
from tiny import OPTIMIZERS, SCHEDULES, data, every_optimizer, every_schedule, lines, near, network, same, torchs

import ravine
from ravine.mods import EMA, ClipNorm

pytest.importorskip("lightning", reason="needs the extra 'integrations'")
import lightning

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # which devices there are

pytestmark = [
    pytest.mark.slow,
    # Lightning's advice: more workers for loaders, and a folder for checkpoints that is not empty
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty:UserWarning"),
    # its own use of torch's trees
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),
]


class Module(lightning.LightningModule):
    """The tiny network; remembers its losses."""

    def __init__(self, optimizer, schedule=None):
        super().__init__()
        self.network, self.make = network(), (optimizer, schedule)
        self.losses, self.validated = [], []

    def loss(self, batch):
        return (self.network(batch[0]).float() - batch[1]).square().mean()

    def training_step(self, batch, index):
        loss = self.loss(batch)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, index):
        self.validated.append([p.detach().clone() for p in self.parameters()])

    def configure_optimizers(self):
        optimizer, schedule = self.make
        opt = optimizer(self.parameters())
        if schedule is None:
            return opt
        return {"optimizer": opt, "lr_scheduler": {"scheduler": schedule(opt), "interval": "step"}}


class Evaluated(lightning.Callback):
    """Validation sees the weights to evaluate."""

    def on_validation_start(self, trainer, module):
        for opt in trainer.optimizers:
            opt.eval()

    def on_validation_end(self, trainer, module):
        for opt in trainer.optimizers:
            opt.train()


def trainer(folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": 1, "enable_checkpointing": False, **quiet, **options}
    return lightning.Trainer(accelerator="cpu", default_root_dir=folder, **options)


def fit(module, folder, resume=None, **options):
    """Train a module; returns its trainer."""
    out = trainer(folder, **options)
    loader = torch.utils.data.DataLoader(data(), 8)
    out.fit(
        module, loader, torch.utils.data.DataLoader(data(1), 8), ckpt_path=resume, weights_only=bool(resume) or None
    )
    return out


OPTIONS = [{}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}, {"precision": "bf16-mixed"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every_schedule
def test_the_losses_are_those_of_torch(tmp_path, options, schedule):
    ours, theirs = Module(OPTIMIZERS["AdamW"], schedule), Module(torchs, schedule)
    for module in (ours, theirs):
        fit(module, tmp_path, max_epochs=2, **options)
    near(ours.losses, theirs.losses)


@every_optimizer
@every_schedule
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, optimizer, schedule):
    options = {"accumulate_grad_batches": 2, "max_epochs": 2, "callbacks": [Evaluated()]}
    whole, first, rest = (Module(optimizer, schedule) for _ in range(3))
    at_once = fit(whole, tmp_path, **options)
    fit(first, tmp_path, **options | {"max_epochs": 1}).save_checkpoint(tmp_path / "middle.ckpt")
    resumed = fit(rest, tmp_path, tmp_path / "middle.ckpt", **options)
    assert first.losses + rest.losses == whole.losses
    same(whole.state_dict(), rest.state_dict())
    same(at_once.optimizers[0].state_dict(), resumed.optimizers[0].state_dict())


def test_validation_sees_the_average(tmp_path):
    module = Module(lambda params: ravine.AdamW(params, lr=0.02, mods=[EMA(0.5)]))
    averages = []

    class Kept(lightning.Callback):
        def on_train_batch_end(self, trainer, *_):
            averages.append([trainer.optimizers[0].state[p]["ema_average"].clone() for p in module.parameters()])

    fit(module, tmp_path, callbacks=[Evaluated(), Kept()], num_sanity_val_steps=0)
    (seen,) = module.validated
    same(seen, averages[-1])
    assert not any(torch.equal(a, p) for a, p in zip(seen, module.parameters(), strict=True))


@pytest.mark.parametrize(
    "make", [ravine.MoMo, lambda p: ravine.strategies.SAM(ravine.SGD(p, lr=0.1))], ids=["MoMo", "SAM"]
)
def test_methods_that_need_the_loss_are_given_it(tmp_path, make):
    module, model = Module(make), network()
    fit(module, tmp_path)
    opt = make(model.parameters())
    for x, y in torch.utils.data.DataLoader(data(), 8):

        def closure(x=x, y=y):
            opt.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            return loss

        opt.step(closure)
    same(module.network.state_dict(), model.state_dict())


class Manual(Module):
    """Makes its steps itself."""

    def __init__(self, optimizer, schedule):
        super().__init__(optimizer, schedule)
        self.automatic_optimization, self.norms = False, []

    def training_step(self, batch, index):
        opt, schedule = self.optimizers(), self.lr_schedulers()
        loss = super().training_step(batch, index)
        opt.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(opt, gradient_clip_val=0.1)
        opt.step()
        schedule.step()
        if isinstance(opt, ravine.Optimizer):  # in Lightning's wrapping
            self.norms.append(opt.metrics()["grad_norm"].item())


@every_schedule
def test_manual_optimization(tmp_path, schedule):
    ours = Manual(lambda params: ravine.AdamW(params, lr=0.02, measured=True), schedule)
    theirs = Manual(torchs, schedule)
    for module in (ours, theirs):
        fit(module, tmp_path)
    near(ours.losses, theirs.losses)
    assert ours.norms == pytest.approx([0.1] * len(ours.losses), rel=1e-4)


def test_the_wrapped_optimizer_tells_what_it_is_asked(tmp_path):
    class Asked(Manual):
        """With one gradient that is not finite."""

        def training_step(self, batch, index):
            opt = self.optimizers()
            opt.zero_grad()
            self.manual_backward(self.loss(batch) * (float("nan") if index == 3 else 1.0))
            opt.step()
            self.told = opt.skipped, opt.metrics(), opt.explain(), opt.state_dict()

    module = Asked(lambda params: ravine.AdamW(params, nonfinite="skip", measured=True), SCHEDULES["torch's"])
    opt = fit(module, tmp_path).optimizers[0]
    same(module.told, (opt.skipped, opt.metrics(), opt.explain(), opt.state_dict()))
    assert opt.skipped == 1


def test_clipping_in_mixed_precision_is_left_to_the_step(tmp_path):
    with pytest.raises(
        RuntimeError, match="clipping"
    ):  # as for torch's fused ones, which take the scale out themselves
        fit(Module(OPTIMIZERS["AdamW"]), tmp_path, gradient_clip_val=0.1, precision="bf16-mixed")
    ours = Module(lambda params: ravine.AdamW(params, lr=0.02, mods=[ClipNorm(0.1)]))
    theirs = Module(torchs)
    fit(ours, tmp_path, precision="bf16-mixed")
    fit(theirs, tmp_path, precision="bf16-mixed", gradient_clip_val=0.1)
    near(ours.losses, theirs.losses)


def test_the_lines_of_the_page(tmp_path, monkeypatch):
    lines("Lightning", monkeypatch, tmp_path)
