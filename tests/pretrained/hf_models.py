"""Random T5s of Hugging Face, and what its own code computes from a directory. Needs torch."""

import json
import pathlib

import numpy as np
import torch
import transformers

ENCODER_LENGTH, TARGET_LENGTH, NUM_NEW_TOKENS, BEAM = 150, 9, 12, 4


def random_model(seed: int, *, tied: bool, **sizes) -> transformers.T5ForConditionalGeneration:
    """A T5 in which every parameter matters: no norm is one, no bias is small."""
    torch.manual_seed(seed)
    config = transformers.T5Config(
        feed_forward_proj="relu" if tied else "gated-gelu",
        tie_word_embeddings=tied,
        decoder_start_token_id=0,
        **sizes,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    if not tied:
        # Transformers 5 ties them at first, whatever the config says.
        head = torch.nn.Parameter(torch.randn_like(model.shared.weight) * sizes["d_model"] ** -0.5)
        model.lm_head.weight = head
    with torch.no_grad():
        model.lm_head.weight[1] *= 1.5  # some outputs end
        for name, parameter in model.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                parameter *= 4  # else a tied model just repeats its last token
            if "layer_norm" in name or "relative_attention_bias" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def write_config_of_version_4(directory: pathlib.Path, tied: bool) -> None:
    """Rewrites config.json to say as the public checkpoints do whether the embeddings are tied."""
    config = json.loads((directory / "config.json").read_text())
    del config["scale_decoder_outputs"]
    config |= {"tie_word_embeddings": tied, "transformers_version": "4.23.1"}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def catalogues(vocab_size: int, seed: int) -> dict[str, np.ndarray]:
    """Items as rows of tokens, EOS, padding: 12 of 1 to 4 tokens, and 40 of 3 tokens each."""
    rng = np.random.default_rng(seed)
    tokens = rng.choice(np.arange(2, vocab_size), 5, replace=False)
    result = {}
    for name, count, lengths in (("ragged", 12, (1, 2, 3, 4)), ("level", 40, (3,))):
        items = set()
        while len(items) < count:
            items.add(tuple(rng.choice(tokens, rng.choice(lengths)).tolist()))
        result[name] = np.zeros((count, 5), np.int32)
        for index, item in enumerate(sorted(items)):
            result[name][index, : len(item) + 1] = [*item, 1]
    return result


@torch.no_grad()
def reference(directory: pathlib.Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs, and what Hugging Face's T5 gives for them in float32, from a directory.

    Returns:
      `encoder_input_tokens` [batch, 150], padded, longer than the farthest position bucket;
      `decoder_input_tokens` [batch, 9] and their `logits`; `greedy` [batch, 12] tokens after the
      start; for the catalogues `ragged` and `level` their `_items` [num_items, 5] and the
      `_indices` and `_scores` [batch, n] of the best items. All items are searched in `ragged`,
      with a beam of 12; in `level`, where all end at the same step, a beam of 4 prunes.
    """
    model = transformers.T5ForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    model.eval()
    vocab_size = model.config.vocab_size
    rng = np.random.default_rng(seed)
    lengths = np.array([ENCODER_LENGTH, 61, 7])
    encoder = rng.integers(2, vocab_size, (3, ENCODER_LENGTH))
    encoder[np.arange(ENCODER_LENGTH) >= lengths[:, None]] = 0
    encoder[np.arange(3), lengths - 1] = 1
    decoder = rng.integers(2, vocab_size, (3, TARGET_LENGTH))
    decoder[:, 0] = 0
    inputs = {
        "input_ids": torch.tensor(encoder),
        "attention_mask": torch.tensor(encoder > 0).long(),
    }
    found = {
        "encoder_input_tokens": encoder.astype(np.int32),
        "decoder_input_tokens": decoder.astype(np.int32),
        "logits": model(**inputs, decoder_input_ids=torch.tensor(decoder)).logits.numpy(),
    }
    greedy = model.generate(**inputs, max_new_tokens=NUM_NEW_TOKENS, do_sample=False)[:, 1:]
    found["greedy"] = np.zeros((3, NUM_NEW_TOKENS), np.int32)
    found["greedy"][:, : greedy.shape[1]] = greedy.numpy()
    for name, items in catalogues(vocab_size, seed).items():
        beam = len(items) if name == "ragged" else BEAM
        indices, scores = _best_items(model, inputs, items, beam)
        found |= {f"{name}_items": items, f"{name}_indices": indices, f"{name}_scores": scores}
    return found


def _best_items(model, inputs, items: np.ndarray, beam: int) -> tuple[np.ndarray, np.ndarray]:
    """[batch, beam] item indices and log-probabilities, by `prefix_allowed_tokens_fn`."""
    rows = [tuple(row[row > 0].tolist()) for row in items]
    children: dict[tuple[int, ...], set[int]] = {}
    for row in rows:
        for depth in range(len(row)):
            children.setdefault(row[:depth], set()).add(row[depth])

    def allowed(_, tokens: torch.Tensor) -> list[int]:
        return sorted(children.get(tuple(tokens[1:].tolist()), {1}))

    # With a length penalty of 0 a score is the sum of log-probabilities, over the whole vocabulary.
    outputs = model.generate(
        **inputs,
        num_beams=beam,
        num_return_sequences=beam,
        length_penalty=0.0,
        early_stopping="never",
        max_new_tokens=items.shape[1],
        prefix_allowed_tokens_fn=allowed,
        return_dict_in_generate=True,
        output_scores=True,
    )
    sequences = outputs.sequences[:, 1:].reshape(len(inputs["input_ids"]), beam, -1).tolist()
    index_of = {row: index for index, row in enumerate(rows)}
    # What follows the first EOS is filling.
    indices = [[index_of[tuple(row[: row.index(1) + 1])] for row in beams] for beams in sequences]
    return np.array(indices, np.int32), outputs.sequences_scores.reshape(-1, beam).numpy()
