"""python -m bench: side-by-side measurements against torch, interleaved in one process, quoted as ratios."""
