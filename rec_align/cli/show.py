"""Print a task's examples as the model sees them.

  rec-align show ml_100k_retrieval
  rec-align show ml_100k_p5 --num 1     (of a mixture: examples of each of its tasks)
  rec-align show ml_100k_rating --split test --num 1 --lengths 256,64
  rec-align show my_shop_mine --import my_tasks --gin "next_item_windows.targets='window'"
  rec-align show                      (lists the tasks and mixtures)

Each example is printed as text, then as tokens decoded block by block: a number in brackets starts
each block. An input token sees the blocks up to its own; a target sees the blocks before its own.
"""

import argparse
import textwrap
from collections.abc import Sequence

from rec_align.cli import task_arguments

_WIDTH = 98


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="TASK", nargs="?", help="a task or mixture; none lists them"
    )
    parser.add_argument("--split", default="train", help="train, validation or test")
    parser.add_argument("--num", type=int, default=3, metavar="N", help="examples (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default 0)")
    task_arguments.add_arguments(parser, lengths="512,512")


def run(args: argparse.Namespace) -> int:
    if args.num < 1:
        raise ValueError(f"--num {args.num}: give 1 or more")
    task_arguments.open_tasks(args)
    import seqio
    import tensorflow as tf

    if not args.task:
        print("\n".join(sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})))
        return 0
    provider = seqio.get_mixture_or_task(args.task)
    tasks = [task for task in seqio.get_subtasks(provider) if args.split in task.splits]
    if not tasks:
        raise ValueError(f"--split {args.split}: {args.task} has {_splits(provider)}")
    vocabulary = provider.output_features["inputs"].vocabulary
    try:
        for task in tasks:
            dataset = task.get_dataset(
                args.lengths,
                split=args.split,
                shuffle=args.split == "train",
                seed=args.seed,
                num_epochs=1,
            )
            examples = dataset.take(args.num).as_numpy_iterator()
            for number, example in enumerate(examples, start=1):
                print(f"--- {task.name}, {args.split}, example {number}")
                print(describe(example, vocabulary))
    except tf.errors.OpError as error:
        raise ValueError(error.message) from error
    return 0


def _splits(provider) -> str:
    """The splits that a task, or any task of a mixture, has."""
    import seqio

    return ", ".join(sorted({split for t in seqio.get_subtasks(provider) for split in t.splits}))


def describe(example, vocabulary) -> str:
    """An example in words.

    Args:
      example: a task's example as NumPy values.
      vocabulary: a SeqIO vocabulary.

    Returns:
      Several lines: text, tokens by block, token and target counts, what was cut off.
    """
    num_targets = int((example["targets"] == 1).sum())
    cut_parts, cut_tokens = int(example["num_cut_parts"]), int(example["num_cut_tokens"])
    paragraphs = {
        "inputs text": example["inputs_pretokenized"].decode(),
        "targets text": example["targets_pretokenized"].decode(),
        "inputs": _by_block(example["inputs"], example["inputs_blocks"], vocabulary),
        "targets": _by_block(example["targets"], example["targets_blocks"], vocabulary),
        "size": ", ".join(
            _count(number, name)
            for number, name in (
                (len(example["inputs"]), "input token"),
                (len(example["targets"]), "target token"),
                (num_targets, "target"),
            )
        ),
        "cut off": _count(cut_parts, "part") + ", " + _count(cut_tokens, "token")
        if cut_tokens
        else "nothing",
    }
    lines = [
        textwrap.fill(text, _WIDTH, initial_indent=f"{name:>13}  ", subsequent_indent=" " * 15)
        for name, text in paragraphs.items()
        if text
    ]
    return "\n".join(lines) + "\n"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _by_block(tokens: Sequence[int], blocks: Sequence[int], vocabulary) -> str:
    """Tokens decoded block by block, '[0] Next? History: [1] A; [2] B;', EOS shown as </s>."""
    runs: list[tuple[int, list[int]]] = []
    for token, block in zip(tokens, blocks, strict=True):
        if not runs or runs[-1][0] != block:
            runs.append((int(block), []))
        runs[-1][1].append(int(token))
    return " ".join(f"[{block}] {_decode(ids, vocabulary)}" for block, ids in runs)


def _decode(ids: list[int], vocabulary) -> str:
    """Decodes the pieces between ends of sequence, which SeqIO's `decode` would stop at."""
    texts, piece = [], []
    for token in ids:
        if token == 1:
            texts.append(f"{vocabulary.decode(piece)} </s>")
            piece = []
        else:
            piece.append(token)
    return " ".join([*texts, vocabulary.decode(piece)] if piece else texts)
