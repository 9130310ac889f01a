"""Print what a run reached: its tables, and some users' histories and recommendations.

  rec-align report runs/first --users 5

Reads what `rec_align.eval` and `rec_align.infer` wrote into the run's folder.
"""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model_dir", metavar="RUN", help="the MODEL_DIR of a run")
    parser.add_argument("--split", default="test", help="test or validation (default test)")
    parser.add_argument("--users", type=int, default=5, metavar="N", help="users (default 5)")


def run(args: argparse.Namespace) -> int:
    from etils import epath

    from rec_align.metrics import table

    folder = epath.Path(args.model_dir)
    scores = _existing(folder / f"eval_{args.split}" / "metrics.json", "rec_align.eval")
    users = _existing(folder / f"recommendations_{args.split}.jsonl", "rec_align.infer")
    lines = users.read_text().splitlines()
    count = max(min(args.users, len(lines)), 0)
    for place in range(count):
        # Evenly spread: the order of users is that of a hash.
        _print_user(json.loads(lines[place * len(lines) // count]))
    print()
    saved = json.loads(scores.read_text())
    context = saved["context"]
    ours = saved["results"]["rec_align"]
    first = {name: ours[name] for name in ("retrieval", "ranking", "rating") if name in ours}
    others = {name: tasks for name, tasks in saved["results"].items() if name != "rec_align"}
    results = {"rec_align": first | ours} | others
    table.print_tables(results, ours="rec_align", num_items=context["num_items"])
    _print_checks(ours)
    print(f"\ncheckpoint      {folder / 'checkpoints'}/{context['checkpoint_step']}")
    print(f"metrics         {scores}")
    print(f"predictions     {scores.parent}/predictions_*.jsonl")
    print(f"recommendations {users}")
    return 0


def _print_checks(tasks: dict) -> None:
    """What the decoder promises: every output an item, the top of the list proven."""
    retrieval, rating = tasks.get("retrieval", {}), tasks.get("rating", {})
    if "invalid_share" in retrieval:
        print(f"\nretrieval outputs that are no item: {retrieval['invalid_share']:.1%}")
    if "proven_top10_share" in retrieval:
        proven = retrieval["proven_top10_share"]
        print(f"users whose top 10 is proven to be the model's own: {proven:.1%}")
    if "num_invalid" in rating:
        print(f"rating outputs that are no number: {rating['num_invalid']} of {rating['n']}")


def _existing(path, writer: str):
    if not path.exists():
        raise ValueError(f"there is no {path}: run python -m {writer} with this MODEL_DIR first")
    return path


def _print_user(record: dict) -> None:
    print(f"\nuser {record['user_index']}, chose last: {'; '.join(record['history'][-5:])}")
    held_out = record["held_out"]
    for rank, title in enumerate(record["recommended"], 1):
        print(f"  {rank:2}. {title}{'   <- the held-out item' if title == held_out else ''}")
    if held_out not in record["recommended"]:
        print(f"      held out, and not among them: {held_out}")
