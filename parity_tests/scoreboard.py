"""python -m parity_tests.scoreboard: torch's own OpInfo samples on minigrad, op by op.

Every row is an OpInfo entry, every column a kind of check (passed/total, `-` where torch defines none).
The exit status is 1 if a column misses its bar.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
from collections import Counter

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # BLAS reads them while it is loaded
    os.environ.setdefault(_variable, "1")


def table(scores: list, kinds: list[str], width: int) -> str:
    """Op by op, then the totals."""
    from .opinfo import BARS

    def row(name: str, cells: list[str]) -> str:
        return f"{name:<{width}} " + " ".join(f"{c:>11}" for c in cells)

    def cell(passed: int, total: int) -> str:
        return "-" if not total else f"{passed}/{total}" + ("" if passed == total else " *")

    passed, total = Counter(), Counter()
    lines = [row("op", kinds)]
    for s in scores:
        lines.append(row(s.entry, [cell(s.passed[k], s.total[k]) for k in kinds]))
        passed.update(s.passed)
        total.update(s.total)
    lines += ["", row("total", [cell(passed[k], total[k]) for k in kinds])]
    lines.append(row("share", [f"{100 * passed[k] / total[k]:.2f} %" if total[k] else "-" for k in kinds]))
    lines.append(row("bar", [f"{100 * BARS[k]:.0f} %" for k in kinds]))
    return "\n".join(lines)


def missed(scores: list, kinds: list[str]) -> list[str]:
    """The kinds whose share of passes is under the bar."""
    from .opinfo import BARS

    passed = {k: sum(s.passed[k] for s in scores) for k in kinds}
    total = {k: sum(s.total[k] for s in scores) for k in kinds}
    return [k for k in kinds if passed[k] < BARS[k] * total[k]]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m parity_tests.scoreboard",
        description="Run torch's own OpInfo samples on minigrad and print the score op by op.",
        epilog="kinds: forward backward second (float64), float32 int64 (their own samples), errors, grad_fn (names of "
        "nodes), method (methods and operators), inplace, alias (views). A star marks a cell that is not full.",
    )
    p.add_argument("--ops", metavar="A,B", help="only these ops ('div' is all its variants, 'div.floor_rounding' one)")
    p.add_argument("--kind", metavar="K,L", help="only these kinds of check (default: all)")
    p.add_argument("--failures", type=int, default=0, metavar="N", help="show at most N failures of each op and kind")
    p.add_argument("--json", metavar="FILE", help="write scores and failures to FILE")
    p.add_argument(
        "--engine", default="minigrad", metavar="MODULE", help="module under test (torch checks the harness)"
    )
    p.add_argument("--quiet", action="store_true", help="only rows that are not full, and the totals")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if importlib.util.find_spec("torch") is None:
        print("python -m parity_tests.scoreboard: torch, the oracle, is not installed here: run `make test` once, then "
              "`.venv/bin/python -m parity_tests.scoreboard`", file=sys.stderr)
        return 2
    from . import opinfo

    ops = opinfo.entries()
    if args.ops:
        asked = args.ops.split(",")
        unknown = [a for a in asked if a not in ops and a not in opinfo.OPS]
        if unknown:
            print(f"unknown op: {', '.join(unknown)} (see OPS in parity_tests/opinfo.py)", file=sys.stderr)
            return 2
        ops = {name: op for name, op in ops.items() if name in asked or op.name in asked}
    kinds = args.kind.split(",") if args.kind else list(opinfo.BARS)
    if unknown := [k for k in kinds if k not in opinfo.BARS]:
        print(f"unknown kind: {', '.join(unknown)} (choose from {', '.join(opinfo.BARS)})", file=sys.stderr)
        return 2
    try:
        engine = opinfo.Engine(importlib.import_module(args.engine))
    except (ImportError, SyntaxError) as error:
        print(f"cannot import {args.engine}: {error}", file=sys.stderr)
        return 2

    start, scores = time.perf_counter(), []
    for n, (name, op) in enumerate(ops.items()):
        if sys.stderr.isatty():
            print(f"\r{n + 1}/{len(ops)} {name:<60}", end="", file=sys.stderr, flush=True)
        scores.append(opinfo.score(op, engine, set(kinds)))
    if sys.stderr.isatty():
        print("\r" + " " * 80 + "\r", end="", file=sys.stderr)

    shown = [s for s in scores if s.failures] if args.quiet else scores
    lines = table(scores, kinds, max(len(s.entry) for s in scores) + 1).splitlines()
    keep = {s.entry for s in shown} | {"op", "", "total", "share", "bar"}
    print("\n".join(line for line in lines if line.partition(" ")[0] in keep))
    if args.failures:
        seen: Counter = Counter()
        for failure in (f for s in scores for f in s.failures):
            seen[failure.entry, failure.kind] += 1
            if seen[failure.entry, failure.kind] <= args.failures:
                print(failure)
    if args.json:
        payload = {
            "engine": args.engine,
            "scores": {s.entry: {k: [s.passed[k], s.total[k]] for k in kinds} for s in scores},
            "failures": [vars(f) for s in scores for f in s.failures],
        }
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(payload, file, indent=1)
    print(f"{len(scores)} entries in {time.perf_counter() - start:.0f} s")
    if under := missed(scores, kinds):
        print(f"under the bar: {', '.join(under)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
