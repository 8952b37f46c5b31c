"""python -m train COMMAND: see --help."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import time
from pathlib import Path

from train import book, compare, tokenize
from train.config import add_flags, from_flags
from train.errors import DiskError, LostRankError, RankError, UserError
from train.output import lasting

DESCRIPTION = """From text to a trained model.

  python -m train pretrain                     Python's own documentation
  python -m train pretrain --data my.txt       your text (flags: pretrain -h)
  python -m train pretrain --resume runs/my-1  go on where it was stopped
  torchrun --nproc_per_node 8 -m train pretrain --engine torch --model gpt2
"""

PATIENCE = 2.0       # seconds: torchrun ends all ranks as soon as one has failed, and the one that says why comes first


def main(argv: list[str] | None = None) -> int:
    quiet = os.environ.get("LOCAL_RANK", "0") != "0"         # what all of torchrun's ranks would say, one of them says
    failed = True
    with lasting():
        try:
            failed = bool(status := command(argv, quiet))
            return status
        finally:
            if failed and quiet:
                time.sleep(PATIENCE)


def command(argv: list[str] | None, quiet: bool) -> int:
    parser = argparse.ArgumentParser(prog="python -m train", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    p = commands.add_parser("pretrain", help="train a model on text")
    p.add_argument("--resume", nargs="?", const="", metavar="FOLDER",
                   help="go on with a run from its newest checkpoint (without FOLDER: --out's, or the latest in runs/)")
    add_flags(p)
    p.set_defaults(run=run_pretrain)

    for module in (tokenize, compare, book):
        module.add_parser(commands)

    rank = os.environ.get("RANK", "0")
    with contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext():
        args = parser.parse_args(argv)
    say = (lambda text: None) if quiet else lambda text: print(text, file=sys.stderr)
    try:
        return args.run(args)
    except RankError as error:
        print(f"{parser.prog} {args.command}: {f'rank {rank}: ' * (rank != '0')}{error}", file=sys.stderr)
        return 2
    except UserError as error:
        say(f"{parser.prog} {args.command}: {error}")
        return 2
    except KeyboardInterrupt as error:
        say(f"\ninterrupted. {error}".rstrip())
        return 128 + getattr(error, "signal", signal.SIGINT)
    except Exception as error:
        from train.loop import Diverged
        if not isinstance(error, Diverged | DiskError | LostRankError):
            raise
        say(f"{parser.prog} {args.command}: {error}")
        return 1


def run_pretrain(args: argparse.Namespace) -> int:
    from train import loop  # not at the top: --help needs no engine

    base = None
    if args.resume is not None:
        folder = Path(args.resume or getattr(args, "out", "") or loop.newest_run())
        base = loop.resumed_config(folder)
        args.out = str(folder)
    result = loop.pretrain(from_flags(args, base), resume=args.resume is not None)
    return 0 if result.finished else 128 + result.signal


if __name__ == "__main__":
    raise SystemExit(main())
