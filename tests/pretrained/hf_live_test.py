"""Against Hugging Face's T5 itself, at real sizes, both ways; where torch and transformers are."""

import pathlib

import jax
import numpy as np
import parity
import pytest

from rec_align.pretrained import converting

REASON = "to compare with Hugging Face's own T5: pip install torch transformers"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)

import hf_models  # noqa: E402 - imports torch

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
SIZES = {
    # FLAN-T5-small's.
    False: {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    # T5-small's, v1.0.
    True: {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
}


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def directory(request, tmp_path_factory):
    """A directory that Hugging Face wrote, with the config of a public checkpoint."""
    path = tmp_path_factory.mktemp("hf")
    model = hf_models.random_model(0, tied=request.param, vocab_size=32128, **SIZES[request.param])
    model.save_pretrained(path)
    hf_models.write_config_of_version_4(path, request.param)
    return path


@pytest.fixture(scope="module")
def reference(directory):
    return hf_models.reference(directory)


def test_logits(directory, reference):
    parity.assert_same_logits(directory, reference, atol=1e-4)


def test_greedy_and_beams(directory, reference):
    parity.assert_same_decoding(directory, reference)


def test_hugging_face_reads_what_is_exported(directory, reference, tmp_path):
    """In shards, by `from_pretrained`, with every tensor to the last bit."""
    converting.import_checkpoint(directory, tmp_path / "run")
    converting.export_hf(tmp_path / "run", tmp_path / "out", max_shard_bytes=100 * 10**6)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    load = transformers.T5ForConditionalGeneration.from_pretrained
    model, info = load(tmp_path / "out", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    original = load(directory).state_dict()
    exported = model.state_dict()
    assert original.keys() == exported.keys()
    for name, tensor in original.items():
        assert torch.equal(tensor, exported[name]), name
    with torch.no_grad():
        logits = model.eval()(
            input_ids=torch.tensor(reference["encoder_input_tokens"]).long(),
            attention_mask=torch.tensor(reference["encoder_input_tokens"] > 0).long(),
            decoder_input_ids=torch.tensor(reference["decoder_input_tokens"]).long(),
        ).logits
    np.testing.assert_array_equal(logits, reference["logits"])


def test_a_network_of_ours_computes_the_same_there(tmp_path):
    """The other way round: weights that this network drew, exported."""
    _, params = parity.load(FIXTURES / "hf_v1_1_untied")
    params = jax.tree.map(lambda leaf: leaf * 1.1, params)
    converting.save_params(tmp_path / "run", params)
    converting.export_hf(tmp_path / "run", tmp_path / "out")
    parity.assert_same_logits(tmp_path / "out", hf_models.reference(tmp_path / "out"))


def test_the_exported_vocabulary_gives_the_same_tokens(tmp_path):
    """spiece.model alone makes Hugging Face's tokenizer, sentinels included."""
    spm = pytest.importorskip("sentencepiece")
    seqio = pytest.importorskip("seqio")
    texts = [f"the film number {i} of the red house in the year {7 * i}" for i in range(500)]
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(tmp_path / "pieces"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    pieces = tmp_path / "pieces.model"
    converting.import_checkpoint(FIXTURES / "hf_v1_1_untied", tmp_path / "run")
    converting.export_hf(tmp_path / "run", tmp_path / "out", vocabulary=pieces)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = seqio.SentencePieceVocabulary(str(pieces), extra_ids=100)
    assert len(theirs) == ours.vocab_size
    for text in ("the red house <extra_id_0> film number 12", "year 77  of the"):
        assert theirs(text).input_ids == [*ours.encode(text), 1]
