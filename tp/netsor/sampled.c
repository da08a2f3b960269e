/* sampled.c: a program run on numbers: at a finite width with Gaussian matrices, or at n = infinity by the
 * executor (executor.h), whose vectors are samples and whose matrices are revealed as they are used. Everything else is
 * the same. */
#include "tp/netsor/script.h"

#include "autodiff/plan/plan.h"
#include "tp/executor/executor.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { MAX_BYTES_OF_MATRIX = 1 << 30 };

/* A vector, or one number (length 1) of a scalar. */
typedef struct {
    size_t length;
    double *x;
} value;

typedef struct {
    const tp_script *script;
    const tp_solve_spec *spec;
    const ad_loops *loops;
    bool finite;
    size_t n; /* the width, or the samples where the ratio is 1 */
    uint64_t seed;
    value *values;          /* by command */
    double **matrices;      /* by command: (rows, columns), finite */
    tp_operator *operators; /* by command: at n = infinity */
    tp_space *spaces;       /* by width */
    bool *opened;           /* by width: the space is there */
    ad_error *error;
} run;

static const tp_command *command(const run *r, int k)
{
    return &r->script->commands[k];
}

static size_t size_of(const run *r, int width)
{
    double size = round(r->script->widths[width].ratio * (double)r->n);
    return size < 1 ? 1 : (size_t)size;
}

static int make(const run *r, size_t length, value *v)
{
    v->length = length;
    v->x = ad_alloc(length + 1, sizeof *v->x, "a vector of a program", r->error);
    return v->x ? 0 : -1;
}

static int refuse(const run *r, const tp_command *c, const char *what, const char *name)
{
    return ad_fail(r->error, "%s:%d: %s: %s%s", r->script->file, c->line, c->name, name, what);
}

/* ---- expressions ---- */
static int evaluate(run *r, const tp_command *c, const tp_expr *e, value *out);

/* y = op(a, b), a or b perhaps scalars. */
static int combine(run *r, ad_op op, value *a, value *b, value *out)
{
    size_t n = a->length > b->length ? a->length : b->length;
    value wide = { 0 };
    value *narrow = a->length < n ? a : b->length < n ? b : NULL;
    if (make(r, n, out))
        return -1;
    if (narrow) {
        if (make(r, n, &wide))
            return -1;
        for (size_t i = 0; i < n; i++)
            wide.x[i] = narrow->x[0];
    }
    r->loops->op[op](n, out->x, narrow == a ? wide.x : a->x, narrow == b ? wide.x : b->x, 0);
    ad_free(wide.x);
    return 0;
}

static int call(run *r, const tp_command *c, const tp_expr *e, const value *x, value *out)
{
    int op = ad_unary_named(e->text), order = 0;
    const ad_function *function = tp_script_custom(r->script, e->text, &order);
    double p = 0;
    if (op < 0 && !function)
        return refuse(r, c, " has no rule in a program by hand", e->text);
    if (op >= 0 && tp_takes_parameter(op))
        p = e->args[1]->kind == TP_E_NEG ? -e->args[1]->args[0]->c : e->args[1]->c;
    if (make(r, x->length, out))
        return -1;
    if (function)
        function->derivatives[order](x->length, x->x, out->x);
    else
        r->loops->op[op](x->length, out->x, x->x, NULL, p);
    return 0;
}

static int average(run *r, value *a, value *b, value *out)
{
    value both = { 0 };
    int status = b->x ? combine(r, AD_MUL, a, b, &both) : 0;
    const value *of = b->x ? &both : a;
    if (!status && (status = make(r, 1, out)) == 0)
        out->x[0] = r->loops->sum(of->length, of->x, 1) / (double)of->length;
    ad_free(both.x);
    return status;
}

static int copy_named(run *r, const tp_command *c, const tp_expr *e, value *out)
{
    if (e->var < 0)
        return refuse(r, c, " is data outside an input's law", e->text);
    const value *from = &r->values[e->var];
    if (e->c > 0 || tp_script_is_family(r->script, e->var))
        return refuse(r, c, " is a member of a family over fixed axes, which a program by hand has not", e->text);
    if (!from->x)
        return refuse(r, c, " is a random number, with no limit but in law", e->text);
    if (make(r, from->length, out))
        return -1;
    memcpy(out->x, from->x, from->length * sizeof *out->x);
    return 0;
}

static int with_operands(run *r, const tp_command *c, const tp_expr *e, value *a, value *b, value *out)
{
    static const ad_op ops[] = {
        [TP_E_ADD] = AD_ADD, [TP_E_SUB] = AD_SUB, [TP_E_TIMES] = AD_MUL, [TP_E_ODOT] = AD_MUL, [TP_E_OVER] = AD_DIV
    };
    switch (e->kind) {
    case TP_E_NUMBER:
    case TP_E_N:
        if (make(r, 1, out))
            return -1;
        out->x[0] = e->kind == TP_E_NUMBER ? e->c : pow((double)r->n, e->c);
        return 0;
    case TP_E_NAME:
        return copy_named(r, c, e, out);
    case TP_E_CALL:
        return call(r, c, e, a, out);
    case TP_E_NEG:
        if (make(r, a->length, out))
            return -1;
        r->loops->op[AD_NEG](a->length, out->x, a->x, NULL, 0);
        return 0;
    case TP_E_BRACKET:
        *out = *a;
        a->x = NULL;
        return 0;
    case TP_E_AVERAGE:
        return average(r, a, b, out);
    case TP_E_SUM:
        return refuse(r, c, "a sum over fixed axes has no rule in a program by hand", "");
    default:
        return combine(r, ops[e->kind], a, b, out);
    }
}

static int evaluate(run *r, const tp_command *c, const tp_expr *e, value *out)
{
    value args[2] = { { 0 } };
    int status = 0, needed = e->kind == TP_E_CALL ? 1 : e->n;
    *out = (value){ 0 };
    for (int k = 0; k < needed && k < 2 && !status; k++)
        status = evaluate(r, c, e->args[k], &args[k]);
    if (!status)
        status = with_operands(r, c, e, &args[0], &args[1], out);
    ad_free(args[0].x);
    ad_free(args[1].x);
    return status;
}

/* ---- draws ---- */
static tp_space *space_of(run *r, int width)
{
    size_t size = size_of(r, width);
    for (int k = 0; k < r->script->n_widths; k++)
        if (r->opened[k] && r->spaces[k].basis.length == size)
            return &r->spaces[k];
    r->opened[width] = true;
    if (size < 4) {
        ad_fail(r->error, "%zu samples of a vector over %s are too few", size, r->script->widths[width].name);
        return NULL;
    }
    return tp_space_new(&r->spaces[width], size, r->seed + 977 * (uint64_t)(width + 1), r->error) ? NULL
                                                                                                  : &r->spaces[width];
}

/* `count` independent standard normal vectors over a width. */
static int draw(run *r, int width, int count, const char *stream, tp_rows *rows)
{
    size_t size = size_of(r, width);
    *rows = (tp_rows){ .length = size };
    if (!r->finite) {
        tp_space *space = space_of(r, width);
        return space ? tp_draw(space, count, NULL, rows, r->error) : -1;
    }
    rows->data = ad_alloc(size * (size_t)count + 1, sizeof *rows->data, "inputs", r->error);
    if (!rows->data)
        return -1;
    ad_normal(r->seed, ad_stream(stream), 0, size * (size_t)count, rows->data);
    return 0;
}

/* All inputs over one width: mean + (root of their covariance) times standard normal vectors. */
static int draw_inputs(run *r, int width)
{
    const tp_script *s = r->script;
    int *which = ad_alloc((size_t)s->n + 1, sizeof *which, "inputs", r->error), count = 0;
    double *cov = which ? tp_script_inputs(s, r->spec, width, which, &count, r->error) : NULL;
    double *eigen = cov ? ad_alloc((size_t)count + 1, sizeof *eigen, "inputs", r->error) : NULL;
    tp_rows rows = { 0 };
    int status = eigen ? 0 : -1;
    if (!status && count && LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'V', 'U', count, cov, count, eigen))
        status = ad_fail(r->error, "the covariances of a program's inputs have no eigenvalues");
    if (!status && count)
        status = draw(r, width, count, s->widths[width].name, &rows);
    for (int i = 0; i < count && !status; i++) {
        value *v = &r->values[which[i]];
        if ((status = make(r, size_of(r, width), v)))
            break;
        for (size_t k = 0; k < v->length; k++)
            v->x[k] = command(r, which[i])->mean;
        for (int m = 0; m < count; m++)
            cblas_daxpy((int)v->length, cov[i * count + m] * sqrt(fmax(eigen[m], 0)), rows.data + (size_t)m * v->length,
                        1, v->x, 1);
    }
    ad_free(rows.data);
    ad_free(eigen);
    ad_free(cov);
    ad_free(which);
    return status;
}

/* ---- products ---- */
static int open_matrix(run *r, int root)
{
    const tp_command *w = command(r, root);
    size_t rows = size_of(r, w->width), columns = size_of(r, w->width2);
    if (!r->finite) {
        if (r->operators[root].space[1])
            return 0;
        tp_space *in = space_of(r, w->width2), *out = in ? space_of(r, w->width) : NULL;
        if (!out)
            return -1;
        tp_operator_new(&r->operators[root], in, columns, out, false);
        return 0;
    }
    if (r->matrices[root])
        return 0;
    if (rows > MAX_BYTES_OF_MATRIX / sizeof(double) / columns)
        return refuse(r, w, " is too large at this width: more than 1 GiB", w->name);
    if (!(r->matrices[root] = ad_alloc(rows * columns + 1, sizeof(double), "a matrix of a program", r->error)))
        return -1;
    ad_normal(r->seed, ad_stream(w->name) + 1, 0, rows * columns, r->matrices[root]);
    return 0;
}

static int multiply(run *r, int k)
{
    const tp_command *c = command(r, k);
    bool transposed = false;
    int root = c->matrix;
    for (; command(r, root)->transposed; root = command(r, root)->matrix)
        transposed = !transposed;
    const tp_command *w = command(r, root);
    const value *x = &r->values[c->vector];
    value *y = &r->values[k];
    if (*c->origin || !x->x)
        return refuse(r, c, " is a member of a family over fixed axes, which a program by hand has not",
                      *c->origin ? c->origin : command(r, c->vector)->name);
    if (open_matrix(r, root) || make(r, size_of(r, c->width), y))
        return -1;
    double deviation = sqrt(w->variance);
    if (!r->finite) {
        if (tp_operator_apply(&r->operators[root], transposed, 1, x->x, y->x, r->error))
            return -1;
        cblas_dscal((int)y->length, deviation, y->x, 1);
        return 0;
    }
    int rows = (int)size_of(r, w->width), columns = (int)size_of(r, w->width2);
    cblas_dgemv(CblasRowMajor, transposed ? CblasTrans : CblasNoTrans, rows, columns, deviation / sqrt(columns),
                r->matrices[root], columns, x->x, 1, 0, y->x, 1);
    return 0;
}

/* ---- a run ---- */
static int run_command(run *r, int k)
{
    const tp_command *c = command(r, k);
    switch (c->rule) {
    case TP_INPUT:
        if (c->type != 's' || c->variance > 0)
            return 0;
        if (make(r, 1, &r->values[k]))
            return -1;
        r->values[k].x[0] = c->mean;
        return 0;
    case TP_MATMUL:
        return multiply(r, k);
    case TP_LINCOMB:
    case TP_NONLIN:
    case TP_MOMENT:
        return evaluate(r, c, c->body, &r->values[k]);
    default:
        return 0;
    }
}

static void tell(const run *r, double *values, double *products)
{
    size_t n = (size_t)r->script->n;
    for (size_t k = 0; k < n; k++) {
        const value *x = &r->values[k];
        int length = (int)x->length;
        values[2 * k] = x->x ? r->loops->sum(x->length, x->x, 1) / length : NAN;
        values[2 * k + 1] = x->x && length > 1 ? cblas_ddot(length, x->x, 1, x->x, 1) / length : NAN;
        for (size_t i = 0; i <= k && products; i++) {
            const tp_command *a = command(r, (int)k), *b = command(r, (int)i);
            bool pair = a->type == 'G' && b->type == 'G' && a->width == b->width && x->x && r->values[i].x;
            products[k * n + i] = products[i * n + k] =
                pair ? cblas_ddot(length, x->x, 1, r->values[i].x, 1) / length : 0;
        }
    }
}

static int open_run(run *r)
{
    size_t n = (size_t)r->script->n + 1, widths = (size_t)r->script->n_widths + 1;
    r->values = ad_alloc(n, sizeof *r->values, "a run of a program", r->error);
    r->matrices = ad_alloc(n, sizeof *r->matrices, "a run of a program", r->error);
    r->operators = ad_alloc(n, sizeof *r->operators, "a run of a program", r->error);
    r->spaces = ad_alloc(widths, sizeof *r->spaces, "a run of a program", r->error);
    r->opened = ad_alloc(widths, sizeof *r->opened, "a run of a program", r->error);
    return r->values && r->matrices && r->operators && r->spaces && r->opened ? 0 : -1;
}

static void close_run(run *r)
{
    for (int k = 0; k < r->script->n; k++) {
        ad_free(r->values ? r->values[k].x : NULL);
        ad_free(r->matrices ? r->matrices[k] : NULL);
        if (r->operators)
            tp_operator_free(&r->operators[k]);
    }
    for (int k = 0; k < r->script->n_widths && r->spaces && r->opened; k++)
        if (r->opened[k])
            tp_space_free(&r->spaces[k]);
    ad_free(r->values);
    ad_free(r->matrices);
    ad_free(r->operators);
    ad_free(r->spaces);
    ad_free(r->opened);
}

int tp_script_run(const tp_script *script, const tp_solve_spec *spec, bool finite, size_t size, uint64_t seed,
                  double *values, double *products, ad_error *error)
{
    run r = { .script = script,
              .spec = spec,
              .loops = ad_loops_get(AD_DOUBLE),
              .finite = finite,
              .n = size,
              .seed = seed,
              .error = error };
    int status = open_run(&r);
    for (int width = 0; width < script->n_widths && !status; width++)
        status = draw_inputs(&r, width);
    for (int k = 0; k < script->n && !status; k++)
        status = run_command(&r, k);
    if (!status)
        tell(&r, values, products);
    close_run(&r);
    return status ? -1 : 0;
}
