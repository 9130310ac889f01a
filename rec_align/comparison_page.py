"""The results of a comparison as one HTML page that needs no other file: tables and plots."""

import base64
import io
import warnings
from collections.abc import Mapping
from typing import Any

from rec_align.metrics import rendering
from rec_align.metrics.comparison import PROTOCOLS
from rec_align.metrics.comparison_tables import tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2430; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1.5rem; }
th, td { text-align: left; white-space: nowrap; padding: .25rem .8rem;
  border-bottom: 1px solid #d8dce4; }
p { color: #555c6b; margin: 0; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
"""
_METRIC = "full/ndcg@10"


def render(results: Mapping[str, Any], title: str) -> str:
    """The page.

    Args:
      results: of `comparison.compare`.
      title: plain text.
    """
    scores, *rest = [table for protocol in PROTOCOLS for table in tables(results, protocol)]
    plots = [_scores_plot(results), _breadth_plot(results), *_slice_plots(results)]
    figures = "\n".join(f"<figure>{plot}</figure>" for plot in plots)
    head = rendering.html_lib.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{head}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{head}</h1>\n{rendering.html([scores])}\n"
        f"{figures}\n{rendering.html(rest)}\n</body></html>\n"
    )


def _scores_plot(results: Mapping[str, Any]) -> str:
    """HR@10 and NDCG@10 of each system with their intervals."""
    systems = results["systems"]
    names = list(systems)[::-1]  # the first one on top
    figure, axes = _figure(1, 2, height=0.9 + 0.35 * len(names), share_y=True)
    for axis, metric in zip(axes, ("full/hr@10", _METRIC), strict=True):
        for place, name in enumerate(names):
            _interval(axis, systems[name]["metrics"], metric, place, list(systems).index(name))
        axis.set_xlabel(metric.removeprefix("full/").upper())
        axis.set_xlim(left=0)
        axis.set_yticks(range(len(names)), map(_shown, names))
        axis.set_ylim(-0.6, len(names) - 0.4)
    return _svg(figure, "HR@10 and NDCG@10 by system")


def _breadth_plot(results: Mapping[str, Any]) -> str:
    """How much of the catalogue is shown, against NDCG@10."""
    figure, (axis,) = _figure(1, 1, height=3.2)
    for number, (name, found) in enumerate(results["systems"].items()):
        place = found["metrics"]["full/coverage@10"], found["metrics"][_METRIC]
        axis.plot(*place, "o", color=f"C{number}")
        axis.annotate(_shown(name), place, xytext=(6, 4), textcoords="offset points")
    axis.set_xlabel("coverage@10: share of the catalogue that anyone is shown")
    axis.set_ylabel("NDCG@10")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    return _svg(figure, "coverage against NDCG@10")


def _slice_plots(results: Mapping[str, Any]) -> list[str]:
    """NDCG@10 of each system in each slice, with intervals."""
    plots = []
    for by, slices in results["slices"].items():
        figure, (axis,) = _figure(1, 1, height=3.2)
        names = list(results["systems"])
        handles = []
        for number, name in enumerate(names):
            shift = (number - (len(names) - 1) / 2) * 0.6 / len(names)
            for place, found in enumerate(slices.values()):
                metrics = found["systems"][name]
                drawn = _interval(axis, metrics, _METRIC, place + shift, number, upright=True)
            handles.append(drawn)
        axis.set_xticks(range(len(slices)), list(slices))
        axis.set_xlabel(by)
        axis.set_ylabel("NDCG@10")
        axis.set_ylim(bottom=0)
        labels = list(map(_shown, names))
        axis.legend(handles, labels, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        plots.append(_svg(figure, f"NDCG@10 by {by}"))
    return plots


def _interval(
    axis,
    metrics: Mapping[str, float],
    metric: str,
    place: float,
    colour: int,
    upright: bool = False,
):
    """A value as a dot in its interval, at `place` of the other axis; returns it for the legend."""
    value, low, high = (metrics[metric + end] for end in ("", "_low", "_high"))
    lengths = [[max(value - low, 0)], [max(high - value, 0)]]  # equal values may round apart
    point, name = ((place, value), "yerr") if upright else ((value, place), "xerr")
    return axis.errorbar(*([at] for at in point), **{name: lengths}, fmt="o", color=f"C{colour}")


def _shown(name: str) -> str:
    """A name as Matplotlib shows it: a dollar would begin a formula."""
    return name.replace("$", r"\$")


def _figure(rows: int, columns: int, height: float, share_y: bool = False):
    # Without pyplot, which keeps figures and looks for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=share_y, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    return figure, axes


def _svg(figure, alt: str) -> str:
    """The figure as an image inside the page: several SVGs in one page would share their ids."""
    import matplotlib

    file = io.BytesIO()
    # The same bytes for the same results; text in the reader's fonts, which have more letters than
    # the one that it is measured with.
    options = {"svg.hashsalt": "rec_align", "svg.fonttype": "none"}
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="svg", metadata={"Date": None})
    code = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{code}"/>'
