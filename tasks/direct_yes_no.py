"""`{corpus}_direct_yes_no`: a user's items in no order, and an item -> is it theirs too?

P5's direct recommendation (Geng et al. 2022): not what comes next, but what suits. P5 names the
user by a token; here the user's items do. Its other direct task, to pick one of 100 candidates, is
`{corpus}_ranking` with `ranking_candidates.num_candidates = 100`, so it is not here once more.
"""

import functools

import seqio

from rec_align.metrics import generation_metrics
from rec_align.pipeline import (
    negatives,
    postprocess,
    seeds,
    templates,
    tokenization,
    user_naming,
    windows,
    yes_no,
)
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import HELD_OUT_SPLITS, CorpusSource
from rec_align.prompts.direct_yes_no import FAMILY


def _register(name: str, source: CorpusSource, unseen: bool = False) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            windows.unordered_windows,
            functools.partial(negatives.ranking_candidates, corpus=source.corpus, num_candidates=2),
            functools.partial(yes_no.phrase_item_question, corpus=source.corpus),
            yes_no.answer_tokens,
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        postprocess_fn=postprocess.yes_no,
        metric_fns=[generation_metrics.yes_no],
    )


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    _register(f"{corpus}_direct_yes_no", CorpusSource(corpus))
    _register(f"{corpus}_direct_yes_no_unseen", CorpusSource(corpus, HELD_OUT_SPLITS), unseen=True)
