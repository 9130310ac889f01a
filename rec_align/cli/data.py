"""Build a corpus from raw logs, add new items to it, or list the corpora.

  rec-align data build ml_100k
  rec-align data build my_shop --interactions clicks.csv.gz --items products.jsonl
  rec-align data build musical amazon2014 --reviews reviews_X_5.json.gz --meta meta_X.json.gz
  rec-align data add-items my_shop --items new_products.jsonl
  rec-align data list

`amazon2014` reads the files of Amazon product data 2014 line by line, and keeps the text of the
reviews.

Your own tables are CSV, JSON lines or Parquet, gzipped or not. Columns go by their usual names
(user_id, reviewerID, item_id, movieId, asin, timestamp, unixReviewTime, rating, overall, ...) or by
those you give. A log may be in several files, in their order: --interactions day1.csv day2.csv.

For a log past one machine --beam builds the same corpus on Apache Beam:

  pip install 'rec_align[beam]'
  rec-align data build my_shop --interactions 'gs://logs/clicks/*.parquet' --out gs://corpora \\
    --beam --beam-options="--runner=DataflowRunner --project=P --region=R --temp_location=gs://tmp"

A worker reads a file: give a log in many. All workers must see the files and --out, and have
rec_align installed; Dataflow needs apache-beam[gcp] besides (neither it nor a bucket was at hand to
try). This process reads each input as well, for its checksum. Without options Beam runs on this
machine, to try it.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable

_COLUMNS = {
    "user": "user_id",
    "item": "item_id",
    "time": "timestamp",
    "rating": "rating, may be missing",
    "title": "title",
    "brand": "brand",
    "categories": "categories",
    "year": "year",
    "key-phrase": "key_phrase: names an item without a title",
}
_ITEM_COLUMNS = ("item", "title", "brand", "categories", "year", "key-phrase")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="{build,add-items,list}")
    build = actions.add_parser(
        "build",
        help="build a corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("name", metavar="NAME", help="ml_100k, or a name for your own data")
    build.add_argument(
        "reader", nargs="?", choices=["amazon2014"], help="of files that are no tables; after NAME"
    )
    build.add_argument("--reviews", metavar="FILE", help="for amazon2014: reviews_X_5.json.gz")
    build.add_argument(
        "--meta", metavar="FILE", help="for amazon2014: meta_X.json.gz; without it ids are names"
    )
    build.add_argument(
        "--interactions", metavar="FILE", nargs="+",
        help="your interactions; several files, or a pattern, are read one after the other",
    )  # fmt: skip
    build.add_argument("--items", metavar="FILE", help="your items; without it ids are names")
    build.add_argument(
        "--source", metavar="FILE", help="for ml_100k: ml-100k.zip or the wheel of recbole==1.2.1"
    )
    build.add_argument(
        "--k-core", type=int, default=5, metavar="K",
        help="keep users and items with at least K interactions (default 5; 0 keeps all)",
    )  # fmt: skip
    build.add_argument(
        "--vocab-size", type=int, metavar="N",
        help="most pieces of the vocabulary (default: 3 an item, 1,000 to 16,000, "
        "and 8,000 more with reviews)",
    )  # fmt: skip
    build.add_argument("--encoding", metavar="NAME", help="of your files (default utf-8)")
    build.add_argument("--force", action="store_true", help="build even if it is there")
    build.add_argument("--beam", action="store_true", help="build on Apache Beam, see above")
    build.add_argument(
        "--beam-options", metavar="OPTIONS",
        help="for Beam, in one word: --beam-options='--runner=DirectRunner --direct_num_workers=2'",
    )  # fmt: skip
    add = actions.add_parser(
        "add-items",
        help="add new items to a corpus, which trained models can recommend",
        description="The items join the catalogue; those that it has already stay as they are. "
        "Models that write titles can recommend them at once, those that write semantic ids after "
        "`rec-align index extend`.",
    )
    add.add_argument("name", metavar="NAME", help="a corpus")
    add.add_argument("--items", metavar="FILE", required=True, help="the new items")
    add.add_argument("--encoding", metavar="NAME", help="of your file (default utf-8)")
    for action in (build, add):
        columns = action.add_argument_group("column names of your tables")
        for name, usual in _COLUMNS.items():
            if action is build or name in _ITEM_COLUMNS:
                columns.add_argument(f"--{name}-column", metavar="NAME", help=f"default {usual}")
    list_ = actions.add_parser("list", help="list the corpora that are built")
    for action in (build, add, list_):
        action.add_argument(
            "--out", metavar="DIR", help="default $TFDS_DATA_DIR or ~/tensorflow_datasets"
        )


def run(args: argparse.Namespace) -> int:
    return {"build": _build, "add-items": _add_items, "list": _list}[args.action](args)


def _add_items(args: argparse.Namespace) -> int:
    from rec_align.data import new_items

    catalogue, num_new = new_items.add_items(
        args.name,
        args.items,
        _columns(args, _ITEM_COLUMNS),
        encoding=args.encoding or "utf-8",
        data_dir=args.out,
    )
    for text in catalogue.texts[len(catalogue) - num_new :][:5]:
        print(f"  {text}")
    print(f"{num_new:,} new items; {args.name} has {len(catalogue):,}")
    print(f"for semantic ids: rec-align index extend {args.name} INDEX")
    return 0


def _columns(args: argparse.Namespace, names: Iterable[str]) -> dict[str, str | None]:
    """Returns the columns that the arguments name, None where they do not."""
    fields = [name.replace("-", "_") for name in names]
    return {field: getattr(args, f"{field}_column") for field in fields}


def _list(args: argparse.Namespace) -> int:
    from rec_align.data import corpus

    names = corpus.list_corpora(args.out)
    root = corpus.corpus_dir("", args.out).parent
    if not names:
        print(f"no corpora in {root}: `rec-align data build ml_100k` builds the first")
        return 0
    columns = f"{'users':>10} {'items':>10} {'interactions':>13} {'reviews':>10}"
    print(f"{'corpus':24} {columns}   in {root}")
    for name in names:
        count = corpus.read_manifest(name, args.out)["after_k_core"]
        num_items = len(corpus.read_catalogue(name, args.out))
        num_reviews = sum(corpus.num_reviews(name, args.out).values())
        counts = f"{count['users']:10,} {num_items:10,} {count['interactions']:13,}"
        print(f"{name:24} {counts} {num_reviews:10,}")
    return 0


def _build(args: argparse.Namespace) -> int:
    source = _source(args)
    from rec_align import prompts
    from rec_align.data import corpus

    manifest, built = corpus.build_corpus(
        args.name,
        source,
        data_dir=args.out,
        k_core=args.k_core,
        vocab_size=args.vocab_size,
        texts=prompts.all_texts(),
        force=args.force,
        beam_options=shlex.split(args.beam_options or "") if args.beam else None,
    )
    if not built:
        return 0
    _summarize(manifest, corpus.corpus_dir(args.name, args.out), args.out)
    return 3 if manifest["skipped"] else 0


def _source(args: argparse.Namespace):
    """Returns what the arguments say to build from; `ValueError` where they contradict."""
    if args.beam_options and not args.beam:
        raise ValueError("--beam-options are for --beam: give both")
    columns = _columns(args, _COLUMNS)
    of_tables = {"--interactions": args.interactions, "--items": args.items}
    of_tables |= {"--encoding": args.encoding}
    of_tables |= {f"--{name.replace('_', '-')}-column": value for name, value in columns.items()}
    of_reviews = {"--reviews": args.reviews, "--meta": args.meta}
    of_ml_100k = {"--source": args.source}
    if args.name == "ml_100k":
        mend = "ml_100k is built in and takes --source, not {}: give your data a name of its own"
        _refuse({"amazon2014": args.reader} | of_tables | of_reviews, mend)
    elif args.reader == "amazon2014":
        _refuse(of_tables | of_ml_100k, "amazon2014 takes --reviews and --meta, not {}")
        if not args.reviews:
            raise ValueError("amazon2014 reads reviews: give --reviews reviews_X_5.json.gz")
    else:
        _refuse(
            of_reviews,
            "{} is for the reader amazon2014: "
            f"`rec-align data build {args.name} amazon2014 --reviews FILE`",
        )
        if args.source or not args.interactions:
            raise ValueError(
                f"{args.name!r} is not built in: give --interactions FILE (and --items FILE); "
                "built in is ml_100k"
            )
    from rec_align.data import sources

    if args.name == "ml_100k":
        return sources.MovieLens100K(path=args.source)
    if args.reader == "amazon2014":
        return sources.Amazon2014(reviews_path=args.reviews, meta_path=args.meta)
    return sources.Tables(
        interactions=args.interactions,
        items=args.items,
        columns=columns,
        encoding=args.encoding or "utf-8",
    )


def _refuse(options: dict[str, object], message: str) -> None:
    """Raises `ValueError` where one of these options is given; the message names the first."""
    given = [option for option, value in options.items() if value]
    if given:
        raise ValueError(message.format(given[0]))


def _summarize(manifest: dict, directory, out: str | None) -> None:
    before, after = manifest["before_k_core"], manifest["after_k_core"]
    print(f"\n{manifest['name']:16} {'read':>12} {manifest['options']['k_core']:>5}-core")
    for what in ("users", "items", "interactions"):
        print(f"  {what:14} {before[what]:12,} {after[what]:10,}")
    print(f"  {'ratings':14} {'':12} {manifest['num_rated']:10,}")
    if manifest["has_reviews"]:
        print(f"  {'reviews':14} {'':12} {sum(manifest['num_reviews'].values()):10,}")
        print(f"  {'explanations':14} {'':12} {sum(manifest['num_explanations'].values()):10,}")
    print(f"  {'vocabulary':14} {'':12} {manifest['num_pieces']:10,}")
    for kind, count in sorted(manifest["title_fallbacks"].items()):
        print(f"  {count:,} items without a title are named by their {kind}")
    for note in manifest["skipped"]:
        print(f"skipped {note['count']:,} {note['reason']}: {note['where']}", file=sys.stderr)
    elsewhere = f"TFDS_DATA_DIR={out} " if out else ""
    print(f"in {directory}\nnext: {elsewhere}rec-align show {manifest['name']}_retrieval")
