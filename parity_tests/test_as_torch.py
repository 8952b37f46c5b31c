"""minigrad in torch's place: the command line, imports, what programs are told, and what is refused."""

from __future__ import annotations

import itertools
import operator
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.standin.torch.torch_version import TorchVersion

ROOT = Path(__file__).parent.parent


def run(*command: str, cwd: Path = ROOT, input: str = "", python: tuple[str, ...] = ("-m", "minigrad")):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *python, *command], capture_output=True, text=True, cwd=cwd, input=input,
                          env=environment)


def printed(code: str) -> str:
    done = run("-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def script(tmp_path):
    def write(code: str, name: str = "script.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
        return str(path)
    return write


# ---- running programs -------------------------------------------------------------------------------------------

ASKS = """
    import sys, pickle
    class Here: pass
    print(sys.argv, sys.path[0], __name__, globals().get("__file__"), globals().get("__package__"))
    print(type(pickle.loads(pickle.dumps(Here()))) is Here, sys.modules["__main__"].Here is Here)
"""


def test_a_script_sees_what_python_shows_it(script):
    path = script(ASKS)
    assert run(path, "-a", "--b=1", "-c").stdout == run(path, "-a", "--b=1", "-c", python=()).stdout != ""


def test_so_do_modules_code_and_standard_input(script, tmp_path):
    script(ASKS + "    from .other import x\n    print(x)\n", "pack/mod.py")
    script("", "pack/__init__.py"), script("x = 3", "pack/other.py"), script(ASKS, "folder/__main__.py")
    for arguments in (("-m", "pack.mod", "1"), ("-c", textwrap.dedent(ASKS), "-x"), ("folder", "2")):
        ours, theirs = run(*arguments, cwd=tmp_path), run(*arguments, cwd=tmp_path, python=())
        assert ours.stdout == theirs.stdout != "", ours.stderr
    code = textwrap.dedent(ASKS).replace("print(type", "0 and print(type")
    assert run(cwd=tmp_path, input=code).stdout == run("-", cwd=tmp_path, input=code, python=()).stdout.replace(
        "['-']", "['']") != ""


def test_errors_of_a_script_have_their_ordinary_traceback(script):
    for code in ("def f():\n    return 1 / 0\nf()\n", "import torch\nx = (\n", "raise SystemExit(7)", "exit('no')",
                 "raise KeyError('a') from ValueError(2)"):
        path = script(code)
        ours, theirs = run(path), run(path, python=())
        assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


@pytest.mark.parametrize("arguments", [("missing.py",), ("-m", "missing_module"), ("-m",), ("-c",),
                                       ("--missing",), (".",)])
def test_errors_of_the_command_line_are_one_line(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("minigrad: ") and done.stderr.count("\n") == 1


def test_children_of_multiprocessing_see_the_same_torch(script):
    path = script("""
        import multiprocessing, sys
        import torch

        class Model(torch.nn.Linear):
            pass

        def work(model, queue):
            queue.put((str(torch.__version__), model(torch.ones(2)).sum().item()))

        if __name__ == "__main__":
            for method in sorted(multiprocessing.get_all_start_methods()):
                context = multiprocessing.get_context(method)
                queue, model = context.Queue(), Model(2, 1)
                child = context.Process(target=work, args=(model, queue))
                child.start()
                print(method, queue.get(timeout=60) == (str(torch.__version__), model(torch.ones(2)).sum().item()))
                child.join()
    """)
    done = run(path)
    assert done.stderr == "" and done.stdout and all(line.endswith("True") for line in done.stdout.splitlines())


def test_the_list_names_what_there_is():
    done = run("--list")
    assert done.returncode == 0
    for name in ("torch.nn.functional", "scaled_dot_product_attention", "AdamW", "clip_grad_norm_", "manual_seed"):
        assert name in done.stdout
    assert run("--help").stdout.startswith("python -m minigrad: ")


def test_the_prompt():
    """A terminal is needed to ask for it, so its console is fed by hand."""
    done = run("-c", "import sys; sys.stdin.isatty = lambda: True\n"
               "from minigrad.__main__ import main; main([])", input="import torch\ntorch.ones(2)\n")
    assert "tensor([1., 1.])" in done.stdout


# ---- imports ----------------------------------------------------------------------------------------------------

def test_every_module_can_be_imported_in_every_way():
    assert "fine" in printed("""
        import importlib, sys
        from minigrad import standin
        for name in standin.known_modules():
            module = importlib.import_module(name)
            assert sys.modules[name] is module and module.__name__ == name
            owner, _, last = name.rpartition(".")
            if owner:
                assert getattr(sys.modules[owner], last) is module, name
        import torch.nn.functional as F, torch.nn as nn
        from torch.utils.data import DataLoader
        from torch import nn as again
        assert again is nn and nn.functional is F and DataLoader.__module__ == "torch.utils.data.dataloader"
        print("fine")
    """)


def test_the_real_torch_is_not_touched():
    assert printed("""
        import sys, torch, torch.nn, torch.optim, torch.utils.data
        torch.nn.Linear(2, 2)(torch.ones(2)).sum().backward()
        print([m for m in sys.modules if m.split(".")[0] in ("torch", "functorch", "torchgen")
               and type(sys.modules[m]).__name__ != "Facade"])
    """) == "[]\n"


def test_it_is_refused_where_torch_is_loaded():
    with pytest.raises(RuntimeError, match="as_torch"):
        minigrad.as_torch()
    assert sys.modules["torch"] is torch


def test_minigrad_alone_does_not_load_it():
    done = run("-c", "import sys, minigrad; print([m for m in sys.modules if 'standin' in m])", python=())
    assert done.stdout == "[]\n"


def test_the_pytest_plugin(script, tmp_path):
    script("import torch\ndef test_it():\n    assert torch.__version__ == '2.13.0+minigrad'\n", "test_it.py")
    done = run("-p", "minigrad.pytest_plugin", "-q", "-p", "no:cacheprovider", cwd=tmp_path, python=("-m", "pytest"))
    assert done.returncode == 0 and "1 passed" in done.stdout


def test_the_pytest_plugin_comes_first_or_refuses(script, tmp_path):
    script("__version__ = '2.0'\n", "torch.py")
    done = run("-p", "torch", "-p", "minigrad.pytest_plugin", "-q", cwd=tmp_path, python=("-m", "pytest"))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.startswith("ERROR: torch 2.0 is loaded in this process already") and "Trace" not in done.stderr


def test_the_notebook_extension():
    assert printed("""
        import minigrad
        minigrad.load_ipython_extension(None)
        import torch
        print(torch.__version__)
    """) == "2.13.0+minigrad\n"


# ---- what programs are told -------------------------------------------------------------------------------------

VERSIONS = st.one_of(
    st.sampled_from(["2.13.0+cpu", "2.13.0.dev20260101", "2.13.0a0", "2.13", "2.13.0rc1", "2.13.0.post1", "abc",
                     "1!1.0"]),
    st.lists(st.integers(0, 14), min_size=1, max_size=4).map(lambda ns: ".".join(map(str, ns))),
    st.lists(st.integers(0, 14), min_size=1, max_size=4).map(tuple))


@given(VERSIONS, st.sampled_from(["2.13.0+minigrad", "2.13.0", "2.13.0.dev1+x", "1.9.1rc2"]))
def test_versions_compare_as_torchs_do(other, version):
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        results = []
        for kind in (torch.torch_version.TorchVersion, TorchVersion):
            try:
                results.append(compare(kind(version), other))
            except TypeError:
                results.append(TypeError)
        assert results[0] == results[1]


def test_classes_live_where_torch_has_them():
    code = """
        import torch
        found = [torch.Tensor, torch.Size, torch.dtype, torch.device, torch.finfo, torch.Generator, torch.no_grad,
                 type(torch.ones(2).max(0)), type(torch.__version__), torch.autograd.Function, torch.nn.Parameter]
        for space in (torch.nn, torch.optim, torch.utils.data, torch.optim.lr_scheduler):
            found += [v for k, v in sorted(vars(space).items()) if isinstance(v, type) and k[0].isupper()
                      and k in NAMES[space.__name__]]
        print("\\n".join(str(c) for c in found))
    """
    spaces = (torch.nn, torch.optim, torch.utils.data, torch.optim.lr_scheduler)
    import minigrad.optim.lr_scheduler
    import minigrad.utils.data
    ours = (minigrad.nn, minigrad.optim, minigrad.utils.data, minigrad.optim.lr_scheduler)
    names = {space.__name__: sorted(set(vars(space)) & set(vars(mine)) - {"LinearCrossEntropyOptions"})
             for space, mine in zip(spaces, ours)}
    code = f"NAMES = {names!r}\n" + textwrap.dedent(code)
    theirs, ours = run("-c", code, python=()), run("-c", code)
    different = [pair for pair in zip(theirs.stdout.splitlines(), ours.stdout.splitlines(), strict=True)
                 if pair[0] != pair[1]]
    assert not different, ours.stderr


def test_the_machine():
    assert printed("""
        import torch
        print(torch.cuda.is_available(), torch.cuda.device_count(), torch.backends.mps.is_available(),
              torch.distributed.is_available(), torch.ones(1).to("cpu").device)
        for ask in (lambda: torch.ones(1).to("cuda"), lambda: torch.nn.Linear(1, 1).cuda(),
                    lambda: torch.cuda.get_device_name(0), lambda: torch.zeros(1, device="cuda")):
            try:
                ask()
                print("no error")
            except (AssertionError, RuntimeError) as error:
                print("error")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        model = torch.nn.Linear(1, 1)
        print(torch.compile(model) is model, torch.compile(mode="max-autotune")(model) is model,
              torch.jit.script(model) is model, torch.get_float32_matmul_precision())
    """) == "False 0 False False cpu\n" + "error\n" * 4 + "True True True high\n"


def test_mixed_precision_says_once_that_there_is_none():
    assert printed("""
        import torch, warnings
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(3):
                with torch.autocast("cpu", dtype=torch.bfloat16), torch.autocast("cpu", enabled=False):
                    y = torch.ones(2, 2) @ torch.ones(2, 2)
        print(len(said), y.dtype)
        warnings.simplefilter("ignore")
        p = torch.nn.Parameter(torch.ones(2))
        optimizer, scaler = torch.optim.SGD([p], lr=1.0), torch.amp.GradScaler("cuda")
        scaler.scale(p.sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        print(p.data, scaler.get_scale(), scaler.state_dict())
    """) == "1 torch.float32\ntensor([0., 0.]) 1.0 {}\n"


@pytest.mark.parametrize("name", ["torch.sparse_coo_tensor", "torch.nn.AdaptiveLogSoftmaxWithLoss",
                                  "torch.optim.SparseAdam", "torch.nn.functional.fractional_max_pool2d",
                                  "torch.nothing_of_the_kind"])
def test_what_is_missing_is_named(name):
    done = run("-c", f"import torch.nn, torch.optim\n{name}")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("AttributeError") and name.rpartition(".")[2] in last and "python -m minigrad --list" in last
    done = run("-c", f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}")
    assert "ImportError" in done.stderr and name.rpartition(".")[2] in done.stderr
    assert printed(f"import torch.nn, torch.optim; print(hasattr({name.rpartition('.')[0]}, {name.split('.')[-1]!r}))"
                   ) == "False\n"


def test_files_go_both_ways(tmp_path):
    code = "import torch; m = torch.nn.LSTM(2, 3); torch.manual_seed(1); m.reset_parameters()\n"
    save, load = (code + f"torch.save(m.state_dict(), {str(tmp_path / 'f')!r})",
                  code + f"s = torch.load({str(tmp_path / 'f')!r}, weights_only=True)\n"
                  "print(m.load_state_dict(s), all(torch.equal(v, s[k]) for k, v in m.state_dict().items()))")
    for writer, reader in itertools.permutations([(), ("-m", "minigrad")]):
        assert run("-c", save, python=writer).returncode == 0
        assert run("-c", load, python=reader).stdout == "<All keys matched successfully> True\n"
