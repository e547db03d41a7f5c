"""What a run costs beside its training steps: metrics, states, progress and checks.

A run of the preset ``demo`` as `typedwave train` makes it, into a temporary folder. After each of
its points the same number of steps is done by bare loops of the same step on the same kind of
batch, so that a machine that changes its speed changes it for all. The evaluations at the points
are not counted as the run's cost, but told: whoever wants a curve pays for them in a bare loop
too.
"""

import argparse
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from contenders import unchecked
from rich.console import Console
from rich.progress import Progress

from typedwave.lab.runs import experiment as experiment_module
from typedwave.lab.runs.run import Run
from typedwave.lab.training.optimizers import descend
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.words.corpus import Vocabulary, examples, read_words, split
from typedwave.lab.words.names import names_path
from typedwave.models import build

BARE = "bare loop, unchecked network"


def bare_loop(words: list[str], *, checks: bool, optimizer: bool) -> Callable[[int], None]:
    """Draw, loss, gradient and update, and nothing else, in as few calls as there are.

    With ``optimizer`` as most would write it: torch.optim.SGD, backward, zero_grad.
    """
    config, recipe = PRESETS["demo"]
    vocabulary, generator = Vocabulary.of(words), torch.Generator().manual_seed(recipe.seed)
    network = build(config, vocab_size=len(vocabulary), generator=generator)
    contexts, targets = examples(split(words).train, vocabulary, context=config.context)
    if not checks:
        unchecked(network)
    parameters = list(network.parameters())
    velocities = [None] * len(parameters)
    rule = torch.optim.SGD(parameters, lr=recipe.learning_rate)

    def by_optimizer(steps: int) -> None:
        for _ in range(steps):
            ids = torch.randint(0, len(targets), (recipe.batch_size,), generator=generator)
            loss = F.cross_entropy(network(contexts[ids]), targets[ids])
            rule.zero_grad()
            loss.backward()
            rule.step()

    def by_function(steps: int) -> None:
        for _ in range(steps):
            ids = torch.randint(0, len(targets), (recipe.batch_size,), generator=generator)
            loss = F.cross_entropy(network(contexts[ids]), targets[ids])
            gradients = list(torch.autograd.grad(loss, parameters))
            with torch.no_grad():
                descend(parameters, gradients, velocities, recipe.learning_rate, 0.0)

    return by_optimizer if optimizer else by_function


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=names_path(), help="one word a line")
    parser.add_argument("--steps", type=int, default=40_000, help="of the run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    bare = {
        BARE: bare_loop(words, checks=False, optimizer=False),
        "bare loop, checked network": bare_loop(words, checks=True, optimizer=False),
        "bare loop by torch.optim.SGD": bare_loop(words, checks=False, optimizer=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ("run", *bare)}
    evaluations: list[float] = []
    evaluate = experiment_module.evaluate

    def timed(*arguments):
        began = time.perf_counter()
        try:
            return evaluate(*arguments)
        finally:
            evaluations.append(time.perf_counter() - began)

    experiment_module.evaluate = timed

    def watch(experiment, points) -> bool:
        console = Console(file=io.StringIO(), force_terminal=True)
        with Progress(console=console) as progress:
            task, before = progress.add_task("training", total=experiment.steps), 0
            while True:
                began = time.perf_counter()
                point = next(points, None)
                if point is None:
                    return False
                progress.update(task, completed=point.step)
                steps, taken = point.step - before, time.perf_counter() - began - evaluations[-1]
                before = point.step
                seconds["run"].append(taken / steps)
                # Whoever runs after an evaluation, or after its like, finds other caches.
                for name, loop in random.sample(list(bare.items()), len(bare)):
                    loop(steps // 4)
                    began = time.perf_counter()
                    loop(steps)
                    seconds[name].append((time.perf_counter() - began) / steps)

    config, recipe = PRESETS["demo"]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run", words, corpus="", watch=watch)
        run.train(config, replace(recipe, steps=options.steps), "demo")
    skip = 2  # in which all is done for the first time
    print(f"a step of the preset demo, one thread; medians of {len(seconds['run']) - skip} points")
    print(f"{'':30}{'microseconds':>12}  to the {BARE}")
    for name, taken in seconds.items():
        ratio = statistics.median(
            a / b for a, b in zip(taken[skip:], seconds[BARE][skip:], strict=True)
        )
        print(f"{name:30}{statistics.median(taken[skip:]) * 1e6:12.0f}  {ratio:.3f}")
    share = statistics.mean(evaluations[skip:]) / statistics.mean(seconds["run"][skip:])
    share /= options.steps / 50
    print(f"evaluations at the points, not counted above: {share:.1%} of the steps' time")


if __name__ == "__main__":
    main()
