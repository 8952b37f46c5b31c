"""minigrad: PyTorch's core in NumPy. This is the front door: torch's names, and nothing more."""

import math as _math

from . import autograd, backends, creation, cuda, dtypes, nn, optim, random, serialization, testing, utils
from .dtypes import (bfloat16, bool, can_cast, dtype, finfo, float16, float32, float64, get_default_dtype, iinfo, int8,
    int16, int32, int64, promote_types, set_default_dtype, uint8)
from .modes import (enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad,
    set_grad_enabled)
from .size import (Size)
from .creation import (arange, as_tensor, asarray, channels_last, channels_last_3d, contiguous_format, device,
    empty, empty_like, eye, from_numpy, full, full_like, layout, linspace, logspace, memory_format, ones, ones_like,
    preserve_format, scalar_tensor, strided, tensor, tril_indices, triu_indices, zeros, zeros_like)
from .generator import (Generator)
from .random import (bernoulli, get_rng_state, initial_seed, manual_seed, multinomial, normal, rand, rand_like,
    randint, randint_like, randn, randn_like, randperm, seed, set_rng_state)
from .tensor import (Tensor, is_tensor)
from .ops.elementwise import (abs, acos, acosh, add, asin, asinh, atan, atanh, ceil, clone, cos, cosh, erf, erfc,
    erfinv, exp, exp2, expm1, floor, frac, isfinite, isinf, isnan, log, log10, log1p, log2, mul, neg, pow, reciprocal,
    relu, round, rsqrt, sgn, sigmoid, sign, sin, sinc, sinh, sqrt, sub, tan, tanh, true_divide, trunc, where)
from .ops.logic import (bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor,
    eq, ge, gt, le, logical_and, logical_not, logical_or, logical_xor, lt, ne)
from .composed.elementwise import (addcdiv, addcmul, allclose, arctan2, atan2, clamp, clamp_max, clamp_min, clip,
    deg2rad, div, divide, equal, float_power, floor_divide, fmax, fmin, fmod, hypot, isclose, isneginf, isposinf,
    lerp, logaddexp, logaddexp2, logit, masked_fill, maximum, minimum, nan_to_num, positive, rad2deg, remainder, rsub,
    square, xlogy)
from .composed.reduce import (all, amax, amin, aminmax, any, argmax, argmin, argsort, bincount, bucketize,
    count_nonzero, cummax, cummin, cumprod, cumsum, dist, histc, kthvalue, log_softmax, logcumsumexp, logsumexp, max,
    mean, median, min, msort, nanmean, nanmedian, nansum, prod, searchsorted, softmax, sort, std, std_mean, sum, topk,
    unique, unique_consecutive, var, var_mean)
from .composed.shape import (adjoint, atleast_1d, atleast_2d, atleast_3d, block_diag, broadcast_shapes,
    broadcast_tensors, broadcast_to, cartesian_prod, cat, chunk, column_stack, combinations, concat, concatenate,
    diag, diag_embed, diagflat, diagonal, dsplit, dstack, flatten, flip, fliplr, flipud, hsplit, hstack, meshgrid,
    moveaxis, movedim, narrow, permute, ravel, repeat_interleave, reshape, roll, rot90, row_stack, select, split,
    split_with_sizes, squeeze, stack, swapaxes, swapdims, t, tensor_split, tile, transpose, tril, triu, unbind,
    unflatten, unsqueeze, vsplit, vstack)
from .composed.index import (argwhere, diagonal_scatter, gather, index_add, index_copy, index_fill, index_put,
    index_put_, index_select, masked_scatter, masked_select, nonzero, put, scatter, scatter_add, scatter_reduce,
    select_scatter, slice_scatter, take, take_along_dim)
from .printing import (set_printoptions)
from .serialization import (load, save)

__version__ = "0.1.0"
version = __version__

pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan
double, float, half = float64, float32, float16
long, int, short = int64, int32, int16
default_generator = random.default_generator
tensor = creation.tensor          # the function; the module of that name is where Tensor is defined
