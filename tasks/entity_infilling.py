"""`{corpus}_entity_infilling`: a record of interactions with blanks -> the entities in them.

RecSysLLM's training task (Chu et al. 2023). Held-out splits ask for one entity, the last that is
written of the held-out interaction: its category, its brand, the item or its rating.
`{corpus}_review_infilling` is the same on single interactions with a sentence of their review; it
has a train split only.
"""

import functools

import seqio

from rec_align.metrics import entity_match
from rec_align.pipeline import entity_masks, postprocess, records, seeds, templates
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.review_source import ReviewSource
from rec_align.pipeline.sources import HELD_OUT_SPLITS, CorpusSource
from rec_align.prompts.entity_infilling import FAMILY

# Each task draws apart from the others of a mixture.
SEEDS = (FAMILY.name, "review_infilling")


def _register(
    name: str, source: CorpusSource | ReviewSource, of_reviews: bool = False, unseen: bool = False
) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=SEEDS[of_reviews]),
            records.review_records if of_reviews else records.record_windows,
            functools.partial(
                records.phrase_records, corpus=source.corpus, ends_early=not of_reviews
            ),
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            entity_masks.tokenize_records,
            entity_masks.hide_entities,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        postprocess_fn=postprocess.entity,
        metric_fns=[] if of_reviews else [entity_match.entity_match],
    )


def register(corpus: str) -> None:
    """Registers the task, its evaluation with the template never trained on, and that of reviews.

    Reviews lie apart from the histories, and are of single interactions.
    """
    name = f"{corpus}_entity_infilling"
    _register(name, CorpusSource(corpus))
    _register(f"{name}_unseen", CorpusSource(corpus, HELD_OUT_SPLITS), unseen=True)
    reviews = ReviewSource(corpus, ("train",), needs_explanations=True)
    _register(f"{corpus}_review_infilling", reviews, of_reviews=True)
