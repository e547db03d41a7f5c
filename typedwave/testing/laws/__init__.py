"""The laws, a file for each family."""

from typing import Final

from typedwave.testing.laws.batch import BATCH_LAWS
from typedwave.testing.laws.gradients import GRADIENT_LAWS
from typedwave.testing.laws.kinds import KIND_LAWS
from typedwave.testing.laws.law import Law, Untried
from typedwave.testing.laws.losses import LOSS_LAWS
from typedwave.testing.laws.masks import MASK_LAWS
from typedwave.testing.laws.saving import SAVING_LAWS
from typedwave.testing.laws.state import STATE_LAWS
from typedwave.testing.laws.time import TIME_LAWS

__all__ = ["LAWS", "Law", "Untried"]

LAWS: Final = {
    law.name: law
    for law in (
        *STATE_LAWS,
        *SAVING_LAWS,
        *BATCH_LAWS,
        *TIME_LAWS,
        *MASK_LAWS,
        *GRADIENT_LAWS,
        *KIND_LAWS,
        *LOSS_LAWS,
    )
}
"""Every law by its name, in the order in which they are tried."""
