"""Appendix A's network on several processes, one per GPU, or on the CPU: DistributedDataParallel.

    torchrun --standalone --nproc-per-node 2 examples/appendix_a_ddp.py              # two processes on this machine
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 examples/appendix_a_ddp.py
    python examples/appendix_a_ddp.py                                                # one: the same batches, whole

Each process has the whole network and its share of each batch of two; backward averages the gradients over all of
them. So the losses, averaged too, are those of one process with the whole batch.
"""

import os

import torch
import torch.distributed as dist
from appendix_a import EPOCHS, RATE, SEED, TEST, TRAIN, accuracy, network, points
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

BATCH = 2                                                            # of all processes together


def train(rank: int, ranks: int, device: torch.device) -> None:
    torch.manual_seed(SEED)                                          # the same weights everywhere
    model = DistributedDataParallel(network(torch).to(device))
    data = points(torch, TRAIN)
    order = DistributedSampler(data, num_replicas=ranks, rank=rank, shuffle=True, seed=SEED, drop_last=True)
    loader = DataLoader(data, batch_size=BATCH // ranks, sampler=order, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)                                       # else every epoch has the order of the first
        for number, (x, labels) in enumerate(loader):
            x, labels = x.to(device), labels.to(device)
            loss = torch.nn.functional.cross_entropy(model(x), labels)           # (B, 2), (B,) -> ()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = loss.detach() / ranks
            dist.all_reduce(mean)
            if rank == 0:
                print(f"Epoch: {epoch + 1:03d}/{EPOCHS:03d} | Batch {number + 1:03d}/{len(loader):03d} | "
                      f"Train loss: {mean.item():.4f}")
    if rank == 0:
        test = DataLoader([(x.to(device), label.to(device)) for x, label in points(torch, TEST)], batch_size=2)
        print(f"accuracy: {accuracy(torch, model.module, test):.0%} of what it had not seen")


def main() -> None:
    if "RANK" not in os.environ:                                     # torchrun sets them
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_WORLD_SIZE="1", MASTER_ADDR="localhost",
                          MASTER_PORT="0")
    rank, ranks, here, all_here = (int(os.environ[name])
                                   for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if BATCH % ranks:
        raise SystemExit(f"{ranks} processes cannot share batches of {BATCH}: start 1 or 2")
    device = torch.device("cuda", here) if torch.cuda.device_count() >= all_here else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        train(rank, ranks, device)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
