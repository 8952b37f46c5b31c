"""Gamma, Beta, Dirichlet and other distributions of positive numbers; normal vectors; mixtures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import creation, random
from ..composed.decompositions import _mT, cholesky, inv, solve_triangular
from ..composed.joining import stack
from ..composed.numeric import digamma, lgamma
from ..dtypes import finfo
from ..graph import Tensor, new_tensor
from ..modes import no_grad
from .common import (
    Categorical,
    Distribution,
    Laplace,
    Normal,
    Number,
    OneHotCategorical,
    _clamped,
    _keep_given,
    _together,
    _when_asked,
    kl_divergence,
    register_kl,
)
from .sampling import gamma, one_by_one, poisson

_POSITIVE = "GreaterThan(lower_bound=0.0)"


def _standard_normal(shape: Sequence[int], dtype) -> Tensor:
    return random.normal(creation.zeros(shape, dtype=dtype), creation.ones(shape, dtype=dtype))


class _Drawn(Distribution):
    """Distributions whose samples have no derivative here; torch knows one."""

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        if any(getattr(self, name).requires_grad for name in self._parameters):
            raise NotImplementedError(f"{type(self).__name__}.rsample: the derivative of samples is not here: use "
                                      "sample()")
        return self._draw(self._extended_shape(sample_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self._draw(self._extended_shape(sample_shape))


class Gamma(_Drawn):
    """rate^a x^(a - 1) exp(-rate x) / gamma(a), with a the concentration"""

    has_rsample = True
    arg_constraints = {"concentration": _POSITIVE, "rate": _POSITIVE}                             # noqa: RUF012
    _parameters = ("concentration", "rate")

    def __init__(self, concentration: Number, rate: Number, validate_args: bool | None = None):
        self.concentration, self.rate = _together(concentration, rate)
        super().__init__(self.concentration.size())
        if validate_args is not False:
            for name in self._parameters:
                self._require(name, getattr(self, name), getattr(self, name) > 0, _POSITIVE)

    mean = property(lambda self: self.concentration / self.rate)
    mode = property(lambda self: ((self.concentration - 1) / self.rate).clamp(min=0))
    variance = property(lambda self: self.concentration / self.rate.pow(2))

    def _draw(self, shape: Sequence[int]) -> Tensor:
        tiny = finfo(self.rate.dtype).tiny
        drawn = one_by_one(gamma, self.concentration.expand(shape)).clamp(min=tiny)
        return (drawn / self.rate.expand(shape)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        a, rate = self.concentration, self.rate
        return a.xlogy(rate) + (a - 1).xlogy(value) - rate * value - lgamma(a)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + lgamma(a) + (1.0 - a) * digamma(a)


class Chi2(Gamma):
    """The sum of the squares of df normal numbers"""

    arg_constraints = {"df": _POSITIVE}                                                           # noqa: RUF012

    def __init__(self, df: Number, validate_args: bool | None = None):
        df, half = _together(df, 0.5)
        super().__init__(0.5 * df, half, validate_args)

    df = property(lambda self: self.concentration * 2)


class Dirichlet(_Drawn):
    """Shares that add up to one: prod x_i^(a_i - 1) / B(a)"""

    has_rsample = True
    arg_constraints = {"concentration": f"IndependentConstraint({_POSITIVE}, 1)"}                 # noqa: RUF012
    _parameters = ("concentration",)

    def __init__(self, concentration: Tensor, validate_args: bool | None = None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:])
        if validate_args is not False:
            self._require("concentration", concentration, concentration > 0, self.arg_constraints["concentration"])

    mean = property(lambda self: self.concentration / self.concentration.sum(-1, True))

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def _draw(self, shape: Sequence[int]) -> Tensor:
        parts = np.maximum(one_by_one(gamma, self.concentration.expand(shape), float).array, np.finfo(float).tiny)
        shares, real = parts / parts.sum(-1, keepdims=True), self.concentration.array.dtype.type
        largest = np.nextafter(real(1), real(0))
        return new_tensor(np.clip(shares.astype(real), np.finfo(real).tiny, largest))

    def log_prob(self, value: Tensor) -> Tensor:
        a = self.concentration
        return (a - 1.0).xlogy(value).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a, k = self.concentration, self.concentration.size(-1)
        total = a.sum(-1)
        return (lgamma(a).sum(-1) - lgamma(total) - (k - total) * digamma(total) - ((a - 1.0) * digamma(a)).sum(-1))


class Beta(Distribution):
    """A share: x^(a - 1) (1 - x)^(b - 1) / B(a, b)"""

    has_rsample = True
    arg_constraints = {"concentration1": _POSITIVE, "concentration0": _POSITIVE}                  # noqa: RUF012

    def __init__(self, concentration1: Number, concentration0: Number, validate_args: bool | None = None):
        self._dirichlet = Dirichlet(stack(_together(concentration1, concentration0), -1), validate_args)
        super().__init__(self._dirichlet.batch_shape)

    concentration1 = property(lambda self: self._dirichlet.concentration[..., 0])
    concentration0 = property(lambda self: self._dirichlet.concentration[..., 1])
    mean = property(lambda self: self.concentration1 / (self.concentration1 + self.concentration0))

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._dirichlet.sample(sample_shape).select(-1, 0)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._dirichlet.log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()

    def __repr__(self) -> str:
        return "Beta()"


class StudentT(_Drawn):
    """A normal number over the root of a chi-squared one: with few degrees of freedom, far outliers"""

    has_rsample = True
    arg_constraints = {"df": _POSITIVE, "loc": "Real()", "scale": _POSITIVE}                      # noqa: RUF012
    _parameters = ("df",)

    def __init__(self, df: Number, loc: Number = 0.0, scale: Number = 1.0, validate_args: bool | None = None):
        self.df, self.loc, self.scale = _together(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size())

    mean = property(lambda self: self.loc.masked_fill(self.df <= 1, math.nan))
    mode = property(lambda self: self.loc)

    @property
    def variance(self) -> Tensor:
        usual = self.scale.pow(2) * self.df / (self.df - 2)
        return usual.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def _draw(self, shape: Sequence[int]) -> Tensor:
        x = _standard_normal(shape, self.df.dtype)
        chi2 = self._chi2._draw(shape)
        return self.loc + self.scale * (x * (chi2 / self.df).rsqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        y, df = (value - self.loc) / self.scale, self.df
        constant = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + lgamma(0.5 * df) - lgamma(
            0.5 * (df + 1.0))
        return -0.5 * (df + 1.0) * (y**2.0 / df).log1p() - constant

    def entropy(self) -> Tensor:
        df = self.df
        beta = lgamma(0.5 * df) + math.lgamma(0.5) - lgamma(0.5 * (1 + df))
        return self.scale.log() + 0.5 * (df + 1) * (digamma(0.5 * (df + 1)) - digamma(0.5 * df)) + 0.5 * df.log() + beta


class Poisson(Distribution):
    """rate^k exp(-rate) / k!"""

    arg_constraints = {"rate": "GreaterThanEq(lower_bound=0.0)"}                                  # noqa: RUF012

    def __init__(self, rate: Number, validate_args: bool | None = None):
        self.rate, = _together(rate)
        super().__init__(self.rate.size())
        if validate_args is not False:
            self._require("rate", self.rate, self.rate >= 0, self.arg_constraints["rate"])

    mean = variance = property(lambda self: self.rate)
    mode = property(lambda self: self.rate.floor())

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return one_by_one(poisson, self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return value.xlogy(self.rate) - self.rate - lgamma(value + 1)


class Geometric(Distribution):
    """How many failures there are before the first success"""

    arg_constraints = {"probs": "Interval(lower_bound=0.0, upper_bound=1.0)", "logits": "Real()"}   # noqa: RUF012

    def __init__(self, probs: Number | None = None, logits: Number | None = None, validate_args: bool | None = None):
        super().__init__(_keep_given(self, probs, logits))

    @_when_asked
    def logits(self) -> Tensor:
        p = _clamped(self.probs)
        return p.log() - (-p).log1p()

    @_when_asked
    def probs(self) -> Tensor:
        return self.logits.sigmoid()

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: creation.zeros_like(self.probs))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            shape = self._extended_shape(sample_shape)
            u = random.rand(shape, dtype=self.probs.dtype).clamp(min=finfo(self.probs.dtype).tiny)
            return (u.log() / (-self.probs.expand(shape)).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        return value * (-self.probs).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        from ..nn.functional import binary_cross_entropy_with_logits
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


class Gumbel(Distribution):
    """The largest of many numbers"""

    has_rsample = True
    arg_constraints = {"loc": "Real()", "scale": _POSITIVE}                                       # noqa: RUF012

    def __init__(self, loc: Number, scale: Number, validate_args: bool | None = None):
        self.loc, self.scale = _together(loc, scale)
        super().__init__(self.loc.size())

    mean = property(lambda self: self.loc + self.scale * np.euler_gamma)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: (math.pi / math.sqrt(6)) * self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        info = finfo(self.loc.dtype)
        u = random.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        u = info.tiny + u * ((1 - info.eps) - info.tiny)
        return self.loc - self.scale * (-u.log()).log()

    def log_prob(self, value: Tensor) -> Tensor:
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + np.euler_gamma)


class HalfNormal(Distribution):
    """|x| of a normal x around zero"""

    has_rsample = True
    arg_constraints = {"scale": _POSITIVE}                                                        # noqa: RUF012

    def __init__(self, scale: Number, validate_args: bool | None = None):
        self.base_dist = Normal(0, scale, validate_args)
        super().__init__(self.base_dist.batch_shape)

    scale = property(lambda self: self.base_dist.scale)
    mean = property(lambda self: self.scale * math.sqrt(2 / math.pi))
    variance = property(lambda self: self.scale.pow(2) * (1 - 2 / math.pi))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        return (self.base_dist.log_prob(value) + math.log(2)).where(value >= 0, -math.inf)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)

    def __repr__(self) -> str:
        return "HalfNormal()"


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """Samples are one-hot, and hand their gradients on to the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = self.probs
        return self.sample(sample_shape) + (probs - probs.detach())


class MultivariateNormal(Distribution):
    """Normal vectors, by their covariance, its inverse, or its Cholesky factor."""

    has_rsample = True
    arg_constraints = {"loc": "IndependentConstraint(Real(), 1)", "covariance_matrix": "PositiveDefinite()",  # noqa: RUF012
                       "precision_matrix": "PositiveDefinite()", "scale_tril": "LowerCholesky()"}

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix,
                 "scale_tril": scale_tril}
        given = {name: m for name, m in given.items() if m is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        (name, matrix), = given.items()
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = np.broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        self.loc = loc.expand(*batch, loc.shape[-1])
        self.__dict__[f"_{name}"] = matrix = matrix.expand(*batch, *matrix.shape[-2:])
        self._known = {name}                                 # which of the three forms repr shows
        super().__init__(batch, self.loc.shape[-1:])
        if validate_args is not False and name != "scale_tril":
            array = matrix.array
            sound = np.isclose(array, array.swapaxes(-1, -2), atol=1e-6).all((-2, -1))
            sound = sound & (np.linalg.eigvalsh(array) > 0).all(-1)
            self._require(name, matrix, new_tensor(np.asarray(sound)), "PositiveDefinite()")
        if name == "scale_tril":
            self._factor = matrix
        elif name == "covariance_matrix":
            self._factor = cholesky(matrix)
        else:                                                 # of P = R^T R with R upper, the inverse of R
            flipped = cholesky(matrix.flip((-2, -1)))
            upper = _mT(flipped.flip((-2, -1)))
            self._factor = solve_triangular(upper, creation.eye(loc.shape[-1], dtype=loc.dtype), upper=False)

    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: self._factor.pow(2).sum(-1).expand(self._batch_shape + self._event_shape))

    @property
    def scale_tril(self) -> Tensor:
        self._known.add("scale_tril")
        return self._factor

    @property
    def covariance_matrix(self) -> Tensor:
        self._known.add("covariance_matrix")
        given = self.__dict__.get("_covariance_matrix")
        return self._factor @ _mT(self._factor) if given is None else given

    @property
    def precision_matrix(self) -> Tensor:
        self._known.add("precision_matrix")
        given = self.__dict__.get("_precision_matrix")
        return inv(self._factor @ _mT(self._factor)) if given is None else given

    def __repr__(self) -> str:
        known = [name for name in self.arg_constraints if name in self._known]
        shown = [f"{name}: {_shown(getattr(self, name))}" for name in ("loc", *known)]
        return f"MultivariateNormal({', '.join(shown)})"

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        eps = _standard_normal(self._extended_shape(sample_shape), self.loc.dtype)
        return self.loc + (self._factor @ eps.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Tensor:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        away = (value - self.loc).unsqueeze(-1)
        factor = self._factor.expand(*away.shape[:-2], *self._factor.shape[-2:])
        distance = solve_triangular(factor, away, upper=False).squeeze(-1).pow(2).sum(-1)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self) -> Tensor:
        return 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()


def _shown(x: Tensor):
    return x if x.numel() == 1 else x.size()


class MixtureSameFamily(Distribution):
    """One of several distributions of a kind, which one by a Categorical"""

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution,
                 validate_args: bool | None = None):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        super().__init__(component_distribution.batch_shape[:-1], component_distribution.event_shape)

    mixture_distribution = property(lambda self: self._mixture_distribution)
    component_distribution = property(lambda self: self._component_distribution)

    def _beside(self, x: Tensor) -> Tensor:
        """The mixture's numbers, with as many dimensions as the components' events have."""
        return x.reshape(*x.shape, *(1,) * len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        return (self._beside(self._mixture_distribution.probs) * self._component_distribution.mean).sum(
            -1 - len(self._event_shape))

    @property
    def variance(self) -> Tensor:
        dim, probs = -1 - len(self._event_shape), self._beside(self._mixture_distribution.probs)
        within = (probs * self._component_distribution.variance).sum(dim)
        return within + (probs * (self._component_distribution.mean - self.mean.unsqueeze(dim)).pow(2)).sum(dim)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            which = self._mixture_distribution.sample(sample_shape)
            values = self._component_distribution.sample(sample_shape)
            dim = len(sample_shape) + len(self._batch_shape)
            index = which.reshape(*which.shape, 1, *(1,) * len(self._event_shape))
            index = index.expand(*which.shape, 1, *self._event_shape)
            return values.gather(dim, index).squeeze(dim)

    def log_prob(self, value: Tensor) -> Tensor:
        each = self._component_distribution.log_prob(value.unsqueeze(-1 - len(self._event_shape)))
        return (each + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"


# ---- Kullback and Leibler ---------------------------------------------------------------------------------------

@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Tensor:
    return (q.concentration * (p.rate / q.rate).log() + lgamma(q.concentration) - lgamma(p.concentration)
            + (p.concentration - q.concentration) * digamma(p.concentration)
            + (q.rate - p.rate) * (p.concentration / p.rate))


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Tensor:
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    return (lgamma(total) - lgamma(b.sum(-1)) - (lgamma(a) - lgamma(b)).sum(-1)
            + ((a - b) * (digamma(a) - digamma(total).unsqueeze(-1))).sum(-1))


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Poisson, Poisson)
def _poissons(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return kl_divergence(p._categorical, q._categorical)


@register_kl(MultivariateNormal, MultivariateNormal)
def _normal_vectors(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with\n                          different "
                         "event shapes cannot be computed")
    factor, away = q._factor, (q.loc - p.loc).unsqueeze(-1)
    spread = solve_triangular(factor, p._factor, upper=False).pow(2).sum((-2, -1))
    distance = solve_triangular(factor, away, upper=False).squeeze(-1).pow(2).sum(-1)
    return q._half_log_det() - p._half_log_det() + 0.5 * (spread + distance - p.event_shape[0])

