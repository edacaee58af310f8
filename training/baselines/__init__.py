"""What DWSNets are compared with: networks on weights that know little or nothing of symmetry."""

from training.baselines.flat_mlp import FlatMLP
from training.baselines.inr2vec import Inr2Vec
from training.baselines.statistics import Statistics
from training.baselines.transformer import Transformer

__all__ = ["FlatMLP", "Inr2Vec", "Statistics", "Transformer"]
