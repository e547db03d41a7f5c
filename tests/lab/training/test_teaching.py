import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import EVERY, SEQUENCES, VOCABULARY, WORDS, made, seeded
from torch import nn

from typedwave.lab.sampling import sample
from typedwave.lab.training import teaching as teaching_module
from typedwave.lab.training.teaching import taught
from typedwave.lab.words.corpus import Vocabulary
from typedwave.lab.words.sequences import sequences
from typedwave.models import RecurrentConfig, Windowed, sequence_model


@pytest.mark.parametrize("kind", EVERY)
@given(sampled=st.integers(0, 9), at_once=st.integers(1, 25), seed=st.integers(0, 2**32))
@settings(max_examples=5)
def test_the_chances_are_those_of_the_teacher_where_there_is_a_character_and_0_elsewhere(
    kind, sampled, at_once, seed
):
    teacher = sequence_model(made(EVERY[kind], seed=seed)).train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching_module, "_AT_ONCE", at_once)
        found = taught(teacher, WORDS, VOCABULARY, sampled=sampled, generator=seeded(seed))
    assert teacher.training
    drawn = sample(teacher, VOCABULARY, sampled, generator=seeded(seed))
    longest = max(map(len, WORDS))
    words = [*WORDS, *(word for word in drawn if 0 < len(word) <= longest)]
    plainly = sequences(words, VOCABULARY)
    assert torch.equal(found.ids, plainly.ids)
    assert torch.equal(found.targets, plainly.targets)
    assert found.chances.dtype == torch.float16
    assert found.chances.shape == (*plainly.ids.shape, len(VOCABULARY))
    teacher.eval()
    for word, length, chances in zip(words, found.lengths.tolist(), found.chances, strict=True):
        ids = torch.tensor([[0, *VOCABULARY.encode(word)]])
        with torch.no_grad():
            expected = torch.softmax(teacher(ids)[0], -1)
        # Half precision has 11 bits.
        torch.testing.assert_close(chances[:length].float(), expected, rtol=1e-3, atol=1e-4)
        assert ((chances[:length].float().sum(-1) - 1).abs() < 2e-3).all()
        assert (chances[length:] == 0).all()


def test_a_teacher_leaves_nothing_out_and_goes_on_to_afterwards():
    config = RecurrentConfig(n_embd=3, n_hidden=5, dropout=0.5)
    teacher = made(config).train()
    found = taught(teacher, WORDS, VOCABULARY, sampled=0, generator=seeded(1))
    assert all(module.training for module in teacher.modules())
    with torch.no_grad():
        expected = torch.softmax(teacher.eval()(found.ids), -1)[found.counted]
    given_ = found.chances[found.counted].float()
    torch.testing.assert_close(given_, expected, rtol=1e-3, atol=1e-4)  # float16


def test_words_that_are_drawn_empty_are_left_away_and_equal_ones_are_not():
    class Short(nn.Module):
        """No character or an a, with the same chance."""

        context, vocab_size = 1, 2

        def forward(self, x):
            odd = torch.tensor([0.0, 0.0])
            return torch.where(x == 0, odd, torch.tensor([0.0, -torch.inf]))

    letters = Vocabulary.of(["a"])
    found = taught(Windowed(Short()), ["aa"], letters, sampled=50, generator=seeded(1))
    assert 15 < len(found) < 37
    assert found.ids[1:].tolist() == [[0, 1, 0]] * (len(found) - 1)
    assert found.chances[1].tolist() == [[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]]


def test_the_same_generator_gives_the_same_and_the_global_one_and_the_teacher_stay():
    teacher = made(SEQUENCES["gru"])
    state = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    before = torch.get_rng_state()
    one, other = (
        taught(teacher, WORDS, VOCABULARY, sampled=7, generator=seeded(3)) for _ in range(2)
    )
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.chances, other.chances)
    assert not one.chances.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, state[name]), name
