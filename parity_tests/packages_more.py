"""More cases for parity_tests/packages.py: what is made of each package, on either engine."""

from __future__ import annotations

from collections.abc import Callable


def pytorch_crf():
    import torch
    from torchcrf import CRF
    crf = CRF(5, batch_first=True)
    emissions = torch.randn(3, 7, 5, requires_grad=True)
    tags, mask = torch.randint(0, 5, (3, 7)), torch.arange(7) < torch.tensor([[7], [4], [2]])
    return (crf(emissions, tags, mask), crf(emissions, tags, reduction="none"), crf.decode(emissions, mask)), [
        emissions, *crf.parameters()]


def torchdiffeq():
    import torch
    from torchdiffeq import odeint, odeint_adjoint
    field = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))

    class Motion(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.field = field

        def forward(self, t, y):
            return self.field(y**3)

    motion, start, times = Motion(), torch.randn(4, 2), torch.linspace(0, 1, 5)
    return (odeint(motion, start, times), odeint(motion, start, times, method="rk4"),
            odeint_adjoint(motion, start, times, method="midpoint")), motion


def train(make_optimizer: Callable, before: Callable | None = None, after: Callable | None = None, count: int = 12):
    """A few steps of a small network: its losses, and its weights in the end."""
    import torch
    from torch import nn
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = make_optimizer(model.parameters())
    x, y, losses = torch.randn(32, 8), torch.randint(0, 4, (32,)), []
    if before:
        before(optimizer)
    for _ in range(count):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    if after:
        after(optimizer)
    return (torch.stack(losses), *(p.detach() for p in model.parameters())), model


def adabelief_pytorch():
    from adabelief_pytorch import AdaBelief
    return train(lambda p: AdaBelief(p, lr=1e-2, eps=1e-8, weight_decouple=True, rectify=True, print_change_log=False))


def schedulefree():
    import schedulefree
    outs, model = train(lambda p: schedulefree.AdamWScheduleFree(p, lr=1e-2, warmup_steps=4), lambda o: o.train(),
                        lambda o: o.eval())
    more, _ = train(lambda p: schedulefree.SGDScheduleFree(p, lr=0.1), lambda o: o.train(), lambda o: o.eval())
    return (*outs, *more), model


def prodigyopt():
    from prodigyopt import Prodigy
    return train(lambda p: Prodigy(p, lr=1.0, weight_decay=0.01, slice_p=1))


def torch_ema():
    import torch
    from torch_ema import ExponentialMovingAverage
    model = torch.nn.Linear(5, 2)
    average = ExponentialMovingAverage(model.parameters(), decay=0.9)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x = torch.randn(6, 5)
    for _ in range(6):
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()
        average.update()
    with average.average_parameters():
        inside = model(x).detach()
    return (inside, model(x), *average.state_dict()["shadow_params"]), model


def pytorch_msssim():
    import torch
    from pytorch_msssim import MS_SSIM, ssim
    x, y = (torch.rand(2, 3, 180, 180, requires_grad=True) for _ in range(2))
    return (ssim(x, y, data_range=1.0, size_average=False), MS_SSIM(data_range=1.0)(x, y)), [x, y]


def nystrom_attention():
    import torch
    from nystrom_attention import NystromAttention, Nystromformer
    attention = NystromAttention(dim=16, dim_head=8, heads=2, num_landmarks=4, pinv_iterations=4, residual=True)
    model = Nystromformer(dim=16, dim_head=8, heads=2, depth=1, num_landmarks=4, pinv_iterations=4)
    x = torch.randn(2, 10, 16)
    return (attention(x, mask=torch.ones(2, 10).bool()), model(x)), torch.nn.ModuleList([attention, model])


def g_mlp_pytorch():
    import torch
    from g_mlp_pytorch import gMLP
    model = gMLP(num_tokens=20, dim=16, depth=3, seq_len=12, causal=True, circulant_matrix=True)
    return model(torch.randint(0, 20, (2, 12))), model


def siren_pytorch():
    import torch
    from siren_pytorch import SirenNet
    net = SirenNet(dim_in=2, dim_hidden=16, dim_out=3, num_layers=3, w0_initial=30.0)
    return net(torch.randn(5, 2)), net


def egnn_pytorch():
    import torch
    from egnn_pytorch import EGNN, EGNN_Network
    layer = EGNN(dim=16, edge_dim=4, num_nearest_neighbors=3, norm_coors=True)
    net = EGNN_Network(num_tokens=9, num_positions=12, dim=8, depth=2, only_sparse_neighbors=False,
                       num_nearest_neighbors=4)
    feats, coors, edges = torch.randn(1, 12, 16), torch.randn(1, 12, 3), torch.randn(1, 12, 12, 4)
    return (layer(feats, coors, edges), net(torch.randint(0, 9, (1, 12)), coors)), torch.nn.ModuleList([layer, net])


def info_nce_pytorch():
    import torch
    from info_nce import InfoNCE
    query, key, negatives = (torch.randn(n, 8, requires_grad=True) for n in (6, 6, 10))
    return (InfoNCE()(query, key), InfoNCE()(query, key, negatives),
            InfoNCE(negative_mode="paired", reduction="none")(query, key, negatives[:6, None])), [query, key, negatives]


def pytorch_metric_learning():
    import torch
    from pytorch_metric_learning import losses, miners
    x, labels = torch.randn(12, 6, requires_grad=True), torch.arange(12) % 4
    pairs = miners.MultiSimilarityMiner()(x, labels)
    arc = losses.ArcFaceLoss(num_classes=4, embedding_size=6)
    several = (losses.TripletMarginLoss(), losses.ContrastiveLoss(), losses.NTXentLoss(), losses.SupConLoss(),
               losses.MultiSimilarityLoss(), losses.CircleLoss(), losses.LiftedStructureLoss())
    return (losses.TripletMarginLoss()(x, labels, pairs), arc(x, labels), *(loss(x, labels) for loss in several)), [
        x, *arc.parameters()]


def nflows():
    import torch
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms import (
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        RandomPermutation,
        ReversePermutation,
    )
    from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
    spline = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(features=3, hidden_features=8, num_bins=4,
                                                                     tails="linear", tail_bound=3.0)
    flow = Flow(CompositeTransform([ReversePermutation(3), MaskedAffineAutoregressiveTransform(3, 8),
                                    RandomPermutation(3), spline]), StandardNormal([3]))
    return (flow.log_prob(torch.randn(7, 3)), flow.sample(4)), flow


def mambapy():
    import torch
    from mambapy.mamba import Mamba, MambaConfig
    model = Mamba(MambaConfig(d_model=8, n_layers=2, d_state=4))
    return model(torch.randn(2, 12, 8)), model


def efficientnet_pytorch():
    import torch
    from efficientnet_pytorch import EfficientNet
    model = EfficientNet.from_name("efficientnet-b0", num_classes=5, image_size=32).eval()
    return model(torch.randn(1, 3, 32, 32)), model


def torchmetrics():
    import torch
    from torchmetrics import Accuracy, ConfusionMatrix, F1Score, MeanSquaredError, MetricCollection, R2Score
    from torchmetrics.classification import BinaryAUROC, MulticlassAveragePrecision
    from torchmetrics.functional import pairwise_cosine_similarity, pearson_corrcoef, spearman_corrcoef
    from torchmetrics.text import Perplexity
    metrics = MetricCollection({"accuracy": Accuracy(task="multiclass", num_classes=4, average="macro"),
                                "f1": F1Score(task="multiclass", num_classes=4),
                                "confusion": ConfusionMatrix(task="multiclass", num_classes=4),
                                "precision": MulticlassAveragePrecision(num_classes=4)})
    for _ in range(3):
        metrics.update(torch.randn(20, 4).softmax(-1), torch.randint(0, 4, (20,)))
    area, fit, perplexity = BinaryAUROC(), R2Score(), Perplexity()
    x, y = torch.randn(20), torch.randn(20)
    return (*metrics.compute().values(), area(x.sigmoid(), (y > 0).long()), fit(x, y), MeanSquaredError()(x, y),
            perplexity(torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))), pearson_corrcoef(x, y),
            spearman_corrcoef(x, y), pairwise_cosine_similarity(torch.randn(3, 4))), []


def snntorch():
    import snntorch
    import torch
    from snntorch import surrogate
    layers = torch.nn.ModuleList([torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)])
    first = snntorch.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid())
    second = snntorch.Synaptic(alpha=0.8, beta=0.9, spike_grad=surrogate.atan(), learn_beta=True)
    membrane, (current, voltage), spikes = first.init_leaky(), second.init_synaptic(), []
    x = torch.randn(4, 6)
    for _ in range(6):
        spike, membrane = first(layers[0](x), membrane)
        spike, current, voltage = second(layers[1](spike), current, voltage)
        spikes += [spike, voltage]
    return torch.stack(spikes), [*layers.parameters(), second.beta]


def higher():
    import higher
    import torch
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    inner, x = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), torch.randn(8, 3)
    with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, optimizer):
        for _ in range(3):
            optimizer.step((fast(x) - 1).pow(2).mean())
        return fast(x).pow(2).mean(), model


def thop():
    import torch
    from thop import profile
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, 4))
    return profile(model, (torch.randn(1, 3, 16, 16),), verbose=False), []


def pytorch_tcn():
    import torch
    from pytorch_tcn import TCN
    model = TCN(num_inputs=3, num_channels=[6, 6], kernel_size=3, dropout=0.1, causal=True, use_skip_connections=True)
    return model(torch.randn(2, 3, 15)), model


def lambda_networks():
    import torch
    from lambda_networks import LambdaLayer
    layer = LambdaLayer(dim=8, dim_out=8, r=5, dim_k=4, heads=2, dim_u=2)
    return layer(torch.randn(2, 8, 6, 6)), layer


def geotorch():
    import geotorch
    import torch
    layers = torch.nn.ModuleList([torch.nn.Linear(5, 5), torch.nn.Linear(4, 4), torch.nn.Linear(4, 6)])
    geotorch.symmetric(layers[0], "weight")
    geotorch.skew(layers[1], "weight")
    geotorch.sphere(layers[2], "bias")
    return (layers[0](torch.randn(3, 5)), layers[1](torch.randn(3, 4)), layers[2](torch.randn(3, 4))), layers


_EINOPS = ("einops", "torch-einops-utils")
CASES: dict[str, tuple[Callable, tuple[str, ...], str]] = {
    "pytorch-crf": (pytorch_crf, ("pytorch-crf",), "a conditional random field: likelihoods, decoding"),
    "torchdiffeq": (torchdiffeq, ("torchdiffeq", "scipy"), "a neural ODE by three methods, one with the adjoint"),
    "adabelief-pytorch": (adabelief_pytorch, ("adabelief-pytorch", "tabulate", "colorama"), "12 steps of training"),
    "schedulefree": (schedulefree, ("schedulefree",), "12 steps of training, AdamW's and SGD's"),
    "prodigyopt": (prodigyopt, ("prodigyopt",), "12 steps of training"),
    "torch-ema": (torch_ema, ("torch-ema",), "averaged weights over 6 steps"),
    "pytorch-msssim": (pytorch_msssim, ("pytorch-msssim",), "SSIM, MS-SSIM"),
    "nystrom-attention": (nystrom_attention, ("nystrom-attention", *_EINOPS), "attention, and a transformer"),
    "g-mlp-pytorch": (g_mlp_pytorch, ("g-mlp-pytorch", *_EINOPS), "a causal language model"),
    "siren-pytorch": (siren_pytorch, ("siren-pytorch", *_EINOPS), "a network of sines"),
    "egnn-pytorch": (egnn_pytorch, ("egnn-pytorch", *_EINOPS), "a layer, and a network, of graphs in space"),
    "info-nce-pytorch": (info_nce_pytorch, ("info-nce-pytorch",), "contrastive losses"),
    "pytorch-metric-learning": (pytorch_metric_learning, ("pytorch-metric-learning",), "eight losses, a miner"),
    "nflows": (nflows, ("nflows",), "a flow of autoregressive affine maps and splines: densities, samples"),
    "mambapy": (mambapy, ("mambapy",), "two blocks with the parallel scan"),
    "efficientnet-pytorch": (efficientnet_pytorch, ("efficientnet-pytorch",), "EfficientNet-B0"),
    "torchmetrics": (torchmetrics, ("torchmetrics", "lightning-utilities"), "eleven metrics"),
    "snntorch": (snntorch, ("snntorch",), "a spiking network, by surrogate gradients"),
    "higher": (higher, ("higher",), "the gradient through three steps of training"),
    "thop": (thop, ("thop",), "the operations and parameters of a convolutional network"),
    "pytorch-tcn": (pytorch_tcn, ("pytorch-tcn",), "a temporal convolutional network with weight norm"),
    "lambda-networks": (lambda_networks, ("lambda-networks", *_EINOPS), "a layer"),
    "geotorch": (geotorch, ("geotorch",), "symmetric, skew and spherical weights, by parametrization"),
}
