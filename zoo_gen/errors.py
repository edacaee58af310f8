"""The errors a user can meet. Each message says what came, what was expected, what to do.

DwszooError             exit status 1: it failed
+-- ConfigError         exit status 2: a key, value or option is wrong
+-- SourceError         the signals, or networks to import, are missing or malformed
+-- StorageError        the root cannot be read or written
+-- ZooError            a zoo is missing, incomplete or of another recipe
|   +-- CorruptShard    a shard cannot be trusted; names it
+-- EngineError         Ray could not start or lost a task for good
+-- TrainingError       the data or settings admit no training
+-- TrackingError       the MLflow store cannot be reached
+-- ModelError          a trained model is missing, damaged, or reads other networks
"""

from __future__ import annotations


class DwszooError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(DwszooError, ValueError):
    """A configuration key, value or option is wrong. Begins with the key, as its owner knows it."""


class SourceError(DwszooError):
    """The signals, or networks to import, are missing or malformed."""


class StorageError(DwszooError):
    """The root cannot be read or written."""


class ZooError(DwszooError):
    """A zoo is missing, incomplete or made by another recipe."""


class CorruptShard(ZooError):
    """A shard's bytes do not hold what they should."""


class EngineError(DwszooError):
    """Ray could not be started, or a task was lost for good."""


class TrainingError(DwszooError):
    """The data or settings admit no training."""


class TrackingError(DwszooError):
    """The MLflow store cannot be reached."""


class ModelError(DwszooError):
    """A trained model is missing, damaged, or reads other networks than those that came."""
