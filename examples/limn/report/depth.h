/* depth.h: what depth does to signals and gradients, for the page. */
#ifndef LIMN_EXAMPLES_LIMN_REPORT_DEPTH_H
#define LIMN_EXAMPLES_LIMN_REPORT_DEPTH_H
#include "examples/limn/report/report.h"

/* Of preactivations: variance at the first input and correlation with the second, in the limit and in one network; the
 * layer's slopes; the Jacobian from the first to the last of them. */
typedef struct report_depth {
    int n;
    struct {
        double q, c, measured_q, measured_c;
    } layers[MAX_LAYERS];
    bool has_critical, has_spectrum;
    tp_critical critical;
    tp_spectrum spectrum;
    double *squares; /* of `seeds` networks of `width`, ascending */
    size_t n_squares, width;
    int seeds;
    char no_layers[300], no_critical[300], no_spectrum[300];
} report_depth;
/* Fills it; what is not known is told in the texts. -1 without memory. The model is of the report's net. */
int report_go_deep(const report *r, nn_model *model, report_depth *depth, ad_error *error);
void report_depth_free(report_depth *depth);
/* The section; what is missing in it as report_figure says. */
int report_write_depth(const report *r, const report_depth *depth, FILE *out, ad_error *missing, ad_error *error);
#endif
