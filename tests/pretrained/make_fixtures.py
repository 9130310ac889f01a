"""Writes the Hugging Face fixtures: `python tests/pretrained/make_fixtures.py`, with torch.

What they hold is said in fixtures/README.md.
"""

import pathlib
import shutil

import hf_models
import numpy as np
import torch

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
SIZES = {
    "vocab_size": 128,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 4,
}


def write(name: str, seed: int, *, tied: bool, dtype=torch.float32, version_4=True, **options):
    directory = FIXTURES / name
    shutil.rmtree(directory, ignore_errors=True)
    model = hf_models.random_model(seed, tied=tied, **SIZES)
    model.to(dtype).save_pretrained(directory, **options)
    if version_4:
        hf_models.write_config_of_version_4(directory, tied)
    np.savez_compressed(FIXTURES / f"{name}.npz", **hf_models.reference(directory, seed))


if __name__ == "__main__":
    write("hf_v1_0_tied", 0, tied=True)
    write("hf_v1_1_untied", 1, tied=False)
    write("hf_v1_1_untied_sharded_bf16", 2, tied=False, dtype=torch.bfloat16, max_shard_size="10KB")
    write("hf_v1_0_tied_f16_version_5", 3, tied=True, dtype=torch.float16, version_4=False)
    write("hf_v1_1_untied_version_5", 4, tied=False, version_4=False)
