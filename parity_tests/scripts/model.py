"""A small GPT: its parts, its parameters, and what it writes before it has learned anything."""

import torch
import torch.nn as nn
from attention_parts import Block


class GPT(nn.Module):
    def __init__(self, vocabulary, length, width, heads, layers, p):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.drop = nn.Dropout(p)
        self.blocks = nn.Sequential(*[Block(width, heads, length, p) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.drop(self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device)))
        return self.head(self.norm(self.blocks(x)))


def generate(model, ids, count, length):
    for _ in range(count):
        with torch.no_grad():
            logits = model(ids[:, -length:])
        ids = torch.cat((ids, torch.argmax(logits[:, -1, :], dim=-1, keepdim=True)), dim=1)
    return ids


if __name__ == "__main__":
    torch.manual_seed(123)
    model = GPT(vocabulary=50, length=16, width=24, heads=3, layers=2, p=0.1)
    print(model)
    total = sum(p.numel() for p in model.parameters())
    print(f"{total:,} parameters, {total * 4 / 1024**2:.2f} MB")
    ids = torch.tensor([[6, 1, 32, 4], [7, 7, 0, 49]])
    logits = model(ids)
    print(logits.shape)
    print(logits)
    model.eval()
    print(generate(model, ids, 8, 16))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids.roll(-1, 1).flatten())
    loss.backward()
    for name, p in list(model.named_parameters())[:6]:
        print(f"{name:28} {p.grad.abs().mean().item():.5f}")
    print({k: tuple(v.shape) for k, v in list(model.state_dict().items())[-4:]})
    print(model.load_state_dict(model.state_dict()))
