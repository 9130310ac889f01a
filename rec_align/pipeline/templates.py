"""Templates: the fields of an example -> the prompt and the targets, as parts with blocks."""

import numpy as np
import tensorflow as tf

from rec_align.pipeline.seeds import TEMPLATE, fold
from rec_align.pipeline.sources import is_train
from rec_align.prompts import Family, Template

Example = dict[str, tf.Tensor]


def _choose_templates(
    dataset: tf.data.Dataset, family: Family, unseen: bool
) -> tuple[Template, ...]:
    if unseen:
        return (family.unseen,)
    return family.seen if is_train(dataset) else family.seen[:1]


def _lay_out(
    templates: tuple[Template, ...],
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Templates as numbers.

    Returns:
      fields, in any fixed order; the plain texts of all templates; segments [templates, slots], the
      slots of each template as numbers into fields + texts + one empty segment; glue [templates,
      slots, 2] str, what touches each slot on the left and right.
    """
    slots = [template.input_slots for template in templates]
    fields = sorted({slot.field for row in slots for slot in row if slot.field})
    texts = sorted({slot.text for row in slots for slot in row if slot.text})
    names = {("field", name): number for number, name in enumerate(fields)}
    names |= {("text", text): len(fields) + number for number, text in enumerate(texts)}
    segments = np.full((len(templates), max(map(len, slots))), len(names), np.int32)
    glue = np.full((*segments.shape, 2), "", object)
    places = [(r, c, slot) for r, row in enumerate(slots) for c, slot in enumerate(row)]
    for row, column, slot in places:
        key = ("field", slot.field) if slot.field else ("text", slot.text)
        segments[row, column] = names[key]
        glue[row, column] = slot.prefix, slot.suffix
    return fields, texts, segments, glue


def _join(parts: tf.Tensor, separator: str) -> tf.Tensor:
    return tf.strings.reduce_join(
        tf.boolean_mask(parts, tf.not_equal(parts, "")), separator=separator
    )


def fill_template(
    dataset: tf.data.Dataset, *, family: Family, unseen: bool = False
) -> tf.data.Dataset:
    """Writes fields (see `phrasing`) into a template: drawn in training, the first in evaluation.

    Example: template 'Next? History: {history}', history 'A;' 'B;' in blocks 1 2 -> parts
    'Next? History:' 'A;' 'B;' in blocks 0 1 2.

    Args:
      dataset: examples with `{field}_parts` and so on, and `seed`; with `template_index`, that
        template of `family.seen` is taken.
      family: the task's templates.
      unseen: whether to take the template that is never trained on.

    Returns:
      The examples with `inputs_parts` [n] string, `inputs_part_blocks` [n] int32,
      `inputs_part_items` [n] int32 (the history item a part belongs to, 1 = oldest; 0 = never
      cut), `targets_parts` [m] string, `targets_part_blocks` [m] int32, `inputs_pretokenized` and
      `targets_pretokenized`.
    """
    templates = _choose_templates(dataset, family, unseen)
    fields, texts, segments, glue = _lay_out(templates)
    has_glue = bool((glue != "").any())
    target_fields = sorted({template.target_field for template in templates})
    target_choice = tf.constant([target_fields.index(t.target_field) for t in templates])
    segments, glue = tf.constant(segments), tf.constant(glue.tolist())

    def pick(example: Example) -> tf.Tensor:
        if "template_index" in example:
            return example["template_index"]
        if len(templates) == 1:
            return tf.constant(0)
        seed = fold(example["seed"], TEMPLATE)
        return tf.random.stateless_uniform([], seed, 0, len(templates), tf.int32)

    def gather_inputs(example: Example, template: tf.Tensor) -> Example:
        parts = [example[f"{name}_parts"] for name in fields]
        zeros = [tf.zeros(tf.shape(p), tf.int32) for p in parts]
        no_text = tf.zeros([len(texts)], tf.int32)
        blocks = [example.get(f"{n}_blocks", z) for n, z in zip(fields, zeros, strict=True)]
        items = [example.get(f"{n}_items", z) for n, z in zip(fields, zeros, strict=True)]
        lengths = tf.stack([*(tf.size(p) for p in parts), *[1] * len(texts), 0])
        starts = tf.cumsum(lengths, exclusive=True)
        slots = segments[template]
        starts, lengths = tf.gather(starts, slots), tf.gather(lengths, slots)
        places = tf.ragged.range(starts, starts + lengths).values
        written = tf.gather(tf.concat([*parts, texts], 0), places)
        if has_glue:
            touching = tf.repeat(glue[template], lengths, axis=0)
            written = touching[:, 0] + written + touching[:, 1]
        return {
            "inputs_parts": written,
            "inputs_part_blocks": tf.gather(tf.concat([*blocks, no_text], 0), places),
            "inputs_part_items": tf.gather(tf.concat([*items, no_text], 0), places),
            "inputs_pretokenized": _join(written, " "),
        }

    def gather_targets(example: Example, template: tf.Tensor) -> Example:
        parts = example[f"{target_fields[0]}_parts"]
        if len(target_fields) > 1:  # all of one part
            parts = tf.concat([example[f"{name}_parts"] for name in target_fields], 0)
            parts = parts[target_choice[template]][None]
        blocks = example.get("target_blocks", tf.ones(tf.shape(parts), tf.int32))
        return {
            "targets_parts": parts,
            "targets_part_blocks": blocks,
            "targets_pretokenized": _join(parts, " | "),
        }

    def fill(example: Example) -> Example:
        template = pick(example)
        return example | gather_inputs(example, template) | gather_targets(example, template)

    return dataset.map(fill, num_parallel_calls=tf.data.AUTOTUNE)
