"""python -m minigrad: Python, where `import torch` gives minigrad.

    python -m minigrad SCRIPT [ARGS ...]        run a script (or a folder, or "-" for standard input)
    python -m minigrad -m MODULE [ARGS ...]     run a module
    python -m minigrad -c CODE [ARGS ...]       run a piece of code
    python -m minigrad                          an interactive prompt
    python -m minigrad --list                   torch's names that are there
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

from minigrad import __version__, as_torch, standin


def main(args: list[str]) -> int:
    """Run what the command line says; the exit status."""
    first = args[0] if args else ""
    if first in ("-h", "--help"):
        print(__doc__.strip())
    elif first in ("-V", "--version"):
        print(f"minigrad {__version__}, in the place of torch {standin.VERSION}")
    elif first == "--list":
        with contextlib.suppress(BrokenPipeError):              # `--list | head`
            print(standin.listing(), flush=True)
    elif first in ("-m", "-c"):
        if len(args) < 2:
            return _complain(f"{first} needs {'a module' if first == '-m' else 'code'} to run")
        return _run_module(args[1], args[2:]) if first == "-m" else _run_code(args[1], "<string>", ["-c", *args[2:]])
    elif first == "-" or not args and not sys.stdin.isatty():
        return _run_code(sys.stdin.read(), "<stdin>", args or [""])
    elif first.startswith("-"):
        return _complain(f"unknown option {first}; python -m minigrad --help lists what there is")
    elif args:
        return _run_path(first, args)
    else:
        _prompt()
    return 0


def _complain(text: str) -> int:
    print(f"minigrad: {text}", file=sys.stderr)
    return 2


# ---- ways to run a program, each as Python has it -----------------------------------------------------------------

def _run_path(path: str, argv: list[str]) -> int:
    if not os.path.exists(path):
        return _complain(f"can't open file {path!r}: no such file")
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py")):
        return _complain(f"can't run {path!r}: it is a folder without a __main__.py")
    sys.argv, folder = argv, os.path.isdir(path)
    if not folder and not path.endswith((".py", ".pyw")) and _is_archive(path):
        del sys.path[0]                                         # the current folder; run_path puts the archive there
        return _guarded(lambda: runpy.run_path(path, run_name="__main__"))
    if folder:
        path = os.path.join(os.path.abspath(path), "__main__.py")
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        return _complain(f"can't open file {path!r}: {error.strerror}")
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    return _exec(lambda: compile(source, path, "exec", dont_inherit=True), "script", os.path.abspath(path),
                 "" if folder else None,
                 __file__=path, __loader__=SourceFileLoader("__main__", path), __cached__=None)


def _is_archive(path: str) -> bool:
    import zipfile
    return zipfile.is_zipfile(path)


def _run_module(name: str, args: list[str]) -> int:
    sys.argv = ["-m", *args]
    try:
        _, spec, code = runpy._get_module_details(name)
    except ImportError as error:                                # with runpy's words, which are Python's for `-m`
        return _complain(str(error))
    sys.argv[0] = spec.origin
    return _exec(code, "module", name, spec.parent, __file__=spec.origin, __loader__=spec.loader,
                 __cached__=spec.cached)


def _run_code(code: str, name: str, argv: list[str]) -> int:
    sys.argv, sys.path[0] = argv, ""
    names = {"__file__": name} if name == "<stdin>" else {}
    return _exec(lambda: compile(code, name, "exec", dont_inherit=True), **names)


def _exec(code: CodeType | Callable[[], CodeType], kind: str = "", name: str = "", package: str | None = None,
          **names) -> int:
    """Run a program in a fresh module __main__, which stays the process's main module."""
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={}, __package__=package, **names)
    sys.modules["__main__"] = module
    if kind:
        module.__spec__ = _MainSpec("minigrad.standin.spawned", names["__loader__"], origin=names["__file__"])
        module.__spec__.package = package or ""
        os.environ["MINIGRAD_MAIN"] = f"{kind} {name}"
    return _guarded(lambda: exec(code() if callable(code) else code, module.__dict__))


class _MainSpec(ModuleSpec):
    """The spec of a main module. By its name the children of multiprocessing find their own main module, and ours puts
    minigrad in torch's place there, too. For relative imports, a module run by -m stays in its package."""

    parent = property(lambda self: self.package)


def _guarded(run: Callable[[], object]) -> int:
    """Run a program. What it raises is shown as Python shows it, without the frames of this file."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, ImportError) and (error.name or "") + "." == "torch.":       # from torch import missing
            error.add_note(standin.HINT)
        ours = {__file__, runpy.__file__, "<frozen runpy>"}
        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename in ours:
            tb = tb.tb_next
        error.__traceback__ = tb
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, tb
        sys.excepthook(type(error), error, tb)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _prompt() -> None:
    import code
    module = ModuleType("__main__")
    try:
        import readline
        import rlcompleter
        readline.set_completer(rlcompleter.Completer(module.__dict__).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:                                         # a system without readline
        pass
    sys.modules["__main__"], sys.argv, sys.path[0] = module, [""], ""
    code.interact(f"minigrad {__version__}: `import torch` gives torch {standin.VERSION}, on NumPy\n"
                  f"Python {sys.version.splitlines()[0]}", local=module.__dict__, exitmsg="")


if __name__ == "__main__":
    as_torch()
    sys.exit(main(sys.argv[1:]))
