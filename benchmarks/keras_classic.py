"""The classic experiment in Keras, one optimizer after another, as its users write it: seconds per epoch, as JSON.

    pip install keras tensorflow-cpu                            in an environment of its own
    RAVINE_DATA=FOLDER python benchmarks/keras_classic.py       benchmarks/lab.py --keras that/bin/python runs it

784-300-100-10 on Fashion-MNIST at batch 32, validated after each epoch. Of every optimizer's epochs the first, which
traces, does not count.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

EPOCHS = 3


class Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.marks: list[float] = []

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.marks.append(time.perf_counter())


def read(name: str, skip: int) -> np.ndarray:
    path = Path(os.environ["RAVINE_DATA"]) / "fashion-mnist" / f"{name}-ubyte.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=skip)


def main() -> None:
    x, x_test = (read(f"{part}-images-idx3", 16).reshape(-1, 28, 28) / 255.0 for part in ("train", "t10k"))
    y, y_test = (read(f"{part}-labels-idx1", 8) for part in ("train", "t10k"))
    seconds: dict[str, float] = {}
    for name in ("SGD", "Nadam", "RMSprop"):
        keras.utils.set_random_seed(0)
        dense = [keras.layers.Dense(n, activation=a) for n, a in ((300, "relu"), (100, "relu"), (10, "softmax"))]
        model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), *dense])
        model.compile(name.lower(), "sparse_categorical_crossentropy", metrics=["accuracy"])
        clock = Clock()
        model.fit(x, y, batch_size=32, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=0, callbacks=[clock])
        seconds[name] = (clock.marks[-1] - clock.marks[0]) / (EPOCHS - 1)
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
