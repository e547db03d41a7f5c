"""A run from Python; the command line tries all else that it does."""

import json

import pytest
from tiny_networks import WORDS

from typedwave.lab import CountingRecipe, PoolRecipe, Run, WordsRecipe
from typedwave.models import NGramConfig, PoolConfig, RecurrentConfig

CONFIG, RECIPE = RecurrentConfig(n_embd=2, n_hidden=3), WordsRecipe(epochs=1, batch_size=4)
POOL = PoolConfig(members=(CONFIG, NGramConfig(order=3)), weights=(0.5, 0.5))
RECIPES = PoolRecipe(recipes=(RECIPE, CountingRecipe()))


def test_one_call_trains_a_pool_with_all_its_members_and_says_nothing(capsys, tmp_path):
    record = Run(tmp_path, WORDS, corpus="words").train(POOL, RECIPES, "both")
    assert capsys.readouterr() == ("", "")
    assert record["interrupted"] is False
    written = json.loads((tmp_path / "run.json").read_text())
    as_written = json.loads(json.dumps(record))
    assert {name: as_written[name] for name in written} == written
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1-gru",
        "2-ngram",
        "checkpoint.safetensors",
        "run.json",
        "samples.txt",
    ]


def test_what_is_said_is_told_line_by_line(tmp_path):
    said = []
    Run(tmp_path, WORDS, corpus="words", say=said.append).train(
        NGramConfig(order=2), CountingRecipe(), "pairs"
    )
    assert said[0] == "pairs: ngram network, 0 parameters, 1 step"
    assert len(said) == 2


@pytest.mark.parametrize(("config", "recipe"), [(POOL, RECIPE), (CONFIG, RECIPES)])
def test_the_recipe_of_a_pool_is_for_pools_only(tmp_path, config, recipe):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        Run(tmp_path, WORDS, corpus="words").train(config, recipe, "wrong")
    assert str(caught.value) == "a PoolRecipe is for a pool, and a pool for a PoolRecipe"
    assert not any(tmp_path.iterdir())
