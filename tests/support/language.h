/* language.h: random networks of the whole language, each a function of its seed: every row of the op table, on every
 * kind of argument. Written in several ways that must not matter. */
#ifndef LIMN_TESTS_LANGUAGE_H
#define LIMN_TESTS_LANGUAGE_H
#include "limn.h"

/* How the same network is written. */
typedef enum {
    LANGUAGE_PLAIN,
    LANGUAGE_SWAPPED,     /* b + a and b a for a + b and a b */
    LANGUAGE_DISTRIBUTED, /* a b + a c for a (b + c), W a + W b for W (a + b) */
    LANGUAGE_STEPS,       /* factors in two steps, one of them a product with a constant */
    LANGUAGE_COMPOSED,    /* relu(x) = (x + |x|)/2, softplus(x) = log(1 + e^x) and the like */
    LANGUAGE_UNDONE,      /* vectors times n^p and n^-p */
    LANGUAGE_ONES,        /* constants are multiples of the data's last feature, which is 1 */
    LANGUAGE_WEIGHTED,    /* each output is 0.6 of the first and -1.3 of the second */
    LANGUAGE_EVEN,        /* parameters of even number alone learn */
    LANGUAGE_ODD,         /* parameters of odd number alone learn */
    LANGUAGE_ALL,         /* every parameter learns */
    LANGUAGE_STYLES
} language_style;
extern const char *const language_style_names[LANGUAGE_STYLES];

enum { LANGUAGE_ROWS = 3, LANGUAGE_FEATURES = 6 };
/* Seeds from here draw all kinds of arguments alike, so that rare pairs of them meet; those below, as networks do. */
enum { LANGUAGE_EVEN_KINDS = 100000 };
/* Seeds from here have windows along positions, and zeros around them, as well; odd ones are of the latter kind. */
enum { LANGUAGE_WINDOWS = 500000000 };
/* Inputs for it, (LANGUAGE_ROWS, LANGUAGE_FEATURES): first a token 0, 1 or 2, then four numbers of all sizes, then 1.
 */
void language_inputs(double *x);

/* Traces the network of a seed; NULL with an error. */
nn_net *language_trace(uint64_t seed, language_style style, ad_error *error);
/* What it is, in the order of its trace, and in what words it differs from a plain one. Of the network traced last. */
const char *language_story(void);

/* ---- what a network has met ---- */
/* What an argument is made of. */
typedef enum {
    OF_NOTHING,  /* a leaf has no argument */
    OF_DATA,     /* the input, without parameters */
    OF_CONSTANT, /* neither input nor parameters */
    OF_PARAM,    /* a parameter, renamed, picked or scaled */
    OF_WEIGHTS,  /* another function of parameters alone, over the width */
    OF_VECTOR,   /* of input and parameters, over the width */
    OF_AVERAGE,  /* of parameters, without a width: what averages give */
    OF_OUTPUT,   /* likewise, and a parameter without mean is contracted over the width on the way */
    LANGUAGE_KINDS
} language_kind;
extern const char *const language_kind_names[LANGUAGE_KINDS];

/* seen[op][kind of the first argument][kind of the last one]; an op of one argument has it as its first and last. */
typedef struct {
    bool seen[AD_N_OPS][LANGUAGE_KINDS][LANGUAGE_KINDS];
} language_cells;
void language_read(const nn_net *net, language_cells *cells);
/* Is the cell one that a network function can reach by builders? */
bool language_reaches(ad_op op, language_kind first, language_kind last);
#endif
