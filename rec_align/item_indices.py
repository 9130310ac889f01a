"""Makes the item indices of a corpus, from its text and its train split alone.

What is learned is learned from the items that the train split has. The others, and those that come
after, get codes from their text alone.
"""

import json
from collections.abc import Callable

import numpy as np
from etils import epath

from rec_align import text_encoder
from rec_align.data import item_codes
from rec_align.data.corpus import (
    num_items_at_build,
    read_catalogue,
    train_histories,
    train_item_counts,
)
from rec_align.data.item_codes import ItemCodes
from rec_align.indexing import sentence_encoder
from rec_align.indexing.collaborative import collaborative_codes
from rec_align.indexing.distinct import distinct, further_codes
from rec_align.indexing.report import describe, table, warnings
from rec_align.indexing.residual_kmeans import ResidualKMeans, check_sizes
from rec_align.indexing.rq_vae import RQVAE
from rec_align.pipeline import item_writing
from rec_align.pipeline.item_index import open_item_index
from rec_align.pipeline.vocabulary import CorpusVocabulary

Report = Callable[[str], None]

_QUANTIZERS = {"rq_vae": RQVAE, "residual_kmeans": ResidualKMeans}
_QUANTIZER_FILE, _ENCODER_FOLDER = "quantizer.npz", "text_encoder"
_LEAST_FURTHER_CODES = 32
_NUM_CLUSTERS = 32  # of a level of collaborative codes, and the most items of a last cluster


def build_semantic(
    corpus: str,
    name: str = "semantic",
    *,
    encoder: str = "t5",
    quantizer: str = "rq_vae",
    num_levels: int = 3,
    num_codes: int = 256,
    seed: int = 0,
    force: bool = False,
    report: Report = print,
) -> ItemCodes:
    """TIGER's semantic ids (Rajput et al. 2023): text -> embedding -> codes, coarse to fine.

    Args:
      corpus: a built corpus.
      name: of the index.
      encoder: "t5", the corpus's own, or "sentence", all-MiniLM-L6-v2.
      quantizer: "rq_vae" or "residual_kmeans".
      num_levels: codes an item, without the further one of items that share all of them.
      num_codes: codes a level.
      seed: of the quantizer.
      force: make it anew where it is there.
      report: takes each line of progress.

    Raises:
      ValueError: the corpus is not built, or the index is there and was made otherwise.
    """
    options = {
        "encoder": encoder,
        "quantizer": quantizer,
        "num_levels": num_levels,
        "num_codes": num_codes,
        "seed": seed,
    }
    check_sizes(num_levels, num_codes)
    known = _known(corpus, name, options, force, report)
    if known:
        return known
    folder = _building_folder(corpus, name, options)
    if encoder == "t5":
        report("text encoder: the corpus's own T5, trained on its items' text")
        text_encoder.train_text_encoder(corpus, folder / _ENCODER_FOLDER)
    embeddings = _embed(corpus, folder, encoder, slice(None), report)
    if not np.ptp(embeddings, axis=0).any():
        raise ValueError(
            f"all items of corpus {corpus!r} have the same text, so nothing tells them apart: "
            "build the corpus with titles or categories, or choose a collaborative index"
        )
    in_train = train_item_counts(corpus) > 0
    model = _QUANTIZERS[quantizer].fit(
        embeddings[in_train], num_levels=num_levels, num_codes=num_codes, seed=seed
    )
    model.save(folder / _QUANTIZER_FILE)
    codes = np.empty((len(embeddings), num_levels + 1), np.int32)
    codes[in_train] = distinct(model.codes(embeddings[in_train]))
    if not in_train.all():
        report(f"{(~in_train).sum():,} items are not in train: their codes come from their text")
        codes[~in_train] = further_codes(codes[in_train], model.codes(embeddings[~in_train]))
    sizes = (*model.codebook_sizes, _room(codes[:, -1]))
    return _keep(corpus, name, folder, ItemCodes.fitted(codes, sizes, "semantic", options))


def build_collaborative(
    corpus: str,
    name: str = "collaborative",
    *,
    seed: int = 0,
    force: bool = False,
    report: Report = print,
) -> ItemCodes:
    """Clusters of items that users take together (P5-CID, Hua et al. 2023); train split only.

    Args:
      corpus: a built corpus.
      name: of the index.
      seed: of the clustering.
      force: make it anew where it is there.
      report: takes each line of progress.

    Raises:
      ValueError: the corpus is not built, or the index is there and was made otherwise.
    """
    options = {"seed": seed}
    known = _known(corpus, name, options, force, report)
    if known:
        return known
    num_items = num_items_at_build(corpus)
    report(f"clustering {num_items:,} items by the train split")
    codes = distinct(
        collaborative_codes(
            train_histories(corpus),
            num_items,
            num_clusters=_NUM_CLUSTERS,
            leaf_size=_NUM_CLUSTERS,
            seed=seed,
        )
    )
    # The first level has a code more, of the items that are not in train.
    sizes = [_NUM_CLUSTERS + 1] + [_NUM_CLUSTERS] * (codes.shape[1] - 2) + [_room(codes[:, -1])]
    folder = _building_folder(corpus, name, options)
    return _keep(corpus, name, folder, ItemCodes.fitted(codes, sizes, "collaborative", options))


def extend(corpus: str, name: str, *, report: Report = print) -> int:
    """Gives codes to the items that came after the index was made; those there keep theirs.

    Returns:
      How many items got codes.

    Raises:
      ValueError: there is no such index, or its kind needs interactions.
    """
    index = item_codes.read_item_codes(corpus, name)
    first = len(index.codes)
    num_new = len(read_catalogue(corpus)) - first
    if not num_new:
        return 0
    if index.kind != "semantic":
        raise ValueError(
            f"item index {name!r} is {index.kind}: its codes come from interactions, which the "
            f"{num_new:,} new items have not. Runs with it go on without them; for new items take "
            "a semantic index, or titles"
        )
    folder = item_codes.folder_of(corpus, name)
    embeddings = _embed(corpus, folder, index.options["encoder"], slice(first, None), report)
    model = _QUANTIZERS[index.options["quantizer"]].load(folder / _QUANTIZER_FILE)
    codes = further_codes(index.codes, model.codes(embeddings))
    index.extended(codes).write(folder)
    item_writing.reload()
    return num_new


def report(corpus: str, name: str) -> str:
    """Lengths in tokens of a way of writing, and of codes their collisions and use, as text."""
    with item_writing.using(name):
        writing = item_writing.open_writing(corpus)
        lengths = (open_item_index(corpus, CorpusVocabulary(corpus)).item_tokens > 0).sum(axis=1)
    lines = [
        f"{writing.name}: {len(lengths):,} items, {lengths.mean():.2f} tokens an item with its "
        f"end, {lengths.max()} at most; {len(writing.tokens):,} entries of the vocabulary are its "
        "own",
        f"  for example {writing.texts[0]!r} is {writing.catalogue.texts[0]!r}",
    ]
    num_missing = len(writing.catalogue) - len(lengths)
    if num_missing:
        lines.append(f"warning: {num_missing:,} items came later and are not written, see `extend`")
    for part in writing.name.split("+"):
        if part not in item_writing.WAYS:
            codes = item_codes.read_item_codes(corpus, part)
            found = describe(codes.codes[:, :-1], codes.codebook_sizes[:-1])
            lines += [table(found), *(f"warning: {line}" for line in warnings(found))]
    return "\n".join(lines)


def _known(corpus: str, name: str, options: dict, force: bool, report: Report) -> ItemCodes | None:
    """The index where it is there already; refuses names and indices that stand in the way."""
    if name in item_writing.WAYS or not name.isidentifier():
        raise ValueError(
            f"--name {name!r}: use letters, digits and underscores, and none of "
            f"{', '.join(item_writing.WAYS)}"
        )
    if force or name not in item_codes.list_item_codes(corpus):
        return None
    known = item_codes.read_item_codes(corpus, name)
    if known.options != options:
        raise ValueError(
            f"corpus {corpus!r} has an index {name!r} made with {known.options}: give another "
            "--name, or --force to make it anew (runs trained with it are lost)"
        )
    report(f"{name} is already made (--force makes it anew)")
    return known


def _building_folder(corpus: str, name: str, options: dict) -> epath.Path:
    """A folder beside the index's place, with what a build of these options left when it ended."""
    folder = item_codes.folder_of(corpus, f".{name}.building")
    made_with = folder / "options.json"
    if folder.exists() and not (
        made_with.exists() and json.loads(made_with.read_text()) == options
    ):
        folder.rmtree()
    folder.mkdir(parents=True, exist_ok=True)
    made_with.write_text(json.dumps(options))
    return folder


def _embed(
    corpus: str, folder: epath.Path, encoder: str, items: slice, report: Report
) -> np.ndarray:
    """[items, d] float32: the embeddings of the text of some items."""
    sentences = sentence_encoder.item_sentences(read_catalogue(corpus))[items]
    if encoder == "sentence":
        return sentence_encoder.encode_sentences(sentences, report=report)
    return text_encoder.encode_texts(corpus, folder / _ENCODER_FOLDER, sentences)


def _room(further: np.ndarray) -> int:
    """How many further codes the vocabulary has: twice as many as are used, for items to come."""
    return max(_LEAST_FURTHER_CODES, 2 * (int(further.max()) + 1))


def _keep(corpus: str, name: str, folder: epath.Path, index: ItemCodes) -> ItemCodes:
    """Writes a new index into the folder it was built in, and puts that in its place."""
    index.write(folder)
    place = item_codes.folder_of(corpus, name)
    if place.exists():
        place.rmtree()
    folder.rename(place)
    item_writing.reload()
    return index
