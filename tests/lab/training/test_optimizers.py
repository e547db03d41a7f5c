import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import EVERY, LEARNING, SEQUENCES, VOCABULARY, WORDS, made, seeded
from torch import Tensor, nn
from torch.optim import _muon

from typedwave.lab.training.optimizers import SGD, MuonAndAdam, hidden_matrices, orthogonalised
from typedwave.lab.words.sequences import sequences
from typedwave.models import MLP, WaveNetConfig, to_dilated
from typedwave.models.sequence import windows

RATES = {"muon_rate": 0.03, "adam_rate": 0.007, "weight_decay": 0.2}


def plainly_orthogonalised(matrix: Tensor, *options) -> Tensor:
    """Five steps of Newton and Schulz on one matrix, in its own precision; torch's is bfloat16."""
    if matrix.shape[0] > matrix.shape[1]:
        return plainly_orthogonalised(matrix.T).T
    x = matrix / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x


# which matrices


def named_matrices(network: nn.Module) -> dict[str, list[tuple[int, ...]]]:
    """The shapes that each chosen parameter is cut to, by its name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: [tuple(part.shape) for part in parts(parameter)]
        for parameter, parts in hidden_matrices(network)
    }


def test_the_matrices_of_each_network_are_those_between_hidden_channels():
    found = {kind: named_matrices(made(config)) for kind, config in LEARNING.items()}
    assert found == {
        "flat": {"layers.2.weight": [(5, 12)]},
        "hierarchical": {"layers.2.weight": [(5, 6)], "layers.6.weight": [(5, 10)]},
        "wavenet": {
            "blocks.0.conv.weight": [(5, 6)] * 4,
            "blocks.0.residual.weight": [(6, 5)],
            "blocks.1.conv.weight": [(5, 6)] * 4,
            "blocks.1.residual.weight": [(6, 5)],
        },
        "wavenet with skips": {
            "blocks.0.conv.weight": [(5, 6)] * 6,
            "blocks.0.residual.weight": [(6, 5)],
            "blocks.0.skip.weight": [(7, 5)],
            "blocks.1.conv.weight": [(5, 6)] * 6,
            "blocks.1.skip.weight": [(7, 5)],
            "head.1.weight": [(7, 7)],
        },
        "rnn": {"recurrent.weight_ih_l0": [(5, 3)], "recurrent.weight_hh_l0": [(5, 5)]},
        "gru": {
            "recurrent.weight_ih_l0": [(5, 3)] * 3,
            "recurrent.weight_hh_l0": [(5, 5)] * 3,
            "recurrent.weight_ih_l1": [(5, 5)] * 3,
            "recurrent.weight_hh_l1": [(5, 5)] * 3,
        },
        "lstm": {"recurrent.weight_ih_l0": [(5, 3)] * 4, "recurrent.weight_hh_l0": [(5, 5)] * 4},
        "transformer": {
            f"blocks.{i}.{name}": shapes
            for i in (0, 1)
            for name, shapes in (
                ("self_attn.in_proj_weight", [(6, 6)] * 3),
                ("self_attn.out_proj.weight", [(6, 6)]),
                ("linear1.weight", [(10, 6)]),
                ("linear2.weight", [(6, 10)]),
            )
        },
    }


def test_a_convolution_that_is_not_gated_is_cut_into_its_taps_only():
    found = named_matrices(to_dilated(made(LEARNING["hierarchical"])))
    assert found == {
        "levels.0.conv.weight": [(5, 3)] * 2,
        "levels.1.conv.weight": [(5, 5)] * 2,
    }


def test_conditions_of_a_wavenet_go_through_matrices_too():
    config = WaveNetConfig(
        channels=6, gate_channels=5, dilations=(1,), global_channels=2, local_channels=3
    )
    found = named_matrices(made(config))
    assert {name for name in found if "conditioning" in name} == {
        name
        for name, parameter in made(config).named_parameters()
        if "conditioning" in name and parameter.ndim == 2
    }


def test_n_grams_have_none_and_torchs_own_layers_only_linear_ones():
    assert hidden_matrices(made(EVERY["ngram"])) == []
    network = nn.Sequential(
        nn.Embedding(5, 3), nn.Linear(3, 4), nn.Conv1d(4, 2, 1), nn.Linear(2, 7)
    )
    assert named_matrices(network) == {"1.weight": [(4, 3)], "3.weight": [(7, 2)]}


@pytest.mark.parametrize("kind", LEARNING)
def test_the_parts_are_views_that_hold_each_number_once(kind):
    network = made(LEARNING[kind])
    for parameter, parts in hidden_matrices(network):
        counted = torch.zeros_like(parameter)
        for part in parts(counted):
            assert part.ndim == 2
            part += 1
        assert torch.equal(counted, torch.ones_like(parameter))


def test_a_tap_and_a_half_of_a_gated_convolution_are_those_of_the_layer():
    network = made(SEQUENCES["wavenet with skips"])
    conv = network.blocks[0].conv
    ((parameter, parts), *_) = hidden_matrices(network)
    assert parameter is conv.weight
    expected = [conv.weight[half * 5 : half * 5 + 5, :, tap] for tap in range(3) for half in (0, 1)]
    for part, weight in zip(parts(parameter), expected, strict=True):
        assert torch.equal(part, weight)


# orthogonalised


@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    count=st.integers(0, 3),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 2**32),
)
def test_each_matrix_is_orthogonalised_as_if_it_were_alone(rows, columns, count, scale, seed):
    matrices = scale * torch.randn(count, rows, columns, generator=seeded(seed))
    before = matrices.clone()
    found = orthogonalised(matrices)
    assert torch.equal(matrices, before)
    assert found.shape == matrices.shape
    for matrix, one in zip(matrices, found, strict=True):
        # Sums in another order, of numbers near 1; a step may blow up an error by 3.4.
        torch.testing.assert_close(one, plainly_orthogonalised(matrix), rtol=1e-3, atol=1e-3)


@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    condition=st.floats(1, 30),
    seed=st.integers(0, 2**32),
)
def test_singular_values_come_out_near_1_and_their_vectors_stay(rows, columns, condition, seed):
    drawn = torch.randn(rows, columns, generator=seeded(seed))
    u, _, v = torch.linalg.svd(drawn, full_matrices=False)
    values = torch.linspace(1, 1 / condition, min(rows, columns))
    matrix = u @ torch.diag(values) @ v
    turned = u.T @ orthogonalised(matrix[None])[0] @ v.T
    found = turned.diagonal()
    assert ((found > 0.65) & (found < 1.25)).all()
    torch.testing.assert_close(turned, torch.diag(found), rtol=0, atol=1e-3)


def test_nothing_stays_nothing():
    assert torch.equal(orthogonalised(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


# the step


def gradients_of(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Gradients of a loss on some words, by name."""
    numbers = torch.randint(len(WORDS), (5,), generator=seeded(seed))
    data = sequences(WORDS, VOCABULARY).rows(numbers)
    if isinstance(network, MLP):
        logits = network(windows(data.ids, network.context)[data.counted])
    else:
        logits = network(data.ids)[data.counted]
    loss = F.cross_entropy(logits, data.targets[data.counted])
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def in_order(optimizer: MuonAndAdam, network: nn.Module, gradients: dict[str, Tensor]):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [gradients[names[id(parameter)]].clone() for parameter in optimizer.parameters]


@pytest.mark.parametrize("kind", LEARNING)
@given(seed=st.integers(0, 2**32), factors=st.lists(st.floats(0, 1), min_size=1, max_size=4))
@settings(max_examples=5)
def test_a_step_is_that_of_torchs_muon_and_adam(kind, seed, factors):
    network, plain = made(LEARNING[kind], seed=seed), made(LEARNING[kind], seed=seed)
    optimizer = MuonAndAdam(network, **RATES)
    cut = hidden_matrices(plain)
    pieces = [nn.Parameter(m.detach().clone()) for weight, parts in cut for m in parts(weight)]
    chosen = {id(parameter) for parameter, _ in cut}
    rest = [parameter for parameter in plain.parameters() if id(parameter) not in chosen]
    muon = torch.optim.Muon(pieces, weight_decay=0.2, momentum=0.95, adjust_lr_fn="original")
    adam = torch.optim.Adam(rest, betas=(0.9, 0.98))
    assert {id(parameter) for parameter in optimizer.parameters} == {
        id(parameter) for parameter in network.parameters()
    }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_muon, "_zeropower_via_newtonschulz", plainly_orthogonalised)
        for number, factor in enumerate(factors):
            gradients = gradients_of(plain, seed % 1000 + number)
            optimizer.step(in_order(optimizer, network, gradients), factor=factor)
            for name, parameter in plain.named_parameters():
                parameter.grad = gradients[name].clone()
            ours = iter(pieces)
            for weight, parts in cut:
                for part in parts(weight.grad):
                    next(ours).grad = part.clone()
            muon.param_groups[0]["lr"] = 0.03 * factor
            adam.param_groups[0]["lr"] = 0.007 * factor
            muon.step()
            adam.step()
            ours = iter(pieces)
            with torch.no_grad():
                for weight, parts in cut:
                    for part in parts(weight):
                        part.copy_(next(ours))

    for (name, one), other in zip(network.named_parameters(), plain.parameters(), strict=True):
        # Newton and Schulz, and Adam where gradients are next to nothing, magnify rounding.
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4, msg=name)


def test_in_bfloat16_torchs_own_muon_goes_nearly_the_same_way():
    network = nn.Sequential(nn.Linear(7, 11, bias=False))
    start = network[0].weight.detach().clone()
    piece = nn.Parameter(start.clone())
    optimizer = MuonAndAdam(_with(network), **RATES)
    muon = torch.optim.Muon([piece], lr=0.03, weight_decay=0.2, adjust_lr_fn="original")
    for seed in range(3):
        gradient = torch.randn(11, 7, generator=seeded(seed))
        piece.grad = gradient.clone()
        muon.step()
        optimizer.step([gradient, torch.zeros(1)], factor=1.0)
    ours, theirs = network[0].weight.detach() - start, piece.detach() - start
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


def _with(network: nn.Sequential) -> nn.Sequential:
    """With a parameter for Adam, which needs one."""
    network.register_parameter("other", nn.Parameter(torch.zeros(1)))
    return network


def test_a_factor_of_0_moves_nothing_and_is_remembered_by_the_momenta():
    network = made(SEQUENCES["gru"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = MuonAndAdam(network, **RATES)
    optimizer.step(in_order(optimizer, network, gradients_of(network, 1)), factor=0.0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    zeros = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    optimizer.step(in_order(optimizer, network, zeros), factor=1.0)
    for name, parameter in network.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_weight_decay_is_of_the_matrices_alone_and_the_factor_scales_it():
    network = made(SEQUENCES["transformer"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = MuonAndAdam(network, muon_rate=0.5, adam_rate=0.5, weight_decay=0.25)
    zeros = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    optimizer.step(in_order(optimizer, network, zeros), factor=0.5)
    matrices = named_matrices(network)
    for name, tensor in network.state_dict().items():
        expected = before[name] * (1 - 0.5 * 0.25 * 0.5) if name in matrices else before[name]
        torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=0)


def test_tall_matrices_go_further_by_the_root_of_their_ratio():
    for rows, columns, scale in ((12, 3, 2.0), (3, 12, 1.0), (5, 5, 1.0)):
        network = _with(nn.Sequential(nn.Linear(columns, rows, bias=False)))
        nn.init.zeros_(network[0].weight)
        optimizer = MuonAndAdam(network, muon_rate=0.1, adam_rate=0.1, weight_decay=0.0)
        gradient = torch.randn(rows, columns, generator=seeded(1))
        expected = -0.1 * scale * plainly_orthogonalised(gradient)
        optimizer.step([gradient, torch.zeros(1)], factor=1.0)
        torch.testing.assert_close(network[0].weight.detach(), expected, rtol=1e-3, atol=1e-4)


def test_the_gradients_given_are_left_as_they_are_and_none_stay_behind():
    network = made(SEQUENCES["wavenet"])
    optimizer = MuonAndAdam(network, **RATES)
    gradients = in_order(optimizer, network, gradients_of(network, 1))
    before = [gradient.clone() for gradient in gradients]
    optimizer.step(gradients, factor=1.0)
    for gradient, old in zip(gradients, before, strict=True):
        assert torch.equal(gradient, old)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_scale_of_the_gradients_does_not_matter():
    # Of Muon never, of Adam but for its epsilon.
    results = []
    for scale in (1.0, 1_000.0):
        network = made(SEQUENCES["lstm"])
        optimizer = MuonAndAdam(network, **RATES)
        gradients = gradients_of(network, 1)
        scaled = {name: scale * gradient for name, gradient in gradients.items()}
        optimizer.step(in_order(optimizer, network, scaled), factor=1.0)
        results.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-3)


# SGD


@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    rates=st.lists(st.sampled_from([0.0, 0.1, 0.7]), min_size=1, max_size=9),
    seed=st.integers(0, 99),
)
def test_sgd_is_that_of_torch_to_the_bit(momentum, rates, seed):
    ours, theirs = made(LEARNING["hierarchical"]), made(LEARNING["hierarchical"])
    optimizer = SGD(ours.parameters(), momentum=momentum)
    reference = torch.optim.SGD(theirs.parameters(), lr=1.0, momentum=momentum, foreach=True)
    for number, rate in enumerate(rates):
        gradients = gradients_of(theirs, seed + number)
        for name, parameter in theirs.named_parameters():
            parameter.grad = gradients[name]
        reference.param_groups[0]["lr"] = rate
        reference.step()
        optimizer.step([gradients[name] for name, _ in ours.named_parameters()], rate)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.grad is None


def test_sgd_without_momentum_remembers_nothing():
    network = made(LEARNING["flat"])
    assert SGD(network.parameters(), momentum=0.0).state() == {}
    remembered = SGD(network.parameters(), momentum=0.5).state()
    assert [x.shape for x in remembered.values()] == [p.shape for p in network.parameters()]
    assert not any(x.requires_grad or x.any() for x in remembered.values())


# what they remember


def sgd_of(network):
    optimizer = SGD(network.parameters(), momentum=0.9)

    def step(number):
        gradients = gradients_of(network, number)
        optimizer.step([gradients[name] for name, _ in network.named_parameters()], 0.1)

    return optimizer, step


def muon_of(network):
    optimizer = MuonAndAdam(network, **RATES)

    def step(number):
        gradients = in_order(optimizer, network, gradients_of(network, number))
        optimizer.step(gradients, factor=0.5 + number / 8)

    return optimizer, step


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.parametrize("optimizer_of", [sgd_of, muon_of])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_restored_it_goes_on_as_if_it_had_never_stopped_to_the_bit(kind, optimizer_of, done):
    whole, stopped, fresh = (made(LEARNING[kind]) for _ in range(3))
    steps = {name: optimizer_of(n) for name, n in (("whole", whole), ("stopped", stopped))}
    for number in range(6):
        steps["whole"][1](number)
    for number in range(done):
        steps["stopped"][1](number)
    kept = {name: tensor.clone() for name, tensor in steps["stopped"][0].state().items()}
    weights = {name: tensor.clone() for name, tensor in stopped.state_dict().items()}
    steps["stopped"][1](9)  # what is kept is a copy

    optimizer, step = optimizer_of(fresh)
    fresh.load_state_dict(weights)
    remembered = optimizer.state()
    assert remembered.keys() == kept.keys()
    for name, tensor in kept.items():
        assert remembered[name].dtype == tensor.dtype
        remembered[name].copy_(tensor)
    for number in range(done, 6):
        step(number)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
    ends = [steps["whole"][0].state(), optimizer.state()]
    assert all(torch.equal(ends[0][name], tensor) for name, tensor in ends[1].items())


@pytest.mark.parametrize("optimizer_of", [sgd_of, muon_of])
def test_to_ask_what_it_remembers_changes_nothing(optimizer_of):
    asked, plain = made(SEQUENCES["wavenet"]), made(SEQUENCES["wavenet"])
    optimizer, step = optimizer_of(asked)
    plainly = optimizer_of(plain)[1]
    for number in range(3):
        optimizer.state()
        step(number)
        optimizer.state()
        plainly(number)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(asked.state_dict()[name], tensor), name


def test_all_that_muon_and_adam_remember_has_a_name():
    network = made(SEQUENCES["gru"])
    optimizer = MuonAndAdam(network, **RATES)
    matrices = named_matrices(network)
    shapes = {shape for cut in matrices.values() for shape in cut}
    rest = [name for name, _ in network.named_parameters() if name not in matrices]
    assert set(optimizer.state()) == {f"momentum.{i}" for i in range(len(shapes))} | {
        f"adam.{i}.{name}" for i in range(len(rest)) for name in ("step", "exp_avg", "exp_avg_sq")
    }
