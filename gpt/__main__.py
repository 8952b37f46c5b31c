"""python -m gpt COMMAND: see --help."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

GENERATE = """Continue text.

  python -m gpt generate --model runs/mine --prompt "Once upon a time" --stream
  python -m gpt generate --model gpt2 --prompt "Hello, I am" --temperature 0.8 --top-k 50 --seed 1
  python -m gpt generate --model runs/mine --prompt "One" "Two" --json
  cat letter.txt | python -m gpt generate --model runs/mine --prompt - --stop "Yours"

MODEL is a folder (config.json, weights, tokenizer) of ours or of Hugging Face, a file of weights in such a folder, or
a model's name, such as gpt2, that is in a cache or will be downloaded."""

INFO = """Tell what a model is and costs: parameters, memory, FLOPs per token, bytes of the KV cache per token.

  python -m gpt info runs/mine
  python -m gpt info book-124M --json          sizes that need no files: see gpt/config.py"""


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m gpt", description="Text from GPT-like models.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    p = commands.add_parser("generate", help="continue text", description=GENERATE,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="a folder, a file of weights, or a name")
    p.add_argument("--prompt", action="extend", nargs="+", metavar="TEXT",
                   help="what to continue, once or more; - reads standard input, less one newline at its end (default: "
                        "begin with the token that ends a text)")
    p.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="at most so many (default: 100)")
    p.add_argument("--stream", action="store_true", help="print text as soon as it is there")
    p.add_argument("--no-echo", action="store_true", help="do not print the prompt")
    p.add_argument("--json", action="store_true", help="a line of JSON per prompt; with --stream, per token")
    p.add_argument("--stats", action="store_true", help="say on standard error how long it took")

    g = p.add_argument_group("choosing tokens")
    g.add_argument("--temperature", type=float, metavar="T",
                   help="0: always the most likely token; 1: as likely as the model says (default: 0, or 1 with one of "
                        "the next three)")
    g.add_argument("--top-k", type=int, metavar="K", help="only the K most likely tokens")
    g.add_argument("--top-p", type=float, metavar="P", help="only the most likely ones of this probability together")
    g.add_argument("--min-p", type=float, metavar="P", help="only those at least P times as likely as the likeliest")
    g.add_argument("--repetition-penalty", type=float, default=1.0, metavar="R",
                   help="above 1: what has occurred becomes less likely (default: 1)")
    g.add_argument("--seed", type=int, help="the same seed gives the same text, on both engines (default: a new one)")

    g = p.add_argument_group("ending")
    g.add_argument("--stop", action="extend", nargs="+", default=[], metavar="TEXT", help="end before this text")
    g.add_argument("--stop-token", action="extend", nargs="+", default=[], metavar="TOKEN",
                   help="end before this token: an id, or a special token's name")
    g.add_argument("--ignore-eot", action="store_true", help="go on after the token that ends a text")

    g = p.add_argument_group("computing")
    g.add_argument("--engine", choices=("numpy", "torch"), default="numpy", help="(default: numpy)")
    g.add_argument("--device", default="cpu", help="for --engine torch, such as cuda (default: cpu)")
    g.add_argument("--threads", type=int, metavar="N", help="(default: all cores)")
    g.add_argument("--tokenizer", metavar="NAME", help="a name or a folder (default: the model's)")
    g.add_argument("--special", action="store_true", help="special tokens in the prompt are tokens, such as "
                                                          "<|endoftext|>")
    g.add_argument("--no-cache", action="store_true", help="compute keys and values anew for every token")
    g.add_argument("--slide", type=int, default=1, metavar="N",
                   help="past the context, drop N tokens at a time: faster, but another text (default: 1)")
    p.set_defaults(run=run_generate)

    p = commands.add_parser("info", help="what a model is and costs", description=INFO,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", metavar="PATH", help="a folder, a file of weights, or a name")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=run_info)
    return main


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(flush=True)                                # what was written stays, and the shell's prompt is below it
        return 130
    except BrokenPipeError:                              # `| head` has seen enough; Python would flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (OSError, ValueError, ImportError, RuntimeError, MemoryError) as error:
        sys.stdout.flush()
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"python -m gpt {args.command}: {message}", file=sys.stderr)
        return 2


# ---- info --------------------------------------------------------------------------------------------------------

def run_info(args: argparse.Namespace) -> int:
    from gpt import info

    config, path = info.find(args.model)
    found = info.facts(config, path)
    print(json.dumps({"model": args.model, **found}, indent=2) if args.json else info.table(args.model, found))
    return 0


# ---- generate ----------------------------------------------------------------------------------------------------

def run_generate(args: argparse.Namespace) -> int:
    from gpt.sampling import Sampling, checked_stop_strings

    several = (args.top_k, args.top_p, args.min_p) != (None, None, None)
    temperature = args.temperature if args.temperature is not None else 1.0 if several else 0.0
    sampling = Sampling(temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty)
    checked_stop_strings(args.stop)
    if args.max_new_tokens < 0:
        raise ValueError(f"--max-new-tokens must be at least 0, not {args.max_new_tokens}")
    if args.threads is not None and args.threads < 1:
        raise ValueError(f"--threads must be at least 1, not {args.threads}")
    if args.seed is not None and not -2**63 <= args.seed < 2**64:
        raise ValueError(f"--seed must have 64 bits, not be {args.seed}")
    if args.device != "cpu" and args.engine == "numpy":
        raise ValueError(f"--device {args.device} needs --engine torch: NumPy computes on the CPU")
    texts = _prompts(args.prompt or [""])

    engine, model, tokenizer = _load(args)
    rows = [_encoded(text, tokenizer, args.special) for text in texts]
    seed = secrets.randbits(32) if args.seed is None else args.seed
    engine.torch.manual_seed(seed)
    stops = [_token(name, tokenizer) for name in args.stop_token]
    if not args.ignore_eot and tokenizer.eot_token is not None:
        stops.append(tokenizer.eot_token)
    pieces = engine.stream_text(model, tokenizer, rows, args.max_new_tokens, sampling, stop_strings=args.stop,
                                stop_tokens=stops, cache=not args.no_cache, slide=args.slide)

    if hasattr(sys.stdout, "reconfigure"):               # a terminal that cannot show a character is no reason to end
        sys.stdout.reconfigure(errors="replace")
    watch = _Watch()
    write = _write_json if args.json else _write_text
    write(watch.watched(pieces), ["" if args.no_echo else text for text in texts], args.stream)
    if args.stats:
        print(f"{watch.summary()}, seed {seed}", file=sys.stderr)
    return 0


def _prompts(given: list[str]) -> list[str]:
    if given.count("-") > 1:
        raise ValueError("--prompt - reads all of standard input: give it once")
    if "-" not in given:
        return given
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8: {error}") from None
    return [text.replace("\r\n", "\n").removesuffix("\n") if prompt == "-" else prompt for prompt in given]


def _load(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """gpt.generate on the engine, the model, and the tokenizer. The model comes last: it takes longest."""
    from gpt.tokenizers import get_tokenizer
    from gpt.weights import hub

    if args.engine == "torch" and importlib.util.find_spec("torch") is None:
        raise ImportError("--engine torch needs PyTorch, which is not installed: pip install 'minigrad[torch]', or use "
                          "--engine numpy")
    package = {"numpy": "gpt", "torch": "gpt.mirror"}[args.engine]
    engine = importlib.import_module(f"{package}.generate")
    checkpoints = importlib.import_module(f"{package}.checkpoints")
    if args.threads is not None:
        engine.torch.set_num_threads(args.threads)
    path = hub.find(args.model)
    config = checkpoints.load_config(path)
    folder = path if path.is_dir() else path.parent
    if args.tokenizer is not None:
        tokenizer = get_tokenizer(args.tokenizer)
    else:
        try:
            tokenizer = get_tokenizer(folder)
        except FileNotFoundError as error:
            if config.vocab_size != 50257:
                raise FileNotFoundError(f"{error}. Name one: --tokenizer gpt2, or a folder") from None
            tokenizer = get_tokenizer("gpt2")            # weights are often passed on without it
    if tokenizer.n_vocab > config.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.n_vocab} tokens and the model {config.vocab_size}: they do not "
                         "belong together. Name the right one: --tokenizer NAME, or a folder")
    model = checkpoints.from_pretrained(path, config=config)
    if args.device != "cpu":
        try:
            model = model.to(args.device)
        except (RuntimeError, AssertionError) as error:  # an assertion is what torch without CUDA makes of cuda
            raise RuntimeError(f"--device {args.device}: {error}") from None
    return engine, model, tokenizer


def _encoded(text: str, tokenizer: Any, special: bool) -> list[int]:
    for name in () if special else tokenizer.special_tokens:
        if name in text:
            raise ValueError(f"the prompt contains {name}: --special makes a token of it")
    ids = tokenizer.encode(text, allowed_special="all")
    if not ids and tokenizer.eot_token is None:
        raise ValueError("an empty prompt is continued from the token that ends a text, and this tokenizer has none: "
                         "give a --prompt")
    return ids or [tokenizer.eot_token]


def _token(name: str, tokenizer: Any) -> int:
    if name in tokenizer.special_tokens:
        return tokenizer.special_tokens[name]
    if name.isdecimal() and int(name) < tokenizer.n_vocab:
        return int(name)
    known = ", ".join(list(tokenizer.special_tokens)[:8]) or "none"
    raise ValueError(f"--stop-token {name!r} is neither an id below {tokenizer.n_vocab} nor a special token ({known})")


class _Watch:
    """How long the first tokens took, and the others."""

    def __init__(self) -> None:
        self.start, self.times, self.tokens = time.perf_counter(), [], 0

    def watched(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for piece in pieces:
            if piece.id is not None:
                self.tokens += 1
                self.times.append(time.perf_counter())
            yield piece

    def summary(self) -> str:
        if not self.times:
            return "no tokens"
        first, last = self.times[0] - self.start, self.times[-1] - self.times[0]
        rate = f", {(self.tokens - 1) / last:.1f} tokens/s" if last > 0 else ""
        return f"{self.tokens} tokens: the first after {first:.2f} s{rate}"


def _write_text(pieces: Iterator[Any], heads: list[str], stream: bool) -> None:
    """The texts one after the other. Streaming, the first that is not at its end is written as it comes, those behind
    it wait."""
    texts, done, current = list(heads), [False] * len(heads), 0

    def write() -> None:
        nonlocal current
        while current < len(texts) and (stream or done[current]):
            sys.stdout.write(texts[current])
            texts[current] = ""
            if not done[current]:
                break
            current += 1
            sys.stdout.write("\n" if current == len(texts) else "\n---\n")
        sys.stdout.flush()

    write()
    for piece in pieces:
        texts[piece.row] += piece.text
        done[piece.row] = piece.id is None
        if stream or piece.id is None:
            write()


def _write_json(pieces: Iterator[Any], heads: list[str], stream: bool) -> None:
    found = [{"prompt": head, "text": "", "tokens": []} for head in heads]
    for piece in pieces:
        if stream:
            _line({"prompt": piece.row, "token": piece.id, "text": piece.text})
        else:
            found[piece.row]["text"] += piece.text
            found[piece.row]["tokens"] += [] if piece.id is None else [piece.id]
    if not stream:
        for row in found:
            _line(row)


def _line(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
