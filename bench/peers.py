"""GPT-2's training step on other engines: HIPS autograd and tinygrad, for `python -m bench train --peers`.

They get the weights of minigrad's model, and compute what it computes. HIPS autograd comes twice: in the manner of its
own examples, which is in double precision, with powers by ** and an optimizer of plain NumPy; and as whoever has read
how minigrad is made would write it.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from bench.task import SETTINGS, batches
from gpt.config import GPT2Config

PEERS = {"autograd": "autograd", "autograd-tuned": "autograd", "tinygrad": "tinygrad"}       # the package of each


def missing(peer: str) -> str | None:
    """Why a peer cannot run here, or None if it can."""
    name = PEERS[peer]
    if importlib.util.find_spec(name) is None:
        return f"{name} is not installed: pip install {name}"
    if name == "tinygrad" and shutil.which("clang") is None:
        return "tinygrad compiles its kernels with clang, which is not installed"
    return None


def _weights(config: GPT2Config) -> dict[str, np.ndarray]:
    import gpt
    import minigrad
    minigrad.manual_seed(0)
    return {name: t.detach().numpy() for name, t in gpt.build(config, "numpy").named_parameters()}


def _loss(e: SimpleNamespace, w: dict, config: GPT2Config, ids, targets, batch: int):
    """The model and its loss, on an engine's few functions."""
    T, H, D = config.context_length, config.n_heads, config.head_dim

    def norm(x, name: str):
        centred = x - e.mean(x)
        return centred / e.sqrt(e.mean(centred * centred) + config.norm_eps) * w[name + ".scale"] + w[name + ".shift"]

    def linear(x, name: str):
        y = e.matmul(x, e.transpose(w[name + ".weight"], (1, 0)))
        return y + w[name + ".bias"] if name + ".bias" in w else y

    def heads(x):
        return e.transpose(x.reshape((batch, T, H, D)), (0, 2, 1, 3))

    x = e.take(w["tok_emb.weight"], ids) + w["pos_emb.weight"]
    for i in range(config.n_layers):
        block = f"trf_blocks.{i}."
        h = norm(x, block + "norm1")
        q, k, v = (heads(linear(h, f"{block}att.W_{part}")) for part in ("query", "key", "value"))
        scores = e.matmul(q, e.transpose(k, (0, 1, 3, 2))) * (1 / math.sqrt(D)) + e.mask
        weights = e.exp(scores - e.logsumexp(scores))
        y = e.transpose(e.matmul(weights, v), (0, 2, 1, 3)).reshape((batch, T, H * D))
        x = x + linear(y, block + "att.out_proj")
        h = linear(norm(x, block + "norm2"), block + "ff.layers.0")
        h = 0.5 * h * (1 + e.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * e.cube(h))))
        x = x + linear(h, block + "ff.layers.2")
    logits = linear(norm(x, "final_norm"), "out_head").reshape((batch * T, config.vocab_size))
    return e.pick(logits - e.logsumexp(logits), targets)


def _named(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both engines' parameters; a norm's are called scale and shift here."""
    return {(k.replace(".weight", ".scale").replace(".bias", ".shift") if "norm" in k else k): v
            for k, v in weights.items()}


def autograd_step(config: GPT2Config, batch: int, clip: bool) -> Callable[[], float]:
    """As its examples are written."""
    def adam(g, p, m, v, lr, weight_decay, t):
        m[...] = 0.9 * m + 0.1 * g
        v[...] = 0.999 * v + 0.001 * g ** 2
        p[...] = p - lr * weight_decay * p - lr * m / (1 - 0.9 ** t) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
    return _autograd_step(config, batch, np.float64, lambda h: h ** 3, adam)


def autograd_tuned_step(config: GPT2Config, batch: int, clip: bool) -> Callable[[], float]:
    """In single precision, without powers, with minigrad's optimizer."""
    from minigrad.kernels.adam import adam_step

    def adam(g, p, m, v, lr, weight_decay, t):
        adam_step(np.asarray(g, np.float32), p, m, v, None, step=float(t), lr=lr, beta1=0.9, beta2=0.999, eps=1e-8,
                  weight_decay=weight_decay, decoupled=True)
    return _autograd_step(config, batch, np.float32, lambda h: h * h * h, adam)


def _autograd_step(config: GPT2Config, batch: int, dtype: type, cube: Callable, adam: Callable) -> Callable[[], float]:
    import autograd.numpy as anp
    from autograd import value_and_grad
    T = config.context_length

    def logsumexp(x):
        top = anp.max(x, -1, keepdims=True)
        return top + anp.log(anp.sum(anp.exp(x - top), -1, keepdims=True))
    e = SimpleNamespace(
        mean=lambda x: anp.mean(x, -1, keepdims=True), sqrt=anp.sqrt, exp=anp.exp, tanh=anp.tanh, matmul=anp.matmul,
        transpose=anp.transpose, take=lambda w, ids: w[ids], logsumexp=logsumexp, cube=cube,
        mask=np.where(np.tri(T, dtype=bool), 0, -np.inf).astype(dtype),
        pick=lambda logp, targets: -anp.mean(logp[np.arange(len(targets)), targets]))
    weights = {k: v.astype(dtype) for k, v in _named(_weights(config)).items()}
    moments = {k: (np.zeros_like(v), np.zeros_like(v)) for k, v in weights.items()}
    gradient = value_and_grad(lambda w, ids, targets: _loss(e, w, config, ids, targets, batch))
    data, count = batches(config, batch), 0

    def step() -> float:
        nonlocal count
        ids, targets = next(data)
        loss, grads = gradient(weights, ids, targets.reshape(-1))
        count += 1
        for name, p in weights.items():
            adam(grads[name], p, *moments[name], **SETTINGS, t=count)
        return float(loss)
    return step


def tinygrad_step(config: GPT2Config, batch: int, clip: bool) -> Callable[[], float]:
    from tinygrad import Context, Tensor, TinyJit  # 0.14
    from tinygrad.nn.optim import AdamW
    T = config.context_length
    mask = Tensor(np.where(np.tri(T, dtype=bool), 0, -np.inf).astype(np.float32))
    e = SimpleNamespace(
        mean=lambda x: x.mean(-1, keepdim=True), sqrt=Tensor.sqrt, exp=Tensor.exp, tanh=Tensor.tanh,
        matmul=Tensor.matmul, transpose=Tensor.permute, take=lambda w, ids: w[ids],
        logsumexp=lambda x: x.logsumexp(-1, keepdim=True), mask=mask, cube=lambda h: h * h * h,
        pick=lambda logp, targets: -logp.gather(1, targets.reshape(-1, 1)).mean())
    weights = {k: Tensor(v) for k, v in _named(_weights(config)).items()}
    optimizer = AdamW(list(weights.values()), lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"],
                      eps=1e-8)
    data = batches(config, batch)

    @TinyJit
    def train(ids, targets):
        optimizer.zero_grad()
        loss = _loss(e, weights, config, ids, targets, batch).backward()
        optimizer.step()
        return loss.realize()

    def step() -> float:
        ids, targets = next(data)
        with Context(TRAINING=1):
            return train(Tensor(ids).realize(), Tensor(targets.reshape(-1)).realize()).item()
    return step
