"""A training step against Hugging Face's PyTorch T5 and T5X's network, where they are installed.

All take AdamW steps from the same parameters on the same batch of the same lengths, without
dropout, in turn in one process. Theirs are used as their users do: PyTorch eager and under
`torch.compile`, T5X through its model and optimizer classes.

  python bench/train_step.py --model small --out bench/results/train_step_small_float32.json
  python bench/train_step.py --model small --dtype bfloat16
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import measuring
import numpy as np
import optax
import peers

from rec_align.models.t5 import Transformer
from rec_align.training import sharding
from rec_align.training.state import init_params, init_state, make_train_step

LEARNING_RATE = 1e-3
SAME_LOSS = {"float32": 1e-3, "bfloat16": 1e-2}
Step = Callable[[], float]  # takes one step, gives the loss before it


def make_batch(rows: int, lengths: tuple[int, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs, targets = (
        rng.integers(2, 32000, (rows, length)).astype(np.int32) for length in lengths
    )
    return {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones_like(targets),
    }


def ours(network: Transformer, params: Any, batch: dict[str, np.ndarray]) -> Step:
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=0.0)
    mesh = sharding.make_mesh()
    params = jax.tree.map(jnp.array, params)
    state, frozen = init_state(network, optimizer, mesh, seed=0, given=params)
    train_step = make_train_step(network, optimizer, seed=0)

    def step() -> float:
        nonlocal state
        state, sums = train_step(state, frozen, batch)
        jax.block_until_ready(state)
        return float(sums["loss_sum"] / sums["num_tokens"])

    return step


def t5x_step(network: Transformer, params: Any, batch: dict[str, np.ndarray]) -> Step:
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=0.0)
    model = peers.t5x_model(network.config, optimizer)
    held = model.optimizer_def.create(jax.tree.map(jnp.array, params))

    def train_step(held):
        (loss, _), grads = jax.value_and_grad(model.loss_fn, has_aux=True)(held.target, batch, None)
        return held.apply_gradient(grads, learning_rate=LEARNING_RATE), loss

    train_step = jax.jit(train_step, donate_argnums=0)

    def step() -> float:
        nonlocal held
        held, loss = train_step(held)
        jax.block_until_ready(held)
        return float(loss)

    return step


def torch_step(
    network: Transformer, params: Any, batch: dict[str, np.ndarray], compiled: bool
) -> Step:
    import torch

    model = peers.hugging_face_model(network.config, params)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    tensors = {
        "input_ids": torch.tensor(batch["encoder_input_tokens"]).long(),
        "labels": torch.tensor(batch["decoder_target_tokens"]).long(),
    }
    forward = torch.compile(model) if compiled else model
    bfloat16 = network.config.dtype == "bfloat16"

    def step() -> float:
        # Autocast is PyTorch's way to bfloat16 activations with float32 parameters.
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = forward(**tensors).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help="a file of gin/models")
    parser.add_argument("--batch", type=int, default=16, help="rows")
    parser.add_argument("--lengths", default="256,64", help="tokens of inputs and targets")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    network = peers.shared_network(args.model, args.dtype)
    batch = make_batch(args.batch, tuple(map(int, args.lengths.split(","))))
    params = jax.device_get(init_params(network, 0))
    packages = ["jax"]
    ways = {"rec_align": ours(network, params, batch)}
    if importlib.util.find_spec("t5x"):
        ways["T5X"] = t5x_step(network, params, batch)
        packages.append("t5x")
    if importlib.util.find_spec("torch"):
        ways["PyTorch eager"] = torch_step(network, params, batch, compiled=False)
        ways["PyTorch compiled"] = torch_step(network, params, batch, compiled=True)
        packages += ["torch", "transformers"]
    rows: dict[str, dict[str, float]] = {}
    for name, step in ways.items():
        rows[name] = {"losses": [step() for _ in range(3)]}  # compiles
        expected = rows["rec_align"]["losses"]
        np.testing.assert_allclose(rows[name]["losses"], expected, rtol=SAME_LOSS[args.dtype])
    seconds = measuring.take_turns(ways, args.rounds)
    print(f"{'way':18} {'s/step':>8} {'ratio':>6}  losses of three steps")
    for name, row in rows.items():
        row["median_step_seconds"] = statistics.median(seconds[name])
        row["ratio"] = measuring.ratio(seconds[name], seconds["rec_align"])
        losses = " ".join(f"{loss:.4f}" for loss in row["losses"])
        print(f"{name:18} {row['median_step_seconds']:8.3f} {row['ratio']:6.2f}  {losses}")
    settings = {k: v for k, v in vars(args).items() if k != "out"}
    measuring.write_record(args.out, packages, {"settings": settings, "ways": rows})
    for name, row in rows.items():
        if name != "rec_align":
            print(
                f"ratio: train_step_{args.model}_over_{name.replace(' ', '_')} {row['ratio']:.2f}"
            )


if __name__ == "__main__":
    main()
