"""python -m bench NAME: run one of the measurements."""

from __future__ import annotations

import argparse
import importlib.util

from bench import decode, ops, profile, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure minigrad beside torch.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    ops.add_parser(commands)
    train.add_parser(commands)
    decode.add_parser(commands)
    profile.add_parser(commands)
    args = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        parser.error("torch, which this measures beside, is not installed here: run `make test` once, then "
                     "`.venv/bin/python -m bench ...`")
    raise SystemExit(args.run(args))


if __name__ == "__main__":
    main()
