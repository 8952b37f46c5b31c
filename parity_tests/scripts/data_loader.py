"""Windows over a text, batched and embedded, as language models read them."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

TEXT = ("The lighthouse keeper counted the ships twice every evening, once with his eyes and once with his memory, and "
        "wrote down the larger number. ") * 4


class Windows(Dataset):
    """Inputs, and the same shifted by one: what follows each of them."""

    def __init__(self, ids, length, stride):
        self.pairs = [(torch.tensor(ids[i:i + length]), torch.tensor(ids[i + 1:i + length + 1]))
                      for i in range(0, len(ids) - length, stride)]

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


torch.manual_seed(123)
letters = sorted(set(TEXT))
ids = [letters.index(c) for c in TEXT]
print(f"{len(TEXT)} characters, {len(letters)} different ones")

loader = DataLoader(Windows(ids, 8, 4), batch_size=4, shuffle=True, drop_last=True)
inputs, targets = next(iter(loader))
print("inputs:\n", inputs)
print("targets:\n", targets)
print("batches:", len(loader), inputs.shape, inputs.dtype)

tokens, places = nn.Embedding(len(letters), 6), nn.Embedding(8, 6)
embedded = tokens(inputs) + places(torch.arange(8))
print(embedded.shape)
print(embedded[0, :2])
print(tokens)


def collate(batch, pad=-1):
    longest = max(len(x) for x, _ in batch)
    rows = [torch.cat([x[:n], torch.full((longest - n,), pad)]) for n, (x, _) in zip((3, 8, 5, 6), batch)]
    return torch.stack(rows)


for batch in DataLoader(Windows(ids, 8, 40), batch_size=4, collate_fn=collate, num_workers=0):
    print(batch)
part, rest = torch.utils.data.random_split(range(10), [0.3, 0.7], generator=torch.Generator().manual_seed(42))
print(list(part), list(rest))
