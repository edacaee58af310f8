"""Models that a config can name: each a typed description that builds its network.

A new model is a file with a `Network`, and a line in `NETWORKS`; or in another package an entry
point of the group ``dwszoo.models`` (docs/extend-model.md).
"""

from training.models.base import Network
from training.models.dwsnet import DwsNetwork
from training.models.inr2vec import Inr2VecNetwork
from training.models.mlp import MlpNetwork
from training.models.references import FineTuneNetwork, UnchangedNetwork
from training.models.statistics import StatisticsNetwork
from training.models.transformer import TransformerNetwork
from zoo_gen.plugins import Kinds

NETWORKS = Kinds(
    "dwszoo.models",
    Network,
    DwsNetwork,
    MlpNetwork,
    Inr2VecNetwork,
    TransformerNetwork,
    StatisticsNetwork,
    UnchangedNetwork,
    FineTuneNetwork,
)
"""Every model that a config can name: kind -> class."""

__all__ = [
    "NETWORKS",
    "DwsNetwork",
    "FineTuneNetwork",
    "Inr2VecNetwork",
    "MlpNetwork",
    "Network",
    "StatisticsNetwork",
    "TransformerNetwork",
    "UnchangedNetwork",
]
