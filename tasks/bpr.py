"""`{corpus}_bpr`, pairwise preference: a history and two items -> the one the user took.

The name is that of Bayesian personalised ranking (Rendle et al. 2009, arXiv 1205.2618), whose
pairs of a taken and a not taken item these are.
"""

import functools

import seqio

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import negatives, phrasing, seeds, templates, tokenization
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import CorpusSource
from rec_align.pipeline.windows import one_item_windows
from rec_align.prompts.bpr import FAMILY


def register(corpus: str) -> None:
    """Registers the task."""
    seqio.TaskRegistry.add(
        f"{corpus}_bpr",
        source=CorpusSource(corpus),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            one_item_windows,
            functools.partial(negatives.ranking_candidates, corpus=corpus, num_candidates=2),
            functools.partial(phrasing.phrase_pair, corpus=corpus),
            functools.partial(templates.fill_template, family=FAMILY),
            tokenization.tokenize_parts,
        ],
        output_features=output_features(corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        metric_fns=[seqio_metrics.span_accuracy],
    )
