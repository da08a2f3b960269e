/* spectrum_plot.h: a plot of the singular values of networks over the limit's density, or over an estimate of it. */
#ifndef LIMN_EXAMPLES_LIMN_REPORT_SPECTRUM_PLOT_H
#define LIMN_EXAMPLES_LIMN_REPORT_SPECTRUM_PLOT_H
#include "examples/limn/report/plot.h"
#include "limn.h"

typedef struct {
    const tp_spectrum *limit;
    const double *squares; /* of all seeds at the width, ascending; NULL: none */
    size_t n_squares, width;
    int seeds;
} spectrum_shown;
/* Writes the script between plot_begin and plot_end. Without a law the line is tp_spectrum_estimate's, and its title
 * says so. */
int spectrum_script(plot *p, const spectrum_shown *shown, ad_error *error);
#endif
