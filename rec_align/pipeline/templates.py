"""Templates: the fields of an example -> the prompt and the targets, as parts with blocks."""

import numpy as np
import seqio
import tensorflow as tf

from rec_align.pipeline.ragged import Batch, Rows, as_ragged, from_splits, map_batches
from rec_align.pipeline.seeds import TEMPLATE, uniform
from rec_align.pipeline.sources import is_train
from rec_align.prompts import Family, Template


def families_of(task: seqio.Task) -> set[Family]:
    """The families whose templates a task fills."""
    return {
        value
        for step in task.preprocessors
        for value in getattr(step, "keywords", {}).values()
        if isinstance(value, Family)
    }


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


def _join(parts: tf.RaggedTensor, separator: str) -> tf.Tensor:
    """The parts of each row that are not empty as one text: [batch, (parts)] -> [batch]."""
    written = tf.where(tf.not_equal(parts.values, ""))[:, 0]
    return tf.strings.unsorted_segment_join(
        tf.gather(parts.values, written),
        tf.gather(Rows.of(parts.row_splits).numbers, written),
        tf.size(parts.row_splits) - 1,
        separator,
    )


def _entities(items: tf.Tensor, slots: tf.Tensor, is_field: tf.Tensor, rows: Rows) -> tf.Tensor:
    """Numbers the entities of each prompt, in order: [n] int32, 1 first, 0 = the template's text.

    Each part of a field is one, but parts of one history item are one together. Example: 'Rate'
    'A:' '4;' 'B:' of items 0 1 1 2 -> 0 1 1 2.

    Args:
      items: [n] int32, the history item of each part, 0 = none.
      slots: [n] int32, which slot of all templates a part fills.
      is_field: [n] bool, whether it is of a field, and not empty.
      rows: the prompts that the parts are in.
    """
    before = tf.concat([items[:1], items[:-1]], 0)
    slots_before = tf.concat([[-1], slots[:-1]], 0)
    goes_on = (items > 0) & tf.equal(items, before) & tf.equal(slots, slots_before)
    numbers = rows.running_sums(tf.cast(is_field & ~goes_on, tf.int32))
    return tf.where(is_field, numbers, 0)


def _values(batch: Batch, name: str, like: tf.RaggedTensor) -> tf.Tensor:
    """The values of a feature that may be left out where it is 0, laid out as `like.values`."""
    if name in batch:
        return as_ragged(batch[name]).values
    return tf.zeros(tf.shape(like.values), tf.int32)


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
      cut), `inputs_part_entities` [n] int32 (see `_entities`), `targets_parts` [m] string,
      `targets_part_blocks` [m] int32, `inputs_pretokenized` and `targets_pretokenized`.
    """
    templates = _choose_templates(dataset, family, unseen)
    fields, texts, segments, glue = _lay_out(templates)
    has_glue = bool((glue != "").any())
    target_fields = sorted({template.target_field for template in templates})
    target_choice = tf.constant([target_fields.index(t.target_field) for t in templates])
    segments, glue = tf.constant(segments), tf.constant(glue.tolist())

    def pick(batch: Batch) -> tf.Tensor:
        if "template_index" in batch:
            return batch["template_index"]
        if len(templates) == 1:
            return tf.zeros([as_ragged(batch[f"{target_fields[0]}_parts"]).nrows()], tf.int32)
        return uniform(batch["seed"], TEMPLATE, 0, len(templates))

    def gather_inputs(batch: Batch, template: tf.Tensor) -> Batch:
        parts = [as_ragged(batch[f"{name}_parts"]) for name in fields]
        no_text = tf.zeros([len(texts)], tf.int32)
        blocks = [_values(batch, f"{n}_blocks", p) for n, p in zip(fields, parts, strict=True)]
        items = [_values(batch, f"{n}_items", p) for n, p in zip(fields, parts, strict=True)]
        # Where each segment of each example lies among all parts of the batch: [batch, segments].
        sizes = tf.stack([*(tf.size(p.values) for p in parts), *[1] * len(texts), 0])
        own_starts = [tf.cast(p.row_starts(), tf.int32) for p in parts]
        own_lengths = [tf.cast(p.row_lengths(), tf.int32) for p in parts]
        zeros = tf.zeros_like(template)
        starts = tf.stack([*own_starts, *[zeros] * (len(texts) + 1)], axis=1)
        starts += tf.cumsum(sizes, exclusive=True)
        lengths = tf.stack([*own_lengths, *[zeros + 1] * len(texts), zeros], axis=1)
        # ... and the slots of its template: [batch, slots].
        slots = tf.gather(segments, template)
        lengths = tf.gather(lengths, slots, batch_dims=1)
        begins = tf.reshape(tf.gather(starts, slots, batch_dims=1), [-1])
        flat_lengths = tf.reshape(lengths, [-1])
        places = tf.ragged.range(begins, begins + flat_lengths).values
        filled = Rows.of_lengths(flat_lengths).numbers  # the slot of each part
        in_prompts = Rows.of_lengths(tf.reduce_sum(lengths, axis=1))
        written = tf.gather(tf.concat([*(p.values for p in parts), texts], 0), places)
        if has_glue:
            touching = tf.reshape(tf.gather(glue, template), [-1, 2])
            touching = tf.gather(touching, filled)
            written = touching[:, 0] + written + touching[:, 1]
        rows = from_splits(written, in_prompts.splits)
        item_numbers = tf.gather(tf.concat([*items, no_text], 0), places)
        is_field = tf.gather(tf.reshape(slots, [-1]), filled) < len(fields)
        is_field &= tf.not_equal(written, "")
        return {
            "inputs_parts": rows,
            "inputs_part_blocks": rows.with_values(
                tf.gather(tf.concat([*blocks, no_text], 0), places)
            ),
            "inputs_part_items": rows.with_values(item_numbers),
            "inputs_part_entities": rows.with_values(
                _entities(item_numbers, filled, is_field, in_prompts)
            ),
            "inputs_pretokenized": _join(rows, " "),
        }

    def gather_targets(batch: Batch, template: tf.Tensor) -> Batch:
        parts = as_ragged(batch[f"{target_fields[0]}_parts"])
        if len(target_fields) > 1:  # all of one part
            answers = [as_ragged(batch[f"{name}_parts"]).values for name in target_fields]
            chosen = tf.gather(target_choice, template)
            answers = tf.gather(tf.stack(answers, axis=1), chosen, batch_dims=1)
            parts = parts.with_values(answers)
        ones = parts.with_values(tf.ones(tf.shape(parts.values), tf.int32))
        return {
            "targets_parts": parts,
            "targets_part_blocks": batch.get("target_blocks", ones),
            "targets_pretokenized": _join(parts, " | "),
        }

    def fill(batch: Batch) -> Batch:
        template = pick(batch)
        return batch | gather_inputs(batch, template) | gather_targets(batch, template)

    return map_batches(dataset, fill)
