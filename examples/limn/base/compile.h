/* compile.h: a network in a C file of its own. */
#ifndef LIMN_EXAMPLES_LIMN_BASE_COMPILE_H
#define LIMN_EXAMPLES_LIMN_BASE_COMPILE_H
#include "limn.h"

/* What tracing may take. */
typedef struct {
    double seconds;
    long nodes;
} guard_bounds;

/* Compiles a C file against the headers of this limn, with $CC or cc, and loads its limn_network (nn/entry.h);
 * *input is its limn_input. What the compiler says goes to standard error. One file a run, whose path must outlive it:
 * from here on it is guarded, as guard.c says. */
nn_function compile_network(const char *path, const guard_bounds *bounds, nn_input_kind *input, ad_error *error);

/* ---- guard.c: of the process's one network in a C file ---- */
/* From begin to end the file's code runs, "at being loaded" or "at tracing", within the bounds; where that dies, ends
 * the process or does not come back, limn says so and ends with 1. After it, too, but for the bounds. */
void guard_begin(const char *path, const char *doing, const guard_bounds *bounds);
void guard_end(void);
void guard_code(void *address);                           /* the file's code is what was loaded with this address */
void guard_graph(const ad_graph *graph);                  /* what is traced; looked at until guard_end */
void guard_litter(const char *object, const char *place); /* a file and its folder, to be removed if it dies before
                                                             guard_end */
#endif
