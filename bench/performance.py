"""Draws docs/performance/*.svg and fills the tables of docs/performance.md from bench/results.

python bench/performance.py
"""

from collections.abc import Sequence

import matplotlib
from pages import ROOT, fill, read, read_all, table

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "rec_align"  # the same file from the same results
import matplotlib.pyplot as plt  # noqa: E402

PLOTS = ROOT / "docs" / "performance"
STEP_WAYS = ("steps alone", "all tokens", "catalogue")


def of_decoding() -> str:
    rows = read("decoding")["rows"]
    return table(
        ("model", "users", "beam", "items", *STEP_WAYS, "catalogue / all tokens", "/ steps alone"),
        [
            (
                *(row["model"], row["users"], row["beam"], f"{row['items']:,}"),
                *(f"{row[way] * 1e3:.1f} ms" for way in STEP_WAYS),
                *(f"{row['ratio']:.3f}", f"{row['over_steps']:.3f}"),
            )
            for row in rows
        ],
    )


def of_trie() -> str:
    return table(
        ("items", "build", "save", "map back", "bytes a token", "dictionaries: build, bytes"),
        [
            (
                f"{row['items']:,}",
                f"{row['build_seconds']:.3f} s",
                f"{row['save_seconds']:.3f} s",
                f"{row['load_seconds']:.4f} s",
                f"{row['bytes_per_token']:.1f}",
                f"{row['dictionary_build_seconds']:.2f} s, {row['dictionary_bytes_per_token']:.0f}"
                if "dictionary_build_seconds" in row
                else "not tried",
            )
            for row in read("trie")["rows"]
        ],
    )


def of_live_trie() -> str:
    return table(
        ("change", "median", "slowest", "building afresh / this"),
        [
            (
                row["way"].replace("_", " "),
                f"{row['median_seconds']:.3f} s",
                f"{row['slowest_seconds']:.3f} s",
                f"{row['ratio']:.1f}",
            )
            for row in read("live_trie")["rows"]
        ],
    )


def of_peers() -> str:
    return table(
        ("model", "users", "beam", "other", "its time / ours"),
        [
            (model, found["settings"]["users"], row["beam"], row["way"], f"{row['ratio']:.1f}")
            for model, found in read_all("decoding_peers_").items()
            for row in found["ways"]
            if row["way"] != "rec_align"
        ],
    )


def of_tricks() -> str:
    rows = read("decoding_tricks")["rows"]
    gains: dict[str, list[str]] = {}
    for row in rows:
        if "without" in row and row["without"] != "nothing":
            gains.setdefault(row["without"], []).append(f"{row['gain']:.3f}")
    beams = list(dict.fromkeys(row["beam"] for row in rows))
    shares = [f"{row['moving_share_at_most']:.1%}" for row in rows if "moving_share_at_most" in row]
    proven = {row["beam"]: f"{row['top_10_proven']:.1%}" for row in rows if "without" in row}
    return table(
        ("without", *(f"beam {beam}: time / with all" for beam in beams)),
        [(name, *values) for name, values in gains.items()]
        + [("(moving the cache, at most this share)", *shares)]
        + [("(users whose top 10 is proven)", *proven.values())],
    )


def of_train_step() -> str:
    rows = []
    for found in read_all("train_step_").values():
        settings = found["settings"]
        for name, row in found["ways"].items():
            rows.append(
                (
                    settings["model"],
                    settings["batch"],
                    settings["dtype"],
                    name,
                    f"{row['median_step_seconds']:.3f} s",
                    f"{row['ratio']:.2f}",
                )
            )
    return table(("model", "rows", "activations", "way", "a step", "/ ours"), rows)


def of_useful_tokens() -> str:
    quality = read("quality_at_equal_time")["ways"]
    rows = []
    for name, row in read("targets_per_pass")["ways"].items():
        after = quality.get(name)
        hits = "not trained"
        if after:
            hits = f"{after['hit_rate_at_10']:.3f} ± {after['standard_error']:.3f}"
        rows.append(
            (
                name,
                f"{row['padding_share_inputs']:.1%}",
                f"{row['targets_per_second']:,.0f}",
                f"{row['ratio']:.1f}",
                hits,
            )
        )
    heads = ("way", "padding of inputs", "targets/s", "ratio", "HR@10 after equal time")
    return table(heads, rows)


def of_data() -> str:
    return table(
        ("way", "examples/s", "first batch"),
        [
            (name, f"{row['per_second']:,.0f}", f"{row['first_batch_seconds']:.2f} s")
            for name, row in read("data")["ways"].items()
        ],
    )


def of_build() -> str:
    return table(
        ("interactions", "form", "interactions/s", "memory / Parquet", "whole process / Parquet"),
        [
            (
                f"{found['interactions']:,}",
                form,
                f"{row['interactions_per_second']:,.0f}",
                f"{row['added_memory_to_parquet_size']:.1f}",
                f"{row['whole_memory_to_parquet_size']:.1f}",
            )
            for found in read_all("build_corpus_").values()
            for form, row in found["forms"].items()
        ],
    )


TABLES = {
    "decoding": of_decoding,
    "trie": of_trie,
    "live_trie": of_live_trie,
    "peers": of_peers,
    "tricks": of_tricks,
    "train_step": of_train_step,
    "useful_tokens": of_useful_tokens,
    "data": of_data,
    "build": of_build,
}


def save(figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def plot_decoding() -> None:
    rows = read("decoding")["rows"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    beam = max(row["beam"] for row in rows)
    figure, axes = plt.subplots(1, len(models), figsize=(4 * len(models), 3.2), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        chosen = [row for row in rows if (row["model"], row["beam"]) == (model, beam)]
        for way in STEP_WAYS:
            times = [row[way] * 1e3 for row in chosen]
            axis.plot([row["items"] for row in chosen], times, marker="o", label=way)
        axis.set(xscale="log", xlabel="items", ylabel="ms a step", title=f"{model}, beam {beam}")
        axis.set_ylim(0, 1.1 * max(row[way] for row in chosen for way in STEP_WAYS) * 1e3)
    axes[0][-1].legend(loc="lower right")
    save(figure, "decoding")


def plot_bars(name: str, title: str, labels: Sequence[str], values: Sequence[float]) -> None:
    figure, axis = plt.subplots(figsize=(7.5, 0.6 + 0.3 * len(labels)))
    bars = axis.barh(labels, values)
    axis.bar_label(bars, [f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in values], padding=3)
    axis.set(xscale="log", xlabel=title)
    axis.set_xlim(right=max(values) * 3)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.invert_yaxis()
    save(figure, name)


def main() -> None:
    PLOTS.mkdir(exist_ok=True)
    plot_decoding()
    found = [
        (f"{model}, beam {row['beam']}: {row['way']}", row["ratio"])
        for model, results in read_all("decoding_peers_").items()
        for row in results["ways"]
        if row["way"] != "rec_align"
    ]
    plot_bars("peers", "recommending: their time / ours", *zip(*found, strict=True))
    found = [
        (f"{results['settings']['model']}, {results['settings']['dtype']}: {way}", row["ratio"])
        for results in read_all("train_step_").values()
        for way, row in results["ways"].items()
        if way != "rec_align"
    ]
    plot_bars("train_step", "a training step: their time / ours", *zip(*found, strict=True))
    ways = read("targets_per_pass")["ways"]
    ratios = [row["ratio"] for row in ways.values()]
    plot_bars("useful_tokens", "useful targets a second / the baseline's", list(ways), ratios)
    ways = read("data")["ways"]
    rates = [row["per_second"] for row in ways.values()]
    plot_bars("data", "examples a second", list(ways), rates)
    fill("performance.md", TABLES)


if __name__ == "__main__":
    main()
