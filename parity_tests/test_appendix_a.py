"""The book's appendix A: the examples print its numbers, on both engines, and on two processes what one prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
BOOK = [0.75, 0.65, 0.44, 0.13, 0.03, 0.00]


def said_by(*command: str) -> str:
    """What a command prints that succeeds."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(said: str) -> list[float]:
    pattern = r"^Epoch: 00[123]/003 \| Batch 00[12]/002 \| Train loss: (\S+)$"
    return [float(x) for x in re.findall(pattern, said, re.MULTILINE)]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_books_losses(engine):
    said = said_by("examples/appendix_a.py", "--engine", engine)
    assert losses(said) == BOOK
    assert "752 parameters" in said and "100% of what it learned from, 100% of what it had not seen" in said


def test_two_processes_train_as_one_with_the_whole_batch(monkeypatch):
    """Beside what this process computes by hand: the order of DistributedSampler, and ordinary batches of two."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from appendix_a import EPOCHS, RATE, SEED, TRAIN, network
    torch.manual_seed(SEED)
    model = network(torch)
    x, labels = torch.tensor(TRAIN[0]), torch.tensor(TRAIN[1])
    expected = []
    for epoch in range(EPOCHS):
        order = torch.randperm(5, generator=torch.Generator().manual_seed(SEED + epoch))
        for batch in (order[:2], order[2:4]):
            model.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), labels[batch])
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= RATE * p.grad
            expected.append(loss.item())
    for launcher in ((), ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")):
        said = said_by(*launcher, "examples/appendix_a_ddp.py")
        np.testing.assert_allclose(losses(said), expected, atol=6e-5)
        assert said.count("accuracy: 100%") == 1


def test_three_processes_cannot_share_two_points():
    done = subprocess.run([sys.executable, "examples/appendix_a_ddp.py"], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"})
    assert done.returncode == 1 and done.stderr == "3 processes cannot share batches of 2: start 1 or 2\n"
