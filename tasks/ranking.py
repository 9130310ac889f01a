"""`{corpus}_ranking`: a history and numbered candidates -> the candidate the user took."""

import functools

import seqio

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import (
    negatives,
    phrasing,
    postprocess,
    seeds,
    templates,
    tokenization,
    user_naming,
)
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import HELD_OUT_SPLITS, CorpusSource
from rec_align.pipeline.windows import one_item_windows
from rec_align.prompts.ranking import FAMILY


def _register(name: str, source: CorpusSource, unseen: bool = False) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            one_item_windows,
            functools.partial(negatives.ranking_candidates, corpus=source.corpus),
            functools.partial(negatives.candidate_tokens, corpus=source.corpus),
            functools.partial(phrasing.phrase_ranking, corpus=source.corpus),
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        postprocess_fn=postprocess.ranking,
        metric_fns=[seqio_metrics.ranking],
    )


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    _register(f"{corpus}_ranking", CorpusSource(corpus))
    _register(f"{corpus}_ranking_unseen", CorpusSource(corpus, HELD_OUT_SPLITS), unseen=True)
