"""A log into its parts by Apache Beam, and work on the parts by Beam, for logs past one machine.

Import it only when asked: it needs the extra `beam`. It stands beside `user_log.Streamed` and gives
the same parts, so that a corpus is the same either way. Its pipelines, one after the other:

  read      a file a worker -> rows by part -> a file a part, with raw ids; the distinct item ids
  tidy      a file a part, with codes, without duplicates; the counts
  k-core    one pipeline a round: the rows of each item (see `kcore.shrink`)
  cut       a file a part, of histories
  write     a file a shard of the TFDS dataset

Sums, catalogue and vocabulary are made by the process that starts the pipelines: it holds the ids
of the items, the workers a part each. What one step leaves for the next lies in files in a folder
that all workers see. Each step may run again: it puts whole files that do not depend on the run.
"""

import functools
import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from rec_align.data import by_part, times, user_log, user_parts
from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import sources as sources_lib

_RAW = pa.schema(
    [
        ("user", pa.string()),
        ("item", pa.string()),
        ("ticks", pa.int64()),
        ("ratings", pa.float32()),
        ("rows", pa.int64()),
    ]
)


class OnBeam:
    """The `user_log.Reader` that runs pipelines.

    Args:
      options: Beam's, as `--runner=DirectRunner`; none runs on this machine.
      folder: an existing directory that all workers see, for files between the steps.
    """

    def __init__(self, options: Sequence[str], folder: epath.Path):
        self._options = list(options)
        self._folder = folder

    def read(
        self, source: sources_lib.Source, folder: epath.Path, report: Callable[[str], None]
    ) -> tuple[user_parts.PartedLog, items_lib.Items | None, by_part.Tally]:
        items = source.read_items(report)
        summary_path, ids_path = self._new_file(), self._new_file()
        with self._pipeline() as pipeline:
            read = (
                pipeline
                | "Files" >> beam.Create(list(enumerate(source.by_file(report))))
                | "ApartFiles" >> beam.Reshuffle()
                | "Read" >> beam.FlatMap(_read_file).with_outputs("summary", main="rows")
            )
            _ = (
                read.summary
                | "Sum" >> beam.CombineGlobally(by_part.sum_up)
                | "PutSum" >> beam.Map(_put, summary_path)
            )
            _ = (
                read.rows
                | "ByPart" >> beam.GroupByKey()
                | "PutParts" >> beam.MapTuple(functools.partial(_put_raw, folder))
                | "Distinct" >> beam.CombineGlobally(_distinct)
                | "PutItems" >> beam.Map(_put, ids_path)
            )
        summary = _get(summary_path)
        if summary["refused"]:
            raise ValueError(min(summary["refused"])[1])
        unit = interactions_lib.one_unit([rest for _, *rest in sorted(summary["units"])])
        if unit != 1:
            report(f"times are in {times.UNIT_NAMES[unit]}: stored in seconds")
        item_ids = _get(ids_path).sort()
        is_known = np.ones(len(item_ids), bool)
        if items:
            known_ids = pa.array(items.item_ids, pa.string())
            is_known = pc.is_in(item_ids, known_ids).to_numpy(zero_copy_only=False)
        files = user_parts.PartFiles(folder, unit)
        before = self.total(
            functools.partial(_tidy, files),
            range(user_parts.NUM_PARTS),
            item_ids=item_ids,
            is_known=is_known,
        )
        parts = user_parts.PartedLog(
            files=files,
            item_ids=item_ids,
            skipped=interactions_lib.with_where(summary["skipped"], source.where),
            where=source.where,
        )
        return parts, items, before

    def total(
        self, function: Callable[..., by_part.Tally], values: Iterable[Any], **shared: Any
    ) -> by_part.Tally:
        """As of `by_part.Total`: one pipeline."""
        shared_path, path = self._new_file(), self._new_file()
        _put(shared, shared_path)
        with self._pipeline() as pipeline:
            _ = (
                pipeline
                | "Values" >> beam.Create(list(values))
                | "ApartValues" >> beam.Reshuffle()
                | "Work" >> beam.Map(_with_shared, function, shared_path)
                | "Sum" >> beam.CombineGlobally(by_part.sum_up)
                | "Put" >> beam.Map(_put, path)
            )
        return _get(path)

    def _pipeline(self) -> beam.Pipeline:
        return beam.Pipeline(options=PipelineOptions(self._options))

    def _new_file(self) -> epath.Path:
        # No name twice, in no build: workers remember what they read (see `_shared`).
        return self._folder / f"{uuid.uuid4().hex}.pickle"


def _read_file(numbered: tuple[int, Any]) -> Iterator[Any]:
    """Yields (part, some of its rows as of `_RAW`); then, as 'summary', a tally of the file.

    The source is not in the type: Beam checks types, and cannot check a protocol.
    """
    number, source = numbered
    summary: by_part.Tally = {"refused": (), "units": (), "skipped": ()}
    try:
        batches, _ = source.read(lambda line: None)
        for batch in batches:
            batch = batch.of_file(number)
            summary["units"] = ((number, source.label, batch.ticks_per_second),)
            # Lines are told by the process that starts the pipelines.
            summary["skipped"] += interactions_lib.with_where(
                batch.skipped, interactions_lib.unknown
            )
            users, codes = np.unique(batch.users, return_inverse=True)
            hashes = user_parts.hashes_of(_ids(batch.user_ids, users).to_pylist())
            parts = user_parts.parts_of(hashes)[codes]
            columns = [
                _ids(batch.user_ids, batch.users),
                _ids(batch.item_ids, batch.items),
                *(getattr(batch, name) for name in _RAW.names[2:]),
            ]
            rows = pa.record_batch(columns, schema=_RAW)
            for part in np.unique(parts).tolist():
                yield part, rows.take(pa.array(np.flatnonzero(parts == part)))
    except ValueError as error:  # what Beam raises would hide what to mend
        summary["refused"] = ((number, str(error)),)
    yield beam.pvalue.TaggedOutput("summary", summary)


def _ids(ids: interactions_lib.Ids | Sequence[str], codes: np.ndarray) -> pa.Array:
    values = ids.values if isinstance(ids, interactions_lib.Ids) else pa.array(ids, pa.string())
    return values.take(pa.array(codes))


def _put_raw(folder: epath.Path, part: int, batches: Iterable[pa.RecordBatch]) -> pa.Array:
    """Puts a part with raw ids into a file, in the order of the log; returns its item ids."""
    table = pa.Table.from_batches(batches, _RAW).sort_by("rows")
    with (
        by_part.open_whole(_raw_path(folder, part)) as file,
        pa.ipc.new_file(file, _RAW) as writer,
    ):
        writer.write_table(table)
    return table["item"].unique()


def _tidy(
    files: user_parts.PartFiles, part: int, *, item_ids: pa.Array, is_known: np.ndarray
) -> by_part.Tally:
    """Gives a part's ids their codes, then does what a streamed build does with it."""
    path = _raw_path(files.folder, part)
    table = pa.ipc.open_file(path.read_bytes()).read_all() if path.exists() else _RAW.empty_table()
    users = table["user"].combine_chunks().dictionary_encode()
    ranks = user_parts.ranks_of(user_parts.hashes_of(users.dictionary.to_pylist()))
    log = interactions_lib.without_ids(
        files.ticks_per_second,
        users=ranks[users.indices.to_numpy()],
        items=pc.index_in(table["item"].combine_chunks(), item_ids).to_numpy(),
        **{name: table[name].to_numpy() for name in _RAW.names[2:]},
    )
    log = log.keep(is_known[log.items], interactions_lib.UNKNOWN_ITEM)
    return user_log.tidy(files, len(item_ids), part, log)


def _raw_path(folder: epath.Path, part: int) -> epath.Path:
    return folder / f"{part}.arrow"


def _distinct(arrays: Iterable[pa.Array]) -> pa.Array:
    return pc.unique(pa.concat_arrays([pa.array([], pa.string()), *arrays]))


def _with_shared(value: Any, function: Callable[..., Any], path: epath.Path) -> Any:
    return function(value, **_shared(path))


@functools.lru_cache(maxsize=1)
def _shared(path: epath.Path) -> dict[str, Any]:
    return _get(path)


def _put(value: Any, path: epath.Path) -> None:
    with by_part.open_whole(path) as file:
        pickle.dump(value, file)


def _get(path: epath.Path) -> Any:
    return pickle.loads(path.read_bytes())
