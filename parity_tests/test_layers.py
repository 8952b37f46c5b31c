"""Layers beyond those of GPT-like models: from the same seed torch's weights, values, gradients and printing follow."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn as torch_nn

import minigrad
from minigrad import nn


def both(make, *shapes, seed: int = 0, dtype=np.float64, train: bool = True, call=None, draw=None) -> None:
    """`make(nn)` builds the layer from the same seed in both engines; on the same inputs both must say the same."""
    rng = np.random.default_rng(seed)
    arrays = [s if isinstance(s, np.ndarray) else rng.standard_normal(s).astype(dtype) for s in shapes]
    results = []
    for engine, layers in ((torch, torch_nn), (minigrad, nn)):
        engine.set_default_dtype(engine.float64 if dtype == np.float64 else engine.float32)
        engine.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = make(layers).train(train)
            inputs = [engine.tensor(a, requires_grad=not isinstance(s, np.ndarray))
                      for a, s in zip(arrays, shapes, strict=True)]
            out = (call or (lambda f, *xs: f(*xs)))(layer, *inputs)
            outs = list(flat(out))
            loss = sum((o * engine.arange(o.numel(), dtype=o.dtype).reshape(o.shape).cos()).sum() for o in outs
                       if o.dtype.is_floating_point)
            loss.backward()
        gradients = [p.grad for p in [*inputs, *layer.parameters()]]
        state = {k: v.numpy() for k, v in layer.state_dict().items()}
        results.append((repr(layer), state, [o.detach().numpy() for o in outs],
                        [None if g is None else g.numpy() for g in gradients]))
    (text, state, outs, grads), (text2, state2, outs2, grads2) = results
    assert text == text2
    assert list(state) == list(state2)
    tolerance = dict(rtol=1e-9, atol=1e-11) if dtype == np.float64 else dict(rtol=1e-4, atol=1e-5)
    for a, b in zip([*state.values(), *outs, *grads], [*state2.values(), *outs2, *grads2], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            np.testing.assert_allclose(b, a, **tolerance)


def flat(out):
    if isinstance(out, tuple | list):
        for o in out:
            yield from flat(o)
    elif out is not None:
        yield out


LAYERS = [
    (lambda n: n.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 9)),
    (lambda n: n.Conv2d(3, 8, 3), (2, 3, 6, 7)),
    (lambda n: n.Conv2d(4, 4, (3, 2), stride=2, padding=(1, 0), groups=4, bias=False), (2, 4, 6, 7)),
    (lambda n: n.Conv2d(3, 5, 3, padding="same", dilation=2, padding_mode="reflect"), (2, 3, 7, 7)),
    (lambda n: n.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), (3, 7, 7)),
    (lambda n: n.Conv3d(2, 3, 2, stride=2), (2, 2, 4, 5, 6)),
    (lambda n: n.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5)),
    (lambda n: n.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), (2, 4, 5, 6)),
    (lambda n: n.ConvTranspose3d(2, 3, 2, 2, bias=False), (2, 2, 2, 3, 3)),
    (lambda n: n.BatchNorm1d(4), (5, 4)),
    (lambda n: n.BatchNorm2d(4, momentum=None), (3, 4, 5, 6)),
    (lambda n: n.BatchNorm3d(2, affine=False, track_running_stats=False), (3, 2, 2, 3, 2)),
    (lambda n: n.SyncBatchNorm(4), (3, 4, 2)),
    (lambda n: n.SyncBatchNorm.convert_sync_batchnorm(n.Sequential(n.Conv2d(4, 4, 1), n.BatchNorm2d(4))), (3, 4, 2, 2)),
    (lambda n: n.InstanceNorm1d(4), (3, 4, 5)),
    (lambda n: n.InstanceNorm2d(4, affine=True, track_running_stats=True), (3, 4, 5, 6)),
    (lambda n: n.LocalResponseNorm(3, alpha=0.1), (2, 5, 4, 4)),
    (lambda n: n.Dropout1d(0.4), (3, 5, 4)),
    (lambda n: n.Dropout2d(0.4), (3, 5, 4, 2)),
    (lambda n: n.Dropout3d(0.4), (5, 4, 2, 2)),
    (lambda n: n.AlphaDropout(0.4), (3, 5)),
    (lambda n: n.FeatureAlphaDropout(0.4), (3, 5, 4)),
    (lambda n: n.MaxPool1d(2), (2, 3, 7)),
    (lambda n: n.MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True), (2, 3, 7, 8)),
    (lambda n: n.MaxPool3d(2), (2, 3, 4, 4, 5)),
    (lambda n: n.AvgPool1d(3, 2, 1), (2, 3, 7)),
    (lambda n: n.AvgPool2d((2, 3), count_include_pad=False, padding=1), (2, 3, 7, 8)),
    (lambda n: n.AvgPool3d(2), (2, 3, 4, 4, 5)),
    (lambda n: n.AdaptiveAvgPool1d(3), (2, 3, 7)),
    (lambda n: n.AdaptiveAvgPool2d((1, 1)), (2, 3, 7, 8)),
    (lambda n: n.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 8)),
    (lambda n: n.AdaptiveMaxPool2d(3, return_indices=True), (2, 3, 7, 8)),
    (lambda n: n.LPPool2d(2, 2), (2, 3, 6, 6)),
    (lambda n: n.ZeroPad2d((1, 2, 0, 1)), (2, 3, 4, 5)),
    (lambda n: n.ConstantPad1d(2, 3.5), (2, 3, 4)),
    (lambda n: n.ReflectionPad2d(1), (2, 3, 4, 5)),
    (lambda n: n.ReplicationPad1d((1, 2)), (2, 3, 4)),
    (lambda n: n.CircularPad2d(1), (2, 3, 4, 5)),
    (lambda n: n.Upsample(scale_factor=2), (2, 3, 4, 5)),
    (lambda n: n.Upsample(size=(7, 9), mode="bilinear"), (2, 3, 4, 5)),
    (lambda n: n.Upsample(scale_factor=1.6, mode="bicubic", align_corners=True), (2, 3, 4, 5)),
    (lambda n: n.UpsamplingBilinear2d(scale_factor=2), (2, 3, 4, 5)),
    (lambda n: n.PixelShuffle(2), (2, 8, 3, 4)),
    (lambda n: n.PixelUnshuffle(2), (2, 3, 4, 6)),
    (lambda n: n.ChannelShuffle(2), (2, 6, 3, 3)),
    (lambda n: n.Unfold((2, 3), dilation=2, padding=1, stride=2), (2, 3, 7, 8)),
    (lambda n: n.Fold((7, 8), 2, dilation=2, padding=1, stride=3), (2, 12, 9)),
    (lambda n: n.PReLU(), (3, 4)),
    (lambda n: n.PReLU(4, init=0.1), (3, 4, 5)),
    (lambda n: n.CELU(0.5), (3, 4)),
    (lambda n: n.Hardswish(), (3, 40)),
    (lambda n: n.Hardshrink(), (3, 40)),
    (lambda n: n.Softshrink(), (3, 40)),
    (lambda n: n.Softmax2d(), (2, 3, 4, 5)),
    (lambda n: n.Bilinear(3, 4, 5), (2, 6, 3), (2, 6, 4)),
    (lambda n: n.RNN(3, 4, 2, nonlinearity="relu"), (5, 2, 3)),
    (lambda n: n.LSTM(3, 4, 2, bidirectional=True, batch_first=True), (2, 5, 3)),
    (lambda n: n.LSTM(3, 4, 2, dropout=0.5), (5, 2, 3)),
    (lambda n: n.LSTM(3, 4, proj_size=2, bidirectional=True), (5, 2, 3)),
    (lambda n: n.GRU(3, 4, bias=False), (5, 3)),
    (lambda n: n.GRU(3, 4, 3, bidirectional=True), (5, 2, 3)),
    (lambda n: n.RNNCell(3, 4), (2, 3)),
    (lambda n: n.LSTMCell(3, 4), (2, 3)),
    (lambda n: n.GRUCell(3, 4), (3,)),
    (lambda n: n.TransformerEncoderLayer(8, 2, 16), (5, 2, 8)),
    (lambda n: n.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True), (2, 5, 8)),
    (lambda n: n.TransformerDecoderLayer(8, 2, 16, 0.0), (5, 2, 8), (4, 2, 8)),
    (lambda n: n.TransformerEncoder(n.TransformerEncoderLayer(8, 2, 16, 0.0), 2, n.LayerNorm(8)), (5, 2, 8)),
    (lambda n: n.TransformerDecoder(n.TransformerDecoderLayer(8, 2, 16, 0.0), 2), (5, 2, 8), (4, 2, 8)),
    (lambda n: n.Transformer(8, 2, 2, 2, 16, 0.0), (5, 2, 8), (4, 2, 8)),
]


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: re.sub(r"\W+", "-", str(case[0](torch_nn)).split("(")[0]))
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_layer(case, dtype):
    make, *shapes = case
    both(make, *shapes, dtype=dtype)


def test_hardsigmoid():
    """Its slope is 1/6 rounded to float32 in torch, whatever the dtype."""
    both(lambda n: n.Hardsigmoid(), (3, 40), dtype=np.float32)


@pytest.mark.parametrize("case", [c for c in LAYERS if "Norm" in str(c[0](torch_nn)) or "Drop" in str(c[0](torch_nn))],
                         ids=lambda case: str(case[0](torch_nn)).split("(")[0])
def test_layer_in_evaluation(case):
    make, *shapes = case
    if make(torch_nn).state_dict() or "Norm" not in str(make(torch_nn)):
        both(make, *shapes, train=False)


LOSSES = [
    (lambda n, r: n.MarginRankingLoss(0.3, reduction=r), (6,), (6,), "sign"),
    (lambda n, r: n.HingeEmbeddingLoss(reduction=r), (6, 2), "sign2"),
    (lambda n, r: n.CosineEmbeddingLoss(0.1, reduction=r), (6, 4), (6, 4), "sign"),
    (lambda n, r: n.TripletMarginLoss(swap=True, reduction=r), (6, 4), (6, 4), (6, 4)),
    (lambda n, r: n.TripletMarginWithDistanceLoss(distance_function=n.PairwiseDistance(), reduction=r), (6, 4), (6, 4),
     (6, 4)),
    (lambda n, r: n.SoftMarginLoss(reduction=r), (6, 2), "sign2"),
    (lambda n, r: n.MultiLabelSoftMarginLoss(reduction=r), (6, 2), "binary"),
    (lambda n, r: n.MultiMarginLoss(2, 0.8, reduction=r), (6, 5), "class"),
    (lambda n, r: n.GaussianNLLLoss(full=True, reduction=r), (6, 2), (6, 2), "positive"),
    (lambda n, r: n.PoissonNLLLoss(full=True, reduction=r), (6, 2), "positive"),
]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("case", LOSSES, ids=lambda case: type(case[0](torch_nn, "mean")).__name__)
def test_loss(case, reduction):
    make, *shapes = case
    rng = np.random.default_rng(3)
    targets = {"sign": np.sign(rng.standard_normal(6)), "sign2": np.sign(rng.standard_normal((6, 2))),
               "binary": rng.integers(0, 2, (6, 2)).astype(float), "class": rng.integers(0, 5, 6),
               "positive": rng.uniform(0.1, 3, (6, 2))}
    both(lambda n: make(n, reduction), *(targets[s] if isinstance(s, str) else s for s in shapes))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.sampled_from(["RNN", "LSTM", "GRU"]), st.booleans(),
       st.integers(1, 2), st.booleans())
def test_packed_sequences(lengths, kind, bidirectional, layers, batch_first):
    shape = (len(lengths), max(lengths), 3) if batch_first else (max(lengths), len(lengths), 3)

    def call(layer, x):
        rnn = (torch_nn if isinstance(layer, torch_nn.Module) else nn).utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
        out, last = layer(packed)
        padded, sizes = rnn.pad_packed_sequence(out, batch_first, padding_value=-1.0)
        assert sizes.tolist() == lengths
        return padded, last

    both(lambda n: getattr(n, kind)(3, 4, layers, bidirectional=bidirectional), shape, call=call)


@given(st.data())
def test_ctc(data):
    T, C, B = data.draw(st.integers(2, 8)), 4, data.draw(st.integers(1, 3))
    steps = [data.draw(st.integers(1, T)) for _ in range(B)]
    letters = [data.draw(st.integers(0, n)) for n in steps]
    targets = np.array([[data.draw(st.integers(1, C - 1)) for _ in range(max(letters) or 1)] for _ in range(B)])
    reduction = data.draw(st.sampled_from(["none", "mean", "sum"]))

    def call(loss, x):
        engine = torch if isinstance(loss, torch_nn.Module) else minigrad
        return loss(x.log_softmax(-1), engine.tensor(targets), engine.tensor(steps), engine.tensor(letters))

    both(lambda n: n.CTCLoss(reduction=reduction, zero_infinity=True), (T, B, C), call=call)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    index, offsets = np.array([1, 2, 0, 3, 3, 1]), np.array([0, 2, 2, 5])
    both(lambda n: n.EmbeddingBag(5, 3, mode=mode), index, offsets)
    both(lambda n: n.EmbeddingBag(5, 3, mode=mode, padding_idx=3), index.reshape(2, 3))


def test_masks_of_the_transformer():
    def call(layer, src, tgt):
        engine = torch if isinstance(layer, torch_nn.Module) else minigrad
        n = torch_nn if engine is torch else nn
        mask = n.Transformer.generate_square_subsequent_mask(tgt.shape[0])
        padding = engine.tensor([[False] * 4 + [True], [False] * 5])
        return layer(src, tgt, tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding)

    both(lambda n: n.Transformer(8, 2, 1, 1, 16, 0.0), (5, 2, 8), (4, 2, 8), call=call)


@given(st.data())
def test_convolution(data):
    n = data.draw(st.integers(2, 3))
    groups = data.draw(st.integers(1, 2))
    inner, out = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2)) * groups
    several = st.tuples(*[st.integers(1, 2)] * n)
    kernel, stride, dilation = (data.draw(several) for _ in range(3))
    padding = data.draw(st.tuples(*[st.integers(0, 2)] * n))
    shape = tuple(data.draw(st.integers(3, 5)) for _ in range(n))
    if data.draw(st.booleans()):
        both(lambda e: getattr(e, f"Conv{n}d")(inner * groups, out, kernel, stride, padding, dilation, groups),
             (2, inner * groups, *shape))
    else:
        extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
        sizes = [(m - 1) * s - 2 * p + d * (k - 1) + e + 1
                 for m, s, p, d, k, e in zip(shape, stride, padding, dilation, kernel, extra)]
        if min(sizes) > 0:
            both(lambda e: getattr(e, f"ConvTranspose{n}d")(inner * groups, out, kernel, stride, padding, extra, groups,
                                                           True, dilation), (2, inner * groups, *shape))


@pytest.mark.parametrize("wrong", [
    lambda n: n.Conv2d(3, 4, 3, groups=2), lambda n: n.Conv2d(3, 4, 3, padding="wide"),
    lambda n: n.LSTM(3, 4, proj_size=5), lambda n: n.RNN(3, 4, nonlinearity="gelu"),
    lambda n: n.TransformerEncoderLayer(8, 2, activation="tanh"), lambda n: n.TripletMarginLoss(margin=-1.0),
    lambda n: n.MultiMarginLoss(p=3), lambda n: n.Bilinear(0, 1, 2), lambda n: n.EmbeddingBag(3, 2, padding_idx=3),
    lambda n: n.Dropout2d(1.5), lambda n: n.utils.rnn.pad_sequence([], padding_side="up")])
def test_wrong_settings(wrong):
    with pytest.raises(Exception) as theirs:
        wrong(torch_nn)
    with pytest.raises(theirs.type):
        wrong(nn)
