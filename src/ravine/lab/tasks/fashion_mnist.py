"""Fashion-MNIST (Xiao et al. 2017, https://arxiv.org/abs/1708.07747): 28x28 photographs of clothes, 10 classes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from .download import cache_folder, download
from .few import bright, thrice
from .idx import read_idx
from .task import Data, Task

ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MD5 = {  # as the data set's own page gives them
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
PARTS = "Fashion-MNIST, pixels/255: 50,000 images to train on, the last 10,000 training images to validate, the 10,000 "
PARTS += "test images to test."


def images(folder: Path | None, part: str, n: int) -> tuple[Tensor, Tensor]:
    """The `n` images and labels of a part ("train" or "t10k"). Pixels/255. Without a folder, downloads them."""
    if folder is None:
        folder = cache_folder("fashion-mnist")
        download(ADDRESS, MD5, folder)
    pixels = read_idx(folder / f"{part}-images-idx3-ubyte.gz", (n, 28, 28))
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", (n,))
    return pixels.flatten(1) / 255, labels.long()


def data(folder: Path | None, shape: tuple[int, ...] = (784,)) -> Data:
    """50,000 images of this shape to train on, 10,000 to validate, the 10,000 test images to test."""
    x, y = images(folder, "train", 60_000)
    x_test, y_test = images(folder, "t10k", 10_000)
    # clones: a view would take all that it is a view of to every worker
    parts = (x[:50_000].clone(), y[:50_000].clone(), x[50_000:].clone(), y[50_000:].clone(), x_test, y_test)
    return Data(*(part.view(-1, *shape) if part.ndim > 1 else part for part in parts))


def model() -> nn.Module:
    """784-300-100-10, ReLU, Glorot-uniform weights, zero biases."""
    net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (both parts, gzipped or not), or on downloaded ones."""
    return Task(
        name="fashion-mnist",
        data=partial(data, folder),
        model=model,
        batch=32,
        epochs=15,
        about=f"{PARTS} A 784-300-100-10 ReLU network, Glorot-uniform weights, zero biases.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows."""
    return replace(task(), data=lambda: thrice(*bright(784)), batch=4, epochs=50, tiny=None)


def classic(folder: Path | None = None) -> Task:
    """The task as articles have it: no part of the data that nothing was chosen on."""
    return replace(
        task(folder),
        name="fashion-mnist-classic",
        data=lambda: Data(*images(folder, "train", 60_000), *images(folder, "t10k", 10_000)),
        about="Fashion-MNIST, 60,000 images to train on; the 10,000 test images are the validation data. "
        "A 784-300-100-10 ReLU network, Glorot-uniform weights, zero biases, pixels/255.",
        tiny=lambda: replace(tiny(), name="fashion-mnist-classic", data=lambda: Data(*bright(784), *bright(784))),
    )
