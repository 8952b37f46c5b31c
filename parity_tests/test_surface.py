"""Every name that code written for torch reaches for exists, and takes what torch's signature says it takes.

A Python function of torch's has its signature; a compiled one has it in the type stubs that are generated from torch's
own list of operators (its docstring often gives other names than it takes). Both are read here, so that nothing about
torch is written down a second time but the names.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.data

import minigrad

from .opinfo import OPS, has

NAMES = {
    "": """
        tensor as_tensor from_numpy arange linspace zeros ones empty full eye rand randn randint zeros_like ones_like
        randn_like softmax log_softmax argmax argmin cat stack split chunk unbind triu tril sqrt rsqrt exp log log1p sin
        cos tanh sigmoid pow abs clamp clone outer dot einsum matmul bmm topk sort where multinomial nonzero unique
        bincount gather sum mean var max min all any cumsum isnan isinf repeat_interleave flatten squeeze unsqueeze
        transpose permute manual_seed no_grad enable_grad inference_mode set_grad_enabled device save load
        set_printoptions set_default_dtype get_default_dtype set_num_threads get_num_threads get_rng_state set_rng_state
        finfo iinfo __version__ compile inf pi long int float double half float16 float32 float64 bfloat16 bool int32
        int64 uint8 Tensor Size Generator equal allclose is_tensor empty_like full_like rand_like numel
        autograd.grad cuda.is_available cuda.device_count backends.mps.is_available testing.assert_close nn optim
    """,
    "nn.": """
        Module Parameter ModuleList ModuleDict ParameterList Sequential Identity Linear Embedding Dropout LayerNorm
        RMSNorm GroupNorm ReLU GELU SiLU Tanh Sigmoid Softmax Flatten MultiheadAttention Conv1d MSELoss CrossEntropyLoss
        BCELoss BCEWithLogitsLoss NLLLoss functional init utils
    """,
    "nn.init.": """
        uniform_ normal_ constant_ zeros_ ones_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_
        trunc_normal_
    """,
    "nn.utils.": "clip_grad_norm_ clip_grad_value_ parameters_to_vector",
    "nn.functional.": """
        linear embedding softmax log_softmax cross_entropy nll_loss mse_loss binary_cross_entropy
        binary_cross_entropy_with_logits kl_div gelu relu silu sigmoid tanh softplus logsigmoid dropout layer_norm
        rms_norm group_norm scaled_dot_product_attention pad one_hot normalize cosine_similarity conv1d
        linear_cross_entropy
    """,
    "optim.": "SGD Adam AdamW lr_scheduler",
    "optim.lr_scheduler.": "LambdaLR CosineAnnealingLR LinearLR SequentialLR OneCycleLR StepLR",
    "utils.data.": """
        Dataset TensorDataset Subset random_split DataLoader RandomSampler SequentialSampler BatchSampler
    """,
    "Tensor.": """
        shape size dim ndim numel dtype device data grad grad_fn is_leaf requires_grad requires_grad_ backward detach
        detach_ retain_grad register_hook item tolist numpy cpu cuda to type float double long int bool half view
        reshape view_as contiguous is_contiguous stride T mT t transpose permute expand expand_as repeat masked_fill
        masked_fill_ fill_ zero_ copy_ add_ mul_ div_ sub_ clamp_ uniform_ normal_ index_add_ scatter_ index_copy_
        new_zeros new_ones new_full new_tensor softmax log_softmax argmax argmin split chunk unbind triu tril sqrt rsqrt
        exp log log1p sin cos tanh sigmoid pow abs clamp clone outer dot matmul bmm topk sort where multinomial nonzero
        unique bincount gather sum mean var max min all any cumsum isnan isinf repeat_interleave flatten squeeze
        unsqueeze equal allclose
        __len__ __iter__ __format__ __array__ __bool__ __int__ __float__ __index__ __contains__ __deepcopy__
        __getitem__ __setitem__ __repr__ __hash__ __matmul__ __neg__ __invert__ __abs__
    """,
    "nn.Module.": """
        eval train to parameters named_parameters buffers named_buffers children named_children modules named_modules
        register_buffer register_parameter register_forward_hook register_forward_pre_hook apply state_dict
        load_state_dict zero_grad requires_grad_ float double half get_submodule extra_repr __call__ __setattr__
    """,
}

# The op list as functions and, where torch has them, as methods, in-place methods and nn.functional.
SPELLINGS = [
    s
    for op in OPS
    for s in (op, *((f"Tensor.{op}", f"Tensor.{op}_") if "." not in op and op[0] != "_" else ()))
    if has(torch, s) and not s.endswith("__")
]

LISTED = [prefix + name for prefix, names in NAMES.items() for name in names.split()]
SURFACE = list(dict.fromkeys(LISTED + SPELLINGS))

# Keywords of torch's that mean nothing on one device with strided memory, or that torch itself has deprecated. `out` is
# asked for where torch's OpInfo tests it, by test_opinfo.py; elsewhere a result is returned.
WITHOUT_MEANING = {"pin_memory", "layout", "memory_format", "size_average", "reduce", "names", "non_blocking", "out"}


def resolve(module: Any, dotted: str) -> Any:
    return functools.reduce(getattr, dotted.split("."), module)


@pytest.mark.parametrize("name", SURFACE)
def test_exists(name: str) -> None:
    theirs = resolve(torch, name)
    assert has(minigrad, name), f"minigrad has no {name}"
    mine = resolve(minigrad, name)
    assert callable(mine) == callable(theirs)
    assert inspect.isclass(mine) or not inspect.isclass(theirs)


# ------------------------------------------------------------------------------------------------ signatures


Parameters = list[tuple[str, bool, bool]]  # (name, whether by position, whether it may be left out)


SDPA = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")

# Where torch itself, called, is at odds with its stubs and docstrings.
WRONG_STUBS: dict[str, list[Parameters]] = {
    "tensor": [
        [("data", True, False), ("dtype", False, True), ("device", False, True), ("requires_grad", False, True)]
    ],
    "Tensor.new_tensor": [[("data", True, False), ("dtype", False, True), ("requires_grad", False, True)]],
    "Tensor.requires_grad_": [[("requires_grad", True, True)]],
    "linspace": [[("start", True, False), ("end", True, False), ("steps", True, False), ("dtype", False, True)]],
    "nn.functional.gelu": [[("input", True, False), ("approximate", False, True)]],
    "nn.functional.scaled_dot_product_attention": [
        [
            *((p, True, p in {"attn_mask", "dropout_p", "is_causal"}) for p in SDPA[:6]),
            *((p, False, True) for p in SDPA[6:]),
        ]
    ],
}


@functools.cache
def stubs() -> dict[str, list[Parameters]]:
    """All overloads of torch's compiled functions and methods."""
    found: dict[str, list[Parameters]] = {}
    folder = Path(torch.__file__).parent / "_C"
    functions = ast.parse((folder / "_VariableFunctions.pyi").read_text(encoding="utf-8")).body
    classes = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8")).body
    methods = next(c for c in classes if isinstance(c, ast.ClassDef) and c.name == "TensorBase").body
    for prefix, body in (("", functions), ("Tensor.", methods)):
        for f in body:
            if isinstance(f, ast.FunctionDef) and (parameters := overload(f.args, bool(prefix))) is not None:
                found.setdefault(prefix + f.name, []).append(parameters)
    return found


def overload(args: ast.arguments, method: bool) -> Parameters | None:
    """One overload's parameters; None for named dimensions, deprecated orders and CUDA's `out_dtype`."""
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    parameters = [(p.arg, True, k >= required) for k, p in enumerate(positional)][method:]
    parameters += [(p.arg, False, d is not None) for p, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if any(p.annotation is not None and "EllipsisType" in ast.unparse(p.annotation) for p in positional):
        return None
    elsewhere = any(by_position and p in {"self", "alpha", "beta", "out_dtype"} for p, by_position, _ in parameters)
    return None if elsewhere else parameters


def documented(name: str) -> list[Parameters]:
    """torch's signatures of a name."""
    if name in WRONG_STUBS:
        return WRONG_STUBS[name]
    target = resolve(torch, name)
    if name in stubs():
        return stubs()[name]
    if is_python(target):
        parameters = list(inspect.signature(target).parameters.values())
        if name.startswith(("Tensor.", "nn.Module.")):
            parameters = parameters[1:]
        if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters) and parameters:
            return []
        return [
            [
                (p.name, p.kind is not p.KEYWORD_ONLY, p.default is not p.empty)
                for p in parameters
                if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and not p.name.startswith("_")
            ]
        ]
    # What is compiled and in no stub (some of nn.functional) opens its docstring with its signature.
    base = re.escape(name.rpartition(".")[2])
    text = re.match(rf"\s*{base}\((.*?)\)\s*->", target.__doc__ or "", re.DOTALL)
    if text is None or "(" in text[1]:
        return []
    parts = [part.strip().partition("=") for part in text[1].split(",")]
    parts = [(part.partition(":")[0], eq, default) for part, eq, default in parts]
    names = [part for part, _, _ in parts]
    bar = names.index("*") if "*" in names else len(names)
    return [[(part, k < bar, bool(eq)) for k, (part, eq, _) in enumerate(parts) if part != "*"]]


def is_python(target: Any) -> bool:
    return inspect.isfunction(target) or (inspect.isclass(target) and inspect.isfunction(target.__init__))


CALLABLE = [name for name in SURFACE if callable(resolve(torch, name)) and "__" not in name]
WITH_SIGNATURE = [name for name in CALLABLE if documented(name)]


@pytest.mark.parametrize("name", WITH_SIGNATURE)
def test_signature(name: str) -> None:
    """All parameters by name and the positional ones by position, as one of torch's signatures after the other."""
    mine = inspect.signature(resolve(minigrad, name))
    method = name.startswith(("Tensor.", "nn.Module.")) and not inspect.isclass(resolve(minigrad, name))
    itself = (object(),) if method else ()
    for parameters in documented(name):
        wanted = [(p, by_position, optional) for p, by_position, optional in parameters if p not in WITHOUT_MEANING]
        positional = [p for p, by_position, _ in wanted if by_position]
        by_name = [p for p, by_position, _ in wanted if not by_position]
        required = [p for p, _, optional in wanted if not optional]
        shown = ", ".join(p for p, _, _ in parameters)
        for args, kwargs in ((positional, by_name), ([], positional + by_name), ([], required)):
            try:
                mine.bind(*itself, *args, **dict.fromkeys(kwargs))
            except TypeError as error:
                pytest.fail(f"{name}{mine} does not take torch's ({shown}): {error}")


def test_most_callables_have_a_signature_to_check() -> None:
    assert len(WITH_SIGNATURE) > 0.9 * len(CALLABLE), sorted(set(CALLABLE) - set(WITH_SIGNATURE))
