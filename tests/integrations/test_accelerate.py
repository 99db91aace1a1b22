"""Accelerate trains, stops, resumes and schedules with these optimizers as with torch's."""

import pytest
import torch
from tiny import OPTIMIZERS, SCHEDULES, data, every_optimizer, every_schedule, lines, near, network, same, torchs

import ravine

pytest.importorskip("accelerate", reason="needs the extra 'integrations'")
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

pytestmark = pytest.mark.slow


class Run:
    """A training loop as its documentation has it."""

    def __init__(self, optimizer, schedule, clip=None, **options):
        self.accelerator, self.clip, self.losses = Accelerator(cpu=True, **options), clip, []
        model = network()
        opt = optimizer(model.parameters())
        loader = torch.utils.data.DataLoader(data(), 8)
        self.model, self.opt, self.loader, self.schedule = self.accelerator.prepare(model, opt, loader, schedule(opt))

    def epoch(self):
        for x, y in self.loader:
            with self.accelerator.accumulate(self.model):
                loss = (self.model(x) - y).square().mean()
                self.accelerator.backward(loss)
                if self.clip is not None and self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
                self.opt.step()
                self.schedule.step()
                self.opt.zero_grad()
            self.losses.append(loss.item())


OPTIONS = [{}, {"gradient_accumulation_steps": 2}, {"clip": 0.1}, {"mixed_precision": "bf16"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every_schedule
def test_the_losses_are_those_of_torch(options, schedule):
    ours, theirs = (Run(make, schedule, **options) for make in (OPTIMIZERS["AdamW"], torchs))
    for run in (ours, theirs):
        run.epoch()
        run.epoch()
    near(ours.losses, theirs.losses)


@every_optimizer
@every_schedule
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, optimizer, schedule):
    whole, rest = (Run(optimizer, schedule, gradient_accumulation_steps=2) for _ in range(2))
    whole.epoch()
    whole.opt.eval()  # a checkpoint of the weights to evaluate with
    whole.accelerator.save_state(tmp_path)
    whole.opt.train()
    whole.epoch()
    rest.accelerator.load_state(tmp_path)
    rest.opt.train()
    rest.epoch()
    assert whole.losses[len(rest.losses) :] == rest.losses
    same(whole.model.state_dict(), rest.model.state_dict())
    same(whole.opt.state_dict(), rest.opt.state_dict())
    same(whole.schedule.state_dict(), rest.schedule.state_dict())


def test_methods_that_need_the_loss_are_given_it():
    run, model = Run(ravine.MoMo, SCHEDULES["torch's"]), network()
    opt = ravine.MoMo(model.parameters())
    for x, y in run.loader:
        losses = [(net(x) - y).square().mean() for net in (run.model, model)]
        for loss in losses:
            loss.backward()
        run.opt.step(lambda loss=losses[0]: loss)
        opt.step(loss=losses[1])
        run.opt.zero_grad()
        opt.zero_grad()
    same(run.model.state_dict(), model.state_dict())
    assert losses[0] == losses[1]


def test_a_step_that_overflows_changes_nothing():
    Accelerator(cpu=True)
    p = torch.nn.Parameter(torch.ones(3))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    opt = AcceleratedOptimizer(ravine.AdamW([p], lr=0.5), scaler=scaler)
    for factor in (1.0, float("inf"), 1.0):
        before = p.detach().clone()
        scaler.scale((p * factor).sum()).backward()
        opt.step()
        opt.zero_grad()
        assert torch.equal(p, before) == (factor != 1.0)
    assert opt.optimizer.skipped == 1 and scaler.get_scale() == 2.0


def test_states_are_kept_by_safetensors(tmp_path):
    from safetensors.torch import load_file, save_file

    run = Run(OPTIMIZERS["the whole step"], SCHEDULES["ravine's"])
    run.epoch()
    saved = run.opt.state_dict()
    save_file({f"{i}.{k}": x for i, state in saved["state"].items() for k, x in state.items()}, tmp_path / "state")
    found = load_file(tmp_path / "state")
    state = {i: {k: found[f"{i}.{k}"] for k in state} for i, state in saved["state"].items()}
    same(saved["state"], state)
    again = OPTIMIZERS["the whole step"](network().parameters())
    again.load_state_dict(saved | {"state": state})
    same(again.state_dict()["state"], saved["state"])


def test_the_lines_of_the_page(tmp_path, monkeypatch):
    lines("Accelerate", monkeypatch, tmp_path)
