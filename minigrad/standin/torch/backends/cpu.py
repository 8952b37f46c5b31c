"""The CPU, which NumPy drives."""


def get_cpu_capability() -> str:
    return "DEFAULT"
