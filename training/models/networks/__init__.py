"""What DWSNets are compared with: networks on weights that know little or nothing of symmetry."""

from training.models.networks.flat_mlp import FlatMLP
from training.models.networks.inr2vec import Inr2Vec
from training.models.networks.statistics import Statistics
from training.models.networks.transformer import Transformer

__all__ = ["FlatMLP", "Inr2Vec", "Statistics", "Transformer"]
