"""Tensors, gradients, modules and their printing, in small."""

import torch
import torch.nn as nn

print(torch.__version__.split("+")[0], torch.cuda.is_available(), torch.get_default_dtype())
scalar, cube = torch.tensor(1), torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
print(scalar, cube.shape, cube.dtype, torch.tensor([1.0, 2.0]).dtype, cube.to(torch.float32).dtype)
print(type(scalar), type(cube.shape), type(torch.float32), type(nn.Linear(2, 2)), type(nn.Parameter(torch.ones(1))))
print(cube.reshape(4, 2).T, cube.view(-1), cube.float() @ torch.eye(2), sep="\n")
w, b = torch.tensor([2.2], requires_grad=True), torch.tensor([0.0], requires_grad=True)
loss = nn.functional.binary_cross_entropy(torch.sigmoid(torch.tensor([1.1]) * w + b), torch.tensor([1.0]))
print(loss, torch.autograd.grad(loss, [w, b], retain_graph=True))
loss.backward()
print(w.grad, b.grad)
torch.manual_seed(123)
net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
print(net, net[0].weight, sum(p.numel() for p in net.parameters() if p.requires_grad), sep="\n")
torch.set_printoptions(sci_mode=False, precision=3)
x = torch.rand(2, 4)
with torch.no_grad():
    print(torch.softmax(net(x), dim=1), torch.argmax(net(x), dim=1))
torch.set_printoptions(profile="default")
print(torch.arange(2000).reshape(40, 50), torch.linspace(0, 1, 7), torch.randn(3, dtype=torch.float64), sep="\n")
print(torch.tensor([1e-8, 1.0, 1e8]), torch.tensor([True, False]), torch.empty(0), torch.tensor(float("nan")))
try:
    torch.ones(2, 3) @ torch.ones(2, 3)
except RuntimeError as error:
    print(type(error).__name__, error)
conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(),
                     nn.Linear(36, 2))
print(conv, conv(torch.randn(2, 1, 6, 6)), sep="\n")
lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True)
out, (h, c) = lstm(torch.randn(2, 4, 3))
print(lstm, out.shape, h[0], sep="\n")
print(torch.einsum("bij,bjk->bik", torch.ones(2, 2, 3), torch.ones(2, 3, 2)))
print(torch.randperm(6), torch.randint(0, 9, (4,)))
