"""In the manner of code that has been around for some years: whole models in files, Variables, hooks, functions that
write into tensors that are there."""

import io
import pickle

import torch
import torch.nn as nn
from torch.autograd import Variable
from torch.func import functional_call, grad, hessian, jvp, vmap
from torch.nn.modules.utils import _pair
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()                # noqa: UP008
        self.conv = nn.utils.spectral_norm(nn.Conv2d(1, 4, _pair(3)))
        self.activation = torch.tanh
        self.embed = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 2)
        self.register_buffer("steps", torch.zeros(1, dtype=torch.long))

    def forward(self, x, k):
        self.steps += 1
        x = self.activation(self.conv(x)).mean((2, 3)) + self.embed(k)
        return self.out(x)


model = Net()
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
data = TensorDataset(torch.randn(12, 1, 6, 6), torch.randint(0, 5, (12,)), torch.randint(0, 2, (12,)))
for epoch in range(2):
    for x, k, y in DataLoader(data, batch_size=4, shuffle=True):
        x = Variable(x, requires_grad=True)
        loss = nn.CrossEntropyLoss(size_average=None)(model(x, k), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch %d, loss %.4f, gradient %.4f" % (epoch, loss.item(), x.grad.norm()))              # noqa: UP031

file = io.BytesIO()
torch.save({"model": model, "optimizer": optimizer, "best": loss, "args": {"lr": 0.1}}, file)
file.seek(0)
try:
    torch.load(file)
except pickle.UnpicklingError:
    print("refused, as it should be")
file.seek(0)
checkpoint = torch.load(file, weights_only=False)
again = checkpoint["model"].eval()
print(again, type(again.out), again.steps, checkpoint["best"].requires_grad, checkpoint["args"])
print(torch.equal(again.out.weight, model.out.weight), checkpoint["optimizer"])
with torch.serialization.safe_globals([Net]):
    print(Net in torch.serialization.get_safe_globals())

out = torch.empty(3)
torch.mul(torch.arange(3.0), 2, out=out)
torch.add(out, 1, out=out)
print(out, out.add(out, alpha=2))

square = nn.Linear(2, 1)
params = {k: v.detach() for k, v in square.named_parameters()}
per_sample = vmap(grad(lambda p, x: functional_call(square, p, (x,)).pow(2).sum()), in_dims=(None, 0))
print(per_sample(params, torch.randn(3, 2))["weight"])
print(hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0])), jvp(torch.sin, (torch.ones(2),), (torch.ones(2),)))
