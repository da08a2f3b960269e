/* truth_solve.c: the recursions of Tensor Programs II by hand (THEORY sections 2 and 3): with A = E f f, B = E f' f',
 * K' = sigma_w^2 A + sigma_b^2 and T' = c^2 A + c_b^2 + sigma_w^2 B T, where c is 1, or sigma where it is a multiplier;
 * in standard scale c^2 A is of order n. */
#include "tests/support/truth.h"

#include <math.h>

enum { POINTS = TRUTH_POINTS };
/* Between all rows of all inputs: point = row * steps + step. */
typedef struct {
    const truth_case *c;
    int n;
    real k[POINTS][POINTS], t[TRUTH_POWERS][POINTS][POINTS];
} state;

static real square_of(double x)
{
    return real_mul(real_of(x), real_of(x));
}

static real inner_product(const state *s, int i, int j)
{
    real sum = real_of(0);
    for (int k = 0; k < s->c->features; k++)
        sum =
            real_add(sum, real_mul(real_of(s->c->x[i * s->c->features + k]), real_of(s->c->x[j * s->c->features + k])));
    return sum;
}

/* What a layer adds to K: sigma_w^2 a + sigma_b^2; and to the n^0 or n^1 term of T: c^2 a, c_b^2. */
static real variance(const truth_case *c, real a, bool bias)
{
    real k = real_mul(square_of(c->sigma_w), a);
    return bias ? real_add(k, square_of(c->sigma_b)) : k;
}

static real weights_share(const truth_case *c, real a)
{
    return c->multiplier ? real_mul(square_of(c->sigma_w), a) : a;
}

static real bias_share(const truth_case *c)
{
    return !c->bias ? real_of(0) : c->multiplier ? square_of(c->sigma_b) : real_of(1);
}

static moments at(const state *s, const activation *f, int i, int j)
{
    return expected(f, (covariance){ s->k[i][i], s->k[j][j], s->k[i][j] });
}

static void set(state *s, int i, int j, real k, const real *t)
{
    s->k[i][j] = s->k[j][i] = k;
    for (int p = 0; p < TRUTH_POWERS; p++)
        s->t[p][i][j] = s->t[p][j][i] = t[p];
}

static void first_layer(state *s)
{
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j <= i; j++) {
            real xx = inner_product(s, i, j), mean = real_div(xx, real_of(s->c->features));
            real t[TRUTH_POWERS] = {
                real_add(weights_share(s->c, s->c->kind == TRUTH_STANDARD ? xx : mean), bias_share(s->c)), real_of(0)
            };
            set(s, i, j, variance(s->c, mean, s->c->bias), t);
        }
}

/* u / sqrt(mean u^2 + 1e-5): the mean over the width is 0 in the limit, and so is what the gradient loses. */
static void normalise(state *s)
{
    static real size[POINTS];
    for (int i = 0; i < s->n; i++)
        size[i] = real_sqrt(real_add(s->k[i][i], real_of(1e-5)));
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->n; j++) {
            real product = real_mul(size[i], size[j]);
            s->k[i][j] = real_div(s->k[i][j], product);
            for (int p = 0; p < TRUTH_POWERS; p++)
                s->t[p][i][j] = real_div(s->t[p][i][j], product);
        }
}

/* A dense layer of what has the second moment a, and whose tangent is b times that of its argument. */
static void dense_entry(const state *before, state *s, int i, int j, real a, real b)
{
    bool standard = s->c->kind == TRUTH_STANDARD;
    real t[TRUTH_POWERS], back = real_mul(square_of(s->c->sigma_w), b);
    for (int p = 0; p < TRUTH_POWERS; p++)
        t[p] = real_mul(back, before->t[p][i][j]);
    t[0] = real_add(t[0], bias_share(s->c));
    t[standard] = real_add(t[standard], weights_share(s->c, a));
    set(s, i, j, variance(s->c, a, s->c->bias), t);
}

static void layer(state *s, bool product)
{
    static state before;
    before = *s;
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j <= i; j++) {
            moments m = at(&before, s->c->f, i, j);
            real twice = real_scale(2, real_mul(m.value, m.slope));
            dense_entry(&before, s, i, j, product ? real_mul(m.value, m.value) : m.value, product ? twice : m.slope);
        }
}

static void add_state(state *s, const state *other)
{
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->n; j++) {
            s->k[i][j] = real_add(s->k[i][j], other->k[i][j]);
            for (int p = 0; p < TRUTH_POWERS; p++)
                s->t[p][i][j] = real_add(s->t[p][i][j], other->t[p][i][j]);
        }
}

static void feed_forward(state *s)
{
    static state before;
    first_layer(s);
    for (int l = 1; l <= s->c->depth; l++) {
        if (s->c->norm)
            normalise(s);
        before = *s;
        layer(s, false);
        if (s->c->residual && l < s->c->depth)
            add_state(s, &before);
        if (s->c->kind == TRUTH_GATE && l == s->c->depth)
            layer(s, true);
    }
}

/* Between step t of one row and step u of another, from steps t - 1 and u - 1. */
static void recur(state *s, int i, int j, int t, int u)
{
    int steps = s->c->steps, here = i * steps + t, there = j * steps + u;
    real xx = real_div(inner_product(s, here, there), real_of(s->c->features));
    real k = variance(s->c, xx, s->c->bias), theta = real_add(weights_share(s->c, xx), bias_share(s->c));
    if (t && u) {
        moments m = at(s, s->c->f, here - 1, there - 1);
        real back = real_mul(square_of(s->c->sigma_w), real_mul(m.slope, s->t[0][here - 1][there - 1]));
        k = real_add(k, variance(s->c, m.value, false));
        theta = real_add(theta, real_add(weights_share(s->c, m.value), back));
    }
    set(s, here, there, k, (real[]){ theta, real_of(0) });
}

/* The readout v: no bias, and only the last state, or all states alike. */
static void read_states(state *s)
{
    static state states;
    int steps = s->c->steps;
    states = *s;
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j <= i; j++) {
            real t[TRUTH_POWERS] = { real_of(0), real_of(0) }, k = real_of(0);
            bool wanted = s->c->mean || (i % steps == steps - 1 && j % steps == steps - 1);
            if (wanted) {
                moments m = at(&states, s->c->f, i, j);
                real back = real_mul(square_of(s->c->sigma_w), real_mul(m.slope, states.t[0][i][j]));
                k = variance(s->c, m.value, false);
                t[0] = real_add(weights_share(s->c, m.value), back);
            }
            set(s, i, j, k, t);
        }
}

static void recurrent(state *s)
{
    int rows = s->n / s->c->steps;
    for (int t = 0; t < s->c->steps; t++)
        for (int u = 0; u <= t; u++)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < rows; j++)
                    recur(s, i, j, t, u);
    read_states(s);
}

/* How the output is made of what there is at each step. */
static double coefficient(const truth_case *c, int step)
{
    switch (c->kind) {
    case TRUTH_MEAN:
        return 1.0 / c->steps;
    case TRUTH_DIFFERENCE:
        return step ? -1 : 1;
    case TRUTH_RNN:
    case TRUTH_LONG:
        return c->mean ? 1.0 / c->steps : step == c->steps - 1;
    default:
        return 1;
    }
}

static real combined(const truth_case *c, real (*entries)[POINTS], int i, int j)
{
    real sum = real_of(0);
    for (int t = 0; t < c->steps; t++)
        for (int u = 0; u < c->steps; u++) {
            real product = real_mul(real_of(coefficient(c, t)), real_of(coefficient(c, u)));
            sum = real_add(sum, real_mul(product, entries[i * c->steps + t][j * c->steps + u]));
        }
    return sum;
}

/* Is row i's own entry what rounding left of others? 25 digits are known of quadrature, and of jumps half of 77. */
static bool is_lost(const truth_case *c, real (*entries)[POINTS], int i)
{
    real sizes = real_of(0), sum = combined(c, entries, i, i);
    for (int t = 0; t < c->steps; t++) {
        real k = real_abs(entries[i * c->steps + t][i * c->steps + t]);
        sizes = real_add(sizes, real_scale(fabs(coefficient(c, t)), k));
    }
    return real_sign(sum) && real_less(real_abs(sum), real_scale(c->f->closed ? 1e-36 : 1e-7, sizes));
}

void truth_solve(const truth_case *c, truth_kernels *kernels)
{
    static state s;
    int rows = c->rows + c->rows2;
    s = (state){ .c = c, .n = rows * c->steps };
    if (c->recurrent)
        recurrent(&s);
    else
        feed_forward(&s);
    kernels->n = rows;
    for (int i = 0; i < rows; i++) {
        kernels->lost[i] = is_lost(c, s.k, i) || is_lost(c, s.t[0], i);
        for (int j = 0; j < rows; j++) {
            kernels->nngp[i][j] = combined(c, s.k, i, j);
            for (int p = 0; p < TRUTH_POWERS; p++)
                kernels->ntk[p][i][j] = combined(c, s.t[p], i, j);
        }
    }
}
