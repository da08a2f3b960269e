/* polynomial.c: the algebra of coordinates: sums and products of polynomials in functions of Gaussians. */
#include "tp/symbolic/polynomial.h"
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

/* Something of order n^power is left out. */
void tp_leave(tp_builder *b, double power, int node)
{
    if (power > b->rest) {
        b->rest = power;
        b->rest_node = node;
    }
    tp_leave_square(b, power);
}

void tp_leave_square(tp_builder *b, double power)
{
    b->square = fmax(b->square, power);
}

double tp_coordinate_top(const tp_coordinate *x)
{
    double top = -INFINITY;
    for (int i = 0; i < x->n; i++)
        top = fmax(top, x->terms[i].power);
    return top;
}

/* Is a factor a random number that all coordinates share: of a parameter without a width axis of its own, or a function
 * of such? *param: which. */
static bool is_shared(const tp_algebra *algebra, const tp_term *term, int *param)
{
    for (int i = 0; i < term->n; i++) {
        const tp_lin *lin = tp_lin_at(algebra, term->factors[i].lin);
        const tp_coordinate *nested = tp_nested(algebra, term->factors[i].lin);
        for (int k = 0; nested && k < nested->n; k++)
            if (is_shared(algebra, &nested->terms[k], param))
                return true;
        for (int k = 0; !nested && k < lin->n; k++) {
            const tp_gvar *g = tp_gvar_at(algebra, lin->parts[k].gvar);
            const ad_shape *shape = &ad_node_of(algebra->graph, g->param)->shape;
            int widths = algebra->program->widths[g->param];
            if (g->position >= 0)
                widths -= ad_axis_kind(algebra->graph, shape->axes[g->position]) == AD_WIDTH;
            *param = g->param;
            if (widths == 0)
                return true;
        }
    }
    return false;
}

double tp_coordinate_rest(const tp_algebra *algebra, const tp_coordinate *x, int *node)
{
    double rest = x->rest;
    *node = x->rest_node;
    for (int i = 0; i < x->n; i++) {
        int param;
        if (x->terms[i].power > rest && is_shared(algebra, &x->terms[i], &param)) {
            rest = x->terms[i].power;
            *node = param;
        }
    }
    return rest;
}

/* c s + other.c other.s, as *c and a scalar; -1 without memory. */
static int add_scalars(tp_algebra *algebra, double *c, int scalar, double other_c, int other)
{
    if (scalar == other) {
        *c += other_c;
        return scalar;
    }
    int sum = tp_q_plus(algebra, *c, scalar, other_c, other);
    return sum < 0 ? -1 : tp_q_split(algebra, sum, c);
}

/* The product of two scalars; its constant goes into *c. -1 without memory. */
static int multiply_scalars(tp_algebra *algebra, double *c, int a, int b)
{
    double own;
    int q = tp_q_scalar_product(algebra, a, b);
    if (q < 0)
        return -1;
    q = tp_q_split(algebra, q, &own);
    *c = tp_times(algebra, *c, own);
    return q;
}

/* Adds a term, into an equal one if there is one. */
bool tp_push_term(tp_algebra *algebra, tp_builder *b, const tp_term *term)
{
    if (!(fabs(term->c) > 0))
        return true;
    for (int i = 0; i < b->n; i++) {
        tp_term *other = &b->terms[i];
        if (other->n == term->n && fabs(other->power - term->power) < 1e-12 &&
            memcmp(other->factors, term->factors, sizeof term->factors) == 0) {
            other->scalar = add_scalars(algebra, &other->c, other->scalar, term->c, term->scalar);
            return other->scalar >= 0;
        }
    }
    if (!ad_arena_grow(algebra->arena, (void **)&b->terms, b->n, &b->capacity, sizeof *b->terms))
        return false;
    memset(&b->terms[b->n], 0, sizeof *b->terms);
    memcpy(&b->terms[b->n++], term, sizeof *term);
    return true;
}

/* c times a scalar times a function, as a function; -1 without memory. */
int tp_fn_times_scalar(tp_algebra *algebra, double c, int scalar, int fn)
{
    if (scalar != TP_Q_ONE) {
        int s = tp_fn_intern(algebra, (tp_fn){ .op = TP_SCALAR, .a = scalar });
        fn = s < 0 || fn < 0 ? -1 : tp_fn_intern(algebra, (tp_fn){ .op = TP_TIMES, .a = s, .b = fn });
    }
    if (fn < 0 || !(fabs(c - 1) > 0))
        return fn;
    int number = tp_fn_intern(algebra, (tp_fn){ .op = TP_NUMBER, .p = c });
    return number < 0 ? -1 : tp_fn_intern(algebra, (tp_fn){ .op = TP_TIMES, .a = number, .b = fn });
}

/* By parts: what becomes of each. */
int tp_fn_stretched(tp_algebra *algebra, int fn, double ratio)
{
    if (!(fabs(ratio - 1) > 0))
        return fn;
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    int *becomes = p ? ad_arena_alloc(algebra->arena, (size_t)p->n, sizeof *becomes) : NULL, last = -1;
    for (int k = 0; becomes && k < p->n; k++) {
        tp_fn f = *tp_fn_at(algebra, p->at[k].id);
        if (p->at[k].a >= 0)
            f.a = becomes[p->at[k].a];
        if (p->at[k].b >= 0)
            f.b = becomes[p->at[k].b];
        if (f.op == TP_VARIABLE)
            last = tp_fn_times_scalar(algebra, ratio, TP_Q_ONE, p->at[k].id);
        else
            last = p->at[k].a < 0 ? p->at[k].id : tp_fn_intern(algebra, f);
        if ((becomes[k] = last) < 0)
            break;
    }
    tp_fn_parts_end(algebra, fn, p);
    return last;
}

int tp_fn_of_scalar(tp_algebra *algebra, double c, int scalar)
{
    if (scalar == TP_Q_ONE)
        return tp_fn_intern(algebra, (tp_fn){ .op = TP_NUMBER, .p = c });
    return tp_fn_times_scalar(algebra, c, TP_Q_ONE, tp_fn_intern(algebra, (tp_fn){ .op = TP_SCALAR, .a = scalar }));
}

/* sum + part, both functions; a sum of -1 is none yet. */
int tp_fn_sum(tp_algebra *algebra, int sum, int part)
{
    return sum < 0 || part < 0 ? part : tp_fn_intern(algebra, (tp_fn){ .op = TP_PLUS, .a = sum, .b = part });
}

bool tp_lin_multiple(const tp_algebra *algebra, int a, int b, double *ratio)
{
    const tp_lin *u = tp_lin_at(algebra, a), *v = tp_lin_at(algebra, b);
    *ratio = 1;
    if (a == b || u->n != v->n || u->n == 0)
        return a == b;
    *ratio = v->parts[0].c / u->parts[0].c;
    for (int k = 0; k < u->n; k++)
        if (u->parts[k].gvar != v->parts[k].gvar || u->parts[k].scalar != v->parts[k].scalar ||
            !(fabs(v->parts[k].c - *ratio * u->parts[k].c) <= 1e-15 * fabs(v->parts[k].c)))
            return false;
    return true;
}

/* What has a closed form of its own, the identity and what bends or jumps there, is not summed up with others. */
static bool stays_apart(const tp_algebra *algebra, int fn)
{
    tp_univariate u;
    return fn == algebra->variable ||
           (!tp_fn_smooth(algebra, fn) && tp_univariate_row(algebra, fn, &u) && u.form != TP_NUMERIC);
}

/* Terms that are constants or nonlinear functions of one and the same lin without forms of their own become one
 * function: 1 - tanh^2. */
static bool gather_univariate(tp_algebra *algebra, tp_builder *b)
{
    int lin = -1, together = 0;
    for (int i = 0; i < b->n; i++) {
        const tp_term *t = &b->terms[i];
        if (t->n > 1 || fabs(t->power) > 0 || t->scalar != TP_Q_ONE)
            return true;
        if (t->n == 1) {
            if ((lin >= 0 && lin != t->factors[0].lin) || stays_apart(algebra, t->factors[0].fn))
                return true;
            lin = t->factors[0].lin;
            together++;
        }
    }
    if (lin < 0 || b->n < 2 || together == 0)
        return true;
    int sum = -1;
    for (int i = 0; i < b->n; i++) {
        const tp_term *t = &b->terms[i];
        int part = t->n ? tp_fn_times_scalar(algebra, t->c, TP_Q_ONE, t->factors[0].fn)
                        : tp_fn_of_scalar(algebra, t->c, TP_Q_ONE);
        if ((sum = tp_fn_sum(algebra, sum, part)) < 0)
            return false;
    }
    tp_term one = { .c = 1, .n = 1 };
    one.factors[0] = (tp_factor){ lin, sum };
    b->n = 0;
    return tp_push_term(algebra, b, &one);
}

/* Adds c s Z to the sorted parts of a lin that has room for it. */
static bool add_part(tp_algebra *algebra, tp_lin *lin, tp_part part)
{
    int at = 0;
    while (at < lin->n && lin->parts[at].gvar < part.gvar)
        at++;
    if (at < lin->n && lin->parts[at].gvar == part.gvar) {
        tp_part *p = &lin->parts[at];
        p->scalar = add_scalars(algebra, &p->c, p->scalar, part.c, part.scalar);
        return p->scalar >= 0;
    }
    for (int m = lin->n++; m > at; m--)
        lin->parts[m] = lin->parts[m - 1];
    lin->parts[at] = part;
    return true;
}

bool tp_term_is_linear(const tp_algebra *algebra, const tp_term *term)
{
    return term->n == 1 && term->factors[0].fn == algebra->variable;
}

/* lin += the linear term t, whose linear factor is at `factor`; false without memory. */
static bool add_scaled_lin(tp_algebra *algebra, tp_lin *lin, const tp_term *t, int factor)
{
    const tp_lin *from = tp_lin_at(algebra, t->factors[factor].lin);
    for (int k = 0; k < from->n; k++) {
        tp_part part = { .c = tp_times(algebra, t->c, from->parts[k].c), .gvar = from->parts[k].gvar };
        part.scalar = multiply_scalars(algebra, &part.c, t->scalar, from->parts[k].scalar);
        if (part.scalar < 0 || !add_part(algebra, lin, part))
            return false;
    }
    return true;
}

/* A lin without the parts that are 0; -1 without memory. */
static int intern_lin(tp_algebra *algebra, tp_lin *lin)
{
    int kept = 0;
    for (int k = 0; k < lin->n; k++)
        if (fabs(lin->parts[k].c) > 0)
            lin->parts[kept++] = lin->parts[k];
    lin->n = kept;
    return tp_intern(&algebra->lins, lin, sizeof(tp_lin) + (size_t)kept * sizeof(tp_part));
}

/* The lin of the terms of x that are multiples of lins, -1 if there are none, -2 without memory. */
int tp_linear_part(tp_algebra *algebra, const tp_coordinate *x)
{
    size_t parts = 0;
    for (int i = 0; i < x->n; i++)
        if (tp_term_is_linear(algebra, &x->terms[i]))
            parts += (size_t)tp_lin_at(algebra, x->terms[i].factors[0].lin)->n;
    if (parts == 0)
        return -1;
    tp_lin *lin = ad_arena_alloc(algebra->arena, 1, sizeof(tp_lin) + parts * sizeof(tp_part));
    if (!lin)
        return -2;
    for (int i = 0; i < x->n; i++)
        if (tp_term_is_linear(algebra, &x->terms[i]) && !add_scaled_lin(algebra, lin, &x->terms[i], 0))
            return -2;
    int id = intern_lin(algebra, lin);
    return id < 0 ? -2 : id;
}

int tp_fn_exponent(const tp_algebra *algebra, int fn)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (f->op == TP_VARIABLE)
        return 1;
    if (f->op == AD_SQUARE && f->a == algebra->variable)
        return 2;
    bool whole = f->op == AD_POWER && f->a == algebra->variable && f->p > 0 && !(fabs(f->p - floor(f->p)) > 0);
    return whole && f->p <= TP_MAX_POWER ? (int)f->p : 0;
}

/* f g of functions that are the step, relu and the like, or x, is one of them; -1 of others. */
static int halves_product(tp_algebra *algebra, int f, int g)
{
    tp_halves a, b;
    if (!tp_fn_halves(algebra, f, &a) || !tp_fn_halves(algebra, g, &b) || a.degree + b.degree > 1)
        return -1;
    return tp_fn_of_halves(algebra, &(tp_halves){ .degree = a.degree + b.degree,
                                                  .left = a.left * b.left,
                                                  .zero = a.zero * b.zero,
                                                  .right = a.right * b.right });
}

/* f g, of one argument; x^p x^q = x^(p + q), step x = relu and the like keep their closed forms. */
static int function_product(tp_algebra *algebra, int f, int g)
{
    int p = tp_fn_exponent(algebra, f), q = tp_fn_exponent(algebra, g), halves;
    if (p > 0 && q > 0 && p + q == 2)
        return tp_fn_intern(algebra, (tp_fn){ .op = AD_SQUARE, .a = algebra->variable });
    if (p > 0 && q > 0 && p + q <= TP_MAX_POWER)
        return tp_fn_intern(algebra, (tp_fn){ .op = AD_POWER, .p = p + q, .a = algebra->variable });
    halves = halves_product(algebra, f, g);
    return halves >= 0 ? halves : tp_fn_intern(algebra, (tp_fn){ .op = TP_TIMES, .a = f, .b = g });
}

/* Multiplies a factor into a term; factors of one lin become one function, and r x f(x) is one of x. */
static int times_factor(tp_algebra *algebra, tp_term *term, tp_factor f)
{
    double r;
    for (int k = 0; k < term->n; k++) {
        tp_factor *own = &term->factors[k];
        bool first = own->fn == algebra->variable;
        if ((!first && f.fn != algebra->variable && own->lin != f.lin) ||
            !tp_lin_multiple(algebra, f.lin, own->lin, &r))
            continue;
        if (own->lin != f.lin && f.fn == algebra->variable) { /* f = own lin / r */
            term->c = tp_noted(algebra, term->c / r, !(fabs(term->c) > 0));
            f.lin = own->lin;
        } else if (own->lin != f.lin) {
            term->c = tp_times(algebra, term->c, r);
        }
        int fn = function_product(algebra, own->fn, f.fn);
        if (fn < 0)
            return -1;
        f.fn = fn;
        memmove(own, own + 1, (size_t)(term->n - k - 1) * sizeof *own);
        term->factors[--term->n] = (tp_factor){ 0 };
        break;
    }
    if (term->n == tp_most_factors(algebra))
        return -2;
    int at = 0;
    while (at < term->n && term->factors[at].lin < f.lin)
        at++;
    for (int k = term->n++; k > at; k--)
        term->factors[k] = term->factors[k - 1];
    term->factors[at] = f;
    return 0;
}

/* The factor of t, a linear one, by which alone it differs from `like`, a term of as many factors; -1 if there is
 * none. */
static int odd_one_out(const tp_algebra *algebra, const tp_term *t, const tp_term *like, int of_like)
{
    int found = -1;
    if (t->n != like->n || fabs(t->power - like->power) > 1e-12)
        return -1;
    for (int i = 0; i < t->n; i++) {
        bool shared = false;
        for (int k = 0; k < like->n; k++)
            shared = shared || (k != of_like && t->factors[i].lin == like->factors[k].lin &&
                                t->factors[i].fn == like->factors[k].fn);
        if (shared)
            continue;
        if (found >= 0 || t->factors[i].fn != algebra->variable)
            return -1;
        found = i;
    }
    return found;
}

/* Term i and all that differ from it in its linear factor m alone become one: u f + v f = (u + v) f. So a product of a
 * sum of G-vars with a function of the same sum is one function. False without memory; *count: how many were joined. */
static bool gather_factor(tp_algebra *algebra, tp_builder *b, int i, int m, int *count)
{
    const tp_term first = b->terms[i];
    size_t parts = 0;
    *count = 0;
    for (int k = 0; k < b->n; k++) {
        int at = k == i ? m : odd_one_out(algebra, &b->terms[k], &first, m);
        parts += at < 0 ? 0 : (size_t)tp_lin_at(algebra, b->terms[k].factors[at].lin)->n;
        *count += at >= 0;
    }
    if (*count < 2)
        return true;
    tp_lin *lin = ad_arena_alloc(algebra->arena, 1, sizeof(tp_lin) + parts * sizeof(tp_part));
    if (!lin)
        return false;
    int kept = 0;
    for (int k = 0; k < b->n; k++) {
        int at = k == i ? m : odd_one_out(algebra, &b->terms[k], &first, m);
        if (at < 0)
            b->terms[kept++] = b->terms[k];
        else if (!add_scaled_lin(algebra, lin, &b->terms[k], at))
            return false;
    }
    b->n = kept;
    int id = intern_lin(algebra, lin);
    if (id >= 0 && lin->n == 0)
        return true;
    tp_term joined = { .c = 1, .power = first.power };
    for (int k = 0; k < first.n && id >= 0; k++)
        if (k != m && times_factor(algebra, &joined, first.factors[k]))
            return false;
    return id >= 0 && times_factor(algebra, &joined, (tp_factor){ id, algebra->variable }) == 0 &&
           tp_push_term(algebra, b, &joined);
}

static bool gather_linear(tp_algebra *algebra, tp_builder *b)
{
    for (int i = 0; i < b->n; i++)
        for (int m = 0; b->terms[i].n > 1 && m < b->terms[i].n; m++) {
            int count = 0;
            if (b->terms[i].factors[m].fn == algebra->variable && !gather_factor(algebra, b, i, m, &count))
                return false;
            if (count > 1) { /* the terms have changed: from the start */
                i = -1;
                break;
            }
        }
    return true;
}

/* The factor of t that is a function of lin, -1 if there is none. */
static int factor_of(const tp_term *t, int lin)
{
    for (int m = 0; m < t->n; m++)
        if (t->factors[m].lin == lin)
            return m;
    return -1;
}

/* Are two terms the same but for their numbers and their functions of lin, without forms of their own? */
static bool differ_in(const tp_algebra *algebra, const tp_term *t, const tp_term *u, int lin)
{
    int of_t = factor_of(t, lin), of_u = factor_of(u, lin);
    if (t->scalar != u->scalar || fabs(t->power - u->power) > 0 || t->n - (of_t >= 0) != u->n - (of_u >= 0))
        return false;
    if (of_u >= 0 && stays_apart(algebra, u->factors[of_u].fn))
        return false;
    for (int m = 0; m < t->n; m++) {
        int same = m == of_t ? m : factor_of(u, t->factors[m].lin);
        if (m != of_t && (same < 0 || u->factors[same].fn != t->factors[m].fn))
            return false;
    }
    return true;
}

/* c of a term times its function of lin, 1 if there is none. */
static int weighed_function(tp_algebra *algebra, const tp_term *t, int lin)
{
    int m = factor_of(t, lin);
    return m < 0 ? tp_fn_of_scalar(algebra, t->c, TP_Q_ONE)
                 : tp_fn_times_scalar(algebra, t->c, TP_Q_ONE, t->factors[m].fn);
}

/* Joins to term i all that differ from it in such a function of its factor m's lin; *joined: how many. */
static bool join_products(tp_algebra *algebra, tp_builder *b, int i, int m, int *joined)
{
    tp_term first = b->terms[i];
    int lin = first.factors[m].lin, sum = -1, kept = 0;
    *joined = 0;
    for (int k = 0; k < b->n; k++)
        *joined += differ_in(algebra, &first, &b->terms[k], lin);
    if (*joined < 2)
        return true;
    for (int k = 0; k < b->n; k++) {
        if (!differ_in(algebra, &first, &b->terms[k], lin))
            b->terms[kept++] = b->terms[k];
        else if ((sum = tp_fn_sum(algebra, sum, weighed_function(algebra, &b->terms[k], lin))) < 0)
            return false;
    }
    b->n = kept;
    first.c = 1;
    first.factors[m].fn = sum;
    return tp_push_term(algebra, b, &first);
}

/* Of many terms, those that are the same but for a function of one lin become one: nested functions, whose derivatives
 * are products of sums, would double them with each nesting. Of few, those of a function that is nested deeply: each by
 * itself would have a series of its own, of as many degrees as their sum has. */
static bool gather_products(tp_algebra *algebra, tp_builder *b)
{
    enum { FEW = 8, DEEP = 24 };
    for (int i = 0; b->n > 1 && i < b->n; i++)
        for (int m = 0; m < b->terms[i].n; m++) {
            tp_factor f = b->terms[i].factors[m];
            int joined = 0;
            if (stays_apart(algebra, f.fn) || (b->n <= FEW && tp_fn_at(algebra, f.fn)->depth <= DEEP))
                continue;
            if (!join_products(algebra, b, i, m, &joined))
                return false;
            if (joined > 1) { /* the terms have changed: from the start */
                i = -1;
                break;
            }
        }
    return true;
}

int tp_finish(tp_algebra *algebra, tp_builder *b)
{
    int kept = 0;
    for (int i = 0; i < b->n; i++)
        if (fabs(b->terms[i].c) > 0)
            b->terms[kept++] = b->terms[i];
    b->n = kept;
    if (!gather_linear(algebra, b) || !gather_univariate(algebra, b) || !gather_products(algebra, b))
        return tp_lacks_memory(algebra);
    size_t size = sizeof(tp_coordinate) + (size_t)b->n * sizeof(tp_term);
    tp_coordinate *c = ad_arena_alloc(algebra->arena, 1, size);
    if (!c)
        return tp_lacks_memory(algebra);
    c->n = b->n;
    c->rest = b->rest;
    c->rest_node = b->rest_node;
    c->square = b->square;
    if (b->n)
        memcpy(c->terms, b->terms, (size_t)b->n * sizeof(tp_term));
    int id = tp_intern(&algebra->coordinates, c, size);
    return id < 0 ? tp_lacks_memory(algebra) : id;
}

int tp_coordinate_term(tp_algebra *algebra, const tp_term *term)
{
    tp_builder b = TP_EMPTY;
    return tp_push_term(algebra, &b, term) ? tp_finish(algebra, &b) : tp_lacks_memory(algebra);
}

int tp_coordinate_number(tp_algebra *algebra, double value)
{
    return tp_coordinate_term(algebra, &(tp_term){ .c = value });
}

/* A scalar as a coordinate. */
int tp_coordinate_scalar(tp_algebra *algebra, int quantity)
{
    tp_term term = { .c = 1 };
    if (quantity < 0)
        return -1;
    term.scalar = tp_q_split(algebra, quantity, &term.c);
    return tp_coordinate_term(algebra, &term);
}

bool tp_push_scaled(tp_algebra *algebra, tp_builder *b, int x, double c, double power)
{
    const tp_coordinate *from = tp_coordinate_at(algebra, x);
    for (int i = 0; i < from->n; i++) {
        tp_term t = from->terms[i];
        t.c = tp_times(algebra, t.c, c);
        t.power += power;
        if (!tp_push_term(algebra, b, &t))
            return false;
    }
    if (fabs(c) > 0)
        tp_leave(b, from->rest + power, from->rest_node);
    if (fabs(c) > 0)
        tp_leave_square(b, from->square + power);
    return true;
}

int tp_coordinate_sum(tp_algebra *algebra, int x, double cx, int y, double cy)
{
    tp_builder b = TP_EMPTY;
    if (!tp_push_scaled(algebra, &b, x, cx, 0) || !tp_push_scaled(algebra, &b, y, cy, 0))
        return tp_lacks_memory(algebra);
    return tp_finish(algebra, &b);
}

int tp_coordinate_scaled(tp_algebra *algebra, int x, double c, double power)
{
    tp_builder b = TP_EMPTY;
    return tp_push_scaled(algebra, &b, x, c, power) ? tp_finish(algebra, &b) : tp_lacks_memory(algebra);
}

/* The lin that the whole of x is: a sum of G-vars of order one; -1 if it is none, or a single G-var's multiple, which
 * is a factor like any other; -2 without memory. */
static int whole_lin(tp_algebra *algebra, const tp_coordinate *x)
{
    for (int i = 0; i < x->n; i++)
        if (!tp_term_is_linear(algebra, &x->terms[i]) || fabs(x->terms[i].power) > 1e-12)
            return -1;
    return x->n > 1 ? tp_linear_part(algebra, x) : -1;
}

static int multiply_terms(tp_algebra *algebra, int node, tp_builder *b, const tp_coordinate *p, const tp_coordinate *q)
{
    enum { MOST_TERMS = 4096, MOST_OF_GROUPS = 256 }; /* what is alike among them is found pair by pair */
    int most = algebra->by_groups ? MOST_OF_GROUPS : MOST_TERMS;
    if (p->n > 1 && q->n > 1 && (double)p->n * q->n > most)
        return tp_refuse(algebra, node, "a product of sums of %d and %d functions of G-vars, more than %d in all", p->n,
                         q->n, most);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < q->n; k++) {
            tp_term t = p->terms[i];
            t.c = tp_times(algebra, t.c, q->terms[k].c);
            t.power += q->terms[k].power;
            t.scalar = multiply_scalars(algebra, &t.c, t.scalar, q->terms[k].scalar);
            if (t.scalar < 0)
                return tp_lacks_memory(algebra);
            for (int m = 0; m < q->terms[k].n; m++) {
                int status = times_factor(algebra, &t, q->terms[k].factors[m]);
                if (status == -2)
                    return tp_refuse(algebra, node, "a product of more than %d functions of G-vars",
                                     tp_most_factors(algebra));
                if (status)
                    return tp_lacks_memory(algebra);
            }
            if (!tp_push_term(algebra, b, &t))
                return tp_lacks_memory(algebra);
        }
    return 0;
}

bool tp_is_left_by_jump(const tp_coordinate *x)
{
    return x->square > x->rest + 1e-9 && x->square > tp_coordinate_top(x);
}

int tp_coordinate_product(tp_algebra *algebra, int node, int x, int y)
{
    const tp_coordinate *p = tp_coordinate_at(algebra, x), *q = tp_coordinate_at(algebra, y);
    if (tp_is_left_by_jump(p) && tp_is_left_by_jump(q))
        return tp_refuse(algebra, node, "a product of what moves arguments across jumps has no exact rule");
    int lin = whole_lin(algebra, p);
    if (lin == -2)
        return tp_lacks_memory(algebra);
    tp_builder b = TP_EMPTY;
    if (lin >= 0 && whole_lin(algebra, q) == lin) { /* the square of a sum of G-vars stays one */
        int fn = tp_fn_intern(algebra, (tp_fn){ .op = AD_SQUARE, .a = algebra->variable });
        tp_term square = { .c = 1, .n = 1 };
        square.factors[0] = (tp_factor){ lin, fn };
        if (fn < 0 || !tp_push_term(algebra, &b, &square))
            return tp_lacks_memory(algebra);
    } else if (multiply_terms(algebra, node, &b, p, q)) {
        return -1;
    }
    tp_leave(&b, p->rest + fmax(tp_coordinate_top(q), q->rest), p->rest_node);
    tp_leave(&b, q->rest + fmax(tp_coordinate_top(p), p->rest), q->rest_node);
    tp_leave_square(&b, p->square + fmax(tp_coordinate_top(q), q->square));
    tp_leave_square(&b, q->square + fmax(tp_coordinate_top(p), p->square));
    return tp_finish(algebra, &b);
}
