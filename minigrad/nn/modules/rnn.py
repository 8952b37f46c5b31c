"""Recurrent layers: RNN, LSTM and GRU, and their cells.

A step of a sequence takes the input's part of the gates, computed for all steps at once, and the state h (for LSTM
also c); what it makes of them is written down once for layers and cells, in _STEPS."""

from __future__ import annotations

import math
import warnings

from ...composed.joining import cat, stack
from ...graph import Tensor
from ...ops.elementwise import relu, sigmoid, tanh
from .. import functional as F
from ..init import uniform_
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .linear import uninitialised
from .module import Module

# ---- one step ---------------------------------------------------------------------------------------------------
# gates = W_ih x + b_ih comes in ready, `hidden` is W_hh h + b_hh; h (B, H), and c where there is one.


def _rnn_tanh(gates, hidden, h, c):
    return tanh(gates + hidden), c


def _rnn_relu(gates, hidden, h, c):
    return relu(gates + hidden), c


def _lstm(gates, hidden, h, c):
    """c' = f c + i g,  h' = o tanh(c')"""
    i, f, g, o = (gates + hidden).chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _gru(gates, hidden, h, c):
    """n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = n + z (h - n)"""
    (r, z, n), (hr, hz, hn) = gates.chunk(3, -1), hidden.chunk(3, -1)
    r, z = sigmoid(r + hr), sigmoid(z + hz)
    n = tanh(n + r * hn)
    return n + z * (h - n), c


_STEPS = {"RNN_TANH": _rnn_tanh, "RNN_RELU": _rnn_relu, "LSTM": _lstm, "GRU": _gru}
_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


# ---- layers -----------------------------------------------------------------------------------------------------

class RNNBase(Module):
    """Layers of recurrences over sequences (T, B, input), or (B, T, input) with batch_first, or packed."""

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device=None, dtype=None):
        super().__init__()
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element "
                             "being zeroed")
        if dropout > 0 and num_layers == 1:
            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                          f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                          stacklevel=3)
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        out, rows = proj_size or hidden_size, _GATES[mode] * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * (2 if bidirectional else 1)
            for suffix in ("", "_reverse") if bidirectional else ("",):
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
                shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values()):
                    setattr(self, name, uninitialised(shape, device, dtype))
                self._all_weights.append(names)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All uniform within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: the weights need not lie in one memory."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
                              ("dropout", 0), ("bidirectional", False)):
            value = getattr(self, name)
            shown += f", {name}={value}" if value != default else ""
        return shown

    def forward(self, input: Tensor | PackedSequence, hx=None):
        packed = isinstance(input, PackedSequence)
        x, batched = input.data if packed else input, True
        if not packed:
            if x.dim() not in (2, 3):
                raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {x.dim()}D instead")
            batched = x.dim() == 3
            if not batched:
                x = x.unsqueeze(1)
            elif self.batch_first:
                x = x.transpose(0, 1)
        if x.size(-1) != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                               f"{x.size(-1)}")
        lengths = input.batch_sizes.tolist() if packed else [x.size(1)] * x.size(0)
        order = input.sorted_indices if packed else None
        states = self._start(hx, x, lengths[0] if lengths else x.size(1), batched, order)
        steps = list(x.split(lengths)) if packed else None
        out, last = self._layers(x, steps, lengths, states)
        last = [s if batched else s.squeeze(1) for s in last]
        if packed:
            if input.unsorted_indices is not None:
                last = [s.index_select(1, input.unsorted_indices) for s in last]
            out = PackedSequence(out, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        elif not batched:
            out = out.squeeze(1)
        elif self.batch_first:
            out = out.transpose(0, 1)
        return out, tuple(last) if self.mode == "LSTM" else last[0]

    def _start(self, hx, x: Tensor, batch: int, batched: bool, order: Tensor | None) -> list[Tensor]:
        """The states at the start, (layers x directions, B, H): given, or zero."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.mode == "LSTM")
        if hx is None:
            return [x.new_zeros(count, batch, size) for size in sizes]
        states = list(hx) if self.mode == "LSTM" else [hx]
        for i, (state, size) in enumerate(zip(states, sizes)):
            if state.dim() != (3 if batched else 2):
                raise RuntimeError(f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, hx should also be "
                                   f"{3 if batched else 2}-D but got {state.dim()}-D tensor")
            state = state if batched else state.unsqueeze(1)
            if tuple(state.shape) != (count, batch, size):
                what = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(f"Expected {what} size {(count, batch, size)}, got {list(state.shape)}")
            states[i] = state if order is None else state.index_select(1, order)
        return states

    def _layers(self, x: Tensor, steps: list | None, lengths: list[int], states: list[Tensor]):
        """All layers, one after the other. x is (T, B, F), or for packed sequences (all elements, F) with its steps."""
        directions, packed, ends = 2 if self.bidirectional else 1, steps is not None, []
        for layer in range(self.num_layers):
            outs = []
            for d in range(directions):
                k = layer * directions + d
                out, end = self._direction(x, self._all_weights[k], [s[k] for s in states], lengths, packed, d == 1)
                outs.append(cat(out) if packed else stack(out) if out else x.new_zeros(
                    0, states[0].size(1), states[0].size(2)))
                ends.append(end)
            x = outs[0] if directions == 1 else cat(outs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [stack([end[i] for end in ends]) for i in range(len(states))]

    def _direction(self, x: Tensor, names: list[str], state: list[Tensor], lengths: list[int], packed: bool,
                   backwards: bool) -> tuple[list[Tensor], list[Tensor]]:
        """One direction of one layer: the outputs step by step, and each sequence's last state. Of packed sequences
        forwards the shorter ones end early; backwards they start late."""
        weights = {name.partition("_l")[0]: getattr(self, name) for name in names}
        gates = F.linear(x, weights["weight_ih"], weights.get("bias_ih"))
        gates = gates.split(lengths) if packed else gates.unbind(0)
        project = weights.get("weight_hr")
        step, recur, bias = _STEPS[self.mode], weights["weight_hh"], weights.get("bias_hh")
        start, ended, outputs = state, [], [None] * len(lengths)
        if backwards and lengths:
            state = [s[:lengths[-1]] for s in start]
        for t in reversed(range(len(lengths))) if backwards else range(len(lengths)):
            going, now = lengths[t], state[0].size(0)
            if going < now:
                ended.append([s[going:] for s in state])
                state = [s[:going] for s in state]
            elif going > now:
                state = [cat([s, first[now:going]]) for s, first in zip(state, start)]
            h, c = step(gates[t], F.linear(state[0], recur, bias), state[0], state[-1])
            if project is not None:
                h = F.linear(h, project)
            state = [h, c][:len(state)]
            outputs[t] = h
        whole = [state, *reversed(ended)]
        return outputs, [cat([part[i] for part in whole]) if ended else state[i] for i in range(len(state))]


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu"""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device=None, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """c' = f c + i g,  h' = o tanh(c'), with the gates i, f, g, o in this order in the weights"""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device=None, dtype=None):
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         proj_size, device, dtype)


class GRU(RNNBase):
    """h' = (1 - z) n + z h, with the gates r, z, n in this order in the weights"""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device=None, dtype=None):
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         device=device, dtype=dtype)


# ---- cells ------------------------------------------------------------------------------------------------------

class RNNCellBase(Module):
    """One step of a recurrence."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = uninitialised((rows, input_size), device, dtype)
        self.weight_hh = uninitialised((rows, hidden_size), device, dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, uninitialised((rows,), device, dtype) if bias else None)
        self.reset_parameters()

    reset_parameters = RNNBase.reset_parameters

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}" + (f", bias={self.bias}" if self.bias is not True else "")
        kind = getattr(self, "nonlinearity", "tanh")
        return shown + (f", nonlinearity={kind}" if kind != "tanh" else "")

    def _step(self, mode: str, input: Tensor, states: list[Tensor | None]) -> list[Tensor]:
        if input.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        h, c = [x.new_zeros(x.size(0), self.hidden_size) if s is None else s if batched else s.unsqueeze(0)
                for s in states]
        out = _STEPS[mode](F.linear(x, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh), h, c)
        return [s if batched else s.squeeze(0) for s in out]


class RNNCell(RNNCellBase):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device=None,
                 dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, [hx, hx])[0]


class LSTMCell(RNNCellBase):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return tuple(self._step("LSTM", input, [None, None] if hx is None else list(hx)))


class GRUCell(RNNCellBase):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, [hx, hx])[0]
