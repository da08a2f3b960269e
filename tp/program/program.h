/* program.h: what a program is, for the rooms above; its lines; what the width sees of a node. */
#ifndef LIMN_TP_PROGRAM_PROGRAM_H
#define LIMN_TP_PROGRAM_PROGRAM_H
#include "tp/program/growth.h"
#include "tp/tp.h"

typedef enum { TP_INPUT, TP_TRSP, TP_MATMUL, TP_LINCOMB, TP_NONLIN, TP_MOMENT, TP_OUTPUT, TP_WIDTH } tp_rule;
enum { TP_RULES = TP_WIDTH + 1 };
const char *tp_rule_name(tp_rule);
/* What a message calls a node: a parameter or an input by the name that the user gave it, else the op. */
const char *tp_node_name(const ad_node *node);

/* One line of the program. The texts are UTF-8 (or LaTeX) and live in an arena. */
typedef struct {
    tp_rule rule;
    bool backward;
    const char *name;   /* what it defines: "h2" */
    const char *text;   /* of what: "W2 x1"; for an input what it is made of: "dense2.weight/√n" */
    const char *type;   /* "A(n, n)", "G(n)", "H(n)" or "scalar" */
    const char *law;    /* an input's distribution, "N(0, 2/n)"; else empty */
    const char *factor; /* what the traced quantity is this times, "1/√n"; empty for 1 */
    int node;           /* the traced quantity, which is c n^power times what the line defines */
    double c, power;
    ad_where where; /* file NULL: none is printed */
} tp_line;

/* The trace that is translated: the output f (batch, outputs), and the sites that the backward pass from a delta over
 * (outputs', outputs) found; where samples meet, as in batch normalisation, over (batch', batch), too. Nodes below
 * `forward` are the forward pass. */
struct tp_program {
    nn_net *net;
    ad_graph *graph;
    ad_var output;
    ad_axis seed;     /* outputs' */
    bool coupled;     /* parameters act on sums over a sample's whole batch */
    bool meets;       /* f of a sample depends on its whole batch, if through data alone */
    ad_axis sample;   /* batch', if coupled */
    bool independent; /* its outputs are shown to be: tp_outputs_independent */
    int forward;
    ad_site *sites;
    int n_sites;              /* of parameters that learn; */
    int n_readouts;           /* and after these, of frozen readouts, which an NNGP kernel has a part of */
    bool frozen;              /* a parameter does not learn */
    const ad_site *all_sites; /* also those that a view of the program leaves out */
    int n_all_sites;
    int probe; /* of a program of a vector: the parameter that reads it out, which has no part in its NTK; else -1 */

    ad_arena *arena;
    int n_nodes;   /* what follows is by node, of those that there were when the program was made */
    bool *lives;   /* the output or a site depends on it */
    bool *learns;  /* depends on a parameter */
    bool *data;    /* made of the input, without parameters, without n and without an axis of a width */
    int *widths;   /* how many width axes it has */
    int *params;   /* the parameter that it is, renamed perhaps; -1 if it is none */
    double *keeps; /* the probability to keep of the dropout whose masks it is the input of; 0: it is no mask */
    bool masked;   /* there are such: of a fit's step */
    int *adjoint;  /* of a forward node: the node that holds its adjoint, -1 if there is none */
    /* The same network, in which smooth functions of what vanishes by a power of n are polynomials in it (expansion.c):
     * of the least degree whose rest is shown to vanish beside a kernel that does not cancel, and of a higher one, for
     * one that does; which is NULL where it would be no other, and both are where there is no such function. Kernels
     * are found by these, and belong to them. */
    tp_program *expanded[2];
    bool expands; /* it is such a one */
    bool steps;   /* a view of steps, which make what vanishes at the start, a readout's product, larger */
    /* Of the Jacobian that was asked for last, so that networks of many widths and seeds share its nodes; no graph:
     * none. */
    ad_var from, to, rows;
};

/* A node of the net's graph with two axes, the batch and a width? */
bool tp_is_vector(const nn_net *net, ad_var vector);
/* The network's output, linear in readouts that it multiplies vectors with before the end, with these last
 * (read_out_last.c); others as they are; its id is -1 without memory or with a poisoned graph. */
ad_var tp_read_out_last(ad_var output, ad_axis outputs, ad_axis batch);
/* The network's output in the forms that rules are for (rewrite.c); its id is -1 without memory or with a poisoned
 * graph. */
ad_var tp_rewrite(ad_var output, ad_axis batch);
/* Of a function that stands for what a polynomial leaves out of another one: at most a constant times |x|^order near 0;
 * else -1. */
int tp_left_order(const ad_node *node);
/* Sees whether the outputs are independent; -1: no memory. */
int tp_find_independence(tp_program *, ad_error *);
static inline bool tp_is_width(const ad_graph *graph, ad_axis axis)
{
    return axis.id && ad_axis_kind(graph, axis) == AD_WIDTH;
}
int tp_count_widths(const ad_graph *, const ad_shape *);
/* size(axis)^p, into c n^power */
void tp_times_axis(const ad_graph *graph, ad_axis axis, double p, double *c, double *power);
/* A parameter under renamings, and the names of its axes as the node has them; -1 if the node is none. */
int tp_peel(const ad_graph *, int node, ad_shape *names);
/* A program's `widths` and `params` of the nodes from `from` up to `to`; those before are there. */
void tp_measure(const ad_graph *, int from, int to, int *widths, int *params);
/* -1 where a number that stays random at n = infinity meets another, a nonlinear function, or (NTK) what has a site: a
 * random kernel. */
int tp_check_fluctuations(const tp_program *, tp_kernel_kind, ad_error *error);
/* A power of n that the first output's kernel does not exceed, from the trace alone (power_bound.c); INFINITY where
 * none is shown. */
double tp_power_bound(const tp_program *, tp_kernel_kind);
/* Which nodes are left out of the kernel because a power of n in the trace makes them vanish beside its term of
 * n^*floor, or, which *floor is then, the power that it does not exceed (vanishing.c); left_out: by node. *largest: the
 * largest power of a kernel's part that is left out, by polynomials in place of functions as well, -INFINITY where
 * there is none. -1 with an error where a function that is not continuous at 0 has such an argument. */
int tp_find_vanishing(const tp_program *, tp_kernel_kind, double *floor, bool *left_out, double *largest,
                      ad_error *error);
/* The same of a view of steps that change the outputs by order one (tp_view_training): beside these, and beside the
 * outputs. */
int tp_find_vanishing_steps(const tp_program *view, bool *left_out, ad_error *error);
/* A number as one writes it in LaTeX: 10^{-5}, \tfrac{1}{784}, 0.25; else with six digits. */
enum { TP_NUMBER_TEXT = 64 };
const char *tp_number_latex(double x, char text[TP_NUMBER_TEXT]);
/* Text in math mode, with places where TeX may break it, and a source's place in text mode. */
void tp_put_math(const char *math, FILE *stream);
bool tp_has_index(const char *math); /* does it end with an index? */
void tp_put_place(const ad_where *where, FILE *stream);
/* Places on fixed axes (places.c): "rows" of "rows*30"; "2 rows+offset−1", sums of multiples of names. In the arena;
 * NULL without memory. */
const char *tp_position_name(ad_arena *, const ad_graph *, ad_axis axis);
typedef struct {
    const char *name;
    ptrdiff_t times; /* not 0 */
} tp_affine_part;
const char *tp_affine_text(ad_arena *, bool latex, const tp_affine_part *parts, int n, ptrdiff_t shift);
/* The first op that jumps, has a pole or asks for the largest, and that averages over the width reach: where their
 * limit is there, their fluctuations decide. -1: there is none. */
int tp_find_suspect(const tp_program *);
/* The last part of a path, for a line's place in the source. */
const char *tp_short_file(const char *path);
bool tp_bp_like(const tp_checks *);
/* -1 where a matrix that starts orthogonal has not the limit of a Gaussian one: it is used more than once, or the
 * program is not BP-like. */
int tp_check_orthogonal(const tp_program *, ad_error *error);
/* -1 where one is between widths of different size: only if its limit is a Gaussian one's there is a rule. */
int tp_check_square(const tp_program *, ad_error *error);
/* The same net's program of other vectors of its graph, which may have grown since: all nodes are its forward pass, and
 * the vectors are kept as the deltas of its sites. The caller frees view->arena; -1 with an error that names op, file
 * and line where one has no rule. */
int tp_view_of(const tp_program *, const ad_var *vectors, int n, tp_program *view, ad_error *error);
/* The program with the backward pass from an input, the cotangent (batch, outputs), in place of every output's own: its
 * sites are of parameters that learn, without axes of the cotangent's own. By parameter its gradient, with its axes; id
 * -1: of a matrix, which is not formed, or where the output does not depend on it. Samples must not meet. The graph
 * grows by it. */
typedef struct {
    tp_program program;
    ad_var cotangent, *gradients;
    ad_arena *memory;
} tp_training_view;
int tp_view_training(const tp_program *, tp_training_view *view, ad_error *error);
void tp_training_view_free(tp_training_view *view);
/* A contraction or sum over a width axis that leaves no width: an average, or a readout's product. */
bool tp_is_average(const ad_graph *, int node);
/* The lines of the program as text of a style; NULL with an error. */
const tp_line *tp_lines(const tp_program *, ad_arena *, tp_style style, int *n, ad_error *error);
/* By node what the lines in the paper's notation write for it: a name, or an expression that its user takes in; NULL
 * with an error. */
const char *const *tp_node_texts(const tp_program *, ad_arena *, ad_error *error);
/* The line of the forward pass that defines the vector (batch, width) of that name in the paper's notation; NULL with
 * an error that lists the names. */
const tp_line *tp_line_named(const tp_program *, ad_arena *, const char *name, ad_error *error);
/* The lines alone, in the paper's notation or as LaTeX. */
void tp_print_lines(const tp_line *lines, int n, FILE *stream, tp_style style);
/* The lines as a JSON array; NULL when memory is out. */
struct cJSON *tp_lines_json(const tp_line *lines, int n);
#endif
