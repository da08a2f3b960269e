/* regime.c: gradients and updates as powers of n, step by step, and the verdict. Sizes are logs, of which powers are
 * made at the end. */
#include "autodiff/trace/trace.h"
#include "nn/network/network.h"
#include "tp/regime/exponents.h"

#include <math.h>
#include <string.h>

enum { SEVERAL = 6 /* steps after which powers that stood still once do not move any more */ };
static const double tiny = 1e-9;

enum { MET = 8 };
/* What else is multiplied with a factor of a site's delta that a mean over axes was taken off: -1: there is none. */
typedef struct {
    int family, n, nodes[MET + 1];
} met_factors;

typedef struct {
    const tp_program *program;
    const tp_regime_spec *spec;
    ad_arena *arena;
    tp_exponents e;
    int n_params;
    double *rates;     /* by parameter: the log of its rate; NAN: frozen */
    double *effects;   /* by parameter: of what a change of its coordinates by 1 changes in what it makes */
    double *gradients; /* by parameter: of the gradient's coordinates at the start */
    double *parts;     /* (vectors, parameters): the power of what a parameter's update alone changes */
    tp_strips *gradient_rows[2];
    double *coherent; /* by node: the change but for what parameters without a width add, which is one number times what
                         was there: no coordinate of it knows what it meets */
    bool grows;       /* the output, at the start */
    bool *arguments;  /* by node: listed as what a function is called with; it has no line */
    double *fronts;   /* by node: tp_growing.front */
    bool *zero;       /* by site: its gradient cancels exactly */
    tp_split *split;  /* by site: what leads of it along widths */
    met_factors *met; /* by site */
    double *most;     /* by node: the largest power of a size so far, at the start or of a change */
    bool *growing, *factors; /* by node, of train: `most` is above 0; tp_growing.factor */
} regime_job;

static double *numbers(regime_job *j, int n, double fill)
{
    double *x = ad_arena_alloc(j->arena, (size_t)n + 1, sizeof *x);
    for (int i = 0; x && i < n; i++)
        x[i] = fill;
    return x;
}

static const ad_init *init_of(const regime_job *j, int k)
{
    return ad_node_of(j->program->graph, nn_param(j->program->net, k).id)->init;
}

/* The power that a constant n^p of a parameter has, as far as its axis is a width. */
static double power_of(const regime_job *j, const ad_init *init, double p)
{
    return tp_is_width(j->program->graph, init->axis) ? p : 0;
}

/* a, b and c of all parameters, at a width: in front, at the start, and their rates. */
static int take_scales(regime_job *j, double log_n, ad_error *error)
{
    const nn_net *net = j->program->net;
    bool adapts = nn_optimizer_adapts(j->spec->optimizer);
    if (nn_rate_powers(net, j->spec->optimizer, j->rates, error) || nn_change_powers(net, j->effects, error))
        return -1;
    j->e.log_n = log_n;
    for (int k = 0; k < j->n_params; k++) {
        const ad_init *init = init_of(j, k);
        const tp_abc own = j->spec->abc ? j->spec->abc[k] : (tp_abc){ NAN, NAN, NAN };
        int id = nn_param(net, k).id;
        double b = isnan(own.b) ? 0 - tp_exponent_of_axis(&j->e, init->axis, init->deviation_power) : own.b * log_n;
        double front = isnan(own.a) ? 0 : 0 - own.a - power_of(j, init, init->multiplier_power);
        double rate = isnan(own.c) ? j->rates[k] - (adapts ? front : 0) : 0 - own.c;
        j->effects[k] = isfinite(j->effects[k]) ? j->effects[k] * log_n : 0;
        j->e.front[id] = front * log_n;
        j->e.drawn[id] = j->e.spread[id] = init->deviation > 0 ? log(init->deviation) - b : -INFINITY;
        if (fabs(init->mean) > 0)
            j->e.spread[id] = tp_exponent_sum(j->e.spread[id], log(fabs(init->mean)));
        j->rates[k] = nn_learns(net, k) ? rate * log_n : NAN;
    }
    return 0;
}

/* The strips of a vector that has this axis join a set. */
static void join_along(const tp_exponents *e, int node, ad_axis axis, tp_strips *to)
{
    if (node >= 0 && ad_has(&ad_node_of(e->program->graph, node)->shape, axis))
        tp_strips_join(e, to, tp_strips_of(e, e->narrow, node));
}

/* Of a node of this size. */
static double peak_of(const tp_exponents *e, int node, double size)
{
    return size + tp_strips_rarity(e, tp_strips_of(e, e->narrow, node)) / 2;
}

/* ---- gradients ---- */
/* The axes that a site's gradient is summed over. */
static ad_shape summed_at(const regime_job *j, const ad_site *site)
{
    const ad_graph *graph = j->program->graph;
    ad_shape all = ad_node_of(graph, site->delta.id)->shape;
    if (site->y.graph)
        all = ad_shape_union(&all, &ad_node_of(graph, site->y.id)->shape);
    return ad_shape_minus(&all, &ad_node_of(graph, site->param.id)->shape);
}

/* Follows the factors of a site's delta to the one that a mean over axes, all of which are summed over, was taken off,
 * through what is the same along these or is noted as another factor; the family of the axes, -1: there is none. */
static int find_centre(const regime_job *j, int id, const ad_shape *summed, met_factors *met)
{
    const ad_node *node = ad_node_of(j->program->graph, id);
    while (node->op == AD_SCALE || node->op == AD_NEG || node->op == AD_IDENTITY || node->op == AD_TRANSPOSE ||
           (node->op == AD_RELABEL && !ad_has(summed, node->axis2)))
        node = ad_node_of(j->program->graph, id = node->in[0]);
    const tp_cancelled *c = j->e.cancelled[id];
    if (c && c->n == 1 && c->factor < 0 && c->terms[0].family >= 0)
        return ad_shape_within(&c->terms[0].over, summed) ? c->terms[0].family : -1;
    for (int k = 0; k < 2 && (node->op == AD_MUL || node->op == AD_CONTRACT) && met->n < MET; k++) {
        met_factors before = *met;
        met->nodes[met->n++] = node->in[1 - k];
        int family = find_centre(j, node->in[k], summed, met);
        if (family >= 0)
            return family;
        *met = before;
    }
    return -1;
}

/* What a mean has been taken off leaves nothing where it meets what is the same along these axes, as a bias below batch
 * normalisation does, and of the rest what differs. */
static int find_centred_sites(regime_job *j, ad_error *error)
{
    const tp_program *p = j->program;
    j->zero = ad_arena_alloc(j->arena, (size_t)p->n_sites + 1, sizeof *j->zero);
    j->met = ad_arena_alloc(j->arena, (size_t)p->n_sites + 1, sizeof *j->met);
    j->split = ad_arena_alloc(j->arena, (size_t)p->n_sites + 1, sizeof *j->split);
    if (!j->zero || !j->met || !j->split)
        return ad_fail(error, "regime: out of memory");
    for (int i = 0; i < p->n_sites; i++) {
        const ad_site *site = &p->sites[i];
        ad_shape all = summed_at(j, site), over = { 0 };
        for (int k = 0; k < all.rank; k++)
            if (!site->y.graph || tp_same_along(&j->e, site->y.id, all.axes[k]))
                ad_shape_push(&over, all.axes[k]);
        j->zero[i] = over.rank > 0 && tp_sum_is_zero(&j->e, site->delta.id, &over);
        j->met[i].family = find_centre(j, site->delta.id, &all, &j->met[i]);
        if (site->y.graph)
            j->met[i].nodes[j->met[i].n++] = site->y.id;
    }
    return 0;
}

/* Of d y, of which y may be missing, at the start or by these changes. */
static double product_size(const regime_job *j, int d, int y, const double *changes)
{
    const tp_exponents *e = &j->e;
    double by_d = changes ? fmax(e->start[d], changes[d]) : e->start[d];
    if (y < 0)
        return peak_of(e, d, by_d);
    return peak_of(e, d, by_d) + peak_of(e, y, changes ? fmax(e->start[y], changes[y]) : e->start[y]);
}

/* The sum of products d y over axes of so many coordinates, whose log is `entries`: by the central limit theorem where
 * they cancel at the start; what has changed has done so along what it meets. */
static double product_of(const regime_job *j, int i, bool now, const ad_shape *summed, double entries)
{
    const tp_exponents *e = &j->e;
    const ad_site *site = &j->program->sites[i];
    int d = site->delta.id, y = site->y.graph ? site->y.id : -1;
    bool all = y < 0 ? e->centred[d] : tp_product_centred(e, d, y, summed);
    double size = product_size(j, d, y, now ? e->by_numbers : NULL), rest = -INFINITY;
    double whole = now ? product_size(j, d, y, e->change) : size;
    if (!(entries > 0))
        return whole + entries;
    if (!all) {
        tp_when when = now ? TP_NOW : TP_AT_START;
        rest = tp_rest_of_sum(e, d, when, y, when, summed);
        if (!now)
            return tp_split_sum(e, whole + entries, size + entries / 2, rest, &j->split[i]);
        if (j->split[i] == TP_WHOLE)
            return whole + entries;
    }
    size = fmin(tp_exponent_sum(size + entries / 2, rest), whole + entries);
    if (!now)
        return size;
    double by_d = j->coherent[d] - e->start[d], by_y = y >= 0 ? j->coherent[y] - e->start[y] : -INFINITY;
    return fmax(size, whole + entries + fmin(fmax(by_d, by_y), 0));
}

/* Of what a delta meets that a mean has been taken off, the part that differs along the axes of the mean, as a
 * share. */
static double part_met(const regime_job *j, const ad_site *site, bool now)
{
    const tp_exponents *e = &j->e;
    const met_factors *met = &j->met[site - j->program->sites];
    double most = -INFINITY;
    for (int i = 0; i < met->n && met->family >= 0; i++) {
        int id = met->nodes[i];
        double part = fmax(e->varying[met->family][id], now ? e->varying_change[met->family][id] : -INFINITY);
        most = fmax(most, part - (now ? tp_exponent_now(e, id) : e->start[id]));
    }
    return most > -INFINITY ? fmin(most, 0) : 0;
}

/* A coordinate of df/d omega that one use makes, where its strips are, which `rows` is filled in with (NULL: they are
 * not asked for): at the start or now. */
static double site_gradient(const regime_job *j, const ad_site *site, bool now, tp_strips *const rows[2])
{
    const tp_exponents *e = &j->e;
    const ad_graph *graph = j->program->graph;
    int d = site->delta.id, y = site->y.graph ? site->y.id : -1, side = 0;
    const ad_shape *own = &ad_node_of(graph, site->param.id)->shape;
    ad_shape summed = summed_at(j, site);
    if (j->zero[site - j->program->sites])
        return -INFINITY;
    tp_strips_none(e, e->work);
    for (int k = 0; k < summed.rank; k++)
        if (tp_is_width(graph, summed.axes[k])) {
            join_along(e, d, summed.axes[k], e->work);
            join_along(e, y, summed.axes[k], e->work);
        }
    double entries = tp_count_widths(graph, &summed) * e->log_n - tp_strips_rarity(e, e->work);
    double size = product_of(j, (int)(site - j->program->sites), now, &summed, entries) + e->front[site->param.id] +
                  part_met(j, site, now);
    for (int k = 0; rows && k < 2; k++)
        tp_strips_none(e, rows[k]);
    for (int k = 0; rows && k < own->rank && side < 2; k++)
        if (tp_is_width(graph, own->axes[k])) {
            join_along(e, d, own->axes[k], rows[side]);
            join_along(e, y, own->axes[k], rows[side]);
            side++;
        }
    return size;
}

static void rows_of(const regime_job *j, int param, tp_strips *rows[2])
{
    for (int k = 0; k < 2; k++)
        rows[k] = tp_strips_of(&j->e, j->e.rows[k], param);
}

/* The loss's own slope is the residual, of targets that do not grow. At a width it is f where f grows as n does. */
static double residual_of(const regime_job *j, bool now)
{
    int f = j->program->output.id;
    if (j->e.settled)
        return j->grows ? j->e.start[f] : 0;
    return fmax(now ? tp_exponent_now(&j->e, f) : j->e.start[f], 0);
}

/* The coordinates of the loss's gradient over all uses: the use that makes the largest. */
static int largest_site(const regime_job *j, int k, bool now, double *gradient)
{
    int id = nn_param(j->program->net, k).id, largest = -1;
    *gradient = -INFINITY;
    for (int i = 0; i < j->program->n_sites; i++) {
        if (j->program->sites[i].param.id != id)
            continue;
        double size = site_gradient(j, &j->program->sites[i], now, NULL) + residual_of(j, now);
        if (size > *gradient) {
            *gradient = size;
            largest = i;
        }
    }
    return largest;
}

static double rarity_of(const regime_job *j, int param)
{
    tp_strips *rows[2];
    rows_of(j, param, rows);
    return tp_strips_rarity(&j->e, rows[0]) + tp_strips_rarity(&j->e, rows[1]);
}

/* How large, beside the gradient by one input, those by the other inputs of a batch are together in what they do to it:
 * their residuals are taken to be independent. */
static double crowd(const regime_job *j)
{
    const tp_regime_spec *s = j->spec;
    return s->rows > 1 && s->overlap > 0 ? log(s->overlap) + log((double)s->rows - 1) / 2 : -INFINITY;
}

/* Sets parameter k's update to what one use makes of a step's. At a width, what other inputs of the batch add counts as
 * well: it is within strips of their own. As n grows an input's own leads or is as large. */
static void take_update(const regime_job *j, int k, int site, bool now, double gradient)
{
    int id = nn_param(j->program->net, k).id;
    bool adapts = nn_optimizer_adapts(j->spec->optimizer);
    tp_strips *rows[2];
    rows_of(j, id, rows);
    if (adapts)
        for (int i = 0; i < 2; i++)
            tp_strips_none(&j->e, rows[i]);
    else
        site_gradient(j, &j->program->sites[site], now, rows);
    j->e.update[id] = j->rates[k] + (adapts ? 0 : gradient);
    if (j->e.settled && !adapts)
        j->e.others[id] = j->e.update[id] - rarity_of(j, id) / 2 + crowd(j);
}

/* What a step adds to parameter k's change; does it grow by it? */
static bool step_of(const regime_job *j, int k, bool now)
{
    double gradient, *update = &j->e.update[nn_param(j->program->net, k).id], before = *update;
    int site = largest_site(j, k, now, &gradient);
    if (isnan(j->rates[k]) || site < 0)
        return false;
    bool adapts = nn_optimizer_adapts(j->spec->optimizer);
    if (j->rates[k] + (adapts ? 0 : gradient) <= before)
        return false;
    take_update(j, k, site, now, gradient);
    return *update > before + tiny * j->e.log_n;
}

/* At a width, what updates by the other outputs do to one whose own change is `own`, and `alone` by the batch's other
 * inputs: their readouts are independent, so that units add up incoherently, of which so many are not saturated. */
static double across_outputs(const regime_job *j, int i, double own, double alone)
{
    const tp_program *p = j->program;
    int delta = p->sites[i].delta.id;
    double outputs = (double)nn_n_outputs(p->net),
           rare = tp_strips_rarity(&j->e, tp_strips_of(&j->e, j->e.narrow, delta));
    if (!j->e.settled || outputs < 2 || p->widths[delta] < 1)
        return -INFINITY;
    return log(outputs - 1) / 2 + tp_exponent_sum(own - (j->e.log_n - rare) / 2, alone - (j->e.log_n - 2 * rare) / 2);
}

/* The log of how many coordinates of a parameter have a gradient by one output. */
static double log_entries(const regime_job *j, const ad_shape *own)
{
    const ad_graph *graph = j->program->graph;
    ad_shape inner = ad_shape_minus(own, &ad_node_of(graph, j->program->output.id)->shape);
    return tp_count_widths(graph, &inner) * j->e.log_n + tp_exponent_of_fixed(graph, &inner);
}

/* What parameter k's update changes of the output along its gradient, the sum over coordinates of df/d omega times the
 * update. Through the vectors in between, a small share of which may be moved far, only a bound is seen: an update is
 * along the gradient, and what it makes of a vector is so in part. */
static double along_gradient(const regime_job *j, int k, bool now)
{
    const tp_exponents *e = &j->e;
    int id = nn_param(j->program->net, k).id;
    const ad_shape *own = &ad_node_of(j->program->graph, id)->shape;
    double sum = -INFINITY, entries = log_entries(j, own);
    for (int i = 0; i < j->program->n_sites && e->update[id] > -INFINITY; i++) {
        if (j->program->sites[i].param.id != id)
            continue;
        const ad_site *site = &j->program->sites[i];
        double gradient = site_gradient(j, site, now, j->gradient_rows);
        double alone = gradient + e->others[id] - rarity_of(j, id) / 2;
        double by_own = gradient + e->update[id] + tp_exponent_reach(e, site->y.graph ? site->y.id : -1);
        for (int side = 0; side < 2; side++) {
            alone -= tp_strips_rarity(e, j->gradient_rows[side]);
            tp_strips_join(e, j->gradient_rows[side], tp_strips_of(e, e->rows[side], id));
            by_own -= tp_strips_rarity(e, j->gradient_rows[side]);
        }
        double both = tp_exponent_sum(by_own, alone);
        sum = tp_exponent_sum(sum, tp_exponent_sum(both, across_outputs(j, i, by_own, alone)) + entries);
    }
    return sum;
}

/* What becomes of the nodes, by numbers and by all else. */
static void change_nodes(const regime_job *j)
{
    const tp_exponents *e = &j->e;
    tp_exponents_change(e);
    for (int id = 0; id < j->program->n_nodes; id++) {
        j->coherent[id] = e->change[id];
        e->outside[id] = tp_exponent_sum(e->outside[id], e->by_numbers[id]);
        e->change[id] = tp_exponent_sum(e->change[id], e->by_numbers[id]);
    }
}

/* The same of all parameters, and what becomes of the nodes. */
static bool step(regime_job *j, bool now)
{
    bool grows = false;
    double along = -INFINITY;
    for (int k = 0; k < j->n_params; k++)
        grows |= step_of(j, k, now);
    change_nodes(j);
    for (int k = 0; k < j->n_params; k++)
        along = fmax(along, along_gradient(j, k, true));
    j->e.change[j->program->output.id] = fmin(j->e.change[j->program->output.id], along);
    return grows;
}

static void forget(const regime_job *j)
{
    for (int id = 0; id < j->program->n_nodes; id++) {
        j->coherent[id] = j->e.by_numbers[id] = j->e.change[id] = j->e.update[id] = j->e.others[id] = -INFINITY;
        for (int part = 0; j->e.mixed[id] && part < TP_MOST_PARTS; part++)
            j->e.mixed[id]->change[part] = -INFINITY;
    }
}

/* What a vector's coordinates have changed by so far. */
static double moved(const regime_job *j, const tp_growing *g)
{
    return j->e.change[g->node] + g->front * j->e.log_n;
}

/* Are units saturated anywhere, as n grows? */
static bool saturates(const regime_job *j)
{
    for (size_t i = 0; i < j->e.n_strips; i++)
        if (j->e.rarity[i] > tiny * j->e.log_n)
            return true;
    return false;
}

/* A step of a small rate by parameter k alone, use by use, whose changes add up: what becomes of the vectors. As n
 * grows, and without strips, the largest use is all that is seen; steps that do not read the gradient's size have one.
 */
static void respond_to(regime_job *j, const tp_regime *r, int k, double *parts)
{
    const tp_program *p = j->program;
    int id = nn_param(p->net, k).id;
    double largest;
    bool one = nn_optimizer_adapts(j->spec->optimizer) || (!j->e.settled && !saturates(j));
    int only = one ? largest_site(j, k, false, &largest) : -1;
    for (int v = 0; v < r->n_vectors; v++)
        parts[v * j->n_params + k] = -INFINITY;
    for (int i = 0; i < p->n_sites && !isnan(j->rates[k]); i++) {
        if (p->sites[i].param.id != id || (one && i != only))
            continue;
        double gradient = site_gradient(j, &p->sites[i], false, NULL);
        if (!(gradient > -INFINITY))
            continue;
        forget(j);
        take_update(j, k, i, false, gradient + residual_of(j, false));
        j->e.met = one || !j->e.settled || !p->sites[i].y.graph ? -1 : p->sites[i].y.id;
        change_nodes(j);
        j->e.change[p->output.id] = along_gradient(j, k, false);
        j->e.met = -1;
        for (int v = 0; v < r->n_vectors; v++)
            parts[v * j->n_params + k] = tp_exponent_sum(parts[v * j->n_params + k], moved(j, &r->vectors[v]));
    }
}

/* A step of a small rate: the parts of all parameters, by vector. */
static void respond(regime_job *j, const tp_regime *r, double *parts)
{
    j->e.linear = true;
    for (int k = 0; k < j->n_params; k++) {
        j->e.by_drawn = isnan(j->e.initial[nn_param(j->program->net, k).id]);
        respond_to(j, r, k, parts);
    }
    j->e.linear = false;
}

/* The power of n that a size has, at TP_FAR. */
static double power(const regime_job *j, double size)
{
    double p = size / j->e.log_n;
    return isfinite(p) ? round(p * 1e12) / 1e12 + 0.0 : p;
}

/* The largest power so far; what still grows in the last step grows without end. */
static void note_sizes(const regime_job *j, const double *sizes, bool last)
{
    for (int id = 0; id < j->program->forward; id++) {
        double now = power(j, sizes[id]) + j->fronts[id];
        j->most[id] = now > j->most[id] + tiny && last ? INFINITY : fmax(j->most[id], now);
    }
}

static void mark_factors(const regime_job *j, tp_regime *r)
{
    for (int id = 0; id < j->program->forward; id++)
        j->growing[id] = j->most[id] > tiny;
    tp_find_factors(j->program, j->growing, j->factors);
    for (int v = 0; v < r->n_vectors; v++)
        r->vectors[v].factor = j->factors[r->vectors[v].node];
}

/* Is what has changed of the hidden vectors so far small beside what they were, and beside the strips it is in? */
static bool is_linear_so_far(const regime_job *j, const tp_regime *r)
{
    const tp_exponents *e = &j->e;
    for (int v = 0; v + 1 < r->n_vectors; v++)
        if (e->change[r->vectors[v].node] > e->start[r->vectors[v].node] + tiny * e->log_n)
            return false;
    for (int id = 0; id < j->program->forward; id++) {
        double wide = e->change[id] + tp_strips_rarity(e, tp_strips_of(e, e->moved, id)) / 2;
        if (e->strip[id] >= 0 && wide > tiny * e->log_n)
            return false;
    }
    return true;
}

/* first and several of all vectors that are listed, where all is linear by all uses of a parameter; what still grows
 * after so many steps grows without end. */
static void train(regime_job *j, tp_regime *r)
{
    bool grows = true;
    forget(j);
    for (int id = 0; id < j->program->forward; id++)
        j->most[id] = -INFINITY;
    note_sizes(j, j->e.start, false);
    step(j, false);
    note_sizes(j, j->e.change, false);
    bool linear = is_linear_so_far(j, r);
    for (int v = 0; v < r->n_vectors; v++) {
        double first = power(j, moved(j, &r->vectors[v]));
        r->vectors[v].first = r->vectors[v].several = linear ? fmax(first, r->vectors[v].response) : first;
    }
    for (int t = 1; t < SEVERAL && grows; t++) {
        grows = step(j, true);
        note_sizes(j, j->e.change, t + 1 == SEVERAL);
        for (int v = 0; v < r->n_vectors; v++) {
            double now = fmax(power(j, moved(j, &r->vectors[v])), linear ? r->vectors[v].first : -INFINITY);
            r->vectors[v].several = t + 1 == SEVERAL && now > r->vectors[v].several + tiny ? INFINITY : now;
        }
    }
    mark_factors(j, r);
}

/* Powers of what a step of a small rate changes. */
static void find_response(regime_job *j, tp_regime *r)
{
    respond(j, r, j->parts);
    for (int v = 0; v < r->n_vectors; v++) {
        r->vectors[v].response = -INFINITY;
        for (int k = 0; k < j->n_params; k++) {
            double *one = &j->parts[v * j->n_params + k];
            *one = power(j, *one);
            r->vectors[v].response = fmax(r->vectors[v].response, *one);
        }
    }
}

/* Steps of a rate so small that the order of a change in it stands out in the log of its size, of the vectors that the
 * first step leaves where they are to first order. */
static void find_later(regime_job *j, tp_regime *r)
{
    static const double small = 1e3 * TP_FAR;
    bool grows = true;
    for (int v = 0; v < r->n_vectors; v++) {
        r->vectors[v].moves = isfinite(r->vectors[v].response);
        r->vectors[v].later = r->vectors[v].response;
    }
    for (int k = 0; k < j->n_params; k++)
        j->rates[k] -= small;
    forget(j);
    for (int t = 0; t < SEVERAL && grows; t++) {
        grows = step(j, t > 0);
        for (int v = 0; v < r->n_vectors; v++) {
            double size = moved(j, &r->vectors[v]);
            if (r->vectors[v].moves > 0 || !isfinite(size))
                continue;
            r->vectors[v].moves = t + 1;
            r->vectors[v].later = power(j, size + small * round(-size / small));
        }
    }
    for (int k = 0; k < j->n_params; k++)
        j->rates[k] += small;
}

/* ---- at the widths of the spec ---- */
static double start_size(const regime_job *j, const tp_growing *g)
{
    return j->e.start[g->node] + g->front * j->e.log_n;
}

/* The change by the parameters whose parts have the largest power. */
static double leading_part(const regime_job *j, const tp_regime *r, int v, const double *sizes)
{
    double sum = -INFINITY;
    for (int k = 0; k < j->n_params; k++)
        if (j->parts[v * j->n_params + k] > r->vectors[v].response - tiny)
            sum = tp_exponent_sum(sum, sizes[v * j->n_params + k]);
    return sum;
}

static double slope_of(double low, double high, double distance)
{
    return isfinite(low) && isfinite(high) ? (high - low) / distance : -INFINITY;
}

static int find_near(regime_job *j, tp_regime *r, ad_error *error)
{
    int n = r->n_vectors * j->n_params;
    size_t size = (size_t)j->program->n_nodes * j->e.words;
    tp_strips *settled = ad_arena_alloc(j->arena, size + 1, sizeof *settled);
    if (!settled)
        return ad_fail(error, "regime: out of memory");
    if (take_scales(j, TP_FAR, error))
        return -1;
    tp_exponents_start(&j->e);
    memcpy(settled, j->e.narrow, size * sizeof *settled);
    j->e.settled = settled;
    double ends[2] = { log((double)j->spec->near[0]), log((double)j->spec->near[1]) }, *parts[2], *starts[2];
    for (int i = 0; i < 2; i++) {
        if (!(parts[i] = numbers(j, n, -INFINITY)) || !(starts[i] = numbers(j, r->n_vectors, 0)))
            return ad_fail(error, "regime: out of memory");
        if (take_scales(j, ends[i], error))
            return -1;
        tp_exponents_start(&j->e);
        for (int v = 0; v < r->n_vectors; v++)
            starts[i][v] = start_size(j, &r->vectors[v]);
        respond(j, r, parts[i]);
    }
    double distance = ends[1] - ends[0];
    for (int v = 0; v < r->n_vectors; v++) {
        r->vectors[v].near_start = slope_of(starts[0][v], starts[1][v], distance);
        r->vectors[v].near_response =
            slope_of(leading_part(j, r, v, parts[0]), leading_part(j, r, v, parts[1]), distance);
    }
    return 0;
}

/* ---- constants that what vanishes is added to ---- */
/* The constant of a sum with a vector or a number that vanishes as n grows; NAN: it is none. */
static double constant_in(const regime_job *j, int id, int *vanishes)
{
    const tp_program *p = j->program;
    const ad_node *node = ad_node_of(p->graph, id);
    if (!p->lives[id] || id >= p->forward || (node->op != AD_ADD && node->op != AD_SUB) || j->e.curves.curve[id])
        return NAN;
    for (int k = 0; k < 2; k++) {
        int other = node->in[1 - k];
        double size = j->e.start[other];
        *vanishes = other;
        if (j->e.curves.roots[node->in[k]] < 0 && isfinite(size) && size < -tiny * j->e.log_n)
            return j->e.start[node->in[k]];
    }
    return NAN;
}

/* The widths from which on constants lead: where what vanishes, by its size at widths e^2, e^4 ..., is as large. */
static int find_constants(regime_job *j, tp_regime *r, ad_error *error)
{
    enum { STEPS = 40 };
    int n = 0, *nodes = ad_arena_alloc(j->arena, (size_t)j->program->forward + 1, sizeof *nodes);
    r->constants = ad_arena_alloc(j->arena, (size_t)j->program->forward + 1, sizeof *r->constants);
    double *before = numbers(j, j->program->forward, NAN);
    if (!nodes || !r->constants || !before)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < j->program->forward; id++) {
        double size = constant_in(j, id, &nodes[n]);
        if (!isnan(size))
            r->constants[n++] = (tp_constant){ .where = ad_node_of(j->program->graph, id)->where,
                                               .value = exp(size),
                                               .width = INFINITY };
    }
    for (int step = 1; step <= STEPS && n > 0; step++) {
        if (take_scales(j, 2.0 * step, error))
            return -1;
        tp_exponents_start(&j->e);
        for (int i = 0; i < n; i++) {
            double rest = j->e.start[nodes[i]] - log(r->constants[i].value);
            if (isinf(r->constants[i].width) && rest <= 0)
                r->constants[i].width = step > 1 ? exp(2 * (step - rest / (rest - before[i]))) : 1;
            before[i] = rest;
        }
    }
    r->n_constants = n;
    return 0;
}

/* The power of n in front of a node that is read by scales, one after the other, or by products that took their factors
 * over, perhaps under another name of its axis. */
static void find_fronts(const regime_job *j, bool *read)
{
    const tp_program *p = j->program;
    double *by_node = j->fronts;
    for (int id = p->forward - 1; id >= 0; id--) {
        const ad_node *node = ad_node_of(p->graph, id);
        bool renames = node->op == AD_RELABEL || node->op == AD_TRANSPOSE, scales = node->op == AD_SCALE;
        by_node[id] = read[id] ? 0 : by_node[id];
        if ((scales && (node->moved || p->lives[id])) || (renames && p->lives[id])) {
            double front = by_node[id] + (scales && tp_is_width(p->graph, node->axis) ? node->power : 0);
            by_node[node->in[0]] = fabs(by_node[node->in[0]]) > 0 ? by_node[node->in[0]] : front;
            read[node->in[0]] |= renames && read[id];
        } else if (p->lives[id] && node->op != AD_CONTRACT) {
            for (int k = 0; k < node->n_in; k++)
                read[node->in[k]] = true;
        }
    }
}

static bool is_listed(const tp_program *p, const tp_line *line)
{
    return !line->backward && line->rule != TP_TRSP && line->rule != TP_OUTPUT && line->node < p->forward &&
           p->widths[line->node] == 1 && p->params[line->node] < 0 && p->learns[line->node];
}

/* The vectors that functions are called with, and NULL where there are none to name. */
static int find_arguments(regime_job *j, const tp_line *lines, int n, const char *const **texts, ad_error *error)
{
    *texts = NULL;
    if (!(j->arguments = ad_arena_alloc(j->arena, (size_t)j->program->n_nodes + 1, sizeof *j->arguments)))
        return ad_fail(error, "regime: out of memory");
    int count = tp_find_arguments(j->program, j->arguments, error);
    for (int i = 0; i < n && count > 0; i++) {
        count -= j->arguments[lines[i].node];
        j->arguments[lines[i].node] = false;
    }
    return count > 0 && !(*texts = tp_node_texts(j->program, j->arena, error)) ? -1 : count;
}

static void list(tp_regime *r, const char *name, ad_where where, int node)
{
    r->vectors[r->n_vectors++] = (tp_growing){ .name = name, .where = where, .node = node };
}

/* In the order of the trace. */
static int list_vectors(regime_job *j, tp_regime *r, ad_error *error)
{
    int n = 0, next = 0;
    const tp_program *p = j->program;
    const tp_line *lines = tp_lines(p, j->arena, TP_PAPER, &n, error);
    const char *const *texts = NULL;
    int unnamed = lines ? find_arguments(j, lines, n, &texts, error) : -1;
    if (unnamed < 0)
        return -1;
    bool *read = ad_arena_alloc(j->arena, (size_t)p->n_nodes + 1, sizeof *read);
    r->vectors = ad_arena_alloc(j->arena, (size_t)(n + unnamed) + 1, sizeof *r->vectors);
    j->parts = numbers(j, (n + unnamed + 1) * j->n_params, -INFINITY);
    if (!r->vectors || !read || !j->parts)
        return ad_fail(error, "regime: out of memory");
    for (int i = 0; i < n; i++) {
        for (; lines[i].node < p->forward && next < lines[i].node; next++)
            if (j->arguments[next])
                list(r, texts[next], ad_node_of(p->graph, next)->where, next);
        if (is_listed(p, &lines[i]))
            list(r, lines[i].name, lines[i].where, lines[i].node);
    }
    list(r, "f", ad_node_of(p->graph, p->output.id)->where, p->output.id);
    find_fronts(j, read);
    j->fronts[p->output.id] = 0;
    for (int v = 0; v < r->n_vectors; v++) {
        int id = r->vectors[v].node;
        r->vectors[v].front = j->fronts[id];
        r->vectors[v].start = power(j, j->e.start[id]) + r->vectors[v].front;
    }
    return 0;
}

/* ---- the verdict ---- */
/* The first vector whose power is above 0 and that is no factor; -1: none. */
static int first_above(const tp_regime *r, size_t member)
{
    for (int v = 0; v < r->n_vectors; v++)
        if (!r->vectors[v].factor && *(const double *)(const void *)((const char *)&r->vectors[v] + member) > tiny)
            return v;
    return -1;
}

static const struct {
    size_t member;
    const char *words;
} stages[] = {
    { offsetof(tp_growing, start), "is, at the start, of order" },
    { offsetof(tp_growing, first), "changes in the first step by order" },
    { offsetof(tp_growing, several), "changes in several steps by order" },
};

static bool judge(tp_regime *r)
{
    const tp_growing *f = &r->vectors[r->n_vectors - 1];
    r->breaks = -1;
    for (int s = 0; s < 3 && r->breaks < 0; s++)
        r->breaks = first_above(r, stages[s].member);
    r->stable = r->breaks < 0;
    r->trains = f->several >= 0 - tiny;
    r->features = false;
    for (int v = 0; v + 1 < r->n_vectors; v++)
        r->features |= !r->vectors[v].factor && r->vectors[v].several >= 0 - tiny;
    return r->stable;
}

/* What breaks it, and when. */
static void tell_break(tp_regime *r)
{
    const tp_growing *g = &r->vectors[r->breaks];
    for (int s = 0; s < 3; s++) {
        double power = *(const double *)(const void *)((const char *)g + stages[s].member);
        if (!(power > tiny))
            continue;
        int n = snprintf(r->verdict, sizeof r->verdict, "not stable: %s (%s:%d) ", g->name,
                         tp_short_file(g->where.file), g->where.line);
        if (isinf(power))
            snprintf(r->verdict + n, sizeof r->verdict - (size_t)n, "changes by higher powers of n from step to step");
        else
            snprintf(r->verdict + n, sizeof r->verdict - (size_t)n, "%s n^%.4g", stages[s].words, power);
        return;
    }
}

static void tell(const regime_job *j, tp_regime *r)
{
    const tp_growing *f = &r->vectors[r->n_vectors - 1], *most = NULL, *lost = NULL;
    bool learns = false;
    for (int v = 0; v + 1 < r->n_vectors; v++) {
        if (!r->vectors[v].factor && (!most || r->vectors[v].several > most->several))
            most = &r->vectors[v];
        if (!lost && r->vectors[v].start < 0 - tiny && r->vectors[v].several < 0 - tiny)
            lost = &r->vectors[v];
    }
    for (int k = 0; k < j->n_params; k++)
        learns |= !isnan(j->rates[k]);
    char vanishes[160] = "";
    if (lost && isinf(lost->start))
        snprintf(vanishes, sizeof vanishes, "; %s (%s:%d) is 0 at the start", lost->name,
                 tp_short_file(lost->where.file), lost->where.line);
    else if (lost)
        snprintf(vanishes, sizeof vanishes, "; %s (%s:%d) vanishes, of order n^%.4g at the start", lost->name,
                 tp_short_file(lost->where.file), lost->where.line, lost->start);
    if (!r->stable)
        tell_break(r);
    else if (!r->trains && isinf(f->several))
        snprintf(r->verdict, sizeof r->verdict, "stable, and the output does not move: %s%s",
                 learns ? "no gradient reaches what learns" : "nothing that it is made of learns", vanishes);
    else if (!r->trains)
        snprintf(r->verdict, sizeof r->verdict, "stable, and the output does not move: its change is of order n^%.4g%s",
                 f->several, vanishes);
    else if (r->features)
        snprintf(r->verdict, sizeof r->verdict, "stable, with feature learning%s", vanishes);
    else if (!most || isinf(most->several))
        snprintf(r->verdict, sizeof r->verdict, "stable, in the kernel regime: hidden vectors do not change%s",
                 vanishes);
    else
        snprintf(r->verdict, sizeof r->verdict,
                 "stable, in the kernel regime: hidden vectors change by order n^%.4g at most%s", most->several,
                 vanishes);
}

static int list_params(regime_job *j, tp_regime *r)
{
    bool adapts = nn_optimizer_adapts(j->spec->optimizer);
    if (!(r->params = ad_arena_alloc(j->arena, (size_t)j->n_params + 1, sizeof *r->params)))
        return -1;
    for (int k = 0; k < j->n_params; k++) {
        const ad_node *node = ad_node_of(j->program->graph, nn_param(j->program->net, k).id);
        double step = adapts && j->gradients[k] > -INFINITY ? 0 : j->gradients[k];
        double rest = power(j, step + j->e.front[nn_param(j->program->net, k).id] + j->effects[k]);
        double rate = power(j, j->rates[k]);
        r->params[r->n_params++] = (tp_layer_rate){
            .name = node->name, .where = node->where, .rate = rate, .change = rate + rest, .suggested = 0.0 - rest
        };
    }
    return 0;
}

/* Whether the suggested powers are stable together; the listed vectors are kept. */
static int try_suggestion(regime_job *j, tp_regime *r)
{
    tp_regime other = *r;
    if (!(other.vectors = ad_arena_alloc(j->arena, (size_t)r->n_vectors + 1, sizeof *other.vectors)))
        return -1;
    for (int v = 0; v < r->n_vectors; v++) {
        other.vectors[v] = r->vectors[v];
        other.vectors[v].response = -INFINITY; /* it is that of other rates */
    }
    for (int k = 0; k < j->n_params; k++)
        if (!isnan(j->rates[k]) && isfinite(r->params[k].suggested))
            j->rates[k] = r->params[k].suggested * j->e.log_n;
    train(j, &other);
    r->suggestion = judge(&other);
    return 0;
}

static bool grows(const tp_growing *g)
{
    return g->start > tiny || g->first > tiny || g->several > tiny;
}

/* What has no line is told where it grows. */
static void leave_out_arguments(const regime_job *j, tp_regime *r)
{
    int kept = 0;
    for (int v = 0; v < r->n_vectors; v++) {
        if (j->arguments[r->vectors[v].node] && !grows(&r->vectors[v]))
            continue;
        for (int k = 0; k < j->n_params; k++)
            j->parts[kept * j->n_params + k] = j->parts[v * j->n_params + k];
        r->vectors[kept++] = r->vectors[v];
    }
    r->n_vectors = kept;
}

static int prepare(regime_job *j, ad_error *error)
{
    int n = j->program->n_nodes;
    bool *centred = ad_arena_alloc(j->arena, (size_t)n + 1, sizeof *centred);
    j->e = (tp_exponents){ .program = j->program, .inputs = j->spec->inputs > 0 ? log(j->spec->inputs) : 0 };
    j->e.met = -1;
    j->e.overlap = j->spec->overlap > 0 ? log(j->spec->overlap) : 0;
    if (!(j->e.numbered = ad_arena_alloc(j->arena, 1, sizeof *j->e.numbered)))
        return ad_fail(error, "regime: out of memory");
    double **all[] = {
        &j->e.numbered->inside, &j->e.numbered->outside, &j->e.numbered->none, &j->e.start, &j->e.gain,   &j->e.change,
        &j->e.inside,           &j->e.outside,           &j->e.spread,         &j->e.drawn, &j->e.update, &j->e.others,
        &j->e.by_numbers
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (!(*all[k] = numbers(j, n, -INFINITY)))
            return ad_fail(error, "regime: out of memory");
    j->e.front = numbers(j, n, 0);
    j->fronts = numbers(j, n, 0);
    j->coherent = numbers(j, n, -INFINITY);
    j->most = numbers(j, n, -INFINITY);
    j->growing = ad_arena_alloc(j->arena, (size_t)n + 1, sizeof *j->growing);
    j->factors = ad_arena_alloc(j->arena, (size_t)n + 1, sizeof *j->factors);
    j->rates = numbers(j, j->n_params, 0);
    j->effects = numbers(j, j->n_params, 0);
    j->gradients = numbers(j, j->n_params, -INFINITY);
    if (!centred || !j->e.front || !j->fronts || !j->coherent || !j->most || !j->growing || !j->factors || !j->rates ||
        !j->effects || !j->gradients)
        return ad_fail(error, "regime: out of memory");
    if (tp_find_centred(&j->e, j->arena, centred, error) || tp_find_mixed(&j->e, j->arena, error) ||
        tp_find_initial(&j->e, !j->spec->abc, j->arena, error) || tp_find_alike(&j->e, j->arena, error) ||
        tp_find_cancelled(&j->e, j->arena, error) || find_centred_sites(j, error) ||
        tp_curves_make(j->program, j->arena, &j->e.curves, error) || tp_strips_make(&j->e, j->arena, error))
        return -1;
    for (int k = 0; k < 2; k++)
        if (!(j->gradient_rows[k] = ad_arena_alloc(j->arena, j->e.words, sizeof *j->gradient_rows[k])))
            return ad_fail(error, "regime: out of memory");
    return 0;
}

static int find(regime_job *j, tp_regime *r, ad_error *error)
{
    if (prepare(j, error) || take_scales(j, TP_FAR, error))
        return -1;
    tp_exponents_start(&j->e);
    if (tp_check_lanes(&j->e, j->arena, error) || tp_check_divisors(&j->e, j->arena, error))
        return -1;
    j->grows = power(j, j->e.start[j->program->output.id]) > tiny;
    for (int k = 0; k < j->n_params; k++)
        largest_site(j, k, false, &j->gradients[k]);
    if (list_vectors(j, r, error))
        return -1;
    find_response(j, r);
    find_later(j, r);
    train(j, r);
    if (list_params(j, r) || try_suggestion(j, r))
        return ad_fail(error, "regime: out of memory");
    leave_out_arguments(j, r);
    judge(r);
    tell(j, r);
    r->parts = j->spec->parts ? j->parts : NULL;
    if (find_constants(j, r, error))
        return -1;
    return j->spec->near[0] > 0 ? find_near(j, r, error) : 0;
}

int tp_regime_find(const tp_program *program, const tp_regime_spec *spec, tp_regime *regime, ad_error *error)
{
    *regime = (tp_regime){ 0 };
    if (!program)
        return ad_fail(error, "regime: no program (NULL)");
    regime_job j = { .program = program, .spec = spec, .n_params = nn_n_params(program->net) };
    if (!(j.arena = regime->memory = ad_arena_new(error)))
        return -1;
    if (!find(&j, regime, error))
        return 0;
    tp_regime_free(regime);
    return -1;
}

void tp_regime_free(tp_regime *regime)
{
    ad_arena_free(regime->memory);
    *regime = (tp_regime){ 0 };
}
