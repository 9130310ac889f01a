"""The bytes of a table: unpacked, checked, and opened as often as wanted.

Sits below `table_forms`. A Parquet file, and text in UTF-8, gzipped or not, is never held whole.
What is: text in another encoding, gzipped Parquet, and a file that is not on this machine's disk.
"""

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from etils import epath

Opener = Callable[[], BinaryIO]
PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_PACKED = {b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}
_READ_BYTES = 1 << 20


def opener(source: epath.Path | bytes, label: str, encoding: str) -> Opener:
    """Checks a table's bytes and returns what opens them, unpacked, and as UTF-8 unless Parquet.

    Args:
      source: the file, or its bytes.
      label: the file's name, for messages.
      encoding: of the text.

    Raises:
      ValueError: it is empty, damaged, packed in a way that is not read, or not of the encoding.
    """
    if not isinstance(source, bytes) and "://" in str(source):
        source = source.read_bytes()
    opened = _in_memory(source) if isinstance(source, bytes) else lambda: source.open("rb")
    with _damage_told(label):
        opened, head = _unpacked(opened, label)
        if head.startswith(PARQUET):
            with opened() as file:  # found at its end, which a gzip file cannot jump to
                return _in_memory(file.read()) if isinstance(file, gzip.GzipFile) else opened
        return _checked_text(opened, label, encoding)


def lines(path: epath.PathLike) -> Iterator[bytes]:
    """Yields the lines of a file, gzipped or not, of which one is held; nothing is checked before.

    Raises:
      ValueError: it is damaged, which shows at its end, or packed in a way that is not read.
    """
    path = epath.Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory: give one file")
    with _damage_told(path.name):
        opened, _ = _unpacked(lambda: path.open("rb"), path.name)
        with opened() as file:
            yield from file


def _unpacked(opened: Opener, label: str) -> tuple[Opener, bytes]:
    """Returns what opens the bytes as they were before gzip, and the first of them."""
    if _head(opened, 2) == _GZIP:
        packed = opened
        opened = lambda: gzip.GzipFile(fileobj=packed())  # noqa: E731
    head = _head(opened, 8)
    for magic, kind in _PACKED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{label} is packed with {kind}: unpack it first (gzip is read as it is)"
            )
    return opened, head


@contextlib.contextmanager
def _damage_told(label: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(
            f"{label}: the gzip file is cut off or damaged ({error}): copy or download it again"
        ) from error


def _in_memory(data: bytes) -> Opener:
    return lambda: io.BytesIO(data)


def _head(opened: Opener, size: int) -> bytes:
    with opened() as file:
        return file.read(size)


def _checked_text(opened: Opener, label: str, encoding: str) -> Opener:
    """Reads all the text once, so that a bad byte anywhere is named before anything is built."""
    try:
        "a".encode(encoding)
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}: try utf-8 or latin-1") from error
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, lines, is_blank = 0, 1, True
    with opened() as file:
        while True:
            chunk = file.read(_READ_BYTES)
            waiting = decoder.getstate()[0]  # the first bytes of a character cut by the chunk's end
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                data, start = waiting + chunk, error.start
                line = lines + data.count(b"\n", 0, start)
                raise ValueError(
                    f"{label}, line {line}: byte 0x{data[start]:02x} at offset "
                    f"{offset - len(waiting) + start} is not {encoding}: name the file's "
                    "encoding, e.g. `--encoding latin-1`"
                ) from error
            if not chunk:
                break
            offset, lines = offset + len(chunk), lines + chunk.count(b"\n")
            is_blank = is_blank and not chunk.strip()
    if is_blank:
        raise ValueError(f"{label} is empty")
    if encoding.lower().replace("-", "") not in ("utf8", "ascii"):
        with opened() as file:
            data = file.read().decode(encoding).encode()
        opened = _in_memory(data)
    return (lambda: _past_mark(opened())) if _head(opened, 3) == codecs.BOM_UTF8 else opened


def _past_mark(file: BinaryIO) -> BinaryIO:
    file.read(len(codecs.BOM_UTF8))
    return file
