"""repr and format of minigrad's tensors against torch's, character for character."""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import dtypes, printing
from minigrad.tensor import Tensor


def both(array):
    """The same values as minigrad's tensor and as torch's."""
    return Tensor(array), torch.from_numpy(array)


class Parameter(Tensor):
    __repr__ = printing.parameter_repr


FLOATS = [np.float16, np.float32, np.float64]
EXACT = [np.uint8, np.int8, np.int16, np.int32, np.int64, np.bool_]

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0]
# On either side of what decides the style: 1e-4, 1e8, a ratio of 1000, and rounding that lengthens a number.
NOTABLE = [1.0, 1000.0, 1001.0, -1.5, 1e-4, 9.9e-5, 1e8, 1.1e8, 9.99996, 99999.99, -0.00004]

# The longest side of arrays of 0 to 5 dimensions. The long ones cross the default threshold of 1000 elements.
SHORT = (0, 40, 8, 5, 3, 2)
LONG = (0, 1200, 60, 12, 7, 5)


@contextlib.contextmanager
def in_both(options, default_dtype="float32"):
    """The same print options and default dtype in torch and in minigrad."""
    torch.set_default_dtype(getattr(torch, default_dtype))
    dtypes.set_default_dtype(getattr(dtypes, default_dtype))
    try:
        with torch._tensor_str.printoptions(**options), printing.printoptions(**options):
            yield
    finally:
        torch.set_default_dtype(torch.float32)
        dtypes.set_default_dtype(dtypes.float32)


print_options = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["default", "short", "full"]),
        "precision": st.integers(0, 9),
        "threshold": st.sampled_from([0, 1, 5, 20, 1000, math.inf]),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.integers(1, 140),
        "sci_mode": st.sampled_from([True, False, None]),
    },
)
default_dtypes = st.sampled_from(["float32", "float32", "float64", "float16"])


@st.composite
def pools(draw, dtype):
    """A few values of one family: were all mixed, nearly every tensor would print in scientific notation."""
    whole = st.integers(-2000, 2000).map(float)
    mild = st.floats(-100, 100, width=16)
    special, notable = st.sampled_from(SPECIAL), st.sampled_from(NOTABLE)
    families = [whole, whole | special, mild, mild | special, mild | notable, notable, special, hnp.from_dtype(dtype)]
    family = draw(st.sampled_from(families)) if dtype.kind == "f" else hnp.from_dtype(dtype)
    with np.errstate(over="ignore"):  # a float16 1e8 is inf
        return np.array(draw(st.lists(family, min_size=1, max_size=12))).astype(dtype)


@st.composite
def arrays(draw, dtypes=(*FLOATS, *FLOATS, *EXACT)):
    """Arrays of 0 to 5 dimensions, filled from a pool of values; some have no elements, some are strided."""
    ndim = draw(st.integers(0, 5))
    longest = draw(st.sampled_from([SHORT, SHORT, LONG]))[ndim]
    shape = draw(st.tuples(*[st.integers(draw(st.sampled_from([0, 1, 1])), longest)] * ndim))
    pool = draw(pools(np.dtype(draw(st.sampled_from(dtypes)))))
    array = np.asarray(np.random.default_rng(draw(st.integers(0, 9))).choice(pool, shape))
    return array.T if draw(st.booleans()) else array


@given(arrays(), print_options, default_dtypes)
def test_values(array, options, default_dtype):
    ours, theirs = both(array)
    with in_both(options, default_dtype):
        assert repr(ours) == repr(theirs)


@given(arrays())
def test_values_with_default_options(array):
    ours, theirs = both(array)
    assert repr(ours) == repr(theirs)


def written_through_a_view(x):
    x.unsqueeze(0).mul_(1)
    return x


DERIVATIONS = {
    "leaf": lambda x: x,
    "clone": lambda x: x.clone(),
    "mul": lambda x: x * 1,
    "flatten": lambda x: x.reshape(-1),
    "transpose": lambda x: x.unsqueeze(0).transpose(0, -1),
    "CopySlices": lambda x: written_through_a_view(x.clone()),
}


@given(arrays(FLOATS), print_options, default_dtypes, st.sampled_from(list(DERIVATIONS)))
def test_history(array, options, default_dtype, derivation):
    """requires_grad=True or grad_fn=<...> stands after dtype=..., and on a line of its own where that is full."""
    ours, theirs = (DERIVATIONS[derivation](x.requires_grad_()) for x in both(array))
    with in_both(options, default_dtype):
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("n", [0, 1, 6, 13])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_the_line_breaks(n, dtype):
    leaf, their_leaf = (x.requires_grad_() for x in both(np.ones(n, dtype)))
    pairs = [(leaf, their_leaf), (leaf.clone(), their_leaf.clone()), (leaf.unsqueeze(1), their_leaf.unsqueeze(1))]
    for ours, theirs in pairs:
        for linewidth in range(20, 100):
            with in_both({"linewidth": linewidth}):
                assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("sci_mode", [True, False, None])
def test_where_scientific_notation_begins(sci_mode):
    for whole in (0.0, 0.5):
        for least, most in [(1e-4, 1e-2), (1.0, 1e3), (2.0**-10, 1.0), (2.5, 2500.0), (1e6, 1e8), (1e-4, 1e8)]:
            for a in (np.nextafter(least, 0), least, np.nextafter(least, 1e9)):
                for b in (np.nextafter(most, 0), most, np.nextafter(most, 1e9), 0.0, math.inf, math.nan):
                    ours, theirs = both(np.array([-a, b, whole]))
                    with in_both({"sci_mode": sci_mode}):
                        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 1, 1), (4, 0)])
@pytest.mark.parametrize("edgeitems", [0, 1])
def test_summaries_of_next_to_nothing(shape, edgeitems):
    ours, theirs = both(np.ones(shape, np.float32))
    for threshold in (0, 1, 10):
        with in_both({"edgeitems": edgeitems, "threshold": threshold}):
            assert repr(ours) == repr(theirs)


@given(st.lists(print_options, max_size=3))
def test_options(calls):
    """Each call changes what it is given, and sci_mode always."""
    before = printing.get_printoptions()
    with in_both({}):
        for call in calls:
            torch.set_printoptions(**call)
            printing.set_printoptions(**call)
            assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions() == before


def test_options_are_restored_after_an_error():
    before = printing.get_printoptions()
    with pytest.raises(ZeroDivisionError), printing.printoptions(precision=1, sci_mode=True):
        1 / 0  # noqa: B018
    assert printing.get_printoptions() == before


def test_a_huge_tensor_prints_at_once():
    """Eight terabytes, were all of it read; and values that do not show have no say in the style."""
    shape = (10**6, 2 * 10**6)
    assert repr(Tensor(np.broadcast_to(np.float32(0.5), shape))) == repr(torch.tensor(0.5).expand(shape))
    hidden = np.ones(2000, np.float32)
    hidden[1000] = 1e-30
    ours, theirs = both(hidden)
    assert repr(ours) == repr(theirs) == "tensor([1., 1., 1.,  ..., 1., 1., 1.])"


@given(st.sampled_from([*FLOATS, *EXACT]).flatmap(lambda dtype: pools(np.dtype(dtype))), st.booleans())
def test_format_of_a_number(pool, tracked):
    ours, theirs = (x.requires_grad_(tracked and pool.dtype.kind == "f") for x in both(pool[:1].reshape(())))
    for spec in ("", ".3f", "10", ">+8.2e", "d", "x", "nonsense"):
        try:
            expected = format(theirs, spec)
        except ValueError as error:
            with pytest.raises(ValueError) as our_error:
                format(ours, spec)
            assert str(our_error.value) == str(error)
        else:
            assert format(ours, spec) == expected


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        both(np.ones(2)),
        (Parameter(np.ones(()), requires_grad=True), torch.nn.Parameter(torch.ones((), dtype=torch.float64))),
    ],
    ids=["vector", "parameter"],
)
def test_format_of_the_rest(ours, theirs):
    assert f"{ours}" == f"{theirs}"
    with pytest.raises(TypeError) as error:
        f"{theirs:.3f}"
    with pytest.raises(TypeError) as our_error:
        f"{ours:.3f}"
    assert str(our_error.value) == str(error.value)


def test_subclasses_go_by_their_own_names():
    array = np.arange(60.0).reshape(30, 2)
    ours, theirs = type("Masked", (Tensor,), {})(array), torch.from_numpy(array)
    assert repr(ours) == repr(theirs.as_subclass(type("Masked", (torch.Tensor,), {})))
    ours, theirs = Parameter(array, requires_grad=True), torch.nn.Parameter(theirs)
    assert repr(ours) == repr(theirs)


EXAMPLES = [
    (np.float32(3), "tensor(3.)"),
    (np.float32([1, 2.5, math.nan]), "tensor([1.0000, 2.5000,    nan])"),
    (np.float32([1, math.inf, -0.0]), "tensor([1., inf, -0.])"),
    (np.float32([1e-5, 1]), "tensor([1.0000e-05, 1.0000e+00])"),
    (np.array([True, False]), "tensor([ True, False])"),
    (np.int16([1, -10]), "tensor([  1, -10], dtype=torch.int16)"),
    (np.zeros((0, 3), np.float32), "tensor([], size=(0, 3))"),
    (np.zeros(0, np.int64), "tensor([], dtype=torch.int64)"),
    (
        np.arange(2000.0).reshape(2, 1000),
        """\
tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 9.9700e+02, 9.9800e+02,
         9.9900e+02],
        [1.0000e+03, 1.0010e+03, 1.0020e+03,  ..., 1.9970e+03, 1.9980e+03,
         1.9990e+03]], dtype=torch.float64)""",
    ),
]


@pytest.mark.parametrize(("array", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples(array, text):
    ours, theirs = both(np.asarray(array))
    assert repr(ours) == text == repr(theirs)


def test_example_with_a_history():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x + 1) == "tensor([2., 2.], grad_fn=<AddBackward0>)"
