"""Fashion-MNIST (Xiao et al. 2017, https://arxiv.org/abs/1708.07747): 28x28 photographs of clothes, 10 classes."""

from functools import partial
from pathlib import Path

from torch import nn

from ..download import cache_folder, download
from ..idx import read_idx
from .task import Data, Task

ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MD5 = {  # as the data set's own page gives them
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def data(folder: Path | None) -> Data:
    """60,000 images to train on; the 10,000 test images validate. Pixels/255. Without a folder, downloads them."""
    if folder is None:
        folder = cache_folder("fashion-mnist")
        download(ADDRESS, MD5, folder)
    train, test = (
        (
            read_idx(folder / f"{part}-images-idx3-ubyte.gz", (n, 28, 28)),
            read_idx(folder / f"{part}-labels-idx1-ubyte.gz", (n,)),
        )
        for part, n in (("train", 60_000), ("t10k", 10_000))
    )
    return train[0].flatten(1) / 255, train[1].long(), test[0].flatten(1) / 255, test[1].long()


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
        about="Fashion-MNIST, 60,000 images to train on; the 10,000 test images are the validation data. "
        "A 784-300-100-10 ReLU network, Glorot-uniform weights, zero biases, pixels/255.",
    )
