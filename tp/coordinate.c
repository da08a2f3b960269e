#include "tp/gauss.h"
#include "tp/recursion.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* ---- the memo ---- */
int *tp_memo(tp_algebra *algebra, const void *key, size_t size)
{
    int before = algebra->keys.n, id = tp_intern(&algebra->keys, key, size);
    if (id < 0)
        return NULL;
    if (id >= algebra->memo_room) {
        int room = algebra->memo_room ? 2 * algebra->memo_room : 256;
        int *larger = ad_alloc((size_t)room, sizeof *larger, "a memo", algebra->error);
        if (!larger)
            return NULL;
        if (algebra->memo)
            memcpy(larger, algebra->memo, (size_t)algebra->memo_room * sizeof *larger);
        ad_free(algebra->memo);
        algebra->memo = larger;
        algebra->memo_room = room;
    }
    if (id >= before)
        algebra->memo[id] = -1;
    return &algebra->memo[id];
}

/* ---- the algebra ---- */
static int fn_make(tp_algebra *algebra, tp_fn fn)
{
    tp_fn clean;
    memset(&clean, 0, sizeof clean); /* padding takes part in the comparison */
    clean.op = fn.op;
    clean.order = fn.order;
    clean.p = fn.p;
    clean.a = fn.a;
    clean.b = fn.b;
    clean.function = fn.function;
    return tp_intern(&algebra->fns, &clean, sizeof clean);
}

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error)
{
    *algebra = (tp_algebra){ .program = program, .graph = program->graph, .error = error };
    algebra->arena = ad_arena_new(error);
    if (!algebra->arena)
        return -1;
    tp_table *tables[] = { &algebra->fns,        &algebra->gvars,  &algebra->lins, &algebra->coordinates,
                           &algebra->quantities, &algebra->series, &algebra->keys, &algebra->points };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tp_table_new(tables[i], algebra->arena, error))
            return -1;
    algebra->variable = fn_make(algebra, (tp_fn){ .op = TP_VARIABLE });
    if (algebra->variable < 0)
        return ad_fail(error, "out of memory while solving the program");
    return tp_quantities_begin(algebra) == TP_Q_ONE ? 0 : -1;
}

void tp_algebra_free(tp_algebra *algebra)
{
    tp_table *tables[] = { &algebra->fns,        &algebra->gvars,  &algebra->lins, &algebra->coordinates,
                           &algebra->quantities, &algebra->series, &algebra->keys, &algebra->points };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        tp_table_free(tables[i]);
    ad_free(algebra->memo);
    ad_arena_free(algebra->arena);
}

const tp_fn *tp_fn_at(const tp_algebra *algebra, int fn)
{
    return tp_table_at(&algebra->fns, fn);
}

const tp_gvar *tp_gvar_at(const tp_algebra *algebra, int gvar)
{
    return tp_table_at(&algebra->gvars, gvar);
}

const tp_lin *tp_lin_at(const tp_algebra *algebra, int lin)
{
    return tp_table_at(&algebra->lins, lin);
}

const tp_coordinate *tp_coordinate_at(const tp_algebra *algebra, int coordinate)
{
    return tp_table_at(&algebra->coordinates, coordinate);
}

int tp_refuse(const tp_algebra *algebra, int node, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const ad_node *n = ad_look(algebra->graph, node);
    return ad_fail(algebra->error, "%s:%d: %s: %s", n->where.file, n->where.line, ad_op_name(n->op), text);
}

static int out_of_memory(const tp_algebra *algebra)
{
    return ad_fail(algebra->error, "out of memory while solving the program");
}

/* ---- points ---- */
int tp_point_number(tp_algebra *algebra, const tp_point *point)
{
    return tp_intern(&algebra->points, point, offsetof(tp_point, at) + (size_t)point->n * sizeof *point->at);
}

const tp_point *tp_point_at(const tp_algebra *algebra, int number)
{
    return tp_table_at(&algebra->points, number);
}

int tp_point_index(const tp_point *point, ad_axis axis)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis))
            return point->at[i].index;
    return -1;
}

void tp_point_set(tp_point *point, ad_axis axis, int index)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis)) {
            point->at[i].index = index;
            return;
        }
    if (point->n < AD_MAX_RANK) {
        point->at[point->n].axis = axis;
        point->at[point->n++].index = index;
    }
}

tp_point tp_point_of(const tp_algebra *algebra, int node, const ad_shape *without)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_look(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_kind(algebra->graph, shape->axes[i]) == AD_FIXED && !(without && ad_has(without, shape->axes[i])))
            tp_point_set(&point, shape->axes[i], 0);
    return point;
}

/* The fixed axes of a node at the indices that `from` gives, in the node's order; others (summed ones) are left out. */
static tp_point restrict_point(const tp_algebra *algebra, int node, const tp_point *from)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_look(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(from, shape->axes[i]);
        if (index >= 0)
            tp_point_set(&point, shape->axes[i], index);
    }
    return point;
}

double tp_axis_factor(const tp_algebra *algebra, ad_axis axis, double *power)
{
    *power = 0;
    if (axis.id == 0)
        return 1;
    if (ad_axis_kind(algebra->graph, axis) == AD_FIXED)
        return (double)ad_axis_fixed(algebra->graph, axis);
    *power = 1;
    return ad_axis_ratio(algebra->graph, axis);
}

bool tp_is_data(const tp_algebra *algebra, int node)
{
    const ad_node *n = ad_look(algebra->graph, node);
    if (algebra->program->learns[node] || n->op == AD_CONSTANT || n->op == AD_DELTA)
        return false;
    for (int k = 0; k < n->n_in; k++)
        if (tp_is_data(algebra, n->in[k]))
            return true;
    return n->op == AD_INPUT;
}

/* ---- polynomials ---- */
typedef struct {
    double rest;
    int rest_node, n, room;
    tp_term *terms;
} builder;
static const builder empty = { .rest = -INFINITY, .rest_node = -1 };

/* Something of order n^power is left out. */
static void leave(builder *b, double power, int node)
{
    if (power > b->rest) {
        b->rest = power;
        b->rest_node = node;
    }
}

double tp_coordinate_top(const tp_coordinate *x)
{
    double top = -INFINITY;
    for (int i = 0; i < x->n; i++)
        top = fmax(top, x->terms[i].power);
    return top;
}

/* Is a factor a random number that all coordinates share: of a parameter without a width axis of its own? *param: which. */
static bool is_shared(const tp_algebra *algebra, const tp_term *term, int *param)
{
    for (int i = 0; i < term->n; i++) {
        const tp_lin *lin = tp_lin_at(algebra, term->factors[i].lin);
        for (int k = 0; k < lin->n; k++) {
            const tp_gvar *g = tp_gvar_at(algebra, lin->parts[k].gvar);
            const ad_shape *shape = &ad_look(algebra->graph, g->param)->shape;
            int widths = tp_count_widths(algebra->graph, shape);
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
    *c *= own;
    return q;
}

/* Adds a term, into an equal one if there is one. */
static bool push_term(tp_algebra *algebra, builder *b, const tp_term *term)
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
    if (b->n == b->room) {
        int room = b->room ? 2 * b->room : 8;
        tp_term *larger = ad_arena_alloc(algebra->arena, (size_t)room, sizeof *larger);
        if (!larger)
            return false;
        if (b->n)
            memcpy(larger, b->terms, (size_t)b->n * sizeof *larger);
        b->terms = larger;
        b->room = room;
    }
    memset(&b->terms[b->n], 0, sizeof *b->terms);
    memcpy(&b->terms[b->n++], term, sizeof *term);
    return true;
}

/* c times a scalar times a function, as a function; -1 without memory. */
static int scaled_function(tp_algebra *algebra, double c, int scalar, int fn)
{
    if (scalar != TP_Q_ONE) {
        int s = fn_make(algebra, (tp_fn){ .op = TP_SCALAR, .a = scalar });
        fn = s < 0 || fn < 0 ? -1 : fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = s, .b = fn });
    }
    if (fn < 0 || !(fabs(c - 1) > 0))
        return fn;
    int number = fn_make(algebra, (tp_fn){ .op = TP_NUMBER, .p = c });
    return number < 0 ? -1 : fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = number, .b = fn });
}

static int constant_function(tp_algebra *algebra, double c, int scalar)
{
    if (scalar == TP_Q_ONE)
        return fn_make(algebra, (tp_fn){ .op = TP_NUMBER, .p = c });
    return scaled_function(algebra, c, TP_Q_ONE, fn_make(algebra, (tp_fn){ .op = TP_SCALAR, .a = scalar }));
}

/* sum + part, both functions; a sum of -1 is none yet. */
static int add_function(tp_algebra *algebra, int sum, int part)
{
    return sum < 0 || part < 0 ? part : fn_make(algebra, (tp_fn){ .op = TP_PLUS, .a = sum, .b = part });
}

int tp_fn_stretched(tp_algebra *algebra, int fn, double ratio)
{
    tp_fn f = *tp_fn_at(algebra, fn);
    if (f.op == TP_NUMBER || f.op == TP_SCALAR)
        return fn;
    if (f.op == TP_VARIABLE)
        return scaled_function(algebra, ratio, TP_Q_ONE, fn);
    f.a = tp_fn_stretched(algebra, f.a, ratio);
    if (f.op == TP_PLUS || f.op == TP_TIMES)
        f.b = tp_fn_stretched(algebra, f.b, ratio);
    return f.a < 0 || f.b < 0 ? -1 : fn_make(algebra, f);
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

/* Terms that are constants or smooth nonlinear functions of one and the same lin become one function: 1 - tanh^2. What
 * has a closed form of its own (kinks, the identity) stays apart. */
static bool gather_univariate(tp_algebra *algebra, builder *b)
{
    int lin = -1, together = 0;
    for (int i = 0; i < b->n; i++) {
        const tp_term *t = &b->terms[i];
        if (t->n > 1 || fabs(t->power) > 0 || t->scalar != TP_Q_ONE)
            return true;
        if (t->n == 1) {
            if ((lin >= 0 && lin != t->factors[0].lin) || t->factors[0].fn == algebra->variable ||
                !tp_fn_smooth(algebra, t->factors[0].fn))
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
        int part = t->n ? scaled_function(algebra, t->c, TP_Q_ONE, t->factors[0].fn)
                        : constant_function(algebra, t->c, TP_Q_ONE);
        if ((sum = add_function(algebra, sum, part)) < 0)
            return false;
    }
    tp_term one = { .c = 1, .n = 1 };
    one.factors[0] = (tp_factor){ lin, sum };
    b->n = 0;
    return push_term(algebra, b, &one);
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

static bool is_linear(const tp_algebra *algebra, const tp_term *term)
{
    return term->n == 1 && term->factors[0].fn == algebra->variable;
}

/* lin += the linear term t, whose linear factor is at `factor`; false without memory. */
static bool add_scaled_lin(tp_algebra *algebra, tp_lin *lin, const tp_term *t, int factor)
{
    const tp_lin *from = tp_lin_at(algebra, t->factors[factor].lin);
    for (int k = 0; k < from->n; k++) {
        tp_part part = { .c = t->c * from->parts[k].c, .gvar = from->parts[k].gvar };
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
static int linear_part(tp_algebra *algebra, const tp_coordinate *x)
{
    size_t parts = 0;
    for (int i = 0; i < x->n; i++)
        if (is_linear(algebra, &x->terms[i]))
            parts += (size_t)tp_lin_at(algebra, x->terms[i].factors[0].lin)->n;
    if (parts == 0)
        return -1;
    tp_lin *lin = ad_arena_alloc(algebra->arena, 1, sizeof(tp_lin) + parts * sizeof(tp_part));
    if (!lin)
        return -2;
    for (int i = 0; i < x->n; i++)
        if (is_linear(algebra, &x->terms[i]) && !add_scaled_lin(algebra, lin, &x->terms[i], 0))
            return -2;
    int id = intern_lin(algebra, lin);
    return id < 0 ? -2 : id;
}

/* The exponent of a function that is a power of its argument, 0 of others. */
static int exponent(const tp_algebra *algebra, int fn)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (f->op == TP_VARIABLE)
        return 1;
    if (f->op == AD_SQUARE && f->a == algebra->variable)
        return 2;
    bool whole = f->op == AD_POWER && f->a == algebra->variable && f->p > 0 && !(fabs(f->p - floor(f->p)) > 0);
    return whole && f->p <= TP_MAX_POWER ? (int)f->p : 0;
}

/* f g, of one argument; x^p x^q = x^(p + q), step x = relu and the like keep their closed forms. */
static int function_product(tp_algebra *algebra, int f, int g)
{
    const tp_fn *a = tp_fn_at(algebra, f), *b = tp_fn_at(algebra, g);
    int p = exponent(algebra, f), q = exponent(algebra, g);
    if (p > 0 && q > 0 && p + q == 2)
        return fn_make(algebra, (tp_fn){ .op = AD_SQUARE, .a = algebra->variable });
    if (p > 0 && q > 0 && p + q <= TP_MAX_POWER)
        return fn_make(algebra, (tp_fn){ .op = AD_POWER, .p = p + q, .a = algebra->variable });
    if (b->op == AD_STEP && (a->op == AD_STEP || a->op == AD_RELU || a->op == TP_VARIABLE)) {
        const tp_fn *swapped = a;
        a = b;
        b = swapped;
        int kept = f;
        f = g;
        g = kept;
    }
    if (a->op == AD_STEP && (b->op == AD_STEP || b->op == AD_RELU) && a->a == b->a)
        return g;
    if (a->op == AD_STEP && a->a == algebra->variable && b->op == TP_VARIABLE)
        return fn_make(algebra, (tp_fn){ .op = AD_RELU, .a = algebra->variable });
    return fn_make(algebra, (tp_fn){ .op = TP_TIMES, .a = f, .b = g });
}

/* Multiplies a factor into a term; factors of one lin become one function, and r x f(x) is one of x. */
static int times_factor(tp_algebra *algebra, tp_term *term, tp_factor f)
{
    double r;
    for (int k = 0; k < term->n; k++) {
        tp_factor *own = &term->factors[k];
        bool first = own->fn == algebra->variable;
        if ((!first && f.fn != algebra->variable && own->lin != f.lin) || !tp_lin_multiple(algebra, f.lin, own->lin, &r))
            continue;
        if (own->lin != f.lin && f.fn == algebra->variable) { /* f = own lin / r */
            term->c /= r;
            f.lin = own->lin;
        } else if (own->lin != f.lin) {
            term->c *= r;
        }
        int fn = function_product(algebra, own->fn, f.fn);
        if (fn < 0)
            return -1;
        f.fn = fn;
        memmove(own, own + 1, (size_t)(term->n - k - 1) * sizeof *own);
        term->factors[--term->n] = (tp_factor){ 0 };
        break;
    }
    if (term->n == TP_MAX_FACTORS)
        return -2;
    int at = 0;
    while (at < term->n && term->factors[at].lin < f.lin)
        at++;
    for (int k = term->n++; k > at; k--)
        term->factors[k] = term->factors[k - 1];
    term->factors[at] = f;
    return 0;
}

/* The factor of t, a linear one, by which alone it differs from `like`, a term of as many factors; -1 if there is none. */
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
static bool gather_factor(tp_algebra *algebra, builder *b, int i, int m, int *count)
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
           push_term(algebra, b, &joined);
}

static bool gather_linear(tp_algebra *algebra, builder *b)
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

static int finish(tp_algebra *algebra, builder *b)
{
    int kept = 0;
    for (int i = 0; i < b->n; i++)
        if (fabs(b->terms[i].c) > 0)
            b->terms[kept++] = b->terms[i];
    b->n = kept;
    if (!gather_linear(algebra, b) || !gather_univariate(algebra, b))
        return out_of_memory(algebra);
    size_t size = sizeof(tp_coordinate) + (size_t)b->n * sizeof(tp_term);
    tp_coordinate *c = ad_arena_alloc(algebra->arena, 1, size);
    if (!c)
        return out_of_memory(algebra);
    c->n = b->n;
    c->rest = b->rest;
    c->rest_node = b->rest_node;
    if (b->n)
        memcpy(c->terms, b->terms, (size_t)b->n * sizeof(tp_term));
    int id = tp_intern(&algebra->coordinates, c, size);
    return id < 0 ? out_of_memory(algebra) : id;
}

int tp_coordinate_term(tp_algebra *algebra, const tp_term *term)
{
    builder b = empty;
    return push_term(algebra, &b, term) ? finish(algebra, &b) : out_of_memory(algebra);
}

static int number(tp_algebra *algebra, double value)
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

static bool push_scaled(tp_algebra *algebra, builder *b, int x, double c, double power)
{
    const tp_coordinate *from = tp_coordinate_at(algebra, x);
    for (int i = 0; i < from->n; i++) {
        tp_term t = from->terms[i];
        t.c *= c;
        t.power += power;
        if (!push_term(algebra, b, &t))
            return false;
    }
    if (fabs(c) > 0)
        leave(b, from->rest + power, from->rest_node);
    return true;
}

int tp_coordinate_sum(tp_algebra *algebra, int x, double cx, int y, double cy)
{
    builder b = empty;
    if (!push_scaled(algebra, &b, x, cx, 0) || !push_scaled(algebra, &b, y, cy, 0))
        return out_of_memory(algebra);
    return finish(algebra, &b);
}

int tp_coordinate_scaled(tp_algebra *algebra, int x, double c, double power)
{
    builder b = empty;
    return push_scaled(algebra, &b, x, c, power) ? finish(algebra, &b) : out_of_memory(algebra);
}

/* The lin that the whole of x is: a sum of G-vars of order one; -1 if it is none, or a single G-var's multiple, which
 * is a factor like any other; -2 without memory. */
static int whole_lin(tp_algebra *algebra, const tp_coordinate *x)
{
    for (int i = 0; i < x->n; i++)
        if (!is_linear(algebra, &x->terms[i]) || fabs(x->terms[i].power) > 1e-12)
            return -1;
    return x->n > 1 ? linear_part(algebra, x) : -1;
}

static int multiply_terms(tp_algebra *algebra, int node, builder *b, const tp_coordinate *p, const tp_coordinate *q)
{
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < q->n; k++) {
            tp_term t = p->terms[i];
            t.c *= q->terms[k].c;
            t.power += q->terms[k].power;
            t.scalar = multiply_scalars(algebra, &t.c, t.scalar, q->terms[k].scalar);
            if (t.scalar < 0)
                return out_of_memory(algebra);
            for (int m = 0; m < q->terms[k].n; m++) {
                int status = times_factor(algebra, &t, q->terms[k].factors[m]);
                if (status == -2)
                    return tp_refuse(algebra, node, "a product of more than %d functions of G-vars", TP_MAX_FACTORS);
                if (status)
                    return out_of_memory(algebra);
            }
            if (!push_term(algebra, b, &t))
                return out_of_memory(algebra);
        }
    return 0;
}

int tp_coordinate_product(tp_algebra *algebra, int node, int x, int y)
{
    const tp_coordinate *p = tp_coordinate_at(algebra, x), *q = tp_coordinate_at(algebra, y);
    int lin = whole_lin(algebra, p);
    if (lin == -2)
        return out_of_memory(algebra);
    builder b = empty;
    if (lin >= 0 && whole_lin(algebra, q) == lin) { /* the square of a sum of G-vars stays one */
        int fn = fn_make(algebra, (tp_fn){ .op = AD_SQUARE, .a = algebra->variable });
        tp_term square = { .c = 1, .n = 1 };
        square.factors[0] = (tp_factor){ lin, fn };
        if (fn < 0 || !push_term(algebra, &b, &square))
            return out_of_memory(algebra);
    } else if (multiply_terms(algebra, node, &b, p, q)) {
        return -1;
    }
    leave(&b, p->rest + fmax(tp_coordinate_top(q), q->rest), p->rest_node);
    leave(&b, q->rest + fmax(tp_coordinate_top(p), p->rest), q->rest_node);
    return finish(algebra, &b);
}

static bool is_scalar(const tp_coordinate *x)
{
    for (int i = 0; i < x->n; i++)
        if (x->terms[i].n > 0)
            return false;
    return true;
}

/* sum (-1: none yet) plus the terms of x, functions of multiples of *lin (-1: any; the first one's then). Linear terms
 * may be left out. -1 if a term is another function, -2 without memory. */
static int add_univariate(tp_algebra *algebra, const tp_coordinate *x, bool without_linear, int *lin, int sum)
{
    for (int i = 0; i < x->n; i++) {
        const tp_term *t = &x->terms[i];
        double ratio = 1;
        if (without_linear && is_linear(algebra, t))
            continue;
        if (t->n == 1 && *lin < 0)
            *lin = t->factors[0].lin;
        if (t->n > 1 || (t->n == 1 && !tp_lin_multiple(algebra, *lin, t->factors[0].lin, &ratio)))
            return -1;
        int fn = t->n ? tp_fn_stretched(algebra, t->factors[0].fn, ratio) : -1;
        int part = t->n ? scaled_function(algebra, t->c, t->scalar, fn) : constant_function(algebra, t->c, t->scalar);
        if ((sum = add_function(algebra, sum, part)) < 0)
            return -2;
    }
    return sum;
}

/* x as a function of one lin: its function, and *lin; -1 if it is a function of several, -2 without memory. A linear
 * combination, whatever scalars are in it, is a lin itself. */
static int as_univariate(tp_algebra *algebra, const tp_coordinate *x, int *lin)
{
    bool linear = true;
    for (int i = 0; i < x->n; i++)
        linear = linear && (x->terms[i].n == 0 || is_linear(algebra, &x->terms[i]));
    *lin = -1;
    int sum = linear ? -1 : add_univariate(algebra, x, false, lin, -1);
    if (sum != -1)
        return sum;
    *lin = linear_part(algebra, x);
    return *lin < 0 ? *lin : add_univariate(algebra, x, true, lin, algebra->variable);
}

/* The quantity that a coordinate without G-vars is in the limit; -1 with an error. */
static int as_scalar(tp_algebra *algebra, const tp_coordinate *x)
{
    int total = tp_q_number(algebra, 0);
    for (int i = 0; i < x->n && total >= 0; i++)
        if (x->terms[i].power > -1e-12)
            total = tp_q_plus(algebra, 1, total, x->terms[i].c, x->terms[i].scalar);
    return total;
}

/* Can a function be taken of x in the limit? Not of what grows with n, nor of what fluctuates at order one. */
static int check_argument(tp_algebra *algebra, int id, const tp_coordinate *x)
{
    double top = tp_coordinate_top(x);
    algebra->no_limit |= top > 1e-12 || x->rest > -1e-9;
    if (top > 1e-12)
        return tp_refuse(algebra, id, "its argument grows like n^%g: there is no limit of it", top);
    if (x->rest > -1e-9)
        return tp_refuse(algebra, x->rest_node,
                         "its fluctuations, of order n^%g, enter the %s of line %d: the limit is "
                         "not a number",
                         fabs(x->rest) > 1e-9 ? x->rest : 0, ad_op_name(ad_look(algebra->graph, id)->op),
                         ad_look(algebra->graph, id)->where.line);
    return 0;
}

/* x without what vanishes with n, which is left out of a function's argument. */
static int limit_part(tp_algebra *algebra, int id, int x)
{
    builder b = empty;
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    leave(&b, c->rest, c->rest_node);
    for (int i = 0; i < c->n; i++) {
        if (c->terms[i].power < -1e-12)
            leave(&b, c->terms[i].power, id);
        else if (!push_term(algebra, &b, &c->terms[i]))
            return out_of_memory(algebra);
    }
    return finish(algebra, &b);
}

/* A function of a coordinate without G-vars. */
static int function_of_scalar(tp_algebra *algebra, tp_fn outer, const tp_coordinate *x)
{
    outer.a = algebra->variable;
    int fn = fn_make(algebra, outer), argument = as_scalar(algebra, x);
    if (fn < 0)
        return out_of_memory(algebra);
    return argument < 0 ? -1 : tp_coordinate_scalar(algebra, tp_q_function(algebra, fn, argument));
}

/* f(a x) = a^degree f(x) for a > 0? */
static bool is_homogeneous(ad_op op, double p, double *degree)
{
    switch (op) {
    case AD_SQRT:
        *degree = 0.5;
        return true;
    case AD_RSQRT:
        *degree = -0.5;
        return true;
    case AD_POWER:
        *degree = p;
        return true;
    case AD_RELU:
    case AD_LEAKY:
    case AD_ABS:
        *degree = 1;
        return true;
    case AD_STEP:
    case AD_LEAKY_STEP:
    case AD_SIGN:
        *degree = 0;
        return true;
    default:
        return false;
    }
}

/* Does f, or its value, jump at 0 or become infinite there? */
static bool breaks_at_zero(ad_op op, double p, const ad_function *function)
{
    bool kink = false;
    for (int k = 0; op == AD_CUSTOM && k < function->n_kinks; k++)
        kink = kink || !(fabs(function->kinks[k]) > 0);
    return kink || op == AD_STEP || op == AD_LEAKY_STEP || op == AD_SIGN || op == AD_LOG || op == AD_RSQRT ||
           (op == AD_POWER && p < 0);
}

static int unary_of(tp_algebra *algebra, int id, const ad_node *node, ad_op op, double p, int x)
{
    if (op == AD_NEG)
        return tp_coordinate_scaled(algebra, x, -1, 0);
    if (op == AD_IDENTITY)
        return x;
    double top = tp_coordinate_top(tp_coordinate_at(algebra, x)), degree;
    if (isfinite(top) && fabs(top) > 1e-12 && is_homogeneous(op, p, &degree)) {
        int order_one = tp_coordinate_scaled(algebra, x, 1, -top);
        int y = order_one < 0 ? -1 : unary_of(algebra, id, node, op, p, order_one);
        return y < 0 ? -1 : tp_coordinate_scaled(algebra, y, 1, top * degree);
    }
    if (check_argument(algebra, id, tp_coordinate_at(algebra, x)) || (x = limit_part(algebra, id, x)) < 0)
        return -1;
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    if (c->n == 0 && isfinite(c->rest) && breaks_at_zero(op, p, node->function))
        return tp_refuse(algebra, id, "its argument vanishes like n^%g, and it is not continuous at 0: the limit is that of "
                         "what vanishes", c->rest);
    if (op == AD_SQUARE && (c->n > 1 || is_scalar(c)))
        return tp_coordinate_product(algebra, id, x, x);
    tp_fn outer = { .op = (int)op, .p = p, .order = node->order, .function = node->function };
    int result;
    if (is_scalar(c))
        result = function_of_scalar(algebra, outer, c);
    else {
        tp_term term = { .c = 1, .n = 1 };
        outer.a = as_univariate(algebra, c, &term.factors[0].lin);
        if (outer.a == -2)
            return out_of_memory(algebra);
        if (outer.a == -1 && c->n == 1 && op == AD_SQUARE)
            return tp_coordinate_product(algebra, id, x, x);
        if (outer.a == -1)
            return tp_refuse(algebra, id, "a function of several G-vars together has no exact rule here");
        term.factors[0].fn = fn_make(algebra, outer);
        result = term.factors[0].fn < 0 ? out_of_memory(algebra) : tp_coordinate_term(algebra, &term);
    }
    builder b = empty;
    if (result < 0 || !push_scaled(algebra, &b, result, 1, 0))
        return -1;
    leave(&b, c->rest, c->rest_node); /* of the order that it has in the argument */
    return finish(algebra, &b);
}

/* ---- G-vars ---- */
static int of_gvar(tp_algebra *algebra, const tp_gvar *gvar, double c, double power)
{
    int id = tp_intern(&algebra->gvars, gvar, sizeof *gvar);
    union {
        tp_lin lin;
        unsigned char bytes[sizeof(tp_lin) + sizeof(tp_part)];
    } one;
    memset(&one, 0, sizeof one);
    one.lin.n = 1;
    tp_part part;
    memset(&part, 0, sizeof part);
    part.c = 1;
    part.gvar = id;
    memcpy(one.bytes + offsetof(tp_lin, parts), &part, sizeof part);
    int lin = id < 0 ? -1 : tp_intern(&algebra->lins, &one, sizeof(tp_lin) + sizeof(tp_part));
    tp_term term = { .c = c, .power = power, .n = 1 };
    term.factors[0] = (tp_factor){ lin, algebra->variable };
    return lin < 0 ? out_of_memory(algebra) : tp_coordinate_term(algebra, &term);
}

/* The fixed axes of a parameter at the point that its renamed axes have. */
static tp_point param_point(const tp_algebra *algebra, int param, const ad_shape *names, const tp_point *point)
{
    tp_point own;
    memset(&own, 0, sizeof own);
    const ad_shape *shape = &ad_look(algebra->graph, param)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(point, names->axes[i]);
        if (index >= 0)
            tp_point_set(&own, shape->axes[i], index);
    }
    return own;
}

/* The parameter's own vector: omega[., index], with deviation c n^p taken out so that the G-var has variance one. */
static int param_vector(tp_algebra *algebra, int id, int param, const tp_point *where)
{
    const ad_node *node = ad_look(algebra->graph, param);
    const ad_init *init = node->init;
    int widths = 0;
    for (int i = 0; i < node->shape.rank; i++)
        widths += ad_axis_kind(algebra->graph, node->shape.axes[i]) == AD_WIDTH;
    if (widths > 1)
        return tp_refuse(algebra, id, "the matrix %s is used coordinate by coordinate", node->name);
    int constant = number(algebra, init->mean);
    if (constant < 0 || !(init->deviation > 0))
        return constant;
    double power, base = tp_axis_factor(algebra, init->axis, &power);
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.position = -1;
    gvar.argument = TP_OF_INDEX;
    gvar.where = *where;
    double dp = init->axis.id ? init->deviation_power : 0;
    int own = of_gvar(algebra, &gvar, init->deviation * pow(base, dp), power * dp);
    return own < 0 ? -1 : tp_coordinate_sum(algebra, own, 1, constant, 1);
}

/* The G-var of a matrix and a vector: y = n^top times one of order one, whose product is. What y leaves out, its product
 * leaves out. */
static int of_vector(tp_algebra *algebra, int id, tp_gvar gvar, int vector, double c, double power)
{
    int node;
    const tp_coordinate *v = tp_coordinate_at(algebra, vector);
    double top = tp_coordinate_top(v), rest = tp_coordinate_rest(algebra, v, &node);
    builder order_one = empty, b = empty;
    leave(&b, rest + power, node);
    if (v->n > 0) {
        for (int i = 0; i < v->n; i++) {
            tp_term t = v->terms[i];
            t.power -= top;
            if (!push_term(algebra, &order_one, &t))
                return out_of_memory(algebra);
        }
        gvar.argument = TP_OF_VECTOR;
        gvar.node = finish(algebra, &order_one);
        int product = gvar.node < 0 ? -1 : of_gvar(algebra, &gvar, c, power + top);
        if (product < 0 || !push_scaled(algebra, &b, product, 1, 0))
            return -1;
        if (algebra->rules == TP_RULES_GENERAL) {
            int response = tp_response(algebra, id, &gvar, gvar.node);
            if (response < 0 || !push_scaled(algebra, &b, response, c, power + top))
                return -1;
        }
    }
    return finish(algebra, &b);
}

static int average(tp_algebra *algebra, int id, ad_axis width, int a, int b);

static int vector_of(tp_algebra *algebra, int id, int param, const ad_shape *names, const tp_point *point)
{
    tp_point own = param_point(algebra, param, names, point);
    return param_vector(algebra, id, param, &own);
}

/* u = contract(y, W): a G-var of variance E y^2 or |x|^2; deviation and size of the axis are taken out as c n^p. */
static int matrix_product(tp_algebra *algebra, int id, int param, const ad_shape *names, int y, const ad_node *node,
                          const tp_point *point)
{
    const ad_node *w = ad_look(algebra->graph, param);
    const ad_init *init = w->init;
    if (node->over.rank != 1)
        return tp_refuse(algebra, id, "%s is contracted over %d axes at once", w->name, node->over.rank);
    ad_axis axis = node->over.axes[0];
    if (fabs(init->mean) > 0 && tp_count_widths(algebra->graph, &w->shape) == 1 &&
        ad_axis_kind(algebra->graph, axis) == AD_WIDTH) /* a vector that is not centred: an average like any other */
        return average(algebra, id, axis, tp_coordinate_of(algebra, y, restrict_point(algebra, y, point)),
                       vector_of(algebra, id, param, names, point));
    if (fabs(init->mean) > 0)
        return tp_refuse(algebra, id, "%s has mean %g: an A-var has mean zero", w->name, init->mean);
    if (!(init->deviation > 0))
        return number(algebra, 0);
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.where = param_point(algebra, param, names, point);
    for (int i = 0; i < names->rank; i++)
        if (ad_same(names->axes[i], axis))
            gvar.position = i;
    double axis_power, size = tp_axis_factor(algebra, init->axis, &axis_power);
    double dp = init->axis.id ? init->deviation_power : 0;
    double c = init->deviation * pow(size, dp), power = axis_power * dp;
    tp_point y_point = restrict_point(algebra, y, point);
    if (ad_axis_kind(algebra->graph, axis) == AD_WIDTH) {
        int vector = tp_coordinate_of(algebra, y, y_point);
        double n_power, ratio = tp_axis_factor(algebra, axis, &n_power);
        return vector < 0 ? -1 : of_vector(algebra, id, gvar, vector, c * sqrt(ratio), power + n_power / 2);
    }
    if (tp_is_data(algebra, y)) {
        gvar.argument = TP_OF_DATA;
        gvar.node = y;
        gvar.from = y_point;
        gvar.axis = axis;
        return of_gvar(algebra, &gvar, c, power);
    }
    /* a fixed axis of constants: a sum of the parameter's own vectors */
    int total = number(algebra, 0);
    for (int k = 0; total >= 0 && k < (int)ad_axis_fixed(algebra->graph, axis); k++) {
        tp_point at = y_point;
        tp_point_set(&at, axis, k);
        at = restrict_point(algebra, y, &at);
        int factor = tp_coordinate_of(algebra, y, at);
        if (factor < 0)
            return -1;
        if (tp_coordinate_at(algebra, factor)->n == 0)
            continue;
        tp_point own = *point;
        tp_point_set(&own, axis, k);
        own = param_point(algebra, param, names, &own);
        int vector = param_vector(algebra, id, param, &own);
        int part = vector < 0 ? -1 : tp_coordinate_product(algebra, id, factor, vector);
        total = part < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, part, 1);
    }
    return total;
}

/* ---- sums and averages ---- */
static int operand(tp_algebra *algebra, const ad_node *node, int k, const tp_point *point)
{
    return tp_coordinate_of(algebra, node->in[k], restrict_point(algebra, node->in[k], point));
}

/* The sum over the width of a b: n times the expectation, which is a scalar; off by the order of n^(1/2) terms. */
static int average(tp_algebra *algebra, int id, ad_axis width, int a, int b)
{
    double power, size = tp_axis_factor(algebra, width, &power);
    tp_series series;
    if (a < 0 || b < 0 || tp_expectation(algebra, a, b, true, &series))
        return -1;
    builder sum = empty;
    for (int i = 0; i < series.n; i++) {
        tp_term t = { .power = series.at[i].power + power };
        t.scalar = tp_q_split(algebra, series.at[i].q, &t.c);
        t.c *= size;
        if (!push_term(algebra, &sum, &t))
            return out_of_memory(algebra);
    }
    const tp_coordinate *x = tp_coordinate_at(algebra, a), *y = tp_coordinate_at(algebra, b);
    int x_node, y_node;
    double x_rest = tp_coordinate_rest(algebra, x, &x_node), y_rest = tp_coordinate_rest(algebra, y, &y_node);
    double x_top = tp_coordinate_top(x), y_top = tp_coordinate_top(y);
    if (!is_scalar(x) || !is_scalar(y))
        leave(&sum, x_top + y_top + power / 2, id);
    leave(&sum, x_rest + fmax(y_top, y_rest) + power, x_node);
    leave(&sum, y_rest + fmax(x_top, x_rest) + power, y_node);
    return finish(algebra, &sum);
}

/* A sum or contraction over node->over, fixed axes first; depth: how many of them the point has. */
static int reduced(tp_algebra *algebra, int id, const ad_node *node, tp_point point, int depth)
{
    ad_axis width = { 0, 0 };
    for (int i = 0; i < node->over.rank; i++) {
        ad_axis axis = node->over.axes[i];
        ad_kind kind = ad_axis_kind(algebra->graph, axis);
        if (kind == AD_BATCH || (kind == AD_WIDTH && width.id))
            return tp_refuse(algebra, id,
                             kind == AD_BATCH ? "a sum over the batch has no exact rule here"
                                              : "a sum over two width axes at once");
        if (kind == AD_WIDTH)
            width = axis;
    }
    while (depth < node->over.rank && ad_same(node->over.axes[depth], width))
        depth++;
    if (depth < node->over.rank) {
        int total = number(algebra, 0);
        for (size_t k = 0; total >= 0 && k < ad_axis_fixed(algebra->graph, node->over.axes[depth]); k++) {
            tp_point_set(&point, node->over.axes[depth], (int)k);
            int part = reduced(algebra, id, node, point, depth + 1);
            total = part < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, part, 1);
        }
        return total;
    }
    int a = operand(algebra, node, 0, &point), b = -1;
    if (a >= 0 && node->n_in > 1)
        b = operand(algebra, node, 1, &point);
    else if (a >= 0)
        b = number(algebra, 1);
    if (b < 0)
        return -1;
    if (width.id)
        return average(algebra, id, width, a, b);
    return node->n_in > 1 ? tp_coordinate_product(algebra, id, a, b) : a;
}

/* Softmax and the like over a fixed axis of scalars. */
static int along(tp_algebra *algebra, int id, const ad_node *node, tp_point point)
{
    int n = (int)ad_axis_fixed(algebra->graph, node->axis), entry = tp_point_index(&point, node->axis);
    int *parts = ad_arena_alloc(algebra->arena, (size_t)n, sizeof *parts);
    builder b = empty;
    for (int k = 0; parts && k < n; k++) {
        tp_point_set(&point, node->axis, k);
        int x = operand(algebra, node, 0, &point);
        if (x < 0 || check_argument(algebra, id, tp_coordinate_at(algebra, x)))
            return -1;
        const tp_coordinate *c = tp_coordinate_at(algebra, x);
        if (!is_scalar(c))
            return tp_refuse(algebra, id, "a function of several G-vars together has no exact rule here");
        leave(&b, c->rest, c->rest_node);
        for (int i = 0; i < c->n; i++)
            if (c->terms[i].power < -1e-12)
                leave(&b, c->terms[i].power, id);
        if ((parts[k] = as_scalar(algebra, c)) < 0)
            return -1;
    }
    if (!parts)
        return out_of_memory(algebra);
    int value = tp_coordinate_scalar(algebra, tp_q_along(algebra, (int)node->op, parts, n, entry < 0 ? 0 : entry));
    if (value < 0 || !push_scaled(algebra, &b, value, 1, 0))
        return -1;
    return finish(algebra, &b);
}

static int contraction(tp_algebra *algebra, int id, const ad_node *node, const tp_point *point)
{
    ad_shape names[2];
    int params[2], widths[2];
    for (int k = 0; k < 2; k++) {
        params[k] = tp_peel(algebra->graph, node->in[k], &names[k]);
        widths[k] = params[k] < 0 ? -1 : tp_count_widths(algebra->graph, &names[k]);
    }
    int k = widths[1] > widths[0]; /* of two parameters, the matrix is multiplied into the vector */
    if (params[k] >= 0)
        return matrix_product(algebra, id, params[k], &names[k], node->in[1 - k], node, point);
    return reduced(algebra, id, node, *point, 0);
}

/* ---- nodes ---- */
/* Merged or split fixed axes: the row-major position is the same on both sides. */
static int reshaped(tp_algebra *algebra, const ad_node *node, tp_point point)
{
    const ad_shape *old = &ad_look(algebra->graph, node->in[0])->shape;
    size_t flat = 0;
    for (int i = 0; i < node->shape.rank; i++)
        if (!ad_has(old, node->shape.axes[i]))
            flat = flat * ad_axis_fixed(algebra->graph, node->shape.axes[i]) +
                   (size_t)tp_point_index(&point, node->shape.axes[i]);
    for (int i = old->rank - 1; i >= 0; i--)
        if (!ad_has(&node->shape, old->axes[i])) {
            size_t size = ad_axis_fixed(algebra->graph, old->axes[i]);
            tp_point_set(&point, old->axes[i], (int)(flat % size));
            flat /= size;
        }
    return operand(algebra, node, 0, &point);
}

static int compute(tp_algebra *algebra, int id, tp_point point)
{
    const ad_node *node = ad_look(algebra->graph, id);
    ad_shape names;
    int param = tp_peel(algebra->graph, id, &names);
    if (param >= 0) {
        tp_point own = param_point(algebra, param, &names, &point);
        return param_vector(algebra, id, param, &own);
    }
    if (tp_is_data(algebra, id)) {
        tp_point own = restrict_point(algebra, id, &point);
        return tp_coordinate_scalar(algebra, tp_q_data(algebra, id, &own));
    }
    if (ad_is_unary(node->op)) {
        int x = operand(algebra, node, 0, &point);
        return x < 0 ? -1 : unary_of(algebra, id, node, node->op, node->c, x);
    }
    if (ad_is_binary(node->op)) {
        int a = operand(algebra, node, 0, &point);
        int b = a < 0 ? -1 : operand(algebra, node, 1, &point);
        if (b >= 0 && node->op == AD_DIV)
            b = unary_of(algebra, id, node, AD_POWER, -1, b);
        if (b < 0)
            return -1;
        if (node->op == AD_ADD || node->op == AD_SUB)
            return tp_coordinate_sum(algebra, a, 1, b, node->op == AD_ADD ? 1 : -1);
        return tp_coordinate_product(algebra, id, a, b);
    }
    switch (node->op) {
    case AD_CONSTANT:
        return number(algebra, node->c);
    case AD_DELTA:
        return number(algebra, tp_point_index(&point, node->axis) == tp_point_index(&point, node->axis2));
    case AD_SCALE: {
        if (node->axis.id && ad_axis_kind(algebra->graph, node->axis) == AD_BATCH)
            return tp_refuse(algebra, id, "a factor that depends on the batch's size");
        double power, size = tp_axis_factor(algebra, node->axis, &power);
        int x = operand(algebra, node, 0, &point);
        return x < 0 ? -1 : tp_coordinate_scaled(algebra, x, node->c * pow(size, node->power), power * node->power);
    }
    case AD_CONTRACT:
        return contraction(algebra, id, node, &point);
    case AD_SUM:
        return reduced(algebra, id, node, point, 0);
    case AD_LOGSUMEXP:
    case AD_SOFTMAX:
    case AD_MAX:
    case AD_ARGMAX:
        return along(algebra, id, node, point);
    case AD_EXPAND:
    case AD_TRANSPOSE:
        return operand(algebra, node, 0, &point);
    case AD_RESHAPE:
        return reshaped(algebra, node, point);
    case AD_RELABEL: {
        int index = tp_point_index(&point, node->axis2);
        tp_point at = restrict_point(algebra, node->in[0], &point);
        if (index >= 0)
            tp_point_set(&at, node->axis, index);
        return operand(algebra, node, 0, &at);
    }
    case AD_SLICE:
        tp_point_set(&point, node->axis, tp_point_index(&point, node->axis2) + (int)node->start);
        return operand(algebra, node, 0, &point);
    case AD_UNSLICE: {
        int index = tp_point_index(&point, node->axis2) - (int)node->start;
        if (index < 0 || index >= (int)ad_axis_fixed(algebra->graph, node->axis))
            return number(algebra, 0);
        tp_point_set(&point, node->axis, index);
        return operand(algebra, node, 0, &point);
    }
    case AD_CONCAT: {
        int index = tp_point_index(&point, node->axis), part = 0;
        while (index >= (int)ad_axis_fixed(algebra->graph, node->part_axes[part]))
            index -= (int)ad_axis_fixed(algebra->graph, node->part_axes[part++]);
        tp_point at = restrict_point(algebra, node->in[part], &point);
        tp_point_set(&at, node->part_axes[part], index);
        return operand(algebra, node, part, &at);
    }
    default:
        return tp_refuse(algebra, id, "it has no rule at infinite width here");
    }
}

int tp_coordinate_of(tp_algebra *algebra, int node, tp_point point)
{
    struct {
        int node;
        tp_point point;
    } key = { node, point };
    size_t size = sizeof key.node + offsetof(tp_point, at) + (size_t)point.n * sizeof *point.at;
    int *slot = tp_memo(algebra, &key, size);
    if (!slot)
        return out_of_memory(algebra);
    if (*slot >= 0)
        return *slot;
    int id = compute(algebra, node, key.point);
    if (id >= 0 && (slot = tp_memo(algebra, &key, size)))
        *slot = id;
    return id;
}
