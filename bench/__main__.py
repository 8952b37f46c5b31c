"""python -m bench NAME: run one of the measurements."""

from __future__ import annotations

import argparse

from bench import ops


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure minigrad beside torch.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    ops.add_parser(commands)
    args = parser.parse_args()
    raise SystemExit(args.run(args))


if __name__ == "__main__":
    main()
