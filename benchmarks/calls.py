"""What a check costs a call and a forward, side by side: part of `make bench`.

Every round calls each contender in turn, on one thread, so that a machine that changes its speed
changes it for all. What counts is the difference, or the ratio, within a round; the median over
the rounds is printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from contenders import jaxtyped_network, unchecked

from typedwave.models import MLP, NetworkConfig

BARE, OURS, JAXTYPED = "unchecked", "typedwave", "jaxtyping + beartype"


def networks() -> dict[str, MLP]:
    torch.manual_seed(0)
    made = {name: MLP(NetworkConfig(), vocab_size=27) for name in (BARE, OURS, JAXTYPED)}
    unchecked(made[BARE])
    jaxtyped_network(made[JAXTYPED])
    return made


def measured(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int
) -> dict[str, list[float]]:
    """Microseconds a call of each contender, by round."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, call in contenders.items():
            call()
            began = time.perf_counter()
            for _ in range(calls):
                call()
            taken[name].append((time.perf_counter() - began) / calls * 1e6)
    return {name: values[1:] for name, values in taken.items()}  # the first round is to warm


def over(taken: Mapping[str, list[float]], name: str) -> float:
    return statistics.median(a - b for a, b in zip(taken[name], taken[BARE], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = networks()
    ids = torch.randint(27, (32, 8))
    inputs: dict[int, torch.Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, i=i: inputs.update({i: args[0].detach()}))
        for i, layer in enumerate(made[BARE].layers[:5])
    ]
    made[BARE](ids)
    for hook in hooks:
        hook.remove()
    print(f"one call, batch 32, one thread, microseconds; medians of {options.rounds} rounds")
    print(f"{'':22}{BARE:>10}{'typedwave over it':>20}{'jaxtyping over it':>20}{'times less':>12}")
    for i, x in inputs.items():
        layers = {name: network.layers[i] for name, network in made.items()}
        calls = {name: lambda layer=layer, x=x: layer(x) for name, layer in layers.items()}
        taken = measured(calls, rounds=options.rounds, calls=300)
        ours, theirs = over(taken, OURS), over(taken, JAXTYPED)
        less = f"{theirs / ours:.0f}" if ours > 0.05 else "-"
        bare = statistics.median(taken[BARE])
        print(f"{type(layers[OURS]).__name__:22}{bare:10.2f}{ours:20.2f}{theirs:20.1f}{less:>12}")
    calls = {name: lambda network=network: network(ids) for name, network in made.items()}
    taken = measured(calls, rounds=options.rounds, calls=100)
    print("the whole forward of 76,579 parameters")
    for name, values in taken.items():
        ratio = statistics.median(a / b for a, b in zip(values, taken[BARE], strict=True))
        print(f"{name:22}{statistics.median(values):10.1f}  {ratio:.3f} of the unchecked one")


if __name__ == "__main__":
    main()
