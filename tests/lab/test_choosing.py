import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import seeded

from typedwave.errors import ShapeError
from typedwave.lab.sampling import choose

NEVER = -math.inf

some_logits = st.lists(
    st.lists(st.floats(-8, 8, width=16) | st.just(NEVER), min_size=5, max_size=5).filter(
        lambda row: max(row) > NEVER
    ),
    min_size=1,
    max_size=4,
)


def plain_chances(row, *, temperature=1.0, top_k=None, top_p=1.0) -> list[float]:
    """The chances of one row, in doubles and written out; the numbers are distinct."""
    order = sorted(range(len(row)), key=lambda i: -row[i])
    kept = set(order if top_k is None else order[:top_k])
    if temperature == 0:
        return [float(i == order[0]) for i in range(len(row))]
    powers = [
        math.exp((x - max(row)) / temperature) if i in kept else 0.0 for i, x in enumerate(row)
    ]
    chances = [power / sum(powers) for power in powers]
    together, nucleus = 0.0, set()
    for i in order:
        if together < top_p:
            nucleus.add(i)
            together += chances[i]
    chances = [chance if i in nucleus else 0.0 for i, chance in enumerate(chances)]
    return [chance / sum(chances) for chance in chances]


def drawn_often(row: torch.Tensor, count: int, **choice) -> torch.Tensor:
    ids = choose(row.expand(count, -1), generator=seeded(3), **choice)
    return torch.bincount(ids, minlength=len(row))


def always(at: float):
    """A `torch.rand` that draws the same number each time."""
    return lambda *shape, dtype, **options: torch.full(shape, at, dtype=dtype)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 1, 3, 6, 9])
@pytest.mark.parametrize("top_p", [1e-9, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_ids_come_as_often_as_plain_chances_say(temperature, top_k, top_p, dtype):
    row = torch.tensor([0.5, -1.0, 2.0, NEVER, 1.5, -3.0], dtype=dtype)
    count = 20_000
    choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    found = drawn_often(row, count, **choice).tolist()
    for number, chance in zip(found, plain_chances(row.tolist(), **choice), strict=True):
        # Four and a half deviations, and never where there is no chance.
        assert abs(number - count * chance) <= 4.5 * math.sqrt(count * chance * (1 - chance))


def test_chances_together_are_as_even_as_chance_makes_them():
    row = torch.linspace(-2, 2, 50)
    expected = 100_000 * torch.softmax(row, 0)
    found = drawn_often(row, 100_000)
    squares = ((found - expected) ** 2 / expected).sum().item()
    assert abs(squares - 49) < 5 * math.sqrt(2 * 49)  # chi-squared with 49 degrees of freedom


@given(logits=some_logits, seed=st.integers(0, 2**32))
def test_each_row_is_drawn_by_its_own_chances(logits, seed):
    ids = choose(torch.tensor(logits), generator=seeded(seed))
    assert ids.dtype == torch.int64
    drawn = torch.rand(len(logits), 1, generator=seeded(seed), dtype=torch.float64)
    for row, number, at in zip(logits, ids.tolist(), drawn.flatten().tolist(), strict=True):
        chances = plain_chances(row)
        until = sum(chances[: number + 1])
        assert until - chances[number] - 1e-6 <= at <= until + 1e-6
        assert chances[number] > 0


@given(logits=some_logits, seed=st.integers(0, 2**32), top_k=st.none() | st.integers(1, 7))
def test_temperature_0_and_top_k_1_take_the_likeliest(logits, seed, top_k):
    logits = torch.tensor(logits)
    options = {"generator": seeded(seed), "top_p": 0.5}
    assert torch.equal(choose(logits, temperature=0.0, **options), logits.argmax(-1))
    for choice in ({"temperature": 0.0, "top_k": top_k}, {"temperature": 3.0, "top_k": 1}):
        ids = choose(logits, **choice, **options)
        assert torch.equal(logits.gather(-1, ids[:, None]), logits.amax(-1, keepdim=True))


def test_the_likeliest_costs_no_draw():
    generator = seeded(1)
    before = generator.get_state()
    choose(torch.zeros(3, 4), generator=generator, temperature=0.0)
    assert torch.equal(generator.get_state(), before)


@given(logits=some_logits, seed=st.integers(0, 2**32))
def test_top_k_of_all_and_top_p_of_1_change_nothing(logits, seed):
    logits = torch.tensor(logits)
    plainly = choose(logits, generator=seeded(seed))
    for top_k in (None, 5, 6, 99):
        assert torch.equal(choose(logits, generator=seeded(seed), top_k=top_k, top_p=1.0), plainly)


def test_of_equal_logits_top_p_keeps_the_first_ones():
    found = drawn_often(torch.zeros(8), 1_000, top_p=0.375)
    assert (found > 0).tolist() == [True] * 3 + [False] * 5
    found = drawn_often(torch.zeros(8), 1_000, top_p=0.376)
    assert (found > 0).tolist() == [True] * 4 + [False] * 4
    assert drawn_often(torch.zeros(8), 1_000, temperature=0.0).tolist() == [1_000] + [0] * 7


def test_of_equal_logits_top_k_keeps_only_so_many():
    for top_k in range(1, 7):
        found = drawn_often(torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0]), 1_000, top_k=top_k)
        assert (found > 0).sum() == min(top_k, 5)


def test_the_chances_of_top_p_are_those_after_temperature_and_top_k():
    row = torch.tensor([3.0, 2.0, 1.0, 0.0])
    # By halves of the logits the first two have 0.62 + 0.38 of the two kept, 0.73 of all.
    assert (drawn_often(row, 2_000, temperature=2.0, top_k=2, top_p=0.6) > 0).sum() == 1
    assert (drawn_often(row, 2_000, temperature=2.0, top_p=0.6) > 0).sum() == 2


def test_chances_of_half_precision_are_not_summed_in_it():
    # 4,096 chances of 1/4,096: in float16 their sum stops growing long before 1.
    for dtype in (torch.float16, torch.bfloat16):
        row = torch.zeros(4_096, dtype=dtype)
        quarters = drawn_often(row, 2_000).unflatten(0, (4, -1)).sum(1)
        assert ((quarters - 500).abs() < 4.5 * math.sqrt(2_000 * 3 / 16)).all()


def test_an_id_without_a_chance_is_not_drawn_at_the_very_ends_either(monkeypatch):
    row = torch.tensor([[NEVER, 0.0, NEVER, 0.0, NEVER]])
    for at, expected in ((0.0, 1), (0.5, 3), (1 - 2**-53, 3)):
        monkeypatch.setattr(torch, "rand", always(at))
        assert choose(row, generator=seeded(1)).item() == expected


@given(
    size=st.integers(1, 200), seed=st.integers(0, 2**32), scale=st.sampled_from([0.1, 1.0, 30.0])
)
def test_the_largest_draw_there_is_still_gives_an_id(size, seed, scale):
    logits = scale * torch.randn(3, size, generator=seeded(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", always(1 - 2**-53))
        ids = choose(logits, generator=seeded(1))
    assert (ids < size).all()


@given(logits=some_logits)
def test_the_logits_are_left_as_they_are(logits):
    logits = torch.tensor(logits)
    before = logits.clone()
    for temperature in (0.0, 0.5):
        choose(logits, generator=seeded(1), temperature=temperature, top_k=2, top_p=0.5)
    assert torch.equal(logits, before)


def test_no_rows_are_no_ids():
    for temperature in (0.0, 1.0):
        ids = choose(torch.zeros(0, 4), generator=seeded(1), temperature=temperature, top_k=2)
        assert ids.shape == (0,)


@pytest.mark.parametrize("temperature", [1e-30, 1e-42, 1e-60, 5e-324])
def test_a_temperature_next_to_0_takes_the_likeliest(temperature):
    logits = 1e9 * torch.tensor([[1.0, 3.0, 2.0]])
    assert choose(logits, generator=seeded(1), temperature=temperature).item() == 1


def test_a_temperature_beyond_single_precision_is_bold():
    found = [
        choose(torch.tensor([[1.0, 3.0, NEVER]]), generator=seeded(i), temperature=1e300).item()
        for i in range(20)
    ]
    assert set(found) == {0, 1}


@pytest.mark.parametrize("choice", [{"temperature": 0}, {"temperature": 1}, {"top_p": 1}])
def test_a_whole_number_will_do_for_temperature_and_top_p(choice):
    logits = torch.tensor([[0.0, 1.0, 40.0]])
    assert choose(logits, generator=seeded(1), **choice).item() == 2


# what is refused


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1, but has to be at least 0 and finite"),
        ({"temperature": math.nan}, "temperature is nan, but has to be at least 0 and finite"),
        ({"temperature": math.inf}, "temperature is inf, but has to be at least 0 and finite"),
        ({"top_k": 0}, "top_k is 0, but has to be at least 1"),
        ({"top_k": -3}, "top_k is -3, but has to be at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0, but has to be more than 0 and at most 1"),
        ({"top_p": 1.01}, "top_p is 1.01, but has to be more than 0 and at most 1"),
        ({"top_p": math.nan}, "top_p is nan, but has to be more than 0 and at most 1"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_limits(choice, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        choose(torch.zeros(2, 3), generator=seeded(1), **choice)
    assert str(caught.value) == message


@pytest.mark.parametrize("row", [[0.0, math.nan], [0.0, math.inf], [NEVER, NEVER]])
@pytest.mark.parametrize("choice", [{}, {"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.5}])
def test_logits_that_are_no_chances_are_refused(row, choice):
    logits = torch.tensor([[0.0, 1.0], row])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        choose(logits, generator=seeded(1), **choice)
    assert str(caught.value) == "the network gives no probabilities: its logits are not finite"


def test_logits_of_a_whole_sequence_are_refused_by_the_contract():
    with pytest.raises(ShapeError) as caught:
        choose(torch.zeros(2, 3, 4), generator=seeded(1))
    assert str(caught.value) == (
        "choose: logits has the wrong shape\n"
        '  expected  Float "B V"\n'
        "  got       f32[2, 3, 4]   it has 3 axes"
    )
