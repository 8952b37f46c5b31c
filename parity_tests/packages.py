"""Packages that others wrote for torch, run on torch and on minigrad: python -m parity_tests.packages

Installs them into a folder (--folder, made if need be; nothing else changes), runs each case once in a process with
torch and once in a process where minigrad stands in its place, both from the same seed, compares what they computed
and their gradients, and writes the table of docs/in-torchs-place.md."""

from __future__ import annotations

import argparse
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from . import packages_more

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "in-torchs-place.md"
CLOSE = 1e-4         # how far float32 results may be apart, relative to the largest number of their tensor


# ---- cases: what is made of each package ------------------------------------------------------------------------
# Each returns what it computed, and the module (or parameters) whose gradients are wanted.

def x_transformers():
    import torch
    from x_transformers import Decoder, TransformerWrapper
    model = TransformerWrapper(num_tokens=64, max_seq_len=32, attn_layers=Decoder(
        dim=32, depth=2, heads=4, rotary_pos_emb=True, use_rmsnorm=True, ff_glu=True, attn_dropout=0.1))
    return model(torch.randint(0, 64, (2, 16))), model


def x_transformers_encoder():
    import torch
    from x_transformers import AutoregressiveWrapper, Decoder, Encoder, TransformerWrapper, XTransformer
    encoder = TransformerWrapper(num_tokens=64, max_seq_len=32, attn_layers=Encoder(
        dim=32, depth=1, heads=4, alibi_pos_bias=True, attn_kv_heads=2))
    decoder = AutoregressiveWrapper(TransformerWrapper(num_tokens=64, max_seq_len=32, attn_layers=Decoder(
        dim=32, depth=1, heads=4, rel_pos_bias=True)))
    both = XTransformer(dim=32, enc_num_tokens=32, enc_depth=1, enc_heads=2, enc_max_seq_len=16,
                        dec_num_tokens=32, dec_depth=1, dec_heads=2, dec_max_seq_len=16)
    ids = torch.randint(0, 32, (2, 16))
    return ((encoder(ids), decoder(ids), both(ids, ids.flip(0))),
            torch.nn.ModuleList([encoder, decoder, both]))


def rotary_embedding_torch():
    import torch
    from rotary_embedding_torch import RotaryEmbedding
    rotary = RotaryEmbedding(dim=8, learned_freq=True)
    q, k = torch.randn(1, 2, 16, 8, requires_grad=True), torch.randn(1, 2, 16, 8, requires_grad=True)
    xpos = RotaryEmbedding(dim=8, use_xpos=True)
    return (rotary.rotate_queries_or_keys(q), *xpos.rotate_queries_and_keys(q, k)), [q, k, *rotary.parameters()]


def torchinfo():
    import torch
    from torchinfo import summary
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, 4), nn.LayerNorm(4))
    return str(summary(model, (2, 3, 16, 16), verbose=0, col_names=("input_size", "output_size", "num_params"))), []


def torchsummary():
    import contextlib
    import io

    import torch
    from torchsummary import summary
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    with contextlib.redirect_stdout(io.StringIO()) as text:
        summary(model, (3, 16, 16), device="cpu")
    return text.getvalue(), []


def einops():
    import torch
    from einops import einsum, rearrange, reduce, repeat
    from einops.layers.torch import EinMix, Rearrange, Reduce
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    patches = torch.nn.Sequential(Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4),
                                  EinMix("b n c -> b n d", weight_shape="c d", bias_shape="d", c=48, d=5),
                                  Reduce("b n d -> b d", "mean"))
    more = (rearrange(x, "b c h w -> b (h w) c"), reduce(x, "b c (h 2) (w 2) -> b c h w", "max"),
            repeat(x, "b c h w -> b c (h 2) w"), einsum(x, x, "b c h w, b d h w -> b c d"))
    return (patches(x), *more), [x, *patches.parameters()]


def lion_pytorch():
    from lion_pytorch import Lion
    return packages_more.train(lambda p: Lion(p, lr=1e-3, weight_decay=1e-2), count=20)


def adan_pytorch():
    from adan_pytorch import Adan
    return packages_more.train(lambda p: Adan(p, lr=1e-3, weight_decay=0.02), count=20)


def torch_optimizer():
    import torch_optimizer as extra
    names = ("AdaBound", "AdaMod", "DiffGrad", "Lamb", "NovoGrad", "PID", "QHAdam", "RAdam", "Yogi", "Ranger", "SWATS",
             "AggMo", "AdamP", "SGDP", "Apollo", "A2GradExp", "AccSGD", "MADGRAD", "SGDW", "QHM")
    outs = []
    for name in names:
        results, model = packages_more.train(lambda p, name=name: getattr(extra, name)(p, lr=1e-3)
                                             if name != "A2GradExp" else extra.A2GradExp(p), count=5)
        outs += results
    return tuple(outs), model


def pytorch_warmup():
    import pytorch_warmup as warmup
    import torch
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([p], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    ramp, rates = warmup.UntunedLinearWarmup(optimizer), []
    for _ in range(30):
        (p * p).sum().backward()
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        with ramp.dampening():
            schedule.step()
    return torch.tensor(rates), [p]


def loralib():
    import loralib as lora
    import torch
    model = torch.nn.Sequential(lora.Embedding(20, 16, r=4), lora.Linear(16, 24, r=4, lora_alpha=8, lora_dropout=0.1),
                                lora.MergedLinear(24, 24, r=4, enable_lora=[True, False, True]))
    lora.mark_only_lora_as_trainable(model)
    for p in model.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)
    out = model(torch.randint(0, 20, (3, 5)))
    return (out, *lora.lora_state_dict(model).values()), model


def entmax():
    import torch
    from entmax import entmax15, entmax15_loss, sparsemax, sparsemax_loss
    x = torch.randn(4, 10, requires_grad=True)
    y = torch.randint(0, 10, (4,))
    return (sparsemax(x, -1), entmax15(x, -1), sparsemax_loss(x, y), entmax15_loss(x, y)), [x]


def local_attention():
    import torch
    from local_attention import LocalAttention, LocalTransformer
    attention = LocalAttention(dim=8, window_size=4, causal=True, autopad=True)
    q, k, v = (torch.randn(2, 3, 10, 8, requires_grad=True) for _ in range(3))
    model = LocalTransformer(num_tokens=32, dim=16, depth=2, max_seq_len=16, local_attn_window_size=4)
    return (attention(q, k, v), model(torch.randint(0, 32, (2, 16)))), [q, k, v, *model.parameters()]


def linear_attention_transformer():
    import torch
    from linear_attention_transformer import LinearAttentionTransformerLM
    model = LinearAttentionTransformerLM(num_tokens=32, dim=32, heads=4, depth=2, max_seq_len=32, causal=True,
                                         blindspot_size=1)
    return model(torch.randint(0, 32, (2, 32))), model


def vector_quantize_pytorch():
    import torch
    from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, VectorQuantize
    quantize = VectorQuantize(dim=8, codebook_size=16, decay=0.8, commitment_weight=1.0, rotation_trick=False)
    residual = ResidualVQ(dim=8, num_quantizers=2, codebook_size=16, rotation_trick=False)
    x = torch.randn(2, 12, 8, requires_grad=True)
    finite = FSQ(levels=[8, 5, 5], dim=8)
    free = LFQ(codebook_size=16, dim=8)
    return (*quantize(x), *residual(x), *finite(x), *free(x)), [x, *finite.parameters(), *free.parameters()]


def ema_pytorch():
    import torch
    from ema_pytorch import EMA
    model = torch.nn.Linear(6, 3)
    ema = EMA(model, beta=0.9, update_after_step=2, update_every=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(4, 6)
    for _ in range(12):
        model(x).pow(2).mean().backward()
        optimizer.step()
        ema.update()
    return (ema(x), model(x), *ema.ema_model.parameters()), model


def hyper_connections():
    import torch
    from hyper_connections import get_init_and_expand_reduce_stream_functions
    init, expand, reduce = get_init_and_expand_reduce_stream_functions(4)
    branch = init(dim=16, branch=torch.nn.Linear(16, 16), layer_index=1)
    return reduce(branch(expand(torch.randn(2, 5, 16)))), branch


def conformer():
    import torch
    from conformer import Conformer
    model = Conformer(dim=16, depth=2, dim_head=8, heads=2, conv_kernel_size=7, conv_dropout=0.1)
    return model(torch.randn(2, 12, 16)), model


def perceiver_pytorch():
    import torch
    from perceiver_pytorch import Perceiver
    model = Perceiver(input_channels=3, input_axis=2, num_freq_bands=3, max_freq=8.0, depth=2, num_latents=8,
                      latent_dim=16, cross_heads=1, latent_heads=2, cross_dim_head=8, latent_dim_head=8, num_classes=5,
                      attn_dropout=0.1, weight_tie_layers=True)
    return model(torch.randn(2, 8, 8, 3)), model


def performer_pytorch():
    import torch
    from performer_pytorch import PerformerLM
    model = PerformerLM(num_tokens=32, max_seq_len=16, dim=16, depth=2, heads=2, dim_head=8, causal=False,
                        nb_features=8)
    return model(torch.randint(0, 32, (2, 16))), model


def axial_positional_embedding():
    import torch
    from axial_positional_embedding import AxialPositionalEmbedding
    embedding = AxialPositionalEmbedding(dim=16, axial_shape=(4, 4), axial_dims=(8, 8))
    return embedding(torch.randn(2, 16, 16)), embedding


def product_key_memory():
    import torch
    from product_key_memory import PKM
    memory = PKM(dim=16, heads=2, num_keys=8, topk=4, dim_head=8)
    return memory(torch.randn(2, 6, 16)), memory


# Which packages each case needs, its own first; einops, einx and their like are what several of them import.
_EINOPS = ("einops", "torch-einops-utils")
_EINX = (*_EINOPS, "einx", "frozendict", "loguru")
CASES: dict[str, tuple[Callable, tuple[str, ...], str]] = {
    "x-transformers": (x_transformers, ("x-transformers", *_EINX), "a decoder with rotary positions, RMSNorm, GLU, "
                       "dropout"),
    "x-transformers, 2": (x_transformers_encoder, ("x-transformers", *_EINX), "an encoder, an autoregressive decoder, "
                          "an encoder-decoder"),
    "rotary-embedding-torch": (rotary_embedding_torch, ("rotary-embedding-torch", *_EINOPS), "rotary and xPos "
                               "embeddings"),
    "einops": (einops, ("einops",), "functions, and the layers Rearrange, Reduce, EinMix"),
    "torchinfo": (torchinfo, ("torchinfo",), "the printed summary of a convolutional network"),
    "torchsummary": (torchsummary, ("torchsummary",), "the printed summary of a convolutional network"),
    "lion-pytorch": (lion_pytorch, ("lion-pytorch",), "20 steps of training"),
    "adan-pytorch": (adan_pytorch, ("adan-pytorch",), "20 steps of training"),
    "torch-optimizer": (torch_optimizer, ("torch-optimizer", "pytorch-ranger"), "5 steps of training with each of 20 "
                        "optimizers"),
    "pytorch-warmup": (pytorch_warmup, ("pytorch-warmup",), "30 learning rates"),
    "loralib": (loralib, ("loralib",), "Embedding, Linear and MergedLinear with LoRA"),
    "entmax": (entmax, ("entmax",), "sparsemax and 1.5-entmax, and their losses"),
    "local-attention": (local_attention, ("local-attention", "hyper-connections", *_EINOPS), "causal windows, and a "
                        "transformer"),
    "linear-attention-transformer": (linear_attention_transformer, (
        "linear-attention-transformer", "linformer", "axial-positional-embedding", "product-key-memory",
        "colt5-attention", "local-attention", "hyper-connections", *_EINX), "a causal language model"),
    "vector-quantize-pytorch": (vector_quantize_pytorch, ("vector-quantize-pytorch", *_EINX), "VQ, residual VQ, FSQ, "
                                "LFQ"),
    "ema-pytorch": (ema_pytorch, ("ema-pytorch",), "averaged weights over 12 steps"),
    "hyper-connections": (hyper_connections, ("hyper-connections", *_EINOPS), "four residual streams around a layer"),
    "conformer": (conformer, ("conformer", *_EINOPS), "two blocks: convolution, attention, batch norm, dropout"),
    "perceiver-pytorch": (perceiver_pytorch, ("perceiver-pytorch", *_EINOPS), "an image classifier"),
    "performer-pytorch": (performer_pytorch, ("performer-pytorch", "local-attention", "hyper-connections",
                                              "axial-positional-embedding", *_EINOPS), "a language model with random "
                          "features"),
    "axial-positional-embedding": (axial_positional_embedding, ("axial-positional-embedding", *_EINOPS), "embeddings "
                                   "of two axes"),
    "product-key-memory": (product_key_memory, ("product-key-memory", "colt5-attention", *_EINX), "a memory layer"),
    **packages_more.CASES,
}


# ---- one case, on one engine ------------------------------------------------------------------------------------

def compute(name: str, engine: str, path: Path) -> None:
    """Run a case, and leave what it computed, with its gradients, in a file."""
    if engine == "minigrad":
        import minigrad
        minigrad.as_torch()
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    out, owner = CASES[name][0]()
    results, loss = [], 0.0
    for x in _leaves(out):
        if isinstance(x, torch.Tensor):
            results.append(("output", x.detach().numpy().copy()))
            if x.requires_grad:
                loss = loss + (x * torch.arange(x.numel(), dtype=x.dtype).reshape(x.shape).cos()).sum()
        else:
            results.append(("output", x))
    if isinstance(loss, torch.Tensor):
        params = list(owner.parameters()) if isinstance(owner, torch.nn.Module) else owner
        for p in params:
            p.grad = None
        loss.backward()
        results += [("gradient", None if p.grad is None else p.grad.numpy().copy()) for p in params]
    assert (torch.__version__ >= "2.13") and str(torch.__version__).endswith("minigrad") == (engine == "minigrad")
    path.write_bytes(pickle.dumps(results))


def _leaves(x) -> Iterator:
    if isinstance(x, tuple | list):
        for part in x:
            yield from _leaves(part)
    elif x is not None:
        yield x


# ---- both, and their difference ---------------------------------------------------------------------------------

@dataclass
class Result:
    name: str
    version: str
    what: str
    difference: float | None = None        # None where it did not run
    gradients: int = 0
    problem: str = ""

    @property
    def equal(self) -> bool:
        return self.difference is not None and self.difference <= CLOSE

    def row(self) -> str:
        if self.difference is None:
            return f"| {self.name} | {self.version} | {self.what} | did not run: {self.problem} |"
        said = "the same text" if self.difference == 0 and not self.gradients else f"{self.difference:.1e}"
        return f"| {self.name} | {self.version} | {self.what} | {said}{self.problem} |"


def compare(name: str, folder: Path) -> Result:
    result = Result(name, _version(CASES[name][1][0], folder), CASES[name][2])
    found = []
    with TemporaryDirectory() as scratch:
        for engine in ("torch", "minigrad"):
            path = Path(scratch) / engine
            environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
            run = subprocess.run([sys.executable, "-W", "ignore", "-m", "parity_tests.packages", "--run", name,
                                  "--engine", engine, "--to", str(path)],
                                 cwd=ROOT, env=environment, capture_output=True, text=True)
            if run.returncode:
                lines = run.stderr.strip().splitlines() or ["no message"]
                result.problem = f"{engine}: {next((line for line in reversed(lines) if 'Error' in line), lines[-1])}"
                return result
            found.append(pickle.loads(path.read_bytes()))
    theirs, ours = found
    if [kind for kind, _ in theirs] != [kind for kind, _ in ours]:
        result.problem = "other results than torch's"
        return result
    result.difference = max((_difference(a, b) for (_, a), (_, b) in zip(theirs, ours)), default=0.0)
    result.gradients = sum(kind == "gradient" and a is not None for kind, a in theirs)
    return result


def _difference(a, b) -> float:
    """The largest difference, relative to the largest number."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return 0.0 if type(a) is type(b) and a == b else float("inf")
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    if not a.size:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    worst = np.abs(a - b)[~same].max()
    return float("inf") if np.isnan(worst) else float(worst / max(np.abs(a[np.isfinite(a)]).max(initial=0), 1e-3))


def _version(package: str, folder: Path) -> str:
    from importlib.metadata import distributions
    wanted = package.replace("-", "_").lower()
    return next((d.version for d in distributions(path=[str(folder)])
                 if d.metadata["Name"].replace("-", "_").lower() == wanted), "?")


def install(folder: Path) -> None:
    """The packages into a folder, without what they depend on: torch and NumPy are here."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in dict.fromkeys(package for _, packages, _ in CASES.values() for package in packages):
        if _version(package, folder) == "?":
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder),
                            package], check=True)


def write(results: list[Result]) -> None:
    """The table between the document's two marks. Cases that did not run now keep the rows they have."""
    start, end = "<!-- table: python -m parity_tests.packages -->\n", "<!-- end of table -->\n"
    text = DOCUMENT.read_text()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in text.partition(start)[2].partition(end)[0]
            .splitlines() if line.startswith("| ")}
    rows = {name: row for name, row in (rows | {r.name: r.row() for r in results}).items() if name in CASES}
    measured = [(name, row.split(" | ")[3].removesuffix(" |")) for name, row in rows.items()]
    ran = [(name, said) for name, said in measured if not said.startswith("did not run")]
    equal = sum(said == "the same text" or float(said) <= CLOSE for _, said in ran)
    packages = len({name.partition(",")[0] for name, _ in ran})
    table = [f"{packages} packages ran; {equal} of {len(rows)} cases agree with torch {version('torch')} within "
             f"{CLOSE:g}, outputs and gradients.", "",
             "| package | version | what ran, forward and backward | largest difference, relative |",
             "|---|---|---|---|", *rows.values(), ""]
    DOCUMENT.write_text(text[:text.index(start) + len(start)] + "\n".join(table) + text[text.index(end):])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.packages", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "packages",
                        help="where the packages are, or go")
    parser.add_argument("--only", help="cases, by name, separated by commas: the document's other rows stay")
    parser.add_argument("--run", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=("torch", "minigrad"), help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        compute(args.run, args.engine, args.to)
        return 0
    install(args.folder)
    chosen = args.only.split(",") if args.only else list(CASES)
    results = []
    for name in chosen:
        results.append(compare(name, args.folder))
        print(results[-1].row(), flush=True)
    write(results)
    return 0 if all(r.equal for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
