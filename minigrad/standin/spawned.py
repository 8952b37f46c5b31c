"""The main module of a child process that multiprocessing spawns from a program run by `python -m minigrad`: it puts
minigrad in torch's place before it reads the program's definitions."""

import os
import runpy

from minigrad.standin import as_torch

if __name__ == "__mp_main__":
    as_torch()
    kind, name = os.environ["MINIGRAD_MAIN"].split(" ", 1)
    run = runpy.run_module if kind == "module" else runpy.run_path
    globals().update(run(name, run_name="__mp_main__"))
