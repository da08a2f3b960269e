/* trace_chain.c: the trace between two vectors as a chain of free factors, found by its structure: matrices that are
 * never used with their transposes, and coordinatewise functions of one Gaussian vector each. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/spectrum/walk.h"

#include <math.h>
#include <string.h>

const ad_node *tp_walk_node(const tp_walk *b, int id)
{
    return ad_node_of(b->graph, id);
}

int tp_walk_refuse(const tp_walk *b, int id, const char *why)
{
    const ad_node *node = tp_walk_node(b, id);
    return ad_fail(b->error, "%s:%d: %s: %s", tp_short_file(node->where.file), node->where.line, ad_op_name(node->op),
                   why);
}

/* The width axis of a vector, and its size in n. */
double tp_walk_space(const tp_walk *b, int id)
{
    const ad_shape *shape = &tp_walk_node(b, id)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (tp_is_width(b->graph, shape->axes[i]))
            return ad_axis_ratio(b->graph, shape->axes[i]);
    return 0;
}

static tp_chain_factor *add_factor(tp_walk *b, tp_chain_factor factor)
{
    if (!ad_grow((void **)&b->chain->factors, b->chain->n, &b->capacity, sizeof factor, "a chain", b->error))
        return NULL;
    b->chain->factors[b->chain->n] = factor;
    return &b->chain->factors[b->chain->n++];
}

/* ---- matrices ---- */
/* How often the forward pass multiplies with a parameter. */
int tp_walk_uses(const tp_walk *b, int param)
{
    int uses = 0;
    for (int id = 0; id < b->program->forward; id++) {
        const ad_node *node = tp_walk_node(b, id);
        for (int k = 0; b->program->lives[id] && node->op == AD_CONTRACT && k < node->n_in; k++)
            uses += b->program->params[node->in[k]] == param;
    }
    return uses;
}

/* W x, or W' x: which operand is the matrix; -1: none is. */
int tp_walk_operand(const tp_walk *b, const ad_node *node)
{
    for (int k = 0; node->op == AD_CONTRACT && k < 2; k++)
        if (b->program->params[node->in[k]] >= 0 && b->program->widths[node->in[k]] == 2)
            return k;
    return -1;
}

int tp_walk_matrix(const tp_walk *b, int id, int k, tp_chain_factor *factor, double *power)
{
    const ad_node *node = tp_walk_node(b, id);
    const ad_init *init = tp_walk_node(b, b->program->params[node->in[k]])->init;
    if (fabs(init->mean) > 0)
        return tp_walk_refuse(b, id, "a matrix whose mean is not 0");
    if (!(init->deviation > 0))
        return tp_walk_refuse(b, id, "its weights are 0, and so is the Jacobian");
    double in = tp_walk_space(b, node->in[1 - k]), out = tp_walk_space(b, id);
    if (init->orthogonal && fabs(in - out) > 1e-12 * in)
        return tp_walk_refuse(b, id, "an orthogonal matrix between widths of different size has no density here");
    double own = init->axis.id ? init->deviation_power : 0;
    double ratio = init->axis.id ? ad_axis_ratio(b->graph, init->axis) : 1;
    *power = 2 * own + 1;
    *factor = (tp_chain_factor){ .kind = init->orthogonal ? TP_ORTHOGONAL_FACTOR : TP_GAUSSIAN_FACTOR,
                                 .variance = pow(init->deviation * pow(ratio, own), 2) * in,
                                 .in = in,
                                 .out = out };
    return 0;
}

/* A Gaussian matrix that comes again counts as one of its own, as long as its transpose is nowhere: in a word of J and
 * J' only places of the same depth pair without crossing, for between two that pair are as many of J as of J', and so
 * no moment knows whether matrices of different depths are one (powers of R-diagonal elements: Haagerup and Larsen,
 * J. Funct. Anal. 176, 2000). */
static int add_matrix(tp_walk *b, int id, int k)
{
    int param = b->program->params[tp_walk_node(b, id)->in[k]], uses = tp_walk_uses(b, param);
    tp_chain_factor factor;
    double power;
    char why[300];
    if (tp_walk_matrix(b, id, k, &factor, &power))
        return -1;
    if (uses > 1 && (factor.kind != TP_GAUSSIAN_FACTOR || !b->one_way)) {
        snprintf(why, sizeof why, "%.80s is used %d times, %s", tp_walk_node(b, param)->name, uses,
                 b->one_way ? "and an orthogonal matrix has a density only where it is used once"
                            : "and some matrix with its transpose: no chain of free factors");
        return tp_walk_refuse(b, id, why);
    }
    b->power += power;
    return add_factor(b, factor) ? 0 : -1;
}

/* ---- functions ---- */
static bool is_coordinatewise(const ad_node *node)
{
    return ad_is_unary(node->op) || ad_is_binary(node->op) || node->op == AD_SCALE || node->op == AD_EXPAND ||
           node->op == AD_RELABEL || node->op == AD_TRANSPOSE;
}

/* One number, over any axes. */
static bool is_number(const tp_walk *b, int id)
{
    const ad_node *node = tp_walk_node(b, id);
    while (node->op == AD_EXPAND || node->op == AD_RELABEL || node->op == AD_TRANSPOSE)
        node = tp_walk_node(b, node->in[0]);
    return node->op == AD_CONSTANT;
}

/* The Gaussian vector that a coordinatewise function is of: all ways from v to `from` lead through it. -1 with an error
 * where there is none. */
int tp_walk_argument(const tp_walk *b, int v)
{
    int status = -1, waiting = 1;
    bool *marked = ad_alloc((size_t)v + 1, sizeof *marked, "a chain", b->error);
    if (!marked)
        return -1;
    marked[v] = true;
    for (int id = v; id >= b->from; id--) {
        const ad_node *node = tp_walk_node(b, id);
        if (!marked[id])
            continue;
        if (id != v && waiting == 1 && tp_is_gaussian(b->program, id)) {
            status = id;
            break;
        }
        if (id == b->from || !is_coordinatewise(node)) {
            tp_walk_refuse(
                b, id,
                id == b->from ? "a vector that is not Gaussian with mean 0 goes through a function"
                : node->op == AD_CONTRACT
                    ? "its product is added to what it was made of, or meets another: no chain of free factors"
                    : "it is neither a product with a matrix nor coordinatewise: no chain of free factors");
            break;
        }
        waiting--;
        for (int k = 0; k < node->n_in; k++) {
            int in = node->in[k];
            if (!b->reach[in] && !is_number(b, in) &&
                (b->program->learns[in] || b->program->widths[in] > 0 || b->program->data[in])) {
                tp_walk_refuse(b, id, "its other argument is no constant: no chain of free factors");
                waiting = -1;
                break;
            }
            waiting += b->reach[in] && !marked[in];
            marked[in] = marked[in] || b->reach[in];
        }
        if (waiting < 0)
            break;
    }
    ad_free(marked);
    return status;
}

/* Of a product that several scales take, with 1/sqrt(n) among their factors, the first: the vector of the layer. */
static int first_scale(const tp_walk *b, int g)
{
    ad_op op = tp_walk_node(b, g)->op;
    for (int id = g + 1; id < b->to && (op == AD_CONTRACT || op == AD_RELABEL || op == AD_TRANSPOSE); id++) {
        const ad_node *node = tp_walk_node(b, id);
        if (node->op == AD_SCALE && node->in[0] == g && node->axis.id && b->reach[id])
            return id;
    }
    return g;
}

static int add_function(tp_walk *b, int v, int *next)
{
    int g = tp_walk_argument(b, v);
    if (g < 0)
        return -1;
    g = first_scale(b, g);
    double space = tp_walk_space(b, v);
    if (!add_factor(b, (tp_chain_factor){ .kind = TP_DIAGONAL_FACTOR, .variance = 1, .in = space, .out = space }) ||
        !ad_grow((void **)&b->pieces, b->n_pieces, &b->piece_capacity, sizeof *b->pieces, "a chain", b->error))
        return -1;
    b->pieces[b->n_pieces++] = (tp_piece){ b->chain->n - 1, v, g, 0, 0 };
    *next = g;
    return 0;
}

/* ---- variances, from the first vector on ---- */
/* The variance that the exact engine finds at the input. */
int tp_walk_variance(const tp_walk *b, int id, double *variance, double *power)
{
    tp_kernel kernel = { 0 };
    ad_var vector = { b->program->graph, id };
    if (tp_gaussian_covariance(b->program, vector, b->x, 1, NULL, 0, NULL, &kernel, b->error))
        return -1;
    *variance = kernel.n_terms ? kernel.terms[0].values[0] : 0;
    *power = kernel.n_terms ? kernel.terms[0].power : 0;
    bool one = kernel.n_terms <= 1;
    tp_kernel_free(&kernel);
    return one ? 0 : tp_walk_refuse(b, id, "its variance has several powers of n");
}

/* E v^2 of a product's operand, if it is a function of the chain, scaled perhaps; -1 if it is not known. */
static int known_square(const tp_walk *b, int id, double *square, double *power)
{
    const ad_node *node = tp_walk_node(b, id);
    for (int k = 0; k < b->n_pieces; k++)
        if (b->pieces[k].v == id && b->pieces[k].mean_square > 0) {
            *square = b->pieces[k].mean_square;
            *power = b->pieces[k].power;
            return 0;
        }
    if (node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_IDENTITY || node->op == AD_NEG)
        return known_square(b, node->in[0], square, power);
    if (node->op != AD_SCALE || (node->axis.id && !tp_is_width(b->graph, node->axis)) ||
        known_square(b, node->in[0], square, power))
        return -1;
    *square *= node->c * node->c * (node->axis.id ? pow(ad_axis_ratio(b->graph, node->axis), 2 * node->power) : 1);
    *power += node->axis.id ? 2 * node->power : 0;
    return 0;
}

/* The matrix whose product a vector is, scaled perhaps; -1 if it is none. */
static int matrix_below(const tp_walk *b, int id)
{
    const ad_node *node = tp_walk_node(b, id);
    while (node->op == AD_SCALE || node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_NEG)
        node = tp_walk_node(b, node->in[0]);
    int k = tp_walk_operand(b, node);
    return k < 0 ? -1 : b->program->params[node->in[k]];
}

int tp_walk_takers(const tp_walk *b, int operand)
{
    int takers = 0;
    for (int id = 0; id < b->program->forward; id++)
        for (int k = 0; b->program->lives[id] && k < tp_walk_node(b, id)->n_in; k++)
            takers += tp_walk_node(b, id)->in[k] == operand;
    return takers;
}

/* Of a bias that is used once, spread and scaled. */
int tp_walk_bias(const tp_walk *b, int id, double *variance, double *power)
{
    const ad_node *node = tp_walk_node(b, id);
    if (node->op == AD_EXPAND)
        return tp_walk_bias(b, node->in[0], variance, power);
    if (node->op == AD_SCALE && !node->axis.id && !tp_walk_bias(b, node->in[0], variance, power)) {
        *variance *= node->c * node->c;
        return 0;
    }
    if (node->op != AD_PARAM || b->program->widths[id] != 1 || fabs(node->init->mean) > 0 || tp_walk_takers(b, id) > 1)
        return -1;
    *variance = pow(node->init->deviation, 2);
    *power = node->init->axis.id ? 2 * node->init->deviation_power : 0;
    return fabs(*power) > 0 && fabs(ad_axis_ratio(b->graph, node->init->axis) - 1) > 1e-12 ? -1 : 0;
}

/* The variance of a Gaussian vector, times n^power: what a matrix of its own makes of a function that is known, scaled,
 * and a bias of its own; of all else what the exact engine says. */
static int variance_of(const tp_walk *b, int id, double *variance, double *power)
{
    const ad_node *node = tp_walk_node(b, id);
    double other, other_power;
    int k = tp_walk_operand(b, node);
    if (k >= 0) {
        int param = b->program->params[node->in[k]];
        const ad_init *init = tp_walk_node(b, param)->init;
        double own = init->axis.id ? init->deviation_power : 0;
        double ratio = init->axis.id ? ad_axis_ratio(b->graph, init->axis) : 1;
        if (tp_walk_uses(b, param) > 1 || known_square(b, node->in[1 - k], variance, power))
            return tp_walk_variance(b, id, variance, power);
        *variance *= pow(init->deviation * pow(ratio, own), 2) * tp_walk_space(b, node->in[1 - k]);
        *power += 2 * own + 1;
        return 0;
    }
    switch (node->op) {
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_IDENTITY:
    case AD_NEG:
        return variance_of(b, node->in[0], variance, power);
    case AD_SCALE:
        if ((node->axis.id && !tp_is_width(b->graph, node->axis)) || variance_of(b, node->in[0], variance, power))
            return tp_walk_variance(b, id, variance, power);
        *variance *=
            node->c * node->c * (node->axis.id ? pow(ad_axis_ratio(b->graph, node->axis), 2 * node->power) : 1);
        *power += node->axis.id ? 2 * node->power : 0;
        return 0;
    case AD_ADD:
        if (matrix_below(b, node->in[0]) < 0 || tp_walk_bias(b, node->in[1], &other, &other_power) ||
            variance_of(b, node->in[0], variance, power) || fabs(*power) + fabs(other_power) > 1e-9)
            return tp_walk_variance(b, id, variance, power);
        *variance += other;
        return 0;
    default:
        return tp_walk_variance(b, id, variance, power);
    }
}

static int find_laws(tp_walk *b)
{
    for (int k = b->n_pieces - 1; k >= 0; k--) {
        tp_piece *p = &b->pieces[k];
        ad_var v = { b->program->graph, p->v }, argument = { b->program->graph, p->argument };
        tp_law *law = &b->chain->factors[p->factor].law;
        double variance, power;
        if (variance_of(b, p->argument, &variance, &power))
            return -1;
        if (fabs(power) > 1e-9 || !(variance > 0))
            return tp_walk_refuse(b, p->v,
                                  variance > 0 ? "its argument goes like a power of n" : "its argument is 0 here");
        if (!isfinite(variance))
            return tp_walk_refuse(b, p->v, "the variance of its argument leaves the range of a double here");
        if (tp_law_of_function(b->program, v, argument, variance, b->n_pieces == 1, law, &p->mean_square, b->error))
            return -1;
        p->mean_square *= law->outer;
        p->power = law->outer_power;
        b->log_scale += log(law->outer);
        b->power += law->outer_power;
        if (law->n == 0)
            return tp_walk_refuse(b, p->v, "its derivative is 0 almost everywhere, and so is the Jacobian");
    }
    return 0;
}

/* ---- the way down ---- */
void tp_walk_scale(const tp_walk *b, const ad_node *node, double *log_scale, double *power)
{
    *log_scale += 2 * log(fabs(node->c));
    if (node->axis.id && tp_is_width(b->graph, node->axis)) {
        *log_scale += 2 * node->power * log(ad_axis_ratio(b->graph, node->axis));
        *power += 2 * node->power;
    } else if (node->axis.id && ad_axis_kind(b->graph, node->axis) == AD_FIXED) {
        *log_scale += 2 * node->power * log((double)ad_axis_fixed(b->graph, node->axis));
    }
}

/* One factor, or a step to an operand; *v moves on. */
static int step_down(tp_walk *b, int *v)
{
    const ad_node *node = tp_walk_node(b, *v);
    int k = tp_walk_operand(b, node), on = 0, first = -1;
    if (k >= 0 && b->reach[node->in[1 - k]]) {
        int id = *v;
        *v = node->in[1 - k];
        return add_matrix(b, id, k);
    }
    for (int i = 0; i < node->n_in; i++)
        if (b->reach[node->in[i]]) {
            on++;
            first = first < 0 ? node->in[i] : first;
        }
    switch (node->op) {
    case AD_SCALE:
        if (!(fabs(node->c) > 0))
            return tp_walk_refuse(b, *v, "times 0: the Jacobian is 0");
        tp_walk_scale(b, node, &b->log_scale, &b->power);
        *v = first;
        return 0;
    case AD_NEG:
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_RELABEL:
    case AD_TRANSPOSE:
        *v = first;
        return 0;
    case AD_ADD:
    case AD_SUB:
        if (on == 1) {
            *v = first;
            return 0;
        }
        return add_function(b, *v, v);
    default:
        return add_function(b, *v, v);
    }
}

static void reverse(tp_chain *chain)
{
    for (int i = 0, k = chain->n - 1; i < k; i++, k--) {
        tp_chain_factor swap = chain->factors[i];
        chain->factors[i] = chain->factors[k];
        chain->factors[k] = swap;
    }
}

int tp_walk_begin(tp_walk *b, const tp_vectors *between)
{
    tp_checks checks;
    b->graph = b->program->graph;
    b->from = between->from.id;
    b->to = between->to.id;
    b->log_scale = 2 * log(between->scale);
    b->power = 2 * between->power;
    b->reach = tp_depends_on(b->graph, b->from, b->to, b->error);
    if (!b->reach || tp_check(b->program, &checks, b->error) < 0)
        return -1;
    b->one_way = checks.one_way;
    return 0;
}

/* From the last vector to the first. */
static int walk(tp_walk *b, const tp_vectors *between)
{
    *b->chain = (tp_chain){ 0 };
    int status = tp_walk_begin(b, between);
    for (int v = b->to; !status && v != b->from;)
        status = step_down(b, &v);
    return status;
}

int tp_trace_chain(tp_program *program, const tp_vectors *between, const double *x, tp_chain *chain, ad_error *error)
{
    tp_walk b = { .program = program, .x = x, .chain = chain, .error = error };
    int status = walk(&b, between);
    if (!status)
        status = find_laws(&b);
    ad_free(b.reach);
    ad_free(b.pieces);
    if (!status && chain->n == 0)
        status = ad_fail(error, "spectrum: between the two vectors is no matrix and no function");
    if (!status && fabs(b.power) > 1e-9)
        status = ad_fail(error, "spectrum: J J' goes like n^%g: it has no limit in this parametrization", b.power);
    reverse(chain);
    chain->log_scale = b.log_scale;
    if (status)
        tp_chain_free(chain);
    return status;
}

int tp_first_layer(tp_program *program, const tp_vectors *between, const double *x, tp_layer *layer, ad_error *error)
{
    tp_chain chain;
    tp_walk b = { .program = program, .x = x, .chain = &chain, .error = error };
    double variance = 0, square = 0, power = 0, off = 0;
    int status = walk(&b, between);
    if (!status && b.n_pieces < 2)
        status = ad_fail(
            error,
            "spectrum: a critical line is of networks with a function between two hidden preactivations, and one "
            "after them");
    if (!status)
        status = find_laws(&b);
    if (!status) {
        tp_piece first = b.pieces[b.n_pieces - 1], next = b.pieces[b.n_pieces - 2];
        status = tp_walk_variance(&b, first.argument, &layer->variance, &off);
        if (!status)
            status = variance_of(&b, next.argument, &variance, &power);
        layer->function = (ad_var){ program->graph, first.v };
        layer->argument = (ad_var){ program->graph, first.argument };
        square = first.mean_square / chain.factors[first.factor].law.outer;
        layer->bias_square = 0;
        const ad_node *node = tp_walk_node(&b, next.argument);
        if (node->op == AD_ADD && tp_walk_bias(&b, node->in[1], &layer->bias_square, &power))
            status = tp_walk_refuse(
                &b, next.argument,
                "what is added to the product is no bias of its own: critical lines are of chains of layers");
        layer->weight_square = (variance - layer->bias_square) / square;
    }
    ad_free(b.reach);
    ad_free(b.pieces);
    tp_chain_free(&chain);
    return status;
}
