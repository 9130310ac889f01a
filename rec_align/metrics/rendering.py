"""Tables of systems and metrics, drawn as Markdown, in the terminal and as HTML."""

import dataclasses
import html as html_lib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One table, ready to be drawn.

    Attributes:
      title: the heading it stands under; tables of one title that follow each other share it.
      caption: n, the protocol and what the brackets are.
      columns: heads, without the first one, "system".
      rows: system -> one cell a column.
      best: (system, column) of the best values.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    best: frozenset[tuple[str, str]]


def format_cell(metrics: Mapping[str, float], name: str) -> str:
    """A value with its bounds where it has them; "-" where there is no value.

    Example:
      >>> format_cell({"mrr": 0.0986, "mrr_low": 0.08, "mrr_high": 0.118}, "mrr")
      '0.0986 [0.080, 0.118]'
    """
    if name not in metrics:
        return "-"
    cell = f"{metrics[name]:.4f}"
    if f"{name}_low" in metrics:
        cell += f" [{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"
    return cell


def _rows(table: Table, ours: str | None) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Each system as it is shown, with its cells and whether they are the best."""
    for system, cells in table.rows.items():
        name = f"{system} (ours)" if system == ours else system
        marked = zip(table.columns, cells, strict=True)
        yield name, [(cell, (system, column) in table.best) for column, cell in marked]


def markdown(tables: Iterable[Table], ours: str | None = None) -> str:
    """One heading a title: the best in bold, our system marked "(ours)"."""
    lines, heading = [], None
    for table in tables:
        if table.title != heading:
            heading = table.title
            lines += [f"### {heading}", ""]
        lines += [table.caption, "", "| " + " | ".join(("system", *table.columns)) + " |"]
        lines += ["|---" * (1 + len(table.columns)) + "|"]
        for name, cells in _rows(table, ours):
            shown = [f"**{cell}**" if is_best else cell for cell, is_best in cells]
            lines.append("| " + " | ".join([name.replace("|", r"\|"), *shown]) + " |")
        lines.append("")
    return "\n".join(lines)


def html(tables: Sequence[Table], ours: str | None = None) -> str:
    """The same as HTML: `<h2>`, `<p>` and `<table>`, the best as `<b>`."""
    parts, heading = [], None
    for table in tables:
        if table.title != heading:
            heading = table.title
            parts.append(f"<h2>{html_lib.escape(heading)}</h2>")
        heads = "".join(f"<th>{html_lib.escape(head)}</th>" for head in ("system", *table.columns))
        parts += [f"<p>{html_lib.escape(table.caption)}</p>", f"<table><tr>{heads}</tr>"]
        for name, cells in _rows(table, ours):
            shown = [html_lib.escape(cell) for cell, _ in cells]
            shown = [
                f"<td><b>{cell}</b></td>" if is_best else f"<td>{cell}</td>"
                for cell, (_, is_best) in zip(shown, cells, strict=True)
            ]
            parts.append(f"<tr><th>{html_lib.escape(name)}</th>{''.join(shown)}</tr>")
        parts.append("</table>")
    return "\n".join(parts)


def print_tables(tables: Iterable[Table], ours: str | None = None, console: Any = None) -> None:
    """Prints to the terminal: the best marked with "*", our system with "(ours)".

    Args:
      tables: to be printed.
      ours: name of our system, if it is among them.
      console: a `rich.console.Console`; None = standard output.
    """
    # Imported here because scoring needs no terminal, and rich costs a tenth of a second.
    from rich import box
    from rich import console as rich_console
    from rich import table as rich_table
    from rich import text as rich_text

    console = console or rich_console.Console()
    for table in tables:
        drawn = rich_table.Table(
            title=rich_text.Text(table.title),
            caption=rich_text.Text(table.caption),
            box=box.SIMPLE,
            title_justify="left",
            caption_justify="left",
        )
        drawn.add_column("system", no_wrap=True)
        for column in table.columns:
            drawn.add_column(column, overflow="fold")  # narrow: bounds go below, none is cut off
        for name, cells in _rows(table, ours):
            row = [rich_text.Text(name)]
            for cell, is_best in cells:
                row.append(rich_text.Text(f"{cell} *" if is_best else cell, "bold" * is_best))
            drawn.add_row(*row, style="bold cyan" if name.endswith(" (ours)") else "")
        console.print(drawn)
