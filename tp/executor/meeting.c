/* meeting.c: which vectors of a program meet: are added, multiplied or averaged together, coordinate by coordinate.
 *
 * Only draws that meet need be orthogonal to each other. Those of others, as of the layers of a network without skips,
 * are independent, each class from the first dimensions of a
 * sequence of its own: projections on hundreds of other draws would take the evenness of their points away, and add to
 * the spread and the bias of every layer. */
#include "tp/executor/sampler.h"

int tp_operator_input(const tp_sampler *s, int id, int *param, ad_shape *names)
{
    const ad_node *node = ad_node_of(s->graph, id);
    if (node->op != AD_CONTRACT || !s->program->lives[id])
        return -1;
    for (int k = 0; k < 2; k++) {
        *param = tp_peel(s->graph, node->in[k], names);
        if (*param >= 0 && s->revealed_of[*param] >= 0)
            return k;
    }
    return -1;
}

int tp_meeting_of(const tp_sampler *s, int element)
{
    while (s->meets[element] != element)
        element = s->meets[element] = s->meets[s->meets[element]];
    return element;
}

static void join(tp_sampler *s, int a, int b)
{
    int first = tp_meeting_of(s, a), second = tp_meeting_of(s, b);
    s->meets[first > second ? first : second] = first > second ? second : first;
}

static void join_vector(tp_sampler *s, int element, int id)
{
    if (s->program->widths[id])
        join(s, element, tp_meeting_out(id));
}

/* All that W takes meets, and all that it gives; W' takes what W gives. */
static void join_product(tp_sampler *s, int id, int k, int param, const ad_shape *names)
{
    const ad_node *node = ad_node_of(s->graph, id);
    const tp_revealed *f = &s->revealed[s->revealed_of[param]];
    bool transposed = f->matrix && ad_has(&node->over, names->axes[f->out]);
    int out = tp_meeting_out(param), in = tp_meeting_in(param);
    join_vector(s, transposed ? in : out, id);
    join_vector(s, transposed ? out : in, node->in[1 - k]);
}

/* All that a node takes, wherever it sums; a matrix under another name is no vector. */
static void join_inputs(tp_sampler *s, int id)
{
    const ad_node *node = ad_node_of(s->graph, id);
    int first = s->program->widths[id] ? id : -1;
    ad_shape names;
    if (tp_peel(s->graph, id, &names) >= 0)
        return;
    for (int k = 0; k < node->n_in; k++) {
        if (!s->program->widths[node->in[k]])
            continue;
        int peeled = tp_peel(s->graph, node->in[k], &names), in = peeled >= 0 ? peeled : node->in[k];
        if (first >= 0)
            join(s, tp_meeting_out(first), tp_meeting_out(in));
        first = first >= 0 ? first : in;
    }
}

/* The sites of one parameter meet in its kernel. */
static void join_site(tp_sampler *s, const ad_site *site)
{
    int param = site->param.id, revealed = s->revealed_of[param];
    int out = tp_meeting_out(param), in = out;
    if (revealed >= 0 && s->revealed[revealed].matrix) {
        const tp_revealed *f = &s->revealed[revealed];
        bool transposed = ad_has(&site->over, ad_shape_get(site->param)->axes[f->out]);
        *(transposed ? &out : &in) = tp_meeting_in(param);
        in = transposed ? tp_meeting_out(param) : in;
    }
    join_vector(s, out, site->delta.id);
    if (site->y.graph)
        join_vector(s, in, site->y.id);
}

void tp_find_meetings(tp_sampler *s)
{
    const tp_program *program = s->program;
    for (int i = 0; i < 2 * program->n_nodes; i++)
        s->meets[i] = i;
    for (int id = 0; id < program->n_nodes; id++) {
        int param;
        ad_shape names;
        int k = tp_operator_input(s, id, &param, &names);
        if (k >= 0)
            join_product(s, id, k, param, &names);
        else if (program->lives[id])
            join_inputs(s, id);
    }
    for (int i = 0; i < program->n_all_sites; i++) /* so that parts of a kernel are of the same samples */
        join_site(s, &program->all_sites[i]);
}
