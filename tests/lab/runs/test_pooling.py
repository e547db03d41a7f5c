import dataclasses

import pytest
import torch
from tiny_networks import EVERY, POOL, VOCABULARY, made

from typedwave.lab.runs.checkpoint import Checkpoint
from typedwave.lab.runs.pooling import pooled
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import Pool, PoolConfig, sequence_model


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
