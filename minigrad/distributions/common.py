"""Probability distributions: samples from torch's stream, log-probabilities with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from .. import creation, random
from ..composed.elementwise import xlogy
from ..composed.shape import broadcast_tensors
from ..dtypes import finfo
from ..graph import Tensor, Variable, new_tensor
from ..modes import enable_grad, no_grad
from ..size import Size

__all__ = ["Bernoulli", "Categorical", "Distribution", "Exponential", "Independent", "Laplace", "LogNormal", "Normal",
           "OneHotCategorical", "Uniform", "kl_divergence", "register_kl"]

Number = float | Tensor


def _together(*values: Number) -> list[Tensor]:
    """Numbers and tensors as tensors of one shape."""
    tensors = [v for v in values if isinstance(v, Variable)]
    dtype = tensors[0].dtype if tensors else None
    return list(broadcast_tensors(*(v if isinstance(v, Variable) else creation.tensor(float(v), dtype=dtype)
                                    for v in values)))


class Distribution:
    """Its batch_shape says how many distributions these are, its event_shape what one sample looks like."""

    has_rsample = False
    arg_constraints: dict = {}                                                          # noqa: RUF012

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (),
                 validate_args: bool | None = None):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A sample through which gradients flow to the parameters."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def perplexity(self) -> Tensor:
        return self.entropy().exp()

    def __repr__(self) -> str:
        shown = [f"{k}: {self.__dict__[k] if self.__dict__[k].numel() == 1 else self.__dict__[k].size()}"
                 for k in self.arg_constraints if k in self.__dict__]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check(self, value: Tensor, valid: Tensor, what: str) -> None:
        if not valid.all():
            raise ValueError(f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be "
                             f"within the support ({what}) of the distribution {self!r}, but found invalid values:\n"
                             f"{value}")

    def _require(self, name: str, value: Tensor, valid: Tensor, what: str) -> None:
        if not valid.all():
            raise ValueError(f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                             f"distribution {self!r} to satisfy the constraint {what}, but found invalid values:\n"
                             f"{value}")


class Normal(Distribution):
    """exp(-(x - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))"""

    has_rsample = True
    arg_constraints = {"loc": "Real()", "scale": "GreaterThan(lower_bound=0.0)"}                   # noqa: RUF012

    def __init__(self, loc: Number, scale: Number, validate_args: bool | None = None):
        self.loc, self.scale = _together(loc, scale)
        super().__init__(self.loc.size())
        if validate_args is not False:
            self._require("loc", self.loc, self.loc == self.loc, "Real()")
            self._require("scale", self.scale, self.scale > 0, "GreaterThan(lower_bound=0.0)")

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.scale.pow(2))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return random.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = random.normal(creation.zeros(shape, dtype=self.loc.dtype), creation.ones(shape, dtype=self.loc.dtype))
        return self.loc + noise * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        return (-((value - self.loc)**2) / (2 * self.scale**2) - self.scale.log()
                - math.log(math.sqrt(2 * math.pi)))

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + ((value - self.loc) * self.scale.reciprocal() / math.sqrt(2)).erf())

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class LogNormal(Normal):
    """e^x of a normal x"""

    mean = property(lambda self: (self.loc + self.scale.pow(2) / 2).exp())
    variance = property(lambda self: self.scale.pow(2).expm1() * (2 * self.loc + self.scale.pow(2)).exp())

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return super().rsample(sample_shape).exp()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value.log()) - value.log()

    def entropy(self) -> Tensor:
        return super().entropy() + self.loc


class Laplace(Distribution):
    """exp(-|x - loc| / scale) / (2 scale)"""

    has_rsample = True
    arg_constraints = {"loc": "Real()", "scale": "GreaterThan(lower_bound=0.0)"}                   # noqa: RUF012

    def __init__(self, loc: Number, scale: Number, validate_args: bool | None = None):
        self.loc, self.scale = _together(loc, scale)
        super().__init__(self.loc.size())

    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: 2 * self.scale.pow(2))
    stddev = property(lambda self: 2**0.5 * self.scale)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape, eps = self._extended_shape(sample_shape), finfo(self.loc.dtype).eps
        u = new_tensor(np.empty(shape, self.loc.array.dtype)).uniform_(eps - 1, 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Uniform(Distribution):
    """1 / (high - low) from low to high"""

    has_rsample = True
    arg_constraints = {"low": "Dependent()", "high": "Dependent()"}                               # noqa: RUF012

    def __init__(self, low: Number, high: Number, validate_args: bool | None = None):
        self.low, self.high = _together(low, high)
        super().__init__(self.low.size())
        if validate_args is not False and not (self.low < self.high).all():
            raise ValueError("Uniform is not defined when low>= high")

    mean = property(lambda self: (self.high + self.low) / 2)
    variance = property(lambda self: (self.high - self.low).pow(2) / 12)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = random.rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        inside = (self.low.le(value) & self.high.gt(value)).type_as(self.low)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """rate exp(-rate x)"""

    has_rsample = True
    arg_constraints = {"rate": "GreaterThan(lower_bound=0.0)"}                                    # noqa: RUF012

    def __init__(self, rate: Number, validate_args: bool | None = None):
        self.rate, = _together(rate)
        super().__init__(self.rate.size())

    mean = stddev = property(lambda self: self.rate.reciprocal())
    variance = property(lambda self: self.rate.pow(-2))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return new_tensor(np.empty(shape, self.rate.array.dtype)).exponential_() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        return self.rate.log() - self.rate * value

    def entropy(self) -> Tensor:
        return 1.0 - self.rate.log()


class _when_asked(cached_property):
    """Computed at the first use, with its gradient, and from then on an attribute that repr shows."""

    def __get__(self, instance, owner=None):
        with enable_grad():
            return super().__get__(instance, owner)


def _one_of(probs, logits) -> None:
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def _keep_given(distribution: Distribution, probs: Number | None, logits: Number | None) -> Size:
    """Keep probs or logits, whichever is given, as a tensor; its size."""
    _one_of(probs, logits)
    name, given = ("probs", probs) if logits is None else ("logits", logits)
    given, = _together(given)
    setattr(distribution, name, given)
    return given.size()


def _clamped(probs: Tensor) -> Tensor:
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


class Bernoulli(Distribution):
    """1 with probability probs, else 0"""

    arg_constraints = {"probs": "Interval(lower_bound=0.0, upper_bound=1.0)", "logits": "Real()"}    # noqa: RUF012

    def __init__(self, probs: Number | None = None, logits: Number | None = None, validate_args: bool | None = None):
        super().__init__(_keep_given(self, probs, logits))
        if validate_args is not False and probs is not None:
            self._require("probs", self.probs, (self.probs >= 0) & (self.probs <= 1),
                          "Interval(lower_bound=0.0, upper_bound=1.0)")

    @_when_asked
    def logits(self) -> Tensor:
        return _clamped(self.probs).log() - (-_clamped(self.probs)).log1p()

    @_when_asked
    def probs(self) -> Tensor:
        return self.logits.sigmoid()

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return random.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        from ..nn.functional import binary_cross_entropy_with_logits
        logits, value = broadcast_tensors(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        from ..nn.functional import binary_cross_entropy_with_logits
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Categorical(Distribution):
    """An index into the last dimension of probs"""

    arg_constraints = {"probs": "Simplex()", "logits": "IndependentConstraint(Real(), 1)"}         # noqa: RUF012

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None):
        _one_of(probs, logits)
        given = probs if probs is not None else logits
        if given.dim() < 1:
            raise ValueError(f"`{'probs' if probs is not None else 'logits'}` parameter must be at least "
                             "one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits - logits.logsumexp(-1, keepdim=True)
        self._num_events = given.size(-1)
        super().__init__(given.size()[:-1])
        if validate_args is False:
            return
        if probs is not None:
            self._require("probs", self.probs, (self.probs >= 0).all(-1) & ((self.probs.sum(-1) - 1).abs() < 1e-6),
                          "Simplex()")
        else:
            self._require("logits", self.logits, self.logits == self.logits, "IndependentConstraint(Real(), 1)")

    @_when_asked
    def logits(self) -> Tensor:
        return _clamped(self.probs).log()

    @_when_asked
    def probs(self) -> Tensor:
        return self.logits.softmax(-1)

    param_shape = property(lambda self: self.__dict__.get("probs", self.__dict__.get("logits")).size())
    mode = property(lambda self: self.probs.argmax(-1))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        sample_shape = Size(sample_shape)
        with no_grad():
            rows = self.probs.reshape(-1, self._num_events)
            drawn = random.multinomial(rows, math.prod(sample_shape), True).T
            return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        index, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.logits.clamp(min=finfo(self.logits.dtype).min) * self.probs).sum(-1)


class OneHotCategorical(Distribution):
    """Categorical, its sample as a one-hot vector"""

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None):
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:])

    probs = mean = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        index = self._categorical.sample(sample_shape)
        return new_tensor(np.eye(self._event_shape[0], dtype=self.probs.array.dtype)[index.array])

    def log_prob(self, value: Tensor) -> Tensor:
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Tensor:
        return self._categorical.entropy()


class Independent(Distribution):
    """A distribution whose last batch dimensions belong to the event."""

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
                 validate_args: bool | None = None):
        shape, n = base_distribution.batch_shape, reinterpreted_batch_ndims
        if n > len(shape):
            raise ValueError("Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                             f"{n} vs {len(shape)}")
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, n
        super().__init__(shape[:len(shape) - n], shape[len(shape) - n:] + base_distribution.event_shape)
        self.has_rsample = base_distribution.has_rsample

    mean = property(lambda self: self.base_dist.mean)
    variance = property(lambda self: self.base_dist.variance)

    def _summed(self, x: Tensor) -> Tensor:
        n = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-n, 0))) if n else x

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._summed(self.base_dist.entropy())

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


# ---- Kullback and Leibler ---------------------------------------------------------------------------------------

_DIVERGENCES: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """A decorator for the divergence of two types of distributions."""
    def decorate(f: Callable) -> Callable:
        _DIVERGENCES[type_p, type_q] = f
        return f
    return decorate


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean of ln p - ln q over p."""
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _DIVERGENCES:
                return _DIVERGENCES[a, b](p, q)
    raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
                              f"{type(q).__name__}")


@register_kl(Normal, Normal)
def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    return (p.probs * (p.logits - q.logits)).sum(-1)


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    return (xlogy(p.probs, p.probs) - xlogy(p.probs, q.probs)
            + xlogy(1 - p.probs, 1 - p.probs) - xlogy(1 - p.probs, 1 - q.probs))


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    inside = (q.low <= p.low) & (q.high >= p.high)
    return ((q.high - q.low) / (p.high - p.low)).log().where(inside, math.inf)


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("the two distributions have events of different dimensions")
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
