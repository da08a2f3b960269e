/* plot.h: plots by gnuplot, as SVG that an HTML page takes in, and as files. */
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
    const char *name;
    int width, height;
    bool empty; /* of plot_end without a picture: no value can be drawn */
} plot;

/* A script with the house's style: size in pixels, and a name that is unique on the page, and lives until plot_end. */
int plot_begin(plot *p, const char *name, int width, int height, ad_error *error);
/* Opens a block of data, "$draws", which a line E ends. In the plot's table its lines belong to the series, and columns
 * are their names: "width,value". Numbers have blanks between them. */
void plot_data(plot *p, const char *block, const char *series, const char *columns);
/* A text as a string of gnuplot's, quotes and all: the one way into a script for what was not written here. */
void plot_quote(FILE *out, const char *text);
/* Runs gnuplot on the script and gives the SVG element, to be freed with ad_free; NULL with gnuplot's own words. Frees
 * what plot_begin took. Into `folder`, unless it is NULL, go NAME.svg, NAME.pdf and NAME.csv. */
char *plot_end(plot *p, const char *folder, ad_error *error);
#endif
