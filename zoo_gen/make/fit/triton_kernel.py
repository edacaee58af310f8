"""The fused fit as a Triton kernel: one program fits one network, many steps in one launch.

A program keeps a tile of its points' activations and the gradients of its weights in registers;
the weights and moments of a network are some kilobytes, written and read once a step, and stay in
the caches of the chip. Widths are padded to a power of two N: what pads is zero and stays zero.

State of a member, `theta`, `mean` and `square` alike, float32:

    in       [4, N]           a row per input, the biases last
    hidden   [N + 1, N] each  [in, out], the biases last
    out      [4, N], [4]      a row per output; the biases

Import it where Triton is: it is the door to that library.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

SINE, RELU, TANH, GELU = (tl.constexpr(i) for i in range(4))
ROWS = tl.constexpr(4)  # of the first and the last layer: inputs and the bias, outputs


@triton.jit
def _mixed(x):
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def _sine(u):
    """Sine and cosine as in kernel.c; those of the device's library need many registers."""
    q = tl.floor(u * 0.318309886183790672 + 0.5)
    r = ((u - q * 3.140625) - q * 9.67502594e-4) - q * 1.50995799e-7
    r2 = r * r
    s = r2 * (-1.98111068e-4 + r2 * 2.60891834e-6)
    s = r + r * r2 * (-0.166666605 + r2 * 8.33308809e-3 + r2 * s)
    c = r2 * (2.47618784e-5 + r2 * -2.60769608e-7)
    c = 1.0 + r2 * (-0.499999995 + r2 * (0.0416666407 + r2 * (-1.38884034e-3 + c)))
    odd = (q.to(tl.int32) & 1) == 1
    return tl.where(odd, -s, s), tl.where(odd, -c, c)


@triton.jit
def _activation(z, w0, ACTIVATION: tl.constexpr):
    """f(z) and f'(z)."""
    if ACTIVATION == SINE:
        h, c = _sine(w0 * z)
        slope = w0 * c
    elif ACTIVATION == RELU:
        h, slope = tl.where(z < 0, 0.0, z), tl.where(z > 0, 1.0, 0.0)
    elif ACTIVATION == TANH:
        h = 1 - 2 / (tl.exp(2 * z) + 1)
        slope = 1 - h * h
    else:
        below = 0.5 * (1 + tl.erf(z * 0.7071067811865476))
        h, slope = z * below, below + z * 0.3989422804014327 * tl.exp(-0.5 * z * z)
    return h, slope


@triton.jit
def _hidden(h, weight, w0, N: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr):
    """A hidden layer above the first: ``[T, N]`` to its outputs, and their slope."""
    n = tl.arange(0, N)
    matrix = tl.load(weight + n[:, None] * N + n[None, :])
    z = tl.dot(h, matrix, input_precision=PRECISION) + tl.load(weight + N * N + n)[None, :]
    return _activation(z, w0, ACTIVATION)


@triton.jit
def _below(delta, weight, N: tl.constexpr, PRECISION: tl.constexpr):
    """The gradient below a hidden layer."""
    n = tl.arange(0, N)
    turned = tl.load(weight + n[None, :] * N + n[:, None])
    return tl.dot(delta, turned, input_precision=PRECISION)


@triton.jit
def _update(place, grad, theta, mean, square, a, b, rule, SCALED: tl.constexpr):
    """One step of the optimiser for the numbers at `place`; the letters of its table of rules."""
    w, m = tl.load(theta + place), tl.load(mean + place)
    g = grad + tl.load(rule) * w
    m = tl.load(rule + 1) * m + tl.load(rule + 2) * g
    tl.store(mean + place, m)
    if SCALED:
        v = tl.load(rule + 3) * tl.load(square + place) + tl.load(rule + 4) * (g * g)
        tl.store(square + place, v)
        m = m / (tl.sqrt(v) * b + tl.load(rule + 5))
    tl.store(theta + place, w - a * m)


@triton.jit
def fit_steps(
    members,  # int32 [programs]: which member each fits
    x_all,  # [points, IN]
    y_all,  # [all, points, OUT]
    theta_all,  # [all, SIZE], as mean and square
    mean_all,
    square_all,
    seeds,  # int32 [all, 2]: low and high half
    steps,  # int32 [all]: updates taken, written
    state,  # int32 [all]: 0 fitting, 1 done, 2 not finite; written
    factors,  # [steps, 2]
    rule,  # decay, keep, add, square, rest, epsilon
    points,
    drawn,
    first,
    last,
    w0,
    offset,
    target,
    SIZE: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    HIDDEN: tl.constexpr,
    ACTIVATION: tl.constexpr,
    CROSS: tl.constexpr,
    SCALED: tl.constexpr,
    RANDOM: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Steps `first` to `last` - 1 of these members; a member that has ended takes no more."""
    member = tl.load(members + tl.program_id(0)).to(tl.int64)
    theta, mean = theta_all + member * SIZE, mean_all + member * SIZE
    square, y = square_all + member * SIZE, y_all + member * points * OUT
    low = tl.load(seeds + 2 * member).to(tl.uint32, bitcast=True)
    high = tl.load(seeds + 2 * member + 1).to(tl.uint32, bitcast=True)
    n, rows = tl.arange(0, N), tl.arange(0, ROWS)
    block = N * N + N
    second, top = ROWS * N, ROWS * N + (HIDDEN - 1) * block
    flat = rows[:, None] * N + n[None, :]
    square_of = n[:, None] * N + n[None, :]
    state_now, taken = tl.load(state + member), tl.load(steps + member)
    for step in range(first, last):
        if state_now == 0:
            key = _mixed(low ^ _mixed(high ^ _mixed(taken.to(tl.uint32))))
            loss = 0.0
            grad_in = tl.zeros([ROWS, N], tl.float32)
            grad_out = tl.zeros([ROWS, N], tl.float32)
            grad_offset = tl.zeros([ROWS], tl.float32)
            grad_2, bias_2 = tl.zeros([N, N], tl.float32), tl.zeros([N], tl.float32)
            grad_3, bias_3 = grad_2, bias_2
            grad_4, bias_4 = grad_2, bias_2
            for start in range(0, drawn, T):
                t = start + tl.arange(0, T)
                here = t < drawn
                if RANDOM:
                    word = _mixed(key + t.to(tl.uint32) * 0x9E3779B9)
                    t = ((word.to(tl.uint64) * points) >> 32).to(tl.int32)
                z = tl.zeros([T, N], tl.float32) + tl.load(theta + 3 * N + n)[None, :]
                for d in tl.static_range(IN):
                    x = tl.load(x_all + t * IN + d, mask=here, other=0.0)
                    z += x[:, None] * tl.load(theta + d * N + n)[None, :]
                h1, s1 = _activation(z, w0, ACTIVATION)
                h = h1
                if HIDDEN > 1:
                    h2, s2 = _hidden(h1, theta + second, w0, N, ACTIVATION, PRECISION)
                    h = h2
                if HIDDEN > 2:
                    h3, s3 = _hidden(h2, theta + second + block, w0, N, ACTIVATION, PRECISION)
                    h = h3
                if HIDDEN > 3:
                    h4, s4 = _hidden(h3, theta + second + 2 * block, w0, N, ACTIVATION, PRECISION)
                    h = h4
                delta = tl.zeros([T, N], tl.float32)
                for o in tl.static_range(OUT):
                    weight = tl.load(theta + top + o * N + n)
                    out = tl.sum(h * weight[None, :], 1) + tl.load(theta + top + ROWS * N + o)
                    out += offset
                    goal = tl.load(y + t * OUT + o, mask=here, other=0.0)
                    if CROSS:
                        e = tl.exp(-tl.abs(out))
                        lost = tl.maximum(out, 0.0) + tl.log(1 + e) - goal * out
                        error = tl.where(out < 0, e, 1.0) / (1 + e) - goal
                    else:
                        error = out - goal
                        lost = error * error
                        error = 2 * error
                    loss += tl.sum(tl.where(here, lost, 0.0), 0)
                    error = tl.where(here, error, 0.0) / (drawn * OUT)
                    one = rows == o
                    row = tl.sum(h * error[:, None], 0)
                    grad_out += tl.where(one[:, None], row[None, :], 0.0)
                    grad_offset += tl.where(one, tl.sum(error, 0), 0.0)
                    delta += error[:, None] * weight[None, :]
                if HIDDEN > 3:
                    delta *= s4
                    grad_4 += tl.dot(tl.trans(h3), delta, input_precision=PRECISION)
                    bias_4 += tl.sum(delta, 0)
                    delta = _below(delta, theta + second + 2 * block, N, PRECISION)
                if HIDDEN > 2:
                    delta *= s3
                    grad_3 += tl.dot(tl.trans(h2), delta, input_precision=PRECISION)
                    bias_3 += tl.sum(delta, 0)
                    delta = _below(delta, theta + second + block, N, PRECISION)
                if HIDDEN > 1:
                    delta *= s2
                    grad_2 += tl.dot(tl.trans(h1), delta, input_precision=PRECISION)
                    bias_2 += tl.sum(delta, 0)
                    delta = _below(delta, theta + second, N, PRECISION)
                delta *= s1
                for d in tl.static_range(IN):
                    x = tl.load(x_all + t * IN + d, mask=here, other=0.0)
                    row = tl.sum(delta * x[:, None], 0)
                    grad_in += tl.where((rows == d)[:, None], row[None, :], 0.0)
                grad_in += tl.where((rows == 3)[:, None], tl.sum(delta, 0)[None, :], 0.0)
            loss = loss / (drawn * OUT)
            finite = (loss == loss) & (loss < float("inf"))
            state_now = tl.where(finite, tl.where(loss > target, 0, 1), 2)
            if state_now == 0:
                taken += 1
                a, b = tl.load(factors + 2 * step), tl.load(factors + 2 * step + 1)
                tl.debug_barrier()  # all have read what is written now
                _update(flat, grad_in, theta, mean, square, a, b, rule, SCALED)
                _update(top + flat, grad_out, theta, mean, square, a, b, rule, SCALED)
                last_row = top + ROWS * N + rows
                _update(last_row, grad_offset, theta, mean, square, a, b, rule, SCALED)
                if HIDDEN > 1:
                    _update(second + square_of, grad_2, theta, mean, square, a, b, rule, SCALED)
                    place = second + N * N + n
                    _update(place, bias_2, theta, mean, square, a, b, rule, SCALED)
                if HIDDEN > 2:
                    place = second + block + square_of
                    _update(place, grad_3, theta, mean, square, a, b, rule, SCALED)
                    place = second + block + N * N + n
                    _update(place, bias_3, theta, mean, square, a, b, rule, SCALED)
                if HIDDEN > 3:
                    place = second + 2 * block + square_of
                    _update(place, grad_4, theta, mean, square, a, b, rule, SCALED)
                    place = second + 2 * block + N * N + n
                    _update(place, bias_4, theta, mean, square, a, b, rule, SCALED)
                tl.debug_barrier()  # and all see it in the next step
    tl.store(state + member, state_now)
    tl.store(steps + member, taken)
