import pytest
from tiny_networks import seeded

from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.models import CONFIGS, NGramConfig, PoolConfig, build

LECTURE = ["demo", "lecture", "lecture-small", "lecture-flat", "lecture-flat-3"]


def parameters_of(name: str) -> int:
    network = build(PRESETS[name][0], vocab_size=27, generator=seeded(1))
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_presets_are_the_rows_of_the_lecture_and_a_short_one():
    assert {name: parameters_of(name) for name in LECTURE} == {
        "demo": 76_579,
        "lecture": 76_579,
        "lecture-small": 22_397,
        "lecture-flat": 22_097,
        "lecture-flat-3": 12_097,
    }
    for name in LECTURE:
        config, recipe = PRESETS[name]
        assert config.unbiased == name.startswith("lecture")
        assert config.context == (3 if name == "lecture-flat-3" else 8)
        assert config.output_scale == 0.1
        assert recipe == Recipe(
            steps=40_000 if name == "demo" else 200_000,
            batch_size=32,
            learning_rate=0.1,
            decay=0.1,
            decay_from=0.75,
            momentum=0.0,
            seed=42,
        )


def test_every_kind_of_network_but_a_pool_has_a_preset_of_its_name():
    for kind in CONFIGS.keys() - {"pool"}:
        assert PRESETS[kind][0].network == kind


@pytest.mark.parametrize("name", PRESETS)
def test_the_recipe_of_a_preset_is_for_its_network(name):
    config, recipe = PRESETS[name]
    match config:
        case NGramConfig():
            assert isinstance(recipe, CountingRecipe)
        case PoolConfig():
            assert isinstance(recipe, PoolRecipe)
            assert len(recipe.recipes) == len(config.members)
        case _:
            assert isinstance(recipe, Recipe if name in LECTURE else WordsRecipe)
            if isinstance(recipe, WordsRecipe):
                assert recipe.teacher in ("", *PRESETS)
