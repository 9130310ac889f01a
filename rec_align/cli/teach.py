"""Let SASRec draw items at each place of a corpus's train split.

  rec-align teach ml_100k
  rec-align compile ml_100k_distilled --epochs 8 --item-index atomic --out compiled/distilled
  rec-align train-compiled compiled/distilled --model tiny --model-dir runs/distilled \\
    --item-embeddings PATH

SASRec is fitted on the train split, and items drawn by its probabilities at each place are kept
beside the corpus. The task CORPUS_distillation has them as targets; the mixture CORPUS_distilled
has it beside the retrieval task. SASRec's embeddings of the items are kept, too, and their PATH is
told: where an item is one token, it can start from them.
"""

import argparse

from rec_align.cli import task_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", metavar="CORPUS")
    parser.add_argument(
        "--num-draws", type=int, default=20, metavar="N", help="kept at each place (default 20)"
    )
    parser.add_argument(
        "--num-teachers", type=int, default=1, metavar="N",
        help="SASRecs of as many seeds, whose mean draws (default 1)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of SASRec and the draws")
    parser.add_argument("--force", action="store_true", help="make them anew if they are there")
    task_arguments.add_data_dir(parser)


def run(args: argparse.Namespace) -> int:
    task_arguments.use_data_dir(args)
    from rec_align import teaching
    from rec_align.data import taught_items

    taught = teaching.teach(
        args.corpus,
        num_draws=args.num_draws,
        num_teachers=args.num_teachers,
        seed=args.seed,
        force=args.force,
    )
    num_places, num_draws = taught.item_indices.shape
    print(f"{num_draws} draws for each of the {num_places:,} places of {args.corpus}")
    print(f"item embeddings: {taught_items.embeddings_path(args.corpus)}")
    return 0
