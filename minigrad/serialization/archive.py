"""The zip file around torch's checkpoints: records stored as they are, each beginning at a multiple of 64 bytes.

    record, record, ..., central directory (one entry a record), [zip64 end], end

The `end` tells where the directory is, the directory tells where the records are. What makes a zip file
dangerous (compression, records that overlap or appear twice, sizes beyond the file) torch never writes, so the
reader refuses it and every size that is left is one that the file really has.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO, NamedTuple

import numpy as np

from .files import Source

MAGIC = b"PK\3\4"
ALIGNMENT = 64
ABSENT_16, ABSENT_32 = 0xFFFF, 0xFFFFFFFF    # in place of a number that stands in one of zip64's 64-bit fields
ZIP64_FROM = ABSENT_32                       # the first number that does

# Every field in order, little-endian without padding, as in PKWARE's APPNOTE, sections 4.3 and 4.5.
_LOCAL = struct.Struct("<4s5H3I2H")          # signature, version, flags, method, time, date, crc, sizes, lengths
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_EXTRA = struct.Struct("<2H")                # an extra field's id and length
_ZIP64_ID, _PADDING_ID = 1, 0x4246
_VERSION_64 = 45
_ENCRYPTED, _UTF8 = 1, 1 << 11
_NEW_YEAR_1980 = 1 << 5 | 1                  # the earliest date a zip file can hold


class Record(NamedTuple):
    offset: int      # of the data itself
    size: int
    crc: int


def damaged(what: str) -> RuntimeError:
    return RuntimeError(f"PytorchStreamReader failed reading zip archive: {what}. The file is damaged or was not "
                        "written by torch.save; fetch or save it again.")


class Reader:
    """The records of an archive, by name without the top folder that all of them share."""

    def __init__(self, source: Source):
        self._source = source
        try:
            directory, start, count = self._find_directory()
            self.records = self._read_directory(directory, start, count)
        except (struct.error, EOFError, UnicodeDecodeError):
            raise damaged("failed finding central directory") from None
        # torch.serialization.set_crc32_options(False) writes zero for every checksum.
        self._checked = any(record.crc for record in self.records.values())

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def read(self, name: str) -> bytes:
        record = self._record(name)
        return self._verified(name, record, self._source.read(record.offset, record.size))

    def array(self, name: str, size: int, mapped: bool = False) -> np.ndarray:
        """The record as bytes in memory of their own. A mapped record is not read here, so not verified either."""
        record = self._record(name)
        if record.size != size:
            raise damaged(f"record {name!r} has {record.size} bytes where {size} are expected")
        array = self._source.array(record.offset, size)
        return array if mapped else self._verified(name, record, array)

    def _record(self, name: str) -> Record:
        try:
            return self.records[name]
        except KeyError:
            raise damaged(f"there is no record {name!r}") from None

    def _verified(self, name: str, record: Record, data):
        if self._checked and zlib.crc32(data) != record.crc:
            raise damaged(f"the checksum of record {name!r} does not match")
        return data

    def _find_directory(self) -> tuple[bytes, int, int]:
        source = self._source
        end = source.size - _END.size
        signature, disk, first_disk, here, count, size, start, comment = _END.unpack(source.read(end, _END.size))
        if signature != b"PK\5\6" or disk or first_disk or here != count or comment:
            raise damaged("failed finding central directory")
        if end >= _LOCATOR_64.size:
            locator = source.read(end - _LOCATOR_64.size, _LOCATOR_64.size)
            signature, _, end_64, _ = _LOCATOR_64.unpack(locator)
            if signature == b"PK\6\7":
                signature, *_, here, count, size, start = _END_64.unpack(source.read(end_64, _END_64.size))
                if signature != b"PK\6\6" or here != count:
                    raise damaged("failed finding central directory")
                end = end_64
        if start + size != end:
            raise damaged("the central directory is not where the file says")
        return source.read(start, size), start, count

    def _read_directory(self, directory: bytes, start: int, count: int) -> dict[str, Record]:
        records: dict[str, Record] = {}
        spans = []
        at = 0
        while at < len(directory):
            (signature, _, _, flags, method, _, _, crc, stored, size, name_length, extra_length, comment_length,
             _, _, _, offset) = _CENTRAL.unpack_from(directory, at)
            at += _CENTRAL.size
            raw_name = directory[at:at + name_length]
            extra = directory[at + name_length:at + name_length + extra_length]
            at += name_length + extra_length + comment_length
            size, stored, offset = _wide([size, stored, offset], extra)
            name = raw_name.decode("utf-8")
            if signature != b"PK\1\2" or at > len(directory):
                raise damaged("the central directory is malformed")
            if method or flags & _ENCRYPTED or stored != size:
                raise damaged(f"record {name!r} is compressed or encrypted, and torch.save stores records as they are")
            if name in records:
                raise damaged(f"record {name!r} appears twice")
            data = self._data_offset(raw_name, offset)
            records[name] = Record(data, size, crc)
            spans.append((offset, data + size))
        if len(records) != count or not records:
            raise damaged(f"the central directory has {len(records)} records and claims {count}")
        spans.sort()
        ends = [0] + [end for _, end in spans]
        starts = [begin for begin, _ in spans] + [start]
        if any(begin < end for begin, end in zip(starts, ends)):
            raise damaged("records overlap")
        top = {name.partition("/")[0] for name in records}
        if len(top) != 1:
            raise damaged("the records do not share one top folder")
        return {name.partition("/")[2]: record for name, record in records.items()}

    def _data_offset(self, name: bytes, offset: int) -> int:
        """Where a record's data begins: behind its local header, which repeats the name and has its own padding."""
        signature, *_, name_length, extra_length = _LOCAL.unpack(self._source.read(offset, _LOCAL.size))
        if signature != MAGIC or self._source.read(offset + _LOCAL.size, name_length) != name:
            raise damaged(f"the header of record {name.decode('utf-8')!r} does not match the central directory")
        return offset + _LOCAL.size + name_length + extra_length


def _wide(fields: list[int], extra: bytes) -> list[int]:
    """Replace the fields that did not fit into 32 bits by their 64-bit values, which stand in order in `extra`."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _ZIP64_ID:
            missing = [i for i, field in enumerate(fields) if field == ABSENT_32]
            values = struct.unpack_from(f"<{len(missing)}Q", extra, at)
            for i, value in zip(missing, values):
                fields[i] = value
            break
        at += length
    return fields


class Writer:
    """Writes an archive from front to back: `file` need not be seekable."""

    def __init__(self, file: IO[bytes], top: str):
        self._file, self._top = file, top
        self._position = 0
        self._directory: list[bytes] = []

    def add(self, name: str, data: bytes | memoryview) -> None:
        raw_name = f"{self._top}/{name}".encode()
        crc, size, offset = zlib.crc32(data), len(data), self._position
        # A local header gives both sizes in zip64 or neither, a central one only those numbers that need it.
        extra = _extra(_ZIP64_ID, struct.pack("<2Q", size, size)) if size >= ZIP64_FROM else b""
        unpadded = offset + _LOCAL.size + len(raw_name) + len(extra) + _EXTRA.size
        extra += _extra(_PADDING_ID, b"Z" * (-unpadded % ALIGNMENT))
        common = (_VERSION_64, _UTF8, 0, 0, _NEW_YEAR_1980, crc, _narrow(size), _narrow(size), len(raw_name))
        self._write(_LOCAL.pack(MAGIC, *common, len(extra)) + raw_name + extra)
        self._write(data)

        wide = [number for number in (size, size, offset) if number >= ZIP64_FROM]
        extra = _extra(_ZIP64_ID, struct.pack(f"<{len(wide)}Q", *wide)) if wide else b""
        self._directory.append(_CENTRAL.pack(b"PK\1\2", _VERSION_64, *common, len(extra), 0, 0, 0, 0, _narrow(offset))
                               + raw_name + extra)

    def close(self) -> None:
        directory, start, count = b"".join(self._directory), self._position, len(self._directory)
        self._write(directory)
        if start + len(directory) >= ZIP64_FROM or count >= ABSENT_16:
            end = self._position
            self._write(_END_64.pack(b"PK\6\6", _END_64.size - 12, _VERSION_64, _VERSION_64, 0, 0, count, count,
                                     len(directory), start))
            self._write(_LOCATOR_64.pack(b"PK\6\7", 0, end, 1))
        count = min(count, ABSENT_16)
        self._write(_END.pack(b"PK\5\6", 0, 0, count, count, _narrow(len(directory)), _narrow(start), 0))

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)


def _narrow(number: int) -> int:
    return number if number < ZIP64_FROM else ABSENT_32


def _extra(kind: int, data: bytes) -> bytes:
    return _EXTRA.pack(kind, len(data)) + data
