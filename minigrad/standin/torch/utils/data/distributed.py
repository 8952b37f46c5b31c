"""DistributedSampler: each process's part of the indices, the same in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..... import random
from .....generator import Generator
from .....utils.data import Sampler


class DistributedSampler(Sampler):
    """Every num_replicas-th index from rank on, of an order that seed and epoch decide."""

    def __init__(self, dataset, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
                 seed: int = 0, drop_last: bool = False):
        if num_replicas is None or rank is None:
            raise RuntimeError("Requires distributed package to be available: give num_replicas and rank")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank, self.epoch = dataset, num_replicas, rank, 0
        self.drop_last, self.shuffle, self.seed = drop_last, shuffle, seed
        size = len(dataset)
        uneven = drop_last and size % num_replicas
        self.num_samples = math.ceil((size - num_replicas) / num_replicas if uneven else size / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        if self.shuffle:
            g = Generator()
            g.manual_seed(self.seed + self.epoch)
            indices = random.randperm(size, generator=g).tolist()
        else:
            indices = list(range(size))
        if not self.drop_last:                                    # the first ones again, so that all get as many
            while len(indices) < self.total_size:
                indices += indices[:self.total_size - len(indices)]
        return iter(indices[self.rank:self.total_size:self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
