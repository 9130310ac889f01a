"""`{corpus}_item_embedding`: an item's title <-> its categories, brand and year."""

import functools

import seqio

from rec_align.pipeline import attributes, seeds, templates, tokenization
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import ItemSource
from rec_align.prompts.item_embedding import FAMILY


def register(corpus: str) -> None:
    """Registers the task; it has a train split only, for its answers are no held-out facts."""
    seqio.TaskRegistry.add(
        f"{corpus}_item_embedding",
        source=ItemSource(corpus),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            functools.partial(attributes.item_attributes, corpus=corpus, family=FAMILY),
            functools.partial(templates.fill_template, family=FAMILY),
            tokenization.tokenize_parts,
        ],
        output_features=output_features(corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        metric_fns=[],
    )
