/* Fit one small MLP to one signal: all steps in one call, its numbers in the first-level cache.

   The points pass in tiles: forward, error, backward, then the next tile; after the last, one
   update. A matrix of a hidden layer is kept as [in + 1][out] with the biases as its last row, so
   that its three products (forward, gradient of the weights, gradient below) run along whole
   vectors of outputs; that of the last layer, whose outputs are few, as [out][in + bias]. Rows are
   padded to whole vectors: what pads is zero and stays zero.

   zoo_gen/make/fit/eager.py specifies what is computed; zoo_gen/make/fit/compiled.py calls this. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define BLOCK 8       /* points, or inputs, whose sums are held in registers at once */
#define LAYERS 16     /* most */
#define NEAR 6144     /* floats of a tile: half of a first-level cache */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef union { float f; uint32_t bits; } Word;

enum { SINE, RELU, TANH, GELU };
enum { SQUARED, CROSS_ENTROPY };

typedef struct {
    int32_t layers, widths[LAYERS + 1], points, drawn, steps, activation, loss;
    float w0, offset, target, decay, keep, add, square, rest, epsilon;
} Recipe;

typedef struct {
    int in, out, lanes, size;                    /* lanes: floats of a row; size: of the matrix */
    float *weight, *grad, *mean, *square, *back; /* back: hidden weights as [out][in padded] */
    float *h, *slope;                            /* [tile][out padded] */
} Layer;

typedef struct {
    int depth, tile;
    Layer layers[LAYERS];
    float *x, *y, *error; /* of a tile: [tile][in], [tile][out], [tile][out] */
} Net;

INLINE int padded(int n) { return (n + LANES - 1) / LANES * LANES; }
INLINE int blocks(int n) { return (n + BLOCK - 1) / BLOCK * BLOCK; }

/* ---- activations: h becomes f(h), slope f'(h); NaN stays NaN ---- */

static void sine(float w0, int n, float *restrict h, float *restrict slope) {
    const float round = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to a whole number */
    for (int i = 0; i < n; i++) {
        float u = w0 * h[i], whole = u * 0.318309886f + round, q = whole - round;
        float r = ((u - q * 3.140625f) - q * 9.67502594e-4f) - q * 1.50995799e-7f; /* q pi in three */
        float r2 = r * r;
        Word sign = {whole}, s, c; /* its lowest bit: whether q is odd */
        s.f = r2 * (-1.98111068e-4f + r2 * 2.60891834e-6f);
        s.f = r + r * r2 * (-0.166666605f + r2 * (8.33308809e-3f) + r2 * s.f);
        c.f = r2 * (2.47618784e-5f + r2 * -2.60769608e-7f);
        c.f = 1.0f + r2 * (-0.499999995f + r2 * (0.0416666407f + r2 * (-1.38884034e-3f + c.f)));
        s.bits ^= sign.bits << 31;
        c.bits ^= sign.bits << 31;
        h[i] = s.f;
        slope[i] = w0 * c.f;
    }
}

INLINE float exponential(float x) {
    const float round = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float whole = x * 1.44269504f + round, n = whole - round;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 0.166665183f + r * (0.0416662041f + r * (8.3689535e-3f + r * 1.3950602e-3f));
    Word scale = {whole};
    scale.bits = (scale.bits + 127) << 23;
    return (1.0f + r + r * r * (0.5f + r * p)) * scale.f;
}

static void activate(const Recipe *recipe, int n, float *restrict h, float *restrict slope) {
    switch (recipe->activation) {
    case SINE:
        sine(recipe->w0, n, h, slope);
        break;
    case RELU:
        for (int i = 0; i < n; i++) {
            slope[i] = h[i] > 0.0f ? 1.0f : 0.0f;
            h[i] = h[i] < 0.0f ? 0.0f : h[i];
        }
        break;
    case TANH:
        for (int i = 0; i < n; i++) {
            h[i] = 1.0f - 2.0f / (exponential(2.0f * h[i]) + 1.0f);
            slope[i] = 1.0f - h[i] * h[i];
        }
        break;
    case GELU: /* z P(z), P the normal distribution's; Abramowitz and Stegun 7.1.26 */
        for (int i = 0; i < n; i++) {
            float z = h[i], density = exponential(-0.5f * z * z), a = z < 0.0f ? -z : z;
            float t = 1.0f / (1.0f + 0.231641888f * a);
            float p = t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)));
            float tail = 0.5f * density * t * (0.254829592f + p);
            float below = z < 0.0f ? tail : 1.0f - tail;
            slope[i] = below + z * density * 0.398942280f;
            h[i] = z * below;
        }
    }
}

/* ---- the three products; V vectors of columns at once, sums in registers ---- */

/* out[t] = start + sum_k a[t][k] b[k], for whole blocks of points t */
INLINE void product(int V, int count, int K, const float *restrict a, int stride,
                    const float *restrict b, const float *restrict start, float *restrict out,
                    int lanes) {
    for (int t = 0; t < count; t += BLOCK) {
        vec sum[BLOCK][2];
        UNROLL for (int r = 0; r < BLOCK; r++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = start ? *(const vec *)(start + v * LANES) : (vec){0};
        for (int k = 0; k < K; k++) {
            vec row[2];
            UNROLL for (int v = 0; v < V; v++) row[v] = *(const vec *)(b + k * lanes + v * LANES);
            UNROLL for (int r = 0; r < BLOCK; r++)
                UNROLL for (int v = 0; v < V; v++) sum[r][v] += a[(t + r) * stride + k] * row[v];
        }
        UNROLL for (int r = 0; r < BLOCK; r++)
            UNROLL for (int v = 0; v < V; v++)
                *(vec *)(out + (t + r) * lanes + v * LANES) = sum[r][v];
    }
}

static void multiply(int count, int K, const float *a, int stride, const float *b,
                     const float *start, float *out, int lanes) {
    int c = 0;
    for (; c + 2 * LANES <= lanes; c += 2 * LANES)
        product(2, count, K, a, stride, b + c, start ? start + c : 0, out + c, lanes);
    if (c < lanes) product(1, count, K, a, stride, b + c, start ? start + c : 0, out + c, lanes);
}

/* grad[k] += sum_t a[t][k] d[t] for R rows k */
INLINE void outer(int R, int V, int count, const float *restrict a, int stride,
                  const float *restrict d, float *restrict grad, int lanes) {
    vec sum[BLOCK][2];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++) sum[r][v] = *(vec *)(grad + r * lanes + v * LANES);
    for (int t = 0; t < count; t++) {
        vec row[2];
        UNROLL for (int v = 0; v < V; v++) row[v] = *(const vec *)(d + t * lanes + v * LANES);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int v = 0; v < V; v++) sum[r][v] += a[t * stride + r] * row[v];
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++) *(vec *)(grad + r * lanes + v * LANES) = sum[r][v];
}

INLINE void outers(int V, int count, int K, const float *a, int stride, const float *d,
                   float *grad, int lanes) {
    int k = 0;
    for (; k + BLOCK <= K; k += BLOCK)
        outer(BLOCK, V, count, a + k, stride, d, grad + k * lanes, lanes);
    for (; k + 2 <= K; k += 2) outer(2, V, count, a + k, stride, d, grad + k * lanes, lanes);
    if (k < K) outer(1, V, count, a + k, stride, d, grad + k * lanes, lanes);
}

/* the gradient of a hidden layer's weights and biases */
static void gather(int count, int K, const float *a, int stride, const float *d, float *grad,
                   int lanes) {
    int c = 0;
    for (; c + 2 * LANES <= lanes; c += 2 * LANES)
        outers(2, count, K, a, stride, d + c, grad + c, lanes);
    if (c < lanes) outers(1, count, K, a, stride, d + c, grad + c, lanes);
    for (c = 0; c < lanes; c += LANES) {
        vec sum = {0};
        for (int t = 0; t < count; t++) sum += *(const vec *)(d + t * lanes + c);
        *(vec *)(grad + K * lanes + c) += sum;
    }
}

/* ---- one tile ---- */

INLINE float total(vec v) {
    float sum[LANES];
    memcpy(sum, &v, sizeof sum);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* The last layer: its error, the gradient of its weights, and of what is below it. */
static float last_layer(const Recipe *recipe, Net *net, int count) {
    Layer *top = net->layers + net->depth - 1, *below = top - 1;
    int wide = top->lanes - LANES, drawn = recipe->drawn ? recipe->drawn : recipe->points;
    float scale = 1.0f / ((float)drawn * top->out), lost = 0;
    for (int t = 0; t < count; t++)
        for (int o = 0; o < top->out; o++) {
            const float *w = top->weight + o * top->lanes, *h = below->h + t * wide;
            vec sum = {0};
            for (int i = 0; i < wide; i += LANES) sum += *(const vec *)(w + i) * *(const vec *)(h + i);
            float out = total(sum) + w[wide] + recipe->offset, y = net->y[t * top->out + o], error;
            if (recipe->loss == SQUARED) {
                error = out - y;
                lost += error * error;
                error *= 2.0f;
            } else {
                float e = expf(-fabsf(out));
                error = (out < 0.0f ? e : 1.0f) / (1.0f + e) - y;
                lost += (out < 0.0f ? 0.0f : out) + log1pf(e) - y * out;
            }
            net->error[t * top->out + o] = error * scale;
            top->grad[o * top->lanes + wide] += error * scale;
        }
    for (int i = 0; i < wide; i += LANES) {
        for (int o = 0; o < top->out; o++) {
            vec sum = {0};
            for (int t = 0; t < count; t++)
                sum += net->error[t * top->out + o] * *(const vec *)(below->h + t * wide + i);
            *(vec *)(top->grad + o * top->lanes + i) += sum;
        }
        for (int t = 0; t < count; t++) {
            vec sum = {0};
            for (int o = 0; o < top->out; o++)
                sum += net->error[t * top->out + o] * *(const vec *)(top->weight + o * top->lanes + i);
            *(vec *)(below->slope + t * wide + i) *= sum;
        }
    }
    return lost;
}

/* Add a tile's gradients; its sum of losses. */
static float pass(const Recipe *recipe, Net *net, int count) {
    const float *below = net->x;
    int stride = recipe->widths[0];
    for (int k = 0; k < net->depth - 1; k++) {
        Layer *l = net->layers + k;
        const float *bias = l->weight + l->in * l->lanes;
        multiply(blocks(count), l->in, below, stride, l->weight, bias, l->h, l->lanes);
        activate(recipe, count * l->lanes, l->h, l->slope);
        below = l->h, stride = l->lanes;
    }
    float lost = last_layer(recipe, net, count);
    for (int k = net->depth - 2; k >= 0; k--) {
        Layer *l = net->layers + k, *under = l - 1;
        const float *a = k ? under->h : net->x;
        gather(count, l->in, a, k ? under->lanes : l->in, l->slope, l->grad, l->lanes);
        if (!k) break;
        /* what the layer below answered has served: its place takes the gradient */
        multiply(blocks(count), l->out, l->slope, l->lanes, l->back, 0, under->h, under->lanes);
        for (int i = 0; i < count * under->lanes; i++) under->slope[i] *= under->h[i];
    }
    return lost;
}

/* ---- points, weights, steps ---- */

static uint32_t mixed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Copy a tile's points, drawn with replacement where the recipe says so. */
static void take(const Recipe *recipe, Net *net, const float *x, const float *y, uint32_t key,
                 int start, int count) {
    int in = recipe->widths[0], out = recipe->widths[net->depth];
    if (!recipe->drawn) {
        memcpy(net->x, x + (int64_t)start * in, (size_t)count * in * sizeof(float));
        memcpy(net->y, y + (int64_t)start * out, (size_t)count * out * sizeof(float));
        return;
    }
    for (int t = 0; t < count; t++) {
        uint32_t word = mixed(key + (uint32_t)(start + t) * 0x9e3779b9u);
        int64_t point = (uint64_t)word * (uint32_t)recipe->points >> 32;
        memcpy(net->x + t * in, x + point * in, in * sizeof(float));
        memcpy(net->y + t * out, y + point * out, out * sizeof(float));
    }
}

/* Between theta, in torch's order, and the padded matrices. */
static void exchange(Net *net, float *theta, int inward) {
    for (int k = 0; k < net->depth; k++) {
        Layer *l = net->layers + k;
        int last = k == net->depth - 1;
        for (int biases = 0; biases < 2; biases++)
            for (int o = 0; o < l->out; o++)
                for (int i = biases ? l->in : 0; i < l->in + biases; i++, theta++) {
                    int column = biases ? l->lanes - LANES : i;
                    float *w = l->weight + (last ? o * l->lanes + column : i * l->lanes + o);
                    if (inward) *w = *theta;
                    else *theta = *w;
                }
    }
}

static void update(const Recipe *recipe, Net *net, float a, float b) {
    Recipe r = *recipe;
    for (int k = 0; k < net->depth; k++) {
        Layer *l = net->layers + k;
        float *restrict w = l->weight, *restrict m = l->mean, *restrict v = l->square;
        const float *restrict grad = l->grad;
        for (int i = 0; i < l->size; i++) {
            float g = grad[i] + r.decay * w[i];
            m[i] = r.keep * m[i] + r.add * g;
            v[i] = r.square * v[i] + r.rest * (g * g);
            w[i] -= a * m[i] / (sqrtf(v[i]) * b + r.epsilon);
        }
    }
}

/* Lay a network out in `work` (or, without it, only count); floats that it takes. */
static int64_t lay_out(const Recipe *recipe, Net *net, float *work) {
    int floats = recipe->widths[0] + 2 * recipe->widths[recipe->layers];
    for (int k = 1; k < recipe->layers; k++) floats += 2 * padded(recipe->widths[k]);
    int drawn = blocks(recipe->drawn ? recipe->drawn : recipe->points);
    int tile = NEAR / floats < BLOCK ? BLOCK : NEAR / floats / BLOCK * BLOCK;
    net->depth = recipe->layers, net->tile = tile < drawn ? tile : drawn;
    int64_t used = 0;
#define ROOM(place, count) (place = work + used, used += padded(count))
    for (int k = 0; k < net->depth; k++) {
        Layer *l = net->layers + k;
        int last = k == net->depth - 1;
        l->in = recipe->widths[k], l->out = recipe->widths[k + 1];
        l->lanes = last ? padded(l->in) + LANES : padded(l->out);
        l->size = last ? l->out * l->lanes : (l->in + 1) * l->lanes;
        ROOM(l->weight, l->size), ROOM(l->grad, l->size);
        ROOM(l->mean, l->size), ROOM(l->square, l->size);
        if (last) break;
        ROOM(l->back, l->out * padded(l->in));
        ROOM(l->h, net->tile * l->lanes), ROOM(l->slope, net->tile * l->lanes);
    }
    ROOM(net->x, net->tile * recipe->widths[0]);
    ROOM(net->y, net->tile * recipe->widths[net->depth]);
    ROOM(net->error, net->tile * recipe->widths[net->depth]);
    return used;
}

int lanes(void) { return LANES; }

int64_t room(const Recipe *recipe) {
    Net net;
    return lay_out(recipe, &net, 0);
}

/* Fit; updates that were taken, or -1 - updates where the loss was not finite before the next.

   x [points][in], y [points][out], factors [steps][2] of the update, theta in and out, work of
   `room` floats that begin at a whole vector. */
int fit(const Recipe *recipe, const float *x, const float *y, const float *factors, uint64_t seed,
        float *theta, float *work) {
    Net net;
    memset(work, 0, (size_t)lay_out(recipe, &net, work) * sizeof(float));
    exchange(&net, theta, 1);
    int drawn = recipe->drawn ? recipe->drawn : recipe->points, outs = recipe->widths[net.depth];
    int step = 0, finite = 1;
    for (; step < recipe->steps; step++) {
        uint32_t key = mixed((uint32_t)seed ^ mixed((uint32_t)(seed >> 32) ^ mixed(step)));
        for (int k = 0; k < net.depth; k++) {
            Layer *l = net.layers + k;
            memset(l->grad, 0, l->size * sizeof(float));
            if (k && k < net.depth - 1)
                for (int i = 0; i < l->in; i++)
                    for (int o = 0; o < l->out; o++)
                        l->back[o * padded(l->in) + i] = l->weight[i * l->lanes + o];
        }
        double loss = 0;
        for (int start = 0; start < drawn; start += net.tile) {
            int count = drawn - start < net.tile ? drawn - start : net.tile;
            take(recipe, &net, x, y, key, start, count);
            loss += pass(recipe, &net, count);
        }
        loss /= (double)drawn * outs;
        finite = isfinite(loss);
        if (!finite || loss <= recipe->target) break;
        update(recipe, &net, factors[2 * step], factors[2 * step + 1]);
    }
    exchange(&net, theta, 0);
    return finite ? step : -1 - step;
}
