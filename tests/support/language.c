#include "tests/support/language.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 48, WIDTHS = 3, POSITIONS = 3, HALVES = LANGUAGE_FEATURES / POSITIONS, LAYERS = 6 };

const char *const language_style_names[] = { "plain",       "swapped",    "distributed", "in steps",
                                             "composed",    "n^p n^-p",   "from ones",   "weighted",
                                             "even params", "odd params", "all params" };

static char story[4000];

typedef struct {
    nn_weight weight;
    int in, out; /* widths: indices of `widths` */
} matrix;

typedef struct {
    uint64_t seed, at;
    language_style style;
    nn_net *net;
    ad_graph *graph;
    ad_var x, token; /* (batch, features), (batch) */
    ad_axis batch, positions;
    ad_axis widths[WIDTHS];
    ad_var vectors[MOST]; /* (batch, width) */
    int width_of[MOST], n_vectors;
    matrix matrices[MOST];
    nn_weight biases[MOST], inputs[MOST]; /* (width), (features, width) */
    int bias_width[MOST], input_width[MOST];
    ad_var tables[MOST]; /* (positions, n) */
    int n_matrices, n_biases, n_inputs, n_tables, n_params;
    bool wild;     /* outputs of order one meet functions */
    bool even;     /* all kinds of arguments are as likely */
    bool windows;  /* along positions are drawn, too */
    bool meets;    /* samples do, in batch normalisation */
    double frozen; /* share of parameters with a rate of 0 */
} maker;

static const char *const width_names[WIDTHS] = { "n", "n/2", "2n" };

static double unit(maker *m)
{
    double u;
    ad_uniform(m->seed, ad_stream("language"), m->at++, 1, &u);
    return u;
}

static int below(maker *m, int n)
{
    return (int)(unit(m) * n);
}

/* An index, by chances that are whole numbers. */
static int chosen(maker *m, const int *chances, int n)
{
    int total = 0, kind = 0;
    for (int k = 0; k < n; k++)
        total += chances[k];
    int at = below(m, total);
    while (at >= chances[kind])
        at -= chances[kind++];
    return kind;
}

AD_PRINTF(1, 2) static void tell(const char *format, ...)
{
    size_t length = strlen(story);
    va_list args;
    va_start(args, format);
    vsnprintf(story + length, sizeof story - length, format, args);
    va_end(args);
}

static bool has(ad_var v, ad_axis axis)
{
    return ad_has(ad_shape_get(v), axis);
}

static ad_var constant(maker *m, double value, ad_shape shape)
{
    if (m->style != LANGUAGE_ONES || (shape.rank > 0 && !ad_same(shape.axes[0], m->batch)) || shape.rank == 0)
        return ad_constant(m->graph, value, shape);
    ad_axis features = ad_shape_get(m->x)->axes[1];
    return ad_expand(ad_scale(ad_take(m->x, features, LANGUAGE_FEATURES - 1), value), shape);
}

static ad_var like(maker *m, double value, ad_var x)
{
    return constant(m, value, *ad_shape_get(x));
}

/* ---- what styles write in another way ---- */
static ad_var scaled_by(maker *m, ad_var x, double c, ad_axis axis, double power)
{
    if (m->style != LANGUAGE_STEPS)
        return ad_scale_by(x, c, axis, power);
    ad_var half = ad_scale_by(x, 2, axis, power / 2);
    return ad_scale_by(ad_mul(half, ad_constant(m->graph, c / 2, *ad_shape_get(x))), 1, axis, power / 2);
}

static ad_var scaled(maker *m, ad_var x, double c)
{
    return scaled_by(m, x, c, m->widths[0], 0);
}

/* Both over the axes of both. */
static void common(ad_var *a, ad_var *b)
{
    ad_shape all = *ad_shape_get(*a);
    const ad_shape *other = ad_shape_get(*b);
    int missing = 0;
    for (int k = 0; k < other->rank; k++)
        if (!ad_has(&all, other->axes[k])) {
            all.axes[all.rank++] = other->axes[k];
            missing++;
        }
    if (missing > 0 && all.rank > other->rank)
        *a = ad_expand(*a, all);
}

static ad_var binary(maker *m, ad_op op, ad_var a, ad_var b)
{
    common(&a, &b);
    if (m->style == LANGUAGE_SWAPPED && op != AD_SUB && op != AD_DIV)
        return ad_binary_at(AD_HERE, op, b, a);
    if (m->style == LANGUAGE_SWAPPED && op == AD_SUB)
        return ad_add(ad_neg(b), a);
    return ad_binary_at(AD_HERE, op, a, b);
}

/* A product with a matrix, which is 0 with probability 0. */
static bool is_spread(ad_var x)
{
    const ad_node *node = ad_node_of(x.graph, x.id);
    return node->op == AD_SCALE && ad_node_of(x.graph, node->in[0])->op == AD_CONTRACT;
}

/* Where x may be 0 with some probability, the values and derivatives there are those of the op. */
static ad_var composed(maker *m, ad_op op, ad_var x, double p)
{
    if (x.id < 0)
        return x;
    ad_var one = like(m, 1, x), two = like(m, 2, x);
    switch (op) {
    case AD_RELU:
        return is_spread(x) ? ad_scale(ad_add(x, ad_abs(x)), 0.5) : ad_mul(x, ad_step(x));
    case AD_ABS:
        return is_spread(x) ? ad_add(ad_relu(x), ad_relu(ad_neg(x))) : ad_mul(x, ad_sign(x));
    case AD_LEAKY:
        return ad_add(ad_scale(x, p), ad_scale(ad_relu(x), 1 - p));
    case AD_STEP:
        return is_spread(x) ? ad_scale(ad_add(one, ad_sign(x)), 0.5) : ad_step(x);
    case AD_SQUARE:
        return ad_mul(x, x);
    case AD_IDENTITY:
        return ad_mul(x, one);
    case AD_NEG:
        return ad_sub(x, ad_mul(x, two));
    case AD_SOFTPLUS:
        return ad_log(ad_add(one, ad_exp(x)));
    case AD_SIGMOID:
        return ad_scale(ad_add(one, ad_tanh(ad_scale(x, 0.5))), 0.5);
    case AD_TANH:
        return ad_sub(ad_mul(two, ad_sigmoid(ad_mul(two, x))), one);
    case AD_SWISH:
        return ad_mul(x, ad_sigmoid(x));
    case AD_GELU:
        return ad_mul(x, ad_scale(ad_add(one, ad_erf(ad_scale(x, sqrt(0.5)))), 0.5));
    case AD_HARD_TANH:
        if (!is_spread(x))
            return ad_hard_tanh(x);
        return ad_sub(ad_sub(ad_relu(ad_add(x, one)), ad_relu(ad_sub(x, one))), one);
    case AD_COS:
        return ad_sub(one, ad_scale(ad_square(ad_sin(ad_scale(x, 0.5))), 2));
    case AD_SQRT:
        return ad_power(x, 0.5);
    case AD_RSQRT:
        return ad_div(one, ad_sqrt(x));
    default:
        return ad_unary_at(AD_HERE, op, x, p);
    }
}

static ad_var unary(maker *m, ad_op op, ad_var x, double p)
{
    return m->style == LANGUAGE_COMPOSED ? composed(m, op, x, p) : ad_unary_at(AD_HERE, op, x, p);
}

/* a (b + c) */
static ad_var times_sum(maker *m, ad_var a, ad_var b, ad_var c)
{
    if (m->style == LANGUAGE_DISTRIBUTED)
        return ad_add(ad_mul(a, b), ad_mul(a, c));
    return ad_mul(a, binary(m, AD_ADD, b, c));
}

static ad_var apply_sum(maker *m, nn_weight w, ad_var a, ad_var b)
{
    if (m->style == LANGUAGE_DISTRIBUTED)
        return ad_add(nn_apply(w, a), nn_apply(w, b));
    return nn_apply(w, binary(m, AD_ADD, a, b));
}

static void push(maker *m, ad_var x, int width)
{
    tell(" [%s];", width_names[width]);
    x = ad_transpose(x, ad_shape_of(m->batch, m->widths[width]));
    if (m->style == LANGUAGE_UNDONE)
        x = ad_scale_by(ad_scale_by(x, 1, m->widths[width], 0.5), 1, m->widths[width], -0.5);
    m->width_of[m->n_vectors] = width;
    m->vectors[m->n_vectors++] = x;
}

/* ---- parameters ---- */
/* Does the style say by their number which parameters learn? Then each must have one. */
static bool by_number(const maker *m)
{
    return m->style == LANGUAGE_EVEN || m->style == LANGUAGE_ODD || m->style == LANGUAGE_ALL;
}

static double rate_of(maker *m)
{
    int number = m->n_params++;
    bool frozen = unit(m) < m->frozen;
    if (frozen)
        tell(" frozen");
    if (by_number(m))
        return m->style == LANGUAGE_ALL || (number % 2 == 0) == (m->style == LANGUAGE_EVEN);
    return !frozen;
}

/* A weight as the net's scale has it; one that does not learn, as the NTK scale has it. */
static nn_weight weight(maker *m, const char *name, ad_axis in, ad_axis out, double sigma)
{
    if (rate_of(m) > 0)
        return nn_make_weight(m->net, name, in, out, sigma);
    bool wide = ad_axis_kind(m->graph, in) == AD_WIDTH, ahead = nn_spec_of(m->net)->sigma_in == NN_SIGMA_MULTIPLIER;
    double c = (ahead ? sigma : 1) / (wide ? 1 : sqrt((double)ad_axis_fixed(m->graph, in)));
    ad_init init = { .axis = in, .deviation = ahead ? 1 : sigma, .multiplier = c, .multiplier_power = wide ? -0.5 : 0 };
    ad_var omega = ad_param(m->graph, name, ad_shape_of(in, ad_same(in, out) ? ad_prime(in) : out), init);
    return (nn_weight){ .omega = omega, .c = c, .power = init.multiplier_power, .fan_in = in };
}

static nn_weight bias(maker *m, const char *name, ad_axis out, double sigma)
{
    if (rate_of(m) > 0)
        return nn_make_bias(m->net, name, out, sigma);
    bool ahead = nn_spec_of(m->net)->sigma_in == NN_SIGMA_MULTIPLIER;
    ad_init init = { .deviation = ahead ? 1 : sigma, .multiplier = ahead ? sigma : 1 };
    return (nn_weight){ .omega = ad_param(m->graph, name, ad_shape_of(out), init), .c = init.multiplier };
}

static ad_var plain_param(maker *m, const char *name, ad_shape shape, double mean, double deviation)
{
    ad_init init = { .mean = mean, .deviation = deviation, .multiplier = 1, .rate = rate_of(m) };
    return ad_param(m->graph, name, shape, init);
}

static matrix new_matrix(maker *m, int in, int out)
{
    int k = m->n_matrices++;
    matrix w = { .in = in, .out = out };
    double sigma = 0.8 + 0.6 * unit(m);
    tell(" W%d", k);
    w.weight = weight(m, nn_name(m->net, "w%d", k), m->widths[in], m->widths[out], sigma);
    m->matrices[k] = w;
    return w;
}

static nn_weight any_input_weight(maker *m, int width)
{
    for (int i = 0; i < m->n_inputs; i++)
        if (m->input_width[i] == width && below(m, 2)) {
            tell(" U%d", i);
            return m->inputs[i];
        }
    int k = m->n_inputs++;
    tell(" U%d", k);
    m->input_width[k] = width;
    ad_axis features = ad_shape_get(m->x)->axes[1];
    m->inputs[k] = weight(m, nn_name(m->net, "u%d", k), features, m->widths[width], 1.2);
    return m->inputs[k];
}

/* The product of an input's weight with the data, its square or sine, or a constant. */
static ad_var of_input(maker *m, int width)
{
    nn_weight u = any_input_weight(m, width);
    int what = below(m, 6);
    static const char *const names[] = { "x", "x", "x", "x^2", "sin x", "1" };
    tell(" %s", names[what]);
    return nn_apply(u, what < 3 ? m->x : what == 3 ? ad_square(m->x) : what == 4 ? ad_sin(m->x) : like(m, 1, m->x));
}

static nn_weight any_bias(maker *m, int width)
{
    for (int i = 0; i < m->n_biases; i++)
        if (m->bias_width[i] == width && below(m, 2)) {
            tell(" b%d", i);
            return m->biases[i];
        }
    int k = m->n_biases++;
    tell(" b%d", k);
    m->bias_width[k] = width;
    m->biases[k] = bias(m, nn_name(m->net, "b%d", k), m->widths[width], 0.3 + 0.4 * unit(m));
    return m->biases[k];
}

/* A table (positions, n); its rows have a mean perhaps. */
static ad_var any_table(maker *m)
{
    if (m->n_tables > 0 && below(m, 2)) {
        int k = below(m, m->n_tables);
        tell(" E%d", k);
        return m->tables[k];
    }
    int k = m->n_tables++;
    double mean = below(m, 3) ? 0 : 0.5;
    tell(" E%d%s", k, mean > 0 ? "+" : "");
    m->tables[k] =
        plain_param(m, nn_name(m->net, "e%d", k), ad_shape_of(m->positions, m->widths[0]), mean, 0.5 + 0.5 * unit(m));
    return m->tables[k];
}

/* ---- coordinatewise functions ---- */
static void own_function(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / (1 + x[i] * x[i] / 4);
}

static void own_derivative(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (1 - x[i] * x[i] / 4) / pow(1 + x[i] * x[i] / 4, 2);
}

static void own_second(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (x[i] * x[i] / 8 - 1.5) / pow(1 + x[i] * x[i] / 4, 3);
}

static const ad_function own = { .name = "own",
                                 .count = 3,
                                 .derivatives = { own_function, own_derivative, own_second } };

/* 1 + x^2 */
static ad_var positive(maker *m, ad_var x)
{
    return binary(m, AD_ADD, unary(m, AD_SQUARE, x, 0), like(m, 1, x));
}

/* A parameter that starts at 1 everywhere. */
static bool starts_at_one(ad_var x)
{
    const ad_node *node = x.id < 0 ? NULL : ad_node_of(x.graph, x.id);
    return node && node->op == AD_PARAM && node->init->mean > 0 && !(node->init->deviation > 0);
}

/* Any row of the table: what grows fast is taken of tanh x, what is not defined everywhere of 1 + x^2; of a parameter
 * as it is, where it is positive. */
static ad_var any_function(maker *m, ad_var x)
{
    ad_op op = (ad_op)below(m, AD_CUSTOM + 1);
    static const double powers[] = { 0.3, -1.5, 2, 3 };
    double p = op == AD_POWER ? powers[below(m, 4)] : 0.2;
    if (x.id < 0)
        return x;
    if (op == AD_CUSTOM) {
        tell(" own");
        return ad_custom(&own, x);
    }
    bool whole = op == AD_POWER && p > 1, is_param = ad_node_of(m->graph, x.id)->op == AD_PARAM;
    bool fast = op == AD_EXP || op == AD_SQUARE || whole, partly = !fast && ad_op_facts_of(op)->lo > 0;
    tell(" %s", ad_op_name(op));
    if (op == AD_POWER)
        tell("%g", p);
    if (fast && !is_param) {
        tell(" tanh");
        x = unary(m, AD_TANH, x, 0);
    }
    if (partly && !starts_at_one(x)) {
        tell(" 1+square");
        x = positive(m, x);
    }
    return unary(m, op, x, p);
}

static ad_var bounded(maker *m, ad_var x)
{
    static const ad_op ops[] = { AD_TANH, AD_ERF, AD_SIN, AD_COS, AD_SIGMOID, AD_HARD_TANH, AD_SIGN, AD_STEP };
    ad_op op = ops[below(m, 8)];
    tell(" %s", ad_op_name(op));
    return unary(m, op, x, 0);
}

/* A vector, every other time the last one, so that few are left unused. */
static int any(maker *m)
{
    return below(m, 2) ? m->n_vectors - 1 : below(m, m->n_vectors);
}

static int alike(maker *m, int width)
{
    int which;
    do
        which = any(m);
    while (m->width_of[which] != width);
    return which;
}

static ad_var activation(maker *m, int vector, bool is_bounded)
{
    ad_var y = is_bounded ? bounded(m, m->vectors[vector]) : any_function(m, m->vectors[vector]);
    tell(" v%d", vector);
    return y;
}

/* ---- expressions: over (batch, positions, n) or some of these axes ---- */
static ad_var expression(maker *m, int depth);

static ad_var with(maker *m, ad_var x, bool batch, bool positions, bool width)
{
    ad_axis axes[3], all[3] = { m->batch, m->positions, m->widths[0] };
    bool wanted[3] = { batch, positions, width };
    int rank = 0;
    for (int k = 0; k < 3; k++)
        if (wanted[k] || has(x, all[k]))
            axes[rank++] = all[k];
    return ad_expand(x, ad_shape_make(rank, axes));
}

static ad_var data_positions(maker *m, int which)
{
    ad_axis features = ad_shape_get(m->x)->axes[1], halves = ad_fixed(m->graph, "halves", HALVES);
    tell(" x[%d::2]", which);
    return ad_take(ad_split(m->x, features, m->positions, halves), halves, (size_t)which);
}

static ad_var data_leaf(maker *m)
{
    ad_axis features = ad_shape_get(m->x)->axes[1];
    int what = below(m, 5);
    switch (what) {
    case 0:
    case 1:
        return data_positions(m, what);
    case 2:
        tell(" one-hot");
        return ad_one_hot(m->token, m->positions);
    case 3:
        tell(" layernorm x[:3]");
        return ad_slice_at(AD_HERE, nn_layernorm_with(m->net, "", m->x, .epsilon = 0.3), features, 0, POSITIONS,
                           m->positions);
    default:
        tell(" x[1]");
        return ad_take(m->x, features, 1);
    }
}

static ad_var constant_leaf(maker *m)
{
    int what = below(m, 4);
    ad_axis again = ad_prime(m->positions);
    switch (what) {
    case 0:
        tell(" 0.7");
        return constant(m, 0.7, ad_shape_of(m->positions));
    case 1:
        tell(" -0.4");
        return constant(m, -0.4, ad_shape_of(m->batch, m->positions));
    case 2:
        tell(" delta[1]");
        return ad_take(ad_delta(m->graph, m->positions, again), again, 1);
    default:
        tell(" 1");
        return constant(m, 1, ad_shape_of(m->batch));
    }
}

static ad_var param_leaf(maker *m)
{
    ad_axis features = ad_shape_get(m->x)->axes[1];
    switch (below(m, m->wild ? 9 : 8)) {
    case 0:
    case 1:
    case 2:
        return any_table(m);
    case 3:
        tell(" gain");
        return plain_param(m, nn_name(m->net, "g%d", m->n_params), ad_shape_of(m->widths[0]), 1, 0.4);
    case 4:
        return any_bias(m, 0).omega;
    case 5: {
        nn_weight u = any_input_weight(m, 0);
        tell("[2]");
        return ad_take(u.omega, features, 2);
    }
    case 6: {
        nn_weight u = any_input_weight(m, 0);
        tell("[:3]");
        return ad_slice_at(AD_HERE, u.omega, features, 0, POSITIONS, m->positions);
    }
    case 7:
        tell(" gain 1");
        return plain_param(m, nn_name(m->net, "g%d", m->n_params), ad_shape_of(m->widths[0]), 1, 0);
    default:
        tell(" learned number");
        return plain_param(m, nn_name(m->net, "s%d", m->n_params), (ad_shape){ 0 }, 1, 0);
    }
}

static ad_var family(maker *m)
{
    ad_var parts[POSITIONS];
    tell(" (");
    for (int k = 0; k < POSITIONS; k++) {
        int which = alike(m, 0);
        tell(" v%d", which);
        parts[k] = m->vectors[which];
    }
    tell(")");
    return with(m,
                ad_transpose(ad_stack_at(AD_HERE, parts, POSITIONS, m->positions),
                             ad_shape_of(m->batch, m->positions, m->widths[0])),
                true, true, true);
}

static ad_var vector_leaf(maker *m)
{
    if (below(m, 3) == 0)
        return family(m);
    int which = alike(m, 0);
    tell(" v%d", which);
    return m->vectors[which];
}

static ad_var average_leaf(maker *m)
{
    tell(" mean(");
    ad_var y = bounded(m, vector_leaf(m));
    if (below(m, 2))
        y = binary(m, AD_MUL, y, vector_leaf(m));
    tell(")");
    return ad_mean(y, ad_shape_of(m->widths[0]));
}

static ad_var output_leaf(maker *m)
{
    ad_axis n = m->widths[0];
    tell(" output(");
    ad_var y = any_function(m, vector_leaf(m));
    tell(")");
    ad_shape shape = below(m, 2) ? ad_shape_of(n) : ad_shape_of(n, m->positions);
    ad_var v = plain_param(m, nn_name(m->net, "r%d", m->n_params), shape, 0, 1);
    return scaled_by(m, ad_contract(y, v, ad_shape_of(n)), 1, n, -0.5);
}

static ad_var leaf(maker *m)
{
    static const int tame[] = { 4, 3, 4, 6, 2, 0 }, bold[] = { 3, 2, 3, 3, 3, 3 };
    switch (m->even ? below(m, 7) : chosen(m, m->wild ? bold : tame, 6)) {
    case 6:
        return any_function(m, param_leaf(m));
    case 0:
        return data_leaf(m);
    case 1:
        return constant_leaf(m);
    case 2:
        return param_leaf(m);
    case 3:
        return vector_leaf(m);
    case 4:
        return average_leaf(m);
    default:
        return output_leaf(m);
    }
}

static ad_var two_arguments(maker *m, int depth)
{
    static const ad_op ops[] = { AD_ADD, AD_SUB, AD_MUL, AD_MUL, AD_DIV };
    ad_op op = ops[below(m, 5)];
    tell(" %s(", ad_op_name(op));
    ad_var a = expression(m, depth - 1);
    tell(",");
    ad_var b;
    if (op == AD_DIV && below(m, 2)) { /* something that is not 0 */
        tell(" 1+square");
        b = positive(m, expression(m, depth - 1));
    } else if (op == AD_DIV && below(m, 3) == 0) {
        tell(" gain 1");
        b = plain_param(m, nn_name(m->net, "g%d", m->n_params), ad_shape_of(m->widths[0]), 1, 0);
    } else if (op == AD_DIV) {
        tell(" exp tanh");
        b = unary(m, AD_EXP, unary(m, AD_TANH, expression(m, depth - 1), 0), 0);
    } else {
        b = expression(m, depth - 1);
    }
    tell(")");
    return binary(m, op, a, b);
}

static ad_var contraction(maker *m, ad_var a, ad_var b)
{
    ad_axis n = m->widths[0];
    bool wide = has(a, n) && has(b, n), long_ = has(a, m->positions) && has(b, m->positions);
    if (wide && (!long_ || below(m, 2))) {
        double power = m->wild && below(m, 2) ? -0.5 : -1;
        tell(" over n, n^%g", power);
        return scaled_by(m, ad_contract(a, b, ad_shape_of(n)), 1, n, power);
    }
    if (!has(a, m->positions))
        a = with(m, a, false, true, false);
    if (!has(b, m->positions))
        b = with(m, b, false, true, false);
    tell(" over positions");
    return scaled(m, ad_contract(a, b, ad_shape_of(m->positions)), 0.6);
}

/* The positions one further, the last one of another family. */
static ad_var turned(maker *m, ad_var a, ad_var b)
{
    ad_axis two = ad_fixed(m->graph, "two", 2), one = ad_fixed(m->graph, "one", 1),
            turned_axis = ad_fixed(m->graph, "turned", POSITIONS);
    bool batch = has(a, m->batch) || has(b, m->batch), width = has(a, m->widths[0]) || has(b, m->widths[0]);
    a = with(m, a, batch, true, width);
    b = with(m, b, batch, true, width);
    ad_var parts[2] = { ad_slice_at(AD_HERE, a, m->positions, 1, 2, two),
                        ad_slice_at(AD_HERE, b, m->positions, 0, 1, one) };
    return ad_relabel(ad_concat_at(AD_HERE, parts, 2, (ad_axis[]){ two, one }, turned_axis), turned_axis, m->positions);
}

/* Merged with a pair axis, taken apart again. */
static ad_var merged(maker *m, ad_var a)
{
    ad_axis pair = ad_fixed(m->graph, "pair", 2), six = ad_fixed(m->graph, "six", 2 * POSITIONS);
    a = with(m, a, false, true, false);
    ad_shape shape = *ad_shape_get(a);
    shape.axes[shape.rank++] = pair;
    ad_var long_ = ad_merge_at(AD_HERE, ad_expand(a, shape), m->positions, pair, six);
    return ad_take(ad_split(long_, six, m->positions, pair), pair, 1);
}

static ad_var reversed(maker *m, ad_var a)
{
    ad_shape order = { 0 };
    if (ad_shape_get(a)->rank < 2)
        a = with(m, a, true, true, false);
    for (int k = ad_shape_get(a)->rank - 1; k >= 0; k--)
        order.axes[order.rank++] = ad_shape_get(a)->axes[k];
    a = ad_transpose(a, order);
    if (!has(a, m->positions))
        return a;
    ad_axis other = ad_fixed(m->graph, "other", POSITIONS);
    return ad_relabel(unary(m, AD_SIN, ad_relabel(a, m->positions, other), 0), other, m->positions);
}

static ad_var scattered(maker *m, ad_var a)
{
    ad_axis slots = ad_fixed(m->graph, "slots", POSITIONS);
    ad_var index = below(m, 2) ? m->token : ad_constant(m->graph, 2, ad_shape_of(m->batch));
    if (has(a, m->positions))
        a = ad_take(a, m->positions, 2);
    return ad_relabel(ad_scatter_at(AD_HERE, with(m, a, true, false, false), index, slots, (ad_shape){ 0 }), slots,
                      m->positions);
}

static ad_var gathered(maker *m, ad_var a)
{
    ad_var index = m->token;
    int what = below(m, 3);
    tell(what ? " at token" : " at 1");
    if (what == 0)
        index = ad_constant(m->graph, 1, ad_shape_of(m->batch));
    return ad_gather(with(m, a, false, true, false), index, m->positions);
}

/* dy/da for the sum y of a function of a. */
static ad_var derived(maker *m, ad_var a)
{
    ad_site *sites;
    ad_var adjoint = a, y;
    if (below(m, 3)) {
        y = any_function(m, a);
    } else if (has(a, m->positions) && below(m, 2)) {
        tell(" logsumexp");
        y = ad_logsumexp(a, m->positions);
    } else {
        tell(" sum of x tanh x");
        y = binary(m, AD_MUL, a, unary(m, AD_TANH, a, 0));
        y = has(y, m->positions) ? ad_take(y, m->positions, 1) : y;
    }
    ad_var of = a; /* what is scaled, where y has taken the factor over */
    while (ad_node_of(m->graph, of.id)->moved)
        of.id = ad_node_of(m->graph, of.id)->in[0];
    if (ad_backward(y, ad_constant(m->graph, 1, *ad_shape_get(y)), &of, 1, &adjoint, &sites) < 0)
        return a;
    const ad_shape *shape = ad_shape_get(adjoint);
    bool within = true;
    for (int k = 0; k < shape->rank; k++)
        within = within && has(a, shape->axes[k]);
    return within ? adjoint : a;
}

typedef enum {
    POWERS,
    CONTRACT,
    SUM_UP,
    MEAN,
    SPREAD,
    TURN,
    TAKE,
    MERGE,
    REVERSE,
    GATHER,
    SCATTER,
    DERIVE,
    WEIGH,
    ALONG,
    SLIDE,
    ADD_BACK, /* these two last: seeds below LANGUAGE_WINDOWS do not draw them */
    N_SHAPES
} shape_step;

static ad_var powers_of_n(maker *m, ad_var a, int depth)
{
    ad_axis n = m->widths[0];
    double p = below(m, 2) ? 0.5 : -0.25;
    if (below(m, 2)) {
        tell(" n^%g and back", p);
        return scaled_by(m, scaled_by(m, a, 1.3, n, p), 1, n, -p);
    }
    tell(" times n^%g n^%g", p, -p);
    ad_var b = expression(m, depth - 1);
    return binary(m, AD_MUL, scaled_by(m, a, 1, n, p), scaled_by(m, b, 0.8, n, -p));
}

/* Sums of neighbours among zeros around; or each position as often as windows of two meet it. */
static ad_var slid(maker *m, ad_var a, bool back)
{
    ad_axis two = ad_fixed(m->graph, "two", 2), three = ad_fixed(m->graph, "three", 3);
    ad_axis padded = ad_fixed(m->graph, "padded", POSITIONS + 2), pairs = ad_fixed(m->graph, "pairs", POSITIONS - 1);
    if (back)
        return ad_unwindows(ad_windows(a, m->positions, pairs, two, ((ad_window){ 0 })), pairs, two, m->positions,
                            ((ad_window){ 0 }));
    a = ad_windows(ad_pad(a, m->positions, 1, padded), padded, m->positions, three, ((ad_window){ 0 }));
    return scaled(m, ad_sum(a, ad_shape_of(three)), 0.5);
}

static ad_var along_axes(maker *m, int depth)
{
    static const char *const names[] = { "scaled",  "contract", "sum",      "mean",      "expand",  "turned",
                                         "take",    "merged",   "reversed", "gather",    "scatter", "derived",
                                         "weighed", "",         "windows",  "added back" };
    static const int chances[N_SHAPES] = { 3, 5, 1, 2, 1, 4, 1, 1, 1, 2, 2, 3, 1, 5, 8, 8 };
    shape_step what = (shape_step)chosen(m, chances, m->windows ? N_SHAPES : SLIDE);
    tell(" %s(", names[what]);
    ad_var a = expression(m, depth - 1), y = a, b;
    ad_axis n = m->widths[0];
    switch (what) {
    case POWERS:
        y = powers_of_n(m, a, depth);
        break;
    case CONTRACT:
        b = expression(m, depth - 1);
        y = contraction(m, a, b);
        break;
    case SUM_UP:
        y = scaled(m, ad_sum(with(m, a, false, true, false), ad_shape_of(m->positions)), 0.5);
        break;
    case MEAN:
        y = has(a, n) ? ad_mean(a, ad_shape_of(n)) : a;
        break;
    case SPREAD:
        y = with(m, a, true, true, below(m, 2));
        break;
    case TURN:
        b = expression(m, depth - 1);
        y = turned(m, a, b);
        break;
    case TAKE:
        y = ad_take(with(m, a, false, true, false), m->positions, 2);
        break;
    case MERGE:
        y = merged(m, a);
        break;
    case REVERSE:
        y = reversed(m, a);
        break;
    case GATHER:
        y = gathered(m, a);
        break;
    case SCATTER:
        y = scattered(m, a);
        break;
    case DERIVE:
        y = derived(m, a);
        break;
    case SLIDE:
    case ADD_BACK:
        y = slid(m, with(m, a, false, true, false), what == ADD_BACK);
        break;
    case WEIGH: { /* a matrix, where a is wide */
        if (has(a, n)) {
            matrix w = new_matrix(m, 0, 0);
            y = nn_apply(w.weight, a);
        }
        break;
    }
    default: {
        static const char *const kinds[] = { "softmax", "logsumexp", "max", "argmax" };
        int kind = below(m, 4);
        tell(" by %s", kinds[kind]);
        a = with(m, a, false, true, false);
        y = kind == 0   ? ad_softmax(a, m->positions)
            : kind == 1 ? ad_logsumexp(a, m->positions)
            : kind == 2 ? ad_max(a, m->positions)
                        : ad_argmax_at(AD_HERE, a, m->positions);
    }
    }
    tell(")");
    return y;
}

static ad_var turned_leaves(maker *m)
{
    tell(" turned(");
    ad_var a = leaf(m);
    ad_var b = leaf(m);
    tell(")");
    return turned(m, a, b);
}

static ad_var expression(maker *m, int depth)
{
    int what = below(m, 10);
    if (depth == 0 || what == 0)
        return leaf(m);
    if (m->even && below(m, 2))
        return below(m, 2) ? turned_leaves(m) : two_arguments(m, 1);
    if (what < 4) {
        ad_var x = expression(m, depth - 1);
        tell(" then");
        return any_function(m, x);
    }
    return what < 7 ? two_arguments(m, depth) : along_axes(m, depth);
}

/* Without positions, weighed by averages perhaps, as attention does. */
static ad_var reduced(maker *m, ad_var e)
{
    if (!has(e, m->positions))
        return e;
    switch (below(m, 4)) {
    case 0:
        tell(" [0]");
        return ad_take(e, m->positions, 0);
    case 1:
        tell(" mean over positions");
        return ad_mean(e, ad_shape_of(m->positions));
    case 2: {
        tell(" by softmax of");
        ad_var scores = expression(m, 1);
        if (has(scores, m->widths[0]))
            scores = ad_mean(scores, ad_shape_of(m->widths[0]));
        scores = ad_softmax(with(m, scores, false, true, false), m->positions);
        return ad_contract(e, scores, ad_shape_of(m->positions));
    }
    default:
        tell(" by");
        return scaled(m, ad_contract(e, data_positions(m, 1), ad_shape_of(m->positions)), 0.5);
    }
}

/* ---- steps ---- */
static ad_var spread(ad_var scalar, ad_var shape)
{
    return ad_expand(scalar, *ad_shape_get(shape));
}

/* h = phi(W h + U x) three times, with one W and one U. */
static ad_var recurrence(maker *m, int vector, int width)
{
    static const ad_op cells[] = { AD_TANH, AD_ERF, AD_RELU, AD_SIN };
    ad_op cell = cells[below(m, 4)];
    tell(" 3 times h <- %s(h +", ad_op_name(cell));
    matrix w = new_matrix(m, width, width);
    ad_var drive = of_input(m, width), h = m->vectors[vector];
    tell(") from v%d", vector);
    for (int t = 0; t < 3; t++)
        h = unary(m, cell, binary(m, AD_ADD, nn_apply(w.weight, h), drive), 0);
    return h;
}

typedef enum {
    NEW,
    AGAIN,
    TRANSPOSED,
    PLUS,
    OF_SUM,
    GATE,
    GATE_OF_SUM,
    LAYER_NORM,
    BATCH_NORM,
    AVERAGED,
    LOOP,
    SKIP,
    BIAS,
    SHIFTED,
    EMBED,
    TIED,
    HEADS,
    WITH,
    N_STEPS
} step;

/* A matrix whose first side (transposed: the second) some vector has; *vector is that. */
static matrix usable(maker *m, bool transposed, int *vector)
{
    int k = below(m, m->n_matrices);
    tell(" W%d%s", k, transposed ? "'" : "");
    *vector = alike(m, transposed ? m->matrices[k].out : m->matrices[k].in);
    return m->matrices[k];
}

static bool usable_any(maker *m, bool transposed)
{
    for (int k = 0; k < m->n_matrices; k++) {
        bool found = false;
        for (int v = 0; v < m->n_vectors; v++)
            found = found || m->width_of[v] == (transposed ? m->matrices[k].out : m->matrices[k].in);
        if (!found)
            return false;
    }
    return m->n_matrices > 0;
}

static int any_width(maker *m)
{
    return below(m, 2) ? 0 : below(m, WIDTHS);
}

/* v and an expression, joined by any row of the table. */
static ad_var joined(maker *m, int vector)
{
    static const ad_op ops[] = { AD_ADD, AD_ADD, AD_SUB, AD_MUL, AD_MUL, AD_DIV };
    ad_op op = ops[below(m, 6)];
    bool first = below(m, 2);
    tell(" %s(%s", ad_op_name(op), first ? "" : "other way round:");
    tell(" v%d,", vector);
    ad_var v = m->vectors[vector], e = reduced(m, expression(m, 1 + below(m, 2)));
    tell(")");
    if (op == AD_DIV) {
        ad_var *below_ = first ? &e : &v;
        tell(" over 1+square");
        *below_ = positive(m, *below_);
    }
    return with(m, first ? binary(m, op, v, e) : binary(m, op, e, v), true, false, true);
}

/* U' phi(v) / n, from which a vector is made again. */
static ad_var tied(maker *m, int vector)
{
    nn_weight u = any_input_weight(m, 0);
    tell("'");
    ad_var back = scaled_by(m, ad_matmul_t(activation(m, vector, true), u.omega), 1, m->widths[0], -1);
    tell(" then");
    return nn_apply(any_input_weight(m, 0), back);
}

/* Products of one matrix at all positions, of which one vector is made. */
static ad_var heads(maker *m)
{
    tell(" reduced");
    ad_var all = any_function(m, family(m));
    matrix w = new_matrix(m, 0, 0);
    return with(m, reduced(m, nn_apply(w.weight, all)), true, false, true);
}

static void grow_wide(maker *m, step kind, int x)
{
    int width = m->width_of[x], y = alike(m, width), out = width;
    ad_var a, b;
    switch (kind) {
    case NEW: {
        out = any_width(m);
        matrix w = new_matrix(m, width, out);
        push(m, nn_apply(w.weight, activation(m, x, false)), out);
        return;
    }
    case AGAIN: {
        matrix w = usable(m, false, &x);
        push(m, nn_apply(w.weight, activation(m, x, false)), w.out);
        return;
    }
    case TRANSPOSED: {
        matrix w = usable(m, true, &x);
        push(m, nn_apply_t(w.weight, activation(m, x, true)), w.in);
        return;
    }
    case OF_SUM: {
        matrix w = new_matrix(m, width, any_width(m));
        a = activation(m, x, true);
        tell(" +");
        b = activation(m, y, false);
        push(m, apply_sum(m, w.weight, a, b), w.out);
        return;
    }
    case PLUS:
        tell(" 0.7 (v%d %s v%d)", x, kind == PLUS ? "+" : "", y);
        push(m, scaled(m, binary(m, AD_ADD, m->vectors[x], m->vectors[y]), 0.7), width);
        return;
    case GATE:
        a = activation(m, x, true);
        tell(" *");
        b = activation(m, y, true);
        push(m, binary(m, AD_MUL, a, b), width);
        return;
    default:
        a = activation(m, x, true);
        tell(" * (");
        b = activation(m, y, true);
        tell(" + v%d)", x);
        push(m, times_sum(m, a, b, m->vectors[x]), width);
    }
}

static ad_var embedded(maker *m, const char *name, ad_axis width)
{
    if (!by_number(m))
        return nn_embedding(m->net, name, m->token, POSITIONS, width, 0.8);
    return ad_gather(plain_param(m, name, ad_shape_of(m->positions, width), 0, 0.8), m->token, m->positions);
}

static void grow(maker *m)
{
    static const int chances[N_STEPS] = { 8, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 9 };
    step kind = (step)chosen(m, chances, N_STEPS);
    int x = any(m), width = m->width_of[x];
    ad_var v = m->vectors[x], y;
    if ((kind == AGAIN || kind == TRANSPOSED) && !usable_any(m, kind == TRANSPOSED))
        kind = NEW;
    if (kind == BATCH_NORM && below(m, 3))
        kind = WITH;
    tell(" v%d =", m->n_vectors);
    switch (kind) {
    case LAYER_NORM: {
        bool affine = below(m, 2) && !by_number(m);
        tell(" layernorm%s v%d", affine ? " affine" : "", x);
        push(m, nn_layernorm_with(m->net, nn_name(m->net, "ln%d", m->n_vectors), v, .epsilon = 0.1, .affine = affine),
             width);
        return;
    }
    case BATCH_NORM:
        m->meets = true;
        tell(" batchnorm v%d", x);
        push(m, nn_batchnorm_with(m->net, nn_name(m->net, "bn%d", m->n_vectors), v, .epsilon = 0.5), width);
        return;
    case AVERAGED: {
        tell(" v%d times the mean of", x);
        y = activation(m, x, true);
        y = binary(m, AD_MUL, y, activation(m, alike(m, width), true));
        push(m, binary(m, AD_MUL, v, spread(ad_mean(y, ad_shape_of(m->widths[width])), v)), width);
        return;
    }
    case LOOP:
        push(m, recurrence(m, x, width), width);
        return;
    case SKIP:
        tell(" v%d +", x);
        push(m, binary(m, AD_ADD, v, of_input(m, width)), width);
        return;
    case BIAS:
        tell(" v%d +", x);
        push(m, nn_add_bias(any_bias(m, width), v), width);
        return;
    case SHIFTED: { /* n^-p W n^p */
        double p = below(m, 2) ? 0.5 : -0.75;
        tell(" n^%g", -p);
        matrix w = new_matrix(m, width, any_width(m));
        tell(" n^%g", p);
        y = scaled_by(m, activation(m, x, false), 1, m->widths[width], p);
        push(m, scaled_by(m, nn_apply(w.weight, y), 1, m->widths[width], -p), w.out);
        return;
    }
    case EMBED:
        tell(" v%d + embedding of the token", x);
        y = embedded(m, nn_name(m->net, "token%d", m->n_vectors), m->widths[width]);
        push(m, binary(m, AD_ADD, y, v), width);
        return;
    case TIED:
        push(m, tied(m, alike(m, 0)), 0);
        return;
    case HEADS:
        push(m, heads(m), 0);
        return;
    case WITH:
        push(m, joined(m, alike(m, 0)), 0);
        return;
    default:
        grow_wide(m, kind, x);
    }
}

/* ---- outputs ---- */
static ad_var readout(maker *m, const char *name, ad_axis outputs, int vector, double sigma)
{
    tell(" %g", sigma);
    ad_var y = activation(m, vector, false);
    return nn_apply(weight(m, name, m->widths[m->width_of[vector]], outputs, sigma), y);
}

/* Heads of their own vectors and deviations, one an output. */
static ad_var unlike_heads(maker *m, ad_axis outputs)
{
    ad_axis one = ad_fixed(m->graph, "head", 1), axes[2] = { one, one };
    ad_var all[2];
    int count = (int)ad_axis_fixed(m->graph, outputs);
    for (int k = 0; k < count; k++) {
        tell(" head");
        all[k] = readout(m, nn_name(m->net, "head%d", k), one, k ? any(m) : m->n_vectors - 1, 1 + k);
    }
    return ad_concat_at(AD_HERE, all, count, axes, outputs);
}

/* du/dx_k, plus u perhaps; the second derivative perhaps. */
static ad_var differential(maker *m, ad_var u, ad_axis outputs)
{
    ad_axis features = ad_shape_get(m->x)->axes[1], own_ = outputs;
    ad_var y = u;
    for (int times = below(m, 4) ? 1 : 2; times > 0; times--) {
        own_ = ad_prime(own_);
        ad_site *sites;
        ad_var adjoint, seed = ad_delta(m->graph, own_, outputs);
        size_t k = (size_t)(1 + below(m, 3));
        tell(" d/dx[%zu]", k);
        seed = ad_expand(seed, ad_shape_of(own_, m->batch, outputs));
        if (ad_backward(y, seed, &m->x, 1, &adjoint, &sites) < 0)
            return u;
        adjoint = ad_expand(adjoint, ad_shape_of(m->batch, features, own_));
        y = ad_relabel(ad_take(adjoint, features, k), own_, outputs);
    }
    if (below(m, 2))
        return y;
    tell(" + f");
    return binary(m, AD_ADD, y, u);
}

/* What happens to the outputs at last. */
static ad_var finish(maker *m, ad_var f, ad_axis outputs)
{
    static const double powers[] = { 0.5, -0.25, 0, 0 };
    ad_axis features = ad_shape_get(m->x)->axes[1], n = m->widths[0];
    ad_var e;
    double p;
    switch (below(m, m->wild ? 12 : 10)) {
    case 0:
        tell(" times x[2]");
        return binary(m, AD_MUL, f, spread(ad_take(m->x, features, 2), f));
    case 1:
        p = powers[below(m, 4)];
        tell(" n^%g and back", p);
        return scaled_by(m, scaled_by(m, f, 1.5, n, p), 1, n, -p);
    case 2:
        p = powers[below(m, 3)];
        tell(" n^%g", p);
        return scaled_by(m, f, 0.5, n, p);
    case 3:
        return differential(m, f, outputs);
    case 4:
        tell(" + sin x[1]");
        return binary(m, AD_ADD, f, spread(unary(m, AD_SIN, ad_take(m->x, features, 1), 0), f));
    case 5:
    case 10:
    case 11:
        tell(m->wild ? " then" : " times");
        if (m->wild)
            return any_function(m, f);
        e = reduced(m, data_leaf(m));
        return binary(m, AD_MUL, f, spread(e, f));
    default:
        return f;
    }
}

static ad_var outputs_of(maker *m)
{
    static const int chances[] = { 8, 2, 1, 1, 2, 4, 1 };
    int last = m->n_vectors - 1, kind = chosen(m, chances, 7);
    ad_axis outputs = nn_outputs(m->net), width = m->widths[m->width_of[last]];
    ad_shape shape = ad_shape_of(m->batch, outputs);
    ad_var f;
    tell(" f =");
    switch (kind) {
    case 1:
        f = readout(m, "readout", outputs, last, 1);
        tell(" + bias");
        return binary(m, AD_ADD, f, plain_param(m, "bias", ad_shape_of(outputs), 0, 0.5));
    case 2:
        tell(" mean of");
        return ad_expand(ad_mean(activation(m, last, false), ad_shape_of(width)), shape);
    case 3: {
        tell(" N(1, 1) readout of");
        ad_var y = activation(m, last, false), v = plain_param(m, "v", ad_shape_of(width, outputs), 1, 1);
        return scaled_by(m, ad_contract(y, v, ad_shape_of(width)), 1, width, -1);
    }
    case 4:
        f = readout(m, "readout", outputs, last, 1);
        tell(" +");
        return binary(m, AD_ADD, f, readout(m, "head", outputs, below(m, m->n_vectors), 0.7));
    case 5:
        return unlike_heads(m, outputs);
    case 6: { /* U' phi(v), of whose features the outputs are some */
        nn_weight u = any_input_weight(m, 0);
        tell("'");
        f = scaled_by(m, ad_matmul_t(activation(m, alike(m, 0), false), u.omega), 1, m->widths[0], -0.5);
        return ad_slice_at(AD_HERE, f, ad_shape_get(m->x)->axes[1], 1, ad_axis_fixed(m->graph, outputs), outputs);
    }
    default:
        return readout(m, "readout", outputs, last, 1);
    }
}

/* 0.6 of the first output and -1.3 of the second, in each place. */
static ad_var weighted(ad_var f, ad_axis outputs)
{
    ad_var g = ad_add(ad_scale(ad_take(f, outputs, 0), 0.6), ad_scale(ad_take(f, outputs, 1), -1.3));
    return ad_expand(g, *ad_shape_get(f));
}

static ad_var generate(nn_net *net, ad_var x)
{
    maker m = { .net = net, .graph = nn_graph(net), .x = x, .batch = nn_batch(net) };
    m.seed = (uint64_t)nn_setting_int(net, "seed", 1, 0, 1000000000);
    m.style = (language_style)nn_setting_int(net, "style", 0, 0, LANGUAGE_STYLES - 1);
    m.token = ad_take(x, ad_shape_get(x)->axes[1], 0);
    m.positions = ad_fixed(m.graph, "positions", POSITIONS);
    m.wild = below(&m, 4) == 0;
    m.windows = m.seed >= LANGUAGE_WINDOWS;
    m.even = m.seed >= LANGUAGE_EVEN_KINDS && !(m.windows && m.seed % 2 == 0);
    m.frozen = below(&m, 3) ? 0 : 0.3;
    for (int k = 0; k < WIDTHS; k++)
        m.widths[k] = nn_width_ratio(net, nn_name(net, "n%d", k), k == 0 ? 1 : k == 1 ? 0.5 : 2);
    snprintf(story, sizeof story, "v0 =");
    ad_var first = nn_apply(any_input_weight(&m, 0), x);
    tell(" x");
    if (below(&m, 2)) {
        tell(" +");
        first = nn_add_bias(any_bias(&m, 0), first);
    }
    push(&m, first, 0);
    for (int steps = 1 + below(&m, LAYERS - 1); steps > 0; steps--)
        grow(&m);
    ad_var f = finish(&m, outputs_of(&m), nn_outputs(net));
    f = ad_expand(f, ad_shape_of(m.batch, nn_outputs(net)));
    return m.style == LANGUAGE_WEIGHTED ? weighted(f, nn_outputs(net)) : f;
}

nn_net *language_trace(uint64_t seed, language_style style, ad_error *error)
{
    static const nn_parametrization scales[16] = { [13] = NN_STANDARD, [14] = NN_MEANFIELD, [15] = NN_MUP };
    char setting[32], way[32];
    double u[2];
    ad_uniform(seed, ad_stream("language spec"), 0, 2, u);
    snprintf(setting, sizeof setting, "seed=%llu", (unsigned long long)seed);
    snprintf(way, sizeof way, "style=%d", (int)style);
    nn_spec spec = { .features = LANGUAGE_FEATURES,
                     .outputs = 1 + seed % 2,
                     .settings = (const char *const[]){ setting, way, NULL },
                     .sigma_in = u[0] < 0.7 ? NN_SIGMA_INIT : NN_SIGMA_MULTIPLIER,
                     .parametrization = scales[(int)(16 * u[1])],
                     .name = "language" };
    return nn_trace(generate, &spec, error);
}

const char *language_story(void)
{
    return story;
}

void language_inputs(double *x)
{
    double z[4 * LANGUAGE_ROWS];
    ad_normal(1, 9, 0, 4 * LANGUAGE_ROWS, z);
    for (int i = 0; i < LANGUAGE_ROWS; i++) {
        double *row = x + (size_t)i * LANGUAGE_FEATURES;
        row[0] = i % 3;
        memcpy(row + 1, z + (size_t)4 * (size_t)i, 4 * sizeof *z);
        row[5] = 1;
    }
}

/* ---- what a network has met ---- */
const char *const language_kind_names[] = {
    "-", "data", "constant", "param", "weights", "vector", "average", "output"
};

typedef struct {
    bool data, param, width, output;
    bool plain;   /* a parameter, renamed, picked or scaled */
    bool centred; /* and of mean 0 */
} made_of;

static bool keeps_parameter(ad_op op)
{
    switch (op) {
    case AD_SCALE:
    case AD_EXPAND:
    case AD_SLICE:
    case AD_WINDOWS:
    case AD_RESHAPE:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_SUM:
        return true;
    default:
        return false;
    }
}

static made_of read_node(const ad_graph *graph, const ad_node *node, const made_of *all)
{
    made_of m = { .data = node->op == AD_INPUT, .param = node->op == AD_PARAM };
    m.plain = m.param || (node->n_in > 0 && keeps_parameter(node->op) && all[node->in[0]].plain);
    m.centred = m.param ? !(fabs(node->init->mean) > 0) : m.plain && all[node->in[0]].centred;
    for (int k = 0; k < node->n_in; k++) {
        m.data = m.data || all[node->in[k]].data;
        m.param = m.param || all[node->in[k]].param;
        m.output = m.output || all[node->in[k]].output;
    }
    for (int k = 0; k < node->shape.rank; k++)
        m.width = m.width || ad_axis_kind(graph, node->shape.axes[k]) == AD_WIDTH;
    if (node->op == AD_CONTRACT)
        for (int k = 0; k < node->over.rank; k++)
            m.output = m.output || (ad_axis_kind(graph, node->over.axes[k]) == AD_WIDTH && !m.width &&
                                    (all[node->in[0]].centred || all[node->in[1]].centred));
    return m;
}

static language_kind kind_of(made_of m)
{
    if (!m.param)
        return m.data ? OF_DATA : OF_CONSTANT;
    if (m.plain)
        return OF_PARAM;
    if (!m.width)
        return m.output ? OF_OUTPUT : OF_AVERAGE;
    return m.data ? OF_VECTOR : OF_WEIGHTS;
}

void language_read(const nn_net *net, language_cells *cells)
{
    enum { NODES = 20000 };
    static made_of all[NODES];
    const ad_graph *graph = nn_graph(net);
    memset(cells, 0, sizeof *cells);
    for (int id = 0; id < ad_graph_size(graph) && id < NODES; id++) {
        const ad_node *node = ad_node_of(graph, id);
        all[id] = read_node(graph, node, all);
        language_kind first = node->n_in ? kind_of(all[node->in[0]]) : OF_NOTHING;
        cells->seen[node->op][first][node->n_in ? kind_of(all[node->in[node->n_in - 1]]) : OF_NOTHING] = true;
    }
}

bool language_reaches(ad_op op, language_kind first, language_kind last)
{
    bool is_leaf = op == AD_INPUT || op == AD_PARAM || op == AD_CONSTANT || op == AD_DELTA;
    if (op == AD_IDENTITY) /* its builder gives x itself; derivatives alone have it */
        return false;
    bool two = ad_is_binary(op) || op == AD_CONTRACT || op == AD_CONCAT;
    if (is_leaf || first == OF_NOTHING || last == OF_NOTHING)
        return is_leaf && first == OF_NOTHING && last == OF_NOTHING;
    bool narrow = first >= OF_AVERAGE, wide = first >= OF_PARAM && !narrow, narrow2 = last >= OF_AVERAGE,
         wide2 = last >= OF_PARAM && !narrow2;
    if (op == AD_CONCAT && ((narrow && wide2) || (wide && narrow2))) /* its parts have the same axes */
        return false;
    if (op == AD_GATHER || op == AD_SCATTER) /* the index is data or a constant */
        return last == OF_DATA || last == OF_CONSTANT;
    return two || first == last;
}
