import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupting import interrupted
from tiny_networks import EVERY, LEARNING, POOL, SEQUENCES, VOCABULARY, WINDOWS, made
from tiny_networks import WORDS as TINY_WORDS

from typedwave.lab.evaluation import evaluate
from typedwave.lab.runs import experiment as experiment_module
from typedwave.lab.runs.experiment import Experiment, losses_of
from typedwave.lab.runs.metrics import Metrics, Point, read_metrics
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.lab.training.stepped import DivergedError
from typedwave.lab.training.teaching import taught
from typedwave.lab.words.corpus import CorpusError, Vocabulary, examples, split
from typedwave.lab.words.sequences import sequences
from typedwave.models import NetworkConfig, NGram, build, sequence_model

WORDS = [first + last for first in ("an", "ot", "mi", "le", "em") for last in ("na", "to", "l")]
CONFIG = NetworkConfig(context=4, n_embd=3, n_hidden=5)


def experiment_of(steps: int, **options) -> Experiment:
    return Experiment(WORDS, CONFIG, Recipe(steps=steps, batch_size=4), **options)


def plain_points(steps: int) -> list[Point]:
    """The points, from the parts that an experiment is made of."""
    vocabulary = Vocabulary.of(WORDS)
    parts = [examples(part, vocabulary, context=4) for part in split(WORDS)]
    generator = torch.Generator().manual_seed(42)
    network = build(CONFIG, vocab_size=len(vocabulary), generator=generator)
    recipe = Recipe(steps=steps, batch_size=4)
    training = Training(network, parts[0], recipe, generator=generator)
    window, points, before = math.ceil(steps / 50), [], 0
    matrices = {name: p for name, p in network.named_parameters() if p.ndim > 1}
    for until in [*range(window, steps, window), steps]:
        training.run(until - 1)
        old = {name: matrix.detach().clone() for name, matrix in matrices.items()}
        training.run(until)
        updates = {
            name: ((matrix.detach() - old[name]).std() / old[name].std()).item()
            for name, matrix in matrices.items()
        }
        train = math.fsum(training.losses[before:until].tolist()) / (until - before)
        points.append(Point(until, train, evaluate(network, parts[1]), updates))
        before = until
    return points


# the points


@given(steps=st.integers(1, 160))
@settings(max_examples=15)
def test_the_points_are_the_mean_of_each_window_and_the_validation_after_it(steps):
    experiment = experiment_of(steps)
    points = list(experiment.points())
    assert points == experiment.curve == plain_points(steps)
    assert points[-1].step == experiment.step == steps
    assert len(points) <= 50
    assert list(experiment.points()) == []


@given(steps=st.integers(2, 110), data=st.data())
@settings(max_examples=15)
def test_an_interrupt_anywhere_can_be_gone_on_from(steps, data):
    experiment, at = experiment_of(steps), data.draw(st.integers(0, steps - 1))
    with interrupted(experiment.network, experiment, at), pytest.raises(KeyboardInterrupt):
        list(experiment.points())
    assert experiment.step == at
    window = math.ceil(steps / 50)
    assert [point.step for point in experiment.curve] == list(range(window, at + 1, window))
    assert all(map(math.isfinite, experiment.losses().values()))

    list(experiment.points())
    assert experiment.step == steps
    ends = [point.step for point in experiment.curve]
    assert ends == [*range(window, steps, window), steps]


def test_a_point_after_an_interrupt_is_the_mean_since_the_one_before():
    experiment = experiment_of(100)  # a point every 2 steps
    with interrupted(experiment.network, experiment, 5), pytest.raises(KeyboardInterrupt):
        list(experiment.points())
    list(experiment.points())
    plainly = plain_points(100)
    assert [point.train for point in experiment.curve] == [point.train for point in plainly]
    assert [point.step for point in experiment.curve] == [point.step for point in plainly]


def test_the_words_are_split_once_for_all_and_the_vocabulary_is_that_of_all_words():
    experiment = experiment_of(1)
    assert experiment.splits == split(WORDS, seed=42)
    assert experiment.vocabulary == Vocabulary.of(WORDS)
    other = Experiment(WORDS, CONFIG, Recipe(steps=1, batch_size=4, seed=7))
    assert other.splits == experiment.splits
    weights = [e.network.layers[0].weight for e in (experiment, other)]
    assert not torch.equal(*weights)


def test_losses_are_those_of_the_three_parts():
    experiment = experiment_of(3)
    list(experiment.points())
    vocabulary = Vocabulary.of(WORDS)
    parts = {**split(WORDS)._asdict(), "unseen": split(WORDS).validation}  # no word is there twice
    assert experiment.losses() == {
        name: evaluate(experiment.network, examples(part, vocabulary, context=4))
        for name, part in parts.items()
    }
    assert list(experiment.losses()) == ["train", "validation", "test", "unseen"]


def test_unseen_are_the_words_of_validation_that_are_not_in_train():
    words = [*WORDS, *WORDS[:12]]
    experiment = Experiment(words, CONFIG, Recipe(steps=1, batch_size=4))
    parts = split(words)
    unseen = [word for word in parts.validation if word not in parts.train]
    assert 0 < len(unseen) < len(parts.validation)
    expected = examples(unseen, Vocabulary.of(words), context=4)
    assert experiment.losses()["unseen"] == evaluate(experiment.network, expected)


def test_where_all_words_of_validation_are_in_train_there_is_no_loss_of_unseen_ones():
    experiment = Experiment(["anna", "otto"] * 20, CONFIG, Recipe(steps=1, batch_size=4))
    assert list(experiment.losses()) == ["train", "validation", "test"]


@pytest.mark.parametrize("kind", EVERY)
def test_losses_of_a_network_are_those_of_its_experiment_by_whole_words(kind):
    splits, network = split(TINY_WORDS), made(EVERY[kind])
    found = losses_of(network, VOCABULARY, splits)
    model = sequence_model(network)
    for name, part in splits._asdict().items():
        expected = evaluate(model, sequences(part, VOCABULARY))
        assert found[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [*LEARNING, "ngram"])
def test_the_global_generator_stays_as_it_was(kind):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    recipe = CountingRecipe() if kind == "ngram" else WordsRecipe(epochs=1, batch_size=4)
    experiment = Experiment(TINY_WORDS, EVERY[kind], recipe)
    list(experiment.points())
    experiment.losses()
    experiment.restore(experiment.state(), read(experiment))
    assert torch.equal(torch.get_rng_state(), before)


def read(experiment: Experiment) -> Metrics:
    """The metrics of all its steps, by way of a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text(experiment.metrics_lines())
        return read_metrics(path)


def test_too_few_words_are_an_error_of_the_corpus():
    with pytest.raises(CorpusError, match="need 6 words or more"):
        Experiment(WORDS[:5], CONFIG, Recipe(steps=1))


def test_a_matrix_of_a_single_number_has_no_deviation_and_gives_no_warning():
    config = NetworkConfig(network="flat", context=1, n_embd=1, n_hidden=1)
    experiment = Experiment(WORDS, config, Recipe(steps=2, batch_size=4))
    for point in experiment.points():
        assert point.updates.keys() == {"layers.0.weight", "layers.5.weight"}


def test_a_matrix_of_zeros_has_no_ratio():
    experiment = experiment_of(2)
    torch.nn.init.zeros_(experiment.network.layers[0].weight)
    first, second = experiment.points()
    assert "layers.0.weight" not in first.updates
    assert first.updates.keys() < second.updates.keys()


def test_a_loss_that_diverges_is_not_hidden():
    experiment = Experiment(WORDS, CONFIG, Recipe(steps=60, batch_size=4, learning_rate=1e30))
    with pytest.raises(DivergedError):
        list(experiment.points())


def test_a_validation_loss_that_is_not_finite_has_diverged_too(monkeypatch):
    experiment = experiment_of(100)
    monkeypatch.setattr(experiment_module, "evaluate", lambda network, part: math.inf)
    with pytest.raises(DivergedError) as caught:
        list(experiment.points())
    assert str(caught.value) == (
        "the validation loss after step 1 is inf; a smaller learning rate may keep it finite"
    )
    assert experiment.curve == []


@pytest.mark.parametrize("compiled", [False, True])
def test_whether_it_is_compiled_is_passed_on(monkeypatch, compiled):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.append(1) or step)
    list(experiment_of(2, compile=compiled).points())
    assert len(asked) == compiled


# every kind of network


def counted_by(recipe: WordsRecipe) -> int:
    return recipe.epochs * math.ceil(len(split(TINY_WORDS).train) / recipe.batch_size)


@pytest.mark.parametrize("taught_by", [None, "gru", "ngram"])
@pytest.mark.parametrize("kind", LEARNING)
def test_training_on_words_is_that_of_its_pieces(kind, taught_by):
    config, train = LEARNING[kind], split(TINY_WORDS).train
    teacher = None if taught_by is None else sequence_model(made(EVERY[taught_by]))
    recipe = WordsRecipe(
        epochs=3, batch_size=4, seed=7, teacher=taught_by or "", sampled=5 if taught_by else 0
    )
    experiment = Experiment(TINY_WORDS, config, recipe, teacher=teacher)
    points = list(experiment.points())

    generator = torch.Generator().manual_seed(7)
    network = build(config, vocab_size=len(VOCABULARY), generator=generator)
    words = sequences(train, VOCABULARY)
    if teacher is not None:
        words = taught(teacher, train, VOCABULARY, sampled=5, generator=generator)
    training = WordTraining(network, words, recipe, generator=generator)
    training.run(training.steps)
    assert experiment.steps == training.steps
    for name, tensor in network.state_dict().items():
        assert torch.equal(experiment.network.state_dict()[name], tensor), name
    means = [math.fsum(each) / len(each) for each in training.losses.unflatten(0, (3, -1)).tolist()]
    assert [point.train for point in points] == means
    assert [point.step for point in points] == [training.steps * i // 3 for i in (1, 2, 3)]
    assert points[-1].validation == experiment.losses()["validation"]


@given(epochs=st.integers(1, 130), batch_size=st.integers(3, 12))
@settings(max_examples=12)
def test_a_point_is_of_whole_epochs_and_there_are_50_at_most(epochs, batch_size):
    recipe = WordsRecipe(epochs=epochs, batch_size=batch_size)
    experiment = Experiment(TINY_WORDS, SEQUENCES["rnn"], recipe)
    experiment._training.run = lambda until: setattr(
        experiment._training, "step", min(until, experiment.steps)
    )
    steps = [point.step for point in experiment.points()]
    each = math.ceil(len(split(TINY_WORDS).train) / batch_size) * math.ceil(epochs / 50)
    assert steps == [*range(each, experiment.steps, each), experiment.steps]
    assert len(steps) <= 50


def test_counting_is_one_step_and_one_point():
    experiment = Experiment(TINY_WORDS, EVERY["ngram"], CountingRecipe())
    (point,) = experiment.points()
    assert (experiment.step, experiment.steps, point.step) == (1, 1, 1)
    losses, plain = experiment.losses(), NGram(EVERY["ngram"], vocab_size=len(VOCABULARY))
    plain.fit(*examples(split(TINY_WORDS).train, VOCABULARY, context=2))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(experiment.network.state_dict()[name], tensor), name
    assert point.train == pytest.approx(losses["train"], rel=1e-6)
    assert point.validation == losses["validation"]


@given(at=st.integers(0, 5))
@settings(max_examples=6)
def test_training_on_words_can_be_interrupted_and_gone_on_with(at):
    recipe = WordsRecipe(epochs=2, batch_size=4)
    whole, stopped = (Experiment(TINY_WORDS, SEQUENCES["gru"], recipe) for _ in range(2))
    list(whole.points())
    with interrupted(stopped.network, stopped, at), pytest.raises(KeyboardInterrupt):
        list(stopped.points())
    assert stopped.step == at
    list(stopped.points())
    assert stopped.curve[-1].step == stopped.steps == 6
    assert stopped.losses() == whole.losses()


def test_training_on_words_that_diverges_is_not_hidden():
    recipe = WordsRecipe(epochs=9, batch_size=4, muon_rate=1e30)
    with pytest.raises(DivergedError):
        list(Experiment(TINY_WORDS, SEQUENCES["rnn"], recipe).points())


WORDS_RECIPE = WordsRecipe(epochs=1, batch_size=4)


@pytest.mark.parametrize(
    ("config", "recipe", "message"),
    [
        (SEQUENCES["gru"], Recipe(), "a Recipe is not for a network of kind gru"),
        (EVERY["ngram"], Recipe(), "a Recipe is not for a network of kind ngram"),
        (EVERY["ngram"], WORDS_RECIPE, "a WordsRecipe is not for a network of kind ngram"),
        (WINDOWS["flat"], CountingRecipe(), "a CountingRecipe is not for a network of kind flat"),
        (SEQUENCES["rnn"], CountingRecipe(), "a CountingRecipe is not for a network of kind rnn"),
        (POOL, CountingRecipe(), "a CountingRecipe is not for a network of kind pool"),
        (
            WINDOWS["flat"],
            PoolRecipe(recipes=(Recipe(),)),
            "a PoolRecipe is not for a network of kind flat",
        ),
    ],
)
def test_a_recipe_for_another_network_is_refused(config, recipe, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(TINY_WORDS, config, recipe)
    assert str(caught.value) == message


def test_a_pool_is_not_trained_as_one():
    # Its n-grams are not counted, and its members' last layers would be taken for hidden ones.
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(TINY_WORDS, POOL, WORDS_RECIPE)
    assert str(caught.value) == "a WordsRecipe is not for a network of kind pool"


@pytest.mark.parametrize(
    ("config", "recipe"),
    [(SEQUENCES["gru"], WORDS_RECIPE), (EVERY["ngram"], CountingRecipe())],
)
def test_only_a_step_on_examples_is_compiled(config, recipe):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(TINY_WORDS, config, recipe, compile=True)
    assert str(caught.value) == (
        "compile is for a training step on examples, which this recipe has not"
    )


def test_a_teacher_that_is_missing_is_named():
    recipe = WordsRecipe(epochs=1, batch_size=4, teacher="gru")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(TINY_WORDS, SEQUENCES["rnn"], recipe)
    assert str(caught.value) == (
        "the recipe is for the teacher 'gru'; give it one, or none, as teacher"
    )


@pytest.mark.parametrize(
    ("config", "recipe"),
    [
        (SEQUENCES["rnn"], WORDS_RECIPE),
        (WINDOWS["flat"], Recipe(steps=1)),
        (EVERY["ngram"], CountingRecipe()),
    ],
)
def test_a_teacher_that_is_not_asked_for_is_refused(config, recipe):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Experiment(TINY_WORDS, config, recipe, teacher=made(SEQUENCES["gru"]))
    assert str(caught.value) == "the recipe is for no teacher; give it one, or none, as teacher"
