"""What a run says on the terminal before and after: its size, and how it ended."""

import jax
from jax.sharding import Mesh

from rec_align.models.t5 import Transformer
from rec_align.training import loop, sharding
from rec_align.training.state import split_trained


def describe(network: Transformer, mesh: Mesh) -> None:
    """Prints the number of parameters and the mesh."""
    trained, frozen = split_trained(network, sharding.abstract_params(network))
    trained, frozen = (sum(p.size for p in jax.tree.leaves(tree)) for tree in (trained, frozen))
    adapters = f", {trained:,} of them trained" if frozen else ""
    devices = "x".join(map(str, mesh.devices.shape))
    platform = mesh.devices.flat[0].platform
    print(f"{trained + frozen:,} parameters{adapters}; mesh {devices} of {platform} devices")


def tell(outcome: loop.Outcome, train_steps: int, model_dir: str) -> None:
    """Prints the share of padding, and where the run is or how it goes on."""
    step = int(outcome.state.step)
    if outcome.metrics:
        inputs = outcome.metrics["padding_share_inputs"]
        targets = outcome.metrics["padding_share_targets"]
        print(f"padding: {inputs:.1%} of the input tokens, {targets:.1%} of the target tokens")
    if outcome.stopped_by:
        print(f"{outcome.stopped_by}: saved step {step} of {train_steps} in {model_dir}.")
        print("Run the same command again to go on from there.")
    else:
        print(f"trained {step} steps; checkpoints and metrics.jsonl are in {model_dir}")
