"""Train a small network on digits with an optimizer by name: python examples/train.py radam"""

import sys

import torch
from sklearn.datasets import load_digits

import ravine


def main(name: str = "adam", epochs: int = 20) -> float:
    """The accuracy on the last fifth of the digits."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, held_out = slice(0, 1437), slice(1437, None)

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    opt = ravine.optim.registry()[name](model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, epochs)

    for _ in range(epochs):
        for batch in torch.randperm(1437).split(32):
            loss = torch.nn.functional.cross_entropy(model(x[train][batch]), y[train][batch])
            loss.backward()
            opt.step()
            opt.zero_grad()
        schedule.step()

    opt.eval()  # NAG trains at another point than it is evaluated at; for most rules this does nothing
    accuracy = (model(x[held_out]).argmax(1) == y[held_out]).float().mean().item()
    print(f"{name}: {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "adam")
