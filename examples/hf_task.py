"""A model of Hugging Face as a task: a small BERT that reads what a bank's customer wants. From its folder

pip install transformers
ravine compare --task hf_task:task --optimizers adamw,radam,lion --schedule one-cycle

A LightningModule needs less: it is a torch.nn.Module, and what its `forward` returns is the output of the task.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import transformers  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from ravine.lab import Task
from ravine.lab.tasks import banking77


class Bert(nn.Module):
    """What a Task wants of a model: called with a batch of x it returns a tensor, here the scores of the intents."""

    def __init__(self):
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=banking77.WORDS,  # words have numbers already; where yours do not, call the tokenizer in data()
            max_position_embeddings=banking77.LONGEST,
            num_labels=banking77.INTENTS,  # pyright: ignore[reportCallIssue]  # which it hands on
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
        )
        self.bert = transformers.BertForSequenceClassification(config)  # or .from_pretrained(…)

    def forward(self, words: Tensor) -> Tensor:
        return self.bert(input_ids=words, attention_mask=(words != 0).long()).logits


def task(folder: Path | None = None) -> Task:
    """On the files of banking77 in `folder` (--data), or on downloaded ones."""
    return Task(
        name="bert",
        data=partial(banking77.data, folder),
        model=Bert,
        batch=32,
        epochs=10,
        about="Banking77, questions to a bank with 77 intents; a BERT of 2 layers and width 64, from scratch.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight questions."""
    return replace(task(), data=banking77.tiny().data, batch=4, epochs=40, tiny=None)


if __name__ == "__main__":
    from ravine.cli import main

    raise SystemExit(main(["compare", "--task", "hf_task:tiny", "--optimizers", "adamw,lion", "--tier", "smoke"]))
