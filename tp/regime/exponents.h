/* exponents.h: private: sizes of the nodes of a program's trace at a width. */
#ifndef LIMN_TP_REGIME_EXPONENTS_H
#define LIMN_TP_REGIME_EXPONENTS_H
#include "tp/regime.h"
#include "tp/regime/curves.h"

/* Whose coordinates vanish but where vectors with a narrow function of them are near 0 (strips.c): a set of strips, one
 * of each such vector. */
typedef uint64_t tp_strips; /* (words) */

/* A part c t of a sum, t a node; with axes `over`, c sum t over these, or, of a family, c (t - mean t) over them. c is
 * times powers of the sizes of the axes `sized`. */
typedef struct {
    int id, family; /* -1: none */
    ad_shape over, sized;
    double c, powers[AD_MAX_RANK];
} tp_term;

/* What is left of a sum of which terms cancel; of none it is 0. */
typedef struct {
    const tp_term *terms; /* TP_MOST_TERMS at most */
    int n, factor;        /* all of it is times that node, or divided by it; -1: none */
    bool divides;
} tp_cancelled;
enum { TP_FAMILIES = 16, TP_MOST_TERMS = 16, TP_MOST_PARTS = 5 };

/* Of a vector whose coordinates have signs of their own but for a part of them (mixed.c): the parts, of which the first
 * has none. */
typedef struct {
    int n;
    uint64_t *own;                    /* (n, signs): in entries of which a part's coordinates are odd */
    int side;                         /* of a product: the factor that the parts are taken over from */
    signed char to[2][TP_MOST_PARTS]; /* by operand and by part of that: which part it goes to */
    double start[TP_MOST_PARTS], change[TP_MOST_PARTS]; /* sizes; changes are those by numbers */
} tp_mixed;
typedef enum { TP_AT_START, TP_CHANGED_BY, TP_NOW } tp_when;
/* Of a sum over widths, what leads as n grows: what cancels, or the rest of its terms, or all of them alike. */
typedef enum { TP_CENTRED, TP_REST, TP_WHOLE } tp_split;

/* What stands in the place of the same of tp_exponents for changes by numbers. */
typedef struct {
    double *inside, *outside, *none, *varying_change[TP_FAMILIES]; /* its change is by_numbers; none: -INFINITY */
    tp_strips *moved;
} tp_numbered;

/* The logs of what the nodes of a program are in size at a width n. A power of n is what is left of them, divided by
 * log n, as n grows: at log n = TP_FAR constants are below what a double holds. */
#define TP_FAR 1e15
typedef struct {
    const tp_program *program;
    const bool *centred;     /* by node: a symmetry of the draws shows that its coordinates cancel along widths */
    uint64_t *own, *unmoved; /* (nodes, signs): the parameters of which its coordinates are odd in entries of their own,
                                and those whose signs do not change it (symmetry.c) */
    size_t signs;            /* in words */
    tp_mixed **mixed;        /* by node; NULL: all its coordinates have signs of their own, or none has */
    tp_split *split, *split_total, *split_change; /* by node: of a sum over widths, of that of all its coordinates, and
                                                     of a sum's small change by numbers, the last that leads for one */
    const double *initial;     /* by node: what all its coordinates start at, NAN: no one number (initial.c) */
    const int *first;          /* by node: the first that is the same function of the same nodes, */
    const int *first_at_start; /* and at the start, with what initial has */
    ad_shape *same;            /* by node: those of its axes along which it is the same, whatever the parameters are */
    const tp_cancelled **cancelled;          /* by node: NULL: no terms of it cancel (cancelled.c) */
    const tp_cancelled **cancelled_at_start; /* by node: NULL: no more than these do at the start */
    ad_shape families[TP_FAMILIES];          /* axes over which a mean is taken off, */
    int n_families;
    double *varying[TP_FAMILIES], *varying_change[TP_FAMILIES]; /* and by node the part of start and of change that a
                                                                   mean over them leaves, x - mean x (varying.c); */
    double *bend[TP_FAMILIES];                                  /* of a function, that of its slope */
    tp_curves curves;
    int *strip;                /* by node: the strip around its 0, -1: none; */
    const tp_curve **of_strip; /* by strip: the function that vanishes outside, */
    double *rarity;            /* by strip: the log of 1 / the share of coordinates that is in it */
    size_t n_strips, words;
    double log_n, inputs;      /* inputs: log of their root mean square */
    double *start;             /* by node: of a coordinate at the start, in the root mean square, */
    double *gain;              /* of its slope by its argument, where it is a function, */
    double *change;            /* and of its change: */
    double *inside, *outside;  /* of the part of it within the strips of `moved`, and of the rest */
    double *by_numbers;        /* by node: the part of its change that is by numbers, */
    tp_numbered *numbered;     /* which is found beside the rest; */
    bool numbers;              /* changes are those: no coordinate of them knows what it meets */
    tp_strips *narrow, *moved; /* by node (words): the strips of start and of change */
    tp_strips *settled;        /* those of start as n grows, for all widths; NULL: to be found */
    double *front;             /* by parameter's node: in front of omega beyond the trace's */
    double *spread;            /* by parameter's node: of omega at the start, */
    double *drawn;             /* and of its deviation alone */
    double *update;            /* by parameter's node: of omega's change, where its strips are; -INFINITY: none; */
    double *others;            /* by parameter's node: of what else is in its change, without strips */
    tp_strips *rows[2];        /* and these, along each of its axes of a width */
    tp_strips *work;           /* (2, words) */
    int met;                   /* what the use met that the updates are of; -1: of all uses */
    double overlap;            /* the log of what a use that met other data does, as a share */
    bool linear;               /* changes are small beside what they change, whatever their sizes are */
    bool by_drawn; /* and are by what initial has no number of: what cancels at the start, cancels in them */
} tp_exponents;

/* exponents.c. Fills in start, gain and narrow of all nodes that live. */
void tp_exponents_start(const tp_exponents *e);
/* Fills in change and moved of all nodes that live, from update and rows; and by_numbers, what parameters without a
 * width change and all numbers that the network computes, as a normalisation's deviation or attention's weights: they
 * multiply what was there, of which sums that cancelled still do. What they change is not in change. */
void tp_exponents_change(const tp_exponents *e);
/* log of the share of an update that reaches a use that meets `other`: 0, but between different data. */
double tp_exponent_reach(const tp_exponents *e, int other);
/* sizes.c. The size of a coordinate now: at the start, or changed. */
double tp_exponent_now(const tp_exponents *e, int node);
/* log sqrt(e^2a + e^2b): of a sum of what is independent; as n grows that of the larger. */
double tp_exponent_sum(double a, double b);

/* log of size(axis)^p. */
double tp_exponent_of_axis(const tp_exponents *e, ad_axis axis, double p);

/* log of |c| size(axis)^p, of a scale; of the number of entries along the fixed axes among these. */
double tp_exponent_of_scale(const tp_exponents *e, const ad_node *node);
double tp_exponent_of_fixed(const ad_graph *graph, const ad_shape *over);

/* Has the op's result its operand's size but for a constant or a power of n? */
static inline bool tp_renames(ad_op op)
{
    return op == AD_IDENTITY || op == AD_EXPAND || op == AD_RELABEL || op == AD_TRANSPOSE || op == AD_NEG ||
           op == AD_SCALE;
}
/* The node that this one is under other names. */
static inline int tp_renamed(const ad_graph *graph, int id)
{
    while (tp_renames(ad_node_of(graph, id)->op))
        id = ad_node_of(graph, id)->in[0];
    return id;
}

/* normalised.c: the log of what a node's root mean square does not exceed, as it is a vector divided by its own root
 * mean square; INFINITY: it is none. */
double tp_normalised_bound(const tp_exponents *e, int id);

/* lanes.c: the node, or of a slice of what was put together along its axis that node, */
const ad_node *tp_whole_of(const ad_graph *graph, const ad_node *node);
/* and has the node anything of operand k of that one? */
bool tp_takes_part(const ad_graph *graph, const ad_node *node, int k);
/* Fails where something is divided by vectors of different powers that are together, given start at TP_FAR. */
int tp_check_lanes(const tp_exponents *e, ad_arena *arena, ad_error *error);

/* initial.c: fills in initial; as_traced: no exponents of one's own scale parameters. */
int tp_find_initial(tp_exponents *e, bool as_traced, ad_arena *arena, ad_error *error);

/* alike.c, given initial: fills in first and first_at_start. */
int tp_find_alike(tp_exponents *e, ad_arena *arena, ad_error *error);

/* cancelled.c, given first and first_at_start: fills in same, both of cancelled, and families, and makes room for what
 * there is of these. */
int tp_find_cancelled(tp_exponents *e, ad_arena *arena, ad_error *error);
/* What of a node cancels at the start; NULL: nothing. */
const tp_cancelled *tp_cancelled_at_start(const tp_exponents *e, int id);
/* Is the node the same along the axis, or without it? */
bool tp_same_along(const tp_exponents *e, int id, ad_axis axis);
/* Of a product with factors that are the same along the axes, the factor that is not; else the node. */
int tp_summed_factor(const tp_exponents *e, int id, const ad_shape *over);
/* Do the terms of its sum over these axes cancel all? */
bool tp_sum_is_zero(const tp_exponents *e, int id, const ad_shape *over);

/* varying.c: fills in varying and bend of a node, given all starts up to its own; varying_change, given changes. */
void tp_varying_start(const tp_exponents *e, int id);
void tp_varying_change(const tp_exponents *e, int id);
/* Of a term: its factor; of its sum over axes, beside what is summed, which cancels perhaps; its size at the start. */
double tp_term_scale(const tp_exponents *e, const tp_term *t);
double tp_term_total(const tp_exponents *e, const tp_term *t, bool centred);
double tp_term_start(const tp_exponents *e, const tp_term *t);

/* symmetry.c: fills in own, unmoved and, of n_nodes, centred. */
int tp_find_centred(tp_exponents *e, ad_arena *arena, bool *centred, ad_error *error);
/* Does a sum of the nodes' product over the widths among these axes cancel at the start? */
bool tp_product_centred(const tp_exponents *e, int a, int b, const ad_shape *over);
/* A matrix of two widths, whose entries are independent and of mean 0 at the start? */
bool tp_is_random_matrix(const tp_exponents *e, int id);

bool tp_widths_within(const ad_graph *graph, const ad_shape *part, const ad_shape *whole);
/* Of node's operand k: are the node's coordinates along widths coordinates of its own? */
bool tp_keeps_apart(const tp_exponents *e, const ad_node *node, int k);
/* Is a product that of x and a random matrix, which mixes coordinates whose signs are independent into others whose
 * signs are? */
bool tp_mixes(const tp_exponents *e, int matrix, int x, const ad_node *node);

/* mixed.c, given own and unmoved: fills in mixed, and makes room for split; */
int tp_find_mixed(tp_exponents *e, ad_arena *arena, ad_error *error);
/* sizes of a node's parts, given its own; */
void tp_mixed_start(const tp_exponents *e, int id);
void tp_mixed_change(const tp_exponents *e, int id);
/* of a sum over axes of the product of two nodes (b < 0: of a alone), the size but for what cancels. */
double tp_rest_of_sum(const tp_exponents *e, int a, tp_when when_a, int b, tp_when when_b, const ad_shape *over);
/* A sum of the size `whole` where no terms cancel and `centred` where all do, of which `rest` does not. As n grows
 * *split is set; at a width bounds of the rest, whose constants are loose, count where it leads alone. */
double tp_split_sum(const tp_exponents *e, double whole, double centred, double rest, tp_split *split);

/* arguments.c: marks vectors with a parameter in them that functions are called with, and counts them; -1 without
 * memory. */
int tp_find_arguments(const tp_program *program, bool *arguments, ad_error *error);

/* certain.c: fails where something is divided by what is only known not to be larger, given start at TP_FAR. */
int tp_check_divisors(const tp_exponents *e, ad_arena *arena, ad_error *error);

/* factors.c: of the forward nodes that grow, marks those that products alone take in, none of which grows but as such a
 * factor itself. */
void tp_find_factors(const tp_program *program, const bool *grows, bool *factors);

/* strips.c. Numbers the strips of e->curves, and makes all sets of them. */
int tp_strips_make(tp_exponents *e, ad_arena *arena, ad_error *error);
tp_strips *tp_strips_of(const tp_exponents *e, tp_strips *sets, int node);
void tp_strips_none(const tp_exponents *e, tp_strips *to);
void tp_strips_join(const tp_exponents *e, tp_strips *to, const tp_strips *from);
void tp_strips_meet(const tp_exponents *e, tp_strips *to, const tp_strips *from);
void tp_strips_add(tp_strips *to, int strip);
bool tp_strips_any(const tp_exponents *e, const tp_strips *set);
/* The log of 1 / the share of coordinates that is in all of a set's strips. */
double tp_strips_rarity(const tp_exponents *e, const tp_strips *set);
/* Of a node's own strip, once its start is known. */
void tp_strips_measure(const tp_exponents *e, int node);
#endif
