"""minigrad in torch's place: after `as_torch()`, `import torch` gives minigrad.

A finder before all others answers every import of `torch` or of `torch.x.y` with a facade: a module that shows the
names of the minigrad modules in the table below, and those of minigrad/standin/torch/x/y.py, where that file exists.
Those files hold what only scripts ask for: what a machine has, compilers that do not compile, older names.

Nothing in here is imported until it is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from importlib.util import find_spec
from types import ModuleType

from .. import __file__ as _front_door
from .torch.version import __version__ as VERSION

HINT = "minigrad stands in torch's place here, and does not have it: `python -m minigrad --list` shows what it has"

# torch's modules, and where minigrad has their names. A module with a file in standin/torch/ need not stand here.
MODULES = {
    "torch": "",
    "torch._tensor": "tensor",
    "torch.autograd": "autograd",
    "torch.autograd.function": "function",
    "torch.autograd.grad_mode": "modes",
    "torch.autograd.graph": "saved_hooks",
    "torch.backends": "backends",
    "torch.cuda": "cuda",
    "torch.distributions": "distributions",
    **{f"torch.distributions.{name}": "distributions" for name in (
        "bernoulli", "beta", "categorical", "chi2", "dirichlet", "distribution", "exponential", "gamma", "geometric",
        "gumbel", "half_normal", "independent", "kl", "laplace", "log_normal", "mixture_same_family",
        "multivariate_normal", "normal", "one_hot_categorical", "poisson", "studentT", "transformed_distribution",
        "uniform")},
    "torch.distributions.transforms": "distributions.transforms",
    "torch.functional": "",
    "torch.linalg": "linalg",
    "torch.nn": "nn",
    "torch.nn.functional": "nn.functional",
    "torch.nn.init": "nn.init",
    "torch.nn.modules": "nn.modules",
    "torch.nn.modules.activation": "nn.modules.activation",
    "torch.nn.modules.batchnorm": "nn.modules.batchnorm",
    "torch.nn.modules.container": "nn.modules.container",
    "torch.nn.modules.channelshuffle": "nn.modules.image",
    "torch.nn.modules.conv": "nn.modules.conv",
    "torch.nn.modules.distance": "nn.modules.loss",
    "torch.nn.modules.dropout": "nn.modules.dropout",
    "torch.nn.modules.flatten": "nn.modules.shape",
    "torch.nn.modules.fold": "nn.modules.image",
    "torch.nn.modules.instancenorm": "nn.modules.instancenorm",
    "torch.nn.modules.lazy": "nn.modules.lazy",
    "torch.nn.modules.linear": "nn.modules.linear",
    "torch.nn.modules.loss": "nn.modules.loss",
    "torch.nn.modules.module": "nn.modules.module",
    "torch.nn.modules.normalization": "nn.modules.normalization",
    "torch.nn.modules.padding": "nn.modules.padding",
    "torch.nn.modules.pixelshuffle": "nn.modules.image",
    "torch.nn.modules.pooling": "nn.modules.pooling",
    "torch.nn.modules.rnn": "nn.modules.rnn",
    "torch.nn.modules.sparse": "nn.modules.sparse",
    "torch.nn.modules.transformer": "nn.modules.transformer",
    "torch.nn.modules.upsampling": "nn.modules.image",
    "torch.nn.parameter": "nn.parameter",
    "torch.nn.utils": "nn.utils",
    "torch.nn.utils.clip_grad": "nn.utils.clip_grad",
    "torch.nn.utils.convert_parameters": "nn.utils.convert_parameters",
    "torch.nn.utils.init": "nn.utils.init",
    "torch.nn.utils.parametrizations": "nn.utils.parametrizations",
    "torch.nn.utils.parametrize": "nn.utils.parametrize",
    "torch.nn.utils.prune": "nn.utils.prune",
    "torch.nn.utils.rnn": "nn.utils.rnn",
    "torch.nn.utils.spectral_norm": "nn.utils.spectral_norm",
    "torch.nn.utils.stateless": "nn.utils.stateless",
    "torch.nn.utils.weight_norm": "nn.utils.weight_norm",
    "torch.optim": "optim",
    "torch.optim.adadelta": "optim.adaptive",
    "torch.optim._adafactor": "optim.newer",
    "torch.optim._muon": "optim.newer",
    "torch.optim.asgd": "optim.newer",
    "torch.optim.adagrad": "optim.adaptive",
    "torch.optim.adam": "optim.adam",
    "torch.optim.adamax": "optim.adaptive",
    "torch.optim.adamw": "optim.adam",
    "torch.optim.lbfgs": "optim.lbfgs",
    "torch.optim.lr_scheduler": "optim.lr_scheduler",
    "torch.optim.nadam": "optim.adaptive",
    "torch.optim.optimizer": "optim.optimizer",
    "torch.optim.radam": "optim.adaptive",
    "torch.optim.rmsprop": "optim.adaptive",
    "torch.optim.rprop": "optim.adaptive",
    "torch.optim.sgd": "optim.sgd",
    "torch.optim.swa_utils": "optim.swa_utils",
    "torch.random": "random",
    "torch.return_types": "composed.return_types",
    "torch.serialization": "serialization",
    "torch.testing": "testing",
    "torch.utils": "utils",
    "torch.utils.checkpoint": "utils.checkpoint",
    "torch.utils.data": "utils.data",
    "torch.utils.data.dataloader": "utils.data.dataloader",
    "torch.utils.data.dataset": "utils.data.dataset",
    "torch.utils.data.sampler": "utils.data.sampler",
    "torch.utils.hooks": "utils.hooks",
}

# Where torch says that a class lives, for `print(type(x))`. Other classes live in the module that shows their file.
_HOMES = {
    **{name: f"torch.optim.{name.lower()}" for name in ("Adadelta", "Adagrad", "AdamW", "Adamax", "NAdam", "RAdam",
                                                        "RMSprop", "Rprop")},
    "ASGD": "torch.optim.asgd", "Adafactor": "torch.optim", "Muon": "torch.optim",
    "RReLU": "torch.nn.modules.activation", "MultiLabelMarginLoss": "torch.nn.modules.loss",
    **{name: f"torch.distributions.{name.lower()}" for name in (
        "Bernoulli", "Beta", "Categorical", "Chi2", "Dirichlet", "Distribution", "Exponential", "Gamma", "Geometric",
        "Gumbel", "Independent", "Laplace", "Normal", "Poisson", "Uniform")},
    "HalfNormal": "torch.distributions.half_normal", "LogNormal": "torch.distributions.log_normal",
    "MixtureSameFamily": "torch.distributions.mixture_same_family", "StudentT": "torch.distributions.studentT",
    "MultivariateNormal": "torch.distributions.multivariate_normal",
    **{f"OneHotCategorical{rest}": "torch.distributions.one_hot_categorical" for rest in ("", "StraightThrough")},
    "TransformedDistribution": "torch.distributions.transformed_distribution",
    **{f"Lazy{name}{n}d": f"torch.nn.modules.{name.lower().removesuffix('transpose')}" for n in (1, 2, 3)
       for name in ("BatchNorm", "Conv", "ConvTranspose", "InstanceNorm")},
    "LazyLinear": "torch.nn.modules.linear",
    "CosineSimilarity": "torch.nn.modules.distance",
    "PairwiseDistance": "torch.nn.modules.distance", "Embedding": "torch.nn.modules.sparse",
    "ChannelShuffle": "torch.nn.modules.channelshuffle", "Fold": "torch.nn.modules.fold",
    "Unfold": "torch.nn.modules.fold", "PixelShuffle": "torch.nn.modules.pixelshuffle",
    "PixelUnshuffle": "torch.nn.modules.pixelshuffle",
}
_FILES = {
    **{f"minigrad.{ours}": torchs for torchs, ours in MODULES.items() if ours},
    "minigrad.tensor": "torch", "minigrad.size": "torch", "minigrad.dtypes": "torch", "minigrad.creation": "torch",
    "minigrad.legacy": "torch", "minigrad.generator": "torch._C",
    "minigrad.distributions.common": "torch.distributions",
    "minigrad.nn.modules.gates": "torch.nn.modules.activation", "minigrad.nn.modules.lazy": "torch.nn.modules.lazy",
    "minigrad.nn.modules.rare": "torch.nn.modules.pooling", "minigrad.nn.modules.loss": "torch.nn.modules.loss",
    "minigrad.nn.modules.margin": "torch.nn.modules.loss", "minigrad.optim.adam": "torch.optim.adam",
}


_residents: dict[tuple[str, str], type] = {}      # classes that say they live in a module, and lie in another's file


class Facade(ModuleType):
    """A module of torch's, with the names of some modules of minigrad's: they are here, or come when asked for."""

    def __init__(self, name: str, sources: list[ModuleType]):
        super().__init__(name, sources[0].__doc__)
        self.__dict__["_sources"] = sources
        for source in reversed(sources):                    # the first one's names win
            for key, value in vars(source).items():
                if not key.startswith("__") and not isinstance(value, ModuleType) or key == "__version__":
                    self.__dict__[key] = _shown(value)
        listed = [n for source in sources for n in getattr(source, "__all__", ())]
        if listed and all(hasattr(source, "__all__") for source in sources):
            self.__dict__["__all__"] = listed

    def __getattr__(self, name: str):
        if not name.startswith("__"):
            if is_known(f"{self.__name__}.{name}"):
                return import_module(f"{self.__name__}.{name}")
            for source in self._sources:
                value = getattr(source, name, None)
                if value is not None and not isinstance(value, ModuleType):
                    self.__dict__[name] = _shown(value)
                    return value
            if (self.__name__, name) in _residents:
                return _residents[self.__name__, name]
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}: {HINT}", name=name, obj=self)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        names = {n for source in self._sources for n in dir(source)
                 if not isinstance(getattr(source, n, None), ModuleType)}
        modules = {m.removeprefix(f"{self.__name__}.") for m in known_modules() if m.startswith(f"{self.__name__}.")}
        own = {n for n in self.__dict__ if n != "_sources"}
        return sorted({n for n in names | own if not n.startswith("__")} | {m for m in modules if "." not in m})


def _shown(value):
    """A class, from now on, says that it lives where torch has it: `print(type(x))` shows <class 'torch.Tensor'>."""
    if isinstance(value, type) and value.__module__.startswith("minigrad."):
        home = _HOMES.get(value.__name__) or _FILES.get(value.__module__)
        if home:
            value.__module__ = home
            _residents[home, value.__name__] = value
        elif value.__module__.startswith(f"{__name__}.torch"):
            value.__module__ = value.__module__.removeprefix(f"{__name__}.")
    return value


# ---- which modules there are ------------------------------------------------------------------------------------

def known_modules() -> list[str]:
    """Every module of torch's that can be imported here."""
    from pathlib import Path
    folder = Path(__file__).parent
    files = {".".join(f.relative_to(folder).with_suffix("").parts) for f in folder.glob("torch/**/*.py")}
    return sorted({*MODULES, *(f.removesuffix(".__init__") for f in files)})


def is_known(name: str) -> bool:
    return name in MODULES or _own(name)


def _own(name: str) -> bool:
    """Whether standin/torch/ has a file for this module."""
    try:
        return find_spec(f"{__name__}.{name}") is not None
    except ModuleNotFoundError:                         # of what is a file, and no folder
        return False


def _sources(name: str) -> list[ModuleType]:
    sources = [import_module(f"{__name__}.{name}")] if _own(name) else []
    if name in MODULES:
        sources.append(import_module(f"minigrad.{MODULES[name]}".rstrip(".")))
    return sources


class _Finder(DistributionFinder):
    """Finds torch and its modules, and the record of its installation, which tells `importlib.metadata` a version."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != "torch" and not name.startswith("torch."):
            return None
        if not is_known(name):
            raise ModuleNotFoundError(f"No module named {name!r}: {HINT}", name=name)
        spec = ModuleSpec(name, self, origin=_front_door, is_package=True)
        spec.has_location = name == "torch"             # the others show __file__ only where they have one
        return spec

    def create_module(self, spec: ModuleSpec) -> Facade:
        return Facade(spec.name, _sources(spec.name))

    def exec_module(self, module: Facade) -> None:
        pass

    def find_distributions(self, context=DistributionFinder.Context()) -> list[Distribution]:     # noqa: B008
        return [_Installed()] if context.name == "torch" else []


class _Installed(Distribution):
    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path):
        raise FileNotFoundError(path)


_finder = _Finder()


def as_torch() -> ModuleType:
    """From now on, in this process, `import torch` gives minigrad; so does the import of torch's modules.

    Call it before the first import of torch: a process has one torch."""
    loaded = sys.modules.get("torch")
    if isinstance(loaded, Facade):
        return loaded
    if loaded is not None or any(name.startswith("torch.") for name in sys.modules):
        version = getattr(loaded, "__version__", "some version")
        raise RuntimeError(f"torch {version} is loaded in this process already, and minigrad cannot take its place any "
                           "more: call minigrad.as_torch() before anything imports torch, or run the program by "
                           "`python -m minigrad`")
    sys.meta_path.insert(0, _finder)
    torch = import_module("torch")
    torch.Tensor.__getattr__ = _no_such_attribute
    for module in ("return_types", "torch_version"):           # their classes are met without their names
        import_module(f"torch.{module}")
    return torch


def _no_such_attribute(tensor, name: str):
    """What a tensor says of a name that it has not."""
    text = f"{type(tensor).__name__!r} object has no attribute {name!r}"
    raise AttributeError(text if name.startswith("_") else f"{text}: {HINT}")


def load_ipython_extension(ipython) -> None:
    """%load_ext minigrad, in a notebook's first cell."""
    as_torch()


def listing() -> str:
    """torch's names that are here: module by module, then the methods of Tensor and Module."""
    import textwrap
    torch = as_torch()
    parts, told = [], set()

    def tell(title: str, names: list[str]) -> None:
        parts.append(title + "\n" + textwrap.fill(" ".join(names), 118, initial_indent="  ", subsequent_indent="  ",
                                                  break_on_hyphens=False, break_long_words=False))

    for module in sorted(known_modules(), key=lambda name: (name.count("."), name)):
        facade = import_module(module)
        new = {name: id(getattr(facade, name)) for name in _public(facade)}
        names = [name for name, what in new.items() if module.count(".") < 2 or (name, what) not in told]
        told |= set(new.items())
        if names:
            tell(module, names)
    for cls in (torch.Tensor, torch.nn.Module):
        tell("torch." + "nn." * (cls is not torch.Tensor) + cls.__name__, [n for n in dir(cls) if n[0] != "_"])
    tell("modules", known_modules())
    return "\n\n".join(parts)


def _public(facade: Facade) -> list[str]:
    """What a module shows on purpose: what it lists in __all__, or else has no underscore and is torch's."""
    names = {n for source in facade._sources for n in getattr(source, "__all__", None) or dir(source)
             if not n.startswith("_")}
    missing = facade                                          # a module that is minigrad's own, such as its kernels
    return sorted(n for n in names if not isinstance(value := getattr(facade, n, missing), ModuleType)
                  and (getattr(value, "__module__", None) or "torch").partition(".")[0] in ("minigrad", "torch"))
