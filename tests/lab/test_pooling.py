import dataclasses
import json

import pytest
import torch
from tiny_networks import EVERY, POOL, VOCABULARY, WORDS, made

from typedwave.lab.checkpoint import Checkpoint, load_checkpoint
from typedwave.lab.corpus import Vocabulary, split
from typedwave.lab.experiment import losses_of
from typedwave.lab.pooling import pooled, save_pool
from typedwave.lab.recipe import CountingRecipe, PoolRecipe, Recipe, WordsRecipe
from typedwave.models import NGram, Pool, PoolConfig, sequence_model, size_of

RECIPE = PoolRecipe(
    recipes=(Recipe(steps=3), CountingRecipe(), WordsRecipe(epochs=1, batch_size=4)), seed=7
)


def members(vocabulary: Vocabulary = VOCABULARY) -> list[Checkpoint]:
    return [
        Checkpoint(made(config, seed=number, vocabulary=vocabulary), vocabulary)
        for number, config in enumerate(POOL.members)
    ]


def test_the_pool_has_the_weighted_logarithms_of_its_members_and_is_in_eval_mode():
    found, ids = pooled(members(), POOL), torch.randint(len(VOCABULARY), (3, 6))
    assert isinstance(found.network, Pool)
    assert found.network.config == POOL
    assert found.vocabulary == VOCABULARY
    assert not any(module.training for module in found.network.modules())
    with torch.no_grad():
        logits = [sequence_model(member.network).eval()(ids) for member in members()]
        expected = sum(
            weight * torch.log_softmax(each, -1)
            for weight, each in zip(POOL.weights, logits, strict=True)
        )
        torch.testing.assert_close(found.network(ids), expected)


def test_members_of_two_vocabularies_are_refused():
    checkpoints = members()
    other = Vocabulary(tuple("bcdefghijkl"))
    checkpoints[1] = dataclasses.replace(checkpoints[1], vocabulary=other)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        pooled(checkpoints, POOL)
    assert str(caught.value) == "the members of a pool need one vocabulary, but theirs differ"


@pytest.mark.parametrize(
    "config",
    [
        PoolConfig(members=POOL.members[::-1], weights=POOL.weights),
        PoolConfig(members=POOL.members[:2], weights=POOL.weights[:2]),
        PoolConfig(members=(*POOL.members[:2], EVERY["lstm"]), weights=POOL.weights),
    ],
)
def test_networks_that_are_not_those_of_the_config_are_refused(config):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        pooled(members(), config)
    assert str(caught.value) == (
        "the networks are not the members that the config of the pool describes"
    )


def test_no_networks_are_refused():
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        pooled([], POOL)
    assert str(caught.value) == "a pool needs a member"


def test_a_pool_is_saved_with_its_record_and_loaded_with_the_same_losses(tmp_path):
    checkpoint = pooled(members(), POOL)
    record = save_pool(tmp_path, checkpoint, WORDS, RECIPE, corpus="friends")
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint.safetensors", "run.json"}
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(record)
    )
    loaded = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert loaded.vocabulary == VOCABULARY
    assert loaded.network.config == POOL
    splits = split(WORDS)
    assert losses_of(loaded.network, VOCABULARY, splits) == record["losses"]
    assert record["corpus"] == "friends"
    assert record["recipe"] == dataclasses.asdict(RECIPE)
    assert record["network"] == dataclasses.asdict(POOL)
    assert record["examples"]["train"] == sum(len(word) + 1 for word in splits.train)
    parameters = sum(p.numel() for p in checkpoint.network.parameters())
    assert record["parameters"] == parameters
    grams = [m for m in checkpoint.network.modules() if isinstance(m, NGram)]
    assert size_of(checkpoint.network) == parameters + grams[0].num_counts
