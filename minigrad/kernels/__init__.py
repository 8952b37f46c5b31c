"""Kernels: what NumPy has not (erf, torch's normal numbers, sums in order), and fused forms of frequent compositions.

A fused op is one primitive with hand-written vjps in the place of several; each says which composition it replaces, and
is tested against it.
"""
