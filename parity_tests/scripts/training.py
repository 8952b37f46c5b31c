"""Pretraining: loss, evaluation, warm-up and cosine decay, clipping, sampling; saved, and resumed."""

import math
import os
import tempfile

import torch
from data_loader import TEXT, Windows, ids, letters
from model import GPT
from torch.utils.data import DataLoader

print("-" * 60)
torch.manual_seed(123)
cut = int(0.85 * len(ids))
train = DataLoader(Windows(ids[:cut], 16, 8), batch_size=4, shuffle=True, drop_last=True, num_workers=0)
valid = DataLoader(Windows(ids[cut:], 16, 16), batch_size=4, shuffle=False)
torch.manual_seed(123)
model = GPT(len(letters), 16, 32, 4, 2, 0.1)
device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
model.to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, betas=(0.9, 0.95))
steps, warm = 3 * len(train), 5
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (i + 1) / warm if i < warm else
                                             0.5 * (1 + math.cos(math.pi * (i - warm) / (steps - warm))))


def loss_of(batch):
    x, y = (t.to(device) for t in batch)
    return torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


def evaluate(loader):
    model.eval()
    with torch.no_grad():
        losses = [loss_of(batch).item() for batch in loader]
    model.train()
    return sum(losses) / len(losses)


print(device, len(train), len(valid), f"perplexity {torch.exp(torch.tensor(evaluate(valid))):.2f}")
seen = 0
for epoch in range(3):
    model.train()
    for batch in train:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        seen += batch[0].numel()
    print(f"epoch {epoch + 1}: train {evaluate(train):.3f}, valid {evaluate(valid):.3f}, "
          f"rate {schedule.get_last_lr()[0]:.2e}, norm {norm:.2f}, {seen} tokens")


@torch.inference_mode()
def sample(prompt, count, temperature, top_k):
    model.eval()
    x = torch.tensor([[letters.index(c) for c in prompt]])
    for _ in range(count):
        logits = model(x[:, -16:])[:, -1]
        best, _ = torch.topk(logits, top_k)
        logits = torch.where(logits < best[:, -1:], torch.tensor(float("-inf")), logits)
        x = torch.cat([x, torch.multinomial(torch.softmax(logits / temperature, -1), num_samples=1)], 1)
    return "".join(letters[i] for i in x[0].tolist())


torch.manual_seed(1)
print(repr(sample("The ", 40, 0.8, 5)))
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "state.pth")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    kept = torch.load(path, map_location=device, weights_only=True)
again = GPT(len(letters), 16, 32, 4, 2, 0.1)
print(again.load_state_dict(kept["model"]))
optimizer.load_state_dict(kept["optimizer"])
print(sorted(kept["optimizer"]["state"][0]), kept["optimizer"]["param_groups"][0]["lr"])
again.eval(), model.eval()
x = torch.tensor([ids[:16]])
print(torch.equal(again(x), model(x)), len(TEXT))
