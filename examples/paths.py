"""Three optimizers train one network; where they went, drawn over its true loss: python examples/paths.py"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import ravine
from ravine.strategies import PathRecorder
from ravine.surfaces import Plane

OPTIMIZERS = {
    "sgd": lambda params: ravine.SGD(params, lr=0.3),
    "momentum": lambda params: ravine.Momentum(params, lr=0.1, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.003),  # torch's: the recorder looks at the model alone
}


def main(out: str = "paths.png", epochs: int = 30, points: int = 61) -> Plane:
    """Draws to the file `out` and returns the plane."""
    images, labels = load_digits(return_X_y=True)
    x, y, paths = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels), dict[str, PathRecorder]()
    for name, make in OPTIMIZERS.items():
        torch.manual_seed(0)  # the same weights and the same batches for each
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        opt = make(model.parameters())
        with PathRecorder(model, every=7) as paths[name]:
            for rows in torch.cat([torch.randperm(len(x)) for _ in range(epochs)]).split(128):
                opt.zero_grad()
                cross_entropy(model(x[rows]), y[rows]).backward()
                opt.step()
                paths[name].step()
    plane = Plane(paths["adam"].model, paths, lambda net: cross_entropy(net(x), y))
    plane.draw(f"Digits, 64-64-10 ReLU network, {epochs} epochs: training loss", points).savefig(out, dpi=110)
    return plane


if __name__ == "__main__":
    print(main())
