/* apart.c: kernels whose samples meet in sums over the batch, without an adjoint for each pair of seed and sample.
 *
 * Where samples meet in sums over the batch, as the statistics of batch normalisation are, the adjoint of a tensor with
 * the seed of output o of sample i has few parts, what goes through the sample itself and what goes through the sums:
 *
 *     d[o, i, r, m] = own[o, i, m] 1{r = i} + sum over t, k of a_t[o, i, k] b_t[k, r, m];
 *
 * a_t knows the seed, b_t does not. Every op of a backward pass is linear in the seeds, and so makes such parts of such
 * parts: a sum over the batch makes an a of an own part; a matrix multiplies own parts and those b that depend on the
 * batch, whose index m becomes k. These are as many rows as a layer has statistics, not as there are seeds. With
 * K[r, r'] = <y[r], y'[r']> the kernel of a parameter, sum over r, r', m of d[o, i, r, m] K[r, r'] d'[p, j, r', m], is
 * that of its own parts, K[i, j] <own[o, i], own'[p, j]>, and for every t a product and its transpose,
 *
 *     <R_t[o, i], a_t[p, j]> + <a_t[o, i], R_t[p, j]>,
 *     R_t[o, i, k] = sum over m of own[o, i, m] (K b_t)[k, i, m]
 *                    + sum over s <= t, l, r, m of a_s[o, i, l] b_s[l, r, m] (K b_t)[k, r, m], half of s = t.
 *
 * All of these are more nodes of the graph. An adjoint that has no such form is left to the dense way. */
#include "autodiff/trace/trace.h"
#include "nn/kernel/kernel.h"

enum { MOST_PARTS = 16, MOST_FACTORS = 32 };

typedef struct {
    bool own;
    ad_var a, b; /* own: a over (out, batch, ..), else (out, sample, over, ..); no b: 1 */
    ad_shape over;
} part;

typedef struct {
    int n;
    part part[MOST_PARTS];
} parts;

typedef struct {
    const nn_net *net;
    const struct nn_tangent *t;
    ad_graph *graph;
    ad_shape seeds, statistics; /* statistics: axes that parts are summed over */
    int first;                  /* of the nodes of the backward pass */
    parts *of;                  /* by node, from the first on */
    bool failed;
} search;

/* ---- nodes ---- */
static ad_shape shape_of(ad_var v)
{
    return v.graph ? *ad_shape_get(v) : (ad_shape){ 0 };
}

static ad_shape without(ad_shape a, ad_shape b)
{
    return ad_shape_minus(&a, &b);
}

static ad_shape common(ad_shape a, ad_shape b)
{
    return ad_shape_meet(&a, &b);
}

static ad_shape both(ad_shape a, ad_shape b)
{
    return ad_shape_union(&a, &b);
}

static bool within(ad_shape a, ad_shape b)
{
    return ad_shape_within(&a, &b);
}

static ad_var var_of(const search *s, int id)
{
    return (ad_var){ s->graph, id };
}

/* A copy of the axis that no node has. There are not many of them. */
static ad_axis fresh(search *s, ad_axis axis)
{
    enum { MOST_PRIMES = 200 };
    ad_axis prime = ad_unused_prime(s->graph, ad_graph_size(s->graph) - 1, axis);
    s->failed |= prime.prime > MOST_PRIMES || s->statistics.rank == AD_MAX_RANK;
    return prime;
}

static ad_var renamed(ad_var v, ad_axis from, ad_axis to)
{
    return v.graph && ad_has(ad_shape_get(v), from) ? ad_relabel(v, from, to) : v;
}

/* The axes of both, seeds first. Statistics come before the batch where others of the network come after it, so that
 * all that one statistic has lies together; else last. */
static ad_shape laid_out(const search *s, ad_shape a, ad_shape b)
{
    ad_shape all = both(a, b), seeds = common(s->seeds, all), batch = common(ad_shape_of(s->t->batch), all);
    ad_shape statistics = common(s->statistics, all), others = without(without(without(all, seeds), batch), statistics);
    return both(seeds, others.rank ? both(both(statistics, batch), others) : both(batch, statistics));
}

static ad_var times(const search *s, ad_var a, ad_var b)
{
    if (!a.graph || !b.graph)
        return a.graph ? a : b;
    if (within(shape_of(a), shape_of(b)) || within(shape_of(b), shape_of(a)))
        return ad_combine(AD_HERE, AD_MUL, a, b);
    ad_shape shape = laid_out(s, shape_of(a), shape_of(b));
    return ad_combine(AD_HERE, AD_MUL, ad_expand(a, shape), b);
}

/* A copy that is laid out so. */
static ad_var copied(const search *s, ad_var v)
{
    ad_shape shape = laid_out(s, shape_of(v), (ad_shape){ 0 });
    return ad_node_on(ad_transpose(v, shape), (ad_node){ .op = AD_RESHAPE, .where = AD_HERE, .shape = shape });
}

/* The contraction, laid out likewise. */
static ad_var contraction(const search *s, ad_var a, ad_var b, ad_shape over)
{
    ad_shape shape = laid_out(s, without(shape_of(a), over), without(shape_of(b), over));
    return ad_node_make(s->graph, (ad_node){ .op = AD_CONTRACT, .where = AD_HERE, .shape = shape, .over = over }, 2,
                        (int[]){ a.id, b.id });
}

/* Is it of the seeds? */
static bool is_seeded(const search *s, int id)
{
    const ad_shape *shape = &ad_node_of(s->graph, id)->shape;
    return ad_has(shape, s->t->out) || ad_has(shape, s->t->sample);
}

static ad_var plus(const search *s, ad_var a, ad_var b)
{
    ad_var one = { 0 };
    if (!a.graph || !b.graph)
        one = ad_constant(s->graph, 1, (ad_shape){ 0 });
    return ad_combine(AD_HERE, AD_ADD, a.graph ? a : one, b.graph ? b : one);
}

/* ---- sums ---- */
/* A product's factors, and the factors that are numbers. */
typedef struct {
    int n, n_scales;
    ad_var factor[MOST_FACTORS];
    const ad_node *scale[MOST_FACTORS];
} factors;

static bool find_factors(const search *s, int id, factors *f)
{
    const ad_node *node = ad_node_of(s->graph, id);
    if (f->n == MOST_FACTORS || f->n_scales == MOST_FACTORS)
        return false;
    switch (node->op) {
    case AD_NEG:
    case AD_SCALE:
        f->scale[f->n_scales++] = node;
        return find_factors(s, node->in[0], f);
    case AD_EXPAND:
        return find_factors(s, node->in[0], f);
    case AD_MUL:
        return find_factors(s, node->in[0], f) && find_factors(s, node->in[1], f);
    default:
        f->factor[f->n++] = var_of(s, id);
        return true;
    }
}

static ad_var scaled(ad_var v, const ad_node *by)
{
    return by->op == AD_NEG ? ad_neg(v) : ad_scale_by(v, by->c, by->axis, by->power);
}

/* The sum of something without these axes over them. */
static ad_var repeated(ad_var v, ad_shape over)
{
    for (int i = 0; i < over.rank; i++)
        v = ad_scale_by(v, 1, over.axes[i], 1);
    return v;
}

/* A sum of a product: of factors over statistics or seeds the product with the others, so that all together need
 * no place. */
static ad_var sum_product(const search *s, ad_var v, ad_shape over)
{
    factors f = { 0 };
    ad_var with = { 0 }, plain = { 0 }, rest = { 0 }, sum = { 0 };
    if (!find_factors(s, v.id, &f))
        return ad_sum(v, over);
    for (int i = 0; i < f.n; i++) {
        ad_shape shape = shape_of(f.factor[i]);
        bool rich = common(shape, s->statistics).rank || common(shape, s->seeds).rank;
        ad_var *to = !common(shape, over).rank ? &rest : rich ? &with : &plain;
        *to = times(s, *to, f.factor[i]);
    }
    ad_shape missing = without(without(over, shape_of(with)), shape_of(plain));
    over = without(over, missing);
    if (with.graph && plain.graph && within(over, shape_of(with)) && within(over, shape_of(plain)))
        sum = contraction(s, with, plain, over);
    else if (over.rank)
        sum = ad_sum(times(s, with, plain), over);
    sum = repeated(times(s, sum, rest), missing);
    for (int i = f.n_scales - 1; i >= 0; i--)
        sum = scaled(sum, f.scale[i]);
    return sum;
}

static ad_var sum_of(const search *s, ad_var v, ad_shape over)
{
    const ad_node *node = ad_node_of(s->graph, v.id);
    ad_var in[2] = { { s->graph, node->n_in > 0 ? node->in[0] : -1 }, { s->graph, node->n_in > 1 ? node->in[1] : -1 } };
    if (!over.rank)
        return v;
    switch (node->op) {
    case AD_NEG:
    case AD_SCALE:
        return scaled(sum_of(s, in[0], over), node);
    case AD_ADD:
    case AD_SUB:
        for (int i = 0; i < 2; i++) {
            ad_shape there = common(over, shape_of(in[i]));
            in[i] = repeated(sum_of(s, in[i], there), without(over, there));
        }
        return ad_combine(AD_HERE, node->op, in[0], in[1]);
    case AD_MUL:
    case AD_EXPAND:
        return sum_product(s, v, over);
    default:
        return ad_sum(v, over);
    }
}

/* The sum of x y, term by term of x. */
static ad_var sum_times(const search *s, ad_var x, ad_var y, ad_shape over)
{
    const ad_node *node = ad_node_of(s->graph, x.id);
    switch (node->op) {
    case AD_NEG:
    case AD_SCALE:
        return scaled(sum_times(s, var_of(s, node->in[0]), y, over), node);
    case AD_EXPAND:
        return sum_times(s, var_of(s, node->in[0]), y, over);
    case AD_ADD:
    case AD_SUB:
        return ad_combine(AD_HERE, node->op, sum_times(s, var_of(s, node->in[0]), y, over),
                          sum_times(s, var_of(s, node->in[1]), y, over));
    default:
        return sum_product(s, times(s, x, y), over);
    }
}

/* The product of x and y, summed over their axes, and those of `all`, that are not kept; none: 1. */
static ad_var meet(const search *s, ad_var x, ad_var y, ad_shape keep, ad_shape all)
{
    ad_shape shared = without(common(shape_of(x), shape_of(y)), keep);
    ad_shape missing = without(without(without(all, keep), shape_of(x)), shape_of(y));
    if (x.graph)
        x = sum_of(s, x, without(without(shape_of(x), keep), shared));
    if (y.graph)
        y = sum_of(s, y, without(without(shape_of(y), keep), shared));
    bool sums = shared.rank == 1 && ad_same(shared.axes[0], s->t->batch);
    ad_var v = shared.rank && !sums ? contraction(s, x, y, shared)
               : shared.rank        ? sum_times(s, x, y, shared)
                                    : times(s, x, y);
    return repeated(v.graph ? v : ad_constant(s->graph, 1, (ad_shape){ 0 }), missing);
}

/* ---- parts of parts ---- */
static void push(search *s, parts *to, part p)
{
    for (int i = 0; i < to->n; i++) {
        part *q = &to->part[i];
        if (p.own && q->own) {
            q->a = plus(s, q->a, p.a);
            return;
        }
        if (!p.own && !q->own && p.a.id == q->a.id && ad_shape_equal(&p.over, &q->over)) {
            q->b = plus(s, q->b, p.b);
            return;
        }
    }
    if (to->n == MOST_PARTS)
        s->failed = true;
    else
        to->part[to->n++] = p;
}

static void push_all(search *s, parts *to, const parts *from, bool negative)
{
    for (int i = 0; i < from->n; i++) {
        part p = from->part[i];
        ad_var *v = p.own || !p.b.graph ? &p.a : &p.b;
        *v = negative ? ad_neg(*v) : *v;
        push(s, to, p);
    }
}

/* A b without an axis of its own joins its a; so do parts that are nothing but an a. */
static parts folded(search *s, const parts *from)
{
    parts to = { 0 };
    int plain = -1;
    for (int i = 0; i < from->n; i++) {
        part p = from->part[i];
        if (!p.own && p.b.graph && within(shape_of(p.b), shape_of(p.a)) && !p.over.rank) {
            p.a = times(s, p.a, p.b);
            p.b = (ad_var){ 0 };
        }
        if (!p.own && !p.b.graph && !p.over.rank) {
            if (plain >= 0) {
                to.part[plain].a = plus(s, to.part[plain].a, p.a);
                continue;
            }
            plain = to.n;
        }
        to.part[to.n++] = p;
    }
    return to;
}

static void sum_part(search *s, parts *to, part p, ad_shape over)
{
    ad_axis batch = s->t->batch;
    ad_shape of_batch = ad_shape_of(batch);
    if (p.own) {
        ad_shape rest = without(over, of_batch);
        if (!within(rest, shape_of(p.a))) {
            s->failed = true;
            return;
        }
        p.a = sum_of(s, p.a, rest);
        if (ad_has(&over, batch)) {
            p.a = renamed(p.a, batch, s->t->sample);
            p.own = false;
        }
        push(s, to, p);
        return;
    }
    ad_shape shared = common(common(over, shape_of(p.a)), shape_of(p.b));
    ad_shape missing = without(without(over, shape_of(p.a)), shape_of(p.b));
    p.a = sum_of(s, p.a, without(common(over, shape_of(p.a)), shared));
    if (p.b.graph)
        p.b = sum_of(s, p.b, without(common(over, shape_of(p.b)), shared));
    for (int i = 0; i < shared.rank; i++) {
        ad_axis axis = fresh(s, shared.axes[i]);
        p.a = renamed(p.a, shared.axes[i], axis);
        p.b = renamed(p.b, shared.axes[i], axis);
        ad_shape_push(&p.over, axis);
        ad_shape_push(&s->statistics, axis);
    }
    p.a = repeated(p.a, missing);
    push(s, to, p);
}

/* The contraction with w, which no seed knows. */
static void contract_part(search *s, parts *to, part p, ad_var w, ad_shape over)
{
    ad_axis batch = s->t->batch;
    ad_shape a = shape_of(p.a), b = shape_of(p.b), sums = ad_shape_of(batch);
    ad_shape missing = without(without(over, a), p.own ? sums : b);
    w = sum_of(s, w, missing);
    over = without(over, missing);
    ad_shape foreign = without(shape_of(w), over);
    if (p.own) {
        ad_shape rest = without(over, sums);
        p.a = rest.rank ? ad_contract(p.a, w, rest) : times(s, p.a, w);
        if (ad_has(&over, batch)) {
            p.a = renamed(p.a, batch, s->t->sample);
            p.own = false;
        }
    } else if (!over.rank) {
        p.b = times(s, p.b, w);
    } else if (within(over, a) && !common(over, b).rank && !ad_has(&foreign, batch) && !common(foreign, b).rank) {
        p.a = ad_contract(p.a, w, over);
    } else if (within(over, b) && !common(over, a).rank) {
        p.b = ad_contract(p.b, w, over);
    } else if (within(over, a)) { /* a's index stays, to be summed over in the end */
        for (int i = 0; i < over.rank; i++) {
            ad_axis axis = fresh(s, over.axes[i]);
            p.a = renamed(p.a, over.axes[i], axis);
            p.b = renamed(p.b, over.axes[i], axis);
            w = renamed(w, over.axes[i], axis);
            ad_shape_push(&p.over, axis);
            ad_shape_push(&s->statistics, axis);
        }
        p.b = times(s, p.b, copied(s, w));
    } else {
        s->failed = true;
    }
    if (!s->failed)
        push(s, to, p);
}

static void multiply(search *s, parts *to, const parts *x, ad_var y)
{
    for (int i = 0; i < x->n; i++) {
        part p = x->part[i];
        if (p.own)
            p.a = times(s, p.a, y);
        else
            p.b = times(s, p.b, y);
        push(s, to, p);
    }
}

/* Of two that both know seeds: the delta of the samples, and that of the outputs. */
static void multiply_seeds(search *s, parts *to, const parts *x, const parts *y)
{
    const part *p = &x->part[0], *q = &y->part[0];
    if (x->n != 1 || y->n != 1 || p->own == q->own || p->b.graph || q->b.graph || p->over.rank || q->over.rank ||
        ad_has(ad_shape_get(p->own ? q->a : p->a), s->t->sample)) {
        s->failed = true;
        return;
    }
    push(s, to, (part){ .own = true, .a = times(s, p->a, q->a) });
}

static parts *parts_of(const search *s, int id)
{
    return &s->of[id - s->first];
}

static void find_parts(search *s, int id)
{
    const ad_node *node = ad_node_of(s->graph, id);
    parts *to = parts_of(s, id);
    bool seeded[2] = { node->n_in > 0 && is_seeded(s, node->in[0]), node->n_in > 1 && is_seeded(s, node->in[1]) };
    int from = node->n_in ? node->in[seeded[0] ? 0 : node->n_in - 1] : 0, other = node->n_in ? node->in[seeded[0]] : 0;
    parts in = { 0 };
    if (seeded[0] || seeded[1])
        in = *parts_of(s, from);
    switch (node->op) {
    case AD_DELTA:
        if (ad_has(&node->shape, s->t->sample))
            push(s, to, (part){ .own = true, .a = ad_constant(s->graph, 1, (ad_shape){ 0 }) });
        else
            push(s, to, (part){ .a = var_of(s, id) });
        break;
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_TRANSPOSE:
        *to = in;
        break;
    case AD_NEG:
        push_all(s, to, &in, true);
        break;
    case AD_SCALE:
        for (int i = 0; i < in.n; i++) {
            part p = in.part[i];
            ad_var *v = p.own || !p.b.graph ? &p.a : &p.b;
            *v = ad_scale_by(*v, node->c, node->axis, node->power);
            push(s, to, p);
        }
        break;
    case AD_ADD:
    case AD_SUB:
        if (!seeded[0] || !seeded[1]) {
            s->failed = true;
            break;
        }
        push_all(s, to, &in, false);
        push_all(s, to, parts_of(s, node->in[1]), node->op == AD_SUB);
        break;
    case AD_MUL:
        if (seeded[0] && seeded[1])
            multiply_seeds(s, to, &in, parts_of(s, node->in[1]));
        else
            multiply(s, to, &in, var_of(s, other));
        break;
    case AD_RELABEL:
        if (ad_same(node->axis, s->t->batch) || ad_has(&s->seeds, node->axis))
            s->failed = true;
        for (int i = 0; i < in.n && !s->failed; i++) {
            part p = in.part[i];
            p.a = renamed(p.a, node->axis, node->axis2);
            p.b = renamed(p.b, node->axis, node->axis2);
            push(s, to, p);
        }
        break;
    case AD_SUM:
        for (int i = 0; i < in.n && !s->failed; i++)
            sum_part(s, to, in.part[i], node->over);
        break;
    case AD_CONTRACT:
        if (seeded[0] && seeded[1])
            s->failed = true;
        in = node->over.rank ? folded(s, &in) : in;
        for (int i = 0; i < in.n && !s->failed && node->over.rank; i++)
            contract_part(s, to, in.part[i], var_of(s, other), node->over);
        if (!node->over.rank && !s->failed)
            multiply(s, to, &in, var_of(s, other));
        break;
    default:
        s->failed = true;
    }
}

/* The parts of the adjoints of all sites, and of what they are made of. */
static bool find_all(search *s)
{
    const struct nn_tangent *t = s->t;
    int last = s->first;
    for (int k = 0; k < t->n_sites; k++)
        last = t->sites[k].delta.id > last ? t->sites[k].delta.id : last;
    size_t n = (size_t)(last - s->first) + 1;
    bool *needed = ad_arena_alloc(s->net->arena, n, sizeof *needed);
    s->of = ad_arena_alloc(s->net->arena, n, sizeof *s->of);
    if (!needed || !s->of)
        return false;
    for (int k = 0; k < t->n_sites; k++)
        if (t->sites[k].delta.id >= s->first)
            needed[t->sites[k].delta.id - s->first] = is_seeded(s, t->sites[k].delta.id);
    for (int id = last; id >= s->first; id--) {
        const ad_node *node = ad_node_of(s->graph, id);
        for (int i = 0; i < node->n_in && needed[id - s->first]; i++)
            if (is_seeded(s, node->in[i])) {
                if (node->in[i] < s->first)
                    return false;
                needed[node->in[i] - s->first] = true;
            }
    }
    for (int id = s->first; id <= last && !s->failed; id++)
        if (needed[id - s->first])
            find_parts(s, id);
    return !s->failed && !ad_failed(s->graph);
}

/* ---- from parts to products ---- */
static bool add_summand(const search *s, struct nn_apart *apart, nn_summand p)
{
    void *list = apart->summands;
    if (!ad_arena_grow(s->net->arena, &list, apart->n, &apart->capacity, sizeof *apart->summands))
        return false;
    apart->summands = list;
    apart->summands[apart->n++] = p;
    return true;
}

/* A use without y: its gradient, (out, sample, W). */
static ad_var gradient_of(search *s, const ad_site *site)
{
    ad_shape w = *ad_shape_get(site->param), keep = both(s->seeds, w);
    ad_shape over = without(shape_of(site->delta), keep);
    parts sums = { 0 };
    ad_var g = { 0 };
    for (int i = 0; i < parts_of(s, site->delta.id)->n && !s->failed; i++)
        sum_part(s, &sums, parts_of(s, site->delta.id)->part[i], over);
    for (int i = 0; i < sums.n && !s->failed; i++) {
        const part *p = &sums.part[i];
        if (p->own) {
            s->failed = true;
            break;
        }
        ad_var one = meet(s, p->a, p->b, keep, p->over);
        g = g.graph ? ad_combine(AD_HERE, AD_ADD, g, one) : one;
    }
    return g;
}

/* One use with a y over (batch, over) and a delta over (seeds, batch, rest). */
static bool is_plain(const search *s, const ad_site *site, const ad_site *first)
{
    ad_shape w = *ad_shape_get(site->param), batch = ad_shape_of(s->t->batch);
    ad_shape y = without(shape_of(site->y), batch), d = without(without(shape_of(site->delta), batch), s->seeds);
    return ad_has(ad_shape_get(site->y), s->t->batch) && ad_shape_same(&y, &site->over) &&
           within(d, without(w, site->over)) && ad_shape_same(&site->over, &first->over) && !is_seeded(s, site->y.id);
}

/* R_t's share of the use `from`, K(batch, again) being <y of from, y of the use that b is of>. Of two parts that are
 * none's own one has the share of both; t is number `same` of this use, or -1. */
static ad_var add_share(search *s, ad_var r, const ad_site *from, ad_var k, ad_axis again, const part *t, int same,
                        bool others)
{
    ad_axis batch = s->t->batch, sample = s->t->sample;
    ad_shape index = without(shape_of(t->a), s->seeds), of_batch = ad_shape_of(batch), of_again = ad_shape_of(again);
    ad_shape rest = without(*ad_shape_get(from->param), from->over);
    ad_var kb = t->b.graph && ad_has(ad_shape_get(t->b), batch)
                    ? contraction(s, k, renamed(t->b, batch, again), of_again)
                    : times(s, ad_sum(k, of_again), t->b);
    parts own_and_others = folded(s, parts_of(s, from->delta.id));
    for (int i = 0; i < own_and_others.n; i++) {
        const part *p = &own_and_others.part[i];
        ad_var one;
        if (!p->own && (!others || (same >= 0 && i > same)))
            continue;
        if (p->own) {
            ad_shape keep = both(both(ad_shape_of(s->t->out), of_batch), index);
            one = renamed(meet(s, p->a, kb, keep, rest), batch, sample);
        } else {
            ad_shape keep = both(without(shape_of(p->a), s->seeds), index);
            ad_var met = meet(s, p->b, kb, keep, both(rest, of_batch));
            one = meet(s, p->a, met, both(s->seeds, index), (ad_shape){ 0 });
            one = i == same ? ad_scale(one, 0.5) : one;
        }
        r = r.graph ? ad_combine(AD_HERE, AD_ADD, r, one) : one;
    }
    return r;
}

/* The sample's own part of a use, (out, sample, rest), and its y, (sample, over). */
typedef struct {
    ad_var d, y;
} own_part;

static own_part *own_parts(const search *s, const ad_site *const *uses, int n)
{
    own_part *own = ad_arena_alloc(s->net->arena, (size_t)n, sizeof *own);
    for (int k = 0; k < n && own; k++)
        for (int i = 0; i < parts_of(s, uses[k]->delta.id)->n; i++) {
            const part *p = &parts_of(s, uses[k]->delta.id)->part[i];
            if (p->own)
                own[k] = (own_part){ renamed(p->a, s->t->batch, s->t->sample),
                                     renamed(uses[k]->y, s->t->batch, s->t->sample) };
        }
    return own;
}

/* The uses of one parameter, each with each. */
static bool pair_uses(search *s, struct nn_apart *apart, int param, const ad_site *const *uses, int n)
{
    ad_axis again = fresh(s, s->t->batch);
    const own_part *own = own_parts(s, uses, n);
    for (int l = 0; l < n && own; l++) {
        const ad_site *to = uses[l];
        parts of = folded(s, parts_of(s, to->delta.id));
        ad_var y = ad_relabel(to->y, s->t->batch, again);
        nn_summand met = { .param = param, .own = true, .d2 = own[l].d, .y2 = own[l].y, .over = to->over };
        met.rest = without(*ad_shape_get(to->param), to->over);
        for (int k = 0; k < n && own[l].d.graph; k++) {
            met.d = own[k].d;
            met.y = own[k].y;
            if (met.d.graph && !add_summand(s, apart, met))
                return false;
        }
        for (int i = 0; i < of.n; i++) {
            part t = of.part[i];
            nn_summand sums = { .param = param, .through = t.over };
            if (t.own)
                continue;
            for (int k = 0; k < t.over.rank; k++) {
                ad_axis axis = fresh(s, t.over.axes[k]);
                ad_shape_push(&s->statistics, axis);
                t.a = renamed(t.a, t.over.axes[k], axis);
                t.b = renamed(t.b, t.over.axes[k], axis);
            }
            for (int k = 0; k < n; k++)
                sums.d = add_share(s, sums.d, uses[k], ad_contract(uses[k]->y, y, to->over), again, &t, k == l ? i : -1,
                                   k <= l);
            sums.d2 = t.a;
            if (!add_summand(s, apart, sums))
                return false;
        }
    }
    return own != NULL;
}

static bool pair_param(search *s, struct nn_apart *apart, int param)
{
    const struct nn_tangent *t = s->t;
    const ad_site **uses = ad_arena_alloc(s->net->arena, (size_t)t->n_sites + 1, sizeof *uses);
    ad_var g = { 0 };
    int n = 0;
    for (int k = 0; k < t->n_sites && uses; k++) {
        const ad_site *site = &t->sites[k];
        if (site->param.id != s->net->params[param].id)
            continue;
        if (!is_seeded(s, site->delta.id) || (n && !site->y.graph != !uses[0]->y.graph) ||
            (site->y.graph && !is_plain(s, site, n ? uses[0] : site)))
            return false;
        uses[n++] = site;
        if (site->y.graph)
            continue;
        ad_var one = gradient_of(s, site);
        if (s->failed)
            return false;
        g = g.graph ? ad_combine(AD_HERE, AD_ADD, g, one) : one;
    }
    if (!n || !uses)
        return uses != NULL;
    if (!uses[0]->y.graph)
        return add_summand(s, apart, (nn_summand){ .param = param, .d = g, .d2 = g });
    return pair_uses(s, apart, param, uses, n);
}

static struct nn_apart *find_apart(const nn_net *net, const struct nn_tangent *t)
{
    search s = {
        .net = net, .t = t, .graph = net->graph, .seeds = ad_shape_of(t->out, t->sample), .first = t->of.id + 1
    };
    struct nn_apart *apart = ad_arena_alloc(net->arena, 1, sizeof *apart);
    if (!apart || !find_all(&s))
        return NULL;
    for (int k = 0; k < net->n_params; k++)
        if (!pair_param(&s, apart, k) || s.failed)
            return NULL;
    return apart;
}

/* Is it less work than adjoints for each seed and sample? */
static bool pays(const nn_call *c, const struct nn_apart *apart)
{
    enum { FEW_ROWS = 4 }; /* of which statistics take away almost all: parts would nearly cancel */
    size_t most = 0;
    for (int k = 0; k < c->model->net->n_params; k++) {
        size_t statistics = 0;
        for (int i = 0; i < apart->n; i++)
            if (apart->summands[i].param == k && apart->summands[i].through.rank)
                statistics += nn_size_of(c, &apart->summands[i].through, c->max_rows);
        most = statistics > most ? statistics : most;
    }
    return c->max_rows >= FEW_ROWS && most < c->outputs * c->max_rows;
}

int nn_take_apart(nn_call *c, ad_error *error)
{
    const nn_net *net = c->model->net;
    struct nn_tangent *t = (struct nn_tangent *)c->tangent;
    ad_mark before = nn_growth_begin(net);
    if (!t->sought)
        t->apart = find_apart(net, t);
    t->sought = true;
    if (nn_growth_end(net, before, "kernel", error) != 0)
        return -1;
    return t->apart && pays(c, t->apart) ? nn_find_turned(c, t->apart, error) : 0;
}
