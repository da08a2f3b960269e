/* learner.c: training at n = infinity (THEORY section 4): a program that is run again and again on the same samples
 * while its parameters learn. A matrix is W_t = keep W_0 + sum_k weight_k out_k in_k', W_0 the operator that all steps
 * reveal together; a parameter with one width at most is an array of samples. */
#include "tp/executor/learner.h"

#include "autodiff/base/base.h"
#include "nn/network/network.h"

#include <math.h>
#include <string.h>

static bool learns(const tp_learner *l, int k)
{
    return fabs(ad_node_of(l->s.graph, nn_param(l->s.program->net, k).id)->init->rate) > 0;
}

/* ---- where it begins ---- */
/* Lists of changes for operators that learn. */
static int open_changes(tp_learner *l, tp_revealed *f)
{
    tp_sampler *s = &l->s;
    const ad_node *node = ad_node_of(s->graph, f->param);
    if (!(fabs(node->init->rate) > 0))
        return 0;
    for (int i = 0; i < f->n_others; i++)
        for (int k = 0; k < f->in_rank; k++)
            if (f->others[i] > f->in[k])
                return tp_sampler_refuse(s, f->param,
                                         "axes of a matrix that are neither of its vectors' stand before these, to "
                                         "learn at n = infinity");
    if (!(f->changes = ad_arena_alloc(s->arena, (size_t)f->n_operators, sizeof *f->changes)))
        return ad_fail(s->error, "out of memory for %s", node->name);
    for (int o = 0; o < f->n_operators; o++) {
        f->changes[o].in.length = f->in_size;
        f->changes[o].out.length = tp_sampler_size(s, node->shape.axes[f->out]);
    }
    return 0;
}

static int open_velocities(tp_learner *l)
{
    tp_sampler *s = &l->s;
    for (int k = 0; k < nn_n_params(s->program->net); k++) {
        int id = nn_param(s->program->net, k).id;
        size_t count = ad_elements(s->graph, &ad_node_of(s->graph, id)->shape, &s->sizes);
        if (!s->values[id] || !learns(l, k) || l->gradients[k].id < 0)
            continue;
        if (!(l->velocities[k] = tp_sampler_numbers(s, count, "a parameter's velocity")))
            return -1;
    }
    return 0;
}

/* Gradients of parameters that are operators are never formed. */
static int list_gradients(tp_learner *l)
{
    tp_sampler *s = &l->s;
    int n_params = nn_n_params(s->program->net);
    ad_var *also = ad_arena_alloc(s->arena, (size_t)n_params + 1, sizeof *also);
    if (!also)
        return ad_fail(s->error, "out of memory for gradients");
    for (int k = 0; k < n_params; k++)
        if (l->velocities[k])
            also[s->n_also++] = l->gradients[k];
    s->also = also;
    return 0;
}

static int open_learner(tp_learner *l)
{
    tp_sampler *s = &l->s;
    size_t n_params = (size_t)nn_n_params(s->program->net);
    if (tp_sampler_open(s) || tp_find_vanishing_steps(s->program, s->left_out, s->error))
        return -1;
    if (!(l->velocities = ad_arena_alloc(s->arena, n_params + 1, sizeof *l->velocities)))
        return ad_fail(s->error, "out of memory for %zu parameters", n_params);
    if (tp_sampler_prepare(s))
        return -1;
    for (int k = 0; k < s->n_revealed; k++)
        if (open_changes(l, &s->revealed[k]))
            return -1;
    if (open_velocities(l) || list_gradients(l) || tp_readouts_lay_aside(l))
        return -1;
    tp_sampler_find_levels(s);
    l->forward_levels = s->level[s->program->output.id] + 1;
    return 0;
}

tp_learner *tp_learner_new(const tp_training_view *view, const tp_learning *spec, ad_error *error)
{
    tp_learner *l = ad_alloc(1, sizeof *l, "training at n = infinity", error);
    int held = l ? ad_threads(spec->threads, error) : 0;
    if (!held) {
        ad_free(l);
        return NULL;
    }
    l->view = view->program;
    l->gradients = view->gradients;
    l->s = (tp_sampler){ .program = &l->view,
                         .graph = view->program.graph,
                         .error = error,
                         .seed = spec->seed,
                         .threads = held,
                         .learns = true,
                         .minimum = spec->tolerance,
                         .cotangent = view->cotangent.id,
                         .n_passes = 1,
                         .sizes = { .n = spec->samples, .n_batches = 1 },
                         .passes = { { .rows = 1 } } };
    l->s.sizes.batches[0].axis = nn_batch(view->program.net);
    int before = ad_blas_begin(held), status = open_learner(l);
    ad_blas_end(before);
    if (!status)
        return l;
    tp_learner_free(l);
    return NULL;
}

/* What a pass has made from a level on; parameters stay. */
static void forget_pass(tp_learner *l, int level)
{
    tp_sampler *s = &l->s;
    double **values = s->passes[0].values;
    for (int id = 0; values && id < s->program->n_nodes; id++)
        if (ad_node_of(s->graph, id)->op != AD_PARAM && s->level[id] >= level) {
            ad_free(values[id]);
            values[id] = NULL;
        }
}

void tp_learner_free(tp_learner *l)
{
    if (!l)
        return;
    for (int k = 0; l->velocities && k < nn_n_params(l->s.program->net); k++)
        ad_free(l->velocities[k]);
    for (int k = 0; k < l->s.n_revealed; k++)
        tp_changes_free(&l->s.revealed[k]);
    tp_sampler_close(&l->s);
    ad_free(l->marks);
    ad_free(l);
}

int tp_learner_restart(tp_learner *l, uint64_t seed, ad_error *error)
{
    tp_sampler *s = &l->s;
    const nn_net *net = s->program->net;
    s->error = error;
    l->current = l->passed = false;
    l->n_marks = 0;
    for (int k = 0; k < s->n_revealed; k++)
        tp_changes_forget(&s->revealed[k]);
    int before = ad_blas_begin(s->threads), status = tp_sampler_restart(s, seed);
    ad_blas_end(before);
    for (int k = 0; k < nn_n_params(net) && !status; k++)
        if (l->velocities[k])
            memset(l->velocities[k], 0,
                   ad_elements(s->graph, ad_shape_get(nn_param(net, k)), &s->sizes) * sizeof(double));
    return status || tp_readouts_lay_aside(l) ? -1 : 0;
}

/* ---- passes ---- */
/* Between an output (batch, outputs) in the trace's order and f (rows, outputs). */
static void copy_outputs(const tp_sampler *s, double *in_trace, double *f, bool out)
{
    const ad_shape *shape = ad_shape_get(s->program->output);
    ad_axis batch = nn_batch(s->program->net), outputs = nn_outputs(s->program->net);
    size_t row = tp_sampler_stride(s, shape, batch), column = tp_sampler_stride(s, shape, outputs);
    size_t rows = tp_sampler_size(s, batch), columns = tp_sampler_size(s, outputs);
    for (size_t i = 0; i < rows; i++)
        for (size_t o = 0; o < columns; o++) {
            if (out)
                f[i * columns + o] = in_trace[i * row + o * column];
            else
                in_trace[i * row + o * column] = f[i * columns + o];
        }
}

int tp_learner_forward(tp_learner *l, const double *x, size_t rows, double *f, ad_error *error)
{
    tp_sampler *s = &l->s;
    int status = 0, before = ad_blas_begin(s->threads);
    s->error = error;
    if (!l->current || x != l->last || rows != l->last_rows) {
        s->passes[0].x = l->last = x;
        s->passes[0].rows = l->last_rows = rows;
        forget_pass(l, 0);
        tp_sampler_enter(s, 0);
        status = tp_sampler_begin(s) || tp_sampler_levels(s, 0, l->forward_levels) ? -1 : 0;
        l->current = !status;
        l->passed = true;
    }
    if (!status)
        copy_outputs(s, s->values[s->program->output.id], f, true);
    ad_blas_end(before);
    return status;
}

int tp_learner_backward(tp_learner *l, const double *cotangent, ad_error *error)
{
    tp_sampler *s = &l->s;
    size_t count = s->passes[0].rows * nn_n_outputs(s->program->net);
    s->error = error;
    forget_pass(l, l->forward_levels);
    if (!(s->values[s->cotangent] = tp_sampler_numbers(s, count, "a cotangent")))
        return -1;
    copy_outputs(s, s->values[s->cotangent], (double *)cotangent, false);
    int before = ad_blas_begin(s->threads), status = tp_sampler_levels(s, l->forward_levels, s->n_levels);
    ad_blas_end(before);
    return status;
}

int tp_learner_kernel(tp_learner *l, const double *weights, double *out, ad_error *error)
{
    l->s.error = error;
    int before = ad_blas_begin(l->s.threads), status = tp_sampler_kernel(&l->s, weights, out);
    ad_blas_end(before);
    return status;
}

/* ---- what passes show of the matrices ---- */
/* Every count of rows that grows with what operators see; NULL: how many there are. */
static int list_counts(tp_learner *l, tp_mark *marks)
{
    tp_sampler *s = &l->s;
    int n = 0;
    for (int k = 0; k < 2 * s->program->n_nodes; k++)
        for (tp_class *c = s->classes[k]; c; c = c->next, n++)
            if (marks)
                marks[n].count = &c->space.basis.n;
    for (int k = 0; k < s->n_revealed; k++)
        for (int o = 0; o < s->revealed[k].n_operators; o++)
            for (int way = 0; way < 2; way++, n += 2)
                if (marks) {
                    marks[n].count = &s->revealed[k].operators[o].seen[way].n;
                    marks[n + 1].count = &s->revealed[k].operators[o].drawn[way].n;
                }
    return n;
}

int tp_learner_mark(tp_learner *l, ad_error *error)
{
    if (!l->marks && !(l->marks = ad_alloc((size_t)list_counts(l, NULL) + 1, sizeof *l->marks, "marks", error)))
        return -1;
    l->n_marks = list_counts(l, l->marks);
    for (int k = 0; k < l->n_marks; k++)
        l->marks[k].kept = *l->marks[k].count;
    l->passed = false;
    return 0;
}

void tp_learner_rewind(tp_learner *l)
{
    for (int k = 0; k < l->n_marks; k++)
        *l->marks[k].count = l->marks[k].kept;
    l->current = l->current && !l->passed;
}

/* ---- what it will take ---- */
/* How many vectors a product with an operator takes of each row of the batch. */
static double vectors_of(const tp_sampler *s, int id, int k, const ad_shape *names)
{
    const ad_shape *y = ad_shape_get((ad_var){ (ad_graph *)s->graph, ad_node_of(s->graph, id)->in[1 - k] });
    double count = 1;
    for (int i = 0; i < y->rank; i++)
        if (!ad_has(names, y->axes[i]) && !ad_same(y->axes[i], nn_batch(s->program->net)))
            count *= (double)tp_sampler_size(s, y->axes[i]);
    return count;
}

void tp_learner_cost(const tp_learner *l, double rows, double *bytes, double *operations, double *draws)
{
    const tp_sampler *s = &l->s;
    double total = 0, size = (double)s->sizes.n, of_products = 0;
    *bytes = 0;
    for (int id = 0; id < s->program->n_nodes; id++) {
        int param;
        ad_shape names;
        int k = tp_operator_input(s, id, &param, &names);
        if (k < 0)
            continue;
        const tp_revealed *f = &s->revealed[s->revealed_of[param]];
        double vectors = rows * vectors_of(s, id, k, &names), in = (double)f->in_size;
        if (!f->matrix) /* there are no more directions than inputs */
            vectors = fmin(vectors, in);
        total += (f->matrix ? 2 : 1) * vectors * f->n_operators;
        of_products += vectors * vectors * f->n_operators;
        *bytes += 8 * vectors * f->n_operators * (f->matrix ? 2 : 1) * (in * f->matrix + size);
        *bytes += f->changes ? 8 * vectors * f->n_operators * (in + size) : 0;
    }
    *draws = total + 1;
    for (int k = 0; k < nn_n_params(s->program->net); k++) {
        int id = nn_param(s->program->net, k).id;
        const ad_shape *shape = ad_shape_get(nn_param(s->program->net, k));
        if (s->program->lives[id] && s->revealed_of[id] < 0 && tp_count_widths(s->graph, shape) > 0)
            *draws += (double)ad_elements(s->graph, shape, &s->sizes) / size;
    }
    total = fmin(total, size / 2);
    *operations = 8 * size * total * total + 8 * size * of_products;
}

/* ---- steps ---- */
typedef struct {
    tp_sampler *s;
    tp_revealed *f;
} operator_change;

static int take_pair(void *context, const ad_site *site, const ad_shape *over, size_t count, const double *y,
                     const double *delta)
{
    operator_change *c = context;
    const tp_revealed *f = c->f;
    const ad_shape *own = ad_shape_get(site->param);
    bool transposed = ad_has(over, own->axes[f->out]);
    int expected = transposed ? 1 : f->in_rank + f->n_others;
    if (!y || over->rank != expected || (transposed && f->n_others))
        return tp_sampler_refuse(c->s, site->delta.id, "this use of a matrix has no step at n = infinity");
    return tp_changes_add(c->f, count, transposed ? delta : y, transposed ? y : delta, c->s->error);
}

/* v = momentum v + g + decay w;  w -= r v, of coefficients; g is 1 from number `fresh` on. */
static void step_coefficients(tp_revealed *f, int fresh, double r, double momentum, double decay)
{
    for (int k = 0; k < f->n_changes; k++) {
        f->velocity[k] = momentum * f->velocity[k] + (k >= fresh ? 1 : 0) + decay * f->weight[k];
        f->weight[k] -= r * f->velocity[k];
    }
    f->keep_velocity = momentum * f->keep_velocity + decay * f->keep;
    f->keep -= r * f->keep_velocity;
}

int tp_learner_step(tp_learner *l, double rate, double momentum, double decay, ad_error *error)
{
    tp_sampler *s = &l->s;
    const nn_net *net = s->program->net;
    s->error = error;
    l->current = false;
    for (int k = 0; k < nn_n_params(net); k++) {
        int id = nn_param(net, k).id, revealed = s->revealed_of[id];
        double r = rate * nn_rate_scale(net, k, &s->sizes);
        if (revealed >= 0 && s->revealed[revealed].changes) {
            tp_revealed *f = &s->revealed[revealed];
            int fresh = f->n_changes;
            if (tp_sampler_pairs(s, id, take_pair, &(operator_change){ s, f }))
                return -1;
            step_coefficients(f, fresh, r, momentum, decay);
        } else if (l->velocities[k]) {
            const double *g = s->values[l->gradients[k].id];
            double *v = l->velocities[k], *w = s->values[id];
            size_t count = ad_elements(s->graph, &ad_node_of(s->graph, id)->shape, &s->sizes);
            for (size_t i = 0; i < count; i++) {
                v[i] = momentum * v[i] + g[i] + decay * w[i];
                w[i] -= r * v[i];
            }
        }
    }
    return 0;
}

int tp_learner_rank(const tp_learner *l)
{
    int most = 0;
    for (int k = 0; k < l->s.n_revealed; k++)
        most = l->s.revealed[k].n_changes > most ? l->s.revealed[k].n_changes : most;
    return most;
}
