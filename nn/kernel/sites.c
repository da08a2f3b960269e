/* sites.c: from a network's trace to what a kernel is made of: the adjoints of its outputs, the panels that they
 * and the inputs of its parameters are packed in, and the terms or uses that pair them (kernel.c has the formulas). */
#include "nn/kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the trace ---- */
/* Is there a node without samples, other than a parameter, on the way from a parameter to y? Its adjoint is a sum over
 * samples. */
static bool meets_early(const nn_net *net, ad_var output, bool *learns, bool *reached)
{
    const ad_graph *graph = net->graph;
    reached[output.id] = true;
    for (int id = 0; id <= output.id; id++) {
        const ad_node *node = ad_node_of(graph, id);
        learns[id] = node->op == AD_PARAM;
        for (int k = 0; k < node->n_in; k++)
            learns[id] |= learns[node->in[k]];
    }
    for (int id = output.id; id >= 0; id--) {
        const ad_node *node = ad_node_of(graph, id);
        if (!reached[id] || !learns[id])
            continue;
        if (node->op != AD_PARAM && !ad_has(&node->shape, net->batch))
            return true;
        for (int k = 0; k < node->n_in; k++)
            reached[node->in[k]] = true;
    }
    return false;
}

static struct nn_tangent *trace_tangent(const nn_net *net, int v, ad_var output, bool by_seeds, ad_error *error)
{
    const ad_shape *shape = ad_shape_get(output);
    struct nn_tangent *t = ad_arena_alloc(net->arena, 1, sizeof *t);
    bool *marks = ad_arena_alloc(net->arena, 2 * (size_t)output.id + 2, sizeof *marks);
    if (!t || !marks) {
        ad_fail(error, "%s: kernel: out of memory", nn_title(net));
        return NULL;
    }
    t->together = ad_parameters_coupled(output, net->batch) || meets_early(net, output, marks, marks + output.id + 1);
    t->of = output;
    t->batch = net->batch;
    t->outputs = shape->axes[ad_same(shape->axes[0], net->batch) ? 1 : 0];
    ad_var seed = { 0 };
    if (by_seeds) {
        const char *name = v == 2 ? "kernel.seed (fit)" : v == 1 ? "kernel.seed (evaluation)" : "kernel.seed";
        if (output.id != net->variants[v].output.id)
            name = ad_arena_text(net->arena, "kernel.seed of %d", output.id);
        t->sample = ad_batch(net->graph, "kernel.seeds");
        seed = t->seed = ad_input(net->graph, name, ad_shape_of(t->sample, net->batch, t->outputs));
    } else {
        t->out = ad_unused_prime(net->graph, output.id, t->outputs);
        t->sample = t->together ? ad_unused_prime(net->graph, output.id, net->batch) : net->batch;
        seed = ad_delta(net->graph, t->out, t->outputs);
    }
    if (t->together && !by_seeds) {
        ad_shape all = ad_shape_of(t->out, t->outputs, t->sample, net->batch);
        seed = ad_mul(ad_expand(seed, all), ad_expand(ad_delta(net->graph, t->sample, net->batch), all));
    }
    t->n_sites = ad_backward(output, seed, NULL, 0, NULL, &t->sites);
    return ad_failed(net->graph) ? NULL : t;
}

const struct nn_tangent *nn_tangent_of(const nn_net *net, int v, ad_var of, bool by_seeds, ad_error *error)
{
    ad_mark before = nn_growth_begin(net);
    struct nn_tangent **kept = &((nn_net *)net)->variants[v].tangents[by_seeds];
    while (*kept && (*kept)->of.id != of.id)
        kept = &(*kept)->next;
    if (!*kept)
        *kept = trace_tangent(net, v, of, by_seeds, error);
    const struct nn_tangent *t = *kept;
    return nn_growth_end(net, before, "kernel", error) == 0 ? t : NULL;
}

/* The axes that tell one seed from another. */
static ad_shape seeds_of(const struct nn_tangent *t)
{
    return t->seed.graph ? ad_shape_of(t->sample) : ad_shape_of(t->out, t->sample);
}

/* ---- axes ---- */
/* What is left of a tensor without its factors and its copies along axes: c times the node that is returned. A factor
 * that depends on the number of samples stays: it is another one for x than for x2. */
static int peel_factors(const nn_call *c, ad_var v, double *factor)
{
    const ad_graph *graph = c->model->net->graph;
    const ad_node *node = ad_node_of(graph, v.id);
    *factor = 1;
    while (node->op == AD_SCALE || node->op == AD_EXPAND) {
        if (node->op == AD_SCALE) {
            if (node->axis.id && ad_axis_kind(graph, node->axis) == AD_BATCH)
                break;
            *factor *= node->c;
            if (node->axis.id)
                *factor *= pow((double)nn_axis_size(c, node->axis, 1), node->power);
        }
        v.id = node->in[0];
        node = ad_node_of(graph, v.id);
    }
    return v.id;
}

/* -2: out of memory. */
static int add_panel(nn_call *c, nn_panel p)
{
    void *panels = c->panels;
    if (!ad_arena_grow(c->arena, &panels, c->n_panels, &c->panels_capacity, sizeof *c->panels))
        return -2;
    c->panels = panels;
    p.older = c->newest[p.id] - 1;
    p.sampled = ad_has(&p.order, c->tangent->sample);
    p.host = p.turn ? p.host : c->n_panels;
    p.by_out = p.by_sample = -1;
    c->panels[c->n_panels] = p;
    c->newest[p.id] = ++c->n_panels;
    return c->n_panels - 1;
}

static int find_panel(nn_call *c, int id, ad_shape order, ad_shape sum, size_t instances)
{
    for (int i = c->newest[id] - 1; i >= 0; i = c->panels[i].older)
        if (c->panels[i].turns == 1 && c->panels[i].instances == instances &&
            ad_shape_equal(&c->panels[i].order, &order) && ad_shape_equal(&c->panels[i].sum, &sum))
            return i;
    return add_panel(c, (nn_panel){ .id = id, .order = order, .sum = sum, .instances = instances, .turns = 1 });
}

/* ---- from sites to terms ---- */
/* The sites of each parameter, and that no node has a panel yet. */
static int list_sites(nn_call *c, ad_error *error)
{
    const struct nn_tangent *t = c->tangent;
    size_t nodes = (size_t)ad_graph_size(c->model->net->graph) + 1;
    c->newest = ad_arena_alloc(c->arena, nodes, sizeof *c->newest);
    c->first_site = ad_arena_alloc(c->arena, nodes, sizeof *c->first_site);
    c->next_site = ad_arena_alloc(c->arena, (size_t)t->n_sites + 1, sizeof *c->next_site);
    if (!c->newest || !c->first_site || !c->next_site)
        return ad_fail(error, "kernel: out of memory");
    for (int s = t->n_sites - 1; s >= 0; s--) {
        int *first = &c->first_site[t->sites[s].param.id];
        c->next_site[s] = *first;
        *first = s + 1;
    }
    return 0;
}

/* The sites of a parameter in their order; -1 after the last. */
static int first_use(const nn_call *c, int param)
{
    return c->first_site[c->model->net->params[param].id] - 1;
}

static int next_use(const nn_call *c, int site)
{
    return c->next_site[site] - 1;
}

/* The axes of a site: of W, in y, in d or in both; and what is summed over. */
static nn_use split(const ad_site *site)
{
    const ad_shape *w = ad_shape_get(site->param);
    nn_use u = { .y = NN_NO_PANEL, .c = 1, .over = site->over, .rest = *w };
    if (site->y.graph) {
        u.rest = ad_shape_minus(w, &site->over);
        u.aligned = ad_shape_minus(&u.rest, ad_shape_get(site->y));
        u.aligned = ad_shape_minus(&u.rest, &u.aligned);
        u.rest = ad_shape_minus(&u.rest, &u.aligned);
    }
    return u;
}

/* The axes that a product sums over beyond W's: time, positions, and the batch where samples meet. */
static ad_shape summed_axes(const nn_call *c, const ad_site *site)
{
    const struct nn_tangent *t = c->tangent;
    ad_shape all = *ad_shape_get(site->delta), seeds = seeds_of(t);
    if (site->y.graph)
        nn_append(&all, ad_shape_get(site->y));
    all = ad_shape_minus(&all, ad_shape_get(site->param));
    return ad_shape_minus(&all, &seeds);
}

/* The tensor's panel for the Gram way: (instances, rows, columns). A mean over outputs takes them as columns. */
static int gram_panel(nn_call *c, ad_var v, bool adjoint, const ad_shape *instances, const ad_shape *columns,
                      const ad_shape *sum, double *factor)
{
    const struct nn_tangent *t = c->tangent;
    int id = peel_factors(c, v, factor);
    bool sampled = !adjoint || ad_has(&ad_node_of(c->model->net->graph, id)->shape, t->sample);
    ad_shape order = *instances, out = ad_shape_of(t->out), sample = ad_shape_of(t->sample);
    if (adjoint && !c->mean)
        nn_append(&order, &out);
    if (sampled)
        nn_append(&order, &sample);
    if (adjoint && c->mean)
        nn_append(&order, &out);
    nn_append(&order, columns);
    return find_panel(c, id, order, *sum, nn_size_of(c, instances, 1));
}

static bool add_term(nn_call *c, nn_term t)
{
    /* of two orders of a pair the symmetric product needs one */
    if (c->symmetric && (t.d > t.d2 || (t.d == t.d2 && t.d_at > t.d2_at)))
        return true;
    void *terms = c->terms;
    if (!ad_arena_grow(c->arena, &terms, c->n_terms, &c->terms_capacity, sizeof *c->terms))
        return false;
    c->terms = terms;
    c->terms[c->n_terms++] = t;
    return true;
}

/* Can the parameter's uses be paired, and is that less work than forming gradients? A pair is a product over the
 * columns of W, gradients are one over rows and columns; but these are formed, stored and read before, which is several
 * times their product: at n = 512, 784 pairs take a sixth of the time. */
static bool pairs_well(const nn_call *c, int param)
{
    const struct nn_tangent *t = c->tangent;
    const ad_site *first = NULL;
    double instances = 0;
    for (int s = first_use(c, param); s >= 0; s = next_use(c, s)) {
        const ad_site *site = &t->sites[s];
        nn_use u = split(site);
        ad_shape sum = summed_axes(c, site);
        if (t->together || u.aligned.rank)
            return false;
        if (!first)
            first = site;
        if (!site->y.graph != !first->y.graph || !ad_shape_equal(&site->over, &first->over))
            return false;
        instances += site->y.graph ? (double)nn_size_of(c, &sum, 1) : 1;
    }
    return !first || instances <= 1 || !first->y.graph ||
           instances * instances <= 4 * (double)nn_size_of(c, &first->over, 1);
}

static int make_terms(nn_call *c, int param, ad_error *error)
{
    const struct nn_tangent *t = c->tangent;
    typedef struct {
        int d, y;
        double c;
        size_t instances;
    } side;
    int n = 0;
    for (int s = first_use(c, param); s >= 0; s = next_use(c, s))
        n++;
    side *sides = ad_arena_alloc(c->arena, (size_t)n + 1, sizeof *sides);
    n = 0;
    for (int s = first_use(c, param); s >= 0 && sides; s = next_use(c, s)) {
        const ad_site *site = &t->sites[s];
        nn_use u = split(site);
        ad_shape sum = summed_axes(c, site), none = { 0 };
        double one, two = 1;
        bool product = site->y.graph != NULL;
        side *one_side = &sides[n++];
        one_side->d = gram_panel(c, site->delta, true, product ? &sum : &none, &u.rest, product ? &none : &sum, &one);
        one_side->y = product ? gram_panel(c, site->y, false, &sum, &u.over, &none, &two) : NN_NO_PANEL;
        one_side->instances = product ? nn_size_of(c, &sum, 1) : 1;
        one_side->c = one * two;
        if (one_side->d == -2 || one_side->y == -2)
            return ad_fail(error, "kernel: out of memory");
    }
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            for (size_t i = 0; i < sides[a].instances; i++)
                for (size_t k = 0; k < sides[b].instances; k++)
                    if (!add_term(c, (nn_term){ .d = sides[a].d,
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
static bool meet_well(const nn_call *c, const nn_use *uses, int n)
{
    size_t turns = 0;
    for (int k = 0; k < n; k++) {
        if (uses[k].y == NN_NO_PANEL || uses[k].aligned.rank || c->panels[uses[k].y].sampled ||
            !ad_shape_equal(&uses[k].over, &uses->over))
            return false;
        turns += nn_size_of(c, &uses[k].sum, c->max_rows);
    }
    return c->tangent->together && turns <= uses->n_over;
}

/* A use, without its panels but with what these are of. */
typedef struct {
    nn_use use;
    int d, y; /* nodes */
    bool sampled;
} bare_use;

static bare_use use_of(const nn_call *c, const ad_site *site)
{
    const ad_graph *graph = c->model->net->graph;
    bool product = site->y.graph != NULL;
    double one, two = 1;
    bare_use b = { .use = split(site), .d = peel_factors(c, site->delta, &one) };
    b.y = product ? peel_factors(c, site->y, &two) : NN_NO_PANEL;
    b.sampled = product && ad_has(&ad_node_of(graph, b.y)->shape, c->tangent->sample);
    b.use.c = one * two;
    b.use.sum = summed_axes(c, site);
    b.use.turns = 1;
    b.use.n_aligned = nn_size_of(c, &b.use.aligned, 1);
    b.use.n_over = product ? nn_size_of(c, &b.use.over, 1) : 1;
    b.use.n_rest = nn_size_of(c, &b.use.rest, 1);
    return b;
}

/* The uses of a parameter, if they are alike but for the nodes, and so one sum; else 1. */
static int uses_alike(const nn_call *c, int param)
{
    const struct nn_tangent *t = c->tangent;
    bare_use first = use_of(c, &t->sites[first_use(c, param)]);
    int n = 0;
    for (int s = first_use(c, param); s >= 0; s = next_use(c, s), n++) {
        bare_use b = use_of(c, &t->sites[s]);
        if (t->together || b.y == NN_NO_PANEL || b.sampled != first.sampled || fabs(b.use.c - first.use.c) > 0 ||
            !ad_shape_equal(&b.use.over, &first.use.over) || !ad_shape_equal(&b.use.rest, &first.use.rest) ||
            !ad_shape_equal(&b.use.aligned, &first.use.aligned) || !ad_shape_equal(&b.use.sum, &first.use.sum))
            return 1;
    }
    return n;
}

/* The panel of one of `turns` uses, (lead, turns, sum, columns), whose first one's is `host`. */
static int use_panel(nn_call *c, int id, ad_shape lead, const ad_shape *sum, const ad_shape *columns,
                     const ad_shape *added, int host, int turn, int turns)
{
    ad_shape order = lead;
    nn_append(&order, sum);
    nn_append(&order, columns);
    if (turns == 1)
        return find_panel(c, id, order, *added, 1);
    return add_panel(c, (nn_panel){ .id = id,
                                    .order = order,
                                    .sum = *added,
                                    .instances = 1,
                                    .host = host,
                                    .turn = turn,
                                    .turns = turns,
                                    .lead = lead.rank });
}

static int make_uses(nn_call *c, int param, ad_error *error)
{
    const struct nn_tangent *t = c->tangent;
    const ad_shape none = { 0 };
    int first = c->n_uses, turns = first_use(c, param) < 0 ? 0 : uses_alike(c, param), turn = 0;
    for (int s = first_use(c, param); s >= 0; s = next_use(c, s), turn = turns > 1 ? turn + 1 : 0) {
        bare_use b = use_of(c, &t->sites[s]);
        nn_use *u = &b.use;
        bool product = b.y != NN_NO_PANEL;
        ad_shape seeds = seeds_of(t), sample = b.sampled ? ad_shape_of(t->sample) : none, sum = u->sum;
        int host_d = turn ? c->uses[first].d : 0, host_y = turn ? c->uses[first].y : 0;
        u->sum = product ? sum : none;
        u->param = param;
        u->turns = turns;
        nn_append(&seeds, &u->aligned);
        nn_append(&sample, &u->aligned);
        u->d = use_panel(c, b.d, seeds, &u->sum, &u->rest, product ? &none : &sum, host_d, turn, turns);
        u->y = product ? use_panel(c, b.y, sample, &sum, &u->over, &none, host_y, turn, turns) : NN_NO_PANEL;
        void *uses = c->uses;
        if (u->d == -2 || u->y == -2 || !ad_arena_grow(c->arena, &uses, c->n_uses, &c->uses_capacity, sizeof *c->uses))
            return ad_fail(error, "kernel: out of memory");
        c->uses = uses;
        if (!turn)
            c->uses[c->n_uses++] = *u;
    }
    bool met = c->n_uses > first && meet_well(c, c->uses + first, c->n_uses - first);
    for (int k = first; k < c->n_uses; k++)
        c->uses[k].met = met;
    return 0;
}

static int compare(const void *one, const void *two)
{
    const nn_term *a = one, *b = two;
    int order[] = { a->d - b->d, a->d2 - b->d2, a->d_at - b->d_at, a->d2_at - b->d2_at, a->y - b->y, a->y2 - b->y2 };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i])
            return order[i];
    return 0;
}

/* The two factors of a product, one that no sample and one that no output knows, times a number; false: it is none of
 * such. */
static bool find_factors(const nn_call *c, int id, int *by_out, int *by_sample, double *factor)
{
    const struct nn_tangent *t = c->tangent;
    double one;
    id = peel_factors(c, (ad_var){ c->model->net->graph, id }, &one);
    const ad_node *node = ad_node_of(c->model->net->graph, id);
    bool out = ad_has(&node->shape, t->out), sample = ad_has(&node->shape, t->sample);
    *factor *= one;
    if (out && sample)
        return node->op == AD_MUL && find_factors(c, node->in[0], by_out, by_sample, factor) &&
               find_factors(c, node->in[1], by_out, by_sample, factor);
    int *place = out ? by_out : by_sample;
    if (!out && (!sample || (node->op == AD_SCALE && node->axis.id)))
        return false;
    bool first = *place < 0;
    *place = id;
    return first;
}

/* What a node is another name of, times a number; its axes are renamed among the columns. */
static int named_before(const nn_call *c, int id, ad_shape *columns, double *factor)
{
    const ad_graph *graph = c->model->net->graph;
    double one;
    for (;;) {
        id = peel_factors(c, (ad_var){ c->model->net->graph, id }, &one);
        *factor *= one;
        const ad_node *node = ad_node_of(graph, id);
        if (node->op != AD_RELABEL || !ad_has(columns, node->axis2) || ad_has(columns, node->axis))
            return id;
        *columns = ad_shape_replace(*columns, node->axis2, node->axis);
        id = node->in[0];
    }
}

/* Panels that the terms pair with themselves alone, and that are the product of a factor of the output and one of the
 * sample: products of each two outputs' factors meet those of each two samples', half as many. */
static int split_panels(nn_call *c, ad_error *error)
{
    enum { FEW_OUTPUTS = 4, BYTES = 8 << 20 };
    const struct nn_tangent *t = c->tangent;
    const ad_shape seeds = ad_shape_of(t->out, t->sample), none = { 0 };
    int n = c->n_panels;
    for (int i = 0; i < n && c->outs >= FEW_OUTPUTS; i++) {
        nn_panel *p = &c->panels[i];
        int by_out = -1, by_sample = -1;
        bool paired = false, apart = p->instances == 1 && p->turns == 1 && p->sum.rank == 0 && p->sampled;
        p->factor = 1;
        for (int k = 0; k < c->n_terms; k++) {
            const nn_term *term = &c->terms[k];
            paired = paired || term->d == i;
            apart = apart && (term->d == i) == (term->d2 == i) && term->y != i && term->y2 != i;
        }
        for (int k = 0; k < c->n_uses; k++)
            apart = apart && c->uses[k].d != i && c->uses[k].y != i;
        for (int k = 0; k < c->n_turned; k++)
            apart = apart && c->turned[k].d != i && c->turned[k].d2 != i;
        ad_shape columns = ad_shape_minus(&p->order, &seeds);
        if (!paired || !apart || nn_pairs_size(c, p) * nn_bytes(c->model->type) > BYTES ||
            !find_factors(c, named_before(c, p->id, &columns, &p->factor), &by_out, &by_sample, &p->factor) ||
            by_out < 0 || by_sample < 0)
            continue;
        ad_shape of_out = ad_shape_of(t->out), of_sample = columns;
        ad_shape sample = ad_shape_of(t->sample);
        nn_append(&of_out, &columns);
        nn_append(&of_sample, &sample);
        by_out = find_panel(c, by_out, of_out, none, 1);
        by_sample = find_panel(c, by_sample, of_sample, none, 1);
        if (by_out == -2 || by_sample == -2)
            return ad_fail(error, "kernel: out of memory");
        p = &c->panels[i];
        p->by_out = by_out;
        p->by_sample = by_sample;
        p->spare = true;
    }
    return 0;
}

static int settle_terms(nn_call *c, ad_error *error)
{
    if (c->n_terms)
        qsort(c->terms, (size_t)c->n_terms, sizeof *c->terms, compare);
    return split_panels(c, error);
}

int nn_find_terms(nn_call *c, ad_error *error)
{
    if (list_sites(c, error) != 0)
        return -1;
    for (int k = 0; k < c->model->net->n_params; k++)
        if (c->weights[k] > 0 && (pairs_well(c, k) ? make_terms(c, k, error) : make_uses(c, k, error)) != 0)
            return -1;
    return settle_terms(c, error);
}

/* A panel of all rows, (out, sample, index), or of a mean over outputs (sample, out, index). */
static int full_panel(nn_call *c, ad_var v, const ad_shape *index, double *factor)
{
    const struct nn_tangent *t = c->tangent;
    ad_shape order = c->mean ? ad_shape_of(t->sample, t->out) : ad_shape_of(t->out, t->sample), none = { 0 };
    nn_append(&order, index);
    return find_panel(c, peel_factors(c, v, factor), order, none, 1);
}

int nn_find_turned(nn_call *c, const struct nn_apart *apart, ad_error *error)
{
    const ad_shape seeds = seeds_of(c->tangent), none = { 0 };
    c->n_panels = c->n_terms = c->n_uses = 0; /* those of the dense way */
    c->turned = ad_arena_alloc(c->arena, (size_t)apart->n + 1, sizeof *c->turned);
    if (!c->turned || list_sites(c, error) != 0)
        return ad_fail(error, "kernel: out of memory");
    for (int k = 0; k < apart->n; k++) {
        const nn_summand *p = &apart->summands[k];
        ad_shape index = ad_shape_minus(ad_shape_get(p->d2), &seeds);
        double one, two, three = 1, four = 1;
        nn_term t = { .y = NN_NO_PANEL, .y2 = NN_NO_PANEL };
        if (!(c->weights[p->param] > 0))
            continue;
        t.d = p->own ? gram_panel(c, p->d, true, &none, &p->rest, &none, &one) : full_panel(c, p->d, &index, &one);
        t.d2 = p->own ? gram_panel(c, p->d2, true, &none, &p->rest, &none, &two) : full_panel(c, p->d2, &index, &two);
        if (p->own) {
            t.y = gram_panel(c, p->y, false, &none, &p->over, &none, &three);
            t.y2 = gram_panel(c, p->y2, false, &none, &p->over, &none, &four);
        }
        t.c = c->weights[p->param] * one * two * three * four;
        if (t.d == -2 || t.d2 == -2 || t.y == -2 || t.y2 == -2 || (p->own && !add_term(c, t)))
            return ad_fail(error, "kernel: out of memory");
        if (!p->own)
            c->turned[c->n_turned++] = (nn_turned){ t.d, t.d2, t.c };
    }
    return settle_terms(c, error);
}
