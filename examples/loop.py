"""A whole loop: warm-up and cosine, easy samples first, averages, early stopping, a monitor: python examples/loop.py"""

from copy import deepcopy

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.data import Curriculum, Shuffle, difficulty, pacing
from ravine.loop import EarlyStopping
from ravine.mods import EMA, ClipNorm
from ravine.schedules import Cosine, Warmup


def main(epochs: int = 30) -> float:
    """The accuracy on the last fifth of the digits, which neither training nor early stopping has seen."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    data, valid, test = TensorDataset(x[:1077], y[:1077]), slice(1077, 1437), slice(1437, None)

    layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    model = torch.nn.Sequential(*layers)
    teacher = deepcopy(model)  # how hard a digit is: the loss of a network after one epoch
    opt = ravine.Adam(teacher.parameters(), lr=1e-3)
    for inputs, targets in DataLoader(data, 32, sampler=Shuffle(data)):
        opt.zero_grad()
        cross_entropy(teacher(inputs), targets).backward()
        opt.step()
    hard = difficulty.losses(teacher, data, lambda net, pair: cross_entropy(net(pair[0]), pair[1], reduction="none"))

    order = Curriculum(hard, pacing.root(over=5, start=0.3))
    loader = DataLoader(data, 32, sampler=order)
    opt = ravine.AdamW(model.parameters(), lr=3e-3, mods=(ClipNorm(1.0), EMA(0.99)))
    schedule = ravine.Scheduler(opt, lr=Warmup(50) * Cosine(epochs * len(loader)))
    with ravine.Monitor(model, opt) as monitor, EarlyStopping(model, patience=5, opt=opt) as stop:
        while order.epoch < epochs:
            for inputs, targets in order.batches(loader):
                loss = cross_entropy(model(inputs), targets)
                opt.zero_grad()
                loss.backward()
                opt.step()
                schedule.step()
                monitor.step(loss)
            opt.eval()  # the averaged weights
            done = stop(cross_entropy(model(x[valid]), y[valid]))
            opt.train()
            if done:
                break
    accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()  # of the best averages
    print(f"{order.epoch} epochs, validation loss {stop.best:.3f}, test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
