/* writer.h: the inside of the program's lines: lines.c goes node by node, laws.c has the inputs and their laws, names.c
 * factors, names and the lines themselves. */
#ifndef LIMN_TP_PROGRAM_WRITER_H
#define LIMN_TP_PROGRAM_WRITER_H
#include "tp/program/program.h"

typedef enum { NO_TYPE, A_VAR, G_VAR, H_VAR, SCALAR } var_type;
enum { SUM_LEVEL, PRODUCT_LEVEL, ATOM_LEVEL, MOST_LETTERS = 16 };

/* A node as factor * base. */
typedef struct {
    double c, power; /* factor c n^power */
    const char *text;
    int level;
    var_type type;
    bool named;
} tp_line_term;

typedef struct {
    const tp_program *program;
    const ad_graph *graph;
    ad_arena *arena;
    bool latex, full;    /* full: memory is out */
    tp_line_term *terms; /* by node */
    int *uses;
    int *number;             /* by parameter: among those that are counted with it, from 1 */
    int alike[8];            /* parameters of each letter */
    bool *added;             /* by node: a sum takes it in */
    bool *force;             /* a name is wanted: an argument of a product, a site, an adjoint */
    const char **adjoint_of; /* by backward node: the name it is the adjoint of */
    const char *letters[MOST_LETTERS];
    int counts[MOST_LETTERS];
    const char **taken; /* the names of lines, and those that adjoints will have: a hash table, NULL where it is free */
    size_t n_taken, n_slots; /* a power of two of them, or 0 */
    tp_line *lines;
    int n_lines, capacity;
    tp_line nowhere; /* what is written to when memory is out */
} tp_writer;

/* Text in the arena; empty, with `full`, when memory is out. */
const char *tp_writer_text(tp_writer *w, const char *format, ...) AD_PRINTF(2, 3);
bool tp_is_near(double a, double b);
const char *tp_number_text(tp_writer *w, double c);
const char *tp_coefficient_text(tp_writer *w, double c, double power); /* c n^power; empty for 1 */
const char *tp_times_text(tp_writer *w, double c, double power, const char *what);
const char *tp_in_brackets(tp_writer *w, const char *inside);
/* The whole, factor and base, at least at this level; and the base alone, as a factor of a product. */
const char *tp_whole_text(tp_writer *w, const tp_line_term *t, int level);
const char *tp_base_text(tp_writer *w, const tp_line_term *t);
/* No line will be called so of itself. */
void tp_take_name_of(tp_writer *w, const char *name);
const char *tp_numbered_name(tp_writer *w, const char *letter, int number);
/* What LaTeX takes for itself is escaped: a name of the user's. */
const char *tp_plain_name(tp_writer *w, const char *name);
const char *tp_type_text(tp_writer *w, const tp_line_term *t, const ad_shape *shape);
tp_line *tp_add_line(tp_writer *w, tp_rule rule, int node, const char *name, const char *right, const char *type);
/* Gives the term a line of its own. The name of a backward vector comes from what it is the adjoint of. */
void tp_name_term(tp_writer *w, int id, tp_line_term *t, tp_rule rule);

/* places.c: where windows of a vector lie, "[rows+offset−1]", and the node of the vector; NULL: it is not windows of
 * one. */
const char *tp_place_text(tp_writer *w, int id, int *below);

/* Fills in `number` and `alike`, before the first parameter is written. */
void tp_count_parameters(tp_writer *w);
/* The parameter is factor * (its variable): an A-var N(0, sigma^2 / n), else a G-var with variance of order one. */
void tp_write_parameter(tp_writer *w, int id, tp_line_term *t);
/* U x of data: an input G-var, whose covariance is the data's. A fan-in of 784 in its multiplier shows as such. */
void tp_write_input(tp_writer *w, int id, tp_line_term *t, const ad_init *init, const char *data);
#endif
