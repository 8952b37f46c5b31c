"""Tensor: an array, its gradient, how it was made (graph.Variable), and torch's methods.

Here are the methods of autograd. The others stand at the end of the modules that define them, as mixins: each names,
in one place, which of its functions are methods.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable

from . import autograd, creation, graph, leaves, printing, random
from .composed import (
    conversion,
    decompositions,
    elementwise,
    index,
    inplace,
    joining,
    linalg,
    metadata,
    numeric,
    reduce,
    shape,
    systems,
)
from .graph import Variable, new_tensor
from .refusals import CROSSING, is_torchs, tensor_not
from .utils.hooks import RemovableHandle, add_hook


class Tensor(elementwise.Methods, reduce.Methods, shape.Methods, joining.Methods, index.Methods, linalg.Methods,
             inplace.Methods, metadata.Methods, conversion.Methods, creation.Methods, random.Methods, numeric.Methods,
             decompositions.Methods, systems.Methods, Variable):
    """A multi-dimensional array that remembers how it was computed."""

    __slots__ = ()
    __array_priority__ = 1000            # NumPy's operators let ours go first
    __hash__ = object.__hash__
    __repr__ = printing.tensor_repr
    __format__ = printing.tensor_format

    @classmethod
    def __torch_function__(cls, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
        """PyTorch's functions ask this before they refuse what is no tensor of theirs."""
        raise TypeError(f"{getattr(function, '__name__', function)}() of PyTorch wants a torch.Tensor, and was given a "
                        f"minigrad.{cls.__name__}: {CROSSING}")

    # ---- autograd -----------------------------------------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        if self._grad is None and self._node is not None and self._node.retain is None:
            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                          "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                          "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                          "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor "
                          "instead.", stacklevel=2)
        return leaves.looked_at(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is None:
            return leaves.forget_gradient(self)
        if not isinstance(value, Variable):
            raise TypeError(f"grad must be None or {tensor_not(value)}" if is_torchs(value) else
                            f"assigned grad expected to be a Tensor or None but got grad of type "
                            f"{type(value).__name__}")
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value.array.shape != self.array.shape:
            raise RuntimeError(f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                               f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same "
                               "size")
        if value.array.dtype != self.array.dtype:
            raise RuntimeError(f"attempting to assign a gradient with dtype '{value.dtype.alias}' to a tensor with "
                               f"dtype '{self.dtype.alias}'. Please ensure that the gradient and the tensor have "
                               "the same dtype")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        leaves.forget_gradient(self)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Tensor | list[Tensor] | None = None) -> None:
        """Accumulate the gradient of this tensor in the leaves it was made from."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory, without the history."""
        t = new_tensor(self.array)
        t._counter = self._counter
        return t

    def detach_(self) -> Tensor:
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using "
                               "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                               "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                               "these gradients. To fix this error, please refer to the Optimizer.zero_grad() function "
                               "in torch/optim/optimizer.py as a reference.")
        self._node, self._leaf = None, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, without history and without being watched: writes to it are not counted."""
        return new_tensor(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Variable):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._leaf and value.array.dtype.kind != "f":
            raise RuntimeError("data set to a tensor that requires gradients must be floating point")
        self.array = value.array

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in `.grad`, too."""
        node = self.grad_fn
        if node is not None:
            node.retain = weakref.ref(self)
        elif not self._leaf:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")

    @property
    def retains_grad(self) -> bool:
        return self._node is not None and self._node.retain is not None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call hook(gradient) when this tensor's gradient is complete; what it returns replaces the gradient."""
        node = self.grad_fn
        if node is None and not self._leaf:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        owner = self if node is None else node
        if owner.hooks is None:
            owner.hooks = {}
        return add_hook(owner.hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call hook(leaf) when its gradient has been accumulated."""
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if not self._leaf:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.post_hooks is None:
            self.post_hooks = {}
        return add_hook(self.post_hooks, hook)

    @property
    def _version(self) -> int:
        """How often this memory has been written to in place."""
        if self._counter is None:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._counter[0]

    @property
    def _base(self) -> Tensor | None:
        return self._view.base if self._view is not None else None

    def _is_view(self) -> bool:
        return self._view is not None

    def _write(self, values) -> Tensor:
        """Overwrite the values in place, as random numbers and initialisers do: nothing of it is differentiable."""
        return inplace.overwrite(self, values)


graph.Tensor = Tensor                    # the class of every op's result


def is_tensor(obj) -> bool:
    return isinstance(obj, Tensor)
