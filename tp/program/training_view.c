/* training_view.c: a program whose backward pass starts from a cotangent that is bound when it is run: the loss's
 * gradient by the outputs, or one output's own. */
#include "nn/network/network.h"
#include "tp/program/program.h"

#include <math.h>

typedef struct {
    const tp_program *program;
    tp_training_view *view;
    ad_arena *arena;
    ad_site *sites; /* of parameters that learn, and after these of frozen readouts */
    int n_sites, n_readouts;
    ad_var *kept; /* all that the view is to keep */
    int n_kept;
} making;

static int take_sites(making *m, const ad_site *all, int n, ad_error *error)
{
    const ad_graph *graph = m->program->graph;
    m->sites = ad_arena_alloc(m->arena, (size_t)n + 1, sizeof *m->sites);
    m->kept = ad_arena_alloc(m->arena, 2 * (size_t)n + (size_t)nn_n_params(m->program->net) + 2, sizeof *m->kept);
    if (!m->sites || !m->kept)
        return ad_fail(error, "out of memory for %d sites", n);
    for (int i = 0; i < 2 * n; i++) {
        const ad_site *site = &all[i % n];
        const ad_node *param = ad_node_of(graph, site->param.id);
        bool learns = fabs(param->init->rate) > 0;
        if (i < n ? !learns : learns || !ad_has(&param->shape, nn_outputs(m->program->net)))
            continue;
        m->sites[m->n_sites + m->n_readouts] = *site;
        m->n_sites += learns;
        m->n_readouts += !learns;
        m->kept[m->n_kept++] = site->delta;
        if (site->y.graph)
            m->kept[m->n_kept++] = site->y;
    }
    m->kept[m->n_kept++] = m->program->output;
    return 0;
}

/* As nn_trace_loss has them. */
static int take_gradients(making *m, ad_error *error)
{
    const nn_net *net = m->program->net;
    int n = nn_n_params(net);
    if (!(m->view->gradients = ad_arena_alloc(m->arena, (size_t)n + 1, sizeof *m->view->gradients)))
        return ad_fail(error, "out of memory for %d gradients", n);
    for (int k = 0; k < n; k++) {
        ad_var param = nn_param(net, k), g = { m->program->graph, -1 };
        const ad_shape *shape = ad_shape_get(param);
        bool used = false;
        for (int i = 0; i < m->n_sites; i++)
            used |= m->sites[i].param.id == param.id;
        if (used && tp_count_widths(m->program->graph, shape) < 2)
            g = ad_gradient(param, m->sites, m->n_sites, (ad_shape){ 0 });
        if (g.id >= 0)
            m->kept[m->n_kept++] = g = ad_transpose(ad_expand(g, *shape), *shape);
        m->view->gradients[k] = g;
    }
    return 0;
}

static int add_backward(making *m, ad_error *error)
{
    const tp_program *program = m->program;
    ad_graph *graph = program->graph;
    const char *name = ad_arena_text(program->net->arena, "cotangent.%d", ad_graph_size(graph));
    ad_site *all = NULL;
    m->view->cotangent = ad_input(graph, name, *ad_shape_get(program->output));
    int n = ad_backward(program->output, m->view->cotangent, NULL, 0, NULL, &all);
    if (n < 0)
        return ad_fail(error, "%s", *ad_message(graph) ? ad_message(graph) : "out of memory for the backward pass");
    return take_sites(m, all, n, error) || take_gradients(m, error) ? -1 : 0;
}

int tp_view_training(const tp_program *program, tp_training_view *view, ad_error *error)
{
    *view = (tp_training_view){ 0 };
    making m = { .program = program, .view = view, .arena = ad_arena_new(error) };
    if (!m.arena)
        return -1;
    ad_mark before = nn_growth_begin(program->net);
    int status = add_backward(&m, error);
    if (nn_growth_end(program->net, before, "training", error) || status ||
        tp_view_of(program, m.kept, m.n_kept, &view->program, error)) {
        ad_arena_free(m.arena);
        return -1;
    }
    view->program.steps = true;
    view->program.sites = m.sites;
    view->program.n_sites = m.n_sites;
    view->program.n_readouts = m.n_readouts;
    view->program.n_all_sites = m.n_sites + m.n_readouts;
    view->program.all_sites = m.sites;
    view->memory = m.arena;
    return 0;
}

void tp_training_view_free(tp_training_view *view)
{
    ad_arena_free(view->program.arena);
    ad_arena_free(view->memory);
    *view = (tp_training_view){ 0 };
}
