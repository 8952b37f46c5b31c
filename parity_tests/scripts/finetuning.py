"""Classification with a pretrained body: frozen layers, a new head, padded batches, accuracy."""

import torch
from model import GPT
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(123)
length, padding = 12, 0
lengths = torch.randint(5, length + 1, (96,))
ids = torch.randint(1, 20, (96, length))
ids[torch.arange(length) >= lengths[:, None]] = padding
labels = (ids == 7).sum(1).clamp(max=1)
print(ids[:3], labels[:10], labels.float().mean(), torch.bincount(labels))
train = DataLoader(TensorDataset(ids[:64], labels[:64]), batch_size=8, shuffle=True, drop_last=True)
test = DataLoader(TensorDataset(ids[64:], labels[64:]), batch_size=8)

model = GPT(20, length, 24, 2, 2, 0.0)
for p in model.parameters():
    p.requires_grad = False
model.head = nn.Linear(24, 2)
for p in [*model.blocks[-1].parameters(), *model.norm.parameters()]:
    p.requires_grad = True
print([n for n, p in model.named_parameters() if p.requires_grad][:4], model.head)


def accuracy(loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x)[:, -1].argmax(dim=-1) == y).sum().item()
            total += len(y)
    model.train()
    return right / total


optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-3, weight_decay=0.1)
weight = torch.tensor([1.0, 1.5])
for epoch in range(4):
    for x, y in train:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x)[:, -1, :], y, weight=weight, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
    print(f"Ep {epoch + 1}: loss {loss.item():.3f}, train {accuracy(train):.2%}, test {accuracy(test):.2%}")

targets = torch.tensor([1, 0, -100, 1])
logits = torch.tensor([[-1.0, 1.0], [-0.5, 1.5], [9.0, 9.0], [0.3, 0.1]])
print(nn.functional.cross_entropy(logits, targets), nn.functional.cross_entropy(logits, targets, reduction="none"))
