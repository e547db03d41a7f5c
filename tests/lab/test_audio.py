import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

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
from typedwave.lab.sampling import choose
from typedwave.models import WaveNet, WaveNetConfig
from typedwave.nn.mu_law import mu_law_encode


def written(path: Path, *, channels: int = 1, width: int = 2, frames: bytes = bytes(24)) -> Path:
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(channels)
        audio.setsampwidth(width)
        audio.setframerate(8_000)
        audio.writeframes(frames)
    return path


def small(**options) -> WaveNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = WaveNetConfig(
            channels=5, gate_channels=7, skip_channels=3, dilations=(1, 2, 4), **options
        )
        return WaveNet(config, vocab_size=16)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def some_ids(*shape: int, levels: int = 16) -> torch.Tensor:
    return torch.randint(levels, shape, generator=seeded(11))


# Files


@given(st.lists(st.integers(-32_768, 32_767), max_size=50), st.sampled_from([8_000, 22_050, 1]))
def test_what_was_read_is_written_as_it_was(tmp_path_factory, values, rate):
    folder = tmp_path_factory.mktemp("wav")
    first, second = folder / "first.wav", folder / "second.wav"
    samples = torch.tensor(values) / 32_768
    write_wav(first, samples, sample_rate=rate)
    again, found_rate = read_wav(first)
    write_wav(second, again, sample_rate=found_rate)
    assert torch.equal(again, samples)
    assert (again.dtype, found_rate) == (torch.float32, rate)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(folder.iterdir()) == [first, second]


def test_a_file_is_one_that_others_read(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, torch.tensor([0.0, 0.5, -1.0, 1.0]), sample_rate=8_000)
    with wave.open(str(path)) as audio:
        assert audio.getparams()[:4] == (1, 2, 8_000, 4)
        assert struct.unpack("<4h", audio.readframes(4)) == (0, 16_384, -32_768, 32_767)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "has 2 channels, but one is read; mix them first"),
        ({"width": 1}, "has 8 bits a sample, but 16 are read; convert it first"),
        ({"width": 3}, "has 24 bits a sample, but 16 are read; convert it first"),
    ],
)
def test_another_kind_of_wav_is_refused(tmp_path, options, message):
    path = written(tmp_path / "a.wav", **options)
    with pytest.raises(AudioError) as caught:
        read_wav(path)
    assert str(caught.value) == f"{path} {message}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends too early"),
        (b"RIFF", "it ends too early"),
        (b"ID3\x04" + bytes(50), "file does not start with RIFF id"),
        (b"RIFF\x24\0\0\0AVI " + bytes(50), "not a WAVE file"),
        (
            b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0" + bytes(12) + b"data\0\0\0\0",
            "unknown format: 3",
        ),
    ],
)
def test_what_is_no_wav_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_wav(path)
    assert str(caught.value) == f"{path} is not a WAV file of PCM samples: {reason}"
    assert caught.value.__suppress_context__


def test_a_file_that_was_cut_off_within_a_sample_is_read_so_far(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, torch.tensor([0.5, 0.25, 0.125]), sample_rate=8_000)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_wav(path)[0].tolist() == [0.5, 0.25]


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        ([0.5, 1.5, -2.0], 8_000, "2 of 3 samples are not from -1 to 1, the first of them 1.5"),
        ([math.nan], 8_000, "1 of 1 samples are not from -1 to 1, the first of them nan"),
        ([0.5], 0, "sample_rate is 0, but has to be at least 1"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_what_is_there(
    tmp_path, samples, rate, message
):
    path = tmp_path / "a.wav"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"has to|are not") as caught:
        write_wav(path, torch.tensor(samples), sample_rate=rate)
    assert str(caught.value) == message
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Pieces to train on


def test_conditions_of_other_samples_are_refused():
    with pytest.raises(ValueError, match=r"^local is for 8 samples, but ids are 7 of them$"):
        Clip(some_ids(7), local=torch.zeros(8, 2))


def test_pieces_have_the_sample_before_each_and_its_conditions():
    clips = [
        Clip(
            torch.arange(count) + 100 * i,
            torch.tensor([float(i)]),
            torch.arange(100.0 * i, 100 * i + count)[:, None],
        )
        for i, count in enumerate([10, 3, 7, 4], start=1)
    ]
    before, ids, global_, local = crops(clips, 500, 4, generator=seeded())
    starts = ids[:, 0]
    assert torch.equal(ids, starts[:, None] + torch.arange(4))
    assert torch.equal(before[:, 1:], ids[:, :-1])
    first = starts % 100 == 0
    assert torch.equal(before[:, 0], torch.where(first, 128, starts - 1))
    assert torch.equal(global_[:, 0], (starts // 100).float())
    assert torch.equal(local[..., 0], ids.float())
    # Every place that fits, and no other; not the clip that is too short.
    places = {100 + i for i in range(7)} | {300 + i for i in range(4)} | {400}
    assert set(starts.tolist()) == places


def test_the_same_generator_gives_the_same_pieces():
    clips = [Clip(some_ids(50))]
    one, other = (crops(clips, 3, 7, generator=seeded(), levels=16) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert one[2:] == other[2:] == (None, None)


def test_without_a_clip_that_is_long_enough_there_are_no_pieces():
    with pytest.raises(ValueError, match=r"^no clip is as long as a piece, 7 samples$"):
        crops([Clip(some_ids(6))], 3, 7, generator=seeded())


def test_conditions_that_only_some_clips_have_are_refused():
    clips = [Clip(some_ids(7)), Clip(some_ids(7), torch.zeros(2))]
    with pytest.raises(ValueError, match=r"^some clips have a condition that others have not$"):
        crops(clips, 20, 5, generator=seeded())


# What a network pays


@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("piece", [1, 5, 8_192])
def test_bits_are_those_of_the_whole_clips_at_once(monkeypatch, conditions, piece):
    monkeypatch.setattr("typedwave.lab.audio._PIECE", piece)
    model = small(global_channels=2, local_channels=3) if conditions else small()
    clips, nats = [], 0.0
    for count in (13, 4):
        given = (noise(2), noise(count, 3)) if conditions else (None, None)
        clips.append(Clip(some_ids(count), *given))
        before = torch.cat([torch.tensor([8]), clips[-1].ids[:-1]])
        with torch.no_grad():
            logits = model(before[None], *(part if part is None else part[None] for part in given))
        nats += F.cross_entropy(logits[0], clips[-1].ids, reduction="sum").item()
    # 1e-6, since products of other shapes are summed in another order.
    assert bits_per_sample(model, clips) == pytest.approx(nats / math.log(2) / 17, rel=1e-6)
    assert model.training


def test_a_network_that_knows_nothing_pays_the_bits_of_its_levels():
    model = small()
    torch.nn.init.zeros_(model.head[-1].weight)
    torch.nn.init.zeros_(model.head[-1].bias)
    assert bits_per_sample(model, [Clip(some_ids(9))]) == pytest.approx(4.0)


@pytest.mark.parametrize("clips", [[], [Clip(some_ids(0))]])
def test_there_are_no_bits_of_nothing(clips):
    for judge in (
        lambda: bits_per_sample(small(), clips),
        lambda: baseline_bits([Clip(some_ids(9))], clips, levels=16),
    ):
        with pytest.raises(ValueError, match=r"^there is no sample to evaluate on$"):
            judge()


# New samples


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("prompt", [0, 1, 20])
def test_streaming_draws_what_computing_all_anew_draws(temperature, prompt):
    model, count = small(global_channels=2, local_channels=3).double(), 40
    conditions = {
        "global_": noise(3, 2).double(),
        "local": noise(3, prompt + count, 3).double(),
    }
    before = some_ids(3, prompt)
    drawn = generate(
        model, count, generator=seeded(), before=before, temperature=temperature, **conditions
    )
    seen, generator = torch.cat([torch.full((3, 1), 8), before], dim=1), seeded()
    model.eval()
    for _ in range(count):
        with torch.no_grad():
            known = conditions["local"][:, : seen.shape[1]]
            logits = model(seen, conditions["global_"], known)[:, -1]
        ids = choose(logits, generator=generator, temperature=temperature)
        seen = torch.cat([seen, ids[:, None]], dim=1)
    assert torch.equal(drawn, seen[:, prompt + 1 :])
    assert len(drawn.unique()) > 1


def test_without_conditions_recordings_are_as_many_as_asked_for():
    model = small()
    drawn = generate(model, 9, generator=seeded(), batch_size=4)
    assert (drawn.shape, drawn.dtype) == ((4, 9), torch.int64)
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn, generate(model, 9, generator=seeded(), batch_size=4))
    assert generate(model, 0, generator=seeded()).shape == (1, 0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_without_samples_before_there_is_silence():
    model, silence = small(), torch.full((1, 3), 8)
    drawn = generate(model, 9, generator=seeded(), temperature=0)
    start = generate(model, 9, generator=seeded(), temperature=0, before=silence[:, :0])
    assert torch.equal(drawn, start)


def test_only_the_likeliest_are_drawn_if_so_asked():
    model = small()
    likeliest = generate(model, 30, generator=seeded(), temperature=0)
    assert torch.equal(generate(model, 30, generator=seeded(), top_k=1), likeliest)
    assert torch.equal(generate(model, 30, generator=seeded(), top_p=1e-6), likeliest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "count is -1, but has to be at least 0"),
        ({"temperature": -1.0}, "temperature is -1.0, but has to be at least 0 and finite"),
        (
            {"local": torch.zeros(1, 9, 3)},
            "local is for 9 samples, but has to be for 5: 0 before, and 5 to draw",
        ),
        (
            {"local": torch.zeros(1, 5, 3), "before": torch.zeros(1, 2, dtype=torch.int64)},
            "local is for 5 samples, but has to be for 7: 2 before, and 5 to draw",
        ),
        (
            {},
            "blocks.0.conditioning (Conditioning): local is missing, "
            "but the layer has local_channels",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    count = options.pop("count", 5)
    with pytest.raises(ValueError, match=r"has to|layer has") as caught:
        generate(small(local_channels=3), count, generator=seeded(), **options)
    assert str(caught.value) == message


# What others pay


def test_others_are_told_apart_by_what_they_can_know():
    # Level 3 or 9, each as likely, whatever came before: a bit a sample, for whoever counts.
    coin = 3 + 6 * torch.randint(2, (20_000,), generator=seeded())
    bits = baseline_bits([Clip(coin[:10_000])], [Clip(coin[10_000:])], levels=16, order=2)
    assert list(bits) == ["uniform", "levels", "2-gram", "linear prediction"]
    assert bits["uniform"] == 4.0
    assert bits["levels"] == pytest.approx(1.0, abs=0.01)
    assert bits["2-gram"] == pytest.approx(1.0, abs=0.01)
    # Each level follows from the one before: none, for whoever counts two.
    round_ = torch.arange(20_000) * 5 % 16
    bits = baseline_bits([Clip(round_[:10_000])], [Clip(round_[10_000:])], levels=16, order=2)
    assert bits["levels"] == pytest.approx(4.0, abs=0.01)
    assert bits["2-gram"] < 0.05


def test_linear_prediction_hears_a_tone_that_it_was_never_told_of():
    t = torch.arange(16_000) / 8_000
    tones = [
        Clip(mu_law_encode(0.5 * torch.sin(2 * math.pi * hertz * t + 0.3) + 0.001 * noise(16_000)))
        for hertz in (333.3, 1_234.5)
    ]
    bits = baseline_bits(tones[:1], tones[1:])
    assert bits["linear prediction"] < 3.5 < 6 < bits["3-gram"]


def test_linear_prediction_pays_for_each_sample_what_its_chances_before_it_say():
    # Chances of all levels at a place, each known from the samples before only, sum to 1.
    start, levels = some_ids(40), 16
    train = [Clip(some_ids(500))]
    for place in (0, 17, 39):
        paid = []
        for level in range(levels):
            ids = start[: place + 1].clone()
            ids[place] = level
            bits = baseline_bits(train, [Clip(ids)], levels=levels, order=1)
            paid.append(bits["linear prediction"] * (place + 1))
        before = 0.0
        if place:
            bits = baseline_bits(train, [Clip(start[:place])], levels=levels, order=1)
            before = bits["linear prediction"] * place
        assert np.exp2(before - np.array(paid)).sum() == pytest.approx(1.0, abs=1e-6)
