/* gauss.c: the univariate functions whose expectations are taken. */
#include "autodiff/plan/loops.h"
#include "tp/gauss/gauss.h"

#include <math.h>

static const double origin[1] = { 0 };

/* What is known of the coordinatewise ops: the form, and 1 for even, -1 for odd. */
typedef struct {
    tp_form form;
    int parity;
} trait;
static const trait traits[AD_N_OPS] = {
    [AD_IDENTITY] = { TP_ID, -1 },     [AD_NEG] = { TP_NUMERIC, -1 },
    [AD_RELU] = { TP_RELU, 0 },        [AD_STEP] = { TP_STEP, 0 },
    [AD_LEAKY] = { TP_LEAKY, 0 },      [AD_LEAKY_STEP] = { TP_LEAKY_STEP, 0 },
    [AD_ABS] = { TP_ABS, 1 },          [AD_SIGN] = { TP_SIGN, -1 },
    [AD_SQUARE] = { TP_SQUARE, 1 },    [AD_POWER] = { TP_POWER, 0 },
    [AD_EXP] = { TP_EXP, 0 },          [AD_LOG] = { TP_NUMERIC, 0 },
    [AD_SQRT] = { TP_NUMERIC, 0 },     [AD_RSQRT] = { TP_NUMERIC, 0 },
    [AD_SIN] = { TP_SIN, -1 },         [AD_COS] = { TP_COS, 1 },
    [AD_TANH] = { TP_NUMERIC, -1 },    [AD_SIGMOID] = { TP_NUMERIC, 0 },
    [AD_ERF] = { TP_ERF, -1 },         [AD_ERF_GRAD] = { TP_ERF_GRAD, 1 },
    [AD_GELU] = { TP_GELU, 0 },        [AD_GELU_GRAD] = { TP_GELU_GRAD, 0 },
    [AD_SOFTPLUS] = { TP_NUMERIC, 0 }, [AD_SWISH] = { TP_NUMERIC, 0 },
};

static bool kinked(ad_op op)
{
#define AD_UNARY(NAME, name, formula, derivative, lo, hi, kinks) [AD_##NAME] = (kinks) != 0,
    static const bool rows[AD_N_OPS] = {
#include "autodiff/ops.def"
    };
    return rows[op];
}

static void eval_one(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    (void)x;
    for (size_t i = 0; i < n; i++)
        y[i] = 1;
}

/* context: the op's entry in the table of loops. */
static void eval_op(const tp_univariate *u, size_t n, const double *x, double *y)
{
    ad_loop *const *loop = u->context;
    (*loop)(n, y, x, x, u->parameter);
}

static void eval_power(const tp_univariate *u, size_t n, const double *x, double *y)
{
    int power = (int)u->parameter;
    for (size_t i = 0; i < n; i++) {
        double value = 1;
        for (int k = 0; k < power; k++)
            value *= x[i];
        y[i] = value;
    }
}

/* context: the user's function; parameter: which derivative. */
static void eval_function(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const ad_function *function = u->context;
    function->derivatives[(int)u->parameter](n, x, y);
}

static bool whole_power(double power)
{
    return power >= 0 && power <= TP_MAX_POWER && !(fabs(power - floor(power)) > 0);
}

tp_univariate tp_univariate_op(ad_op op, double parameter)
{
    tp_univariate u = { .form = TP_NUMERIC, .parameter = parameter };
    if ((unsigned)op >= AD_N_OPS || !ad_is_unary(op) || op == AD_CUSTOM)
        return u;
    u.form = traits[op].form;
    u.parity = traits[op].parity;
    u.eval = eval_op;
    u.context = &ad_loops_get(AD_DOUBLE)->op[op];
    u.kinks = kinked(op) ? origin : NULL;
    u.n_kinks = kinked(op);
    if (op == AD_POWER && whole_power(parameter)) {
        u.eval = eval_power;
        u.parity = (int)parameter % 2 ? -1 : 1;
    } else if (op == AD_POWER) {
        u.form = TP_NUMERIC;
        u.kinks = origin;
        u.n_kinks = 1;
    }
    return u;
}

tp_univariate tp_univariate_form(tp_form form, double parameter)
{
    if (form == TP_ONE)
        return (tp_univariate){ .form = TP_ONE, .eval = eval_one, .parity = 1 };
    if (form != TP_NUMERIC && (form != TP_POWER || whole_power(parameter)))
        for (int op = 0; op < AD_N_OPS; op++)
            if (ad_is_unary((ad_op)op) && op != AD_CUSTOM && traits[op].form == form)
                return tp_univariate_op((ad_op)op, parameter);
    return (tp_univariate){ .form = TP_NUMERIC, .parameter = parameter };
}

tp_univariate tp_univariate_function(const ad_function *function, int order)
{
    tp_univariate u = { .form = TP_NUMERIC, .parameter = order };
    if (order < 0 || order >= function->count)
        return u;
    u.eval = eval_function;
    u.context = function;
    u.kinks = function->kinks;
    u.n_kinks = function->n_kinks;
    return u;
}
