"""Weight spaces and the networks that respect their symmetry.

A weight space is a set of named tensors over named axes; hidden axes may be permuted without
changing what a network computes. Every layer here commutes with those permutations, and every
linear map that does is in the reach of `EquivariantLinear`. Needs torch alone; `align` and `match`
need SciPy too.
"""

from dws.align import align, match
from dws.attention import SetAttention
from dws.augment import (
    add_noise,
    drop_quantile,
    drop_weights,
    mixup,
    rotate,
    translate,
    zoom,
)
from dws.basis import Block, Term, blocks, dimension, invariant_dimension, terms
from dws.canonical import Canonical, canonical_relu, canonical_sine
from dws.encode import FourierFeatures, PositionalEncoding, ProbeFeatures, Projection
from dws.evaluate import forward
from dws.group import Permutation, act, compose, inverse, random_permutation
from dws.linear import EquivariantLinear, InvariantLinear
from dws.model import DWSNet
from dws.space import Features, WeightSpace
from dws.standardize import Standardize
from dws.symmetries import flip_signs, permute, rescale, shift_phases

__all__ = [
    "Block",
    "Canonical",
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
    "add_noise",
    "align",
    "blocks",
    "canonical_relu",
    "canonical_sine",
    "compose",
    "dimension",
    "drop_quantile",
    "drop_weights",
    "flip_signs",
    "forward",
    "invariant_dimension",
    "inverse",
    "match",
    "mixup",
    "permute",
    "random_permutation",
    "rescale",
    "rotate",
    "shift_phases",
    "terms",
    "translate",
    "zoom",
]
