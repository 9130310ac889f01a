"""Which vocabulary a run was trained with: token numbers mean nothing under another.

MODEL_DIR/vocabulary.json holds the digest of its SentencePiece model. Imported checkpoints have no
such file and are not checked.
"""

import json
import os

from etils import epath

FILE = "vocabulary.json"


def note(model_dir: str | os.PathLike[str], sha256: str) -> None:
    """Writes the digest; call `check` before."""
    path = epath.Path(model_dir) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sha256": sha256}) + "\n")


def read(model_dir: str | os.PathLike[str]) -> str | None:
    """The digest, or None where the run has none."""
    path = epath.Path(model_dir) / FILE
    return json.loads(path.read_text())["sha256"] if path.exists() else None


def check(model_dir: str | os.PathLike[str], sha256: str) -> None:
    """Raises ValueError where the run was trained with another vocabulary."""
    if read(model_dir) not in (None, sha256):
        raise ValueError(
            f"MODEL_DIR: {model_dir} was trained with another vocabulary than this one. A "
            "fine-tuned run needs --gin_file=gin/runs/bidirectional.gin after the run's file, and "
            "its VOCABULARY; a run of a corpus's own vocabulary needs that corpus; and each needs "
            "the ITEM_INDEX it was trained with, as it was then."
        )
