/* grouped.c: a kernel whose recursion has expectations of many functions of few correlated Gaussians, by points.
 *
 * A group's Gaussians are L z, L L^T their covariance, which the recursion has found before, and z a run's points: the
 * expectation is a mean over these alone, of as many dimensions as there are Gaussians. Gates of their own matrices are
 * groups of their own; what is of two functions or fewer has few dimensions. Functions of what is itself made of gates
 * of several matrices, as an LSTM's output is, have all of these as variables: such a mean is regressed on stand-ins
 * (stand_ins.c), powers in these functions' place, whose expectations fall into groups of few. Every quantity has a
 * value in each run, made of the same run's and of the slopes of others: whatever an error does later, the spread of
 * the runs tells it. */
#include "autodiff/base/base.h"
#include "tp/recursion/solver.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows of numbers, one a point: the variables, then what is made of them, each of rows before it. */
typedef struct {
    int fn, of;      /* of a function: the row that it is a function of */
    int a, b;        /* the rows of its last op's arguments */
    int twin;        /* the first row that it is like where both samples are one: its own, or one before it */
    int lin, second; /* of a polynomial (fn = -1): the nested lin that it is */
    int first, n;    /* ... its terms */
} row_step;
typedef struct {
    double c;
    int n, rows[TP_MAX_FACTORS];
} row_term;

/* Groups of the same Gaussians, whose rows are filled once for all. */
typedef struct {
    int n_lins, n_steps, n_terms, n_members, steps_capacity, terms_capacity, members_capacity;
    tp_group_lin lins[TP_MAX_GROUP];
    int n_own, own[TP_MAX_GROUP]; /* where both samples are one: how many variables, and which of them each lin is */
    bool nests;                   /* some member has a nested lin */
    const tp_quantity *like;      /* the first member, whose covariances all have */
    row_step *steps;
    row_term *terms;
    int *members;                   /* quantities, in order */
    struct group_plan **by_factors; /* their plans: those of the same first factors together */
} family;

/* How a group's product and its stand-ins' are computed. */
typedef struct group_plan {
    int family, quantity, n_factors, n_plain, n_stand_ins;
    int parity;   /* of the product, where the variables are negated: 1, -1, or 0: neither, or not known */
    size_t first; /* its sums' place among a run's */
    int factors[2 * TP_MAX_FACTORS]; /* rows that are multiplied: first the plain ones, which stand-ins have, too */
    int nested[2];                   /* rows of the nested lins that stand-ins are powers of */
    int n_lins, *variables;          /* a group's: which of the family's each one is */
    tp_group_lin *lins;
} group_plan;

/* A plan's sums over a run's points of its product p and stand-ins l: p; (n) l; (n) l p; (n (n + 1) / 2) l l', by
 * rows. */
static size_t n_sums(const group_plan *p)
{
    size_t n = (size_t)p->n_stand_ins;
    return 1 + 2 * n + n * (n + 1) / 2;
}

typedef struct {
    tp_solver *s;
    tp_group_points *points;
    size_t runs, stride; /* stride: numbers of a sample or pair, (quantities, runs) */
    size_t n_sums;       /* of all plans, in a run */
    double *single[2];   /* (rows, quantities, runs): values at (i, i) of either set */
    group_plan **plans;  /* by quantity: of a group, or of an expectation without a closed form */
    family *families;
    int n_families, families_capacity;
    tp_univariate *forms; /* (quantities, 2): of an expectation with one */
    bool tells_apart;     /* some quantity is not that at (i, i) for two samples of equal rows, as masks' are */
    struct {
        size_t n, dims;
        double *x, *w;
    } rules[TP_MAX_GROUP + 1]; /* by the number of variables: (runs, dims, n), of which these are the first, and (runs,
                                * n), half a point's weights, which its negative shares */
} grouped;

/* ---- plans ---- */
static int add_step(grouped *g, family *p, row_step step)
{
    for (int k = 0; k < p->n_steps && step.fn >= 0; k++)
        if (p->steps[k].fn == step.fn && p->steps[k].of == step.of)
            return p->n_lins + k;
    if (!ad_arena_grow(g->s->algebra.arena, (void **)&p->steps, p->n_steps, &p->steps_capacity, sizeof *p->steps))
        return tp_lacks_memory(&g->s->algebra);
    p->steps[p->n_steps] = step;
    return p->n_lins + p->n_steps++;
}

/* Is a function made of ops that are smooth and grow linearly at most? Of others points may miss what decides. */
static bool is_tame(const tp_algebra *algebra, int fn)
{
    const tp_fn_parts *parts = tp_fn_parts_of(algebra, fn);
    bool tame = parts != NULL;
    for (int k = 0; tame && k < parts->n; k++) {
        int op = tp_fn_at(algebra, parts->at[k].id)->op;
        const ad_op_facts *facts = op < AD_N_OPS ? ad_op_facts_of((ad_op)op) : NULL;
        bool power = op == AD_SQUARE || (op == AD_POWER && tp_fn_exponent(algebra, parts->at[k].id) > 0);
        bool simple = facts && facts->breaks == AD_SMOOTH && facts->domain == AD_REALS &&
                      (facts->growth == AD_BOUNDED || facts->growth == AD_LINEAR);
        tame = op == TP_VARIABLE || op == TP_NUMBER || op == TP_PLUS || op == TP_TIMES || power || simple;
    }
    tp_fn_parts_end(algebra, fn, parts);
    return tame;
}

/* Part by part, as functions and their derivatives share these. TP_NO_RULE where points are none for it. */
static int row_of_function(grouped *g, family *p, int fn, int of)
{
    if (fn == g->s->algebra.variable)
        return of;
    if (!is_tame(&g->s->algebra, fn))
        return TP_NO_RULE;
    const tp_fn_parts *parts = tp_fn_parts_of(&g->s->algebra, fn);
    if (!parts)
        return tp_lacks_memory(&g->s->algebra);
    int row = -1, *rows = ad_alloc((size_t)parts->n, sizeof *rows, "a function's rows", g->s->error);
    for (int k = 0; rows && k < parts->n; k++) {
        int id = parts->at[k].id, a = parts->at[k].a, b = parts->at[k].b;
        row_step step = { .fn = id, .of = of, .a = a < 0 ? of : rows[a], .b = b < 0 ? of : rows[b] };
        if ((row = rows[k] = id == g->s->algebra.variable ? of : add_step(g, p, step)) < 0)
            break;
    }
    ad_free(rows);
    tp_fn_parts_end(&g->s->algebra, fn, parts);
    return row;
}

static int row_of_factor(grouped *g, family *f, const group_plan *p, tp_factor factor, int second);

/* The row of a coordinate that a function is taken of. */
static int row_of_nested(grouped *g, family *f, const group_plan *p, int lin, int second)
{
    for (int k = 0; k < f->n_steps; k++)
        if (f->steps[k].fn < 0 && f->steps[k].lin == lin && f->steps[k].second == second)
            return f->n_lins + k;
    const tp_coordinate *x = tp_nested(&g->s->algebra, lin);
    row_term *terms = ad_arena_alloc(g->s->algebra.arena, (size_t)x->n, sizeof *terms);
    if (!terms)
        return tp_lacks_memory(&g->s->algebra);
    for (int i = 0; i < x->n; i++) {
        terms[i] = (row_term){ .c = x->terms[i].c, .n = x->terms[i].n };
        for (int m = 0; m < x->terms[i].n; m++)
            if ((terms[i].rows[m] = row_of_factor(g, f, p, x->terms[i].factors[m], second)) < 0)
                return terms[i].rows[m];
    }
    row_step step = { .fn = -1, .lin = lin, .second = second, .first = f->n_terms, .n = x->n };
    for (int i = 0; i < x->n; i++) {
        if (!ad_arena_grow(g->s->algebra.arena, (void **)&f->terms, f->n_terms, &f->terms_capacity, sizeof *f->terms))
            return tp_lacks_memory(&g->s->algebra);
        f->terms[f->n_terms++] = terms[i];
    }
    return add_step(g, f, step);
}

static int row_of_lin(grouped *g, family *f, const group_plan *p, int lin, int second)
{
    if (tp_nested(&g->s->algebra, lin))
        return row_of_nested(g, f, p, lin, second);
    int k = 0;
    while (p->lins[k].lin != lin || p->lins[k].second != second)
        k++;
    return p->variables[k];
}

static int row_of_factor(grouped *g, family *f, const group_plan *p, tp_factor factor, int second)
{
    int of = row_of_lin(g, f, p, factor.lin, second);
    return of < 0 ? of : row_of_function(g, f, factor.fn, of);
}

/* How many covariances a group's quantity begins with. */
static int n_covariances(const tp_quantity *q)
{
    return q->b;
}

static bool same_covariances(const tp_quantity *a, const tp_quantity *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == TP_Q_EXPECT)
        return a->a == b->a && a->b == b->b && a->var_a == b->var_a && a->var_b == b->var_b;
    bool same = n_covariances(a) == n_covariances(b);
    for (int k = 0; same && k < n_covariances(a); k++)
        same = a->parts[k].q == b->parts[k].q;
    return same;
}

static bool same_lins(const family *f, const tp_group_lin *lins, int n)
{
    bool same = f->n_lins == n;
    for (int k = 0; same && lins && k < n; k++)
        same = f->lins[k].lin == lins[k].lin && f->lins[k].second == lins[k].second;
    return same;
}

/* Where both samples are one so are their lins. */
static void find_own(family *f)
{
    const tp_quantity *q = f->like;
    bool one = q->kind == TP_Q_EXPECT && q->b == q->var_a && q->b == q->var_b;
    for (int i = 0; i < f->n_lins; i++) {
        int k = 0;
        while (k < i && !(q->kind == TP_Q_EXPECT ? one : f->lins[k].lin == f->lins[i].lin))
            k++;
        f->own[i] = k < i ? f->own[k] : f->n_own++;
    }
}

/* A plan for the quantity, in the family of its Gaussians: lins, NULL where they have no other names than the
 * quantity's variances. NULL with an error. */
static group_plan *new_plan(grouped *g, int id, const tp_group_lin *lins, int n)
{
    ad_arena *arena = g->s->algebra.arena;
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    group_plan *p = ad_arena_alloc(arena, 1, sizeof *p);
    tp_group_lin *own = ad_arena_alloc(arena, (size_t)n, sizeof *own);
    int k = 0, *variables = ad_arena_alloc(arena, (size_t)n, sizeof *variables);
    while (k < g->n_families && !(same_covariances(g->families[k].like, q) && same_lins(&g->families[k], lins, n)))
        k++;
    bool room = p && own && variables &&
                ad_arena_grow(arena, (void **)&g->families, k, &g->families_capacity, sizeof *g->families);
    family *f = room ? &g->families[k] : NULL;
    if (room && k == g->n_families) {
        *f = (family){ .n_lins = n, .like = q };
        memcpy(f->lins, lins ? lins : f->lins, (size_t)n * sizeof *lins);
        find_own(f);
        g->n_families++;
    }
    if (!room || !ad_arena_grow(arena, (void **)&f->members, f->n_members, &f->members_capacity, sizeof *f->members)) {
        tp_lacks_memory(&g->s->algebra);
        return NULL;
    }
    f->members[f->n_members++] = id;
    p->n_lins = lins ? n : 0;
    p->lins = own;
    p->variables = variables;
    for (int i = 0; i < p->n_lins; i++) {
        p->lins[i] = lins[i];
        p->variables[i] = i;
    }
    p->family = k;
    p->quantity = id;
    return g->plans[id] = p;
}

static size_t packed(int i, int k) /* k <= i */
{
    return (size_t)i * (size_t)(i + 1) / 2 + (size_t)k;
}

/* Which independent parts a family's Gaussians fall into, the first of each part in its lins' place. */
static void find_parts(const family *f, int *part)
{
    for (int i = 0; i < f->n_lins; i++) {
        part[i] = i;
        for (int k = 0; k < i; k++) {
            if (f->like->parts[(size_t)i * (size_t)(i + 1) / 2 + (size_t)k].q == TP_Q_ZERO || part[k] == part[i])
                continue;
            for (int m = 0, from = part[i], to = part[k]; m <= i; m++)
                part[m] = part[m] == from ? to : part[m];
        }
    }
}

/* Points of so few dimensions are better than those of more. */
enum { FEW = 6 };

/* Are a's Gaussians, not few, among b's, and some in each of b's independent parts? */
static bool is_within(const family *a, const family *b, int *variables)
{
    int part[TP_MAX_GROUP];
    bool met[TP_MAX_GROUP] = { false }, within = a->n_lins > FEW && a->n_lins < b->n_lins;
    find_parts(b, part);
    for (int i = 0; i < a->n_lins && within; i++) {
        int k = 0;
        while (k < b->n_lins && (b->lins[k].lin != a->lins[i].lin || b->lins[k].second != a->lins[i].second))
            k++;
        within = k < b->n_lins;
        met[within ? part[k] : 0] = true;
        variables[i] = k;
    }
    for (int k = 0; k < b->n_lins && within; k++)
        within = met[part[k]];
    return within;
}

/* Have some of b's Gaussians the covariances of a's, both few and more than two, from the n-th one of a's on? Products
 * of other matrices with the same vectors have. */
static bool is_like(const family *a, const family *b, int n, int *variables)
{
    if (a->n_lins <= 2 || b->n_lins > FEW || a->n_own != b->n_own || a->nests || b->nests)
        return false;
    for (int k = 0; k < b->n_lins && n < a->n_lins; k++) {
        bool like = true;
        for (int i = 0; i <= n && like; i++) {
            int to = i < n ? variables[i] : k, first = to > k ? to : k, second = to > k ? k : to;
            like = (i == n || to != k) && a->like->parts[packed(n, i)].q == b->like->parts[packed(first, second)].q;
        }
        variables[n] = k;
        if (like && is_like(a, b, n + 1, variables))
            return true;
    }
    return n == a->n_lins;
}

/* Does a's first member stand behind all covariances of b, which are there wherever that is needed? */
static bool is_later(const tp_solver *s, const family *a, const family *b)
{
    bool later = true;
    for (int k = 0; k < n_covariances(b->like) && later; k++) {
        int q = b->like->parts[k].q;
        later = q < a->members[0];
        for (int m = 0; m < a->n_members && later; m++)
            later = (s->alone[q] || !s->alone[a->members[m]]) && (s->paired[q] || !s->paired[a->members[m]]);
    }
    return later;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* variables: which of b's each of a's is. */
static int absorb(grouped *g, family *a, family *b, const int *variables)
{
    ad_arena *arena = g->s->algebra.arena;
    for (int m = 0; m < a->n_members; m++) {
        group_plan *p = g->plans[a->members[m]];
        if (!ad_arena_grow(arena, (void **)&b->members, b->n_members, &b->members_capacity, sizeof *b->members))
            return tp_lacks_memory(&g->s->algebra);
        b->members[b->n_members++] = a->members[m];
        p->family = (int)(b - g->families);
        for (int i = 0; i < p->n_lins; i++)
            p->variables[i] = variables[p->variables[i]];
    }
    a->n_members = 0;
    qsort(b->members, (size_t)b->n_members, sizeof *b->members, by_number);
    return 0;
}

/* Groups of fewer Gaussians go with those of more, of the same independent parts or all of the same covariances, whose
 * rows they share. Those of as many variables where both samples are one: there the points stay the same. */
static int absorb_families(grouped *g)
{
    int variables[TP_MAX_GROUP], best[TP_MAX_GROUP];
    for (int i = 0; i < g->n_families; i++) {
        family *a = &g->families[i], *into = NULL;
        for (int k = 0; k < g->n_families && a->like->kind == TP_Q_GROUP; k++) {
            family *b = &g->families[k];
            if (k != i && b->like->kind == TP_Q_GROUP && b->n_members && (!into || b->n_lins > into->n_lins) &&
                (is_within(a, b, variables) || is_like(a, b, 0, variables)) && is_later(g->s, a, b)) {
                into = b;
                memcpy(best, variables, sizeof best);
            }
        }
        if (into && absorb(g, a, into, best))
            return -1;
    }
    return 0;
}

static int family_of_group(grouped *g, int id)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    const tp_group *group = tp_group_at(&g->s->algebra, q->a);
    tp_group_lin lins[TP_MAX_GROUP];
    group_plan *p = new_plan(g, id, lins, tp_group_lins(&g->s->algebra, q->a, lins));
    for (int k = 0; p && k < group->n; k++)
        if (tp_nested(&g->s->algebra, group->at[k].factor.lin))
            g->families[p->family].nests = true;
    return p ? 0 : -1;
}

/* The rows of a group's factors, the plain ones first, and of its nested lins. */
static int rows_of_group(grouped *g, int id)
{
    tp_algebra *algebra = &g->s->algebra;
    const tp_quantity *q = tp_quantity_at(algebra, id);
    const tp_group *group = tp_group_at(algebra, q->a);
    group_plan *p = g->plans[id];
    family *f = &g->families[p->family];
    int n_nested = 0;
    p->n_stand_ins = q->n - q->b;
    for (int nested = 0; nested < 2; nested++)
        for (int k = 0; k < group->n; k++) {
            const tp_group_factor *at = &group->at[k];
            if ((tp_nested(algebra, at->factor.lin) != NULL) != nested)
                continue;
            int of = row_of_lin(g, f, p, at->factor.lin, at->second);
            int row = of < 0 ? of : row_of_function(g, f, at->factor.fn, of);
            if (row < 0)
                return row;
            p->factors[p->n_factors++] = row;
            p->n_plain += !nested;
            if (nested && n_nested < 2)
                p->nested[n_nested++] = of;
        }
    return 0;
}

static bool has_closed(const grouped *g, int id)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    tp_univariate *u = &g->forms[2 * (size_t)id];
    return tp_univariate_row(&g->s->algebra, q->fn_a, u) && tp_univariate_row(&g->s->algebra, q->fn_b, u + 1) &&
           tp_has_closed(u, u + 1);
}

/* E f(u) g(v): a closed form, or a group of two, of one where g is a number. */
static int family_of_pair(grouped *g, int id)
{
    tp_algebra *algebra = &g->s->algebra;
    const tp_quantity *q = tp_quantity_at(algebra, id);
    int scalar;
    double number;
    if (tp_fn_scalars(algebra, q->fn_a, &scalar, 1) > 0 || tp_fn_scalars(algebra, q->fn_b, &scalar, 1) > 0)
        return TP_NO_RULE;
    return has_closed(g, id) || new_plan(g, id, NULL, tp_fn_is_number(algebra, q->fn_b, &number) ? 1 : 2) ? 0 : -1;
}

static int rows_of_pair(grouped *g, int id)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    group_plan *p = g->plans[id];
    family *f = &g->families[p->family];
    for (int k = 0; k < f->n_lins; k++)
        if ((p->factors[p->n_factors++] = row_of_function(g, f, k ? q->fn_b : q->fn_a, k)) < 0)
            return p->factors[k];
    p->n_plain = p->n_factors;
    return 0;
}

/* The first row that one is like where both samples are one. */
static int twin_of(const family *f, int row)
{
    int k = 0;
    if (row >= f->n_lins)
        return f->steps[row - f->n_lins].twin;
    while (f->own[k] != f->own[row])
        k++;
    return k;
}

static void find_twins(family *f)
{
    for (int k = 0; k < f->n_steps; k++) {
        row_step *at = &f->steps[k];
        for (at->twin = f->n_lins; at->twin < f->n_lins + k; at->twin++) {
            const row_step *b = &f->steps[at->twin - f->n_lins];
            if (at->fn == b->fn && (at->fn < 0 ? at->lin == b->lin : twin_of(f, at->of) == twin_of(f, b->of)))
                break;
        }
    }
}

static int by_factors(const void *a, const void *b)
{
    const group_plan *p = *(group_plan *const *)a, *q = *(group_plan *const *)b;
    int k = 0;
    while (k < p->n_factors && k < q->n_factors && p->factors[k] == q->factors[k])
        k++;
    int first = k < p->n_factors ? p->factors[k] : -1, second = k < q->n_factors ? q->factors[k] : -1;
    return first - second;
}

/* Of a product of functions of the variables; of others it is not known. */
static int parity_of(const tp_algebra *algebra, const family *f, const group_plan *p)
{
    int parity = 1;
    for (int k = 0; k < p->n_factors; k++) {
        const row_step *step = p->factors[k] < f->n_lins ? NULL : &f->steps[p->factors[k] - f->n_lins];
        bool of_variable = step && step->fn >= 0 && step->of < f->n_lins;
        parity *= !step ? -1 : of_variable ? tp_fn_parity(algebra, step->fn) : 0;
    }
    return parity;
}

static int finish_family(grouped *g, family *f)
{
    f->by_factors = ad_arena_alloc(g->s->algebra.arena, (size_t)f->n_members + 1, sizeof(group_plan *));
    if (!f->by_factors)
        return tp_lacks_memory(&g->s->algebra);
    for (int m = 0; m < f->n_members; m++)
        f->by_factors[m] = g->plans[f->members[m]];
    qsort(f->by_factors, (size_t)f->n_members, sizeof(group_plan *), by_factors);
    for (int m = 0; m < f->n_members; m++) {
        group_plan *p = f->by_factors[m], *last = m ? f->by_factors[m - 1] : NULL;
        p->parity = parity_of(&g->s->algebra, f, p);
        if (last && !last->n_stand_ins && !p->n_stand_ins && by_factors(&last, &p) == 0)
            p->first = last->first;
    }
    find_twins(f);
    return 0;
}

static int plan_all(grouped *g)
{
    tp_solver *s = g->s;
    int status = 0;
    for (int id = 0; id < s->n && !status; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if (!s->alone[id] && !s->paired[id])
            continue;
        if (q->kind == TP_Q_ALONG || q->jumps)
            return TP_NO_RULE;
        g->tells_apart = g->tells_apart || q->kind == TP_Q_SAME;
        status = q->kind == TP_Q_GROUP ? family_of_group(g, id) : q->kind == TP_Q_EXPECT ? family_of_pair(g, id) : 0;
    }
    if (!status)
        status = absorb_families(g);
    for (int id = 0; id < s->n && !status; id++)
        if (g->plans[id]) {
            bool group = tp_quantity_at(&s->algebra, id)->kind == TP_Q_GROUP;
            status = group ? rows_of_group(g, id) : rows_of_pair(g, id);
            g->plans[id]->first = g->n_sums;
            g->n_sums += n_sums(g->plans[id]);
        }
    for (int k = 0; k < g->n_families && !status; k++)
        status = finish_family(g, &g->families[k]);
    return status;
}

/* ---- one group ---- */
/* L with L L^T = a, both packed by rows, perhaps in one place; a pivot that is not above 1e-9 of its own is 0, as
 * roundings make it. */
static void factorise(int n, const double *a, double *l)
{
    for (int i = 0; i < n; i++) {
        const double *of = a + (size_t)i * (size_t)(i + 1) / 2;
        double *row = l + (size_t)i * (size_t)(i + 1) / 2, left = of[i];
        for (int k = 0; k < i; k++) {
            const double *before = l + (size_t)k * (size_t)(k + 1) / 2;
            double sum = of[k];
            for (int m = 0; m < k; m++)
                sum -= row[m] * before[m];
            row[k] = before[k] > 0 ? sum / before[k] : 0;
            left -= row[k] * row[k];
        }
        row[i] = left > 1e-9 * of[i] ? sqrt(left) : 0;
    }
}

enum { MOST_COVARIANCES = TP_MAX_GROUP * (TP_MAX_GROUP + 1) / 2 };

/* L (n, n of TP_MAX_GROUP) with L L^T = a, a covariance of which correlations err by `least`, below 1. What is left of
 * a variable after those before it may be all error, and negative: it is then made of these alone, at its own variance.
 * The next one is that of which most is left, so that no error is divided by less than itself. */
static void factorise_in_doubt(int n, double least, const double *a, double *l)
{
    double left[TP_MAX_GROUP], variance[TP_MAX_GROUP];
    memset(l, 0, (size_t)n * TP_MAX_GROUP * sizeof *l);
    for (int i = 0; i < n; i++) {
        variance[i] = a[packed(i, i)];
        left[i] = variance[i] > 0;
    }
    for (int k = 0; k < n; k++) {
        int p = 0;
        for (int i = 1; i < n; i++)
            p = left[i] > left[p] ? i : p;
        if (!(left[p] > least))
            break;
        double root = sqrt(left[p] * variance[p]);
        left[p] = 0;
        for (int i = 0; i < n; i++) {
            if (i != p && !(fabs(left[i]) > 0))
                continue;
            double sum = i == p ? root * root : a[i > p ? packed(i, p) : packed(p, i)];
            for (int m = 0; m < k && i != p; m++)
                sum -= l[i * TP_MAX_GROUP + m] * l[p * TP_MAX_GROUP + m];
            l[i * TP_MAX_GROUP + k] = sum / root;
            left[i] -= i == p ? 0 : pow(sum / root, 2) / variance[i];
        }
    }
    for (int i = 0; i < n; i++)
        cblas_dscal(n, 1 / sqrt(1 - left[i]), l + (size_t)i * TP_MAX_GROUP, 1);
}

enum { CHUNK = 256 };

/* Where the Gaussians are those of before, negated: f(-x) = a + b f(x) for odd and even functions and the sigmoid. */
static bool is_negated(const tp_algebra *algebra, const family *f, const row_step *step, double *a, double *b)
{
    bool of_lin = step->fn >= 0 && step->of < f->n_lins;
    int parity = of_lin ? tp_fn_parity(algebra, step->fn) : 0;
    bool sigmoid = of_lin && step->a == step->of && tp_fn_at(algebra, step->fn)->op == AD_SIGMOID;
    *a = sigmoid;
    *b = sigmoid ? -1 : parity;
    return sigmoid || parity;
}

static void run_step(const grouped *g, const family *f, int k, size_t n, bool negated, double (*rows)[CHUNK])
{
    const row_step *step = &f->steps[k];
    double *to = rows[f->n_lins + k], a, b;
    if (negated && is_negated(&g->s->algebra, f, step, &a, &b)) {
        if (b < 0)
            tp_array_affine(n, a, b, to, to);
        return;
    }
    if (step->fn >= 0) {
        tp_fn_eval_last(&g->s->algebra, step->fn, n, rows[step->a], rows[step->b], to);
        return;
    }
    memset(to, 0, n * sizeof *to);
    for (int t = step->first; t < step->first + step->n; t++) {
        const row_term *term = &f->terms[t];
        double product[CHUNK];
        for (size_t i = 0; i < n; i++)
            product[i] = 1;
        for (int m = 0; m < term->n; m++)
            tp_array_multiply(n, product, rows[term->rows[m]], product);
        tp_array_accumulate(n, term->c, product, NULL, to);
    }
}

/* Rows of stand-ins: the plain factors' product, and powers of the nested lins. */
static void fill_stand_ins(const group_plan *p, const tp_q_part *stand_ins, size_t n, const double *plain,
                           double (*rows)[CHUNK], double (*to)[CHUNK])
{
    double power[2][TP_MOST_POWER + 1][CHUNK];
    int highest[2] = { 0, 0 };
    memcpy(power[0][0], plain, n * sizeof *plain);
    for (int j = 0; j < p->n_stand_ins; j++)
        for (int i = 0; i < 2; i++)
            for (int k = tp_power_of(stand_ins[j].powers, i); highest[i] < k; highest[i]++)
                if (i && !highest[i])
                    memcpy(power[i][1], rows[p->nested[i]], n * sizeof **rows);
                else
                    tp_array_multiply(n, power[i][highest[i]], rows[p->nested[i]], power[i][highest[i] + 1]);
    for (int j = 0; j < p->n_stand_ins; j++) {
        int first = tp_power_of(stand_ins[j].powers, 0), second = tp_power_of(stand_ins[j].powers, 1);
        if (second)
            tp_array_multiply(n, power[0][first], power[1][second], to[j]);
        else
            memcpy(to[j], power[0][first], n * sizeof *plain);
    }
}

static void add_sums(const group_plan *p, const tp_q_part *stand_ins, size_t n, const double *w, double (*rows)[CHUNK],
                     double *sums)
{
    double product[CHUNK], row[TP_MOST_STAND_INS][CHUNK], weighed[CHUNK];
    int count = p->n_stand_ins;
    double *with = sums + 1 + count, *both = with + count;
    for (size_t i = 0; i < n; i++)
        product[i] = 1;
    for (int k = 0; k < p->n_plain; k++)
        tp_array_multiply(n, product, rows[p->factors[k]], product);
    fill_stand_ins(p, stand_ins, n, product, rows, row);
    for (int k = p->n_plain; k < p->n_factors; k++)
        tp_array_multiply(n, product, rows[p->factors[k]], product);
    sums[0] += cblas_ddot((int)n, product, 1, w, 1);
    for (int j = 0; j < count; j++) {
        tp_array_multiply(n, row[j], w, weighed);
        sums[1 + j] += cblas_ddot((int)n, row[j], 1, w, 1);
        with[j] += cblas_ddot((int)n, weighed, 1, product, 1);
        for (int m = 0; m <= j; m++)
            *both++ += cblas_ddot((int)n, weighed, 1, row[m], 1);
    }
}

/* The sums of all products without stand-ins that are needed, at points or their negatives; of even or odd ones the
 * points tell both. Those of the same first factors share these, and those of all the same their sums. */
static void add_products(const family *f, const bool *needed, bool negated, size_t n, const double *w,
                         double (*rows)[CHUNK], double *sums)
{
    double product[2 * TP_MAX_FACTORS][CHUNK]; /* of w and the first factors */
    const group_plan *last = NULL;
    memcpy(product[0], w, n * sizeof *w);
    for (int m = 0; m < f->n_members; m++) {
        const group_plan *p = f->by_factors[m];
        if (p->n_stand_ins || !needed[p->quantity] || (last && p->first == last->first) || (p->parity && negated))
            continue;
        int k = 0, before = p->n_factors - 1;
        while (last && k < before && k < last->n_factors - 1 && p->factors[k] == last->factors[k])
            k++;
        for (; k < before; k++)
            tp_array_multiply(n, product[k], rows[p->factors[k]], product[k + 1]);
        sums[p->first] += (1 + p->parity) * cblas_ddot((int)n, product[before], 1, rows[p->factors[before]], 1);
        last = p;
    }
}

/* L L^T x = b; where L has a pivot of 0, x is 0. */
static void solve_packed(int n, const double *l, double *b)
{
    for (int i = 0; i < n; i++) {
        const double *row = l + (size_t)i * (size_t)(i + 1) / 2;
        for (int m = 0; m < i; m++)
            b[i] -= row[m] * b[m];
        b[i] = row[i] > 0 ? b[i] / row[i] : 0;
    }
    for (int i = n; i-- > 0;) {
        const double *row = l + (size_t)i * (size_t)(i + 1) / 2;
        b[i] = row[i] > 0 ? b[i] / row[i] : 0;
        for (int m = 0; m < i; m++)
            b[m] -= row[m] * b[i];
    }
}

enum { MOST_SLOPES = TP_MOST_STAND_INS, MOST_SQUARES = MOST_SLOPES * (MOST_SLOPES + 1) / 2 };

/* Adds `sign` times the covariances of a run: of n stand-ins with the product, and with each other. */
static void add_covariances(int n, const double *sums, double sign, double *with, double *both)
{
    const double *stand_in = sums + 1, *product = stand_in + n, *square = product + n;
    for (int j = 0, k = 0; j < n; j++) {
        with[j] += sign * (product[j] - sums[0] * stand_in[j]);
        for (int m = 0; m <= j; m++, k++)
            both[k] += sign * (square[k] - stand_in[j] * stand_in[m]);
    }
}

/* The means of the product in all runs, out, from their sums (runs, stride): each regressed on its stand-ins, whose
 * expectations it knows (n, runs), by the slopes of all others, which no error of its own is in. */
static void regress(int n, size_t runs, const double *sums, size_t stride, const double *known, double *out)
{
    double all[MOST_SLOPES] = { 0 }, squares[MOST_SQUARES] = { 0 }, slope[MOST_SLOPES], both[MOST_SQUARES];
    for (size_t r = 0; r < runs && n; r++)
        add_covariances(n, sums + r * stride, 1, all, squares);
    for (size_t r = 0; r < runs; r++) {
        const double *own = sums + r * stride;
        memcpy(slope, all, sizeof slope);
        memcpy(both, squares, sizeof both);
        if (n && runs > 1)
            add_covariances(n, own, -1, slope, both);
        factorise(n, both, both);
        solve_packed(n, both, slope);
        out[r] = own[0];
        for (int j = 0; j < n; j++)
            out[r] -= slope[j] * (own[1 + j] - known[(size_t)j * runs + r]);
    }
}

/* ---- quantities ---- */
/* A sample or a pair: what is known of either side's sample, and where its own values go. */
typedef struct {
    bool alone, one; /* one: both samples are the same variables */
    int set[2];
    size_t row[2];
    const double *side[2]; /* (quantities, runs) */
    double *values;        /* (quantities, runs) */
    const bool *needed;
    double (*rows)[CHUNK];
    double *sums; /* (runs, n_sums): of all plans */
} pair_of;

static void covariance_of(const grouped *g, const tp_quantity *q, const pair_of *t, size_t r, double *covariance)
{
    size_t runs = g->runs;
    if (q->kind == TP_Q_EXPECT) {
        covariance[0] = t->side[0][(size_t)q->var_a * runs + r];
        covariance[1] = t->values[(size_t)(t->alone ? q->b : q->a) * runs + r];
        covariance[2] = t->side[1][(size_t)q->var_b * runs + r];
        return;
    }
    for (int k = 0; k < n_covariances(q); k++)
        covariance[k] = t->values[(size_t)q->parts[k].q * runs + r];
}

/* The covariances of a family's variables in a run, packed by rows, and how many variables there are. */
static int variables_of(const grouped *g, const family *f, const pair_of *t, size_t run, double *covariance)
{
    double all[MOST_COVARIANCES], *to = covariance;
    int n = 0;
    covariance_of(g, f->like, t, run, t->one ? all : covariance);
    for (int i = 0; i < f->n_lins && t->one; i++) {
        if (f->own[i] < n)
            continue;
        n++;
        for (int k = 0, m = 0; k <= i; k++)
            if (f->own[k] == m) {
                *to++ = all[packed(i, k)];
                m++;
            }
    }
    return t->one ? n : f->n_lins;
}

/* By how much the runs' correlations of n variables spread, at most. */
static double spread_of(int n, size_t runs, double (*covariance)[MOST_COVARIANCES])
{
    double most = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++) {
            double variances = covariance[0][packed(i, i)] * covariance[0][packed(k, k)], mean = 0, squares = 0;
            for (size_t r = 0; r < runs; r++)
                ad_add_run(&covariance[r][packed(i, k)], 1, 1, (int)r + 1, &mean, &squares);
            if (variances > 0)
                most = fmax(most, squares / variances);
        }
    return runs > 1 ? sqrt(most / (double)(runs - 1)) : 0;
}

/* The Gaussians' rows, L z, at n of a run's points, `stride` apart. */
static void fill_lins(const family *f, bool one, int variables, const double *l, const double *x, size_t stride,
                      size_t n, double (*rows)[CHUNK])
{
    for (int i = 0; i < f->n_lins; i++) {
        const double *row = l + (size_t)(one ? f->own[i] : i) * TP_MAX_GROUP;
        memset(rows[i], 0, n * sizeof **rows);
        for (int k = 0; k < variables; k++)
            if (fabs(row[k]) > 0)
                tp_array_accumulate(n, row[k], x + (size_t)k * stride, NULL, rows[i]);
    }
}

/* The sums of a family's members over a run's points and their negatives. */
static void sum_run(const grouped *g, const family *f, const pair_of *t, size_t run, int variables, const double *l)
{
    size_t count = g->rules[variables].n;
    const double *w = g->rules[variables].w + run * count;
    const double *x = g->rules[variables].x + run * g->rules[variables].dims * count;
    double *sums = t->sums + run * g->n_sums;
    for (int m = 0; m < f->n_members; m++) {
        const group_plan *p = g->plans[f->members[m]];
        memset(sums + p->first, 0, n_sums(p) * sizeof *sums);
    }
    for (size_t start = 0; start < count; start += CHUNK) {
        size_t n = count - start < CHUNK ? count - start : CHUNK;
        fill_lins(f, t->one, variables, l, x + start, count, n, t->rows);
        for (int negated = 0; negated < 2; negated++) {
            for (int i = 0; i < f->n_lins && negated; i++)
                tp_array_affine(n, 0, -1, t->rows[i], t->rows[i]);
            for (int k = 0; k < f->n_steps; k++) {
                int row = f->n_lins + k, twin = f->steps[k].twin;
                if (t->one && twin < row)
                    memcpy(t->rows[row], t->rows[twin], n * sizeof **t->rows);
                else
                    run_step(g, f, k, n, negated, t->rows);
            }
            add_products(f, t->needed, negated, n, w + start, t->rows, sums);
            for (int m = 0; m < f->n_members && f->nests; m++) {
                const group_plan *p = g->plans[f->members[m]];
                const tp_quantity *q = tp_quantity_at(&g->s->algebra, f->members[m]);
                if (t->needed[f->members[m]] && p->n_stand_ins)
                    add_sums(p, q->parts + q->n - p->n_stand_ins, n, w + start, t->rows, sums + p->first);
            }
        }
    }
}

/* The sums of a family's members in all runs. Covariances that come of other points than each other may fit together
 * within their errors alone. */
static void sum_family(const grouped *g, const family *f, const pair_of *t)
{
    double covariance[TP_MOST_GROUP_RUNS][MOST_COVARIANCES], l[TP_MAX_GROUP * TP_MAX_GROUP];
    int n = 0;
    for (size_t r = 0; r < g->runs; r++)
        n = variables_of(g, f, t, r, covariance[r]);
    double least = fmin(fmax(1e-11, spread_of(n, g->runs, covariance)), 0.1);
    for (size_t r = 0; r < g->runs; r++) {
        factorise_in_doubt(n, least, covariance[r], l);
        sum_run(g, f, t, r, n, l);
    }
}

/* A mean over each run's points, which the family's first one that is needed finds for all. */
static void solve_by_points(const grouped *g, int id, const pair_of *t, double *out)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    const group_plan *p = g->plans[id];
    const family *f = &g->families[p->family];
    double known[TP_MOST_STAND_INS * TP_MOST_GROUP_RUNS];
    int first = 0;
    while (!t->needed[f->members[first]])
        first++;
    if (f->members[first] == id)
        sum_family(g, f, t);
    for (int j = 0; j < p->n_stand_ins; j++)
        memcpy(known + (size_t)j * g->runs, t->values + (size_t)q->parts[q->n - p->n_stand_ins + j].q * g->runs,
               g->runs * sizeof *known);
    regress(p->n_stand_ins, g->runs, t->sums + p->first, g->n_sums, known, out);
}

static void solve_pair(const grouped *g, int id, const pair_of *t, double *out)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    size_t runs = g->runs;
    const double *cov = t->values + (size_t)(t->alone ? q->b : q->a) * runs;
    const double *va = t->side[0] + (size_t)q->var_a * runs, *vb = t->side[1] + (size_t)q->var_b * runs;
    const tp_univariate *u = &g->forms[2 * (size_t)id];
    if (g->plans[id])
        solve_by_points(g, id, t, out);
    else
        tp_closed(u, u + 1, runs, va, vb, cov, NULL, out);
}

static double gram_of(const grouped *g, int id, const pair_of *t)
{
    const tp_solver *s = g->s;
    const tp_data_block *a = &s->blocks[s->gram_blocks[id][0]], *b = &s->blocks[s->gram_blocks[id][1]];
    return cblas_ddot((int)a->size, a->rows[t->set[0]] + t->row[0] * a->size, 1,
                      b->rows[t->set[1]] + t->row[1] * b->size, 1);
}

static void solve_quantity(const grouped *g, int id, const pair_of *t)
{
    const tp_solver *s = g->s;
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    size_t runs = g->runs;
    double *out = t->values + (size_t)id * runs, number = q->c;
    const double *a = q->a < 0 ? NULL : t->values + (size_t)q->a * runs;
    const double *b = q->b < 0 ? NULL : t->values + (size_t)q->b * runs;
    switch (q->kind) {
    case TP_Q_SUM:
        for (size_t r = 0; r < runs; r++)
            out[r] = q->c;
        for (int k = 0; k < q->n; k++)
            for (size_t r = 0; r < runs; r++)
                out[r] += q->parts[k].c * t->values[(size_t)q->parts[k].q * runs + r];
        return;
    case TP_Q_PRODUCT:
        for (size_t r = 0; r < runs; r++)
            out[r] = a[r] * b[r];
        return;
    case TP_Q_FUNCTION:
        tp_fn_eval(&s->algebra, q->fn_a, NULL, runs, a, out);
        return;
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        memcpy(out, t->side[q->kind == TP_Q_SECOND] + (size_t)q->a * runs, runs * sizeof *out);
        return;
    case TP_Q_EXPECT:
        solve_pair(g, id, t, out);
        return;
    case TP_Q_GROUP:
        solve_by_points(g, id, t, out);
        return;
    case TP_Q_SAME:
        number = t->alone;
        break;
    case TP_Q_GRAM:
        number = gram_of(g, id, t);
        break;
    case TP_Q_DATA:
        number = s->blocks[s->gram_blocks[id][0]].rows[t->set[0]][t->row[0]];
        break;
    case TP_Q_NUMBER:
    case TP_Q_ALONG:
        break;
    }
    for (size_t r = 0; r < runs; r++)
        out[r] = number;
}

/* Are a pair's samples equal, and nothing else tells them apart? */
static bool is_one(const grouped *g, const pair_of *t)
{
    const tp_solver *s = g->s;
    bool one = !g->tells_apart;
    for (int k = 0; k < s->n_blocks && one; k++) {
        const tp_data_block *b = &s->blocks[k];
        one = memcmp(b->rows[t->set[0]] + t->row[0] * b->size, b->rows[t->set[1]] + t->row[1] * b->size,
                     b->size * sizeof(double)) == 0;
    }
    return one;
}

/* Everything at (i, i) of a set's sample, or of a pair. */
static void solve_needed(const grouped *g, const pair_of *t)
{
    for (int id = 0; id < g->s->n; id++)
        if (t->needed[id])
            solve_quantity(g, id, t);
}

/* ---- the kernel ---- */
static pair_of sample_of(const grouped *g, int set, size_t row)
{
    double *own = g->single[set] + row * g->stride;
    return (pair_of){
        .alone = true, .one = true, .set = { set, set }, .row = { row, row }, .side = { own, own }, .values = own
    };
}

/* Pairs and samples as one list: first the samples of either set, then, when these are known, the pairs. */
static int solve_all(const grouped *g, const tp_series *series, int threads, double *values)
{
    tp_solver *s = g->s;
    size_t rows = s->rows[0], columns = s->rows[1], both = s->same ? rows : rows + columns, count = rows * columns;
    int failed = 0, q = series->n ? series->at[0].q : TP_Q_ZERO, most = TP_MAX_GROUP;
    for (int k = 0; k < g->n_families; k++)
        if (g->families[k].n_lins + g->families[k].n_steps > most)
            most = g->families[k].n_lins + g->families[k].n_steps;
#pragma omp parallel num_threads(threads)
    {
        double(*room)[CHUNK] = ad_alloc((size_t)most, sizeof *room, "a group's rows", NULL);
        double *pair = ad_alloc(g->stride, sizeof *pair, "a pair's quantities", NULL);
        double *sum = ad_alloc(g->runs * g->n_sums + 1, sizeof *sum, "a pair's sums", NULL);
        bool made = room && pair && sum;
        if (!made) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < both; i++) {
            pair_of t = sample_of(g, i >= rows, i >= rows ? i - rows : i);
            t.needed = s->alone;
            t.rows = room;
            t.sums = sum;
            if (made)
                solve_needed(g, &t);
        }
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < count; k++) {
            size_t i = k / columns, j = k % columns;
            if (!made || (s->same && j < i))
                continue;
            const double *from = sample_of(g, 0, i).values;
            if (!s->same || i != j) {
                pair_of t = { .set = { 0, s->same ? 0 : 1 },
                              .row = { i, j },
                              .values = pair,
                              .needed = s->paired,
                              .rows = room,
                              .sums = sum };
                t.side[0] = from;
                t.side[1] = sample_of(g, t.set[1], j).values;
                t.one = is_one(g, &t);
                solve_needed(g, &t);
                from = pair;
            }
            for (size_t r = 0; r < g->runs; r++) {
                values[(r * rows + i) * columns + j] = from[(size_t)q * g->runs + r];
                if (s->same)
                    values[(r * rows + j) * columns + i] = from[(size_t)q * g->runs + r];
            }
        }
        ad_free(room);
        ad_free(pair);
        ad_free(sum);
    }
    return failed ? ad_fail(s->error, "out of memory for a kernel's quantities") : 0;
}

/* Grids of one dimension or two need few points. */
static size_t points_of(const grouped *g, int n)
{
    enum { LINE = 128, SQUARE = 32 * 32 };
    size_t count = g->points->count;
    return n > 2 ? count : n == 1 ? LINE : count / 8 > SQUARE ? count / 8 : SQUARE;
}

/* Of a family's rows at one point: functions, and sums and products by tens. */
static double work_of_rows(const grouped *g, const family *f)
{
    double work = f->n_lins * (f->n_lins + 1) / 20.0;
    for (int k = 0; k < f->n_steps; k++)
        work += f->steps[k].fn >= 0 && tp_fn_at(&g->s->algebra, f->steps[k].fn)->op < AD_N_OPS ? 1 : 0.1;
    return work;
}

/* Evaluations of functions and multiply-adds, these by tens. */
static double work_of(const grouped *g)
{
    const tp_solver *s = g->s;
    double samples = (double)s->rows[0] + (s->same ? 0 : (double)s->rows[1]), total = 0;
    double pairs = s->same ? samples * (samples - 1) / 2 : (double)s->rows[0] * (double)s->rows[1];
    for (int k = 0; k < g->n_families; k++) {
        const family *f = &g->families[k];
        double products[2] = { 0, 0 };
        for (int m = 0; m < f->n_members; m++) {
            const group_plan *p = f->by_factors[m];
            bool again = m && p->first == f->by_factors[m - 1]->first;
            double sums = again ? 0 : p->n_stand_ins ? p->n_factors + (double)n_sums(p) : p->parity ? 1 : 2;
            products[0] += s->alone[p->quantity] * sums / 10;
            products[1] += s->paired[p->quantity] * sums / 10;
        }
        for (int paired = 0; paired < 2; paired++)
            if (products[paired] > 0)
                total += (double)points_of(g, paired ? f->n_lins : f->n_own) * (paired ? pairs : samples) *
                         (work_of_rows(g, f) + products[paired]);
    }
    return 2 * total * (double)g->runs;
}

/* A run's grid of one variable or two. Grids are shifted evenly from run to run, from a point at random. */
static void fill_grid(const grouped *g, int n, size_t run)
{
    const tp_group_points *points = g->points;
    const double root_half = 0.70710678118654752440;
    size_t count = g->rules[n].n;
    double shift[2];
    for (int d = 0; d < n; d++) {
        double first = 0.5 * erfc(-points->z[(size_t)d * points->count] * root_half);
        shift[d] = fmod(first + (double)(run * (d ? 3 : 1)) / (double)g->runs, 1);
    }
    tp_normal_grid(n, count, shift, g->rules[n].x + run * (size_t)n * count, g->rules[n].w + run * count);
}

/* Of as many variables as some group has. More than two have the first dimensions of all points, which weigh alike. */
static int find_rules(grouped *g)
{
    ad_arena *arena = g->s->algebra.arena;
    int most = 2;
    for (int k = 0; k < g->n_families; k++)
        most = g->families[k].n_members && g->families[k].n_lins > most ? g->families[k].n_lins : most;
    if (g->points->make(g->points, most, g->s->error))
        return -1;
    for (int n = 1; n <= most; n++) {
        size_t count = g->rules[n].n = points_of(g, n), all = g->runs * count;
        g->rules[n].dims = (size_t)(n > 2 ? most : n);
        g->rules[n].x = n > 2 ? g->points->z : ad_arena_alloc(arena, all * (size_t)n, sizeof(double));
        g->rules[n].w = n > 3 ? g->rules[3].w : ad_arena_alloc(arena, all, sizeof(double));
        if (!g->rules[n].x || !g->rules[n].w)
            return tp_lacks_memory(&g->s->algebra);
        for (size_t run = 0; run < g->runs && n <= 2; run++)
            fill_grid(g, n, run);
        for (size_t i = 0; i < all && n <= 3; i++)
            g->rules[n].w[i] = 0.5 * (n == 3 ? 1 / (double)count : g->rules[n].w[i]);
    }
    return 0;
}

static int prepare(grouped *g, const tp_series *series)
{
    tp_solver *s = g->s;
    ad_arena *arena = s->algebra.arena;
    size_t n = (size_t)(s->n = s->algebra.quantities.n);
    g->stride = n * g->runs;
    s->alone = ad_arena_alloc(arena, n, sizeof *s->alone);
    s->paired = ad_arena_alloc(arena, n, sizeof *s->paired);
    s->kept = ad_arena_alloc(arena, n, sizeof *s->kept);
    s->gram_blocks = ad_arena_alloc(arena, n, sizeof *s->gram_blocks);
    g->plans = ad_arena_alloc(arena, n, sizeof(group_plan *));
    g->forms = ad_arena_alloc(arena, 2 * n, sizeof *g->forms);
    if (!s->alone || !s->paired || !s->kept || !s->gram_blocks || !g->plans || !g->forms)
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    tp_find_needed(s, series);
    int status = tp_fill_blocks(s) ? -1 : plan_all(g);
    for (int set = 0; set < (s->same ? 1 : 2) && !status; set++) {
        g->single[set] = ad_alloc(s->rows[set] * g->stride, sizeof(double), "quantities of samples", s->error);
        status = g->single[set] ? 0 : -1;
    }
    return status;
}

int tp_limit_grouped(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                     size_t rows2, const tp_limit_spec *spec, tp_group_points *points, double most,
                     tp_grouped_cost *cost, double *values, double *power, ad_error *error)
{
    int threads = ad_threads(spec->threads, error);
    *cost = (tp_grouped_cost){ 0 };
    tp_series series = { .n = 0 };
    tp_solver s = { .x = { x, x2 ? x2 : x },
                    .rows = { rows, x2 ? rows2 : rows },
                    .same = !x2 && spec->output == spec->output2,
                    .error = error };
    grouped g = { .s = &s, .points = points, .runs = (size_t)points->runs };
    if (!threads)
        return -1;
    int status = tp_algebra_new(&s.algebra, program, error);
    s.algebra.rules = TP_RULES_BP;
    s.algebra.by_groups = true;
    s.algebra.outputs[0] = (int)spec->output;
    s.algebra.outputs[1] = (int)spec->output2;
    if (!status && (which == TP_NTK ? tp_ntk_series(&s.algebra, &series, NULL) : tp_nngp_series(&s.algebra, &series)))
        status = s.algebra.refused || tp_is_full(&s.algebra) ? TP_NO_RULE : -1;
    if (!status)
        status = series.n > 1 ? TP_NO_RULE : prepare(&g, &series);
    *power = series.n ? series.at[0].power : 0;
    if (!status) {
        cost->work = work_of(&g);
        status = cost->work > most ? TP_NO_RULE : find_rules(&g) ? -1 : 0;
    }
    if (!status) {
        double start = ad_seconds();
        status = solve_all(&g, &series, threads, values);
        cost->seconds = ad_seconds() - start;
    }
    if (!status)
        status = tp_had_memory(&s.algebra);
    if (!s.same)
        ad_free(g.single[1]);
    ad_free(g.single[0]);
    tp_free_blocks(&s);
    tp_algebra_free(&s.algebra);
    return status;
}
