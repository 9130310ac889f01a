"""From a pretrained T5 to recommendations and back: Hugging Face in, adapters, Hugging Face out."""

import json

import gin
import numpy as np
import pytest

from rec_align import infer, train
from rec_align.cli.main import main as rec_align_cli
from rec_align.data.corpus import vocabulary_path
from rec_align.pretrained.opening import open_checkpoint

SIZE = {
    "emb_dim": 32,
    "num_heads": 2,
    "head_dim": 16,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "mlp_dim": 64,
    "vocab_size": 0,
}
SHORT = "--gin.TASK_FEATURE_LENGTHS={'inputs': 128, 'targets': 32}"


def run(script, *arguments):
    gin.clear_config()
    try:
        assert script.main([str(argument) for argument in arguments]) == 0
    finally:
        gin.clear_config()


@pytest.fixture(scope="module")
def pretrained(ml_100k_dir, tmp_path_factory):
    """A Hugging Face directory, written by our export of a fresh network."""
    tmp_path = tmp_path_factory.mktemp("pretrained")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
    model = tmp_path / "model.gin"
    model.write_text(
        "from __gin__ import dynamic_registration\n"
        "from rec_align.models import t5\n"
        "MODEL = @t5.Transformer()\n"
        "t5.Transformer.config = @t5.T5Config()\n"
        + "".join(f"t5.T5Config.{name} = {value}\n" for name, value in SIZE.items())
    )
    run(
        train,
        f"--gin_file={model}",
        "--gin_file=gin/runs/train.gin",
        "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'",
        f"--gin.MODEL_DIR='{tmp_path / 'fresh'}'",
        "--gin.TRAIN_STEPS=1",
        SHORT,
    )
    assert rec_align_cli(["checkpoint", "export", f"{tmp_path}/fresh", f"{tmp_path}/hf"]) == 0
    yield tmp_path / "hf"
    monkeypatch.undo()


def test_adapters_of_a_pretrained_t5(tmp_path, pretrained, capsys):
    imported, adapted = tmp_path / "imported", tmp_path / "adapted"
    assert rec_align_cli(["checkpoint", "import", str(pretrained), str(imported)]) == 0
    common = [
        f"--gin_file={imported}/model.gin",
        f"--gin.MODEL_DIR='{adapted}'",
        f"--gin.VOCABULARY='{vocabulary_path('ml_100k')}'",
        SHORT,
    ]
    run(
        train,
        *common,
        "--gin_file=gin/runs/finetune.gin",
        "--gin_file=gin/runs/lora.gin",
        "--gin.MIXTURE_OR_TASK_NAME='ml_100k_recommendation'",
        f"--gin.INITIAL_CHECKPOINT_PATH='{pretrained}'",
        "--gin.TRAIN_STEPS=2",
        "--gin.BATCH_SIZE=2",
        "--gin.NUM_MICROBATCHES=2",
    )
    assert "of them trained" in capsys.readouterr().out
    assert (adapted / "adapters.json").exists()
    run(
        infer,
        *common,
        "--gin_file=gin/runs/infer.gin",
        "--gin_file=gin/runs/bidirectional.gin",
        "--gin_file=gin/runs/lora.gin",
        "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'",
        "--gin.CHECKPOINT='latest'",
        "--gin.infer.beam_size=4",
    )
    lines = (adapted / "recommendations_test.jsonl").read_text().splitlines()
    assert len(lines) == 943 and json.loads(lines[0])["recommended"]

    merged = tmp_path / "merged"
    assert rec_align_cli(["checkpoint", "export", str(adapted), str(merged)]) == 0
    before, after = open_checkpoint(pretrained), open_checkpoint(merged)
    assert before.shapes == after.shapes
    changed = {
        name
        for name in before.shapes
        if not np.array_equal(before.read(name, ()), after.read(name, ()))
    }
    assert changed == {
        f"{attention}/{name}/kernel"
        for attention in (
            "encoder/layers_0/attention",
            "decoder/layers_0/self_attention",
            "decoder/layers_0/encoder_decoder_attention",
        )
        for name in ("query", "value")
    }


def test_a_pretrained_t5_learns_an_index_with_tokens_of_its_own(tmp_path, pretrained, capsys):
    imported, tuned = tmp_path / "imported", tmp_path / "tuned"
    assert rec_align_cli(["checkpoint", "import", str(pretrained), str(imported)]) == 0
    arguments = [
        f"--gin_file={imported}/model.gin",
        "--gin_file=gin/runs/finetune.gin",
        f"--gin.MODEL_DIR='{tuned}'",
        f"--gin.VOCABULARY='{vocabulary_path('ml_100k')}'",
        "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'",
        f"--gin.INITIAL_CHECKPOINT_PATH='{pretrained}'",
        "--gin.ITEM_INDEX='atomic'",
        "--gin.T5Config.vocab_size=0",
        "--gin.TRAIN_STEPS=1",
        "--gin.BATCH_SIZE=2",
        "--gin.LEARNING_RATE=1e-6",
        SHORT,
    ]
    assert train.main([*arguments, "--gin_file=gin/runs/lora.gin"]) == 1
    assert "adapters train nothing else" in capsys.readouterr().err
    run(train, *arguments)
    before, after = (open_checkpoint(path) for path in (pretrained, tuned))
    old, new = (c.read("token_embedder/embedding", ()) for c in (before, after))
    assert len(new) >= 4147 + 1349  # spare rows of the old table were used first
    np.testing.assert_allclose(new[: len(old)], old, atol=1e-4)
    np.testing.assert_allclose(new[len(old) :].mean(0), old.mean(0), atol=1e-4)
