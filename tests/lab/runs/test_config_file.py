import dataclasses
import tomllib

import pytest
from commands import fails, prints
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import EVERY, WORDS

from typedwave.lab.runs.config_file import config_from, config_text, read_config, write_config
from typedwave.lab.runs.record import read_record
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.models import NetworkConfig, RecurrentConfig

POOL = PoolRecipe(recipes=(Recipe(steps=3), CountingRecipe(), WordsRecipe(teacher="gru")))
SMALL = """
[network]
context = 4
n_embd = 3
n_hidden = 5

[recipe]
steps = 3
batch_size = 4
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.toml"


def refusal(path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        read_config(path)
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# there and back


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_comes_back(path, preset):
    write_config(path, *PRESETS[preset])
    assert read_config(path) == PRESETS[preset]
    assert read_config(str(path)) == PRESETS[preset]
    assert path.read_text(encoding="utf-8") == config_text(*PRESETS[preset])


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("recipe", [Recipe(), WordsRecipe(), CountingRecipe(), POOL])
def test_every_network_comes_back_with_every_kind_of_recipe(kind, recipe):
    assert config_from(tomllib.loads(config_text(EVERY[kind], recipe))) == (EVERY[kind], recipe)


RECIPES = st.builds(
    Recipe,
    steps=st.integers(1, 10**9),
    batch_size=st.integers(1, 99),
    learning_rate=st.floats(0, 1e300),
    warm_up=st.floats(0, 1),
    decay=st.floats(0, 10),
    clip=st.floats(0, 10) | st.integers(0, 3),
    schedule=st.sampled_from(["step", "constant", "linear", "cosine"]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    seed=st.integers(0, 2**64 - 1),
)


@given(recipe=RECIPES, output_scale=st.floats(0, 1e6), unbiased=st.booleans())
def test_every_number_comes_back_to_the_bit(recipe, output_scale, unbiased):
    config = NetworkConfig(output_scale=output_scale, unbiased=unbiased)
    assert config_from(tomllib.loads(config_text(config, recipe))) == (config, recipe)


def test_every_field_is_written_so_that_no_default_can_change_its_meaning(path):
    write_config(path, NetworkConfig(), Recipe())
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    assert found["network"] == dataclasses.asdict(NetworkConfig())
    assert found["recipe"] == {"kind": "examples", **dataclasses.asdict(Recipe())}


# files of people


def test_what_is_left_out_is_as_in_the_preset_demo(path):
    path.write_text(SMALL, encoding="utf-8")
    config, recipe = PRESETS["demo"]
    assert read_config(path) == (
        dataclasses.replace(config, context=4, n_embd=3, n_hidden=5),
        dataclasses.replace(recipe, steps=3, batch_size=4),
    )
    path.write_text("")
    assert read_config(path) == PRESETS["demo"]


def test_what_is_left_out_is_as_in_the_preset_that_is_named(path):
    path.write_text('preset = "best-small"\nnetwork.channels = 9\nrecipe.epochs = 2\n')
    config, recipe = PRESETS["best-small"]
    assert read_config(path) == (
        dataclasses.replace(config, channels=9),
        dataclasses.replace(recipe, epochs=2),
    )
    path.write_text('preset = "pool"\n')
    assert read_config(path) == PRESETS["pool"]


@pytest.mark.parametrize("kind", ["gru", "wavenet", "flat", "ngram", "transformer"])
def test_what_is_left_out_is_as_in_the_preset_of_the_kind_of_network(path, kind):
    path.write_text(f'[network]\nnetwork = "{kind}"\n')
    assert read_config(path) == PRESETS[kind]


def test_a_network_of_another_kind_than_the_preset_has_its_own_defaults(path):
    path.write_text('preset = "demo"\n[network]\nnetwork = "gru"\n[recipe]\nkind = "words"\n')
    assert read_config(path) == (RecurrentConfig(), WordsRecipe())
    path.write_text('preset = "gru"\n[network]\nnetwork = "lstm"\nn_embd = 7\n')
    config, recipe = read_config(path)
    assert config == RecurrentConfig(network="lstm", n_embd=7)
    assert recipe == PRESETS["gru"][1]


def test_a_recipe_of_another_kind_than_the_presets_has_its_own_defaults(path):
    path.write_text('preset = "lecture-small"\n[recipe]\nkind = "words"\nepochs = 3\n')
    assert read_config(path) == (PRESETS["lecture-small"][0], WordsRecipe(epochs=3))


# what is wrong


KINDS = "ngram, flat, hierarchical, wavenet, rnn, gru, lstm, transformer, pool"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks.n_embd = 3", "there is no 'networks'; a config has preset, network, recipe"),
        ("n_embd = 3", "there is no 'n_embd'; a config has preset, network, recipe"),
        ("network = 3", "network is 3, but has to be a table: [network]"),
        ("recipe = ['a']", "recipe is ['a'], but has to be a table: [recipe]"),
        ("preset = 'nope'", f"preset is 'nope', but there are {', '.join(PRESETS)}"),
        ("preset = ['demo']", f"preset is ['demo'], but there are {', '.join(PRESETS)}"),
        ("network.network = 'ring'", f"network is 'ring', but there are {KINDS}"),
        ("network.network = 'lecture'", f"network is 'lecture', but there are {KINDS}"),
        ("network.network = ['gru']", f"network is ['gru'], but there are {KINDS}"),
        ("recipe.kind = 'word'", "kind is 'word', but there are examples, words, counting, pool"),
        ("network.n_embd = 'x'", "n_embd is 'x', but has to be a whole number"),
        ("network.n_embd = 3.0", "n_embd is 3.0, but has to be a whole number"),
        ("network.unbiased = 1", "unbiased is 1, but has to be True or False"),
        ("recipe.steps = '3'", "steps is '3', but has to be a whole number"),
        ("recipe.clip = true", "clip is True, but has to be a number"),
        ("recipe.clip = inf", "clip is inf, but has to be finite"),
        ("recipe.clip = nan", "clip is nan, but has to be at least 0"),
        ("recipe.schedule = 3", "schedule is 3, but there are step, constant, linear and cosine"),
        (
            "network.channels = 3",
            "NetworkConfig.__init__() got an unexpected keyword argument 'channels'",
        ),
        ("recipe.epochs = 3", "Recipe.__init__() got an unexpected keyword argument 'epochs'"),
        (
            "[network]\nnetwork = 'pool'\nmembers = [3]\nweights = [1.0]",
            "3 is no config: it has no field named network",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(path, text, message):
    assert refusal(path, text) == message


def test_a_file_that_is_no_toml_or_no_utf_8_is_named(path):
    assert refusal(path, "[network").startswith("Expected ']' at the end of a table declaration")
    path.write_bytes(b"# \xff\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        read_config(path)
    assert str(caught.value) == (
        f"{path}: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte"
    )


def test_a_file_that_is_not_there_is_an_error_of_the_system(path):
    with pytest.raises(FileNotFoundError) as caught:
        read_config(path)
    assert caught.value.filename == str(path)


# on the command line


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def test_a_run_is_trained_as_a_file_says_and_flags_come_before_it(capsys, tmp_path, words, path):
    path.write_text(SMALL, encoding="utf-8")
    config, recipe = read_config(path)
    flags = ["--config", path, "--json"]
    prints(capsys, "train", words, *flags, "--out", tmp_path / "a")
    record = read_record(tmp_path / "a")
    assert (record.config, record.recipe) == (config, recipe)
    assert record.facts["name"] == "some"
    flags = ["--steps", "2", *flags, "--n-embd=2"]
    prints(capsys, "train", words, *flags, "--out", tmp_path / "b")
    record = read_record(tmp_path / "b")
    assert record.config == dataclasses.replace(config, n_embd=2)
    assert record.recipe == dataclasses.replace(recipe, steps=2)


def test_the_config_of_a_run_gives_the_same_run(capsys, tmp_path, words, path):
    path.write_text(SMALL, encoding="utf-8")
    prints(capsys, "train", words, "--config", path, "--seed", "9", "--out", tmp_path / "a")
    again = tmp_path / "a" / "config.toml"
    prints(capsys, "train", words, "--config", again, "--out", tmp_path / "b")
    one, other = (read_record(tmp_path / name) for name in "ab")
    assert one.losses == other.losses
    assert again.read_bytes() == (tmp_path / "b" / "config.toml").read_bytes()


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_printed_can_be_read_and_is_the_preset(capsys, path, preset):
    path.write_text(prints(capsys, "train", "--preset", preset, "--print_config"))
    assert read_config(path) == PRESETS[preset]
    assert prints(capsys, "train", "--config", path, "--print-config") == path.read_text()


def test_printing_a_config_trains_nothing_and_flags_are_in_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = prints(capsys, "train", "--print_config", "--epochs", "7", "--network", "flat")
    config, recipe = PRESETS["flat"]
    assert config_from(tomllib.loads(text)) == (config, dataclasses.replace(recipe, epochs=7))
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_a_file_can_be_inspected(capsys, path):
    path.write_text(SMALL, encoding="utf-8")
    shown = prints(capsys, "inspect", "--config", path, "--vocab_size", "9")
    flags = ["--context", "4", "--n_embd", "3", "--n_hidden", "5", "--vocab_size", "9"]
    assert prints(capsys, "inspect", *flags) == shown


def test_a_file_and_a_preset_are_one_too_many(capsys, path, words):
    path.write_text(SMALL, encoding="utf-8")
    assert fails(capsys, "train", words, "--config", path, "--preset", "demo") == (
        "--config and --preset both say where the defaults come from; name one"
    )


def test_a_file_that_is_wrong_or_not_there_is_one_line(capsys, path, words, tmp_path):
    assert fails(capsys, "train", words, "--config", path, "--out", tmp_path / "run") == (
        f"{path}: No such file or directory"
    )
    path.write_text("[recipe]\nsteps = 0\n")
    assert fails(capsys, "train", words, "--config", path, "--out", tmp_path / "run") == (
        f"{path}: steps is 0, but has to be at least 1"
    )
    assert not (tmp_path / "run").exists()
