/* truth.h: networks whose limits are recursed here by hand, in 77 digits and without limn, on inputs that are hard to
 * tell apart: what limn says of its own error is held against them. A case is a function of its seed. */
#ifndef LIMN_TESTS_TRUTH_H
#define LIMN_TESTS_TRUTH_H
#include "tests/support/moments.h"

/* mlp: depth times a dense layer and f, then a readout. residual: h + W f(h) instead of W f(h). layernorm: before each
 * f. gate: after the mlp's layers two more dense layers, f of one times f of another. mean and difference: of the
 * mlp's outputs at several rows of one input, one minus the other for two. standard: the mlp in standard scale, whose
 * NTK has two powers of n. rnn: one layer, read out at its last step or by the mean of its states. Deep: the mlp,
 * layernorm and residual of 30 to 100 layers, of 8 to 16 where expectations have no closed form, and rnn of 8 to 40
 * steps. */
#define TRUTH_KINDS(X)                                                                                                 \
    X(MLP, "mlp")                                                                                                      \
    X(RESIDUAL, "residual")                                                                                            \
    X(LAYERNORM, "layernorm")                                                                                          \
    X(GATE, "gate")                                                                                                    \
    X(MEAN, "mean of outputs") X(DIFFERENCE, "f(x) - f(x')") X(STANDARD, "standard scale") X(RNN, "rnn")               \
        X(TWO_SETS, "two sets") X(DEEP, "deep mlp") X(DEEP_LAYERNORM, "deep layernorm") X(LONG, "long rnn")            \
            X(DEEP_RESIDUAL, "deep residual")
#define TRUTH_KIND(NAME, text) TRUTH_##NAME,
typedef enum { TRUTH_KINDS(TRUTH_KIND) N_TRUTH_KINDS } truth_kind;
#undef TRUTH_KIND
const char *truth_kind_name(truth_kind kind);

enum { TRUTH_ROWS = 6, TRUTH_POINTS = 80, TRUTH_FEATURES = 4, TRUTH_POWERS = 2 };
typedef struct {
    truth_kind kind;
    int depth, rows, rows2, steps, features; /* rows2: of the second set, or 0; steps: rows of one input */
    const activation *f;
    double sigma_w, sigma_b;
    bool norm, residual, recurrent, bias, multiplier, mean; /* mean: the rnn's readout */
    const char *inputs;                                     /* what is hard about them */
    double x[TRUTH_POINTS * TRUTH_FEATURES];                /* (rows + rows2, steps, features) */
} truth_case;
truth_case truth_case_of(uint64_t seed);
truth_case truth_deep_case_of(uint64_t seed);
/* The same, of the kind and the function given; the other choices are the seed's. */
truth_case truth_case_with(uint64_t seed, truth_kind kind, const activation *f);
void truth_tell(const truth_case *c, char *text, size_t size);
nn_net *truth_trace(const truth_case *c, ad_error *error);

/* Kernels between all of the rows, (rows + rows2, rows + rows2): the NNGP kernel, and the NTK's terms n^0 and n^1. A
 * row is lost where outputs cancel in so many digits that less than 17 of these are left. */
typedef struct {
    int n;
    real nngp[TRUTH_ROWS][TRUTH_ROWS], ntk[TRUTH_POWERS][TRUTH_ROWS][TRUTH_ROWS];
    bool lost[TRUTH_ROWS];
} truth_kernels;
void truth_solve(const truth_case *c, truth_kernels *kernels);

/* ---- what limn says of its error ---- */
typedef struct {
    double stated, error; /* the largest |K - truth| / sqrt(K_ii K_jj) of the entries; differences below the smallest
                             normal double are none, and an entry that is no number is off by INFINITY */
    bool refused;         /* limn gives no kernel, and says why */
    char text[1000];      /* why, or which entry is furthest off */
} truth_outcome;
/* The exact engine's kernel of a case: 0, or -1 with an error where something other than the limit fails. */
int truth_compare(const truth_case *c, const truth_kernels *kernels, tp_kernel_kind which, truth_outcome *outcome,
                  ad_error *error);
#endif
