"""Low-rank adapters put beside the linear layers of a frozen model, trained, and merged."""

import math

import torch
from model import GPT
from torch import nn


class LoRA(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.A = nn.Parameter(torch.empty(linear.in_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.B = nn.Parameter(torch.zeros(rank, linear.out_features))
        self.scale = alpha / rank

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A @ self.B)

    def merged(self):
        with torch.no_grad():
            self.linear.weight += self.scale * (self.A @ self.B).T
        return self.linear


def adapt(module, rank, alpha):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LoRA(child, rank, alpha))
        else:
            adapt(child, rank, alpha)


torch.manual_seed(123)
model = GPT(30, 12, 16, 2, 2, 0.0)
x = torch.randint(0, 30, (4, 12))
before = model(x)
model.requires_grad_(False)
adapt(model, 4, 8)
print(torch.equal(before, model(x)))
print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} of "
      f"{sum(p.numel() for p in model.parameters()):,} parameters are trainable")
print(model.blocks[0])
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
for step in range(12):
    loss = nn.functional.cross_entropy(model(x[:, :-1]).transpose(1, 2), x[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 4 == 3:
        print(f"step {step + 1}: {loss.item():.4f}")
adapted = model(x)
for block in model.blocks:
    block.attention.qkv = block.attention.qkv.merged()
    block.attention.out = block.attention.out.merged()
    block.feed = nn.Sequential(block.feed[0].merged(), block.feed[1], block.feed[2].merged())
model.head = model.head.merged()
print(torch.allclose(adapted, model(x), atol=1e-4), isinstance(model.head, nn.Linear))
torch.testing.assert_close(adapted, model(x), rtol=1e-3, atol=1e-4)
