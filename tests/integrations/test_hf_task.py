"""A model of Hugging Face is a task like any other: examples/hf_task.py."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs the extra 'integrations'")
pytest.importorskip("plotly", reason="needs the extra 'lab'")

import ravine
from ravine.cli import main
from ravine.lab.protocol import routing
from ravine.lab.protocol.trial import Trial, run

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("hf_task", EXAMPLES / "hf_task.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_learns(example):
    task = example.tiny()
    data = task.load()
    trial = Trial("bert", "adamw", (("lr", 0.003),), seed=0, epochs=task.epochs, batch=task.batch, content="")
    result, _ = run(trial, task, data, ravine.AdamW)
    assert result.valid[-1] < 0.5 * result.valid[0] and result.test_metric > 0.95


def test_it_masks_what_fills_up(example):
    model, x = example.bert().eval(), example.tiny().load().x
    assert x["input_ids"][:, 8:].max() == 0
    short = {name: part[:, :8] for name, part in x.items() if name != "labels"}
    assert (model(**x).logits - model(**short).logits).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # which PEFT reads
def test_adapters_are_trained_and_nothing_else(example):
    peft = pytest.importorskip("peft", reason="peft is not installed")

    def model():
        return peft.get_peft_model(example.bert(), peft.LoraConfig(r=2, target_modules=["query"]))

    task = replace(example.tiny(), model=model, accumulate=2, evaluation_batch=3)
    data = task.load()
    task.rehearse(data)
    trial = Trial("bert", "adamw", (("lr", 0.01),), seed=0, epochs=10, batch=task.batch, content="")
    result, trained = run(trial, task, data, ravine.AdamW)
    assert result.valid[-1] < result.valid[0]
    held = {id(p) for group in routing.made(ravine.AdamW, trained, {}).param_groups for p in group["params"]}
    names = [name for name, p in trained.named_parameters() if id(p) in held]
    assert len(names) == 4 and all("lora" in name for name in names)


def test_the_command_compares_on_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    arguments = "--task hf_task:tiny --optimizers adamw,lion --points 1 --seeds 1 --epochs 1 --workers 1"
    assert main(["compare", *arguments.split()]) == 0
    assert "Lion" in capsys.readouterr().out and (tmp_path / "runs" / "bert" / "report.html").exists()
