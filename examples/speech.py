"""A WaveNet that speaks: trained for minutes, measured against other coders, heard as WAV files.

    python examples/speech.py --minutes 3 --out speech
    python examples/speech.py --minutes 3 --out piano --wav piano.wav

Without a recording, espeak-ng speaks the sentences beside this file in two voices. The voice is the
global condition; the spectrum and the pitch, a hundred times a second, are the local one. Half of
the pieces that it is trained on come without conditions, so that the same network also codes audio
of which nothing is known, as the coders do that it is measured against.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from typedwave import typed
from typedwave.lab.audio import (
    AudioError,
    Clip,
    baseline_bits,
    bits_per_sample,
    crops,
    generate,
    read_wav,
    write_wav,
)
from typedwave.lab.evaluation import evaluating
from typedwave.lab.files import replacing
from typedwave.lab.training.optimizers import MuonAndAdam, clipped
from typedwave.models import WaveNet, WaveNetConfig
from typedwave.models.seeding import global_generator
from typedwave.nn.mu_law import mu_law_decode, mu_law_encode

RATE = 8_000  # samples a second, as in a telephone
FRAME = 80  # samples of a frame of features: 10 ms
BANDS = 12
VOICES = ("en-gb", "en-us+f3")
SENTENCES = Path(__file__).with_name("sentences.txt")
HELD_OUT = 4  # sentences, in each voice
LEVELS = 256
BATCH, LENGTH = 4, 2_048  # pieces of a step, and samples of each
MANY = 32  # recordings that are drawn at once, where speed is measured

CONFIG = WaveNetConfig(
    channels=32,
    gate_channels=32,
    skip_channels=64,
    dilations=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    norm=False,  # as in the paper; here it learns as well without, and streams faster
    global_channels=len(VOICES),
    local_channels=BANDS + 3,
)


def main() -> None:
    """Parses, and prints what was measured."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is made")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, on one thread")
    parser.add_argument("--wav", type=Path, help="a recording, mono and 16 bit, in place of speech")
    parser.add_argument("--seconds", type=float, default=3.0, help="of audio drawn at the end")
    parser.add_argument("--temperature", type=float, default=0.9, help="of what is drawn")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        run(**vars(arguments))
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"speech.py: {error}")


def run(
    *, out: Path, minutes: float, wav: Path | None, seconds: float, temperature: float, seed: int
) -> None:
    """All of it, one after another."""
    recordings = spoken() if wav is None else recorded(wav)
    train, held_out = corpus(recordings)
    model = network(seed)
    size = sum(p.numel() for p in model.parameters())
    print(f"audio     {duration(train):.0f} s to train on, {duration(held_out):.0f} s held out")
    print(f"network   {size:,} parameters, which see {CONFIG.receptive_field_ms(RATE):.0f} ms")
    found = baseline_bits(train, held_out, levels=LEVELS)
    for audio, spent, bits in training(model, train, minutes=minutes, seed=seed):
        print(f"training  {spent:4.0f} s  {audio:5.0f} s of audio  {bits:.3f} bits", flush=True)
    found["WaveNet"] = bits_per_sample(model, [unknown(clip) for clip in held_out])
    found["WaveNet, conditions known"] = bits_per_sample(model, held_out)
    print("\nbits a sample, held out")
    for name, bits in found.items():
        print(f"  {name:26}{bits:.3f}")

    said = {voice: xs[0][: round(seconds * RATE)] for voice, xs in recordings.items()}
    until = min(map(len, said.values()))
    clips = [clip_of(x[:until], number) for number, x in enumerate(said.values())]
    clips.append(unknown(clips[0]))
    generator = torch.Generator().manual_seed(seed)
    ids = generate(model, until, generator=generator, temperature=temperature, **stacked(clips))
    speed = speeds(model, clips[0])
    print("\nsamples a second")
    print(f"  streamed                  {speed['one']:.0f}")
    print(f"  streamed, {MANY} at once     {speed['many']:.0f}")
    print(f"  each computed anew        {speed['anew']:.0f}\n")

    originals = list(said.values())
    pictured = {
        "original": originals[0][:until],
        "mu-law": mu_law_decode(clips[0].ids, levels=LEVELS),
        **{f"generated {i}": mu_law_decode(row, levels=LEVELS) for i, row in enumerate(ids[:-1])},
        "generated, nothing known": mu_law_decode(ids[-1], levels=LEVELS),
    }
    alike = likeness(pictured["original"], pictured["generated 0"])
    print(f"energies of its bands: correlation {alike:.2f} with those of the original")
    for name, x in pictured.items():
        path = out / f"{name.replace(',', '').replace(' ', '_')}.wav"
        write_wav(path, x, sample_rate=RATE)
        print(f"wrote {path}")
    draw(out / "speech.png", pictured)
    numbers = {"bits": found, "samples_a_second": speed, "correlation": alike}
    with replacing(out / "speech.json") as beside:
        beside.write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"wrote {out / 'speech.png'} and {out / 'speech.json'}")


def spoken() -> dict[str, list[Tensor]]:
    """The sentences as espeak-ng says them, by voice; the first ones are held out."""
    if shutil.which("espeak-ng") is None:
        raise AudioError(
            "espeak-ng is not installed: apt install espeak-ng, or brew install espeak-ng; "
            "or give a recording by --wav"
        )
    found: dict[str, list[Tensor]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        for voice in VOICES:
            for sentence in SENTENCES.read_text(encoding="ascii").splitlines():
                command = ["espeak-ng", "-z", "-v", voice, "-w", str(path), sentence]
                subprocess.run(command, check=True)
                found.setdefault(voice, []).append(resampled(*read_wav(path)))
    return {voice: loud(recordings) for voice, recordings in found.items()}


def recorded(wav: Path) -> dict[str, list[Tensor]]:
    """The last tenth of a recording, which is held out, and what is before it."""
    x = resampled(*read_wav(wav))
    until = len(x) - len(x) // 10
    if until < LENGTH:
        raise AudioError(f"{wav} has {len(x) / RATE:.2f} seconds, which are too few to train on")
    return {str(wav): loud([*x[until:].chunk(HELD_OUT), x[:until]])}


def loud(recordings: Sequence[Tensor]) -> list[Tensor]:
    """The recordings, the loudest sample of all at 0.9."""
    loudest = max(float(x.abs().max()) for x in recordings)
    return [0.9 * x / max(loudest, 1e-3) for x in recordings]


def resampled(x: Tensor, rate: int) -> Tensor:
    """The recording at our rate, without what is above half of that."""
    if rate == RATE:
        return x
    count = round(len(x) * RATE / rate)
    hertz = torch.arange(len(x) // 2 + 1) * (rate / len(x))
    # A slope from 3,600 Hz on, since an edge would ring.
    spectrum = torch.fft.rfft(x) * ((RATE / 2 - hertz) / (RATE / 20)).clamp(0, 1)
    # irfft takes away what is too high, or adds zeros.
    return torch.fft.irfft(spectrum, n=count) * (count / len(x))


def corpus(recordings: dict[str, list[Tensor]]) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and clips held out."""
    train, held_out = [], []
    for number, xs in enumerate(recordings.values()):
        held_out += [clip_of(x, number) for x in xs[:HELD_OUT]]
        train += [clip_of(x, number) for x in xs[HELD_OUT:]]
    return train, held_out


def clip_of(x: Tensor, voice: int) -> Clip:
    """The levels of a recording, and what is known of it."""
    known = F.one_hot(torch.tensor(voice), len(VOICES)).float()
    local = features(x).repeat_interleave(FRAME, dim=0)[: len(x)]
    return Clip(mu_law_encode(x, levels=LEVELS), known, local)


def unknown(clip: Clip) -> Clip:
    """The clip with nothing known of it: conditions of zeros, as half of training has them."""
    assert clip.global_ is not None
    assert clip.local is not None
    return Clip(clip.ids, torch.zeros_like(clip.global_), torch.zeros_like(clip.local))


def stacked(clips: Sequence[Clip]) -> dict[str, Tensor]:
    """The conditions of clips of one length, as one batch."""
    return {name: torch.stack([getattr(c, name) for c in clips]) for name in ("global_", "local")}


@typed
def features(x: Float[Tensor, "T"]) -> Float[Tensor, "F C"]:
    """Of each frame: how loud bands are, how voiced it is, its pitch, and that it is known.

    A frame is seen with 15 ms around it, so these are no features that a coder could have.
    """
    count, size = math.ceil(len(x) / FRAME), 4 * FRAME
    around = (size - FRAME) // 2
    frames = F.pad(x, (around, around + FRAME)).unfold(0, size, FRAME)[:count]
    power = torch.fft.rfft(frames * torch.hann_window(size), n=512).abs().square()
    # Triangles that are equally wide on the mel scale.
    mel = torch.linspace(0, RATE / 2, power.shape[1]).div(700).log1p()
    centres = torch.linspace(0, float(mel[-1]), BANDS)
    bands = (1 - (mel[:, None] - centres).abs() / centres[1]).clamp(min=0)
    loudness = (power @ (bands / bands.sum(0)) + 1e-5).log10() / 2 + 0.5
    # The pitch is the lag, 2.5 to 16 ms, at which a frame is most like itself; shorter ones are
    # preferred a little, since after two periods it is as like as after one.
    products = torch.fft.irfft(torch.fft.rfft(frames, n=2 * size).abs().square())[:, : size // 2]
    alike = products / (products[:, :1] + 1e-4) / (1 - torch.arange(size // 2) / (2 * size))
    voicing, lag = alike[:, 20:129].max(dim=1)
    pitch = ((lag + 20) / 50).log2() * (voicing > 0.4)
    return torch.cat([loudness, torch.stack([voicing, pitch, torch.ones(count)], dim=1)], dim=1)


def network(seed: int) -> WaveNet:
    """A WaveNet that is told in its first weights which levels are neighbours."""
    with global_generator(torch.device("cpu")) as drawn_from:
        drawn_from.manual_seed(seed)
        model = WaveNet(CONFIG, vocab_size=LEVELS)
        y = torch.linspace(-1, 1, LEVELS)
        waves = [f(math.pi * k * y) for k in range(1, 9) for f in (torch.sin, torch.cos)]
        basis = torch.stack([y, 3 * mu_law_decode(torch.arange(LEVELS)), y.square(), *waves], 1)
        basis = (basis - basis.mean(0)) / basis.std(0)
        head = model.head[-1]
        with torch.no_grad():
            model.embedding.weight[:, : basis.shape[1]] = basis
            head.weight.copy_(0.01 * basis @ torch.randn(basis.shape[1], head.in_features))
            head.bias.zero_()
    return model


def training(
    model: WaveNet, clips: Sequence[Clip], *, minutes: float, seed: int
) -> Iterator[tuple[float, float, float]]:
    """Trains for so long; gives seconds of audio seen, seconds spent, and bits a sample.

    Seconds are those of the processor, so that others on the same machine do not matter.
    """
    optimizer = MuonAndAdam(model, muon_rate=0.02, adam_rate=0.008, weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    began, step, losses, told = time.process_time(), 0, [], 0
    while (share := (time.process_time() - began) / (60 * minutes)) < 1 or step == 0:
        before, ids, global_, local = crops(clips, BATCH, LENGTH, generator=generator)
        known = (torch.rand(BATCH, generator=generator) < 0.5).float()
        logits = model(before, known[:, None] * global_, known[:, None, None] * local)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        gradients = torch.autograd.grad(loss, optimizer.parameters)
        optimizer.step(
            clipped(gradients, 1.0), factor=min(1, 0.02 + 30 * share) * max(0, 1 - share)
        )
        step += 1
        losses.append(loss.item() / math.log(2))
        if share >= (told + 1) / 10 or step == 1:
            told = int(10 * share)
            spent = time.process_time() - began
            yield step * BATCH * LENGTH / RATE, spent, sum(losses) / len(losses)
            losses = []


def speeds(model: WaveNet, clip: Clip, *, steps: int = 300) -> dict[str, float]:
    """Samples a second: streamed, and each computed anew from all that it depends on."""
    field, found = model.receptive_field, {}
    for name, rows in (("one", 1), ("many", MANY)):
        conditions = stacked([clip] * rows)
        conditions["local"] = conditions["local"][:, :1].expand(-1, steps, -1)
        generator = torch.Generator().manual_seed(0)
        began = time.process_time()
        generate(model, steps, generator=generator, **conditions)
        found[name] = rows * steps / (time.process_time() - began)
    conditions = stacked([clip])
    local = conditions["local"][:, :1].expand(-1, field, -1)
    window, times = torch.zeros(1, field, dtype=torch.int64), 20
    with evaluating(model):
        began = time.process_time()
        for _ in range(times):
            model(window, conditions["global_"], local)
        found["anew"] = times / (time.process_time() - began)
    return found


def likeness(x: Tensor, y: Tensor) -> float:
    """The correlation of how loud the bands of two recordings are, the mean of each taken away."""
    one, other = (features(each)[:, :BANDS] for each in (x, y))
    one, other = one - one.mean(0), other - other.mean(0)
    return float((one * other).sum() / (one.norm() * other.norm() + 1e-9))


def draw(path: Path, recordings: dict[str, Tensor]) -> None:
    """A picture of waveforms and spectrograms."""
    figure = Figure(figsize=(12, 2 * len(recordings)), dpi=100, layout="constrained")
    rows = figure.subplots(len(recordings), 2, squeeze=False)
    for (left, right), (name, x) in zip(rows, recordings.items(), strict=True):
        left.plot(torch.arange(len(x)) / RATE, x, linewidth=0.4)
        left.set(title=name, ylim=(-1, 1), xlabel="seconds")
        right.specgram(x.numpy() + 1e-6, NFFT=256, Fs=RATE, noverlap=192, vmin=-120, vmax=-30)
        right.set(ylabel="Hz", xlabel="seconds")
    with replacing(path) as beside:
        figure.savefig(beside)


def duration(clips: Sequence[Clip]) -> float:
    """How many seconds they are together."""
    return sum(map(len, clips)) / RATE


if __name__ == "__main__":
    main()
