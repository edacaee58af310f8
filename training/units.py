"""Words about the units of networks."""

from __future__ import annotations


def units(activation: str | None) -> str:
    """For messages: what units networks have, and what to do where that is not known."""
    if activation is None:
        return (
            "the activation of the networks is not known; import them again with --activation "
            "(and --w0 for sine)"
        )
    return f"the networks have {activation} units"
