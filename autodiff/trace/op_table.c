/* op_table.c: what ops.def says of an op, by its number. */
#include "autodiff/autodiff.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {
#define AD_UNARY(NAME, name, ...) #name,
#define AD_BINARY(NAME, name, ...) #name,
#define AD_SHAPE(NAME, name, ...) #name,
#include "autodiff/ops.def"
};

const char *ad_op_name(ad_op op)
{
    return (unsigned)op < AD_N_OPS ? names[op] : "no op";
}

bool ad_is_unary(ad_op op)
{
    return (unsigned)op <= AD_CUSTOM;
}

bool ad_is_binary(ad_op op)
{
    return op >= AD_ADD && op <= AD_DIV;
}

int ad_unary_named(const char *name)
{
    static const struct {
        const char *name;
        ad_op op;
    } others[] = { { "silu", AD_SWISH }, { "hardtanh", AD_HARD_TANH } };
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (strcmp(others[k].name, name) == 0)
            return (int)others[k].op;
    for (int op = 0; op < AD_CUSTOM; op++)
        if (strcmp(names[op], name) == 0)
            return op;
    return -1;
}

/* ---- the cells ---- */
#define NO_P false, 0
#define P(usual) true, usual
#define ACTIVATION true
#define INNER false
#define LIST(...) __VA_ARGS__
#define BOUNDED(lowest, highest) AD_BOUNDED, lowest, highest
#define LINEAR(lowest, highest) AD_LINEAR, lowest, highest
#define EXPONENTIAL(lowest, highest) AD_EXPONENTIAL, lowest, highest
#define LOGARITHMIC(lowest, highest) AD_LOGARITHMIC, lowest, highest
#define SCALES AD_SCALES, -INFINITY, INFINITY
#define UNKNOWN AD_UNKNOWN, -INFINITY, INFINITY

/* The kinks come after one number that is none, as an array is not empty. */
#define AD_UNARY(NAME, name, formula, lo, hi, p, use, kinks, ...)                                                      \
    static const double name##_kinks[] = { NAN, LIST kinks };
#include "autodiff/ops.def"

static const ad_op_facts facts[] = {
#define AD_UNARY(NAME, name, formula, lo, hi, p, use, kinks, breaks, at_zero, parity, degree, domain, growth, form,    \
                 derivative)                                                                                           \
    {                                                                                                                  \
        formula,                                                                                                       \
        lo,                                                                                                            \
        hi,                                                                                                            \
        p,                                                                                                             \
        use,                                                                                                           \
        AD_##breaks,                                                                                                   \
        sizeof name##_kinks / sizeof(double) - 1,                                                                      \
        name##_kinks + 1,                                                                                              \
        at_zero,                                                                                                       \
        AD_##parity,                                                                                                   \
        AD_##domain,                                                                                                   \
        growth                                                                                                         \
    },
#include "autodiff/ops.def"
};

const ad_op_facts *ad_op_facts_of(ad_op op)
{
    return ad_is_unary(op) ? &facts[op] : NULL;
}

double ad_op_degree(ad_op op, double p)
{
    switch (op) {
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, ...)                 \
    case AD_##NAME:                                                                                                    \
        return degree;
#include "autodiff/ops.def"
    default:
        return NAN;
    }
}
