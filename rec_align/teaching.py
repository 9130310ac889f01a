"""Makes the taught items of a corpus: draws of SASRecs, fitted on train, at each of its places.

They are the targets of `{corpus}_distillation`: a language model learns from them what a retriever
knows beyond the one item that was taken. In expectation a loss over draws is that over the
teacher's whole distribution (Hinton et al. 2015, arXiv 1503.02531), and needs no logits of it.
The teachers' item embeddings are kept, too: item tokens may start from them.
"""

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from rec_align.baselines import protocol
from rec_align.baselines.ensemble import Ensemble
from rec_align.baselines.registry import BASELINES
from rec_align.data import taught_items
from rec_align.data.corpus import num_items_at_build
from rec_align.data.taught_items import TaughtItems
from rec_align.eval import read_histories
from rec_align.pipeline.batches import leave_accelerators_alone
from rec_align.scored_runs import read_held_out

TEACHER = "sasrec"
_PLACES_AT_ONCE = 4096


def teach(
    corpus: str,
    *,
    num_draws: int,
    num_teachers: int = 1,
    seed: int = 0,
    force: bool = False,
    report: Callable[[str], None] = print,
) -> TaughtItems:
    """Makes the taught items, unless the same are there.

    Nothing but the train split is learned; the validation split says when to stop.

    Args:
      corpus: a built corpus.
      num_draws: kept at each place; training draws among them again.
      num_teachers: networks whose mean draws; one after the other has the next seed.
      seed: of the first teacher and the draws.
      force: make them anew where there are others.
      report: takes each line of progress.

    Raises:
      ValueError: the corpus is not built, has others, or a number is out of range.
    """
    num_items = num_items_at_build(corpus)
    if num_draws < 1:
        raise ValueError(f"--num-draws {num_draws}: keep 1 or more at each place")
    if num_teachers < 1:
        raise ValueError(f"--num-teachers {num_teachers}: at least 1 is needed")
    options = {
        "teacher": TEACHER,
        "num_teachers": num_teachers,
        "seed": seed,
        "num_draws": num_draws,
    }
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
    validation = read_held_out(corpus, "validation")
    teachers = []
    for number in range(num_teachers):
        report(f"fitting {TEACHER} {number + 1} of {num_teachers} on {len(histories):,} histories")
        teachers.append(
            BASELINES[TEACHER](
                histories, num_items, validation=validation, seed=seed + number, report=report
            )
        )
    teacher = Ensemble(teachers)
    begins = np.cumsum([0, *map(len, histories)])
    users = np.repeat(np.arange(len(histories)), np.diff(begins))
    places = np.arange(len(users)) - begins[users]
    rng = np.random.default_rng(seed)
    draws = []
    with tqdm(desc="teach", total=len(places), unit=" places") as bar:
        for begin in range(0, len(places), _PLACES_AT_ONCE):
            chunk = slice(begin, begin + _PLACES_AT_ONCE)
            draws.append(_draw(teacher, histories, users[chunk], places[chunk], num_draws, rng))
            bar.update(len(draws[-1]))
    embeddings = np.concatenate([one.item_embeddings for one in teachers], axis=1)
    taught = TaughtItems(options=options, begins=begins, item_indices=np.concatenate(draws))
    taught_items.write(corpus, taught, embeddings)
    return taught


def _draw(
    teacher: protocol.Baseline,
    histories: protocol.Histories,
    users: np.ndarray,
    places: np.ndarray,
    num_draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """`item_indices` of some places, [n, num_draws] int32."""
    before = [histories[user][:place] for user, place in zip(users, places, strict=True)]
    of_places = [histories[user][place] for user, place in zip(users, places, strict=True)]
    drawn = np.repeat(np.array(of_places, np.int32)[:, None], num_draws, axis=1)
    for rows, scores in protocol.score_all(teacher, users, before, exclude_history=True):
        highest = scores.max(axis=1, keepdims=True)
        # Nothing is before the first item, and who has taken everything has nothing left to take.
        taught = (places[rows] > 0) & (highest[:, 0] != -np.inf)
        weights = np.exp(scores[taught] - highest[taught])
        ends = np.cumsum(weights, axis=1, dtype=np.float64)
        marks = rng.random((len(ends), num_draws)) * ends[:, -1:]
        for row, of_row, marks_of_row in zip(rows[taught], ends, marks, strict=True):
            # The item whose weight ends first after the mark: none without weight.
            drawn[row] = np.searchsorted(of_row, marks_of_row, side="right")
    return drawn
