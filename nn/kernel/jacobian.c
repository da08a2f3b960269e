/* jacobian.c: products of the Jacobian and vectors.
 *
 * J^T u is a reverse pass with the cotangent u: gradients g_k(u), linear in u. J t is a reverse pass through that one:
 * with s(u) = sum over k of <g_k(u), t_k> = <J^T u, t> = <u, J t>, it is ds/du, which needs no derivative of anything
 * that does not depend on u, and no second one of an activation (Christianson 1992; Townsend 2017). */
#include "autodiff/base/base.h"
#include "nn/kernel/kernel.h"

#include <string.h>

enum { MAX_ROWS = 512 /* in one go, where samples do not meet */ };

struct nn_jacobian_trace {
    ad_var cotangent, *gradients; /* (batch, outputs); by parameter, with its axes; id -1: f does not depend on it, or
                                        it is frozen */
    ad_var *tangents, product;    /* by parameter, with its axes; J t, (batch, outputs) */
};

/* Of one variant and one of the two products. */
typedef struct {
    ad_plan *plan;
    size_t rows; /* its capacity */
    void *x, *vector;
    int *params; /* by output of the plan, the parameter whose gradient it is */
    int n, n_checked;
} product;

struct nn_jacobian {
    product products[2][2]; /* in training and in evaluation: J^T v, J t */
};

static void free_product(product *p)
{
    ad_plan_free(p->plan);
    ad_free(p->x);
    ad_free(p->vector);
    ad_free(p->params);
    *p = (product){ 0 };
}

static void free_jacobian(struct nn_jacobian *j)
{
    if (!j)
        return;
    for (int i = 0; i < 4; i++)
        free_product(&j->products[i / 2][i % 2]);
    ad_free(j);
}

/* ---- the trace ---- */
static const char *input_name(const nn_net *net, const char *what, int k, int v)
{
    return ad_arena_text(net->arena, "jacobian.%s%d%s", what, k, v ? " (evaluation)" : "");
}

static struct nn_jacobian_trace *trace(const nn_net *net, int v)
{
    ad_graph *graph = net->graph;
    ad_var f = net->variants[v].output, s = { graph, -1 };
    struct nn_jacobian_trace *t = ad_arena_alloc(net->arena, 1, sizeof *t);
    size_t n = (size_t)net->n_params + 1;
    ad_site *sites = NULL;
    if (!t || !(t->gradients = ad_arena_alloc(net->arena, n, sizeof *t->gradients)) ||
        !(t->tangents = ad_arena_alloc(net->arena, n, sizeof *t->tangents))) {
        ad_poison(graph, AD_HERE, "jacobian: out of memory");
        return NULL;
    }
    t->cotangent = ad_input(graph, input_name(net, "cotangent", 0, v), ad_shape_of(net->batch, net->outputs));
    int n_sites = ad_backward(f, t->cotangent, NULL, 0, NULL, &sites);
    for (int k = 0; k < net->n_params && !ad_failed(graph); k++) {
        const ad_shape shape = *ad_shape_get(net->params[k]);
        ad_var g = { graph, -1 };
        if (nn_learns(net, k))
            g = ad_gradient(net->params[k], sites, n_sites, (ad_shape){ 0 });
        t->gradients[k] = g.id < 0 ? g : ad_transpose(ad_expand(g, shape), shape);
        t->tangents[k] = ad_input(graph, input_name(net, "tangent", k, v), shape);
        if (g.id < 0)
            continue;
        ad_var part = ad_contract(t->gradients[k], t->tangents[k], shape);
        s = s.id < 0 ? part : ad_add(s, part);
    }
    ad_var one = ad_constant(graph, 1, (ad_shape){ 0 });
    if (s.id < 0)
        t->product = ad_constant(graph, 0, *ad_shape_get(t->cotangent));
    else
        ad_adjoints(s, one, &t->cotangent, 1, &t->product);
    return ad_failed(graph) ? NULL : t;
}

static const struct nn_jacobian_trace *trace_of(const nn_net *net, int v, ad_error *error)
{
    struct nn_jacobian_trace **kept = &((nn_net *)net)->variants[v].jacobian;
    ad_mark before = nn_growth_begin(net);
    if (!*kept)
        *kept = trace(net, v);
    const struct nn_jacobian_trace *t = *kept;
    return nn_growth_end(net, before, "jacobian", error) == 0 ? t : NULL;
}

/* ---- plans ---- */
static int make_plan(nn_model *model, int v, bool forward, const struct nn_jacobian_trace *t, product *p, size_t rows,
                     ad_error *error)
{
    const nn_net *net = model->net;
    size_t bytes = nn_bytes(model->type), size = nn_model_size(model), n_outputs = rows * nn_n_outputs(net);
    size_t capacity = (size_t)(net->n_params + net->n_statistics) + 2;
    ad_plan_spec spec = { .type = model->type, .threads = model->threads, .capacity = nn_sizes(model, rows) };
    ad_var *outputs = ad_alloc(capacity, sizeof *outputs, "a plan", error);
    p->params = outputs ? ad_alloc(capacity, sizeof *p->params, "a plan", error) : NULL;
    p->x = p->params ? ad_alloc(rows * nn_features(net), bytes, "inputs", error) : NULL;
    p->vector = p->x ? ad_alloc(forward ? size + 1 : n_outputs, bytes, "a vector", error) : NULL;
    if (!p->vector) {
        ad_free(outputs);
        return -1;
    }
    if (forward)
        outputs[p->n++] = t->product;
    for (int k = 0; k < net->n_params && !forward; k++)
        if (t->gradients[k].id >= 0) {
            p->params[p->n] = k;
            outputs[p->n++] = t->gradients[k];
        }
    p->n_checked = v ? 0 : nn_norm_outputs(net, outputs + p->n);
    p->plan = p->n ? nn_plan_new(net, outputs, p->n + p->n_checked, &spec, error) : NULL;
    ad_free(outputs);
    if (!p->plan)
        return p->n ? -1 : 0;
    nn_bind_params(model, p->plan);
    ad_bind(p->plan, net->input, p->x);
    if (!forward)
        ad_bind(p->plan, t->cotangent, p->vector);
    for (int k = 0; k < net->n_params && forward; k++)
        ad_bind(p->plan, t->tangents[k], (char *)p->vector + model->offsets[k] * bytes);
    p->rows = rows;
    return 0;
}

static product *prepare(nn_model *model, int v, bool forward, size_t rows, ad_error *error)
{
    if (!model->jacobian && !(model->jacobian = ad_alloc(1, sizeof *model->jacobian, "a jacobian", error)))
        return NULL;
    model->free_jacobian = free_jacobian;
    product *p = &model->jacobian->products[v][forward];
    if (p->plan && p->rows >= rows)
        return p;
    free_product(p);
    const struct nn_jacobian_trace *t = trace_of(model->net, v, error);
    if (t && make_plan(model, v, forward, t, p, rows, error) == 0)
        return p;
    free_product(p);
    return NULL;
}

/* ---- products ---- */
static int take(const nn_model *model, const char *what, const double *from, size_t count, void *to, ad_error *error)
{
    size_t bad = 0;
    if (nn_convert(from, count, model->type, to, &bad))
        return 0;
    return ad_fail(error, "%s: number %zu (counted from 0) is not finite", what, bad);
}

/* Rows first, first + 1, ... with what the product has of its vector. */
static int run(nn_model *model, int v, product *p, const double *x, size_t first, size_t rows, ad_error *error)
{
    size_t features = nn_features(model->net);
    ad_sizes sizes = nn_sizes(model, rows);
    if (take(model, "x", x + first * features, rows * features, p->x, error) != 0 || !p->plan)
        return p->plan ? -1 : 0;
    return ad_run(p->plan, &sizes, error) != 0 || (v == 0 && nn_norm_check(model, p->plan, p->n, rows, error) != 0);
}

static size_t chunk_of(const nn_model *model, int v, size_t rows)
{
    return model->net->variants[v].mixes || rows < MAX_ROWS ? rows : MAX_ROWS;
}

static int check_rows(const nn_model *model, int v, size_t rows, ad_error *error)
{
    if (rows == 0)
        return ad_fail(error, "%s: jacobian: no rows", nn_title(model->net));
    return v == 0 ? nn_norm_check_rows(model, rows, error) : 0;
}

static int transposed(nn_model *model, int v, const double *x, size_t rows, const double *u, double *out,
                      ad_error *error)
{
    size_t outputs = nn_n_outputs(model->net), chunk = chunk_of(model, v, rows);
    product *p = check_rows(model, v, rows, error) == 0 ? prepare(model, v, false, chunk, error) : NULL;
    if (!p)
        return -1;
    memset(out, 0, nn_model_size(model) * sizeof *out);
    for (size_t first = 0; first < rows; first += chunk) {
        size_t count = nn_smaller(chunk, rows - first);
        if (take(model, "v", u + first * outputs, count * outputs, p->vector, error) != 0 ||
            run(model, v, p, x, first, count, error) != 0)
            return -1;
        for (int k = 0; k < p->n; k++) {
            const void *g = ad_output(p->plan, k);
            size_t at = model->offsets[p->params[k]], size = model->offsets[p->params[k] + 1] - at;
            for (size_t i = 0; i < size; i++)
                out[at + i] += nn_value(g, i, model->type);
        }
    }
    return 0;
}

/* Adds to out. */
static int along(nn_model *model, int v, const double *x, size_t rows, const double *t, double *out, ad_error *error)
{
    size_t outputs = nn_n_outputs(model->net), chunk = chunk_of(model, v, rows);
    product *p = check_rows(model, v, rows, error) == 0 ? prepare(model, v, true, chunk, error) : NULL;
    if (!p || take(model, "t", t, nn_model_size(model), p->vector, error) != 0)
        return -1;
    for (size_t first = 0; first < rows; first += chunk) {
        size_t count = nn_smaller(chunk, rows - first);
        if (run(model, v, p, x, first, count, error) != 0)
            return -1;
        for (size_t i = 0; i < count * outputs; i++)
            out[first * outputs + i] += nn_value(ad_output(p->plan, 0), i, model->type);
    }
    return 0;
}

int nn_vector_jacobian(nn_model *model, const double *x, size_t rows, const double *v, double *out, ad_error *error)
{
    return transposed(model, nn_variant_of(model, NN_EVALUATION), x, rows, v, out, error);
}

int nn_jacobian_vector(nn_model *model, const double *x, size_t rows, const double *t, double *out, ad_error *error)
{
    memset(out, 0, rows * nn_n_outputs(model->net) * sizeof *out);
    return along(model, nn_variant_of(model, NN_EVALUATION), x, rows, t, out, error);
}

int nn_ntk_vector(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, const double *v,
                  double *out, ad_error *error)
{
    int variant = nn_variant_of(model, NN_TRAINING);
    double *t = ad_alloc(nn_model_size(model) + 1, sizeof *t, "a vector", error);
    int status = t ? transposed(model, variant, x2 ? x2 : x, x2 ? rows2 : rows, v, t, error) : -1;
    memset(out, 0, rows * nn_n_outputs(model->net) * sizeof *out);
    if (!status)
        status = along(model, variant, x, rows, t, out, error);
    ad_free(t);
    return status;
}

int nn_linearised(nn_model *model, const double *w, const double *x, size_t rows, double *out, ad_error *error)
{
    size_t size = nn_model_size(model);
    double *t = ad_alloc(size + 1, sizeof *t, "a vector", error);
    int status = t ? nn_forward(model, x, rows, out, error) : -1;
    for (size_t i = 0; i < size && !status; i++)
        t[i] = w[i] - nn_value(model->values, i, model->type);
    if (!status)
        status = along(model, nn_variant_of(model, NN_EVALUATION), x, rows, t, out, error);
    ad_free(t);
    return status;
}
