/* kernel.c: the empirical tangent kernel and NNGP kernel of a model, from Gram products.
 *
 * A parameter W used as u_k = contract(y_k, W) has the gradient
 *
 *     df_o(x_i)/dW = sum over k, r of y_k[i, r] (x) d_k[o, i, r],
 *
 * where d is the adjoint of u with a seed for each output, and r stands for the axes of u that neither W nor the
 * samples have: time, positions. So
 *
 *     Theta[i, j, o, o'] = sum over W, (k, r), (k', r') of <d_k[o, i, r], d_k'[o', j, r']> <y_k[i, r], y_k'[j, r']>.
 *
 * Both factors are matrix products of panels, (rows, columns) arrays packed from what one run gives; terms with the
 * same pair of d-panels are put together before that pair is multiplied out. A direct use (a bias) has no y: its d is
 * summed over r.
 *
 * Where samples meet (batch normalisation in training), r runs over the batch, too, and y knows no i any more:
 *
 *     Theta[i, j, o, o'] = sum over W, k, k' of <d_k[o, i], K d_k'[o', j]>,   K[r, r'] = <y_k[r], y_k'[r']>.
 *
 * Where none of that applies (W used transposed as well, many more pairs (r, r') than W has rows), the gradients
 * are formed, a tile of samples at a time, and multiplied.
 *
 * The NNGP kernel is the same sum over the readout's parameters alone, each times its initial variance: f is linear in
 * them, so that this is the mean of f f' over a new draw of the readout. */
#include "nn/inside.h"

#include "autodiff/plan.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE_BYTES = 128 << 20,    /* of the panels of one tile of samples */
    SQUARE_BYTES = 64 << 20,   /* of one (rows, rows) product */
    GRADIENT_BYTES = 32 << 20, /* of one tile of gradients */
    NO_PANEL = -1
};

/* ---- the trace ---- */
struct nn_tangent {
    bool together; /* the seed knows its sample, too: samples meet, or parameters meet before they meet a sample */
    ad_axis out, sample, batch; /* the seed's output, the sample whose output it is, and the samples of a run */
    ad_site *sites;
    int n_sites;
};

/* Is there a node without samples, other than a parameter, on the way from a parameter to y? Its adjoint is a sum over
 * samples. */
static bool meets_early(const nn_net *net, ad_var output, bool *learns, bool *reached)
{
    const ad_graph *graph = net->graph;
    reached[output.id] = true;
    for (int id = 0; id <= output.id; id++) {
        const ad_node *node = ad_look(graph, id);
        learns[id] = node->op == AD_PARAM;
        for (int k = 0; k < node->n_in; k++)
            learns[id] |= learns[node->in[k]];
    }
    for (int id = output.id; id >= 0; id--) {
        const ad_node *node = ad_look(graph, id);
        if (!reached[id] || !learns[id])
            continue;
        if (node->op != AD_PARAM && !ad_has(&node->shape, net->batch))
            return true;
        for (int k = 0; k < node->n_in; k++)
            reached[node->in[k]] = true;
    }
    return false;
}

/* The axis, primed more often than anywhere in the network. */
static ad_axis unused_prime(const nn_net *net, ad_var output, ad_axis axis)
{
    ad_axis prime = ad_prime(axis);
    for (int id = 0; id <= output.id; id++) {
        const ad_shape *shape = &ad_look(net->graph, id)->shape;
        for (int i = 0; i < shape->rank; i++)
            if (shape->axes[i].id == axis.id && shape->axes[i].prime >= prime.prime)
                prime = ad_prime(shape->axes[i]);
    }
    return prime;
}

static const struct nn_tangent *trace(const nn_net *net, int v, ad_error *error)
{
    nn_variant *variant = &((nn_net *)net)->variants[v]; /* the tangent is a cache */
    ad_var output = variant->output;
    if (variant->tangent)
        return variant->tangent;
    struct nn_tangent *t = ad_arena_alloc(net->arena, 1, sizeof *t);
    bool *marks = ad_arena_alloc(net->arena, 2 * (size_t)output.id + 2, sizeof *marks);
    if (!t || !marks) {
        ad_fail(error, "%s: kernel: out of memory", nn_title(net));
        return NULL;
    }
    t->together = ad_couples(output, net->batch) || meets_early(net, output, marks, marks + output.id + 1);
    t->batch = net->batch;
    t->out = unused_prime(net, output, net->outputs);
    t->sample = t->together ? unused_prime(net, output, net->batch) : net->batch;
    ad_var seed = ad_delta(net->graph, t->out, net->outputs);
    if (t->together) {
        ad_shape all = ad_shape_of(t->out, net->outputs, t->sample, net->batch);
        seed = ad_mul(ad_expand(seed, all), ad_expand(ad_delta(net->graph, t->sample, net->batch), all));
    }
    t->n_sites = ad_backward(output, seed, NULL, 0, NULL, &t->sites);
    if (t->n_sites < 0 || ad_failed(net->graph)) {
        ad_fail(error, "%s: kernel: %s", nn_title(net), ad_message(net->graph));
        return NULL;
    }
    return variant->tangent = t;
}

/* ---- which parameters, with which weight ---- */
/* Is the node linear, without a constant part, in the readout's parameters? depends: by node. Names what is not. */
static int check_linear(const nn_net *net, int id, const bool *depends, ad_error *error)
{
    const ad_node *node = ad_look(net->graph, id);
    if (!depends[id])
        return ad_fail(error, "%s:%d: nngp: %s: a part of the outputs that no readout multiplies", node->where.file,
                       node->where.line, ad_op_name(node->op));
    switch (node->op) {
    case AD_PARAM:
        return 0;
    case AD_ADD:
    case AD_SUB:
        return check_linear(net, node->in[0], depends, error) || check_linear(net, node->in[1], depends, error) ? -1
                                                                                                                : 0;
    case AD_NEG:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_RELABEL:
    case AD_TRANSPOSE:
        return check_linear(net, node->in[0], depends, error);
    case AD_MUL:
    case AD_CONTRACT:
        if (depends[node->in[0]] != depends[node->in[1]])
            return check_linear(net, node->in[depends[node->in[0]] ? 0 : 1], depends, error);
        break;
    default:
        break;
    }
    return ad_fail(error, "%s:%d: nngp: %s: the outputs are no readout, linear in its parameters", node->where.file,
                   node->where.line, ad_op_name(node->op));
}

static int readout_variances(const nn_net *net, ad_var output, const ad_sizes *sizes, double *variances,
                             ad_error *error)
{
    bool *depends = ad_alloc((size_t)output.id + 1, sizeof *depends, "a kernel", error);
    if (!depends)
        return -1;
    for (int k = 0; k < net->n_params; k++) {
        const ad_node *node = ad_look(net->graph, net->params[k].id);
        const ad_init *init = node->init;
        variances[k] = 0;
        if (!ad_has(&node->shape, net->outputs))
            continue;
        depends[net->params[k].id] = true;
        double deviation = init->deviation;
        if (init->axis.id)
            deviation *= pow((double)ad_axis_size(net->graph, init->axis, sizes), init->deviation_power);
        variances[k] = deviation * deviation;
        if (fabs(init->mean) > 0) {
            ad_free(depends);
            return ad_fail(error, "%s:%d: nngp: the readout %s starts around %g, not 0", node->where.file,
                           node->where.line, node->name, init->mean);
        }
    }
    for (int id = 0; id <= output.id; id++)
        for (int k = 0; k < ad_look(net->graph, id)->n_in; k++)
            depends[id] |= depends[ad_look(net->graph, id)->in[k]];
    int failed = check_linear(net, output.id, depends, error);
    ad_free(depends);
    return failed;
}

int nn_readout_variances(const nn_net *net, const ad_sizes *sizes, double *variances, ad_error *error)
{
    return readout_variances(net, net->output, sizes, variances, error);
}

/* What each parameter's part of the kernel is multiplied by. */
typedef enum { TANGENT, READOUT, TRAINING } weighing;

static int weigh(const nn_model *model, int v, weighing by, double *weights, ad_error *error)
{
    if (by == READOUT)
        return readout_variances(model->net, model->net->variants[v].output, &model->sizes, weights, error);
    for (int k = 0; k < model->net->n_params; k++)
        weights[k] = by == TRAINING ? nn_rate_scale(model->net, k, &model->sizes) : 1;
    return 0;
}

/* ---- loops, written once for float and double ---- */
/* Nested loops over strides of the source; the target is contiguous. */
typedef struct {
    int rank;
    size_t size[AD_MAX_RANK], stride[AD_MAX_RANK];
} walk;

#define LOOPS(real, letter)                                                                                            \
    static real *pack_##real(const walk *w, int level, const real *from, real *to, bool add)                           \
    {                                                                                                                  \
        if (level == w->rank) {                                                                                        \
            *to = add ? *to + *from : *from;                                                                           \
            return to + 1;                                                                                             \
        }                                                                                                              \
        size_t size = w->size[level], stride = w->stride[level];                                                       \
        if (level + 1 < w->rank) {                                                                                     \
            for (size_t i = 0; i < size; i++)                                                                          \
                to = pack_##real(w, level + 1, from + i * stride, to, add);                                            \
            return to;                                                                                                 \
        }                                                                                                              \
        if (add)                                                                                                       \
            for (size_t i = 0; i < size; i++)                                                                          \
                to[i] += from[i * stride];                                                                             \
        else if (stride == 1)                                                                                          \
            memcpy(to, from, size * sizeof *to);                                                                       \
        else                                                                                                           \
            for (size_t i = 0; i < size; i++)                                                                          \
                to[i] = from[i * stride];                                                                              \
        return to + size;                                                                                              \
    }                                                                                                                  \
    /* c (m, n) = alpha a (m, k) b (n, k)^T + beta c; only its upper triangle if b is a and `upper` */                 \
    static void gram_##real(size_t m, size_t n, size_t k, real alpha, const real *a, const real *b, real beta,         \
                            real *c, bool upper)                                                                       \
    {                                                                                                                  \
        if (upper && a == b)                                                                                           \
            cblas_##letter##syrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)m, (int)k, alpha, a, (int)k, beta, c,   \
                                 (int)n);                                                                              \
        else                                                                                                           \
            cblas_##letter##gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, alpha, a, (int)k, b, \
                                 (int)k, beta, c, (int)n);                                                             \
    }                                                                                                                  \
    /* c (m, n) += alpha a (k, m)^T b (k, n) */                                                                        \
    static void outer_##real(size_t m, size_t n, size_t k, real alpha, const real *a, const real *b, real *c)          \
    {                                                                                                                  \
        cblas_##letter##gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, alpha, a, (int)m, b,     \
                             (int)n, 1, c, (int)n);                                                                    \
    }                                                                                                                  \
    static void fill_##real(size_t n, real value, real *x)                                                             \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            x[i] += value;                                                                                             \
    }                                                                                                                  \
    /* c[(o, i), (p, j)] += d[(o, i?), (p, j?)] y[i, j]; from the diagonal on if `upper` */                            \
    static void spread_##real(size_t outs, size_t rows, size_t columns, const real *d, bool d_rows, bool d_columns,    \
                              const real *y, real *c, bool upper)                                                      \
    {                                                                                                                  \
        size_t wide = outs * (d_columns ? columns : 1);                                                                \
        for (size_t o = 0; o < outs; o++)                                                                              \
            for (size_t i = 0; i < rows; i++)                                                                          \
                for (size_t p = upper ? o : 0; p < outs; p++) {                                                        \
                    const real *dp = d + (d_rows ? o * rows + i : o) * wide + p * (d_columns ? columns : 1);           \
                    const real *yp = y + i * columns;                                                                  \
                    real *cp = c + ((o * rows + i) * outs + p) * columns;                                              \
                    size_t first = upper && p == o ? i : 0;                                                            \
                    if (d_columns)                                                                                     \
                        for (size_t j = first; j < columns; j++)                                                       \
                            cp[j] += dp[j] * yp[j];                                                                    \
                    else                                                                                               \
                        for (size_t j = first; j < columns; j++)                                                       \
                            cp[j] += *dp * yp[j];                                                                      \
                }                                                                                                      \
    }
LOOPS(float, s)
LOOPS(double, d)

/* ---- panels ---- */
/* A tensor of the graph, packed in an order of axes; axes it has not repeat it. data[0] is of the tile of rows, data[1]
 * of the tile of columns. */
typedef struct {
    int id;
    ad_shape order, sum;
    bool sampled;     /* knows its sample; if not, `order` has no samples */
    size_t instances; /* blocks of (rows, columns) */
    char *data[2];
} panel;

/* One pair of uses in the Gram way: c <d, d'> <y, y'>; y NO_PANEL: 1. Instances count the blocks of a panel. */
typedef struct {
    int d, d_at, d2, d2_at, y, y_at, y2, y2_at;
    double c;
} term;

/* One use of a parameter whose gradients are formed, or whose samples meet: c (y (x) d). */
typedef struct {
    int param, d, y; /* param: the index */
    bool met;        /* all uses of the parameter go by K */
    double c;
    ad_shape aligned, over, rest; /* axes of W: in both y and d, in y, in d */
    ad_shape sum;                 /* axes that the product y (x) d sums over */
    size_t n_aligned, n_over, n_rest;
} use;

typedef struct {
    ad_plan *plan;
    size_t rows; /* capacity */
    int *ids;    /* of the plan's outputs: tensors for panels, then what is checked */
    int n_ids, n_checked;
} kernel_plan;

struct nn_kernel {
    kernel_plan plans[2][2]; /* in training and in evaluation: of the tangent kernel and of the NNGP kernel */
    void *x;         /* the rows of one run, in the model's type */
    size_t x_rows;
    char *work; /* all buffers of a call */
    size_t work_bytes;
    struct call *last; /* ready for another one of its form; NULL: none */
};

static void call_free(struct call *c);

void nn_kernel_free(struct nn_kernel *kernel)
{
    if (!kernel)
        return;
    call_free(kernel->last);
    for (int i = 0; i < 4; i++) {
        ad_plan_free(kernel->plans[i / 2][i % 2].plan);
        ad_free(kernel->plans[i / 2][i % 2].ids);
    }
    ad_free(kernel->x);
    ad_free(kernel->work);
    ad_free(kernel);
}

/* A call: what is asked for, and all that is derived from it. */
typedef struct call {
    nn_model *model;
    const struct nn_tangent *tangent;
    struct nn_kernel *kernel;
    weighing by;
    kernel_plan *plan;
    int variant; /* in training or in evaluation */
    bool mean, symmetric;
    size_t rows, rows2;
    double *weights;
    size_t outputs, outs; /* outs: outputs that are rows of the products: all, or 1 where only the mean is wanted */
    size_t tile;          /* samples in one run */
    size_t most;          /* rows of x or of x2 */
    ad_arena *arena;
    panel *panels;
    int n_panels, panels_room;
    term *terms;
    int n_terms, terms_room;
    use *uses;
    int n_uses, uses_room;
    char *acc, *cross, *product, *factor, *gradient[2], *scratch, *applied, *met; /* pieces of the work */
    size_t gradient_rows; /* samples of one tile of gradients */
} call;

static void call_free(call *c)
{
    if (!c)
        return;
    ad_arena_free(c->arena);
    ad_free(c);
}

static size_t size_of(const call *c, ad_axis axis, size_t rows)
{
    ad_sizes sizes = nn_sizes(c->model, rows);
    return ad_axis_size(c->model->net->graph, axis, &sizes);
}

static size_t elements(const call *c, const ad_shape *shape, size_t rows)
{
    ad_sizes sizes = nn_sizes(c->model, rows);
    return ad_elements(c->model->net->graph, shape, &sizes);
}

/* What is left of a tensor without its factors and its copies along axes: c times the node that is returned. A factor
 * that depends on the number of samples stays: it is another one for x than for x2. */
static int peel(const call *c, ad_var v, double *factor)
{
    const ad_graph *graph = c->model->net->graph;
    const ad_node *node = ad_look(graph, v.id);
    *factor = 1;
    while (node->op == AD_SCALE || node->op == AD_EXPAND) {
        if (node->op == AD_SCALE) {
            if (node->axis.id && ad_axis_kind(graph, node->axis) == AD_BATCH)
                break;
            *factor *= node->c;
            if (node->axis.id)
                *factor *= pow((double)size_of(c, node->axis, 1), node->power);
        }
        v.id = node->in[0];
        node = ad_look(graph, v.id);
    }
    return v.id;
}

static ad_shape without(const ad_shape *shape, const ad_shape *gone)
{
    ad_shape rest = { 0 };
    for (int i = 0; i < shape->rank; i++)
        if (!ad_has(gone, shape->axes[i]))
            rest.axes[rest.rank++] = shape->axes[i];
    return rest;
}

static void append(ad_shape *shape, const ad_shape *more)
{
    for (int i = 0; i < more->rank; i++)
        if (!ad_has(shape, more->axes[i]) && shape->rank < AD_MAX_RANK)
            shape->axes[shape->rank++] = more->axes[i];
}

static bool same_order(const ad_shape *a, const ad_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++)
        same = ad_same(a->axes[i], b->axes[i]);
    return same;
}

/* Room for one more in an array of the arena. */
static bool grow(call *c, void **array, int used, int *room, size_t size)
{
    if (used < *room)
        return true;
    int larger = *room ? 2 * *room : 32;
    void *new = ad_arena_alloc(c->arena, (size_t)larger, size);
    if (!new)
        return false;
    if (used)
        memcpy(new, *array, (size_t)used * size);
    *array = new;
    *room = larger;
    return true;
}

static int find_panel(call *c, int id, ad_shape order, ad_shape sum, size_t instances)
{
    for (int i = 0; i < c->n_panels; i++)
        if (c->panels[i].id == id && c->panels[i].instances == instances && same_order(&c->panels[i].order, &order) &&
            same_order(&c->panels[i].sum, &sum))
            return i;
    void *panels = c->panels;
    if (!grow(c, &panels, c->n_panels, &c->panels_room, sizeof *c->panels))
        return -2;
    c->panels = panels;
    c->panels[c->n_panels] = (panel){
        .id = id, .order = order, .sum = sum, .instances = instances, .sampled = ad_has(&order, c->tangent->sample)
    };
    return c->n_panels++;
}

/* ---- from sites to terms ---- */
/* The axes of a site: of W, in y, in d or in both; and what is summed over. */
static use split(const ad_site *site)
{
    const ad_shape *w = ad_shape_get(site->param);
    use u = { .y = NO_PANEL, .c = 1, .over = site->over, .rest = *w };
    if (site->y.graph) {
        u.rest = without(w, &site->over);
        u.aligned = without(&u.rest, ad_shape_get(site->y));
        u.aligned = without(&u.rest, &u.aligned);
        u.rest = without(&u.rest, &u.aligned);
    }
    return u;
}

/* The axes that a product sums over beyond W's: time, positions, and the batch where samples meet. */
static ad_shape summed_axes(const call *c, const ad_site *site)
{
    const struct nn_tangent *t = c->tangent;
    ad_shape all = *ad_shape_get(site->delta), seeds = ad_shape_of(t->out, t->sample);
    if (site->y.graph)
        append(&all, ad_shape_get(site->y));
    all = without(&all, ad_shape_get(site->param));
    return without(&all, &seeds);
}

/* The tensor's panel for the Gram way: (instances, rows, columns). A mean over outputs takes them as columns. */
static int gram_panel(call *c, ad_var v, bool adjoint, const ad_shape *instances, const ad_shape *columns,
                      const ad_shape *sum, double *factor)
{
    const struct nn_tangent *t = c->tangent;
    int id = peel(c, v, factor);
    bool sampled = !adjoint || ad_has(&ad_look(c->model->net->graph, id)->shape, t->sample);
    ad_shape order = *instances, out = ad_shape_of(t->out), sample = ad_shape_of(t->sample);
    if (adjoint && !c->mean)
        append(&order, &out);
    if (sampled)
        append(&order, &sample);
    if (adjoint && c->mean)
        append(&order, &out);
    append(&order, columns);
    return find_panel(c, id, order, *sum, elements(c, instances, 1));
}

static bool add_term(call *c, term t)
{
    /* of two orders of a pair the symmetric product needs one */
    if (c->symmetric && (t.d > t.d2 || (t.d == t.d2 && t.d_at > t.d2_at)))
        return true;
    void *terms = c->terms;
    if (!grow(c, &terms, c->n_terms, &c->terms_room, sizeof *c->terms))
        return false;
    c->terms = terms;
    c->terms[c->n_terms++] = t;
    return true;
}

/* Can the parameter's uses be paired, and is that less work than forming gradients? A pair is a product over the columns
 * of W, gradients are one over rows and columns; but these are formed, stored and read before, which is several times
 * their product: at n = 512, 784 pairs take a sixth of the time. */
static bool pairs_well(const call *c, int param)
{
    const struct nn_tangent *t = c->tangent;
    const ad_site *first = NULL;
    double instances = 0;
    for (int s = 0; s < t->n_sites; s++) {
        const ad_site *site = &t->sites[s];
        if (site->param.id != c->model->net->params[param].id)
            continue;
        use u = split(site);
        ad_shape sum = summed_axes(c, site);
        if (t->together || u.aligned.rank)
            return false;
        if (!first)
            first = site;
        if (!site->y.graph != !first->y.graph || !same_order(&site->over, &first->over))
            return false;
        instances += site->y.graph ? (double)elements(c, &sum, 1) : 1;
    }
    return !first || instances <= 1 || !first->y.graph || instances * instances <= 4 * (double)elements(c, &first->over, 1);
}

static int make_terms(call *c, int param, ad_error *error)
{
    const struct nn_tangent *t = c->tangent;
    typedef struct {
        int d, y;
        double c;
        size_t instances;
    } side;
    side *sides = ad_arena_alloc(c->arena, (size_t)t->n_sites + 1, sizeof *sides);
    int n = 0;
    for (int s = 0; s < t->n_sites && sides; s++) {
        const ad_site *site = &t->sites[s];
        if (site->param.id != c->model->net->params[param].id)
            continue;
        use u = split(site);
        ad_shape sum = summed_axes(c, site), none = { 0 };
        double one, two = 1;
        bool product = site->y.graph != NULL;
        side *one_side = &sides[n++];
        one_side->d = gram_panel(c, site->delta, true, product ? &sum : &none, &u.rest, product ? &none : &sum, &one);
        one_side->y = product ? gram_panel(c, site->y, false, &sum, &u.over, &none, &two) : NO_PANEL;
        one_side->instances = product ? elements(c, &sum, 1) : 1;
        one_side->c = one * two;
        if (one_side->d == -2 || one_side->y == -2)
            return ad_fail(error, "kernel: out of memory");
    }
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            for (size_t i = 0; i < sides[a].instances; i++)
                for (size_t k = 0; k < sides[b].instances; k++)
                    if (!add_term(c, (term){ .d = sides[a].d,
                                             .d_at = (int)i,
                                             .d2 = sides[b].d,
                                             .d2_at = (int)k,
                                             .y = sides[a].y,
                                             .y_at = (int)i,
                                             .y2 = sides[b].y,
                                             .y2_at = (int)k,
                                             .c = c->weights[param] * sides[a].c * sides[b].c }))
                        return ad_fail(error, "kernel: out of memory");
    return sides ? 0 : ad_fail(error, "kernel: out of memory");
}

/* Can the uses of a parameter go by K, and is that less work than forming gradients? */
static bool meet_well(const call *c, const use *uses, int n)
{
    size_t turns = 0;
    for (int k = 0; k < n; k++) {
        if (uses[k].y == NO_PANEL || uses[k].aligned.rank || c->panels[uses[k].y].sampled ||
            !same_order(&uses[k].over, &uses->over))
            return false;
        turns += elements(c, &uses[k].sum, c->most);
    }
    return c->tangent->together && turns <= uses->n_over;
}

static int make_uses(call *c, int param, ad_error *error)
{
    const struct nn_tangent *t = c->tangent;
    int first = c->n_uses;
    for (int s = 0; s < t->n_sites; s++) {
        const ad_site *site = &t->sites[s];
        if (site->param.id != c->model->net->params[param].id)
            continue;
        use u = split(site);
        ad_shape sum = summed_axes(c, site), none = { 0 };
        ad_shape order = ad_shape_of(t->out, t->sample), sample = ad_shape_of(t->sample);
        double one, two = 1;
        bool product = site->y.graph != NULL;
        u.param = param;
        append(&order, &u.aligned);
        if (product)
            append(&order, &sum);
        append(&order, &u.rest);
        u.d = find_panel(c, peel(c, site->delta, &one), order, product ? none : sum, 1);
        if (product) {
            int id = peel(c, site->y, &two);
            order = ad_has(&ad_look(c->model->net->graph, id)->shape, t->sample) ? sample : none;
            append(&order, &u.aligned);
            append(&order, &sum);
            append(&order, &u.over);
            u.y = find_panel(c, id, order, none, 1);
        }
        u.c = one * two;
        u.n_aligned = elements(c, &u.aligned, 1);
        u.n_over = product ? elements(c, &u.over, 1) : 1;
        u.n_rest = elements(c, &u.rest, 1);
        u.sum = product ? sum : none;
        void *uses = c->uses;
        if (u.d == -2 || u.y == -2 || !grow(c, &uses, c->n_uses, &c->uses_room, sizeof *c->uses))
            return ad_fail(error, "kernel: out of memory");
        c->uses = uses;
        c->uses[c->n_uses++] = u;
    }
    bool met = c->n_uses > first && meet_well(c, c->uses + first, c->n_uses - first);
    for (int k = first; k < c->n_uses; k++)
        c->uses[k].met = met;
    return 0;
}

static int compare(const void *one, const void *two)
{
    const term *a = one, *b = two;
    int order[] = { a->d - b->d, a->d2 - b->d2, a->d_at - b->d_at, a->d2_at - b->d2_at, a->y - b->y, a->y2 - b->y2 };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i])
            return order[i];
    return 0;
}

/* ---- one run ---- */
static int make_plan(call *c, const ad_var *outputs, int *ids, int n, int n_checked, ad_error *error)
{
    kernel_plan *p = c->plan;
    ad_plan_free(p->plan);
    ad_free(p->ids);
    *p = (kernel_plan){ .ids = ids, .n_ids = n, .n_checked = n_checked, .rows = c->tile };
    ad_plan_spec spec = { .type = c->model->type, .threads = c->model->threads,
                          .capacity = nn_sizes(c->model, c->tile) };
    return n && !(p->plan = ad_plan_new(outputs, n, &spec, error)) ? -1 : 0;
}

static int prepare(call *c, ad_error *error)
{
    const nn_net *net = c->model->net;
    struct nn_kernel *kernel = c->kernel;
    size_t room = (size_t)c->n_panels + (size_t)net->n_statistics + 1;
    int n = 0, n_checked = 0, *ids = ad_alloc(room, sizeof *ids, "a kernel", error);
    ad_var *outputs = ad_alloc(room, sizeof *outputs, "a kernel", error);
    int failed = ids && outputs ? 0 : -1;
    for (int i = 0; i < c->n_panels && !failed; i++) {
        int id = c->panels[i].id, k = 0;
        ad_op op = ad_look(net->graph, id)->op;
        while (k < n && ids[k] != id)
            k++;
        if (k < n || op == AD_INPUT || op == AD_PARAM)
            continue;
        ids[n] = id;
        outputs[n++] = (ad_var){ net->graph, id };
    }
    if (!failed && c->variant == 0)
        n_checked = nn_norm_outputs(net, true, outputs + n);
    for (int k = 0; k < n_checked; k++)
        ids[n + k] = outputs[n + k].id;
    n += n_checked;
    if (kernel->x_rows < c->tile && !failed) {
        ad_free(kernel->x);
        kernel->x_rows = 0;
        kernel->x = ad_alloc(c->tile * nn_features(net), nn_bytes(c->model->type), "inputs", error);
        failed = kernel->x ? 0 : -1;
        kernel->x_rows = failed ? 0 : c->tile;
    }
    bool fits = c->plan->plan && c->plan->rows >= c->tile && c->plan->n_ids == n && !failed &&
                memcmp(c->plan->ids, ids, (size_t)n * sizeof *ids) == 0;
    if (!fits && !failed) {
        failed = make_plan(c, outputs, ids, n, n_checked, error);
        ids = NULL;
    }
    if (!failed && c->plan->plan) {
        nn_bind_params(c->model, c->plan->plan);
        ad_bind(c->plan->plan, net->input, kernel->x);
    }
    ad_free(ids);
    ad_free(outputs);
    return failed;
}

static const char *tensor_data(const call *c, int id)
{
    const nn_model *model = c->model;
    if (id == model->net->input.id)
        return c->kernel->x;
    for (int k = 0; k < model->net->n_params + model->net->n_statistics; k++)
        if (model->net->params[k].id == id)
            return (const char *)model->values + model->offsets[k] * nn_bytes(model->type);
    int k = 0;
    while (c->plan->ids[k] != id)
        k++;
    return ad_output(c->plan->plan, k);
}

/* The step in memory from one entry of an axis to the next; 0 where the tensor has it not. */
static size_t stride_of(const call *c, const ad_shape *shape, ad_axis axis, size_t rows)
{
    size_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (ad_same(shape->axes[i], axis))
            return stride;
        stride *= size_of(c, shape->axes[i], rows);
    }
    return 0;
}

static void pack(const call *c, const walk *w, const char *from, char *to, bool add)
{
    if (c->model->type == AD_FLOAT)
        pack_float(w, 0, (const float *)from, (float *)to, add);
    else
        pack_double(w, 0, (const double *)from, (double *)to, add);
}

static void fill_panel(const call *c, const panel *p, size_t rows, char *to)
{
    const ad_shape *shape = &ad_look(c->model->net->graph, p->id)->shape;
    size_t bytes = nn_bytes(c->model->type), turns = elements(c, &p->sum, rows);
    const char *from = tensor_data(c, p->id);
    walk w = { .rank = p->order.rank };
    for (int i = 0; i < w.rank; i++) {
        w.size[i] = size_of(c, p->order.axes[i], rows);
        w.stride[i] = stride_of(c, shape, p->order.axes[i], rows);
    }
    for (size_t turn = 0; turn < turns; turn++) {
        size_t offset = 0, rest = turn;
        for (int i = p->sum.rank - 1; i >= 0; i--) {
            size_t size = size_of(c, p->sum.axes[i], rows);
            offset += rest % size * stride_of(c, shape, p->sum.axes[i], rows);
            rest /= size;
        }
        pack(c, &w, from + offset * bytes, to, turn > 0);
    }
}

/* Runs samples x (rows, features) and packs all panels of one side. */
static int run_tile(call *c, int side, const double *x, size_t first, size_t rows, ad_error *error)
{
    size_t features = nn_features(c->model->net), bad = 0;
    ad_sizes sizes = nn_sizes(c->model, rows);
    ad_plan *plan = c->plan->plan;
    if (!nn_convert(x + first * features, rows * features, c->model->type, c->kernel->x, &bad))
        return ad_fail(error, "x: row %zu holds a number that is not finite", first + bad / features);
    if (plan && (ad_run(plan, &sizes, error) != 0 ||
                 (c->plan->n_checked &&
                  nn_norm_check(c->model, plan, c->plan->n_ids - c->plan->n_checked, rows, error) != 0)))
        return -1;
    for (int i = 0; i < c->n_panels; i++)
        fill_panel(c, &c->panels[i], rows, c->panels[i].data[side]);
    return 0;
}

/* ---- products ---- */
static void gram(const call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b, double beta,
                 char *to, bool upper)
{
    if (c->model->type == AD_FLOAT)
        gram_float(m, n, k, (float)alpha, (const float *)a, (const float *)b, (float)beta, (float *)to, upper);
    else
        gram_double(m, n, k, alpha, (const double *)a, (const double *)b, beta, (double *)to, upper);
}

static void spread(const call *c, size_t rows, size_t columns, const char *d, bool d_rows, bool d_columns,
                   const char *y, char *to, bool upper)
{
    if (c->model->type == AD_FLOAT)
        spread_float(c->outs, rows, columns, (const float *)d, d_rows, d_columns, (const float *)y, (float *)to, upper);
    else
        spread_double(c->outs, rows, columns, (const double *)d, d_rows, d_columns, (const double *)y, (double *)to,
                      upper);
}

/* The block of one instance of a panel. */
static const char *block(const call *c, int p, int at, int side, size_t rows)
{
    const panel *q = &c->panels[p];
    return q->data[side] + (size_t)at * (elements(c, &q->order, rows) / q->instances) * nn_bytes(c->model->type);
}

/* Terms that share their pair of d-panels: acc += (sum of c <y, y'>) times <d, d'>. `swapped`: with the sides of every
 * pair exchanged. */
static void add_group(call *c, const term *terms, int n, const size_t *rows, int other, bool swapped)
{
    size_t bytes = nn_bytes(c->model->type);
    bool same = other == 0;
    memset(c->factor, 0, rows[0] * rows[1] * bytes);
    for (int i = 0; i < n; i++) {
        term t = terms[i];
        if (swapped)
            t = (term){ t.d2, t.d2_at, t.d, t.d_at, t.y2, t.y2_at, t.y, t.y_at, t.c };
        if (t.y == NO_PANEL) {
            if (c->model->type == AD_FLOAT)
                fill_float(rows[0] * rows[1], (float)t.c, (float *)c->factor);
            else
                fill_double(rows[0] * rows[1], t.c, (double *)c->factor);
            continue;
        }
        const panel *y = &c->panels[t.y];
        size_t columns = elements(c, &y->order, rows[0]) / y->instances / rows[0];
        gram(c, rows[0], rows[1], columns, t.c, block(c, t.y, t.y_at, 0, rows[0]),
             block(c, t.y2, t.y2_at, other, rows[1]), 1, c->factor, false);
    }
    int a = swapped ? terms->d2 : terms->d, a_at = swapped ? terms->d2_at : terms->d_at;
    int b = swapped ? terms->d : terms->d2, b_at = swapped ? terms->d_at : terms->d2_at;
    const panel *d = &c->panels[a], *d2 = &c->panels[b];
    bool diagonal = same && a == b && a_at == b_at;
    size_t m = c->outs * (d->sampled ? rows[0] : 1), wide = c->outs * (d2->sampled ? rows[1] : 1);
    size_t columns = elements(c, &d->order, rows[0]) / d->instances / m;
    gram(c, m, wide, columns, 1, block(c, a, a_at, 0, rows[0]), block(c, b, b_at, other, rows[1]), 0, c->product,
         diagonal && d->sampled);
    spread(c, rows[0], rows[1], c->product, d->sampled, d2->sampled, c->factor, same && !diagonal ? c->cross : c->acc,
           diagonal);
}

static bool alike(const term *a, const term *b)
{
    return a->d == b->d && a->d2 == b->d2 && a->d_at == b->d_at && a->d2_at == b->d2_at;
}

static void add_terms(call *c, const size_t *rows, int other)
{
    for (int first = 0, end; first < c->n_terms; first = end) {
        const term *t = &c->terms[first];
        for (end = first + 1; end < c->n_terms && alike(t, &c->terms[end]);)
            end++;
        add_group(c, t, end - first, rows, other, false);
        if (c->symmetric && other == 1 && (t->d != t->d2 || t->d_at != t->d2_at))
            add_group(c, t, end - first, rows, other, true);
    }
}

/* ---- by the gradients themselves ---- */
/* W's gradients, (outputs, count, W), of samples first, first + 1, ... of a side. */
static void form_gradients(call *c, const use *uses, int n, int side, size_t rows, size_t first, size_t count, char *to)
{
    const nn_model *model = c->model;
    const ad_shape *shape = ad_shape_get(model->net->params[uses->param]);
    size_t bytes = nn_bytes(model->type), size = elements(c, shape, 1);
    bool is_float = model->type == AD_FLOAT;
    memset(to, 0, c->outputs * count * size * bytes);
    for (int k = 0; k < n; k++) {
        const use *u = &uses[k];
        size_t n_sum = elements(c, &u->sum, rows), part = u->n_over * u->n_rest;
        ad_shape forward = u->aligned, backward = u->aligned;
        append(&forward, &u->over);
        append(&forward, &u->rest);
        append(&backward, &u->rest);
        append(&backward, &u->over);
        bool straight = same_order(&forward, shape), turned = same_order(&backward, shape);
        walk w = { .rank = shape->rank };
        for (int i = 0; i < w.rank; i++) {
            w.size[i] = size_of(c, shape->axes[i], 1);
            w.stride[i] = stride_of(c, &forward, shape->axes[i], 1);
        }
        for (size_t row = 0; row < c->outputs * count; row++) {
            size_t o = row / count, i = first + row % count;
            char *g = to + row * size * bytes;
            const char *d = c->panels[u->d].data[side] + (o * rows + i) * u->n_aligned * n_sum * u->n_rest * bytes;
            if (u->y == NO_PANEL) {
                if (is_float)
                    cblas_saxpy((int)size, (float)u->c, (const float *)d, 1, (float *)g, 1);
                else
                    cblas_daxpy((int)size, u->c, (const double *)d, 1, (double *)g, 1);
                continue;
            }
            const panel *yp = &c->panels[u->y];
            const char *y = yp->data[side] + (yp->sampled ? i : 0) * u->n_aligned * n_sum * u->n_over * bytes;
            char *at = straight || turned ? g : c->scratch;
            if (at != g)
                memset(at, 0, size * bytes);
            for (size_t a = 0; a < u->n_aligned; a++) {
                const char *da = d + a * n_sum * u->n_rest * bytes, *ya = y + a * n_sum * u->n_over * bytes;
                bool turn = turned && !straight;
                size_t m = turn ? u->n_rest : u->n_over, wide = turn ? u->n_over : u->n_rest;
                const char *one = turn ? da : ya, *two = turn ? ya : da;
                if (is_float)
                    outer_float(m, wide, n_sum, (float)u->c, (const float *)one, (const float *)two,
                                (float *)(at + a * part * bytes));
                else
                    outer_double(m, wide, n_sum, u->c, (const double *)one, (const double *)two,
                                 (double *)(at + a * part * bytes));
            }
            if (at != g)
                pack(c, &w, at, g, true);
        }
    }
}

/* acc[(o, i), (p, j)] += the products of two tiles of gradients. */
static void add_products(call *c, const size_t *rows, const size_t *first, const size_t *count, const char *g,
                         const char *g2, size_t size, double weight, char *to)
{
    size_t bytes = nn_bytes(c->model->type), wide = c->outs * count[1];
    if (!c->mean)
        gram(c, c->outs * count[0], wide, size, weight, g, g2, 0, c->product, false);
    for (size_t o = 0; o < c->outputs && c->mean; o++)
        gram(c, count[0], count[1], size, weight, g + o * count[0] * size * bytes, g2 + o * count[1] * size * bytes,
             o ? 1 : 0, c->product, false);
    for (size_t row = 0; row < c->outs * count[0]; row++)
        for (size_t p = 0; p < c->outs; p++) {
            size_t o = row / count[0], i = first[0] + row % count[0];
            const char *from = c->product + (row * wide + p * count[1]) * bytes;
            char *target = to + (((o * rows[0] + i) * c->outs + p) * rows[1] + first[1]) * bytes;
            pack(c, &(walk){ .rank = 1, .size = { count[1] }, .stride = { 1 } }, from, target, true);
        }
}

/* The uses of one parameter by K: K d' for every row (output, sample) of the second side, then one Gram product. */
static void add_met(call *c, const use *uses, int n, const size_t *rows, int other)
{
    size_t bytes = nn_bytes(c->model->type), none[2] = { 0 }, rest = uses->n_rest;
    for (int k = 0; k < n * n; k++) {
        const use *a = &uses[k / n], *b = &uses[k % n];
        size_t turns = elements(c, &a->sum, rows[0]), turns2 = elements(c, &b->sum, rows[1]);
        gram(c, turns2, turns, a->n_over, a->c * b->c, c->panels[b->y].data[other], c->panels[a->y].data[0], 0, c->met,
             false);
        memset(c->applied, 0, c->outputs * rows[1] * turns * rest * bytes);
        for (size_t row = 0; row < c->outputs * rows[1]; row++) {
            const char *d = c->panels[b->d].data[other] + row * turns2 * rest * bytes;
            char *to = c->applied + row * turns * rest * bytes;
            if (c->model->type == AD_FLOAT)
                outer_float(turns, rest, turns2, 1, (const float *)c->met, (const float *)d, (float *)to);
            else
                outer_double(turns, rest, turns2, 1, (const double *)c->met, (const double *)d, (double *)to);
        }
        add_products(c, rows, none, rows, c->panels[a->d].data[0], c->applied, turns * rest, c->weights[a->param],
                     c->acc);
    }
}

static void add_gradients(call *c, const size_t *rows, int other)
{
    bool same = other == 0;
    for (int begin = 0, end; begin < c->n_uses; begin = end) {
        const use *u = &c->uses[begin];
        for (end = begin + 1; end < c->n_uses && c->uses[end].param == u->param;)
            end++;
        if (u->met) {
            add_met(c, u, end - begin, rows, other);
            continue;
        }
        size_t size = elements(c, ad_shape_get(c->model->net->params[u->param]), 1), step = c->gradient_rows;
        for (size_t i = 0; i < rows[0]; i += step) {
            size_t count[2] = { rows[0] - i < step ? rows[0] - i : step, 0 };
            form_gradients(c, u, end - begin, 0, rows[0], i, count[0], c->gradient[0]);
            for (size_t k = same ? i : 0; k < rows[1]; k += step) {
                bool again = same && k == i;
                count[1] = rows[1] - k < step ? rows[1] - k : step;
                if (!again)
                    form_gradients(c, u, end - begin, other, rows[1], k, count[1], c->gradient[1]);
                add_products(c, rows, (size_t[]){ i, k }, count, c->gradient[0], c->gradient[again ? 0 : 1], size,
                             c->weights[u->param], same && !again ? c->cross : c->acc);
            }
        }
    }
}

/* ---- the whole kernel ---- */
/* Writes a tile's products to the result, (N, M, O, O) or (N, M). */
static void write_out(const call *c, const size_t *first, const size_t *rows, bool same, size_t n_columns, double *out)
{
    size_t outs = c->outs, wide = outs * rows[1];
    double factor = c->mean ? 1 / (double)c->outputs : 1;
    for (size_t i = 0; i < rows[0]; i++)
        for (size_t j = same ? i : 0; j < rows[1]; j++)
            for (size_t o = 0; o < outs; o++)
                for (size_t p = 0; p < outs; p++) {
                    size_t a = o * rows[0] + i, b = p * rows[1] + j, ii = first[0] + i, jj = first[1] + j;
                    size_t least = same && a > b ? b : a, most = same && a > b ? a : b;
                    double value = nn_value(c->acc, least * wide + most, c->model->type);
                    if (same && c->cross)
                        value += nn_value(c->cross, a * wide + b, c->model->type) +
                                 nn_value(c->cross, b * wide + a, c->model->type);
                    value *= factor;
                    out[((ii * n_columns + jj) * outs + o) * outs + p] = value;
                    if (c->symmetric)
                        out[((jj * n_columns + ii) * outs + p) * outs + o] = value;
                }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Chooses the tile, and lays out the buffers of the call. */
static int lay_out(call *c, size_t rows, ad_error *error)
{
    const nn_model *model = c->model;
    size_t bytes = nn_bytes(model->type), per_row = 1, largest = 1, total = 0, turns = 0, applied = 0;
    bool formed = false;
    for (int i = 0; i < c->n_panels; i++)
        per_row += elements(c, &c->panels[i].order, 1) * bytes;
    for (int i = 0; i < c->n_uses; i++) {
        const use *u = &c->uses[i];
        size_t size = elements(c, ad_shape_get(model->net->params[u->param]), 1), n = elements(c, &u->sum, c->most);
        if (u->met) {
            turns = n > turns ? n : turns;
            applied = u->n_rest > applied ? u->n_rest : applied;
            continue;
        }
        formed = true;
        largest = size > largest ? size : largest;
    }
    applied *= c->outputs * c->most * turns * bytes;
    c->tile = c->most;
    if (!c->tangent->together && !model->net->variants[c->variant].mixes) {
        size_t square = (size_t)sqrt((double)SQUARE_BYTES / (double)bytes) / c->outs;
        c->tile = least(c->most, least(square ? square : 1, TILE_BYTES / per_row + 1));
    }
    c->gradient_rows = least(c->tile, GRADIENT_BYTES / (c->outputs * largest * bytes) + 1);
    bool once = c->symmetric && c->tile >= rows, crosses = false;
    for (int i = 0; i < c->n_terms && c->symmetric; i++)
        crosses = crosses || c->terms[i].d != c->terms[i].d2 || c->terms[i].d_at != c->terms[i].d2_at;
    crosses = crosses || (c->symmetric && formed && c->gradient_rows < c->tile);
    size_t square = c->outs * c->outs * c->tile * c->tile * bytes;
    size_t gradients = formed ? c->outputs * c->gradient_rows * largest * bytes : 0;

    struct {
        char **piece;
        size_t bytes;
    } pieces[] = { { &c->acc, square }, { &c->cross, crosses ? square : 0 }, { &c->product, square },
                   { &c->factor, c->tile * c->tile * bytes }, { &c->gradient[0], gradients },
                   { &c->gradient[1], gradients }, { &c->scratch, formed ? largest * bytes : 0 },
                   { &c->applied, applied }, { &c->met, turns * turns * bytes } };
    enum { PIECES = sizeof pieces / sizeof *pieces };
    for (int turn = 0; turn < 2; turn++) { /* first the sizes, then the places */
        total = 0;
        for (int i = 0; i < PIECES; i++) {
            *pieces[i].piece = turn && pieces[i].bytes ? c->kernel->work + total : NULL;
            total += (pieces[i].bytes + 63) / 64 * 64;
        }
        for (int i = 0; i < c->n_panels; i++)
            for (int side = 0; side < (once ? 1 : 2); side++) {
                c->panels[i].data[side] = turn ? c->kernel->work + total : NULL;
                total += (elements(c, &c->panels[i].order, c->tile) * bytes + 63) / 64 * 64;
            }
        if (!turn && total > c->kernel->work_bytes) {
            ad_free(c->kernel->work);
            c->kernel->work_bytes = 0;
            if (!(c->kernel->work = ad_alloc(total, 1, "a kernel", error)))
                return -1;
            c->kernel->work_bytes = total;
        }
    }
    return 0;
}

static int compute(call *c, const double *x, size_t rows, const double *x2, size_t rows2, double *out, ad_error *error)
{
    size_t bytes = nn_bytes(c->model->type), n_columns = c->symmetric ? rows : rows2;
    for (size_t i = 0; i < rows; i += c->tile) {
        size_t count[2] = { least(c->tile, rows - i), 0 };
        if (run_tile(c, 0, x, i, count[0], error) != 0)
            return -1;
        for (size_t k = c->symmetric ? i : 0; k < n_columns; k += c->tile) {
            bool same = c->symmetric && k == i;
            count[1] = least(c->tile, n_columns - k);
            if (!same && run_tile(c, 1, c->symmetric ? x : x2, k, count[1], error) != 0)
                return -1;
            size_t square = c->outs * c->outs * count[0] * count[1] * bytes;
            memset(c->acc, 0, square);
            if (c->cross)
                memset(c->cross, 0, square);
            int blas_threads = ad_blas_begin(c->model->threads);
            add_terms(c, count, same ? 0 : 1);
            add_gradients(c, count, same ? 0 : 1);
            ad_blas_end(blas_threads);
            write_out(c, (size_t[]){ i, k }, count, same, n_columns, out);
        }
    }
    return 0;
}

static bool same_form(const call *a, const call *b)
{
    return a->variant == b->variant && a->by == b->by && a->mean == b->mean && a->symmetric == b->symmetric && a->rows == b->rows &&
           a->rows2 == b->rows2;
}

/* A call of the form, with its terms, its plan and its places in the work: nothing of it depends on what the inputs
 * and the parameters are. */
static call *make_call(const call *form, ad_error *error)
{
    nn_model *model = form->model;
    const nn_net *net = model->net;
    call *c = ad_alloc(1, sizeof *c, "a kernel", error);
    if (!c)
        return NULL;
    *c = *form;
    c->plan = &model->kernel->plans[c->variant][c->by == READOUT];
    c->tangent = trace(net, c->variant, error);
    c->outputs = nn_n_outputs(net);
    c->most = c->rows2 > c->rows ? c->rows2 : c->rows;
    c->outs = c->mean ? 1 : c->outputs;
    if (!c->tangent || !(c->arena = ad_arena_new(error)))
        goto failed;
    if (!(c->weights = ad_arena_alloc(c->arena, (size_t)net->n_params + 1, sizeof *c->weights))) {
        ad_fail(error, "kernel: out of memory");
        goto failed;
    }
    if (weigh(model, c->variant, c->by, c->weights, error) != 0)
        goto failed;
    for (int k = 0; k < net->n_params; k++)
        if (c->weights[k] > 0 && (pairs_well(c, k) ? make_terms(c, k, error) : make_uses(c, k, error)) != 0)
            goto failed;
    if (c->n_terms)
        qsort(c->terms, (size_t)c->n_terms, sizeof *c->terms, compare);
    if (lay_out(c, c->rows, error) == 0 && prepare(c, error) == 0)
        return c;
failed:
    call_free(c);
    return NULL;
}

/* A kernel of the same form as the one before allocates nothing. */
static int kernel_of(nn_model *model, weighing by, const double *x, size_t rows, const double *x2, size_t rows2,
                     nn_kernel_outputs outputs, double *out, ad_error *error)
{
    const nn_net *net = model->net;
    if (rows == 0 || (x2 && rows2 == 0))
        return ad_fail(error, "%s: kernel: no rows", nn_title(net));
    if (!model->kernel && !(model->kernel = ad_alloc(1, sizeof *model->kernel, "a kernel", error)))
        return -1;
    int v = nn_variant_of(model, NN_TRAINING);
    if (v == 0 && (nn_norm_check_rows(model, rows, error) || (x2 && nn_norm_check_rows(model, rows2, error))))
        return -1;
    const call form = { .model = model, .kernel = model->kernel, .variant = v, .by = by, .mean = outputs == NN_MEAN,
                        .symmetric = !x2, .rows = rows, .rows2 = x2 ? rows2 : rows };
    if (!model->kernel->last || !same_form(model->kernel->last, &form)) {
        call_free(model->kernel->last);
        if (!(model->kernel->last = make_call(&form, error)))
            return -1;
    }
    return compute(model->kernel->last, x, rows, x2, rows2, out, error);
}

int nn_ntk(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
           double *out, ad_error *error)
{
    return kernel_of(model, TANGENT, x, rows, x2, rows2, outputs, out, error);
}

int nn_nngp(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
            double *out, ad_error *error)
{
    return kernel_of(model, READOUT, x, rows, x2, rows2, outputs, out, error);
}

int nn_training_kernel(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2,
                       nn_kernel_outputs outputs, double *out, ad_error *error)
{
    return kernel_of(model, TRAINING, x, rows, x2, rows2, outputs, out, error);
}
