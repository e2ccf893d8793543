"""Everything that can be chosen by name."""

from typing import Final

from mmtrain.curricula.catalog import CURRICULA
from mmtrain.methods.catalog import METHODS
from mmtrain.models.catalog import ENCODERS, FUSIONS

CATALOGS: Final = (METHODS, CURRICULA, ENCODERS, FUSIONS)
