/* spectrum.h: private to the command spectrum: what it found. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_SPECTRUM_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_SPECTRUM_H
#include "examples/limn/base/base.h"

enum { SPECTRUM_WIDTHS = 3 };
typedef struct {
    const options *o;
    tp_spectrum limit;
    /* Networks at --width and at a half and a quarter of it; 0: none. Squares of all seeds of the widest, ascending. */
    int n_widths, seeds;
    size_t widths[SPECTRUM_WIDTHS];
    double distances[SPECTRUM_WIDTHS];                                /* Kolmogorov's, where the limit has a law */
    double moments[TP_SPECTRUM_MOMENTS], errors[TP_SPECTRUM_MOMENTS]; /* of the widest: mean, standard error */
    double *squares;
    size_t n_squares;
} spectrum_result;

/* --out, by its ending: .npy (points, 4), .csv or .svg. */
int spectrum_write(const spectrum_result *r, ad_error *error);
/* A file of a text, whole or not at all. */
int spectrum_write_text(const char *path, const char *text, ad_error *error);
/* --degrees. */
int spectrum_degrees(const options *o, tp_program *program, ad_error *error);
/* --critical. */
int spectrum_critical(const options *o, tp_program *program, const double *x, ad_error *error);
/* Is the ending one of them? */
bool spectrum_writes(const char *path);
#endif
