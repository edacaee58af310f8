"""Weight spaces and the networks that respect their symmetry.

A weight space is a set of named tensors over named axes; hidden axes may be permuted without
changing what a network computes. Every layer here commutes with those permutations, and every map
that does is in its reach. Needs torch alone.
"""

from dws.attention import SetAttention
from dws.basis import Block, Term, blocks, dimension, invariant_dimension, terms
from dws.encode import FourierFeatures, PositionalEncoding, ProbeFeatures, Projection
from dws.evaluate import forward
from dws.group import Permutation, act, compose, inverse, random_permutation
from dws.linear import EquivariantLinear, InvariantLinear
from dws.model import DWSNet
from dws.space import Features, WeightSpace
from dws.standardize import Standardize

__all__ = [
    "Block",
    "DWSNet",
    "EquivariantLinear",
    "Features",
    "FourierFeatures",
    "InvariantLinear",
    "Permutation",
    "PositionalEncoding",
    "ProbeFeatures",
    "Projection",
    "SetAttention",
    "Standardize",
    "Term",
    "WeightSpace",
    "act",
    "blocks",
    "compose",
    "dimension",
    "forward",
    "invariant_dimension",
    "inverse",
    "random_permutation",
    "terms",
]
