"""Fused, blocked and threaded NumPy code, where a plain expression is too slow or too inexact."""
