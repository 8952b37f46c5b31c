"""The code in README.md and docs/ runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_page_runs(page: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict = {"__name__": "__main__"}
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert any(b[1] == "python" for b in blocks), f"{page.name} has no code that runs"
    printed = ""
    for block in blocks:
        language, code = block[1], block[2]
        line = text[:block.start()].count("\n") + 1
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * line + code, str(page), "exec"), scope)
            printed = out.getvalue()
        elif language == "text":
            assert printed.rstrip() == code.rstrip(), f"{page.name}:{line} prints something else"
