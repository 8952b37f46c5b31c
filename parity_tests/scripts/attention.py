"""Attention, step by step: scores, softmax, causal mask, dropout, several heads."""

import torch
import torch.nn as nn
import torch.nn.functional as F

x = torch.tensor([[0.2, 0.7, 0.1], [0.9, 0.3, 0.4], [0.5, 0.5, 0.5], [0.1, 0.8, 0.6]])
scores = x @ x.T
weights = torch.softmax(scores, dim=-1)
print(scores)
print(weights, weights.sum(dim=-1))
print(weights @ x)


class Causal(nn.Module):
    def __init__(self, width_in, width, length, heads, p, bias=False):
        super().__init__()
        assert width % heads == 0, "the width must be divisible by the heads"
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value = (nn.Linear(width_in, width, bias=bias) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(p)
        self.register_buffer("mask", torch.triu(torch.ones(length, length), diagonal=1))

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, self.heads, self.size).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3)
        scores.masked_fill_(self.mask.bool()[:t, :t], -torch.inf)
        weights = self.dropout(torch.softmax(scores / self.size**0.5, dim=-1))
        return self.out((weights @ v).transpose(1, 2).contiguous().view(b, t, -1)), weights


torch.manual_seed(789)
batch = torch.stack((x, x.flip(0)), dim=0)
attention = Causal(3, 4, 6, heads=2, p=0.5)
out, weights = attention(batch)
print(attention)
print(out)
print(weights[0])
print(out.shape, [name for name, _ in attention.named_buffers()])

torch.manual_seed(123)
q, k, v = (torch.randn(2, 2, 5, 4, requires_grad=True) for _ in range(3))
fused = F.scaled_dot_product_attention(q, k, v, is_causal=True)
mask = torch.ones(5, 5, dtype=torch.bool).tril()
plain = ((q @ k.mT / 2).masked_fill(~mask, float("-inf"))).softmax(-1) @ v
print(torch.allclose(fused, plain, atol=1e-6))
fused.square().sum().backward()
print(q.grad[0, 0])
multi = nn.MultiheadAttention(8, 2, batch_first=True)
y, w = multi(torch.randn(1, 3, 8), *[torch.randn(1, 4, 8)] * 2)
print(y, w, sep="\n")
