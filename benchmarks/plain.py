"""The network and the loop of the lecture, written plainly: what `make bench` measures against.

Raw tensors, one Python operation after another, a loop over the parameters for the update. On
the lecture's list at seed 42 it prints 3.3167 at step 0 and 2.0576 at step 10,000:

    python benchmarks/plain.py names.txt --steps 10001
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from typedwave.lab.words.corpus import Examples, Vocabulary, examples, read_words, split

FUSE = 2


class PlainNetwork:
    """Embedding, three levels of (fuse two, multiply, normalise, tanh), and logits."""

    def __init__(self, vocab_size: int, n_embd: int, n_hidden: int) -> None:
        self.table = torch.randn((vocab_size, n_embd))
        self.levels = []
        for channels in (n_embd, n_hidden, n_hidden):
            fan_in = FUSE * channels
            weight = torch.randn((fan_in, n_hidden)) / fan_in**0.5
            self.levels.append((weight, torch.ones(n_hidden), torch.zeros(n_hidden)))
        self.running = [[torch.zeros(n_hidden), torch.ones(n_hidden)] for _ in self.levels]
        self.last = 0.1 * (torch.randn((n_hidden, vocab_size)) / n_hidden**0.5)
        self.last_bias = torch.zeros(vocab_size)
        self.parameters = [
            self.table,
            *(tensor for level in self.levels for tensor in level),
            self.last,
            self.last_bias,
        ]
        for parameter in self.parameters:
            parameter.requires_grad = True

    def __call__(self, ids: Tensor) -> Tensor:
        x = self.table[ids]
        for (weight, gain, shift), running in zip(self.levels, self.running, strict=True):
            batch, length, channels = x.shape
            x = x.view(batch, length // FUSE, channels * FUSE)
            if x.shape[1] == 1:
                x = x.squeeze(1)
            x = x @ weight
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes, keepdim=True), x.var(axes, keepdim=True)
            normal = (x - mean) / torch.sqrt(var + 1e-5)
            with torch.no_grad():
                running[0] = 0.9 * running[0] + 0.1 * mean
                running[1] = 0.9 * running[1] + 0.1 * var
            x = torch.tanh(gain * normal + shift)
        return x @ self.last + self.last_bias


class PlainTraining:
    """The loop; `run` does some more of its steps."""

    def __init__(self, data: Examples, *, vocab_size: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = PlainNetwork(vocab_size, n_embd=24, n_hidden=128)
        self.data = data
        self.losses: list[float] = []  # their logarithms, as in the lecture

    def run(self, steps: int) -> None:
        contexts, targets = self.data
        for _ in range(steps):
            ids = torch.randint(0, len(contexts), (32,))
            loss = F.cross_entropy(self.network(contexts[ids]), targets[ids])
            for parameter in self.network.parameters:
                parameter.grad = None
            loss.backward()
            rate = 0.1 if len(self.losses) < 150_000 else 0.01
            for parameter in self.network.parameters:
                parameter.data += -rate * parameter.grad
            self.losses.append(loss.log10().item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", help="a text file of one word a line")
    parser.add_argument("--steps", type=int, default=10_001)
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = read_words(options.words)
    vocabulary = Vocabulary.of(words)
    data = examples(split(words).train, vocabulary, context=8)
    training = PlainTraining(data, vocab_size=len(vocabulary), seed=42)
    began = time.perf_counter()
    while len(training.losses) < options.steps:
        training.run(min(10_000, options.steps - len(training.losses)))
        for step in {0, len(training.losses) - 1}:
            print(f"step {step:>7,}  loss {10 ** training.losses[step]:.4f}", flush=True)
    print(f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
