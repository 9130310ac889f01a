"""Serialized `tf.train.Example`s of many users, without building a message for each.

Numbers are encoded for all users at once; a record is then a few slices of those bytes with their
lengths before them. The bytes are those of `SerializeToString(deterministic=True)`: see
https://protobuf.dev/programming-guides/encoding and TensorFlow's example.proto.
"""

import functools

import numpy as np

_BITS = 7  # of a number in each byte of a varint


class Encoded:
    """An array in the encoding of one of `Example`'s lists; any run of it can be taken.

    Args:
      values: [n] int64 or float32.
    """

    def __init__(self, values: np.ndarray):
        self._is_float = values.dtype.kind == "f"
        if self._is_float:
            self._bytes = values.astype("<f4").tobytes()
            self._offsets = None
        else:
            self._bytes, self._offsets = _varints(values)

    def feature(self, begin: int, end: int) -> bytes:
        """The values [begin, end) as a `Feature` message."""
        if self._is_float:
            packed = self._bytes[4 * begin : 4 * end]
        else:
            packed = self._bytes[self._offsets[begin] : self._offsets[end]]
        values = _field(1, packed) if packed else b""
        return _field(2 if self._is_float else 3, values)


def example(features: dict[str, bytes]) -> bytes:
    """An `Example` of features by name; deterministic records have the names in order."""
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, feature))
        for name, feature in sorted(features.items())
    )
    return _field(1, b"".join(entries))


def _field(number: int, payload: bytes) -> bytes:
    """A field of a message that has a length: tag, length, bytes."""
    return _head(number, len(payload)) + payload


@functools.lru_cache(maxsize=1 << 16)
def _head(number: int, length: int) -> bytes:
    head = bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= _BITS
    head.append(length)
    return bytes(head)


def _varints(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """All values as varints, and where each begins: int64 [n + 1]."""
    numbers = values.astype(np.int64).view(np.uint64)
    sizes = np.ones(len(numbers), np.int8)
    for count in range(1, 10):
        sizes += numbers >= np.uint64(1 << _BITS * count)
    offsets = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    encoded = np.empty(offsets[-1], np.uint8)
    for place in range(int(sizes.max(initial=0))):
        has = np.flatnonzero(sizes > place)
        byte = (numbers[has] >> np.uint64(_BITS * place)).astype(np.uint8) & 127
        encoded[offsets[has] + place] = byte | (sizes[has] > place + 1).astype(np.uint8) << _BITS
    return encoded.tobytes(), offsets
