"""CRC-32C, the checksum of TensorFlow's files, at NumPy's speed.

The checksum register is a linear function (over bits, + is xor) of its former value and the data. So a string is cut
into LANES equal lanes, whose registers step through their bytes side by side; then neighbours are joined two by two:
the left one is carried over the right one's length, by a 32 x 32 matrix of bits, and added."""

from __future__ import annotations

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78           # Castagnoli's, lowest bit first
LANES = 1 << 14


@functools.cache
def _table() -> np.ndarray:
    """What sixteen bits at the register's low end become as they are shifted out."""
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


def crc32c(data: bytes | np.ndarray, crc: int = 0) -> int:
    """The checksum of `data`, or with the checksum of what stood before it, of both."""
    data = np.frombuffer(data, np.uint8)
    if not data.size:
        return crc
    # Zeros in front of a register of zero leave it zero; its initial value is added to the first four bytes.
    lanes = LANES if data.size >= 4 * LANES else 1
    steps = -(-data.size // (2 * lanes))
    padded = np.zeros(max(2 * steps * lanes, 4), np.uint8)
    steps = padded.size // (2 * lanes)
    start = np.array([~crc & 0xFFFFFFFF], "<u4").view(np.uint8)
    if data.size < 4:                                          # the rest of the initial value comes after them
        return _bytewise(data, crc)
    body = padded[-data.size:]
    body[:] = data
    body[:4] ^= start
    words = np.ascontiguousarray(padded.view("<u2").reshape(lanes, steps).T)         # (steps, lanes)
    table = _table()
    register = np.zeros(lanes, np.uint32)
    for word in words:
        register = (register >> 16) ^ table[(register ^ word) & 0xFFFF]
    length = 2 * steps
    while register.size > 1:
        register = _carried(register[::2], length) ^ register[1::2]
        length *= 2
    return int(~register[0])


def _bytewise(data: np.ndarray, crc: int) -> int:
    register = ~crc & 0xFFFFFFFF
    for byte in data.tolist():
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return ~register & 0xFFFFFFFF


def _carried(registers: np.ndarray, length: int) -> np.ndarray:
    """The registers after `length` bytes of zero."""
    result = np.zeros_like(registers)
    for bit, image in enumerate(_shift(length)):
        result ^= np.where(registers >> np.uint32(bit) & 1, image, np.uint32(0))
    return result


@functools.cache
def _shift(length: int) -> np.ndarray:
    """What each bit of a register becomes over `length` bytes of zero: by squaring, from one byte."""
    images = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if length == 1:
        for _ in range(8):
            images = (images >> 1) ^ np.where(images & 1, np.uint32(POLYNOMIAL), np.uint32(0))
        return images
    half = _shift(length // 2)
    images = _apply(half, half)
    return _apply(_shift(1), images) if length % 2 else images


def _apply(matrix: np.ndarray, registers: np.ndarray) -> np.ndarray:
    result = np.zeros_like(registers)
    for bit in range(32):
        result ^= np.where(registers >> np.uint32(bit) & 1, matrix[bit], np.uint32(0))
    return result
