"""A model of Hugging Face as a task: a small BERT that reads what a bank's customer wants. From its folder

pip install transformers
ravine compare --task hf_task:task --optimizers adamw,radam,lion --schedule one-cycle
"""

from dataclasses import replace
from pathlib import Path

import transformers  # pyright: ignore[reportMissingImports]
from torch import Tensor

from ravine.lab import Task
from ravine.lab.tasks import Data, accuracy, banking77


def bert():
    """A new one for each trial. Its loss and its logits are in what it returns."""
    config = transformers.BertConfig(
        vocab_size=banking77.WORDS,
        max_position_embeddings=banking77.LONGEST,
        num_labels=banking77.INTENTS,  # pyright: ignore[reportCallIssue]  # which it hands on
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
    )
    return transformers.BertForSequenceClassification(config)  # or .from_pretrained(…)


def arguments(words: Tensor, intents: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What the model is called with, and the target for the metric. These words have numbers already; where yours do
    not, call the tokenizer in data()."""
    return {"input_ids": words, "attention_mask": (words != 0).long(), "labels": intents}, intents


def prepared(data: Data) -> Data:
    """All three parts."""
    return Data(*arguments(*data[:2]), *arguments(*data[2:4]), *arguments(*data[4:]))


def task(folder: Path | None = None) -> Task:
    """On the files of banking77 in `folder` (--data), or on downloaded ones."""
    return Task(
        name="bert",
        data=lambda: prepared(banking77.data(folder)),
        model=bert,
        loss=lambda output, intents: output.loss,
        metric=lambda output, intents: accuracy(output.logits, intents),
        batch=32,
        epochs=10,
        about="Banking77, questions to a bank with 77 intents; a BERT of 2 layers and width 64, from scratch.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight questions."""
    return replace(task(), data=lambda: prepared(banking77.tiny().load()), batch=4, epochs=40, tiny=None)


if __name__ == "__main__":
    from ravine.cli import main

    raise SystemExit(main(["compare", "--task", "hf_task:tiny", "--optimizers", "adamw,lion", "--tier", "smoke"]))
