/* expectation.c: covariances of G-vars and expectations of coordinates, as quantities of a pair of samples.
 *
 * E of a product of two coordinates is a sum over pairs of terms. The factors of a pair fall into blocks that do not
 * depend on each other; of each block the expectation is a quantity, if it is of at most two functions. */
#include "autodiff/base/base.h"
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- series ---- */
static int too_many_powers(tp_algebra *algebra)
{
    algebra->refused = true;
    return ad_fail(algebra->error, "the kernel has more than %d powers of n", TP_MAX_POWERS);
}

int tp_series_add(tp_algebra *algebra, tp_series *s, double power, int q)
{
    if (tp_q_is_zero(algebra, q))
        return 0;
    for (int i = 0; i < s->n; i++)
        if (fabs(s->at[i].power - power) < 1e-9) {
            s->at[i].q = tp_q_plus(algebra, 1, s->at[i].q, 1, q);
            return s->at[i].q < 0 ? -1 : 0;
        }
    if (s->n == TP_MAX_POWERS)
        return too_many_powers(algebra);
    s->at[s->n].power = power;
    s->at[s->n++].q = q;
    return 0;
}

/* Without the powers that are not there. */
static size_t series_size(const tp_series *s)
{
    return offsetof(tp_series, at) + (size_t)s->n * sizeof *s->at;
}

int tp_long_sum_add(tp_algebra *algebra, tp_long_sum *s, double power, double c, int q)
{
    int k = 0;
    if (tp_q_is_zero(algebra, q))
        return 0;
    while (k < s->n_powers && !(fabs(s->power[k] - power) < 1e-9))
        k++;
    if (k == TP_MAX_POWERS)
        return too_many_powers(algebra);
    if (k == s->n_powers)
        s->power[s->n_powers++] = power;
    if (!ad_arena_grow(algebra->arena, (void **)&s->parts[k], s->n[k], &s->capacity[k], sizeof *s->parts[k]))
        return tp_lacks_memory(algebra);
    s->parts[k][s->n[k]++] = (tp_q_part){ .c = c, .q = q };
    return 0;
}

int tp_long_sum_end(tp_algebra *algebra, const tp_long_sum *s, tp_series *series)
{
    memset(series, 0, sizeof *series);
    for (int k = 0; k < s->n_powers; k++) {
        int total = tp_q_total(algebra, s->parts[k], s->n[k]);
        if (total < 0 || tp_series_add(algebra, series, s->power[k], total))
            return -1;
    }
    return 0;
}

/* ---- covariances and expectations ----
 * of two vectors of samples i and j, or of one and the same sample (alone): there scalars multiply as they are, while
 * in a pair each is taken at its own side's sample. */
static bool same_point(const tp_point *a, const tp_point *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The scalars a of sample i and b of sample j, multiplied. */
static int scalars_of(tp_algebra *algebra, int a, int b, bool alone)
{
    if (alone)
        return tp_q_scalar_product(algebra, a, b);
    int first = tp_q_side(algebra, a, TP_Q_FIRST), second = tp_q_side(algebra, b, TP_Q_SECOND);
    return first < 0 || second < 0 ? -1 : tp_q_product(algebra, first, second);
}

/* The parameter's axis along which a G-var sums its rows, weighed by data; no axis: it is one row. */
static ad_axis summed_axis(const tp_algebra *algebra, const tp_gvar *g)
{
    return g->argument == TP_OF_DATA ? ad_node_of(algebra->graph, g->param)->shape.axes[g->position] : (ad_axis){ 0 };
}

/* What u weighs the row with by which v goes through the axis that u sums over: an entry of u's data. */
static int weight_of(tp_algebra *algebra, const tp_gvar *u, const tp_gvar *v)
{
    ad_axis axis = summed_axis(algebra, u);
    if (!axis.id)
        return TP_Q_ONE;
    tp_point from = tp_point_of(algebra, u->node, NULL), entry = u->from;
    tp_point_set(&entry, u->axis, tp_point_index(&v->where, axis));
    for (int i = 0; i < from.n; i++)
        from.at[i].index = tp_point_index(&entry, from.at[i].axis);
    return tp_q_data(algebra, u->node, &from);
}

/* Do two G-vars of one parameter go through the same entry of each of its fixed axes that neither sums over? */
static bool same_rows(const tp_algebra *algebra, const tp_gvar *u, const tp_gvar *v)
{
    const ad_shape *shape = &ad_node_of(algebra->graph, u->param)->shape;
    ad_axis of_u = summed_axis(algebra, u), of_v = summed_axis(algebra, v);
    for (int i = 0; i < shape->rank; i++) {
        ad_axis axis = shape->axes[i];
        if (!ad_same(axis, of_u) && !ad_same(axis, of_v) &&
            tp_point_index(&u->where, axis) != tp_point_index(&v->where, axis))
            return false;
    }
    return true;
}

/* Of U^T a and U^T b with rows in common, U a parameter with one width whose rows are independent and have variance one
 * (its deviation is outside): a . b, whatever a and b are, data or the number of a row (THEORY section 9). */
static int rows_covariance(tp_algebra *algebra, const tp_gvar *u, const tp_gvar *v, bool alone)
{
    ad_axis of_u = summed_axis(algebra, u), of_v = summed_axis(algebra, v);
    if (of_u.id && ad_same(of_u, of_v))
        return tp_q_gram(algebra, u->node, &u->from, v->node, &v->from, u->axis);
    int a = weight_of(algebra, u, v), b = weight_of(algebra, v, u);
    return a < 0 || b < 0 ? -1 : scalars_of(algebra, a, b, alone);
}

/* Can the products be correlated at all? One with a vector is a number for all coordinates of W's other side, or a
 * vector over the other width: it has nothing in common with the rows of W, nor with W's products from the other
 * side. */
static bool same_kind(const tp_gvar *u, const tp_gvar *v)
{
    return u->param == v->param && (u->argument == TP_OF_VECTOR) == (v->argument == TP_OF_VECTOR) &&
           (u->argument != TP_OF_VECTOR || u->position == v->position);
}

/* Can they, by what costs nothing to see: another row, another matrix? */
static bool may_covary(const tp_algebra *algebra, const tp_gvar *u, const tp_gvar *v)
{
    if (!same_kind(u, v))
        return false;
    return u->argument == TP_OF_VECTOR ? same_point(&u->where, &v->where) : same_rows(algebra, u, v);
}

/* Of Wy and Wy' for the same W from the same side, Zhat's part: E y y', the deviation outside; of others 0. */
static int covariance(tp_algebra *algebra, int a, int b, bool alone)
{
    const tp_gvar *u = tp_gvar_at(algebra, a), *v = tp_gvar_at(algebra, b);
    if (!may_covary(algebra, u, v)) /* independent draws */
        return TP_Q_ZERO;
    if (u->argument != TP_OF_VECTOR)
        return rows_covariance(algebra, u, v, alone);
    tp_series series;
    if (tp_expectation(algebra, u->node, v->node, alone, &series))
        return -1;
    for (int i = 0; i < series.n; i++)
        if (fabs(series.at[i].power) < 1e-9)
            return series.at[i].q; /* powers below 0 vanish; above it there are none: vectors are of order one */
    return TP_Q_ZERO;
}

static int product_of(tp_algebra *algebra, int a, int b, bool alone)
{
    if (a < 0 || b < 0)
        return -1;
    return alone ? tp_q_scalar_product(algebra, a, b) : tp_q_product(algebra, a, b);
}

static int sum_covariances(tp_algebra *algebra, int a, int b, bool alone)
{
    const tp_lin *u = tp_lin_at(algebra, a), *v = tp_lin_at(algebra, b);
    int total = TP_Q_ZERO;
    for (int i = 0; i < u->n && total >= 0; i++)
        for (int k = 0; k < v->n && total >= 0; k++) {
            int q = covariance(algebra, u->parts[i].gvar, v->parts[k].gvar, alone);
            if (q < 0)
                return -1;
            if (tp_q_is_zero(algebra, q))
                continue;
            q = product_of(algebra, scalars_of(algebra, u->parts[i].scalar, v->parts[k].scalar, alone), q, alone);
            total = q < 0 ? -1 : tp_q_plus(algebra, 1, total, tp_times(algebra, u->parts[i].c, v->parts[k].c), q);
        }
    return total;
}

typedef struct {
    int kind, a, b, alone;
} pair;

static int solve_covariance(tp_algebra *algebra, const void *key)
{
    pair of;
    memcpy(&of, key, sizeof of);
    return sum_covariances(algebra, of.a, of.b, of.alone);
}

int tp_lin_covariance(tp_algebra *algebra, int a, int b, bool alone)
{
    pair key = { -2, a, b, alone };
    return tp_memo_solve(algebra, &key, sizeof key, solve_covariance);
}

/* Only products with the same parameter, from the same side, at the same places can be correlated: are any here? */
static bool alike(const tp_algebra *algebra, int a, int b)
{
    const tp_lin *u = tp_lin_at(algebra, a), *v = tp_lin_at(algebra, b);
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < v->n; k++) {
            const tp_gvar *g = tp_gvar_at(algebra, u->parts[i].gvar), *h = tp_gvar_at(algebra, v->parts[k].gvar);
            if (may_covary(algebra, g, h))
                return true;
        }
    return false;
}

/* Is one of a coordinate's G-vars related to a lin? */
static int nested_related(tp_algebra *algebra, const tp_coordinate *x, int lin, bool swapped, bool alone)
{
    int related = 0;
    for (int i = 0; i < x->n; i++)
        for (int m = 0; m < x->terms[i].n && !related; m++) {
            int own = x->terms[i].factors[m].lin;
            related = tp_lins_related(algebra, swapped ? lin : own, swapped ? own : lin, alone);
        }
    return related;
}

int tp_lins_related(tp_algebra *algebra, int a, int b, bool alone)
{
    const tp_coordinate *x = tp_nested(algebra, a), *y = tp_nested(algebra, b);
    if (x || y)
        return nested_related(algebra, x ? x : y, x ? b : a, !x, alone);
    if (a == b || !alike(algebra, a, b))
        return a == b;
    int q = tp_lin_covariance(algebra, a, b, alone);
    return q < 0 ? -1 : !tp_q_is_zero(algebra, q);
}

typedef struct {
    tp_factor factor;
    bool second; /* of the second coordinate */
    int block, parity;
} member;

/* E f(u) of one function of one sample. */
static int single_expectation(tp_algebra *algebra, tp_factor f)
{
    tp_quantity q;
    tp_q_blank(&q, TP_Q_EXPECT);
    q.fn_a = f.fn;
    q.fn_b = tp_fn_intern(algebra, (tp_fn){ .op = TP_NUMBER, .p = 1 });
    q.a = q.b = TP_Q_ZERO;
    q.var_a = q.var_b = tp_lin_covariance(algebra, f.lin, f.lin, true);
    if (q.fn_b < 0)
        return tp_lacks_memory(algebra);
    return q.var_a < 0 ? -1 : tp_q_expect(algebra, &q);
}

int tp_pair_expectation(tp_algebra *algebra, tp_factor f, tp_factor g, bool alone)
{
    int cov = tp_lin_covariance(algebra, f.lin, g.lin, alone);
    if (cov < 0 || (f.fn == algebra->variable && g.fn == algebra->variable))
        return cov;
    tp_quantity q;
    tp_q_blank(&q, TP_Q_EXPECT);
    q.a = cov;
    q.fn_a = f.fn;
    q.fn_b = g.fn;
    q.b = alone ? cov : tp_lin_covariance(algebra, f.lin, g.lin, true);
    q.var_a = q.var_b = q.b;
    if (f.lin != g.lin) {
        q.var_a = q.b < 0 ? -1 : tp_lin_covariance(algebra, f.lin, f.lin, true);
        q.var_b = q.var_a < 0 ? -1 : tp_lin_covariance(algebra, g.lin, g.lin, true);
    }
    return q.var_b < 0 ? -1 : tp_q_expect(algebra, &q);
}

/* g into f, both of one sample, where the lin of one is a multiple of the other's: 1, or 0 where it is none. */
static int merge(tp_algebra *algebra, tp_factor *f, tp_factor g)
{
    double ratio;
    if (!tp_lin_multiple(algebra, f->lin, g.lin, &ratio))
        return 0;
    if (g.fn != algebra->variable) { /* the plain variable is the one to be stretched */
        tp_factor h = *f;
        *f = g;
        g = h;
        ratio = 1 / ratio;
    }
    int stretched = tp_fn_stretched(algebra, g.fn, ratio);
    f->fn = stretched < 0 ? -1 : tp_fn_intern(algebra, (tp_fn){ .op = TP_TIMES, .a = f->fn, .b = stretched });
    return f->fn < 0 ? tp_lacks_memory(algebra) : 1;
}

/* The factors of one block: those of one lin and one sample become one function where there are more than two. */
static int block_factors(tp_algebra *algebra, const member *members, int n, int block, bool alone, member *out)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (members[i].block == block)
            out[count++] = members[i];
    for (int i = 0; i < count && count > 2; i++)
        for (int k = i + 1; k < count && count > 2; k++) {
            int merged = alone || out[i].second == out[k].second ? merge(algebra, &out[i].factor, out[k].factor) : 0;
            if (merged < 0)
                return -1;
            if (merged)
                out[k--] = out[--count];
        }
    return count;
}

/* Told by the parameter whose products the functions are of. */
static int refuse_block(tp_algebra *algebra, const member *f, int count)
{
    int lin = f[0].factor.lin;
    for (const tp_coordinate *x; (x = tp_nested(algebra, lin));)
        for (int i = 0; i < x->n; i++)
            lin = x->terms[i].n ? x->terms[i].factors[0].lin : lin;
    const tp_gvar *g = tp_gvar_at(algebra, tp_lin_at(algebra, lin)->parts[0].gvar);
    return tp_refuse(algebra, g->param,
                     "an expectation of %d correlated functions of products with %s: an exact rule "
                     "there is for two",
                     count, ad_node_of(algebra->graph, g->param)->name);
}

/* G-vars have mean zero and are together as likely as their negatives: what is odd in a block has expectation 0. */
static bool has_odd_block(const member *members, int n)
{
    for (int block = 0; block < n; block++) {
        int parity = 1;
        for (int i = 0; i < n; i++)
            parity *= members[i].block == block ? members[i].parity : 1;
        if (parity == -1)
            return true;
    }
    return false;
}

/* Is an odd one related to no other? Then the expectation is 0, whatever else is related: products with a readout at
 * two positions are told by this, before anything is asked of the vectors there. 1, 0, or -1. */
static int has_lone_odd(tp_algebra *algebra, const member *members, int n, bool alone)
{
    for (int i = 0; i < n; i++) {
        int related = members[i].parity != -1;
        for (int k = 0; k < n && !related; k++) {
            const member *first = k < i ? &members[k] : &members[i], *second = k < i ? &members[i] : &members[k];
            if (k != i)
                related = tp_lins_related(algebra, first->factor.lin, second->factor.lin,
                                          alone || first->second == second->second);
        }
        if (related <= 0)
            return related < 0 ? -1 : 1;
    }
    return 0;
}

static int find_blocks(tp_algebra *algebra, member *members, int n, bool alone)
{
    for (int i = 0; i < n; i++)
        members[i].block = i;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            if (members[i].block == members[k].block)
                continue;
            int related = tp_lins_related(algebra, members[k].factor.lin, members[i].factor.lin,
                                          alone || members[i].second == members[k].second);
            if (related < 0)
                return -1;
            for (int m = 0, from = members[i].block, to = members[k].block; related && m < n; m++)
                if (members[m].block == from)
                    members[m].block = to;
        }
    return 0;
}

/* ---- Stein's lemma ---- */
static int members_expectation(tp_algebra *algebra, member *members, int n, bool alone, int result);

/* The covariance of two factors, each of its own sample. */
static int members_covariance(tp_algebra *algebra, const member *f, const member *g, bool alone)
{
    if (!alone && f->second != g->second) {
        const member *first = f->second ? g : f, *second = f->second ? f : g;
        return tp_lin_covariance(algebra, first->factor.lin, second->factor.lin, false);
    }
    int q = tp_lin_covariance(algebra, f->factor.lin, g->factor.lin, true);
    return q < 0 || alone ? q : tp_q_side(algebra, q, f->second ? TP_Q_SECOND : TP_Q_FIRST);
}

static int members_related(tp_algebra *algebra, const member *f, const member *g, bool alone)
{
    const member *first = f->second ? g : f, *second = f->second ? f : g;
    return tp_lins_related(algebra, first->factor.lin, second->factor.lin, alone || f->second == g->second);
}

/* May a linear factor be taken out: is every other one that it is related to continuous? */
static int may_take_out(tp_algebra *algebra, const member *f, int count, int taken, bool alone)
{
    double c;
    if (tp_fn_monomial(algebra, f[taken].factor.fn, &c) == 0 || tp_nested(algebra, f[taken].factor.lin))
        return 0;
    for (int k = 0; k < count; k++) {
        if (k == taken || (tp_fn_continuous(algebra, f[k].factor.fn) && !tp_nested(algebra, f[k].factor.lin)))
            continue;
        int related = members_related(algebra, &f[taken], &f[k], alone);
        if (related)
            return related < 0 ? -1 : 0;
    }
    return 1;
}

/* f without member k, or with another function in its place; how many there are then. */
static int with_function(tp_algebra *algebra, const member *f, int count, int k, int fn, double *c, member *out)
{
    double value;
    bool number = tp_fn_is_number(algebra, fn, &value);
    int n = 0;
    for (int i = 0; i < count; i++)
        if (i != k || !number)
            out[n++] = f[i];
    if (number)
        *c *= value;
    else
        out[k].factor.fn = fn;
    return n;
}

/* E c u^p F = c sum over the factors k of u^(p-1) F  of Cov(u, lin_k) E d/d lin_k (u^(p-1) F), c u^p the factor number
 * `taken`. */
static int stein(tp_algebra *algebra, const member *f, int count, int taken, bool alone)
{
    member left[2 * TP_MAX_FACTORS], next[2 * TP_MAX_FACTORS];
    member u = f[taken];
    double c = 1;
    int p = tp_fn_monomial(algebra, u.factor.fn, &c), total = TP_Q_ZERO;
    int power = p == 1   ? tp_fn_number(algebra, 1)
                : p == 2 ? algebra->variable
                : p == 3 ? tp_fn_make(algebra, AD_SQUARE, 0, algebra->variable, 0)
                         : tp_fn_make(algebra, AD_POWER, p - 1, algebra->variable, 0);
    int n = power < 0 ? -1 : with_function(algebra, f, count, taken, power, &c, left);
    for (int k = 0; k < n && total >= 0; k++) {
        double factor = c;
        if (tp_nested(algebra, left[k].factor.lin))
            continue; /* which is not related */
        int cov = members_covariance(algebra, &u, &left[k], alone);
        if (cov < 0)
            return -1;
        if (tp_q_is_zero(algebra, cov))
            continue;
        int slope = tp_fn_derivative(algebra, left[k].factor.fn);
        int m = slope < 0 ? -1 : with_function(algebra, left, n, k, slope, &factor, next);
        int rest = m < 0 ? -1 : members_expectation(algebra, next, m, alone, TP_Q_ONE);
        int part = product_of(algebra, cov, rest, alone);
        total = part < 0 ? -1 : tp_q_plus(algebra, 1, total, factor, part);
    }
    return n < 0 ? -1 : total;
}

/* ---- groups ---- */
/* Adds a lin of a sample, or those that a nested one is a function of; one beyond the most that there may be. */
static void add_lin(const tp_algebra *algebra, int lin, int second, tp_group_lin *lins, int *n)
{
    const tp_coordinate *nested = tp_nested(algebra, lin);
    for (int i = 0; nested && i < nested->n; i++)
        for (int m = 0; m < nested->terms[i].n; m++)
            add_lin(algebra, nested->terms[i].factors[m].lin, second, lins, n);
    for (int k = 0; k < *n && !nested; k++)
        if (lins[k].lin == lin && lins[k].second == second)
            return;
    if (!nested && *n < TP_MAX_GROUP)
        lins[*n] = (tp_group_lin){ lin, second };
    *n += !nested && *n <= TP_MAX_GROUP;
}

int tp_group_lins(const tp_algebra *algebra, int group, tp_group_lin *lins)
{
    const tp_group *g = tp_group_at(algebra, group);
    int n = 0;
    for (int k = 0; k < g->n; k++)
        add_lin(algebra, g->at[k].factor.lin, g->at[k].second, lins, &n);
    return n;
}

/* The number of a group, its factors in order. */
static int intern_group(tp_algebra *algebra, const member *f, int count, bool alone)
{
    union {
        tp_group group;
        unsigned char bytes[sizeof(tp_group) + (size_t)2 * TP_MAX_FACTORS * sizeof(tp_group_factor)];
    } own;
    memset(&own, 0, sizeof own);
    tp_group_factor *at = (tp_group_factor *)(own.bytes + sizeof(tp_group));
    for (int i = 0; i < count; i++) {
        tp_group_factor one = { .factor = f[i].factor, .second = !alone && f[i].second };
        int k = own.group.n++;
        for (; k > 0 && memcmp(&at[k - 1], &one, sizeof one) > 0; k--)
            at[k] = at[k - 1];
        at[k] = one;
    }
    return tp_intern(&algebra->groups, &own, sizeof(tp_group) + (size_t)count * sizeof *at);
}

/* The expectations of a group's stand-ins, those of order one: how many, or -1. */
static int expect_stand_ins(tp_algebra *algebra, int group, bool alone, tp_q_part *parts)
{
    tp_stand_in list[TP_MOST_STAND_INS];
    int count = tp_stand_ins(algebra, group, alone, list), n = 0;
    for (int k = 0; k < count; k++) {
        tp_series series;
        if (tp_expectation(algebra, list[k].of[0], list[k].of[1], alone, &series))
            return -1;
        if (series.n == 1 && fabs(series.at[0].power) < 1e-9)
            parts[n++] = (tp_q_part){ .c = 1, .q = series.at[0].q, .powers = list[k].powers };
    }
    return count < 0 ? -1 : n;
}

enum { MOST_GROUPS = 4096 }; /* more are more work than samples */

/* E of correlated functions of which there is no rule, as a quantity of its own. */
static int group_expectation(tp_algebra *algebra, const member *f, int count, bool alone)
{
    tp_group_lin lins[TP_MAX_GROUP];
    int covariances[TP_MAX_GROUP * (TP_MAX_GROUP + 1) / 2], n_covariances = 0, scalar;
    int group = intern_group(algebra, f, count, alone), n = group < 0 ? 0 : tp_group_lins(algebra, group, lins);
    if (group < 0)
        return tp_lacks_memory(algebra);
    if (group >= MOST_GROUPS)
        return refuse_block(algebra, f, count);
    for (int k = 0; k < count; k++)
        if (tp_fn_scalars(algebra, f[k].factor.fn, &scalar, 1) > 0)
            return refuse_block(algebra, f, count);
    if (n > TP_MAX_GROUP)
        return refuse_block(algebra, f, count);
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++) {
            member a = { .factor.lin = lins[i].lin, .second = lins[i].second };
            member b = { .factor.lin = lins[k].lin, .second = lins[k].second };
            int q = members_covariance(algebra, &a, &b, alone);
            if (q < 0)
                return -1;
            covariances[n_covariances++] = q;
        }
    tp_q_part stand_ins[TP_MOST_STAND_INS];
    int n_stand_ins = expect_stand_ins(algebra, group, alone, stand_ins);
    return n_stand_ins < 0 ? -1 : tp_q_group(algebra, group, covariances, n_covariances, stand_ins, n_stand_ins);
}

/* Of more than two functions that are related, of which some are powers: these are taken out one by one. */
static int reduced_expectation(tp_algebra *algebra, const member *f, int count, bool alone)
{
    enum { MAX_DEGREE = 8 }; /* each one that is taken out makes of one expectation many */
    int degree = 0;
    double c;
    for (int k = 0; k < count; k++)
        degree += tp_fn_monomial(algebra, f[k].factor.fn, &c);
    for (int k = 0; k < count && degree <= MAX_DEGREE; k++) {
        int may = may_take_out(algebra, f, count, k, alone);
        if (may)
            return may < 0 ? -1 : stein(algebra, f, count, k, alone);
    }
    return algebra->by_groups ? group_expectation(algebra, f, count, alone) : refuse_block(algebra, f, count);
}

/* The probability to keep, where the factor is of a mask; else 0. */
static double keep_of(const tp_algebra *algebra, tp_factor f)
{
    const tp_lin *lin = tp_lin_at(algebra, f.lin);
    return lin->n == 1 && !tp_nested(algebra, f.lin)
               ? algebra->program->keeps[tp_gvar_at(algebra, lin->parts[0].gvar)->param]
               : 0;
}

/* E of functions of a mask, which is 1 / keep with the probability keep, else 0. Of two samples, masks are
 * independent. */
static int mask_expectation(tp_algebra *algebra, const member *f, int count, double keep, bool alone)
{
    double at[2] = { 0, 1 / keep }, value[2][2] = { { 1, 1 }, { 1, 1 } }; /* of either sample's functions, at both */
    int scalar;
    for (int k = 0; k < count; k++) {
        double c = tp_lin_at(algebra, f[k].factor.lin)->parts[0].c, x[2] = { c * at[0], c * at[1] }, y[2];
        bool plain = tp_lin_at(algebra, f[k].factor.lin)->parts[0].scalar == TP_Q_ONE;
        if (!plain || tp_fn_scalars(algebra, f[k].factor.fn, &scalar, 1) > 0)
            return refuse_block(algebra, f, count);
        tp_fn_eval(algebra, f[k].factor.fn, NULL, 2, x, y);
        for (int i = 0; i < 2; i++)
            value[f[k].second][i] *= y[i];
    }
    double same = (1 - keep) * value[0][0] * value[1][0] + keep * value[0][1] * value[1][1];
    double apart = ((1 - keep) * value[0][0] + keep * value[0][1]) * ((1 - keep) * value[1][0] + keep * value[1][1]);
    if (alone || !(fabs(same - apart) > 0))
        return tp_q_number(algebra, same);
    int is_same = tp_q_same(algebra);
    return is_same < 0 ? -1 : tp_q_plus(algebra, apart, TP_Q_ONE, same - apart, is_same);
}

/* E of one independent block: two functions, of samples i and j or both of one of them, or a single one. */
static int block_expectation(tp_algebra *algebra, const member *members, int n, int block, bool alone)
{
    member f[2 * TP_MAX_FACTORS];
    int count = block_factors(algebra, members, n, block, alone, f);
    if (count < 0)
        return -1;
    double keep = keep_of(algebra, f[0].factor);
    if (keep > 0)
        return mask_expectation(algebra, f, count, keep, alone);
    bool nested = false, one_side = true;
    for (int k = 0; k < count; k++) {
        nested = nested || tp_nested(algebra, f[k].factor.lin);
        one_side = one_side && f[k].second == f[0].second;
    }
    if (algebra->by_groups && !alone && one_side && (count > 2 || nested)) {
        int own = reduced_expectation(algebra, f, count, true);
        return own < 0 ? -1 : tp_q_side(algebra, own, f[0].second ? TP_Q_SECOND : TP_Q_FIRST);
    }
    if (count > 2 || nested)
        return reduced_expectation(algebra, f, count, alone);
    if (count == 2 && (alone || f[0].second != f[1].second))
        return tp_pair_expectation(algebra, f[0].factor, f[1].factor, alone);
    int e = count == 1 ? single_expectation(algebra, f[0].factor)
                       : tp_pair_expectation(algebra, f[0].factor, f[1].factor, true);
    return e < 0 || alone ? e : tp_q_side(algebra, e, f[0].second ? TP_Q_SECOND : TP_Q_FIRST);
}

/* E of a product of functions, each of sample i or of sample j, times `result`. */
static int members_expectation(tp_algebra *algebra, member *members, int n, bool alone, int result)
{
    for (int i = 0; i < n; i++)
        members[i].parity = tp_nested(algebra, members[i].factor.lin) ? 0 : tp_fn_parity(algebra, members[i].factor.fn);
    int lone = has_lone_odd(algebra, members, n, alone);
    if (lone || find_blocks(algebra, members, n, alone))
        return lone > 0 ? TP_Q_ZERO : -1;
    if (has_odd_block(members, n))
        return TP_Q_ZERO;
    for (int block = 0; block < n && result >= 0; block++) {
        bool present = false;
        for (int i = 0; i < n; i++)
            present = present || members[i].block == block;
        if (present)
            result = product_of(algebra, result, block_expectation(algebra, members, n, block, alone), alone);
    }
    return result;
}

static int term_expectation(tp_algebra *algebra, const tp_term *a, const tp_term *b, bool alone)
{
    member members[2 * TP_MAX_FACTORS];
    int n = 0;
    for (int i = 0; i < a->n; i++)
        members[n++] = (member){ .factor = a->factors[i] };
    for (int i = 0; i < b->n; i++)
        members[n++] = (member){ .factor = b->factors[i], .second = true };
    int scalars = scalars_of(algebra, a->scalar, b->scalar, alone);
    int result = scalars < 0 ? -1 : members_expectation(algebra, members, n, alone, scalars);
    return result < 0 ? -1 : tp_q_scaled(algebra, tp_times(algebra, a->c, b->c), result);
}

/* fold, of a with itself: of two products of terms that mirror each other, the first one twice. */
static int expectation(tp_algebra *algebra, int a, int b, bool alone, bool fold, tp_series *series)
{
    pair key = { fold ? -3 : -1, a, b, alone };
    int slot = tp_intern(&algebra->memo, &key, sizeof key);
    if (slot < 0)
        return tp_lacks_memory(algebra);
    if (algebra->memo.items[slot].value >= 0) {
        const tp_series *known = tp_table_at(&algebra->series, algebra->memo.items[slot].value);
        memcpy(series, known, series_size(known));
        return 0;
    }
    const tp_coordinate *x = tp_coordinate_at(algebra, a), *y = tp_coordinate_at(algebra, b);
    tp_long_sum sum = { 0 };
    for (int i = 0; i < x->n; i++)
        for (int k = fold ? i : 0; k < y->n; k++) {
            int q = term_expectation(algebra, &x->terms[i], &y->terms[k], alone);
            if (q < 0 ||
                tp_long_sum_add(algebra, &sum, x->terms[i].power + y->terms[k].power, fold && k > i ? 2 : 1, q))
                return -1;
        }
    if (tp_long_sum_end(algebra, &sum, series))
        return -1;
    int id = tp_intern(&algebra->series, series, series_size(series));
    algebra->memo.items[slot].value = id;
    return id < 0 ? tp_lacks_memory(algebra) : 0;
}

int tp_expectation(tp_algebra *algebra, int a, int b, bool alone, tp_series *series)
{
    return expectation(algebra, a, b, alone, false, series);
}

int tp_folded_expectation(tp_algebra *algebra, int a, tp_series *series)
{
    return expectation(algebra, a, a, false, true, series);
}
