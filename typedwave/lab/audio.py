"""Audio: recordings as ids, what a network pays for them, what others pay, and new audio."""

import math
import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from typedwave.contract import typed
from typedwave.lab.evaluation import evaluating
from typedwave.lab.files import replacing
from typedwave.lab.sampling import check_choice, choose
from typedwave.models import NGram, NGramConfig, WaveNet
from typedwave.nn.mu_law import mu_law_decode, mu_law_encode

__all__ = [
    "AudioError",
    "Clip",
    "baseline_bits",
    "bits_per_sample",
    "crops",
    "generate",
    "read_wav",
    "write_wav",
]

_PIECE = 8_192  # samples that are evaluated at once: their logits are 8 MB
_PREDICTORS = ((4, 25), (8, 40), (16, 60), (32, 100), (32, 300))  # samples, and memory


class AudioError(ValueError):
    """A file that is no audio of the kind that is read."""


@dataclass(frozen=True)
class Clip:
    """A recording as a network of levels sees it.

    Attributes:
        ids: ``(T,)``, the level of each sample.
        global_: ``(G,)``, what is known of the whole; None for nothing.
        local: ``(T, L)``, what is known of each sample; None for nothing.

    Raises:
        ValueError: ``local`` is for another number of samples.
    """

    ids: Int64[Tensor, "T"]
    global_: Float[Tensor, "G"] | None = None
    local: Float[Tensor, "T L"] | None = None

    def __post_init__(self) -> None:
        if self.local is not None and len(self.local) != len(self.ids):
            raise ValueError(
                f"local is for {len(self.local)} samples, but ids are {len(self.ids)} of them"
            )

    def __len__(self) -> int:
        return len(self.ids)


def read_wav(path: str | os.PathLike[str]) -> tuple[Float[Tensor, "T"], int]:
    """The samples of a WAV file, from -1 to just below 1, and how many there are a second.

    Args:
        path: Of a file of one channel and 16 bits a sample, without compression.

    Raises:
        AudioError: It is another kind of file.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        try:
            with wave.open(file) as audio:
                channels, width = audio.getnchannels(), audio.getsampwidth()
                rate, data = audio.getframerate(), audio.readframes(audio.getnframes())
        except (wave.Error, EOFError) as error:
            reason = str(error) or "it ends too early"
            raise AudioError(f"{path} is not a WAV file of PCM samples: {reason}") from None
    if channels != 1:
        raise AudioError(f"{path} has {channels} channels, but one is read; mix them first")
    if width != 2:
        raise AudioError(f"{path} has {8 * width} bits a sample, but 16 are read; convert it first")
    whole = data[: len(data) // 2 * 2]  # a file that was cut off may end within a sample
    return torch.from_numpy(np.frombuffer(whole, "<i2").astype(np.float32) / 32_768), rate


@typed
def write_wav(
    path: str | os.PathLike[str], samples: Float[Tensor, "T"], *, sample_rate: int
) -> None:
    """Writes samples as a WAV file of one channel and 16 bits a sample, whole or not at all.

    Args:
        path: Where to; what is there is replaced.
        samples: From -1 to 1. What `read_wav` gave is written as it was.
        sample_rate: Samples a second.

    Raises:
        ValueError: A sample is NaN or not from -1 to 1, or the rate is not at least 1.
        OSError: It cannot be written.
    """
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}, but has to be at least 1")
    samples = samples.detach().cpu().double()
    outside = samples[~(samples.abs() <= 1)]
    if len(outside):
        raise ValueError(
            f"{len(outside)} of {len(samples)} samples are not from -1 to 1, the first of them "
            f"{outside[0].item():g}"
        )
    data = (samples * 32_768).round().clamp(max=32_767).numpy().astype("<i2").tobytes()
    with replacing(Path(path)) as beside, wave.open(str(beside), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(sample_rate)
        audio.writeframes(data)


def crops(
    clips: Sequence[Clip],
    count: int,
    length: int,
    *,
    generator: torch.Generator,
    levels: int = 256,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Pieces of clips to train on, every sample as likely to be in one as any other but the ends.

    Args:
        clips: At least one that is as long as a piece; shorter ones are left out.
        count: How many pieces, B.
        length: Samples of each, T.
        generator: Of the draws.
        levels: Of the mu-law.

    Returns:
        The samples before each one ``(B, T)``, the samples ``(B, T)``, and the conditions
        ``(B, G)`` and ``(B, T, L)``. Before the first sample of a clip is silence.

    Raises:
        ValueError: No clip is long enough.
    """
    # Where a piece can begin, over all clips one after another.
    counts = torch.tensor([max(0, len(clip) - length + 1) for clip in clips])
    if not counts.sum():
        raise ValueError(f"no clip is as long as a piece, {length} samples")
    ends = counts.cumsum(0)
    drawn = torch.randint(int(ends[-1]), (count,), generator=generator)
    rows = torch.searchsorted(ends, drawn, right=True)
    places = list(zip(rows.tolist(), (drawn - ends[rows] + counts[rows]).tolist(), strict=True))
    ids, targets, local = [], [], []
    for row, start in places:
        clip, until = clips[row], start + length
        before = clip.ids[start - 1 : start] if start else _silence(levels).to(clip.ids)
        targets.append(clip.ids[start:until])
        ids.append(torch.cat([before, clip.ids[start : until - 1]]))
        local.append(None if clip.local is None else clip.local[start:until])
    return (
        torch.stack(ids),
        torch.stack(targets),
        _stacked([clips[row].global_ for row, _ in places]),
        _stacked(local),
    )


def bits_per_sample(model: WaveNet, clips: Sequence[Clip]) -> float:
    """What a model pays for each sample of whole clips, in bits, in eval mode.

    Args:
        model: Of levels of the mu-law.
        clips: With the conditions that the model has; each begins after silence.

    Raises:
        ValueError: There is no sample.
    """
    total = 0.0
    with evaluating(model):
        for clip in clips:
            state = model.initial_state(1)
            before = torch.cat([_silence(model.vocab_size).to(clip.ids), clip.ids[:-1]])
            global_ = None if clip.global_ is None else clip.global_[None]
            for start in range(0, len(clip), _PIECE):
                part = slice(start, start + _PIECE)
                local = None if clip.local is None else clip.local[None, part]
                logits = model.stream(before[None, part], state, global_, local)
                total += F.cross_entropy(logits[0], clip.ids[part], reduction="sum").item()
    return _bits(total, clips)


@typed
def generate(
    model: WaveNet,
    count: int,
    *,
    generator: torch.Generator,
    batch_size: int = 1,
    before: Int64[Tensor, "B P"] | None = None,
    global_: Float[Tensor, "B G"] | None = None,
    local: Float[Tensor, "B S L"] | None = None,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int = 1.0,
) -> Int64[Tensor, "B {count}"]:
    """New samples, drawn one after another, in eval mode; each costs one position.

    Args:
        model: Of levels of the mu-law.
        count: How many samples.
        generator: Of the draws: the same state gives the same samples.
        batch_size: How many recordings at once, where neither ``before`` nor a condition says it.
        before: Samples to go on from, which are not returned; before them, or in their place, is
            silence.
        global_: The condition of each recording.
        local: The condition of each sample, those of ``before`` first.
        temperature: See `choose`.
        top_k: See `choose`.
        top_p: See `choose`.

    Raises:
        ValueError: A number is out of range, a condition is missing, not expected or not as long
            as the samples, or the logits are not finite.

    Returns:
        Levels, for `typedwave.nn.mu_law_decode`.
    """
    check_choice(temperature, top_k, top_p)
    given = [part.shape[0] for part in (before, global_, local) if part is not None]
    silence = _silence(model.vocab_size).to(generator.device)
    seen = silence.expand(given[0] if given else batch_size, 1)
    if before is not None:
        seen = torch.cat([seen, before], dim=1)
    if count < 0:
        raise ValueError(f"count is {count}, but has to be at least 0")
    if local is not None and local.shape[1] != seen.shape[1] - 1 + count:
        raise ValueError(
            f"local is for {local.shape[1]} samples, but has to be for {seen.shape[1] - 1 + count}:"
            f" {seen.shape[1] - 1} before, and {count} to draw"
        )
    choice: dict[str, Any] = {
        "temperature": float(temperature),
        "top_k": top_k,
        "top_p": float(top_p),
    }
    drawn = seen.new_empty(len(seen), count)
    with evaluating(model), torch.inference_mode():  # a tenth faster than without gradients only
        state, start = model.initial_state(len(seen)), 0
        for i in range(count):
            until = start + seen.shape[1]
            part = None if local is None else local[:, start:until]
            logits = model.stream(seen, state, global_, part)[:, -1]
            drawn[:, i] = choose(logits, generator=generator, **choice)
            seen, start = drawn[:, i : i + 1], until
    return drawn


def baseline_bits(
    train: Sequence[Clip], held_out: Sequence[Clip], *, levels: int = 256, order: int = 3
) -> dict[str, float]:
    """What others pay for each sample that is held out, in bits.

    - ``uniform``: all levels are equally likely.
    - ``levels``: as often as in training, and once more.
    - ``2-gram``, ``3-gram`` and so on: after one level, after two, interpolated: `NGram`.
    - ``linear prediction``: a lossless coder that adapts to what it has coded. Linear predictors of
      4, 8, 16, 32 and 32 samples are fitted anew every 4 samples by least squares, in which a
      sample counts for 1/e after 25, 40, 60, 100 and 300 of them; the error of each is Laplace, of
      a scale that is the mean of the last 5, 20 or 80; these fifteen are weighed by how well they
      did lately. All of these numbers were chosen on speech at 8,000 samples a second.

    Args:
        train: What is counted.
        held_out: What is paid for.
        levels: Of the mu-law.
        order: Of the longest n-grams.

    Raises:
        ValueError: There is no sample held out.
    """
    counts = torch.bincount(torch.cat([clip.ids for clip in train]), minlength=levels).double() + 1
    chances = counts / counts.sum()
    nats = [-chances[clip.ids].log().sum().item() for clip in held_out]
    found = {"uniform": math.log2(levels), "levels": _bits(sum(nats), held_out)}
    for n in range(2, order + 1):
        network = NGram(NGramConfig(order=n), vocab_size=levels)
        network.fit(*_windows(train, n - 1, levels))
        batches = (torch.split(part, _PIECE) for part in _windows(held_out, n - 1, levels))
        nats = [
            F.nll_loss(network(contexts), targets, reduction="sum").item()
            for contexts, targets in zip(*batches, strict=True)
        ]
        found[f"{n}-gram"] = _bits(sum(nats), held_out)
    nats = [_linear_prediction(clip.ids, chances, levels) for clip in held_out]
    return found | {"linear prediction": _bits(sum(nats), held_out)}


def _linear_prediction(ids: Tensor, chances: Tensor, levels: int) -> float:
    """What the coder of `baseline_bits` pays for a clip, in nats."""
    x = mu_law_decode(ids, levels=levels).double().numpy()
    errors = np.stack([x - _predicted(x, *each) for each in _PREDICTORS], axis=1)
    # What a level stands for, on the scale of amplitudes: halfway to its neighbours.
    table = mu_law_decode(torch.arange(levels), levels=levels).double().numpy()
    edges = np.concatenate([[-np.inf], (table[1:] + table[:-1]) / 2, [np.inf]])
    low, high = (edges[ids.numpy() + i][:, None] - x[:, None] + errors for i in (0, 1))
    likely = []
    for memory in (5, 20, 80):
        scale = _before(np.abs(errors), 1 - 1 / memory) / memory + 1e-5
        likely.append(_laplace(high / scale) - _laplace(low / scale))
    # A thousandth is for what linear prediction thinks impossible.
    p = 0.999 * np.concatenate(likely, axis=1) + 0.001 * chances[ids].numpy()[:, None]
    weights = np.exp(-_before(-np.log(p), 0.97))
    return float(-np.log((weights * p).sum(1) / weights.sum(1)).sum())


def _predicted(
    x: NDArray[np.float64], order: int, memory: int, *, block: int = 4
) -> NDArray[np.float64]:
    """Each sample as the linear predictor fitted on those before its block has it."""
    padded = np.concatenate([np.zeros(order), x])
    lags = np.lib.stride_tricks.sliding_window_view(padded, order)[: len(x)]
    kept = np.exp(-np.arange(block, 0, -1) / memory)
    gram, cross = np.zeros((order, order)), np.zeros(order)
    weight, found = np.zeros(order), np.empty(len(x))
    for start in range(0, len(x), block):
        seen, target = lags[start : start + block], x[start : start + block]
        found[start : start + block] = seen @ weight
        weighed = seen.T * kept[-len(seen) :]
        gram = kept[0] * gram + weighed @ seen
        cross = kept[0] * cross + weighed @ target
        ridge = 1e-5 * gram.trace() / order + 1e-9
        weight = np.linalg.solve(gram + ridge * np.eye(order), cross)
    return found


def _before(values: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """For each row the sum of those before it, each times ``decay`` to the rows in between."""
    found, total = np.empty_like(values), np.zeros(values.shape[1])
    for i, row in enumerate(values):
        found[i] = total
        total = decay * total + row
    return found


def _laplace(z: NDArray[np.float64]) -> NDArray[np.float64]:
    tail: NDArray[np.float64] = np.exp(-np.abs(z)) / 2
    return np.where(z < 0, tail, 1 - tail)


def _windows(clips: Sequence[Clip], context: int, levels: int) -> tuple[Tensor, Tensor]:
    """The levels before each sample, and that of the sample."""
    silence = _silence(levels).expand(context)
    found = [torch.cat([silence, clip.ids[:-1]]).unfold(0, context, 1) for clip in clips]
    return torch.cat(found), torch.cat([clip.ids for clip in clips])


def _silence(levels: int) -> Int64[Tensor, "1"]:
    return mu_law_encode(torch.zeros(1), levels=levels)


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    given = [part for part in parts if part is not None]
    if given and len(given) < len(parts):
        raise ValueError("some clips have a condition that others have not")
    return torch.stack(given) if given else None


def _bits(nats: float, clips: Sequence[Clip]) -> float:
    count = sum(map(len, clips))
    if count == 0:
        raise ValueError("there is no sample to evaluate on")
    return nats / math.log(2) / count
