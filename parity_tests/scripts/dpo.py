"""Direct preference optimisation: a policy moves towards the chosen answers, away from the rejected ones."""

import copy

import torch
import torch.nn.functional as F
from model import GPT


def log_probability(model, ids, mask):
    """Of the answers: the mean over the tokens that the mask keeps."""
    logits = model(ids)[:, :-1]
    chosen = torch.gather(F.log_softmax(logits, dim=-1), dim=-1, index=ids[:, 1:].unsqueeze(-1)).squeeze(-1)
    mask = mask[:, 1:].float()
    return (chosen * mask).sum(-1) / mask.sum(-1)


def dpo(policy, reference, batch, beta):
    with torch.no_grad():
        base = {k: log_probability(reference, batch[k], batch[k + "_mask"]) for k in ("chosen", "rejected")}
    new = {k: log_probability(policy, batch[k], batch[k + "_mask"]) for k in ("chosen", "rejected")}
    margin = (new["chosen"] - new["rejected"]) - (base["chosen"] - base["rejected"])
    gains = {k: (new[k] - base[k]).detach() for k in new}
    return -F.logsigmoid(beta * margin).mean(), gains["chosen"].mean(), gains["rejected"].mean()


torch.manual_seed(123)
policy = GPT(40, 16, 24, 2, 2, 0.0)
reference = copy.deepcopy(policy).eval()
for p in reference.parameters():
    p.requires_grad_(False)
prompt = torch.randint(0, 40, (6, 6))
batch = {}
for name in ("chosen", "rejected"):
    batch[name] = torch.cat([prompt, torch.randint(0, 40, (6, 10))], dim=1)
    mask = torch.ones_like(batch[name], dtype=torch.bool)
    mask[:, :6] = False
    mask[torch.arange(16)[None, :] >= torch.randint(10, 17, (6, 1))] = False
    batch[name + "_mask"] = mask
print(batch["chosen_mask"].sum(1), batch["rejected"][0])
optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-3, weight_decay=0.01)
for step in range(8):
    loss, up, down = dpo(policy, reference, batch, beta=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.4f}, chosen {up:+.4f}, rejected {down:+.4f}, margin {up - down:+.4f}")
print(loss)
print(optimizer)
