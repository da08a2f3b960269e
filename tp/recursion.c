#include "tp/recursion.h"

#include <math.h>
#include <string.h>

const tp_quantity *tp_quantity_at(const tp_algebra *algebra, int quantity)
{
    return algebra->quantities.items[quantity];
}

static int lacks_memory(const tp_algebra *algebra)
{
    return ad_fail(algebra->error, "out of memory while deriving the kernel's recursion");
}

static int quantity(tp_algebra *algebra, const tp_quantity *q, size_t size)
{
    int id = tp_intern(&algebra->quantities, q, size);
    return id < 0 ? lacks_memory(algebra) : id;
}

static tp_quantity blank(tp_kind kind)
{
    tp_quantity q;
    memset(&q, 0, sizeof q); /* padding takes part in the comparison */
    q.kind = kind;
    return q;
}

static int number(tp_algebra *algebra, double c)
{
    tp_quantity q = blank(TP_Q_NUMBER);
    q.c = c;
    return quantity(algebra, &q, sizeof q);
}

static bool is_number(const tp_algebra *algebra, int q, double *c)
{
    *c = tp_quantity_at(algebra, q)->c;
    return tp_quantity_at(algebra, q)->kind == TP_Q_NUMBER;
}

/* A sum under way: numbers fold, sums inside sums flatten, equal quantities meet. */
typedef struct {
    tp_quantity *q;
    int room;
} sum;

static bool sum_add(tp_algebra *algebra, sum *s, double c, int id)
{
    const tp_quantity *part = tp_quantity_at(algebra, id);
    if (!s->q && !(s->q = ad_arena_alloc(algebra->arena, 1, sizeof *s->q)))
        return false;
    s->q->kind = TP_Q_SUM;
    if (!(fabs(c) > 0))
        return true;
    if (part->kind == TP_Q_NUMBER) {
        s->q->c += c * part->c;
        return true;
    }
    if (part->kind == TP_Q_SUM) {
        s->q->c += c * part->c;
        for (int i = 0; i < part->n; i++)
            if (!sum_add(algebra, s, c * part->parts[i].c, part->parts[i].q))
                return false;
        return true;
    }
    int at = 0;
    while (at < s->q->n && s->q->parts[at].q < id)
        at++;
    if (at < s->q->n && s->q->parts[at].q == id) {
        s->q->parts[at].c += c;
        return true;
    }
    if (s->q->n == s->room) {
        int room = s->room ? 2 * s->room : 4;
        tp_quantity *larger = ad_arena_alloc(algebra->arena, 1, sizeof *larger + (size_t)room * sizeof *larger->parts);
        if (!larger)
            return false;
        memcpy(larger, s->q, sizeof *larger + (size_t)s->q->n * sizeof *larger->parts);
        s->q = larger;
        s->room = room;
    }
    for (int k = s->q->n++; k > at; k--)
        s->q->parts[k] = s->q->parts[k - 1];
    memset(&s->q->parts[at], 0, sizeof *s->q->parts);
    s->q->parts[at].c = c;
    s->q->parts[at].q = id;
    return true;
}

static int sum_end(tp_algebra *algebra, sum *s)
{
    if (!s->q || s->q->n == 0)
        return number(algebra, s->q ? s->q->c : 0);
    if (s->q->n == 1 && !(fabs(s->q->c) > 0) && !(fabs(s->q->parts[0].c - 1) > 0))
        return s->q->parts[0].q;
    return quantity(algebra, s->q, sizeof *s->q + (size_t)s->q->n * sizeof *s->q->parts);
}

static int scaled(tp_algebra *algebra, double c, int id)
{
    sum s = { 0 };
    return sum_add(algebra, &s, c, id) ? sum_end(algebra, &s) : lacks_memory(algebra);
}

static int product(tp_algebra *algebra, int a, int b)
{
    double c;
    if (is_number(algebra, a, &c))
        return scaled(algebra, c, b);
    if (is_number(algebra, b, &c))
        return scaled(algebra, c, a);
    tp_quantity q = blank(TP_Q_PRODUCT);
    q.a = a < b ? a : b;
    q.b = a < b ? b : a;
    return quantity(algebra, &q, sizeof q);
}

/* ---- series ---- */
static int series_add(tp_algebra *algebra, tp_series *s, double power, int q)
{
    double c;
    if (is_number(algebra, q, &c) && !(fabs(c) > 0))
        return 0;
    for (int i = 0; i < s->n; i++)
        if (fabs(s->at[i].power - power) < 1e-9) {
            sum both = { 0 };
            if (!sum_add(algebra, &both, 1, s->at[i].q) || !sum_add(algebra, &both, 1, q))
                return lacks_memory(algebra);
            s->at[i].q = sum_end(algebra, &both);
            return s->at[i].q < 0 ? -1 : 0;
        }
    if (s->n == TP_MAX_POWERS)
        return ad_fail(algebra->error, "the kernel has more than %d powers of n", TP_MAX_POWERS);
    s->at[s->n].power = power;
    s->at[s->n++].q = q;
    return 0;
}

/* ---- covariances and expectations ---- */
static int expectation(tp_algebra *algebra, int a, int b, tp_series *series);

static bool same_point(const tp_point *a, const tp_point *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Sigma(Wy, Wy') = E y y' for the same W (its deviation is outside), 0 for different ones: the simple rules. */
static int covariance(tp_algebra *algebra, int a, int b)
{
    const tp_gvar *u = tp_gvar_at(algebra, a), *v = tp_gvar_at(algebra, b);
    if (u->param != v->param || u->position != v->position || u->argument != v->argument ||
        !same_point(&u->where, &v->where))
        return number(algebra, 0);
    if (u->argument == TP_OF_INDEX)
        return number(algebra, 1);
    if (u->argument == TP_OF_DATA) {
        tp_quantity q = blank(TP_Q_GRAM);
        q.a = u->node;
        q.b = v->node;
        q.from_a = u->from;
        q.from_b = v->from;
        q.axis = u->axis;
        return quantity(algebra, &q, sizeof q);
    }
    tp_series series;
    if (expectation(algebra, u->node, v->node, &series))
        return -1;
    for (int i = 0; i < series.n; i++)
        if (fabs(series.at[i].power) < 1e-9)
            return series.at[i].q; /* powers below 0 vanish; above it there are none: vectors are of order one */
    return number(algebra, 0);
}

static int lin_covariance(tp_algebra *algebra, int a, int b)
{
    const tp_lin *u = tp_lin_at(algebra, a), *v = tp_lin_at(algebra, b);
    sum s = { 0 };
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < v->n; k++) {
            int q = covariance(algebra, u->parts[i].gvar, v->parts[k].gvar);
            if (q < 0)
                return -1;
            if (!sum_add(algebra, &s, u->parts[i].c * v->parts[k].c, q))
                return lacks_memory(algebra);
        }
    return sum_end(algebra, &s);
}

/* Can G-vars of these two lins be correlated at all? Only products with the same parameter, from the same side, are. */
static bool related(const tp_algebra *algebra, int a, int b)
{
    const tp_lin *u = tp_lin_at(algebra, a), *v = tp_lin_at(algebra, b);
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < v->n; k++) {
            const tp_gvar *g = tp_gvar_at(algebra, u->parts[i].gvar), *h = tp_gvar_at(algebra, v->parts[k].gvar);
            if (g->param == h->param && g->position == h->position)
                return true;
        }
    return false;
}

typedef struct {
    tp_factor factor;
    bool second; /* of the second coordinate */
    int block;
} member;

/* E of one independent block: one function of sample i, one of sample j, or a single one. */
static int block_expectation(tp_algebra *algebra, const member *members, int n, int block)
{
    tp_factor f[2] = { { -1, -1 }, { -1, -1 } };
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (members[i].block != block)
            continue;
        int side = members[i].second;
        if (f[side].lin >= 0)
            return ad_fail(algebra->error, "an expectation of three or more correlated functions has no exact rule here");
        f[side] = members[i].factor;
        count++;
    }
    int one = -1;
    if (count == 1) {
        int side = f[0].lin < 0;
        if (f[side].fn == algebra->variable)
            return number(algebra, 0); /* G-vars have mean zero; other means are numbers of their own */
        tp_fn unit;
        memset(&unit, 0, sizeof unit);
        unit.op = TP_NUMBER;
        unit.p = 1;
        if ((one = tp_intern(&algebra->fns, &unit, sizeof unit)) < 0)
            return lacks_memory(algebra);
        f[!side] = (tp_factor){ f[side].lin, one };
    }
    int cov = one >= 0 ? number(algebra, 0) : lin_covariance(algebra, f[0].lin, f[1].lin);
    if (cov < 0)
        return -1;
    if (f[0].fn == algebra->variable && f[1].fn == algebra->variable)
        return cov;
    tp_quantity q = blank(TP_Q_EXPECT);
    q.a = cov;
    q.fn_a = f[0].fn;
    q.fn_b = f[1].fn;
    q.var_a = lin_covariance(algebra, f[0].lin, f[0].lin);
    q.var_b = q.var_a < 0 ? -1 : lin_covariance(algebra, f[1].lin, f[1].lin);
    return q.var_b < 0 ? -1 : quantity(algebra, &q, sizeof q);
}

static int term_expectation(tp_algebra *algebra, const tp_term *a, const tp_term *b)
{
    member members[2 * TP_MAX_FACTORS];
    int n = 0;
    for (int i = 0; i < a->n; i++)
        members[n++] = (member){ a->factors[i], false, 0 };
    for (int i = 0; i < b->n; i++)
        members[n++] = (member){ b->factors[i], true, 0 };
    for (int i = 0; i < n; i++)
        members[i].block = i;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            if (members[i].block != members[k].block && related(algebra, members[i].factor.lin, members[k].factor.lin))
                for (int m = 0, from = members[i].block, to = members[k].block; m < n; m++)
                    if (members[m].block == from)
                        members[m].block = to;
    int result = number(algebra, 1);
    for (int block = 0; block < n && result >= 0; block++) {
        bool present = false;
        for (int i = 0; i < n; i++)
            present = present || members[i].block == block;
        if (!present)
            continue;
        int e = block_expectation(algebra, members, n, block);
        result = e < 0 ? -1 : product(algebra, result, e);
    }
    return result;
}

/* E a b of two coordinates, by powers of n. */
static int expectation(tp_algebra *algebra, int a, int b, tp_series *series)
{
    struct {
        int kind, a, b, unused;
    } key = { -1, a, b, 0 };
    int *slot = tp_memo(algebra, &key, sizeof key);
    if (!slot)
        return lacks_memory(algebra);
    if (*slot >= 0) {
        memcpy(series, algebra->series.items[*slot], sizeof *series);
        return 0;
    }
    memset(series, 0, sizeof *series);
    const tp_coordinate *x = tp_coordinate_at(algebra, a), *y = tp_coordinate_at(algebra, b);
    for (int i = 0; i < x->n; i++)
        for (int k = 0; k < y->n; k++) {
            int q = term_expectation(algebra, &x->terms[i], &y->terms[k]);
            q = q < 0 ? -1 : scaled(algebra, x->terms[i].c * y->terms[k].c, q);
            if (q < 0 || series_add(algebra, series, x->terms[i].power + y->terms[k].power, q))
                return -1;
        }
    int id = tp_intern(&algebra->series, series, sizeof *series);
    if (id < 0 || !(slot = tp_memo(algebra, &key, sizeof key)))
        return lacks_memory(algebra);
    *slot = id;
    return 0;
}

/* ---- the kernels ---- */
/* The next point of an odometer over fixed axes; false when all have been seen. */
static bool next_point(const tp_algebra *algebra, tp_point *point)
{
    for (int i = point->n - 1; i >= 0; i--) {
        if (++point->at[i].index < (int)ad_axis_fixed(algebra->graph, point->at[i].axis))
            return true;
        point->at[i].index = 0;
    }
    return false;
}

static tp_point points_over(const tp_algebra *algebra, const ad_shape *axes)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_FIXED)
            tp_point_set(&point, axes->axes[i], 0);
    return point;
}

/* point, with the indices of `more` set. */
static tp_point joined(const tp_point *point, const tp_point *more)
{
    tp_point all = *point;
    for (int i = 0; i < more->n; i++)
        tp_point_set(&all, more->at[i].axis, more->at[i].index);
    return all;
}

static tp_point own_part(const tp_algebra *algebra, int node, const tp_point *all)
{
    tp_point point = tp_point_of(algebra, node, NULL);
    for (int i = 0; i < point.n; i++) {
        int index = tp_point_index(all, point.at[i].axis);
        point.at[i].index = index < 0 ? 0 : index;
    }
    return point;
}

/* <x, x'> summed over `axes`, x and x' two nodes with their other fixed axes at given points: a series. */
static int inner(tp_algebra *algebra, int x, const tp_point *at_x, int y, const tp_point *at_y, const ad_shape *axes,
                 tp_series *series)
{
    memset(series, 0, sizeof *series);
    if (tp_is_data(algebra, x) && tp_is_data(algebra, y)) {
        if (axes->rank != 1 || ad_axis_kind(algebra->graph, axes->axes[0]) != AD_FIXED)
            return tp_refuse(algebra, x, "data meets a parameter over other than one fixed axis");
        tp_quantity q = blank(TP_Q_GRAM);
        q.a = x;
        q.b = y;
        q.axis = axes->axes[0];
        tp_point from[2] = { tp_point_of(algebra, x, axes), tp_point_of(algebra, y, axes) };
        for (int i = 0; i < from[0].n; i++)
            from[0].at[i].index = tp_point_index(at_x, from[0].at[i].axis);
        for (int i = 0; i < from[1].n; i++)
            from[1].at[i].index = tp_point_index(at_y, from[1].at[i].axis);
        q.from_a = from[0];
        q.from_b = from[1];
        int id = quantity(algebra, &q, sizeof q);
        return id < 0 ? -1 : series_add(algebra, series, 0, id);
    }
    double factor = 1, power = 0;
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_WIDTH) {
            double p, c = tp_axis_factor(algebra, axes->axes[i], &p);
            factor *= c;
            power += p;
        }
    tp_point sums = points_over(algebra, axes);
    do {
        tp_point all_x = joined(at_x, &sums), all_y = joined(at_y, &sums);
        int a = tp_coordinate_of(algebra, x, own_part(algebra, x, &all_x));
        int b = a < 0 ? -1 : tp_coordinate_of(algebra, y, own_part(algebra, y, &all_y));
        tp_series part;
        if (b < 0 || expectation(algebra, a, b, &part))
            return -1;
        for (int i = 0; i < part.n; i++) {
            int q = scaled(algebra, factor, part.at[i].q);
            if (q < 0 || series_add(algebra, series, part.at[i].power + power, q))
                return -1;
        }
    } while (next_point(algebra, &sums));
    return 0;
}

int tp_nngp_series(tp_algebra *algebra, tp_series *series)
{
    int node = algebra->program->output.id;
    tp_point point = tp_point_of(algebra, node, NULL);
    int f = tp_coordinate_of(algebra, node, point);
    return f < 0 ? -1 : expectation(algebra, f, f, series);
}

/* The fixed axes that a site's tensors have beyond the parameter's own, the batch and the seed: time, positions. */
static tp_point free_axes(const tp_algebra *algebra, const ad_site *site)
{
    const ad_shape *w = ad_shape_get(site->param), *d = ad_shape_get(site->delta);
    ad_shape axes = { 0 };
    const ad_shape *shapes[] = { d, site->y.graph ? ad_shape_get(site->y) : d };
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < shapes[s]->rank; i++) {
            ad_axis axis = shapes[s]->axes[i];
            if (!ad_has(w, axis) && !ad_has(&axes, axis) && !ad_same(axis, algebra->program->seed))
                axes.axes[axes.rank++] = axis;
        }
    return points_over(algebra, &axes);
}

static ad_shape minus(const ad_shape *a, const ad_shape *b)
{
    ad_shape rest = { 0 };
    for (int i = 0; i < a->rank; i++)
        if (!ad_has(b, a->axes[i]))
            rest.axes[rest.rank++] = a->axes[i];
    return rest;
}

static const ad_shape *w_of(const ad_site *site)
{
    return ad_shape_get(site->param);
}

/* One pair of sites at given times: <delta, delta'> <y, y'>. */
static int site_pair(tp_algebra *algebra, const ad_site *s, const tp_point *at_s, const ad_site *t,
                     const tp_point *at_t, tp_series *total)
{
    ad_shape out = s->y.graph ? minus(w_of(s), &s->over) : *w_of(s);
    tp_series back, forth = { .n = 0 };
    if (inner(algebra, s->delta.id, at_s, t->delta.id, at_t, &out, &back))
        return -1;
    if (s->y.graph && inner(algebra, s->y.id, at_s, t->y.id, at_t, &s->over, &forth))
        return -1;
    if (!s->y.graph)
        series_add(algebra, &forth, 0, number(algebra, 1));
    for (int i = 0; i < back.n; i++)
        for (int k = 0; k < forth.n; k++) {
            int q = product(algebra, back.at[i].q, forth.at[k].q);
            if (q < 0 || series_add(algebra, total, back.at[i].power + forth.at[k].power, q))
                return -1;
        }
    return 0;
}

int tp_ntk_series(tp_algebra *algebra, tp_series *series)
{
    const tp_program *program = algebra->program;
    memset(series, 0, sizeof *series);
    for (int i = 0; i < program->n_sites; i++)
        for (int k = 0; k < program->n_sites; k++) {
            const ad_site *s = &program->sites[i], *t = &program->sites[k];
            if (s->param.id != t->param.id)
                continue;
            bool alike = (s->y.graph != NULL) == (t->y.graph != NULL) &&
                         (!s->y.graph || (ad_has(&t->over, s->over.axes[0]) && s->over.rank == t->over.rank));
            ad_shape inside = s->y.graph ? minus(w_of(s), &s->over) : (ad_shape){ 0 };
            for (int m = 0; m < inside.rank; m++)
                if (ad_has(ad_shape_get(s->y), inside.axes[m]))
                    return tp_refuse(algebra, s->delta.id, "%s stays aligned with its argument along %s: no rule here",
                                     ad_look(algebra->graph, s->param.id)->name,
                                     ad_axis_name(algebra->graph, inside.axes[m]));
            if (!alike)
                return tp_refuse(algebra, s->param.id, "%s is used in two ways (as W and as its transpose): the NTK "
                                 "between them has no exact rule here", ad_look(algebra->graph, s->param.id)->name);
            tp_point at_s = free_axes(algebra, s);
            do {
                tp_point at_t = free_axes(algebra, t);
                do {
                    if (site_pair(algebra, s, &at_s, t, &at_t, series))
                        return -1;
                } while (next_point(algebra, &at_t));
            } while (next_point(algebra, &at_s));
        }
    return 0;
}
