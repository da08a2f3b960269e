/* wick.c: polynomials in functions of Gaussians: sums, products, functions, and their expectations. */
#include "tp/netsor/wick.h"

#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

enum { MAX_TERMS = 2000, MAX_KINKS = 64, MAX_POWER = 8 };

/* ---- the basis ---- */
int tp_basis_new(tp_basis *b, int capacity, ad_error *error)
{
    *b = (tp_basis){ .capacity = capacity + 1, .error = error };
    if (tp_algebra_new(&b->algebra, &b->program, error) || tp_table_new(&b->forms, b->algebra.arena, error))
        return -1;
    b->covariance = ad_arena_alloc(b->algebra.arena, (size_t)b->capacity * (size_t)b->capacity, sizeof *b->covariance);
    return b->covariance ? 0 : ad_fail(error, "out of memory for %d Gaussians", capacity);
}

void tp_basis_free(tp_basis *b)
{
    tp_table_free(&b->forms);
    tp_algebra_free(&b->algebra);
}

int tp_basis_add(tp_basis *b)
{
    return b->n++;
}

void tp_basis_set(tp_basis *b, int i, int k, double covariance)
{
    b->covariance[i * b->capacity + k] = b->covariance[k * b->capacity + i] = covariance;
}

static void *take_memory(tp_basis *b, size_t count, size_t size)
{
    void *memory = ad_arena_alloc(b->algebra.arena, count + 1, size);
    b->full = b->full || !memory;
    return memory;
}

static const tp_affine *intern_form(tp_basis *b, tp_affine *form)
{
    for (int k = 0; k < b->capacity; k++) /* no negative zeros: equal forms have equal bytes */
        form->c[k] += 0.0;
    int id = tp_intern(&b->forms, form, sizeof *form + (size_t)b->capacity * sizeof *form->c);
    b->full = b->full || id < 0;
    return id < 0 ? NULL : tp_table_at(&b->forms, id);
}

static tp_affine *blank_form(tp_basis *b)
{
    return take_memory(b, 1, sizeof(tp_affine) + (size_t)b->capacity * sizeof(double));
}

static double form_covariance(const tp_basis *b, const tp_affine *f, const tp_affine *g)
{
    double sum = 0;
    for (int i = 0; i < b->n; i++)
        for (int k = 0; k < b->n && fabs(f->c[i]) > 0; k++)
            if (fabs(g->c[k]) > 0)
                sum += f->c[i] * g->c[k] * b->covariance[i * b->capacity + k];
    return sum;
}

/* ---- functions ---- */
static int make_fn(tp_basis *b, tp_fn fn)
{
    int id = tp_fn_intern(&b->algebra, fn);
    b->full = b->full || id < 0;
    return id < 0 ? 0 : id;
}

static int two_fns(tp_basis *b, int op, int x, int y)
{
    return make_fn(b, (tp_fn){ .op = op, .a = x, .b = y });
}

static int number_fn(tp_basis *b, double c)
{
    return make_fn(b, (tp_fn){ .op = TP_NUMBER, .p = c });
}

/* f(inner): by parts, what becomes of each. */
static int compose(tp_basis *b, int fn, int inner)
{
    const tp_fn_parts *p = tp_fn_parts_of(&b->algebra, fn);
    int *becomes = p ? ad_arena_alloc(b->algebra.arena, (size_t)p->n, sizeof *becomes) : NULL, last = -1;
    for (int k = 0; becomes && k < p->n; k++) {
        tp_fn f = *tp_fn_at(&b->algebra, p->at[k].id);
        if (p->at[k].a >= 0)
            f.a = becomes[p->at[k].a];
        if (p->at[k].b >= 0)
            f.b = becomes[p->at[k].b];
        becomes[k] = last = f.op == TP_VARIABLE ? inner : p->at[k].a < 0 ? p->at[k].id : make_fn(b, f);
    }
    tp_fn_parts_end(&b->algebra, fn, p);
    b->full = b->full || last < 0;
    return last < 0 ? 0 : last;
}

static double evaluate(const tp_basis *b, int fn, double x)
{
    double y;
    tp_fn_eval(&b->algebra, fn, NULL, 1, &x, &y);
    return y;
}

/* ---- polynomials ---- */
tp_wick tp_wick_unknown(void)
{
    return (tp_wick){ .known = false };
}

tp_wick tp_wick_number(tp_basis *b, double c, double power)
{
    if (isnan(c))
        return tp_wick_unknown();
    tp_wick x = { .known = true, .terms = take_memory(b, 1, sizeof *x.terms) };
    if (x.terms && fabs(c) > 0) {
        x.terms[0] = (tp_wick_term){ .c = c, .power = power };
        x.n = 1;
    }
    return x;
}

static tp_wick of_form(tp_basis *b, const tp_affine *form, int fn, double power)
{
    tp_wick x = { .known = true, .n = 1, .terms = take_memory(b, 1, sizeof *x.terms) };
    if (!x.terms || !form)
        return tp_wick_unknown();
    x.terms[0] = (tp_wick_term){ .c = 1, .power = power, .n = 1, .factors = { { form, fn } } };
    return x;
}

tp_wick tp_wick_gaussian(tp_basis *b, int k, double mean)
{
    tp_affine *form = blank_form(b);
    if (!form)
        return tp_wick_unknown();
    form->constant = mean;
    form->c[k] = 1;
    return of_form(b, intern_form(b, form), b->algebra.variable, 0);
}

static bool is_affine(const tp_basis *b, const tp_wick_term *t)
{
    return t->n == 0 || (t->n == 1 && t->factors[0].fn == b->algebra.variable);
}

static bool same_factors(const tp_wick_term *a, const tp_wick_term *b)
{
    bool same = a->n == b->n && !(fabs(a->power - b->power) > 1e-12);
    for (int k = 0; same && k < a->n; k++)
        same = a->factors[k].form == b->factors[k].form && a->factors[k].fn == b->factors[k].fn;
    return same;
}

static void push_term(tp_wick *x, const tp_wick_term *t)
{
    for (int k = 0; k < x->n; k++)
        if (same_factors(&x->terms[k], t)) {
            x->terms[k].c += t->c;
            return;
        }
    x->terms[x->n++] = *t;
}

/* Affine terms of one power become one form: so tanh(a + b) is a function of one argument. */
static void gather_affine(tp_basis *b, tp_wick *x)
{
    tp_wick all = { .known = true, .terms = take_memory(b, (size_t)x->n, sizeof *all.terms) };
    bool *done = take_memory(b, (size_t)x->n, sizeof *done);
    if (!all.terms || !done)
        return;
    for (int k = 0; k < x->n; k++) {
        const tp_wick_term *t = &x->terms[k];
        if (done[k] || !(fabs(t->c) > 0))
            continue;
        tp_affine *form = is_affine(b, t) ? blank_form(b) : NULL;
        if (!form) {
            push_term(&all, t);
            continue;
        }
        bool constant = true;
        for (int m = k; m < x->n; m++) {
            const tp_wick_term *u = &x->terms[m];
            if (!is_affine(b, u) || fabs(u->power - t->power) > 1e-12)
                continue;
            done[m] = true;
            form->constant += u->c * (u->n ? u->factors[0].form->constant : 1);
            for (int i = 0; i < b->n && u->n; i++)
                form->c[i] += u->c * u->factors[0].form->c[i];
        }
        for (int i = 0; i < b->n; i++)
            constant = constant && !(fabs(form->c[i]) > 0);
        tp_wick_term one = { .c = constant ? form->constant : 1, .power = t->power, .n = !constant };
        if (!constant)
            one.factors[0] = (tp_wick_factor){ intern_form(b, form), b->algebra.variable };
        if (!b->full)
            push_term(&all, &one);
    }
    *x = all;
}

tp_wick tp_wick_sum(tp_basis *b, tp_wick x, double factor, tp_wick y)
{
    if (!x.known || !y.known || isnan(factor) || x.n + y.n > MAX_TERMS)
        return tp_wick_unknown();
    tp_wick sum = { .known = true, .terms = take_memory(b, (size_t)x.n + (size_t)y.n, sizeof *sum.terms) };
    if (!sum.terms)
        return tp_wick_unknown();
    for (int k = 0; k < x.n; k++)
        push_term(&sum, &x.terms[k]);
    for (int k = 0; k < y.n; k++) {
        tp_wick_term t = y.terms[k];
        t.c *= factor;
        push_term(&sum, &t);
    }
    gather_affine(b, &sum);
    return sum;
}

/* By address of the form, then by function: equal products are found equal. */
static void insert(tp_wick_term *t, tp_wick_factor f)
{
    int at = t->n++;
    for (; at > 0; at--) {
        const tp_wick_factor *before = &t->factors[at - 1];
        if ((uintptr_t)before->form < (uintptr_t)f.form || (before->form == f.form && before->fn <= f.fn))
            break;
        t->factors[at] = *before;
    }
    t->factors[at] = f;
}

tp_wick tp_wick_product(tp_basis *b, tp_wick x, tp_wick y)
{
    if (!x.known || !y.known || x.n * y.n > MAX_TERMS)
        return tp_wick_unknown();
    tp_wick all = { .known = true, .terms = take_memory(b, (size_t)x.n * (size_t)y.n, sizeof *all.terms) };
    for (int i = 0; i < x.n && all.terms; i++)
        for (int k = 0; k < y.n; k++) {
            tp_wick_term t = x.terms[i];
            if (t.n + y.terms[k].n > TP_MAX_WICK)
                return tp_wick_unknown();
            double before = t.c;
            t.c *= y.terms[k].c;
            b->underflows = b->underflows || (!(fabs(t.c) > 0) && fabs(before) > 0 && fabs(y.terms[k].c) > 0);
            t.power += y.terms[k].power;
            for (int m = 0; m < y.terms[k].n; m++)
                insert(&t, y.terms[k].factors[m]);
            push_term(&all, &t);
        }
    if (all.terms)
        gather_affine(b, &all);
    return all.terms ? all : tp_wick_unknown();
}

/* g = alpha f + beta, in law? */
static bool proportional(const tp_basis *b, const tp_affine *f, const tp_affine *g, double *alpha, double *beta)
{
    double ff = form_covariance(b, f, f), gg = form_covariance(b, g, g), fg = form_covariance(b, f, g);
    *alpha = gg > 0 ? fg / ff : 0;
    *beta = g->constant - *alpha * f->constant;
    return f == g || (ff > 0 && gg - *alpha * fg <= 1e-12 * gg);
}

/* x as one function of one form: all of its factors are of forms that are proportional. -1 if they are not. */
static int as_univariate(tp_basis *b, const tp_wick *x, const tp_affine **form)
{
    int sum = -1;
    *form = NULL;
    for (int k = 0; k < x->n; k++) {
        const tp_wick_term *t = &x->terms[k];
        if (fabs(t->power) > 1e-12)
            return -1;
        int term = number_fn(b, t->c);
        for (int m = 0; m < t->n; m++) {
            double alpha, beta;
            *form = *form ? *form : t->factors[m].form;
            if (!proportional(b, *form, t->factors[m].form, &alpha, &beta))
                return -1;
            int inner = b->algebra.variable;
            if (t->factors[m].form != *form)
                inner = two_fns(b, TP_PLUS, two_fns(b, TP_TIMES, number_fn(b, alpha), inner), number_fn(b, beta));
            term = two_fns(b, TP_TIMES, term, compose(b, t->factors[m].fn, inner));
        }
        sum = sum < 0 ? term : two_fns(b, TP_PLUS, sum, term);
    }
    return sum;
}

static tp_wick whole_power(tp_basis *b, tp_wick x, int power)
{
    tp_wick all = x;
    for (int k = 1; k < power; k++)
        all = tp_wick_product(b, all, x);
    return all;
}

tp_wick tp_wick_function(tp_basis *b, int op, double p, const ad_function *function, int order, tp_wick x)
{
    if (!x.known)
        return x;
    if (op == AD_IDENTITY)
        return x;
    if (op == AD_NEG)
        return tp_wick_sum(b, tp_wick_number(b, 0, 0), -1, x);
    int whole = op == AD_SQUARE                                                           ? 2
                : op == AD_POWER && p >= 1 && p <= MAX_POWER && !(fabs(p - round(p)) > 0) ? (int)p
                                                                                          : 0;
    int fn = make_fn(b, (tp_fn){ .op = op, .p = p, .a = b->algebra.variable, .function = function, .order = order });
    if (x.n == 0 || (x.n == 1 && x.terms[0].n == 0)) { /* a number, with a power of n perhaps */
        double c = x.n ? x.terms[0].c : 0, power = x.n ? x.terms[0].power : 0;
        double degree = ad_op_degree((ad_op)op, p);
        if (fabs(power) > 1e-12 && isnan(degree))
            return tp_wick_unknown();
        return tp_wick_number(b, evaluate(b, fn, c), fabs(power) > 1e-12 ? power * degree : 0);
    }
    if (whole) {
        tp_wick all = whole_power(b, x, whole);
        if (all.known)
            return all;
    }
    if (x.n == 1 && x.terms[0].n == 1 && !(fabs(x.terms[0].c - 1) > 0) && !(fabs(x.terms[0].power) > 1e-12) &&
        x.terms[0].factors[0].fn == b->algebra.variable)
        return of_form(b, x.terms[0].factors[0].form, fn, 0);
    const tp_affine *form;
    int inner = as_univariate(b, &x, &form);
    return inner < 0 || !form ? tp_wick_unknown() : of_form(b, form, compose(b, fn, inner), 0);
}

double tp_wick_top(const tp_wick *x)
{
    double top = -INFINITY;
    for (int k = 0; k < x->n; k++)
        top = fmax(top, x->terms[k].power);
    return top;
}

/* ---- expectations ---- */
typedef struct {
    const tp_basis *basis;
    int n, power; /* t^power times the functions */
    int fn[TP_MAX_WICK];
    double alpha[TP_MAX_WICK], beta[TP_MAX_WICK]; /* of alpha t + beta, t ~ N(0, 1) */
    double kinks[MAX_KINKS];
    int n_kinks, steps;
    const tp_affine *form;
    double deviation;
} direction;

static void eval_direction(const tp_univariate *u, size_t n, const double *x, double *y)
{
    enum { BLOCK = 128 };
    const direction *d = u->context;
    double t[BLOCK], in[BLOCK], out[BLOCK];
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t size = n - start < BLOCK ? n - start : BLOCK;
        memcpy(t, x + start, size * sizeof *t);
        for (size_t i = 0; i < size; i++)
            y[start + i] = d->power == 0 ? 1 : d->power == 1 ? t[i] : d->power == 2 ? t[i] * t[i] : pow(t[i], d->power);
        for (int k = 0; k < d->n; k++) {
            for (size_t i = 0; i < size; i++)
                in[i] = d->alpha[k] * t[i] + d->beta[k];
            tp_fn_eval(&d->basis->algebra, d->fn[k], NULL, size, in, out);
            for (size_t i = 0; i < size; i++)
                y[start + i] *= out[i];
        }
    }
}

/* Adds a function to its direction; false if there are too many kinks. */
static bool add_to_direction(direction *d, int fn, double alpha, double beta)
{
    double kinks[MAX_KINKS];
    if (tp_fn_prepare(&d->basis->algebra, fn)) /* it is evaluated often */
        return false;
    d->steps += d->basis->algebra.parts[fn]->n;
    int found = tp_fn_kinks(&d->basis->algebra, fn, NULL, kinks, MAX_KINKS);
    if (found < 0 || found > MAX_KINKS || d->n_kinks + found > MAX_KINKS)
        return false;
    for (int k = 0; k < found; k++) {
        double at = (kinks[k] - beta) / alpha;
        bool known = false;
        for (int m = 0; m < d->n_kinks; m++)
            known = known || fabs(d->kinks[m] - at) < 1e-12;
        if (!known)
            d->kinks[d->n_kinks++] = at;
    }
    d->fn[d->n] = fn;
    d->alpha[d->n] = alpha;
    d->beta[d->n++] = beta;
    return true;
}

static tp_univariate as_function(const direction *d)
{
    return (tp_univariate){ .form = TP_NUMERIC,
                            .eval = eval_direction,
                            .context = d,
                            .kinks = d->kinks,
                            .n_kinks = d->n_kinks,
                            .steps = d->steps };
}

static bool row_of_table(const tp_basis *b, const tp_wick_factor *f, tp_univariate *u)
{
    return !(fabs(f->form->constant) > 0) && tp_univariate_row(&b->algebra, f->fn, u);
}

/* One or two centred factors that have a closed form. */
static bool closed_block(const tp_basis *b, const tp_wick_factor *f, int n, double *value)
{
    tp_univariate u = tp_univariate_form(TP_ONE, 0), v = u;
    if (n > 2 || !row_of_table(b, &f[0], &u) || (n == 2 && !row_of_table(b, &f[1], &v)) || !tp_has_closed(&u, &v))
        return false;
    double q11 = form_covariance(b, f[0].form, f[0].form), q22 = n == 2 ? form_covariance(b, f[1].form, f[1].form) : 0;
    double q12 = n == 2 ? form_covariance(b, f[0].form, f[1].form) : 0;
    return tp_closed(&u, &v, 1, &q11, &q22, &q12, NULL, value);
}

/* Linear factors of a block, given t1 and t2: constant + slope . t + rest, the rests of a covariance. */
typedef struct {
    int n, rank;
    double constant[TP_MAX_WICK], slope[TP_MAX_WICK][2], rest[TP_MAX_WICK][TP_MAX_WICK];
} linear_part;
typedef struct {
    double at[TP_MAX_WICK + 1][TP_MAX_WICK + 1]; /* of t1^i t2^k */
} plane;

/* out += factor E prod over the set of linear factors, as a polynomial in t1, t2 (Wick). */
static void wick(const linear_part *l, unsigned set, double factor, int i, int k, plane *out)
{
    if (!set) {
        out->at[i][k] += factor;
        return;
    }
    if (!(fabs(factor) > 0))
        return;
    int first = __builtin_ctz(set);
    set &= set - 1;
    wick(l, set, factor * l->constant[first], i, k, out);
    if (l->rank > 0)
        wick(l, set, factor * l->slope[first][0], i + 1, k, out);
    if (l->rank > 1)
        wick(l, set, factor * l->slope[first][1], i, k + 1, out);
    for (unsigned others = set; others; others &= others - 1) {
        int other = __builtin_ctz(others);
        wick(l, set & ~(1u << other), factor * l->rest[first][other], i, k, out);
    }
}

/* The directions of the functions of a block: false if there are more than two, or they have too many kinks. */
static bool find_directions(const tp_basis *b, const tp_wick_factor *f, int n, direction *d, int *rank)
{
    *rank = 0;
    for (int k = 0; k < n; k++) {
        if (f[k].fn == b->algebra.variable)
            continue;
        double alpha = 0, beta = 0;
        int which = 0;
        while (which < *rank && !proportional(b, d[which].form, f[k].form, &alpha, &beta))
            which++;
        if (which == 2)
            return false;
        if (which == *rank) {
            d[which] = (direction){ .basis = b, .form = f[k].form };
            d[which].deviation = sqrt(form_covariance(b, f[k].form, f[k].form));
            ++*rank;
            alpha = 1;
            beta = 0;
        }
        if (!add_to_direction(&d[which], f[k].fn, alpha * d[which].deviation, alpha * d[which].form->constant + beta))
            return false;
    }
    return true;
}

static void find_linear(const tp_basis *b, const tp_wick_factor *f, int n, const direction *d, int rank, double c,
                        linear_part *l)
{
    double with[TP_MAX_WICK][2] = { { 0 } };
    const tp_affine *forms[TP_MAX_WICK];
    l->n = 0;
    l->rank = rank;
    for (int k = 0; k < n; k++) {
        if (f[k].fn != b->algebra.variable)
            continue;
        int m = l->n++;
        forms[m] = f[k].form;
        l->constant[m] = f[k].form->constant;
        for (int r = 0; r < rank; r++)
            with[m][r] = form_covariance(b, f[k].form, d[r].form) / d[r].deviation;
        double det = rank == 2 ? 1 - c * c : 1;
        l->slope[m][0] = (with[m][0] - (rank == 2 ? c * with[m][1] : 0)) / det;
        l->slope[m][1] = rank == 2 ? (with[m][1] - c * with[m][0]) / det : 0;
    }
    for (int i = 0; i < l->n; i++)
        for (int k = 0; k < l->n; k++)
            l->rest[i][k] =
                form_covariance(b, forms[i], forms[k]) - l->slope[i][0] * with[k][0] - l->slope[i][1] * with[k][1];
}

static double block_expectation(const tp_basis *b, const tp_wick_factor *f, int n)
{
    direction d[2];
    linear_part l = { 0 };
    plane p = { { { 0 } } };
    int rank;
    double value, total = 0;
    if (closed_block(b, f, n, &value))
        return value;
    if (!find_directions(b, f, n, d, &rank))
        return NAN;
    double c = rank == 2 ? form_covariance(b, d[0].form, d[1].form) / (d[0].deviation * d[1].deviation) : 0;
    find_linear(b, f, n, d, rank, c, &l);
    wick(&l, (1u << l.n) - 1, 1, 0, 0, &p);
    if (rank == 0)
        return p.at[0][0];
    for (int i = 0; i <= l.n; i++)
        for (int k = 0; k <= l.n; k++) {
            if (!(fabs(p.at[i][k]) > 0))
                continue;
            d[0].power = i;
            d[1].power = k;
            tp_univariate u = as_function(&d[0]);
            tp_univariate v = rank == 2 ? as_function(&d[1]) : tp_univariate_form(TP_ONE, 0);
            ad_error error = { 0 };
            if (tp_quadrature(&u, &v, 1, 1, c, &value, NULL, &error))
                return NAN;
            total += p.at[i][k] * value;
        }
    return total;
}

static double term_expectation(tp_basis *b, const tp_wick_term *t)
{
    tp_wick_factor left[TP_MAX_WICK], block[TP_MAX_WICK];
    int n = 0;
    double value = t->c;
    for (int k = 0; k < t->n; k++) {
        double variance = form_covariance(b, t->factors[k].form, t->factors[k].form);
        if (isnan(variance))
            return NAN;
        if (variance > 0)
            left[n++] = t->factors[k];
        else
            value *= evaluate(b, t->factors[k].fn, t->factors[k].form->constant);
    }
    while (n > 0 && !isnan(value)) { /* the block of the last factor left */
        int size = 0;
        block[size++] = left[--n];
        for (int i = 0; i < size; i++)
            for (int k = 0; k < n; k++) {
                double q = form_covariance(b, block[i].form, left[k].form);
                double own = form_covariance(b, block[i].form, block[i].form);
                if (fabs(q) <= 1e-14 * sqrt(own) * sqrt(form_covariance(b, left[k].form, left[k].form)))
                    continue;
                block[size++] = left[k];
                left[k--] = left[--n];
            }
        value *= block_expectation(b, block, size);
    }
    return value;
}

/* Is it its constant, whatever is drawn? */
static bool is_constant(const tp_basis *b, const tp_affine *form)
{
    bool constant = true;
    for (int k = 0; k < b->n && constant; k++)
        constant = !(fabs(form->c[k]) > 0) || !(fabs(b->covariance[k * b->capacity + k]) > 0);
    return constant;
}

/* The logarithm of c times its factors' root mean squares: minus infinity where one is below what a double holds; NAN
 * for a term that is 0 whatever is drawn, and where one of them is not known. */
static double term_size(tp_basis *b, const tp_wick_term *t)
{
    double size = fabs(t->c) > 0 ? log(fabs(t->c)) : NAN;
    for (int k = 0; k < t->n; k++) {
        const tp_wick_factor *f = &t->factors[k];
        const tp_wick_term square = { .c = 1, .n = 2, .factors = { *f, *f } };
        if (is_constant(b, f->form)) {
            double value = evaluate(b, f->fn, f->form->constant);
            size += fabs(value) > 0 ? log(fabs(value)) : NAN;
        } else {
            size += log(term_expectation(b, &square)) / 2;
        }
    }
    return size;
}

bool tp_wick_underflows(tp_basis *b, const tp_wick *x, double value)
{
    bool some = false, large = false;
    if (!x->known || !(fabs(value) < TP_LEAST))
        return false;
    for (int k = 0; k < x->n && !large; k++) {
        double size = term_size(b, &x->terms[k]);
        some = some || !isnan(size);
        large = size >= log(TP_LEAST);
    }
    return (some || b->underflows) && !large;
}

double tp_wick_expectation(tp_basis *b, const tp_wick *x, double power)
{
    double total = 0;
    if (!x->known)
        return NAN;
    for (int k = 0; k < x->n; k++)
        if (fabs(x->terms[k].power - power) < 1e-9)
            total += term_expectation(b, &x->terms[k]);
    return total;
}
