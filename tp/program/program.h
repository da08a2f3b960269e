/* program.h: what a program is, for the files of this folder. */
#ifndef LIMN_TP_PROGRAM_H
#define LIMN_TP_PROGRAM_H
#include "tp/tp.h"

typedef enum { TP_INPUT, TP_TRSP, TP_MATMUL, TP_LINCOMB, TP_NONLIN, TP_MOMENT, TP_OUTPUT, TP_WIDTH } tp_rule;
enum { TP_RULES = TP_WIDTH + 1 };
const char *tp_rule_name(tp_rule);

/* One line of the program. The texts are UTF-8 (or LaTeX) and live in an arena. */
typedef struct {
    tp_rule rule;
    bool backward;
    const char *name;   /* what it defines: "h2" */
    const char *text;   /* of what: "W2 x1"; for an input what it is made of: "dense2.weight/√n" */
    const char *type;   /* "A(n, n)", "G(n)", "H(n)" or "scalar" */
    const char *law;    /* an input's distribution, "N(0, 2/n)"; else empty */
    const char *factor; /* what the traced quantity is this times, "1/√n"; empty for 1 */
    ad_where where;     /* file NULL: none is printed */
} tp_line;

/* The trace that is translated: the output f (batch, outputs), and the sites that the backward pass from a delta over
 * (outputs', outputs) found; where samples meet, as in batch normalisation, over (batch', batch), too. Nodes below
 * `forward` are the forward pass. */
struct tp_program {
    nn_net *net;
    ad_graph *graph;
    ad_var output;
    ad_axis seed;   /* outputs' */
    bool coupled;   /* f of a sample depends on its whole batch */
    ad_axis sample; /* batch', if coupled */
    int forward;
    ad_site *sites;
    int n_sites;

    ad_arena *arena;
    int n_nodes;  /* what follows is by node, of those that there were when the program was made */
    bool *lives;  /* the output or a site depends on it */
    bool *learns; /* depends on a parameter */
    int *adjoint; /* of a forward node: the node that holds its adjoint, -1 if there is none */
};

/* The network's output in the forms that rules are for (rewrite.c); its id is -1 without memory or with a poisoned
 * graph. */
ad_var tp_rewrite(ad_var output, ad_axis batch);
int tp_count_widths(const ad_graph *, const ad_shape *);
/* A parameter under renamings, and the names of its axes as the node has them; -1 if the node is none. */
int tp_peel(const ad_graph *, int node, ad_shape *names);
/* -1 where a number that stays random at n = infinity meets what learns, or a nonlinear function: a random kernel. */
int tp_check_fluctuations(const tp_program *, ad_error *error);
bool tp_bp_like(const tp_checks *);
/* A contraction or sum over a width axis that leaves no width: an average, or a readout's product. */
bool tp_is_average(const ad_graph *, int node);
/* The lines of the program as text of a style; NULL with an error. */
const tp_line *tp_lines(const tp_program *, ad_arena *, tp_style style, int *n, ad_error *error);
/* The lines alone, in the paper's notation or as LaTeX. */
void tp_print_lines(const tp_line *lines, int n, FILE *stream, tp_style style);
/* The lines as a JSON array; NULL when memory is out. */
struct cJSON *tp_lines_json(const tp_line *lines, int n);
/* The simple rules of BP-like programs; these whether a gradient meets the forward pass or not, so that they are wrong;
 * the general rule, with Z dot. */
typedef enum { TP_RULES_BP, TP_RULES_BP_UNCHECKED, TP_RULES_GENERAL } tp_rules;
/* The limit by exact expectations: 0; TP_NO_RULE where there is none for something in the program, TP_NOT_BP where the
 * rules are the simple ones and a gradient meets the forward pass, -1 on other errors. */
enum { TP_NO_RULE = -2, TP_NOT_BP = -3 };
int tp_limit_exact(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                   const tp_limit_spec *, tp_rules, tp_kernel *, ad_error *error);
/* The same of a program whose samples meet, by the simple rules: all of x is one batch, all of x2 another. */
int tp_limit_coupled(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *, tp_kernel *, ad_error *error);
/* -1 where the program's kernel is found to grow, or to be random, in the limit. */
int tp_check_limit(const tp_program *, tp_kernel_kind, ad_error *error);
int tp_check_rows(const tp_program *, const double *x, size_t rows, const char *which, ad_error *error);
/* One run of the executor at n = infinity, on so many samples: the kernel at n = samples, (rows, rows2), of the first
 * output. Both inputs are run as one batch, or as two batches if samples meet. */
int tp_sample_once(const tp_program *, tp_kernel_kind, size_t samples, uint64_t seed, int threads, const double *x,
                   size_t rows, const double *x2, size_t rows2, double *out, ad_error *error);
#endif
