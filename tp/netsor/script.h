/* script.h: the inside of a program written by hand, for the files of this folder. */
#ifndef LIMN_TP_NETSOR_SCRIPT_H
#define LIMN_TP_NETSOR_SCRIPT_H
#include "tp/netsor.h"
#include "tp/program/program.h"

/* ---- expressions (expression.c) ---- */
typedef enum {
    TP_E_NUMBER, /* c */
    TP_E_N,      /* n^c */
    TP_E_NAME,   /* a variable */
    TP_E_CALL,   /* text(args) */
    TP_E_ADD,
    TP_E_SUB,
    TP_E_NEG,
    TP_E_TIMES, /* by a space: a number or a scalar times something */
    TP_E_ODOT,  /* entry by entry */
    TP_E_OVER,
    TP_E_BRACKET, /* kept, so that a text is printed as it was */
    TP_E_AVERAGE, /* <a> or <a, b> */
    TP_E_SUM      /* over fixed axes, named by text */
} tp_expr_kind;

typedef struct tp_expr {
    tp_expr_kind kind;
    double c;
    const char *text; /* of a number or name as it was written */
    int var;          /* of a name: which command made it; -1 before it is looked up */
    int n, height; /* height: of the tree below, 0 of a leaf; it is bounded, so that trees may be walked by recursion */
    struct tp_expr *args[];
} tp_expr;

/* Where a text is read; `end` is its first byte that does not belong to what was read. */
typedef struct {
    ad_arena *arena;
    const char *start, *at;
    char message[200]; /* what is wrong, with the offending token; empty if nothing is */
} tp_reader;
tp_expr *tp_expr_read(tp_reader *reader); /* NULL: the message says why */
/* As text or LaTeX, in the arena; NULL when memory is out. */
const char *tp_expr_text(ad_arena *, const tp_expr *, bool latex);
const char *tp_name_text(ad_arena *, const char *name, bool latex);
void tp_skip_spaces(tp_reader *reader);
bool tp_take(tp_reader *reader, const char *symbol); /* if it stands there */
const char *tp_take_name(tp_reader *reader);         /* NULL if none stands there */
bool tp_take_number(tp_reader *reader, double *value, const char **text);
tp_expr *tp_refused(tp_reader *reader, const char *wanted);

/* ---- commands (script.c) ---- */
typedef struct {
    const char *name;
    double ratio;
    int line; /* of the Width command that gives it; 0: none */
} tp_script_width;

typedef struct {
    int with; /* command of the other vector */
    double value;
    const char *text;
} tp_script_covariance;

typedef struct {
    tp_rule rule;
    bool backward;
    char type;         /* 'A', 'G', 'H', 's'; 'f' an output, 'n' a width */
    int width, width2; /* of a vector; rows and columns of a matrix */
    const char *name, *origin, *factor;
    tp_expr *body;
    int matrix, vector;               /* of MatMul; of Trsp: matrix */
    bool transposed;                  /* a matrix that is another's transpose: `matrix` */
    double mean, variance;            /* of an input; of a matrix times its columns' width */
    const char *mean_text, *law_text; /* as they were written */
    const char *gram_x, *gram_y;      /* variance is times <x, y>, of data */
    const char *origin_vector;        /* the parameter that is multiplied with the data */
    tp_script_covariance *covariances;
    int n_covariances;
    ad_where where; /* what is printed: the line of the text, or of the C code, or what the text says it is */
    int line;       /* of the text, or of the C file */
} tp_command;

struct tp_script {
    ad_arena *arena;
    ad_error error;
    const char *file;          /* of the text; NULL: made by calls */
    const char *title, *notes; /* the first line and the last ones of a printed network's text; may be NULL */
    tp_command *commands;
    int n, capacity;
    tp_script_width *widths;
    int n_widths, widths_capacity;
    const ad_function **functions;
    int n_functions, functions_capacity;
};

int tp_script_fail(tp_script *, int line, const char *name, const char *format, ...) AD_PRINTF(4, 5);
int tp_script_width_named(tp_script *, const char *name);
int tp_script_find(const tp_script *, const char *name); /* -1 */
/* Adds a command that is filled in but for types: looks up names and checks types. Its number, -1. */
int tp_script_add(tp_script *, const tp_command *command);
tp_expr *tp_script_expression(tp_script *, int line, const char *name, const char *text);
const ad_function *tp_script_custom(const tp_script *, const char *name, int *order);
/* The parameter of leaky and power is their second argument. */
bool tp_takes_parameter(int op);
/* An input that stands for one vector a feature: what is multiplied with data. It has no value of its own. */
bool tp_script_is_family(const tp_script *, int k);

/* ---- checks (conditions.c) ---- */
/* Covariances of all inputs over one width: (count, count), and which commands; NULL with an error, also if they are no
 * covariance. */
double *tp_script_inputs(const tp_script *, const tp_solve_spec *, int width, int *which, int *count, ad_error *error);
/* Is the program BP-like? 1, 0 with the reason, -1 error. */
int tp_script_bp_like(const tp_script *, char *why, size_t size, ad_error *error);
/* Poles, and functions that grow too fast for the Master theorem, are errors. */
int tp_script_growth(const tp_script *, ad_error *error);
/* Is k an input of mean zero, independent of all others, that `of` does not depend on? fed: zeros, by command. */
bool tp_script_independent(const tp_script *, int k, int of, bool *fed);

/* ---- sampling (sampled.c) ---- */
/* One run: `values` gets each command's mean and second moment, (n, 2), `products`, unless it is NULL, the means of
 * products of two vectors over the same width, both of type G: (n, n). finite: at n = size with matrices; else by the
 * executor on size samples. */
int tp_script_run(const tp_script *, const tp_solve_spec *, bool finite, size_t size, uint64_t seed, double *values,
                  double *products, ad_error *error);

/* ---- exact values (exact.c) ---- */
/* The same numbers by the Master theorem, NAN where there is no exact way. general: with Z dot; *dot: there was
 * some. */
int tp_script_exact(const tp_script *, const tp_solve_spec *, bool general, double *values, double *products, bool *dot,
                    ad_error *error);
#endif
