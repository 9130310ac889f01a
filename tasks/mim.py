"""`{corpus}_mim`, masked item modelling: a history with hidden items -> those items."""

import functools

import seqio

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import masking, seeds, templates, tokenization, windows
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.mim import FAMILY


def register(corpus: str) -> None:
    """Registers the task."""
    seqio.TaskRegistry.add(
        f"{corpus}_mim",
        source=CorpusSource(corpus),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            windows.history_windows,
            functools.partial(masking.mask_items, corpus=corpus),
            functools.partial(templates.fill_template, family=FAMILY),
            tokenization.tokenize_parts,
        ],
        output_features=output_features(corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        metric_fns=[seqio_metrics.span_accuracy],
    )
