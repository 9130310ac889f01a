"""Let SASRec draw items at each place of a corpus's train split.

  rec-align teach ml_100k
  rec-align compile ml_100k_distilled --epochs 8 --out compiled/distilled

SASRec is fitted on the train split, and items drawn by its probabilities at each place are kept
beside the corpus. The task CORPUS_distillation has them as targets; the mixture CORPUS_distilled
has it beside the retrieval task.
"""

import argparse

from rec_align.cli import task_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", metavar="CORPUS")
    parser.add_argument(
        "--num-draws", type=int, default=20, metavar="N", help="kept at each place (default 20)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of SASRec and the draws")
    parser.add_argument("--force", action="store_true", help="make them anew if they are there")
    task_arguments.add_data_dir(parser)


def run(args: argparse.Namespace) -> int:
    task_arguments.use_data_dir(args)
    from rec_align import teaching

    taught = teaching.teach(args.corpus, num_draws=args.num_draws, seed=args.seed, force=args.force)
    num_places, num_draws = taught.item_indices.shape
    print(f"{num_draws} draws for each of the {num_places:,} places of {args.corpus}")
    return 0
