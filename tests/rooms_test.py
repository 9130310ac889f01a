"""The layer rules of the rooms, by reading imports; and what the package promises at import."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
JAX = {"jax", "flax", "optax", "orbax", "jaxlib"}
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio"}
# What a room may import of rec_align beside itself; what it must never import from outside.
ROOMS = {
    "data": (set(), JAX | {"seqio"}),
    "prompts": (set(), JAX | TENSORFLOW),
    "metrics": (set(), JAX | TENSORFLOW),
    "decoding": (set(), TENSORFLOW),
    "baselines": ({"data", "metrics", "models"}, TENSORFLOW),
    "indexing": ({"data"}, TENSORFLOW),
    "models": (set(), TENSORFLOW),
    "training": ({"models", "decoding"}, TENSORFLOW),
    "pretrained": ({"models", "training"}, TENSORFLOW),
    "pipeline": ({"data", "prompts"}, JAX),
    "t5x": ({"data", "decoding", "models", "pipeline", "training"}, set()),
}


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    allowed, forbidden = ROOMS[room]
    files = sorted((ROOT / "rec_align" / room).rglob("*.py"))
    assert files
    for path in files:
        for name in imported(path):
            top, *rest = name.split(".")
            assert top not in forbidden, f"{path} imports {name}"
            assert top != "tasks", f"{path} imports {name}"
            if top == "rec_align" and rest and rest[0] in ROOMS:
                assert rest[0] in allowed | {room}, f"{path} imports {name}"


def test_every_room_is_listed():
    folders = {p.parent.name for p in (ROOT / "rec_align").glob("*/__init__.py")}
    assert folders == set(ROOMS) | {"cli"}


def test_tasks_only_register():
    for path in (ROOT / "tasks").glob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & (JAX | {"tensorflow"}), path


def test_no_file_is_longer_than_the_ceiling():
    for folder in ("rec_align", "tasks", "tests", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 400, path


def test_the_gin_folder_is_no_package():
    assert not (ROOT / "gin" / "__init__.py").exists()


@pytest.mark.parametrize(
    "code", ["import rec_align", "import rec_align.cli.main as m; m.build_parser()"]
)
def test_importing_loads_nothing_heavy(code):
    heavy = "{'jax', 'tensorflow', 'seqio', 'pandas', 'numpy'}"
    script = f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_tasks_reads_no_data_and_registers_named_corpora(tmp_path):
    script = (
        "import sys\n"
        "import tasks\n"  # heavy libraries read their own files while they are imported
        "ours = [name for name in sys.modules if name.split('.')[0] == 'tasks']\n"
        "for name in ours: del sys.modules[name]\n"
        "import seqio; seqio.TaskRegistry.reset(); seqio.MixtureRegistry.reset()\n"
        "opened = []\n"
        "def note(event, args):\n"
        "    if event == 'open': opened.append(args[0])\n"
        "sys.addaudithook(note)\n"
        "import tasks\n"
        "print([str(f) for f in opened if not str(f).endswith(('.py', '.pyc'))])\n"
        "print('one_ranking' in seqio.TaskRegistry.names())\n"
        "print('two_aligned' in seqio.MixtureRegistry.names())\n"
        "print('ml_100k_rating_unseen' in seqio.TaskRegistry.names())\n"
    )
    variables = {"TFDS_DATA_DIR": str(tmp_path / "absent"), "REC_ALIGN_CORPORA": "one, two"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == ["[]", "True", "True", "True", ""]
