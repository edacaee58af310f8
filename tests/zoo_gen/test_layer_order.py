"""In which order the layers of a file are chained, and when that is refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_gen.exchange.imports.layers import layout_of


def layers(*shapes: tuple[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    """Weights and biases by the name of each layer."""
    return [
        entry
        for name, shape in shapes
        for entry in ((f"{name}.bias", shape[:1]), (f"{name}.weight", shape))
    ]


AUTOENCODER = layers(  # 64-16-2 and back, in the alphabetical order of a safetensors file
    *(("decoder.0", (16, 2)), ("decoder.2", (64, 16))),
    *(("encoder.0", (16, 64)), ("encoder.2", (2, 16))),
)
BUILT = [AUTOENCODER[i] for i in (4, 5, 6, 7, 0, 1, 2, 3)]  # as a .pth file has it

ONE_ORDER = {
    "names in another order": layers(("a", (3, 2)), ("b", (1, 9)), ("c", (9, 3))),
    "head and body": layers(("head", (10, 6)), ("body", (6, 12))),
    "layers with a head": layers(
        ("head", (1, 8)), *((f"layers.{k}", (8, 8)) for k in range(12)), ("stem", (8, 2))
    ),
    "ten before nine": layers(*((f"net.{k}", (4, 4)) for k in (10, 9, 0))),
    "convolutions, then linear": layers(
        ("fc", (5, 12)), ("conv2", (4, 3, 3, 3)), ("conv1", (3, 1, 3, 3))
    ),
}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("names in another order", "2-3-9-1"),
        ("head and body", "12-6-10"),
        ("layers with a head", "2-" + "8-" * 13 + "1"),
        ("ten before nine", "4-4-4-4"),
        ("convolutions, then linear", "conv 3x3 1>3, conv 3x3 3>4, linear 12>5"),
    ],
)
def test_the_one_order_that_chains_is_taken(case: str, expected: str) -> None:
    assert str(layout_of(ONE_ORDER[case], by_name=True)) == expected


def test_numbers_in_names_decide_among_equal_layers() -> None:
    layout = layout_of(ONE_ORDER["ten before nine"], by_name=True)
    weights = [piece.name for piece in layout.pieces if piece.name.endswith("weight")]
    assert weights == ["net.0.weight", "net.9.weight", "net.10.weight"]


def test_the_order_of_the_file_decides_where_it_has_one() -> None:
    assert str(layout_of(BUILT)) == "64-16-2-16-64"


def test_several_orders_are_refused_and_listed() -> None:
    with pytest.raises(ValueError, match=r"several orders: .*2-16-64-16-2.* or .*64-16-2-16-64"):
        layout_of(AUTOENCODER, by_name=True)


def test_a_given_order_decides() -> None:
    order = ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]
    assert str(layout_of(AUTOENCODER, by_name=True, order=order)) == "64-16-2-16-64"


def test_a_given_order_names_every_layer() -> None:
    with pytest.raises(ValueError, match=r"--order names the layers encoder\.0; expected each of"):
        layout_of(AUTOENCODER, order=["encoder.0"])


@given(st.lists(st.integers(1, 3), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_an_order_is_taken_only_where_no_other_chains(widths: list[int], random: object) -> None:
    """Against trying all permutations of up to five layers."""
    shapes = [(b, a) for a, b in itertools.pairwise(widths)]
    named = [(f"{chr(97 + k)}x", shape) for k, shape in enumerate(shapes)]
    random.shuffle(named)  # type: ignore[attr-defined]
    chaining = [
        order
        for order in itertools.permutations(named)
        if all(a[1][0] == b[1][1] for a, b in itertools.pairwise(order))
    ]
    if len(chaining) > 1:
        with pytest.raises(ValueError, match="several orders"):
            layout_of(layers(*named), by_name=True)
    else:
        layout = layout_of(layers(*named), by_name=True)
        assert list(layout.space.widths) == [chaining[0][0][1][1], *(s[0] for _, s in chaining[0])]
