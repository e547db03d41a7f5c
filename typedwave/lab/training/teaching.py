"""A teacher: more words to train on, and the chances of every next character."""

from collections.abc import Sequence

import torch
from torch import Tensor

from typedwave.lab.evaluation import evaluating
from typedwave.lab.sampling import sample
from typedwave.lab.words.corpus import Vocabulary
from typedwave.lab.words.sequences import Sequences, sequences
from typedwave.models import SequenceModel

__all__ = ["taught"]

_AT_ONCE = 1_024  # words


def taught(
    teacher: SequenceModel,
    words: Sequence[str],
    vocabulary: Vocabulary,
    *,
    sampled: int,
    generator: torch.Generator,
) -> Sequences:
    """The words, and as many drawn from a teacher, with the teacher's chances of what comes next.

    Args:
        teacher: Of the vocabulary.
        words: To train on.
        vocabulary: Of the words.
        sampled: How many words are drawn; those that are empty, or longer than all of ``words``,
            are left away.
        generator: Of the draws.

    Returns:
        The words, then those drawn, with chances in float16, which are zeros at padding: 200 MB
        for 225,000 names.

    Raises:
        ValueError: The teacher is of another vocabulary.

    Source:
        Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Kim and Rush,
        "Sequence-Level Knowledge Distillation" (2016), for the words drawn.
    """
    if teacher.vocab_size != len(vocabulary):
        raise ValueError(
            f"the teacher is for {teacher.vocab_size} ids, but the vocabulary has {len(vocabulary)}"
        )
    longest = max(map(len, words), default=0)
    drawn = sample(teacher, vocabulary, sampled, generator=generator)
    drawn = [word for word in drawn if 0 < len(word) <= longest]
    together = [*words, *drawn]
    # Many of them are there twice or more, and the teacher is asked once.
    places = {word: place for place, word in enumerate(dict.fromkeys(together))}
    found = sequences([*places], vocabulary)
    chances = torch.zeros(*found.ids.shape, len(vocabulary), dtype=torch.float16)
    with evaluating(teacher):
        for rows in torch.split(found.lengths.argsort(stable=True), _AT_ONCE):
            part = found.rows(rows)
            said: Tensor = torch.softmax(teacher(part.ids), dim=-1)
            chances[rows, : part.ids.shape[1]] = (said * part.counted[..., None]).half()
    rows = torch.tensor([places[word] for word in together])
    return Sequences(found.ids, found.targets, chances).rows(rows)
