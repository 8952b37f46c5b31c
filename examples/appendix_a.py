"""Appendix A of the book: a first network, and the loop that trains it. On NumPy, or on PyTorch.

    python examples/appendix_a.py                     # Epoch: 001/003 | Batch 001/002 | Train loss: 0.75 ...
    python examples/appendix_a.py --engine torch      # the same seed, the same numbers

Five points in the plane, two classes, a network of 752 parameters, three epochs.
"""

import argparse
import importlib
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

TRAIN = ([[-1.2, 3.1], [-0.9, 2.9], [-0.5, 2.6], [2.3, -1.1], [2.7, -1.5]], [0, 0, 0, 1, 1])
TEST = ([[-0.8, 2.8], [2.6, -1.6]], [0, 1])
EPOCHS, RATE, SEED = 3, 0.5, 123


def network(torch: ModuleType, inputs: int = 2, outputs: int = 2) -> Any:
    nn = torch.nn
    return nn.Sequential(nn.Linear(inputs, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, outputs))


def points(torch: ModuleType, part: tuple) -> Any:
    """A data set: what it needs is a length and items."""
    data = importlib.import_module(f"{torch.__name__}.utils.data")
    positions, labels = part
    return data.TensorDataset(torch.tensor(positions), torch.tensor(labels))       # (N, 2) float32, (N,) int64


def loaders(torch: ModuleType) -> tuple[Any, Any]:
    """Training batches in a new order each epoch; the fifth point would be a batch of its own, and is left out."""
    data = importlib.import_module(f"{torch.__name__}.utils.data")
    return (data.DataLoader(points(torch, TRAIN), batch_size=2, shuffle=True, drop_last=True),
            data.DataLoader(points(torch, TEST), batch_size=2))


def train(torch: ModuleType, model: Any, loader: Any) -> list[float]:
    """The loss of each batch, before the step that it leads to."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    losses = []
    for epoch in range(EPOCHS):
        model.train()
        for number, (x, labels) in enumerate(loader):
            loss = torch.nn.functional.cross_entropy(model(x), labels)             # (B, 2), (B,) -> ()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            print(f"Epoch: {epoch + 1:03d}/{EPOCHS:03d} | Batch {number + 1:03d}/{len(loader):03d} | "
                  f"Train loss: {losses[-1]:.2f}")
    return losses


def accuracy(torch: ModuleType, model: Any, loader: Any) -> float:
    model.eval()
    with torch.no_grad():
        right = [(model(x).argmax(dim=1) == labels).float() for x, labels in loader]      # (B, 2) -> (B,)
    return torch.cat(right).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("numpy", "torch"), default="numpy")
    engine = parser.parse_args().engine
    torch = importlib.import_module({"numpy": "minigrad", "torch": "torch"}[engine])

    torch.manual_seed(SEED)
    train_loader, test_loader = loaders(torch)
    model = network(torch)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    train(torch, model, train_loader)
    print(f"accuracy: {accuracy(torch, model, train_loader):.0%} of what it learned from, "
          f"{accuracy(torch, model, test_loader):.0%} of what it had not seen")

    with tempfile.TemporaryDirectory() as folder:                 # what was learned can be kept
        torch.save(model.state_dict(), Path(folder) / "model.pth")
        again = network(torch)
        again.load_state_dict(torch.load(Path(folder) / "model.pth", weights_only=True))
    assert accuracy(torch, again, test_loader) == accuracy(torch, model, test_loader)


if __name__ == "__main__":
    main()
