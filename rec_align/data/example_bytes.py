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
        return _feature_head(self._is_float, len(packed)) + packed


def text_feature(text: str) -> bytes:
    """One text as a `Feature` message."""
    data = text.encode()
    values = _head(1, len(data)) + data
    return _head(1, len(values)) + values


def example(features: dict[str, bytes]) -> bytes:
    """An `Example` of features by name; deterministic records have the names in order."""
    pieces = []
    for name in sorted(features):
        feature = features[name]
        pieces += _entry_head(name, len(feature)), feature
    entries = b"".join(pieces)
    return _example_head(len(entries)) + entries


@functools.lru_cache(maxsize=1 << 16)
def _example_head(length: int) -> bytes:
    return _head(1, length)


@functools.lru_cache(maxsize=1 << 16)
def _feature_head(is_float: bool, length: int) -> bytes:
    """What is before the packed values of a `Feature`: a list in it, values in that."""
    values = _head(1, length) if length else b""
    return _head(2 if is_float else 3, len(values) + length) + values


@functools.lru_cache(maxsize=1 << 16)
def _entry_head(name: str, length: int) -> bytes:
    """What is before a feature in the map of an `Example`."""
    key = _head(1, len(name.encode())) + name.encode()
    value = _head(2, length)
    return _head(1, len(key) + len(value) + length) + key + value


def _head(number: int, length: int) -> bytes:
    """What is before the bytes of a field: its number and how many they are."""
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
