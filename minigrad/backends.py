"""What scripts ask of torch.backends: honest answers, and switches that switch nothing."""

from __future__ import annotations


class _Absent:
    """A backend that is not there. Its settings may be set; they have no effect."""

    def is_available(self) -> bool:
        return False

    is_built = is_available


class _Cudnn(_Absent):
    enabled = deterministic = benchmark = allow_tf32 = False


class _Cuda(_Absent):
    matmul = _Absent()


mps, cudnn, cuda, mkl, mkldnn = _Absent(), _Cudnn(), _Cuda(), _Absent(), _Absent()
