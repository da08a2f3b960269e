/* trace_chain.c: the trace between two vectors as a chain of free factors, found by its structure: matrices that are
 * used once, and coordinatewise functions of one Gaussian vector each. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/spectrum/inside.h"

#include <math.h>
#include <string.h>

/* A function between two vectors. */
typedef struct {
    int factor, v, argument;
    double mean_square; /* of v */
} piece;

typedef struct {
    tp_program *program;
    const ad_graph *graph;
    const double *x;
    int from, to;
    bool *reach; /* by node: depends on `from` */
    tp_chain *chain;
    int capacity;
    piece *pieces;
    int n_pieces, piece_capacity;
    double log_scale, power; /* of the square of J: what scales and deviations bring, times n^power */
    ad_error *error;
} builder;

static const ad_node *node_at(const builder *b, int id)
{
    return ad_node_of(b->graph, id);
}

static int refuse(const builder *b, int id, const char *why)
{
    const ad_node *node = node_at(b, id);
    return ad_fail(b->error, "%s:%d: %s: %s", tp_short_file(node->where.file), node->where.line, ad_op_name(node->op),
                   why);
}

/* The width axis of a vector, and its size in n. */
static double space_of(const builder *b, int id)
{
    const ad_shape *shape = &node_at(b, id)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (tp_is_width(b->graph, shape->axes[i]))
            return ad_axis_ratio(b->graph, shape->axes[i]);
    return 0;
}

static tp_chain_factor *add_factor(builder *b, tp_chain_factor factor)
{
    if (!ad_grow((void **)&b->chain->factors, b->chain->n, &b->capacity, sizeof factor, "a chain", b->error))
        return NULL;
    b->chain->factors[b->chain->n] = factor;
    return &b->chain->factors[b->chain->n++];
}

/* ---- matrices ---- */
/* How often the forward pass multiplies with a parameter. */
static int uses_of(const builder *b, int param)
{
    int uses = 0;
    for (int id = 0; id < b->program->forward; id++) {
        const ad_node *node = node_at(b, id);
        for (int k = 0; b->program->lives[id] && node->op == AD_CONTRACT && k < node->n_in; k++)
            uses += b->program->params[node->in[k]] == param;
    }
    return uses;
}

/* W x, or W' x: which operand is the matrix; -1: none is. */
static int matrix_operand(const builder *b, const ad_node *node)
{
    for (int k = 0; node->op == AD_CONTRACT && k < 2; k++)
        if (b->program->params[node->in[k]] >= 0 && b->program->widths[node->in[k]] == 2)
            return k;
    return -1;
}

static int add_matrix(builder *b, int id, int k)
{
    const ad_node *node = node_at(b, id);
    int param = b->program->params[node->in[k]], uses = uses_of(b, param);
    const ad_init *init = node_at(b, param)->init;
    char why[300];
    if (uses > 1) {
        snprintf(why, sizeof why,
                 "%.80s is used %d times, and the factors of a density by free probability are independent",
                 node_at(b, param)->name, uses);
        return refuse(b, id, why);
    }
    if (fabs(init->mean) > 0)
        return refuse(b, id, "a matrix whose mean is not 0");
    if (!(init->deviation > 0))
        return refuse(b, id, "its weights are 0, and so is the Jacobian");
    double in = space_of(b, node->in[1 - k]), out = space_of(b, id);
    if (init->orthogonal && fabs(in - out) > 1e-12 * in)
        return refuse(b, id, "an orthogonal matrix between widths of different size has no density here");
    double power = init->axis.id ? init->deviation_power : 0;
    double ratio = init->axis.id ? ad_axis_ratio(b->graph, init->axis) : 1;
    b->power += 2 * power + 1;
    return add_factor(b, (tp_chain_factor){ .kind = init->orthogonal ? TP_ORTHOGONAL_FACTOR : TP_GAUSSIAN_FACTOR,
                                            .variance = pow(init->deviation * pow(ratio, power), 2) * in,
                                            .in = in,
                                            .out = out })
               ? 0
               : -1;
}

/* ---- functions ---- */
static bool is_coordinatewise(const ad_node *node)
{
    return ad_is_unary(node->op) || ad_is_binary(node->op) || node->op == AD_SCALE || node->op == AD_EXPAND ||
           node->op == AD_RELABEL || node->op == AD_TRANSPOSE;
}

/* The Gaussian vector that a coordinatewise function is of: all ways from v to `from` lead through it. -1 with an error
 * where there is none. */
static int find_argument(builder *b, int v)
{
    int status = -1, waiting = 1;
    bool *marked = ad_alloc((size_t)v + 1, sizeof *marked, "a chain", b->error);
    if (!marked)
        return -1;
    marked[v] = true;
    for (int id = v; id >= b->from; id--) {
        const ad_node *node = node_at(b, id);
        if (!marked[id])
            continue;
        if (id != v && waiting == 1 && tp_is_gaussian(b->program, id)) {
            status = id;
            break;
        }
        if (id == b->from || !is_coordinatewise(node)) {
            refuse(b, id,
                   id == b->from ? "a vector that is not Gaussian with mean 0 goes through a function"
                   : node->op == AD_CONTRACT
                       ? "its product is added to what it was made of, or meets another: no chain of free factors"
                       : "it is neither a product with a matrix nor coordinatewise: no chain of free factors");
            break;
        }
        waiting--;
        for (int k = 0; k < node->n_in; k++) {
            int in = node->in[k];
            if (!b->reach[in] && (b->program->learns[in] || b->program->widths[in] > 0 || b->program->data[in])) {
                refuse(b, id, "its other argument is no constant: no chain of free factors");
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

static int add_function(builder *b, int v, int *next)
{
    int g = find_argument(b, v);
    if (g < 0)
        return -1;
    double space = space_of(b, v);
    if (!add_factor(b, (tp_chain_factor){ .kind = TP_DIAGONAL_FACTOR, .variance = 1, .in = space, .out = space }) ||
        !ad_grow((void **)&b->pieces, b->n_pieces, &b->piece_capacity, sizeof *b->pieces, "a chain", b->error))
        return -1;
    b->pieces[b->n_pieces++] = (piece){ b->chain->n - 1, v, g, 0 };
    *next = g;
    return 0;
}

/* ---- variances, from the first vector on ---- */
/* The variance that the exact engine finds at the input. */
static int asked_variance(const builder *b, int id, double *variance, double *power)
{
    tp_kernel kernel = { 0 };
    ad_var vector = { b->program->graph, id };
    if (tp_gaussian_covariance(b->program, vector, b->x, 1, NULL, 0, NULL, &kernel, b->error))
        return -1;
    *variance = kernel.n_terms ? kernel.terms[0].values[0] : 0;
    *power = kernel.n_terms ? kernel.terms[0].power : 0;
    bool one = kernel.n_terms <= 1;
    tp_kernel_free(&kernel);
    return one ? 0 : refuse(b, id, "its variance has several powers of n");
}

/* E v^2 of a product's operand, if it is a function of the chain, scaled perhaps; -1 if it is not known. */
static int known_square(const builder *b, int id, double *square, double *power)
{
    const ad_node *node = node_at(b, id);
    for (int k = 0; k < b->n_pieces; k++)
        if (b->pieces[k].v == id && b->pieces[k].mean_square > 0) {
            *square = b->pieces[k].mean_square;
            *power = 0;
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
static int matrix_below(const builder *b, int id)
{
    const ad_node *node = node_at(b, id);
    while (node->op == AD_SCALE || node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_NEG)
        node = node_at(b, node->in[0]);
    int k = matrix_operand(b, node);
    return k < 0 ? -1 : b->program->params[node->in[k]];
}

/* How many nodes of the forward pass take a node as an operand. */
static int takers_of(const builder *b, int operand)
{
    int takers = 0;
    for (int id = 0; id < b->program->forward; id++)
        for (int k = 0; b->program->lives[id] && k < node_at(b, id)->n_in; k++)
            takers += node_at(b, id)->in[k] == operand;
    return takers;
}

/* Of a bias that is used once, spread and scaled. */
static int bias_variance(const builder *b, int id, double *variance, double *power)
{
    const ad_node *node = node_at(b, id);
    if (node->op == AD_EXPAND)
        return bias_variance(b, node->in[0], variance, power);
    if (node->op == AD_SCALE && !node->axis.id && !bias_variance(b, node->in[0], variance, power)) {
        *variance *= node->c * node->c;
        return 0;
    }
    if (node->op != AD_PARAM || b->program->widths[id] != 1 || fabs(node->init->mean) > 0 || takers_of(b, id) > 1)
        return -1;
    *variance = pow(node->init->deviation, 2);
    *power = node->init->axis.id ? 2 * node->init->deviation_power : 0;
    return fabs(*power) > 0 && fabs(ad_axis_ratio(b->graph, node->init->axis) - 1) > 1e-12 ? -1 : 0;
}

/* The variance of a Gaussian vector, times n^power: what a matrix of its own makes of a function that is known, scaled,
 * and a bias of its own; of all else what the exact engine says. */
static int variance_of(const builder *b, int id, double *variance, double *power)
{
    const ad_node *node = node_at(b, id);
    double other, other_power;
    int k = matrix_operand(b, node);
    if (k >= 0) {
        int param = b->program->params[node->in[k]];
        const ad_init *init = node_at(b, param)->init;
        double own = init->axis.id ? init->deviation_power : 0;
        double ratio = init->axis.id ? ad_axis_ratio(b->graph, init->axis) : 1;
        if (uses_of(b, param) > 1 || known_square(b, node->in[1 - k], variance, power))
            return asked_variance(b, id, variance, power);
        *variance *= pow(init->deviation * pow(ratio, own), 2) * space_of(b, node->in[1 - k]);
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
            return asked_variance(b, id, variance, power);
        *variance *=
            node->c * node->c * (node->axis.id ? pow(ad_axis_ratio(b->graph, node->axis), 2 * node->power) : 1);
        *power += node->axis.id ? 2 * node->power : 0;
        return 0;
    case AD_ADD:
        if (matrix_below(b, node->in[0]) < 0 || bias_variance(b, node->in[1], &other, &other_power) ||
            variance_of(b, node->in[0], variance, power) || fabs(*power) + fabs(other_power) > 1e-9)
            return asked_variance(b, id, variance, power);
        *variance += other;
        return 0;
    default:
        return asked_variance(b, id, variance, power);
    }
}

static int find_laws(builder *b)
{
    for (int k = b->n_pieces - 1; k >= 0; k--) {
        piece *p = &b->pieces[k];
        ad_var v = { b->program->graph, p->v }, argument = { b->program->graph, p->argument };
        tp_law *law = &b->chain->factors[p->factor].law;
        double variance, power;
        if (variance_of(b, p->argument, &variance, &power))
            return -1;
        if (fabs(power) > 1e-9 || !(variance > 0))
            return refuse(b, p->v, variance > 0 ? "its argument goes like a power of n" : "its argument is 0 here");
        if (tp_law_of_function(b->program, v, argument, variance, law, &p->mean_square, b->error))
            return -1;
        if (law->n == 0)
            return refuse(b, p->v, "its derivative is 0 almost everywhere, and so is the Jacobian");
    }
    return 0;
}

/* ---- the way down ---- */
static void times_scale(builder *b, const ad_node *node)
{
    b->log_scale += 2 * log(fabs(node->c));
    if (node->axis.id && tp_is_width(b->graph, node->axis)) {
        b->log_scale += 2 * node->power * log(ad_axis_ratio(b->graph, node->axis));
        b->power += 2 * node->power;
    } else if (node->axis.id && ad_axis_kind(b->graph, node->axis) == AD_FIXED) {
        b->log_scale += 2 * node->power * log((double)ad_axis_fixed(b->graph, node->axis));
    }
}

/* One factor, or a step to an operand; *v moves on. */
static int step_down(builder *b, int *v)
{
    const ad_node *node = node_at(b, *v);
    int k = matrix_operand(b, node), on = 0, first = -1;
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
            return refuse(b, *v, "times 0: the Jacobian is 0");
        times_scale(b, node);
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

/* From the first vector to the last. */
static int walk(builder *b, const tp_vectors *between)
{
    *b->chain = (tp_chain){ 0 };
    b->graph = b->program->graph;
    b->from = between->from.id;
    b->to = between->to.id;
    b->log_scale = 2 * log(between->scale);
    b->power = 2 * between->power;
    int status = (b->reach = tp_depends_on(b->graph, b->from, b->to, b->error)) ? 0 : -1;
    for (int v = b->to; !status && v != b->from;)
        status = step_down(b, &v);
    return status;
}

int tp_trace_chain(tp_program *program, const tp_vectors *between, const double *x, tp_chain *chain, ad_error *error)
{
    builder b = { .program = program, .x = x, .chain = chain, .error = error };
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
    builder b = { .program = program, .x = x, .chain = &chain, .error = error };
    double variance = 0, square = 0, power = 0, off = 0;
    int status = walk(&b, between);
    if (!status && b.n_pieces < 2)
        status = ad_fail(error, "spectrum: a critical line is of networks with two hidden preactivations or more");
    if (!status)
        status = find_laws(&b);
    if (!status) {
        piece first = b.pieces[b.n_pieces - 1], next = b.pieces[b.n_pieces - 2];
        status = asked_variance(&b, first.argument, &layer->variance, &off);
        if (!status)
            status = variance_of(&b, next.argument, &variance, &power);
        layer->function = (ad_var){ program->graph, first.v };
        layer->argument = (ad_var){ program->graph, first.argument };
        square = first.mean_square;
        layer->bias_square = 0;
        const ad_node *node = node_at(&b, next.argument);
        if (node->op == AD_ADD && bias_variance(&b, node->in[1], &layer->bias_square, &power))
            status = refuse(&b, next.argument, "no bias of its own is added to the product");
        layer->weight_square = (variance - layer->bias_square) / square;
    }
    ad_free(b.reach);
    ad_free(b.pieces);
    tp_chain_free(&chain);
    return status;
}
