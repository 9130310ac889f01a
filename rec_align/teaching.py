"""Makes the taught items of a corpus: SASRec, fitted on train, ranks items at each of its places.

Its best items, drawn by its probabilities, are the targets of `{corpus}_distillation`: a language
model learns from them what a retriever knows beyond the one item that was taken.
"""

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from rec_align.baselines import protocol
from rec_align.baselines.registry import BASELINES
from rec_align.data import taught_items
from rec_align.data.corpus import num_items_at_build
from rec_align.data.taught_items import SHARES, TaughtItems
from rec_align.eval import read_histories
from rec_align.metrics.ranking import NO_ITEM
from rec_align.pipeline.batches import leave_accelerators_alone
from rec_align.scored_runs import read_held_out

TEACHER = "sasrec"
_USUAL_ITEMS = 20
_PLACES_AT_ONCE = 4096


def teach(
    corpus: str,
    *,
    num_items: int | None = None,
    seed: int = 0,
    force: bool = False,
    report: Callable[[str], None] = print,
) -> TaughtItems:
    """Makes the taught items, unless the same are there.

    Nothing but the train split is learned; the validation split says when to stop.

    Args:
      corpus: a built corpus.
      num_items: kept at each place; None: 20, or one less than the catalogue has.
      seed: of the teacher.
      force: make them anew where there are others.
      report: takes each line of progress.

    Raises:
      ValueError: the corpus is not built, has others, or a number is out of range.
    """
    most = num_items_at_build(corpus) - 1
    num_items = min(_USUAL_ITEMS, most) if num_items is None else num_items
    if not 1 <= num_items <= most:
        raise ValueError(
            f"--num-items {num_items}: choose 1 to {most}, one less than the catalogue"
        )
    options = {"teacher": TEACHER, "seed": seed, "num_items": num_items}
    if taught_items.exists(corpus) and not force:
        taught = taught_items.read(corpus)
        if taught.options != options:
            raise ValueError(
                f"the taught items of corpus {corpus!r} were made with {taught.options}, and are "
                f"wanted with {options}: give --force to make them anew"
            )
        report(f"the items of {corpus} are already taught")
        return taught
    leave_accelerators_alone()
    histories = protocol.train_histories(read_histories(corpus, "train"))
    report(f"fitting {TEACHER} on {len(histories):,} histories")
    teacher = BASELINES[TEACHER](
        histories,
        num_items_at_build(corpus),
        validation=read_held_out(corpus, "validation"),
        seed=seed,
        report=report,
    )
    begins = np.cumsum([0, *map(len, histories)])
    users = np.repeat(np.arange(len(histories)), np.diff(begins))
    places = np.arange(len(users)) - begins[users]
    item_indices, ends = [], []
    with tqdm(desc="teach", total=len(places), unit=" places") as bar:
        for begin in range(0, len(places), _PLACES_AT_ONCE):
            chunk = slice(begin, begin + _PLACES_AT_ONCE)
            found = _taught(teacher, histories, users[chunk], places[chunk], num_items)
            item_indices.append(found[0])
            ends.append(found[1])
            bar.update(len(found[0]))
    taught = TaughtItems(
        options=options,
        begins=begins,
        item_indices=np.concatenate(item_indices),
        ends=np.concatenate(ends),
    )
    taught_items.write(corpus, taught)
    return taught


def _taught(
    teacher: protocol.Baseline,
    histories: protocol.Histories,
    users: np.ndarray,
    places: np.ndarray,
    num_items: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`item_indices` and `ends` of some places, each [n, num_items] int32."""
    before = [histories[user][:place] for user, place in zip(users, places, strict=True)]
    items, scores = protocol.best_items(teacher, users, before, num_items, exclude_history=True)
    scores = scores.astype(np.float64)
    # Nothing is before the first item, and who has taken everything has nothing left to take.
    itself = (places == 0) | (items[:, 0] == NO_ITEM)
    taken = zip(users[itself], places[itself], strict=True)
    items[itself, 0] = [histories[user][place] for user, place in taken]
    items[itself, 1:] = NO_ITEM
    scores[itself, 0], scores[itself, 1:] = 0.0, -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    ends = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    ends[:, -1] = 1.0
    return items.astype(np.int32), np.rint(ends * SHARES).astype(np.int32)
