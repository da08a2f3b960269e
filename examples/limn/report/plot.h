/* plot.h: plots by gnuplot, as SVG that an HTML page takes in. */
#ifndef LIMN_EXAMPLES_LIMN_REPORT_PLOT_H
#define LIMN_EXAMPLES_LIMN_REPORT_PLOT_H
#include "autodiff/base.h"

/* Colours that a page's style sheet replaces, so that a plot is legible on a light and a dark ground: by name in a
 * script, after plot_begin. The data's own are those of Okabe and Ito, which the colour-blind tell apart. */
#define PLOT_INK "#010203"
#define PLOT_GRID "#010204"
extern const char *const plot_colours[];
enum { PLOT_COLOURS = 7 };

typedef struct {
    char *script;
    size_t size;
    FILE *stream; /* gnuplot's commands go here */
} plot;

/* A script with the house's style: size in pixels, and a name that is unique on the page. */
int plot_begin(plot *p, const char *name, int width, int height, ad_error *error);
/* Runs gnuplot on the script and gives the SVG element, to be freed with ad_free; NULL with gnuplot's own words. Frees
 * what plot_begin took. */
char *plot_end(plot *p, ad_error *error);
#endif
