"""One model source on two engines: the mechanism, its guards, and what is said where the engines meet."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import io
import operator
import pickle
import pkgutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gpt
import gpt.mirror
import gpt.mirror.engine
import gpt.mirror.gpt2
import minigrad
from gpt.config import CONFIGS, GPT2Config, from_dict

ROOT = Path(gpt.__file__).parent
SOURCES = {".".join(("gpt", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p
           for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] != "mirror"}
TINY = GPT2Config(vocab_size=11, context_length=8, emb_dim=8, n_heads=2, n_layers=2)
ENGINES = {"numpy": minigrad, "torch": torch}


# ---- the rule: relative imports are bound to an engine, absolute ones of gpt are not -----------------------------

@functools.cache
def imports(module: str) -> tuple[set[str], set[str]]:
    """The modules that a module imports relatively, and absolutely."""
    path, relative, absolute = SOURCES[module], set(), set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            home = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{home}.{alias.name}" for alias in node.names}
            (relative if node.level else absolute).update({n for n in names if n in SOURCES} or {home})
    return relative, absolute


@functools.cache
def bound() -> set[str]:
    """The modules that are bound to an engine: those that reach gpt.engine by relative imports."""
    found, size = {"gpt.engine"}, 0
    while len(found) > size:
        size = len(found)
        found |= {m for m in SOURCES if imports(m)[0] & found}
    return found


@pytest.mark.parametrize("module", SOURCES)
def test_relative_imports_are_bound_to_an_engine_and_absolute_ones_are_not(module):
    relative, absolute = imports(module)
    engine_bound = bound()
    assert not (free := relative - engine_bound), f"{free} would exist twice: import it absolutely"
    assert not (absolute & engine_bound), "an absolute import is of one engine: import it relatively"
    if module != "gpt.engine":
        tops = {name.partition(".")[0] for name in absolute if not name.startswith("minigrad.serialization")}
        assert not tops & {"minigrad", "torch"}, "an engine is reached through gpt.engine alone"


def test_the_rule_sees_what_it_forbids():
    assert {"gpt.engine", "gpt.layers", "gpt.gpt2", "gpt.attention"} <= bound()
    assert "gpt.config" not in bound()
    assert imports("gpt.gpt2") == ({"gpt.engine", "gpt.layers"},
                                   {"__future__", "math", "collections.abc", "gpt.config"})


def test_what_the_mirror_imports_is_shared_or_its_own():
    assert gpt.mirror.gpt2.GPT2Config is importlib.import_module("gpt.gpt2").GPT2Config
    assert gpt.mirror.gpt2.nn is torch.nn
    assert importlib.import_module("gpt.gpt2").nn is minigrad.nn


@pytest.mark.parametrize("module", sorted(bound() - {"gpt.engine"}))
def test_type_checkers_find_every_module_of_the_mirror(module):
    name = module.removeprefix("gpt.")
    stub = ROOT.joinpath("mirror", *name.split(".")).with_suffix(".pyi")
    assert stub.is_file(), f"gpt/mirror/{name}.pyi is missing: from {module} import *"
    assert stub.read_text(encoding="utf-8") == f"from {module} import *\n"
    assert (ROOT / "py.typed").is_file()


# ---- the mirror ------------------------------------------------------------------------------------------------------

def test_a_mirror_in_the_mirror_is_refused():
    with pytest.raises(ImportError, match=r"gpt\.mirror\.mirror: there is one mirror"):
        importlib.import_module("gpt.mirror.mirror")
    names = [m.name for m in pkgutil.walk_packages(gpt.__path__, "gpt.")]
    assert "gpt.mirror.gpt2" in names
    assert len(names) < 200


def test_imports_load_one_engine_and_no_more_than_is_asked_for():
    def loaded(statement: str) -> set[str]:
        show = "import sys; print(*{'torch', 'minigrad', 'numpy', 'tiktoken'} & set(sys.modules))"
        run = subprocess.run([sys.executable, "-c", f"{statement}; {show}"], cwd=ROOT.parent, capture_output=True,
                             text=True, check=True)
        return set(run.stdout.split())

    assert loaded("import gpt, gpt.config, gpt.mirror") == set()
    assert loaded("import gpt; gpt.build('tiny')") == {"minigrad", "numpy"}
    assert "minigrad" not in loaded("import gpt; gpt.build('tiny', engine='torch')")


@pytest.mark.parametrize("engine", ENGINES)
def test_source_tracebacks_and_pickles_are_the_files_own(engine):
    t, model = ENGINES[engine], gpt.build(TINY, engine=engine).eval()
    ids = t.arange(8)[None]
    assert isinstance(model, t.nn.Module)
    assert inspect.getsource(type(model)).startswith("class GPT2(nn.Module):")
    assert Path(inspect.getsourcefile(type(model))) == ROOT / "gpt2.py"
    with pytest.raises(ValueError, match="9 tokens are more than") as caught:
        model(t.zeros((1, 9), dtype=t.int64))
    assert any(Path(f.filename) == ROOT / "gpt2.py" for f in traceback.extract_tb(caught.value.__traceback__))

    other = copy.deepcopy(model)
    assert t.equal(other(ids), model(ids))
    assert other.tok_emb.weight is not model.tok_emb.weight
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is type(model)
    assert again.config == TINY
    assert t.equal(again(ids), model(ids))

    file = io.BytesIO()
    t.save(model.state_dict(), file)
    file.seek(0)
    assert other.load_state_dict(t.load(file)).missing_keys == []


def test_the_mirror_compiles_as_one_graph():
    model = gpt.build(TINY, engine="torch")
    ids = torch.arange(8)[None]
    whole = torch.compile(model, fullgraph=True, backend="aot_eager")
    model.eval()
    torch.testing.assert_close(whole(ids), model(ids), rtol=0, atol=0)
    loss = whole(ids).logsumexp(-1).mean()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


# ---- build -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("engine", "module"), [("numpy", "gpt.gpt2"), ("torch", "gpt.mirror.gpt2")])
def test_build(engine, module):
    assert type(gpt.build(TINY, engine=engine)).__module__ == module
    assert gpt.build("tiny", engine=engine).config is CONFIGS["tiny"]


def test_build_says_what_it_takes():
    assert type(gpt.build(TINY)).__module__ == "gpt.gpt2"
    with pytest.raises(ValueError, match="'numpy', 'torch', not 'jax'"):
        gpt.build(TINY, engine="jax")
    with pytest.raises(ValueError, match="no configuration is named 'gpt5'; there are book-124M, gpt2, "):
        gpt.build("gpt5")
    with pytest.raises(TypeError, match="such as GPT2Config, or a name, not dict"):
        gpt.build({})


def test_build_without_torch_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="engine 'torch' needs PyTorch"):
        gpt.build(TINY, engine="torch")


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_survive_json(name):
    config = CONFIGS[name]
    assert from_dict(config.to_dict()) == config
    assert config.to_dict()["architecture"] == config.architecture


# ---- where the engines meet ------------------------------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.pow, operator.mod,
             operator.floordiv, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
             operator.iadd, operator.imul, operator.setitem, operator.getitem]
FUNCTIONS = ["add", "mul", "matmul", "maximum", "where", "cat", "stack", "softmax", "exp", "sum", "copy_",
             "masked_fill", "linear", "embedding", "layer_norm", "cross_entropy", "gelu",
             "scaled_dot_product_attention"]


def called(t, name: str, mine, foreign):
    """The function `name` of an engine, given a tensor of its own and one of the other's, or the latter alone."""
    f = getattr(t.nn.functional, name, None) or getattr(t, name, None) or getattr(t.Tensor, name)
    match name:
        case "where":
            return f(mine > 0, mine, foreign)
        case "cat" | "stack":
            return f([mine, foreign])
        case "softmax":
            return f(foreign, -1)
        case "exp" | "sum" | "gelu":
            return f(foreign)
        case "masked_fill":
            return f(mine, foreign, 0.0)
        case "layer_norm":
            return f(foreign, (2,))
        case "scaled_dot_product_attention":
            return f(mine, mine, foreign)
        case "embedding":
            return f(foreign, mine)
    return f(mine, foreign)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")        # as which torch sees another's tensor at first
@pytest.mark.parametrize("engine", ENGINES)
@given(data=st.data())
def test_tensors_of_two_engines_do_not_mix(engine, data):
    t, u = (ENGINES[e] for e in ([engine, *(set(ENGINES) - {engine})]))
    mine, foreign = t.ones(2, 2), u.ones(2, 2)
    op = data.draw(st.sampled_from([*OPERATORS, *FUNCTIONS]))
    with pytest.raises(TypeError) as caught:
        if isinstance(op, str):
            called(t, op, mine, foreign)
        elif op is operator.setitem:
            mine[0] = foreign[0]
        else:
            op(mine, foreign)
    assert "minigrad.Tensor" in str(caught.value), op
    assert "torch.Tensor" in str(caught.value), op


@pytest.mark.parametrize("engine", ENGINES)
def test_models_and_tensors_of_two_engines_do_not_mix(engine):
    other = {"numpy": "torch", "torch": "numpy"}[engine]
    t, u, model = ENGINES[engine], ENGINES[other], gpt.build(TINY, engine=engine)
    with pytest.raises(TypeError, match=f"ids must be a {t.__name__}.Tensor, .* not a {u.__name__}.Tensor"):
        model(u.arange(8)[None])
    with pytest.raises(RuntimeError, match="minigrad"):
        model.load_state_dict(gpt.build(TINY, engine=other).state_dict())
    with pytest.raises(TypeError, match=f"ids must be a {t.__name__}.Tensor, .* not a list"):
        model([[1, 2]])
