"""Spaces of any module: the symmetry that is found is the one that a person would write down."""

import copy
import json
import pickle
import re
import warnings

import pytest
import torch
from architectures import (
    AddedInPlace,
    Attention,
    AttentionBlock,
    Branches,
    Broadcast,
    CalledOnTwo,
    CalledTwice,
    DenseNet,
    ElmanByHand,
    Encoder,
    FlattenedRows,
    Gated,
    Generator,
    Gpt,
    Grouped,
    InAList,
    LastState,
    Learned,
    LstmByHand,
    PartialResidual,
    PooledHeads,
    Recurrent,
    ResidualMlp,
    ResNet,
    TwiceItself,
    UNet,
    Unknown,
    Vit,
)
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from dws import WeightSpace, act, forward, random_permutation
from dws.describe import group
from dws.joining import RULES

IMAGES, IMAGE, VECTORS = (2, 3, 8, 8), (2, 1, 4, 4), (5, 3)
SEQUENCE = (2, 5, 3)

# module -> (module, shape of its input, its spec): a letter per hidden axis, "." per fixed one,
# after each tensor in the order of the flat vector; "c<b" where c is nested in b
SPECS = {
    "an MLP with a batch norm": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
        VECTORS,
        "a. a  a a  .a .  a a",
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)),
        VECTORS,
        "a. a  a a  .a .",
    ),
    "a PReLU of each neuron": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.Linear(4, 2)),
        VECTORS,
        "a. a  a  .a .",
    ),
    "a residual MLP": (ResidualMlp, VECTORS, "a. a  .a .  ba b ab a  ca c ac a"),
    "a residual CNN with batch norms": (
        ResNet,
        IMAGES,
        # conv1 bn1; block 0: conv1 bn1 conv2 bn2; block 1 with a shortcut; fc; running statistics
        "a.. a a  ba. b b ab. a a  ca. c c dc. d d da d d  .d .  a a b b a a c c d d d d",
    ),
    "an Elman RNN": (lambda: Recurrent(nn.RNN), SEQUENCE, "a. aa a a  .a ."),
    "a GRU": (lambda: Recurrent(nn.GRU), SEQUENCE, ".a. .aa .a .a  .a ."),
    "an LSTM": (lambda: Recurrent(nn.LSTM), SEQUENCE, ".a. .aa .a .a  .a ."),
    "an LSTM with a projection": (
        lambda: Recurrent(nn.LSTM, proj_size=3),
        SEQUENCE,
        ".a. .ab .a .a ba  .b .",
    ),
    "an LSTM both ways": (
        lambda: Recurrent(nn.LSTM, bidirectional=True),
        SEQUENCE,
        ".a. .aa .a .a  .b. .bb .b .b  .a .b .",
    ),
    "two layers, the last state": (
        LastState,
        SEQUENCE,
        ".a. .aa .a .a  .ba .bb .b .b  .b .",
    ),
    "a recurrent network by hand": (ElmanByHand, SEQUENCE, "a. a aa a  .a ."),
    "an LSTM by hand": (LstmByHand, SEQUENCE, ".a. .a .aa  .a ."),
    "nn.MultiheadAttention": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        [(2, 5, 8)] * 3,
        ".hd. he. .hd he  .he .  d<h e<h",
    ),
    "attention by hand, one matrix": (Attention, (2, 5, 8), ".hd. he. .hd he  .he .  d<h e<h"),
    "attention by hand, three": (
        AttentionBlock,
        (2, 4, 5),
        "hd. hd  hd. hd  he. he  .he .  d<h e<h",
    ),
    "nn.TransformerEncoderLayer": (
        Encoder,
        SEQUENCE,
        "a. a  .hda hea .hd he ahe a  ba b ab a  a a a a  .a .  d<h e<h",
    ),
    "a ViT": (
        lambda: Vit(depth=1),
        IMAGES,
        "a .a a.. a  a a a a .hda hea .hd he ahe a ba b ab a  a a .a .  d<h e<h",
    ),
    "a GPT": (
        lambda: Gpt(depth=1),
        "tokens",
        ".a .a  a a a a .hda hea .hd he ahe a ba b ab a  a a  d<h e<h",
    ),
    "gates in one matrix": (Gated, VECTORS, "a. a  a a  .ba .b ."),
    "groups": (
        Grouped,
        IMAGES,
        "ga. ga  ga. ga  gbca. gbc gbc gbc  .gbc .  a<g b<g c<g",
    ),
    "a generator": (Generator, VECTORS, "a.. a.  ab. b  b.. ."),
    "a U-Net": (
        UNet,
        (1, 1, 8, 8),
        "a.. a  ba. b cb. c  cd. d ef. f  eb. ed. e ga. gf. g  .g .",
    ),
    "a dense net": (
        DenseNet,
        IMAGE,
        "a.. a  a a  a b a b  a b c a b c  ba. b  ca. cb. c  da. db. dc. d  .a .b .c .d ."
        "  a a  a b a b  a b c a b c",
    ),
    # what breaks tools that derive coupling
    "one channel times many": (Broadcast, IMAGE, "a.. a  .a .  .a ."),
    "joined to itself": (TwiceItself, VECTORS, "a. a  ..a ."),
    "joined branches": (Branches, IMAGE, "a. a  b.. b  ca cb c  .c ."),
    "a parameter list": (InAList, VECTORS, "a. a .a"),
    "heads with one pooling": (
        PooledHeads,
        SEQUENCE,
        "a. a  .hda hea .hd he  .he .  d. d  e<h",
    ),
    "a module called twice": (CalledTwice, VECTORS, "a. a aa a .a ."),
    "a module that reads two": (CalledOnTwo, VECTORS, "a. a a. a ba b .b ."),
    "a partial residual": (PartialResidual, IMAGE, "a.. a  aa. ba. a b  .a .b ."),
    "a part added in place": (AddedInPlace, IMAGE, "a.. a  aa. ba. a b  .a .b ."),
    "one axis flattened": (FlattenedRows, IMAGE, "a.. a  ba. b  .b ."),
    "control flow that depends on data": (Learned, VECTORS, "a. a .a ."),
}
cases = pytest.mark.parametrize("case", SPECS)


def made(case):
    torch.manual_seed(0)
    make, shape, spec = SPECS[case]
    if shape == "tokens":
        inputs = [torch.randint(0, 11, (2, 6))]
    else:
        inputs = [torch.randn(s) for s in (shape if isinstance(shape, list) else [shape])]
    return make(), inputs, spec


def canonical(words, nested):
    """The spec with its letters in the order in which they come, and the nesting in these."""
    letters = {}
    for letter in "".join(words).replace(".", ""):
        letters.setdefault(letter, f"<{len(letters)}>")
    renamed = [re.sub(r"[^.]", lambda m: letters[m[0]], w) for w in words]
    return renamed, {(letters[c], letters[p]) for c, p in nested}


def spec_of(space):
    letter = {a: chr(0x4E00 + k) for k, a in enumerate(space.hidden)}
    words = ["".join(letter.get(a, ".") for a in axes) for axes in space.axes.values()]
    return canonical(words, {(letter[c], letter[p]) for c, p in space.parents.items()})


@cases
def test_the_symmetry_is_the_one_written_by_hand(case):
    module, inputs, spec = made(case)
    words = spec.split()
    nested = {tuple(w.split("<")) for w in words if "<" in w}
    expected = canonical([w for w in words if "<" not in w], nested)
    assert spec_of(WeightSpace.from_module(module, *inputs)) == expected


@cases
def test_other_weights_of_the_same_function(case):
    """An oracle apart from the derivation's own check: the module with permuted weights."""
    module, inputs, _ = made(case)
    module = module.double().eval()
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    space = WeightSpace.from_module(module, *inputs)
    theta = space.vector(module) + 0.05 * torch.randn(space.size, dtype=torch.float64).abs()
    space.load(module, theta)
    assert torch.equal(space.vector(module), theta)
    before = module(*inputs)
    g = random_permutation(space, torch.Generator().manual_seed(1))
    permuted = space.flatten(act(space, g, space.split(theta[None])))[0]
    assert not torch.equal(permuted, theta)
    space.load(module, permuted)
    after = module(*inputs)
    for a, b in zip(*((t if isinstance(t, tuple) else (t,)) for t in (before, after)), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", [c for c in SPECS if c != "control flow that depends on data"])
def test_many_networks_are_run_at_once(case):
    module, inputs, _ = made(case)
    module = module.eval()
    space = WeightSpace.from_module(module, *inputs)
    theta = space.vector(module) + 0.05 * torch.rand(3, space.size)
    out = forward(space, theta, tuple(x[None] for x in inputs))
    first = out[0] if isinstance(out, tuple) else out
    for k in range(3):
        space.load(module, theta[k])
        one = module(*inputs)
        one = one[0] if isinstance(one, tuple) else one
        torch.testing.assert_close(first[k], one, rtol=1e-4, atol=1e-5)


@cases
def test_split_and_flatten_are_inverses_in_the_order_of_torch(case):
    module, inputs, _ = made(case)
    space = WeightSpace.from_module(module, *inputs)
    theta = space.vector(module)
    own = parameters_to_vector(module.parameters())
    assert torch.equal(theta[: len(own)], own)
    assert torch.equal(space.flatten(space.split(theta[None]))[0], theta)


@pytest.mark.parametrize("case", ["a residual CNN with batch norms", "a GPT", "a partial residual"])
def test_a_derived_space_survives_json_pickle_and_copies(case):
    module, inputs, _ = made(case)
    space = WeightSpace.from_module(module, *inputs)
    data = json.loads(json.dumps(space.to_dict(), sort_keys=True))
    theta = space.vector(module)[None]
    for other in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert other == space
        assert torch.equal(
            forward(other, theta, inputs[0][None]), forward(space, theta, inputs[0][None])
        )
    read = WeightSpace.from_dict(data)
    assert read == space
    assert torch.equal(read.vector(module), theta[0])
    assert read.origin.reasons == space.origin.reasons
    with pytest.raises(ValueError, match="cannot be run"):
        forward(read, theta, inputs[0][None])


# --- reports --------------------------------------------------------------------------------------


def test_what_is_fixed_is_reported_with_the_reason():
    module, inputs, _ = made("a GPT")
    text = WeightSpace.from_module(module, *inputs).describe()
    assert "group: S_8 x ((S_4 x S_4) wr S_2) x S_10" in text
    assert re.search(r"tokens_index +11: embedding in tokens", text)
    text = WeightSpace.from_module(ResidualMlp(), torch.zeros(VECTORS)).describe()
    assert re.search(r"first_in +3: input", text)
    assert re.search(r"last_out +2: output", text)


def test_an_unknown_operation_fixes_what_it_touches_and_is_named_once():
    with pytest.warns(UserWarning, match=r"'fft_fft' is an operation without a rule") as caught:
        space = WeightSpace.from_module(Unknown(), torch.zeros(VECTORS))
    assert len(caught) == 1
    assert spec_of(space) == canonical(["..", ".", "a.", "a", ".a", "."], set())
    assert space.origin.reasons["a_out"] == "unknown operation fft_fft"


def test_known_modules_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in ("a ViT", "a U-Net", "an LSTM"):
            module, inputs, _ = made(case)
            WeightSpace.from_module(module, *inputs)


# --- the check ------------------------------------------------------------------------------------


class Ordered(nn.Module):
    """The order of the hidden neurons matters to one operation."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).cumsum(1))


def test_a_wrong_rule_is_caught_and_named(monkeypatch):
    assert WeightSpace.from_module(Ordered(), torch.zeros(VECTORS)).hidden == ()
    monkeypatch.setitem(RULES, "cumsum", RULES["contiguous"])
    with pytest.raises(ValueError, match=r"axis a of a_weight, a_bias, b_weight: .*cumsum"):
        WeightSpace.from_module(Ordered(), torch.zeros(VECTORS))


def test_a_module_that_is_random_is_refused():
    class Noisy(Ordered):
        def forward(self, x):
            return self.b(self.a(x) + torch.rand(4))

    with pytest.raises(ValueError, match="Noisy: its outputs differ from run to run"):
        WeightSpace.from_module(Noisy(), torch.zeros(VECTORS))


def test_fresh_norms_do_not_hide_an_error(monkeypatch):
    """A batch norm of ones and zeros is the same in any order: the check must not be fooled."""

    def forgets(walk, x, *_):
        return x

    monkeypatch.setitem(RULES, "batch_norm", forgets)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"axis layer_0 of .*: permuting it changes the outputs"):
        WeightSpace.from_module(module, torch.zeros(VECTORS))


def test_the_module_is_left_as_it_was():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    torch.manual_seed(3)
    space = WeightSpace.from_module(module, torch.randn(VECTORS))
    assert torch.rand(1).item() == drawn_after_inputs()
    assert module.training
    assert module[1].training
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
    assert all(p.requires_grad for p in module.parameters())
    assert space.origin.module is not module


def drawn_after_inputs():
    torch.manual_seed(3)
    torch.randn(VECTORS)
    return torch.rand(1).item()


def test_a_module_of_another_size_is_refused():
    space = WeightSpace.from_module(ResidualMlp(), torch.zeros(VECTORS))
    with pytest.raises(ValueError, match=r"ResidualMlp has 264 weights, .* has 180"):
        space.vector(ResidualMlp(width=9))
    with pytest.raises(ValueError, match=r"expected weights \[\d+\]"):
        space.load(ResidualMlp(), torch.zeros(3))


def test_a_chain_of_layers_keeps_its_names():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert WeightSpace.from_module(module, torch.zeros(VECTORS)) == WeightSpace.mlp([3, 4, 2])


# --- operations, one at a time --------------------------------------------------------------------

# f between two linear layers of 6 neurons, and the group that it leaves
OPERATIONS = {
    "softmax": (lambda x: x.softmax(1), "S_6"),
    "layer norm": (lambda x: F.layer_norm(x, (6,)), "S_6"),
    "normalised": (lambda x: F.normalize(x, dim=1), "S_6"),
    "the mean taken off": (lambda x: x - x.mean(1, keepdim=True), "S_6"),
    "variance": (lambda x: x * x.var(1, keepdim=True), "S_6"),
    "largest": (lambda x: x / x.amax(1, keepdim=True).abs(), "S_6"),
    "maximum with its place": (lambda x: x * x.max(1, keepdim=True)[0], "S_6"),
    "the place of the maximum": (lambda x: x * x.max(1, keepdim=True)[1], "trivial"),
    "argmax": (lambda x: x * x.argmax(1, keepdim=True), "trivial"),
    "sorted": (lambda x: x.sort(1)[0], "trivial"),
    "flipped": (lambda x: x.flip(1), "trivial"),
    "rolled": (lambda x: x.roll(1, 1), "trivial"),
    "cumulated": (lambda x: x.cumsum(1), "trivial"),
    "one neuron": (lambda x: x + x[:, :1], "S_5"),
    "one neuron selected": (lambda x: x * x[:, 2].unsqueeze(1), "S_2 x S_3"),
    "halves swapped": (lambda x: torch.cat([x[:, 3:], x[:, :3]], 1), "S_3^2"),
    "halves added": (lambda x: torch.cat([x[:, 3:] + x[:, :3], x[:, :3]], 1), "S_3"),
    "chunks multiplied": (lambda x: torch.cat([*(a * x[:, :2] for a in x.chunk(3, 1))], 1), "S_2"),
    "every second": (lambda x: torch.stack([x[:, ::2], x[:, 1::2] ** 2], 2).flatten(1), "S_3"),
    "narrowed": (lambda x: torch.cat([x.narrow(1, 0, 4), x.narrow(1, 4, 2)], 1), "S_4 x S_2"),
    "unbound": (lambda x: torch.stack(x.unbind(1), 1), "trivial"),
    "stacked and taken apart": (lambda x: torch.stack([x, x.tanh()], 1).sum(1), "S_6"),
    "repeated": (lambda x: x.repeat(1, 2)[:, :6], "S_6"),
    "interleaved": (lambda x: x.repeat_interleave(2, 1).view(-1, 6, 2).mean(2), "S_6"),
    "expanded": (lambda x: x[:, None].expand(-1, 4, -1).mean(1), "S_6"),
    "padded": (lambda x: F.pad(x, (1, 2))[:, 1:7], "S_6"),
    "reflected": (lambda x: F.pad(x, (1, 1), "reflect")[:, 1:7], "trivial"),
    "rows of blocks": (lambda x: x.view(-1, 2, 3).softmax(2).flatten(1), "(S_3 wr S_2)"),
    "columns of blocks": (lambda x: x.view(-1, 2, 3).softmax(1).flatten(1), "(S_2 wr S_3)"),
    "both": (lambda x: x.view(-1, 2, 3).softmax(1).softmax(-1).flatten(1), "S_2 x S_3"),
    "transposed blocks": (lambda x: x.view(-1, 2, 3).mT.softmax(2).flatten(1), "(S_2 wr S_3)"),
    "an outer product": (lambda x: torch.einsum("bi,bj->bij", x, x).mean(2), "S_6"),
    "a quadratic form": (lambda x: x * torch.einsum("bi,bi->b", x, x)[:, None], "S_6"),
    "a Gram matrix": (lambda x: (x.mT @ x @ x.mT).mT, "S_6"),
    "over the batch": (lambda x: x - x.mean(0), "S_6"),
    "pooled": (lambda x: F.avg_pool1d(x[:, None], 3, 1, 1)[:, 0], "trivial"),
    "pooled as channels": (lambda x: F.adaptive_avg_pool1d(x[..., None], 1)[..., 0], "S_6"),
    "group norm": (lambda x: F.group_norm(x, 3), "(S_2 wr S_3)"),
    "instance norm": (lambda x: F.instance_norm(x[..., None].expand(-1, -1, 2)).mean(2), "S_6"),
    # what reads two copies of a neuron may swap them
    "gated": (lambda x: F.glu(x, 1).repeat(1, 2), "(S_2 wr S_3)"),
    "a constant of each": (lambda x: x + torch.arange(6), "trivial"),
    "a constant of all": (lambda x: x + torch.full((6,), 2.0), "S_6"),
    "the identity": (lambda x: x @ (torch.eye(6) + x.mT @ x), "S_6"),
    "a mask": (lambda x: x.masked_fill(x < 0, 0.5), "S_6"),
    "where": (lambda x: torch.where(x > 0, x, x.exp()), "S_6"),
    "in place": (lambda x: x.mul_(2).relu_().clamp_(0, 1), "S_6"),
    "written into zeros": (lambda x: written(x), "S_4 x S_2"),
    "attention among neurons": (
        lambda x: F.scaled_dot_product_attention(*[x[..., None]] * 3)[..., 0],
        "S_6",
    ),
    "channel shuffle": (
        lambda x: F.channel_shuffle(x[..., None, None], 2).flatten(1),
        "(S_3 wr S_2)",
    ),
    "pixel shuffle": (
        lambda x: F.pixel_shuffle(x.repeat_interleave(4, 1)[..., None, None], 2).mean((2, 3)),
        "S_6",
    ),
    "pixels shuffled": (
        lambda x: F.pixel_shuffle(x.view(-1, 6, 1, 1).expand(-1, -1, 2, 2), 1).mean((2, 3)),
        "S_6",
    ),
    "complex pairs": (
        lambda x: torch.view_as_real(torch.view_as_complex(x.view(-1, 3, 2)) * 1j).flatten(1),
        "S_3",
    ),
    "topk": (lambda x: x.topk(6, 1)[0], "trivial"),
    "looked up": (lambda x: x[:, torch.tensor([1, 0, 2, 3, 4, 5])], "trivial"),
}


def written(x):
    out = torch.zeros_like(x)
    out[:, :4] = x[:, :4]
    out[:, 4:] += x[:, 4:].tanh()
    return out


class Between(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f, self.a, self.b = f, nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(self.f(self.a(x)))


@pytest.mark.parametrize(("f", "expected"), OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_leaves_this_group(f, expected):
    torch.manual_seed(0)
    space = WeightSpace.from_module(Between(f), torch.randn(VECTORS))
    assert group(space) == expected
