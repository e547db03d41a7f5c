import importlib.util
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from typedwave.lab.audio import read_wav, write_wav

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "speech.py"


@pytest.fixture
def speech(monkeypatch):
    """The example, with a network and pieces that are small."""
    spec = importlib.util.spec_from_file_location("speech", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = replace(
        module.CONFIG, channels=20, gate_channels=8, skip_channels=8, dilations=(1, 2, 4, 8)
    )
    monkeypatch.setattr(module, "CONFIG", config)
    monkeypatch.setattr(module, "LENGTH", 256)
    return module


@pytest.fixture
def run(speech, monkeypatch, capsys):
    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["speech.py", *map(str, arguments)])
        speech.main()
        return capsys.readouterr().out

    return run


def tone(path: Path, *, seconds: float = 2.0, rate: int = 11_025) -> Path:
    """Three notes and some noise, at a rate that is not the example's."""
    t = torch.arange(int(seconds * rate)) / rate
    hertz = torch.tensor([220.0, 277.2, 329.6])[(t * 4).long() % 3]
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(3))
    x = 0.4 * torch.sin(2 * math.pi * hertz * t) + 0.02 * noise
    write_wav(path, x.clamp(-1, 1), sample_rate=rate)
    return path


def test_a_recording_is_learnt_measured_and_heard(run, tmp_path):
    out = tmp_path / "a" / "b"
    said = run(
        "--out", out, "--wav", tone(tmp_path / "tone.wav"), "--minutes", 0.02, "--seconds", 0.1
    )
    sounds = ["generated_0", "generated_nothing_known", "mu-law", "original"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [*(f"{name}.wav" for name in sounds), "speech.json", "speech.png"]
    )
    lengths = set()
    for name in sounds:
        x, rate = read_wav(out / f"{name}.wav")
        assert rate == 8_000
        assert x.abs().max() > 0.001
        lengths.add(len(x))
    assert lengths == {400}  # a quarter of what is held out, 0.2 seconds
    numbers = json.loads((out / "speech.json").read_text())
    bits = numbers["bits"]
    assert bits["uniform"] == 8
    assert bits["WaveNet"] < bits["levels"] < 8
    assert list(bits)[-2:] == ["WaveNet", "WaveNet, conditions known"]
    for name, value in bits.items():
        assert f"  {name:26}{value:.3f}\n" in said
    assert set(numbers["samples_a_second"]) == {"one", "many", "anew"}


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_two_voices_are_learnt_measured_and_heard(run, speech, monkeypatch, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("One.\nTwo.\nThree.\nFour.\nFive, six, seven.\n")
    monkeypatch.setattr(speech, "SENTENCES", few)
    out = tmp_path / "out"
    said = run("--out", out, "--minutes", 0.01, "--seconds", 0.05)
    assert "which see 2 ms" in said
    for name in ("original", "mu-law", "generated_0", "generated_1", "generated_nothing_known"):
        assert len(read_wav(out / f"{name}.wav")[0]) == 400


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_voices_say_the_same_otherwise(speech, monkeypatch, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("Hello there.\nGood night.\n")
    monkeypatch.setattr(speech, "SENTENCES", few)
    recordings = speech.spoken()
    assert tuple(recordings) == speech.VOICES
    low, high = (speech.features(torch.cat(xs)) for xs in recordings.values())
    pitches = [part[part[:, -3] > 0.6, -2].median() for part in (low, high)]
    assert pitches[0] > pitches[1] + 0.3  # a lag, in octaves: the second voice is higher
    for xs in recordings.values():
        assert max(x.abs().max() for x in xs) == pytest.approx(0.9)


def test_without_espeak_it_says_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit) as caught:
        run("--out", tmp_path)
    assert str(caught.value) == (
        "speech.py: espeak-ng is not installed: apt install espeak-ng, or brew install espeak-ng; "
        "or give a recording by --wav"
    )


def test_a_recording_that_is_too_short_is_refused(run, tmp_path):
    path = tone(tmp_path / "tone.wav", seconds=0.02)
    with pytest.raises(SystemExit) as caught:
        run("--out", tmp_path, "--wav", path)
    assert str(caught.value) == (
        f"speech.py: {path} has 0.02 seconds, which are too few to train on"
    )


def test_a_file_that_is_no_recording_is_refused(run, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"no audio")
    with pytest.raises(SystemExit, match="is not a WAV file of PCM samples"):
        run("--out", tmp_path, "--wav", path)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 44_100])
def test_a_tone_stays_what_it_is_at_another_rate(speech, rate):
    def at(rate: int) -> torch.Tensor:
        return torch.sin(2 * math.pi * 1_000 * torch.arange(rate).double() / rate).float()

    # Where the recording ends the tone goes on around it, as it is a whole number of periods.
    torch.testing.assert_close(speech.resampled(at(rate), rate), at(8_000), rtol=0, atol=1e-4)


def test_what_is_too_high_for_the_rate_does_not_come_back_as_something_else(speech):
    high = torch.sin(2 * math.pi * 5_000 * torch.arange(22_050).double() / 22_050).float()
    assert speech.resampled(high, 22_050).abs().max() < 1e-3


def test_features_tell_loudness_pitch_and_whether_there_is_a_voice(speech):
    t = torch.arange(4_000) / 8_000
    noise = torch.randn(4_000, generator=torch.Generator().manual_seed(3))
    quiet, loud = (level * torch.sin(2 * math.pi * 160 * t) for level in (0.01, 0.5))
    found = [speech.features(x)[5:-5].mean(0) for x in (torch.zeros(4_000), quiet, loud, noise)]
    silence, quiet, loud, noise = ((part[:-3].max(), *part[-3:]) for part in found)
    assert silence[0] < quiet[0] < loud[0]
    assert silence[1:] == (0, 0, 1)
    assert loud[1] > 0.9 > 0.5 > noise[1]
    assert loud[2] == pytest.approx(0, abs=0.01)  # an octave from 50 samples, 160 Hz
    assert speech.features(torch.zeros(161)).shape == (3, speech.BANDS + 3)


def test_a_network_starts_with_neighbouring_levels_alike_and_the_same_each_time(speech):
    one, other = speech.network(0), speech.network(0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    for weight in (one.embedding.weight[:, :19], one.head[-1].weight):
        near = (weight[1:] - weight[:-1]).norm(dim=1).mean()
        far = (weight[128:] - weight[:-128]).norm(dim=1).mean()
        assert near < far / 3
