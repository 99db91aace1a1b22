"""Hugging Face's Trainer trains, stops, resumes and schedules with these optimizers as with torch's."""

import pytest
import torch
from tiny import OPTIMIZERS, STEPS, every_optimizer, every_schedule, lines, near, same, torchs

import ravine
from ravine.mods import EMA

pytest.importorskip("transformers", reason="needs the extra 'integrations'")
pytest.importorskip("accelerate", reason="needs the extra 'integrations'")
import transformers

pytestmark = pytest.mark.slow


def network():
    """A transformer of 5,000 weights, always the same one."""
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=16, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def texts(batches=STEPS):
    """Counting from anywhere on."""
    return [{"input_ids": x, "labels": x} for x in (torch.arange(i, i + 8) % 16 for i in range(8 * batches))]


class Trainer(transformers.Trainer):
    """Remembers its losses, and the weights that it evaluates with."""

    def compute_loss(self, model, inputs, **more):
        loss = super().compute_loss(model, inputs, **more)
        if model.training:
            self.__dict__.setdefault("losses", []).append(loss.item())
        else:
            self.evaluated = [p.detach().clone() for p in model.parameters()]
        return loss


def trainer(folder, optimizer=None, schedule=None, **options):
    model = network()
    kind = options.pop("optimizer_cls_and_kwargs", None)
    opt = optimizer and optimizer(model.parameters())
    arguments = transformers.TrainingArguments(
        folder,
        **{"num_train_epochs": 2, "per_device_train_batch_size": 8, "save_strategy": "no", **options},
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    pair = (opt, schedule(opt) if opt and schedule else None)
    return Trainer(
        model, arguments, train_dataset=texts(), eval_dataset=texts(1), optimizers=pair, optimizer_cls_and_kwargs=kind
    )


OPTIONS = [{}, {"gradient_accumulation_steps": 2}, {"max_grad_norm": 0.1}, {"bf16": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every_schedule
def test_the_losses_are_those_of_torch(tmp_path, options, schedule):
    ours, theirs = (trainer(tmp_path, make, schedule, **options) for make in (OPTIMIZERS["AdamW"], torchs))
    for run in (ours, theirs):
        transformers.set_seed(0)  # of dropout
        run.train()
    near(ours.losses, theirs.losses, half="bf16" in options)


def test_a_class_and_its_arguments(tmp_path):
    """Trainer makes the groups, with and without decay, and the schedule."""
    options = {"weight_decay": 0.1, "lr_scheduler_type": "cosine", "warmup_steps": 3}
    ours, theirs = (
        trainer(tmp_path, optimizer_cls_and_kwargs=(cls, {"lr": 0.02, "betas": (0.9, 0.95)}), **options)
        for cls in (ravine.AdamW, torch.optim.AdamW)
    )
    for run in (ours, theirs):
        transformers.set_seed(0)  # of dropout
        run.train()
    near(ours.losses, theirs.losses)
    assert [group["weight_decay"] for group in ours.optimizer.param_groups] == [0.1, 0.0]


@every_optimizer
@every_schedule
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, optimizer, schedule):
    """Each checkpoint follows an evaluation, while the model holds the weights to evaluate with."""
    options = {"save_strategy": "steps", "save_steps": 7, "eval_strategy": "steps", "eval_steps": 7}
    options["gradient_accumulation_steps"] = 2
    whole, rest = (trainer(tmp_path, optimizer, schedule, **options) for _ in range(2))
    whole.train()
    rest.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    assert len(rest.losses) == 2 * (STEPS - 7) and whole.losses[-len(rest.losses) :] == rest.losses
    same(whole.model.state_dict(), rest.model.state_dict())
    same(whole.optimizer.state_dict(), rest.optimizer.state_dict())


def test_evaluation_sees_the_average(tmp_path):
    run = trainer(tmp_path, lambda params: ravine.AdamW(params, lr=0.02, mods=[EMA(0.5)]))
    run.train()
    run.evaluate()
    opt = run.optimizer.optimizer
    same(run.evaluated, [opt.state[p]["ema_average"] for p in run.model.parameters()])
    opt.train()
    assert not any(torch.equal(a, p) for a, p in zip(run.evaluated, run.model.parameters(), strict=True))


def test_the_lines_of_the_page(tmp_path, monkeypatch):
    lines("Hugging Face Trainer", monkeypatch, tmp_path)
