"""Records encoded in bulk are TensorFlow's own, byte for byte."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.data.example_bytes import Encoded, example, text_feature

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(INT64, FLOAT32), max_size=200), st.text(max_size=200), st.data())
def test_the_bytes_are_those_of_the_message(rows, text, data):
    begin = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(begin, len(rows)))
    items = np.array([row[0] for row in rows], np.int64)
    ratings = np.array([row[1] for row in rows], np.float32)
    found = example(
        {
            "z": Encoded(items).feature(begin, end),
            "ratings": Encoded(ratings).feature(begin, end),
            "text": text_feature(text),
        }
    )
    message = tf.train.Example()
    message.features.feature["z"].int64_list.value.extend(items[begin:end].tolist())
    message.features.feature["z"].int64_list.SetInParent()
    message.features.feature["ratings"].float_list.value.extend(ratings[begin:end].tolist())
    message.features.feature["ratings"].float_list.SetInParent()
    message.features.feature["text"].bytes_list.value.append(text.encode())
    assert found == message.SerializeToString(deterministic=True)
