"""minigrad: PyTorch's core in NumPy. This is the front door: torch's names, and nothing more."""

import importlib as _importlib
import math as _math
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import autograd, backends, creation, cuda, dtypes, linalg, random
from .dtypes import (
    bfloat16, bool, can_cast, complex64, complex128, dtype, finfo, float8_e4m3fn, float8_e5m2, float16, float32,
    float64, get_default_dtype, iinfo, int8, int16, int32, int64, promote_types, result_type, set_default_dtype, uint8,
    uint16, uint32, uint64,
)
from .modes import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from .size import Size
from .creation import (
    arange, as_tensor, asarray, channels_last, channels_last_3d, contiguous_format, device, empty, empty_like, eye,
    from_dlpack, from_numpy, full, full_like, layout, linspace, logspace, memory_format, ones, ones_like,
    preserve_format, scalar_tensor, strided, tensor, tril_indices, triu_indices, zeros, zeros_like,
)
from .generator import Generator
from .random import (
    bernoulli, get_rng_state, initial_seed, manual_seed, multinomial, normal, rand, rand_like, randint,
    randint_like, randn, randn_like, randperm, seed, set_rng_state,
)
from .tensor import Tensor, is_tensor
from .composed.metadata import numel
from .ops.elementwise import (
    abs, cos, exp, log, mul, neg, pow, sigmoid, sign, sin, sqrt, tanh, true_divide,
)
from .ops.special import (
    acos, acosh, asin, asinh, atan, atanh, ceil, cosh, erf, erfc, erfinv, exp2, expm1, floor, frac, log10, log1p, log2,
    reciprocal, round, rsqrt, sgn, sinc, sinh, tan, trunc,
)
from .ops.logic import (
    bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, eq, ge, gt, isfinite,
    isinf, isnan, le, logical_and, logical_not, logical_or, logical_xor, lt, ne,
)
from .composed.elementwise import (
    absolute, add, addcdiv, addcmul, allclose, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, atan2, clamp,
    clamp_max, clamp_min, clip, deg2rad, div, divide, equal, fix, float_power, floor_divide, fmax, fmin, fmod, greater,
    greater_equal, hypot, isclose, isneginf, isposinf, lerp, less, less_equal, logaddexp, logaddexp2, logit,
    masked_fill, maximum, minimum, multiply, nan_to_num, negative, not_equal, positive, rad2deg, relu, remainder, rsub,
    square, sub, subtract, xlogy,
)
from .composed.reduce import (
    all, amax, amin, aminmax, any, argmax, argmin, argsort, bincount, bucketize, count_nonzero, cummax, cummin,
    cumprod, cumsum, dist, histc, kthvalue, log_softmax, logcumsumexp, logsumexp, max, mean, median, min, mode, msort,
    nanmean, nanmedian, nansum, prod, searchsorted, softmax, sort, std, std_mean, sum, topk, unique,
    unique_consecutive, var, var_mean,
)
from .composed import return_types
from .composed.out import into as _into
from .composed.joining import (
    atleast_1d, atleast_2d, atleast_3d, block_diag, cartesian_prod, cat, chunk, column_stack, combinations,
    concat, concatenate, dsplit, dstack, hsplit, hstack, meshgrid, narrow, roll, row_stack, select, split,
    split_with_sizes, stack, tensor_split, unbind, vsplit, vstack,
)
from .composed.shape import (
    adjoint, as_strided, broadcast_shapes, broadcast_tensors, broadcast_to, clone, diag, diag_embed, diagflat,
    diagonal, flatten, flip, fliplr, flipud, moveaxis, movedim, permute, ravel, repeat_interleave, reshape,
    rot90, squeeze, swapaxes, swapdims, t, tile, transpose, tril, triu, unflatten, unsqueeze,
)
from .composed.index import (
    argwhere, diagonal_scatter, gather, index_add, index_copy, index_fill, index_put, index_put_, index_select,
    masked_scatter, masked_select, nonzero, put, scatter, scatter_add, scatter_reduce, select_scatter,
    slice_scatter, take, take_along_dim, where,
)
from .composed.linalg import (
    addbmm, addmm, addmv, addr, baddbmm, bmm, chain_matmul, cross, dot, einsum, ger, inner, kron, matmul, mm, mv,
    norm, outer, tensordot, trace, vdot,
)
from .printing import set_printoptions
from .host import compile, get_num_threads, set_num_threads

__version__ = "0.1.0"

pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan
double, float, half = float64, float32, float16
long, int, short = int64, int32, int16
cfloat, cdouble = complex64, complex128
newaxis = None
default_generator = random.default_generator
tensor = creation.tensor          # the function; the module of that name is where Tensor is defined

# functions that take out=; of the rest of the list, those do that make something or reduce it
for _name in (
    "abs", "absolute", "acos", "acosh", "add", "addbmm", "addcdiv", "addcmul", "addr", "arccos", "arccosh",
    "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bernoulli",
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "bucketize", "ceil", "clamp", "clamp_max", "clamp_min", "clip", "column_stack", "concat", "concatenate",
    "cos", "cosh", "cross", "deg2rad", "diag", "div", "divide", "dstack", "eq", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "fix", "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge", "ger",
    "greater", "greater_equal", "gt", "histc", "hstack", "hypot", "isneginf", "isposinf", "kron", "le", "lerp",
    "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logit", "lt", "maximum", "minimum", "mul", "multiply",
    "nan_to_num", "ne", "neg", "negative", "nonzero", "normal", "not_equal", "pow", "rad2deg", "rand",
    "randint", "randn", "randperm", "reciprocal", "remainder", "round", "row_stack", "rsqrt", "searchsorted",
    "sgn", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt", "square", "sub", "subtract", "take_along_dim",
    "tan", "tanh", "tril", "triu", "true_divide", "trunc", "vdot", "vstack", "where", "xlogy",
):
    globals()[_name] = _into(globals()[_name])

# ---- what is imported when it is first asked for ----------------------------------------------------------------

_MODULES = ("distributions", "nn", "optim", "serialization", "standin", "testing", "utils")
_FUNCTIONS = {
    "composed.decompositions": ("cholesky", "det", "logdet", "matrix_exp", "matrix_power", "slogdet"),
    "composed.numeric": ("blackman_window", "cdist", "copysign", "corrcoef", "cov", "cumulative_trapezoid", "diff",
                         "digamma", "fill", "frombuffer", "gcd", "hamming_window", "hann_window", "heaviside",
                         "is_nonzero", "is_same_size", "isin", "isreal", "lcm", "ldexp", "lgamma", "nanquantile",
                         "nextafter", "pdist", "quantile", "renorm", "signbit", "trapezoid", "trapz", "unravel_index",
                         "vander"),
    "composed.systems": ("cholesky_inverse", "cholesky_solve", "triangular_solve"),
    "legacy": ("BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
               "LongTensor", "ShortTensor", "range"),
    "nn.functional": ("adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "bilinear",
                      "celu", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
                      "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity",
                      "ctc_loss", "embedding_bag", "group_norm", "hardshrink", "hinge_embedding_loss",
                      "instance_norm", "layer_norm", "margin_ranking_loss", "max_pool1d", "max_pool2d",
                      "max_pool3d", "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss",
                      "prelu", "relu_", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold", "threshold_",
                      "triplet_margin_loss"),
    "nn.native": ("batch_norm", "binary_cross_entropy_with_logits", "dropout", "embedding", "kl_div"),
    "serialization": ("load", "save"),
    "standin": ("as_torch", "load_ipython_extension"),
}
# functions that are methods, under the same name
_METHODS = frozenset((
    "abs_", "acos_", "asin_", "atan_", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "cos_", "cosh_",
    "detach", "detach_", "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fill_", "floor_", "frac_", "inverse",
    "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_signed", "log10_", "log1p_",
    "log2_", "log_", "logit_", "nan_to_num_", "neg_", "pinverse", "qr", "reciprocal_", "resolve_conj",
    "resolve_neg", "round_", "rsqrt_", "sigmoid_", "sin_", "sinc_", "sinh_", "sqrt_", "square_", "svd", "tan_", "tanh_",
    "trunc_", "unsafe_chunk", "unsafe_split", "xlogy_", "zero_",
))
_HOMES = {name: home for home, names in _FUNCTIONS.items() for name in names}

if _TYPE_CHECKING:
    from . import distributions, nn, optim, serialization, standin, testing, utils
    from .nn.functional import (
        conv1d, cosine_similarity, group_norm, layer_norm, pairwise_distance, relu_, rms_norm, selu, threshold,
    )
    from .nn.native import batch_norm, binary_cross_entropy_with_logits, dropout, embedding, kl_div
    from .serialization import load, save
    from .standin import as_torch, load_ipython_extension


def __getattr__(name: str):
    if name in _MODULES:
        value = _importlib.import_module(f"{__name__}.{name}")
    elif name in _HOMES:
        value = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _METHODS:
        value = getattr(Tensor, name)
    else:
        raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(n for n in {*globals(), *_MODULES, *_HOMES, *_METHODS} if not n.startswith("_") or n.endswith("__"))
