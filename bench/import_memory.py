"""How much memory it takes to import a pretrained checkpoint, against the checkpoint's own size.

A T5 of random weights is written as Hugging Face does it, float32 in shards, and imported by
`rec-align checkpoint import` in a process of its own. The ratio is that process's peak resident
memory, the interpreter and its libraries included, to the bytes of the weights on disk.

  python bench/import_memory.py --model large --out bench/results/import_memory.json
"""

import argparse
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import gin
import jax
import measuring
import numpy as np
from etils import epath

from rec_align.models.t5 import Transformer
from rec_align.pretrained import hf
from rec_align.pretrained.checkpoint import Checkpoint
from rec_align.training.checkpoints import shapes
from rec_align.training.state import init_params

ROOT = pathlib.Path(__file__).parents[1]
SHARD_BYTES = 10**9
IMPORTS = "import jax, rec_align.pretrained.converting; jax.devices('cpu')"


def write_random(network: Transformer, directory: pathlib.Path) -> None:
    """Writes a checkpoint of the network's size, one parameter at a time."""
    wanted = shapes(jax.eval_shape(lambda: init_params(network, 0)))
    rng = np.random.default_rng(0)

    def read(name: str, _) -> np.ndarray:
        return rng.standard_normal(wanted[name], np.float32)

    checkpoint = Checkpoint(kind="random", path="random weights", shapes=wanted, read=read)
    hf.write_hf(checkpoint, network.config, epath.Path(directory), SHARD_BYTES)


# A process starts with the peak of the one that forked it: a small one stands between.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * 1024)  # Linux counts in KiB
sys.exit(status != 0)
"""


def peak_bytes(*arguments: str) -> int:
    """The peak resident memory of a Python process that must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="large", help="of gin/models (default large)")
    parser.add_argument("--out", help="also write the result there, as JSON")
    parser.add_argument("--dir", help="for twice the checkpoint's size, emptied at the end")
    args = parser.parse_args()
    gin.parse_config_file(str(ROOT / f"gin/models/{args.model}.gin"))
    network = gin.query_parameter("%MODEL").scoped_configurable_fn()
    with tempfile.TemporaryDirectory(dir=args.dir) as work:
        source = pathlib.Path(work) / "hf"
        source.mkdir()
        write_random(network, source)
        files = sorted(source.glob("*.safetensors"))
        size = sum(file.stat().st_size for file in files)
        baseline = peak_bytes("-c", IMPORTS)
        start = time.monotonic()
        command = ["-m", "rec_align.cli", "checkpoint", "import", str(source), f"{work}/run"]
        peak = peak_bytes(*command)
        seconds = time.monotonic() - start
    result = {
        "model": args.model,
        "parameters": sum(
            math.prod(shape)
            for shape in shapes(jax.eval_shape(lambda: init_params(network, 0))).values()
        ),
        "checkpoint_bytes": size,
        "checkpoint_files": len(files),
        "import_peak_bytes": peak,
        "interpreter_and_libraries_bytes": baseline,
        "import_seconds": seconds,
        "ratio": peak / size,
    }
    for name, value in result.items():
        print(f"{name:32} {value:,}" if isinstance(value, int) else f"{name:32} {value}")
    measuring.write_record(args.out, ["jax", "orbax-checkpoint"], result)
    print(f"ratio: import_peak_memory {result['ratio']:.2f}")


if __name__ == "__main__":
    main()
