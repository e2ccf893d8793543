"""Everything that can be chosen by name."""

from collections.abc import Mapping
from typing import Final

from mmtrain.catalog import Catalog
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.methods.catalog import METHODS
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.tasks.catalog import TASKS

# Field of a config to the catalog that its names are from.
BY_CHOICE: Final[Mapping[str, Catalog[object]]] = {
    "method": METHODS,
    "curriculum": CURRICULA,
    "fusion": FUSIONS,
    "encoder": ENCODERS,
}
CATALOGS: Final = (METHODS, CURRICULA, ENCODERS, FUSIONS, TASKS)
