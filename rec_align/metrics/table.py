"""Results as tables for people (terminal, Markdown) and as JSON for programs.

Both start from {system: {task: {metric: value}}}, the metrics named as in `seqio_metrics`. A task
gives one table for each view of it: retrieval has two, with and without the items of the history.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from rec_align.metrics import rendering
from rec_align.metrics.rendering import Table, format_cell

Results = Mapping[str, Mapping[str, Mapping[str, float]]]

SCHEMA = 1
LOWER_IS_BETTER = ("rmse", "mae")

# Which table to draw is told by the metrics: (columns, protocol). The first column must be present.
_VIEWS = (
    (
        ("full/hr@5", "full/ndcg@5", "full/hr@10", "full/ndcg@10", "full/mrr"),
        "full ranking over {items}, history not excluded",
    ),
    (
        ("unseen/hr@5", "unseen/ndcg@5", "unseen/hr@10", "unseen/ndcg@10", "unseen/mrr"),
        "full ranking over {items}, history excluded",
    ),
    (("hr@1", "hr@5", "ndcg@5", "hr@10", "ndcg@10", "mrr"), "ranking of {candidates} candidates"),
    (("rmse", "mae"), "ratings on the 1-5 scale, lower is better"),
    (("liked_auc",), "items rated 4 or 5 told from others by predicted rating, 0.5 is chance"),
    (("rating_agreement",), "outputs that state the given rating"),
    (("accuracy", "majority_share", "auc"), "yes or no; majority_share: always the commoner"),
    (("exact_match", "token_f1"), "generated text against the target"),
    (
        ("bleu4", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2"),
        "generated text against the target, all in 0-1",
    ),
    (("feature_match",), "outputs that hold the word they were asked for"),
    (
        ("entity_match", "category_match", "brand_match", "item_match", "rating_match"),
        "one blank, answered among the known values of its kind",
    ),
)
# What is shown of each task that is also scored with an unseen template: those of these it has.
_BY_TEMPLATE = (
    *("full/hr@10", "full/ndcg@10", "unseen/ndcg@10", "hr@1", "ndcg@10", "rmse", "mae"),
    *("accuracy", "bleu4", "rougeL", "rating_agreement", "exact_match", "token_f1", "entity_match"),
)


def _same(by_system: Mapping[str, Mapping[str, float]], name: str, missing: str) -> str:
    """A number that should be the same for all systems; all of them where it is not."""
    values = {system: m[name] for system, m in by_system.items() if name in m}
    distinct = sorted(set(values.values()))
    if len(distinct) > 1:
        listed = ", ".join(f"{system} {value:,.10g}" for system, value in values.items())
        return f"(differs between rows: {listed})"
    return f"{distinct[0]:,.10g}" if distinct else missing


def _table(
    task: str,
    by_system: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    protocol: str,
    num_items: int | None,
) -> Table:
    best = set()
    for name in columns:
        values = {system: m[name] for system, m in by_system.items() if name in m}
        if values:
            top = (min if name in LOWER_IS_BETTER else max)(values.values())
            best |= {(system, name) for system, value in values.items() if value == top}
    protocol = protocol.format(
        items="the catalogue" if num_items is None else f"{num_items:,} items",
        candidates=_same(by_system, "num_candidates", "given"),
    )
    n = _same(by_system, "n", "not stated")
    return Table(
        title=task,
        caption=f"n = {n}; {protocol}; [95 % bootstrap interval over users]",
        columns=tuple(name.split("/")[-1] for name in columns),
        rows={s: tuple(format_cell(m, name) for name in columns) for s, m in by_system.items()},
        best=frozenset((system, name.split("/")[-1]) for system, name in best),
    )


def tables(results: Results, num_items: int | None = None) -> list[Table]:
    """The tables of all tasks, in the order in which the systems bring them up.

    Args:
      results: {system: {task: {metric: value}}}; a system may lack tasks and metrics.
      num_items: size of the catalogue, for the caption.

    Raises:
      ValueError: a task has none of the metrics that are shown.
    """
    drawn = []
    for task in dict.fromkeys(task for tasks in results.values() for task in tasks):
        by_system = {system: tasks[task] for system, tasks in results.items() if task in tasks}
        found = {name for metrics in by_system.values() for name in metrics}
        views = [view for view in _VIEWS if view[0][0] in found]
        if not views:
            known = ", ".join(columns[0] for columns, _ in _VIEWS)
            raise ValueError(
                f"results of task '{task}' hold {sorted(found)}; a table needs one of {known}: "
                "score the task with a function of rec_align.metrics.seqio_metrics"
            )
        for columns, protocol in views:
            drawn.append(_table(task, by_system, columns, protocol, num_items))
    return drawn + [drawn_of for tasks in results.values() for drawn_of in _template_tables(tasks)]


def _template_tables(tasks: Mapping[str, Mapping[str, float]]) -> list[Table]:
    """One table of the tasks scored with templates both seen and unseen; none where none is."""
    rows = {}
    for task, seen in tasks.items():
        unseen = tasks.get(f"{task}_unseen", {})
        for name in _BY_TEMPLATE:
            if name in seen and name in unseen:
                difference = f"{unseen[name] - seen[name]:+.4f}"
                cells = format_cell(seen, name), format_cell(unseen, name), difference
                rows[f"{task} {name}"] = cells
    table = Table(
        title="templates",
        caption="the first template, as trained on, and one never trained on",
        columns=("seen", "unseen", "difference"),
        rows=rows,
        best=frozenset(),
    )
    return [table] if rows else []


def render_markdown(results: Results, ours: str | None = None, num_items: int | None = None) -> str:
    """The tables as Markdown, one heading a task: the best in bold, our system marked "(ours)".

    Args:
      results: {system: {task: {metric: value}}}.
      ours: name of our system, if it is among them.
      num_items: size of the catalogue, for the caption.

    Example:
      >>> print(render_markdown({"mean": {"rating": {"rmse": 1.0, "n": 9}}}))
      ### rating
      <BLANKLINE>
      n = 9; ratings on the 1-5 scale, lower is better; [95 % bootstrap interval over users]
      <BLANKLINE>
      | system | rmse | mae |
      |---|---|---|
      | mean | **1.0000** | - |
      <BLANKLINE>
    """
    return rendering.markdown(tables(results, num_items), ours)


def print_tables(
    results: Results,
    ours: str | None = None,
    num_items: int | None = None,
    console: Any = None,
) -> None:
    """Prints the tables to the terminal: the best marked with "*", our system with "(ours)".

    Args:
      results: {system: {task: {metric: value}}}.
      ours: name of our system, if it is among them.
      num_items: size of the catalogue, for the caption.
      console: a `rich.console.Console`; None = standard output.
    """
    rendering.print_tables(tables(results, num_items), ours, console)


def write_metrics_json(
    path: str | os.PathLike, results: Results, context: Mapping[str, Any]
) -> None:
    """Writes results and their context to a JSON file, whole or not at all.

    The file is one object: "schema" (1), "context" (as given: seed, split, num_items, checkpoint,
    ...) and "results", {system: {task: {metric: number}}}. Keys are sorted, so that two runs differ
    only where their numbers do. A reader never sees half a file, and a failed write keeps the old.

    Args:
      path: the file; its folder is made if it is missing.
      results: {system: {task: {metric: value}}}, finite numbers.
      context: what a reader needs to repeat the run; JSON types only.

    Raises:
      ValueError: a metric is not a finite number.
    """
    for system, tasks in results.items():
        for task, metrics in tasks.items():
            for name, value in metrics.items():
                if not isinstance(value, int | float) or not math.isfinite(value):
                    raise ValueError(
                        f"results['{system}']['{task}']['{name}'] is {value!r}; a metric must be a "
                        "finite int or float: cast it, or leave the metric out"
                    )
    content = {"schema": SCHEMA, "context": dict(context), "results": results}
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
