"""A version that is a string, and compares as a version."""

from __future__ import annotations

import re

_FORM = re.compile(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?"
                   r"(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
                   re.IGNORECASE)
_STAGES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def _key(version) -> tuple | None:
    """What orders versions as PEP 440 says: 2.13.0.dev1 < 2.13a1 < 2.13 = 2.13.0 < 2.13.0+local < 2.13.0.post1."""
    if isinstance(version, tuple | list):
        version = ".".join(map(str, version))
    match = _FORM.fullmatch(str(version).strip())
    if match is None:
        return None
    epoch, release, stage, stage_number, implicit, post, post_number, dev, dev_number, local = match.groups()
    numbers = [int(n) for n in release.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    late = int(implicit or post_number or 0) if implicit or post else -1
    early = _STAGES.get(stage.lower(), stage.lower()) if stage else "" if dev and late < 0 else "z"
    parts = [] if local is None else [(n.isdigit(), int(n) if n.isdigit() else 0, n.lower())
                                      for n in re.split("[-_.]", local)]
    return (int(epoch or 0), numbers, early, int(stage_number or 0), late, 0 if dev else 1, int(dev_number or 0),
            local is not None, parts)


class TorchVersion(str):
    """A version as text, which compares with texts and tuples as versions do: "2.13.0" > "2.9", >= (2, 1)."""

    __slots__ = ()

    def _compare(self, other, name: str):
        theirs = _key(other) if isinstance(other, str | tuple | list) else None
        if theirs is None:                                     # what is no version is another text, or another thing
            return getattr(str, name)(self, other)
        return getattr(_key(str(self)), name)(theirs)

    def __lt__(self, other) -> bool:
        return self._compare(other, "__lt__")

    def __le__(self, other) -> bool:
        return self._compare(other, "__le__")

    def __gt__(self, other) -> bool:
        return self._compare(other, "__gt__")

    def __ge__(self, other) -> bool:
        return self._compare(other, "__ge__")

    def __eq__(self, other) -> bool:
        return self._compare(other, "__eq__")

    def __hash__(self) -> int:
        return str.__hash__(self)
