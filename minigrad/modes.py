"""Whether operations are recorded: no_grad, enable_grad, set_grad_enabled, inference_mode. One state per thread."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import wraps

import numpy as np


class _Mode(threading.local):
    grad = True              # record what is computed
    inference = False        # record nothing, ever: results cannot enter a graph later
    anomaly = None           # None, or (in anomaly detection) whether a NaN gradient is an error
    pack = unpack = None     # what saved_tensors_hooks put around saved values
    watched = True           # whether writes in place to packed values are noticed
    no_packing = None        # the message of disable_saved_tensors_hooks
    init = True              # layers draw their weights
    side = None              # in a walk: what it has put aside (kernels/blocks.py), in a list of at most one Side


mode = _Mode()


class Settings:
    """A context manager that sets fields of `mode`, and puts the former values back. It may be entered again while
    it is entered, and it decorates functions and generators (which run inside, and yield outside)."""

    def __init__(self, **settings):
        self._settings, self._former = settings, []

    def __enter__(self):
        self._former.append({name: getattr(mode, name) for name in self._settings})
        for name, value in self._settings.items():
            setattr(mode, name, value)
        return self

    def __exit__(self, *exc):
        for name, value in self._former.pop().items():
            setattr(mode, name, value)

    def __call__(self, f: Callable) -> Callable:
        if isinstance(f, type):
            raise TypeError(f"{type(self).__name__} decorates functions: decorate the methods of class {f.__name__}")
        if inspect.isgeneratorfunction(f):
            return self._generator(f)

        @wraps(f)
        def decorated(*args, **kwargs):
            with Settings(**self._settings):
                return f(*args, **kwargs)
        return decorated

    def _generator(self, f: Callable) -> Callable:
        @wraps(f)
        def decorated(*args, **kwargs):
            inner, inside = f(*args, **kwargs), Settings(**self._settings)
            resume, value = inner.send, None
            try:
                while True:
                    with inside:
                        item = resume(value)
                    try:
                        resume, value = inner.send, (yield item)
                    except GeneratorExit:
                        with inside:
                            inner.close()
                        raise
                    except BaseException as error:
                        resume, value = inner.throw, error
            except StopIteration as stop:
                return stop.value
        return decorated


class _BareDecorator(Settings):
    """Settings without arguments: `@no_grad` decorates as `@no_grad()` does."""

    def __new__(cls, orig_func: Callable | None = None):
        return super().__new__(cls) if orig_func is None else cls()(orig_func)


class no_grad(_BareDecorator):
    """Nothing computed inside is recorded."""

    def __init__(self):
        super().__init__(grad=False)


class enable_grad(_BareDecorator):
    """What is computed inside is recorded, also within no_grad."""

    def __init__(self):
        super().__init__(grad=True)


class inference_mode(Settings):
    """no_grad for good: tensors made inside never take part in a graph."""

    def __new__(cls, mode=True):
        return cls()(mode) if callable(mode) else super().__new__(cls)

    def __init__(self, mode: bool = True):
        super().__init__(grad=not mode, inference=bool(mode))


class set_grad_enabled(Settings):
    """Acts at once, as a function does; as a context manager it puts the mode back that was before the call."""

    def __init__(self, mode: bool):
        super().__init__(grad=bool(mode))
        super().__enter__()

    def __enter__(self):
        return self

    def __call__(self, f: Callable) -> Callable:
        self.__exit__()
        return super().__call__(f)


def is_grad_enabled() -> bool:
    return mode.grad


def is_inference_mode_enabled() -> bool:
    return mode.inference


# ---- NumPy's warnings -------------------------------------------------------------------------------------------

# torch computes 1/0 and overflows in silence, and so do we. np.errstate does that, but costs more than adding 64
# numbers; what it sets is a context variable, which we set directly where this NumPy has it by that name.
try:
    from numpy._core.umath import _extobj_contextvar, _make_extobj
    _SILENT, _set, _reset = _make_extobj(all="ignore"), _extobj_contextvar.set, _extobj_contextvar.reset

    def quietly(f: Callable, *args):
        """f(*args) without NumPy's warnings; and what is too large for memory is a RuntimeError, as in torch."""
        token = _set(_SILENT)
        try:
            return f(*args)
        except MemoryError as error:
            raise RuntimeError(f"not enough memory: {error}") from None
        finally:
            _reset(token)

    class Quiet:
        """The same for a block of code."""

        __slots__ = ("_token",)

        def __enter__(self):
            self._token = _set(_SILENT)

        def __exit__(self, kind, error, trace):
            _reset(self._token)
            if kind is not None and issubclass(kind, MemoryError):
                raise RuntimeError(f"not enough memory: {error}") from None
except ImportError:                                            # pragma: no cover (another NumPy)
    def Quiet():
        return np.errstate(all="ignore")

    def quietly(f: Callable, *args):
        with Quiet():
            return f(*args)
