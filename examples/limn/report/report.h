/* report.h: what the report measured, for those who tell it: on the terminal, as JSON, as a page. */
#ifndef LIMN_EXAMPLES_LIMN_REPORT_REPORT_H
#define LIMN_EXAMPLES_LIMN_REPORT_REPORT_H
#include "examples/limn/base/base.h"
#include "examples/limn/report/plot.h"

enum {
    TRAINED = 256,    /* inputs to train on, at most */
    MAX_POINTS = 128, /* measurements in one fit */
    MAX_NEURONS = 4,  /* vectors whose neurons are shown */
    MAX_LAYERS = 64,  /* preactivations whose variances are shown */
};
#define MOMENTUM 0.9

/* NORM is |Theta_t| / |Theta_0|; the tables show what comes before it. The last ones are of learning.h. */
typedef enum {
    TRAIN_ACCURACY,
    TEST_ACCURACY,
    INITIAL,
    DRIFT,
    FINAL,
    SHOWN,
    NORM = SHOWN,
    TO_OUTPUTS,
    TO_KERNEL,
    TO_FEATURES,
    TO_FROZEN,
    FIELDS
} field;

/* A kernel regime with smooth activations, or with kinks; or features are learned. */
typedef enum { REPORT_SMOOTH, REPORT_KINKS, REPORT_FEATURES, REPORT_THEORIES } report_theory;

/* What one width gave: the values of every draw, those after training of the first `seeds` alone; and, point by point
 * on the way, means over these. */
typedef struct {
    size_t n;
    double *values[FIELDS];
    double drift[MAX_POINTS], loss[MAX_POINTS];
} column;

/* The neurons of one vector of the widest network, on the first probe, and the variance that they have in the limit. */
typedef struct {
    char name[96];
    size_t n;
    double *values, variance;
} report_neurons;

typedef struct {
    const options *o;
    ds_data *data;
    nn_net *net;
    tp_program *program;
    bool coupled;         /* samples meet, as in batch normalisation: the probes are one batch in training mode */
    double *limit;        /* (probes, probes) */
    double *first, *last; /* the same of the first network of the widest width, before and after training */
    double rate, largest; /* largest: the rate above which the limit's training is not stable */
    double share;         /* rate / largest by default, 0 where the rate is given */
    double limit_error;   /* of a limit by samples, relative; else 0 */
    report_theory theory; /* which of report_claim's */
    long seeds, draws, steps;
    bool dear;              /* a step or a kernel costs much: samples meet, or sequences */
    long followed;          /* of the seeds, those that are measured on the way */
    size_t probes, trained; /* inputs whose kernel is measured, and that networks train on */
    column *columns;
    int n_columns, widest;
    long points[MAX_POINTS]; /* steps done when the fits were measured */
    int n_points;
    bool has_prediction;
    double predicted[MAX_POINTS]; /* the probes' loss in the limit, at the points */
    report_neurons neurons[MAX_NEURONS];
    int n_neurons;
    struct report_depth *depth;           /* depth.h; NULL: not looked at */
    struct coordinate_check *coordinates; /* coordinate.h; NULL: not asked for, or refused: */
    char no_coordinates[600];
    struct report_learning *learning; /* learning.h; NULL: the kernel does not move, or it was refused: */
    char no_learning[600];
    tp_opinion opinion;                                    /* of the limit */
    char no_neurons[600], no_prediction[600], method[600]; /* why there are none; how the limit was found */
} report;

/* ---- report.c: the data, the network and room for the results; the limit; one network; the end ---- */
int report_open(report *r, ad_error *error);
int report_limit(report *r, ad_error *error);
/* Draws network `draw` of width k, measures it, and trains it if it is one of the first `seeds`. */
int report_draw(report *r, int k, long draw, ad_error *error);
void report_close(report *r);

/* ---- fit.c ---- */
long report_count(const report *r, field f); /* draws that have a value of the field */
uint64_t report_seed(const report *r, int k, long draw);
void report_spread(const double *values, long n, double *mean, double *deviation);
/* The line log value = at + slope log n by least squares over all (width, draw) points, each of them with the same
 * weight: a distance at width n is n^slope times a random factor whose law no longer depends on n where n is large, so
 * that the logarithms spread alike at all widths. No two networks share draws, so that points are independent, and the
 * slope is within `half` = quantile spread / sqrt(sxx) with confidence 95 %: spread^2 is the sum of squares about the
 * line over points - 2, quantile Student's 97.5 % point at points - 2 degrees of freedom, sxx the sum of (log n - x)^2.
 * The band of the line's value at a width: +- quantile spread sqrt(1 / points + (log n - x)^2 / sxx). */
typedef struct {
    double slope, half;
    double at, x, spread, quantile, points, sxx;
    int widths;
} report_line;
/* Over the widths where the values' geometric mean is at most `maximum`; false where there are too few points. */
bool report_fit(const report *r, field f, double maximum, report_line *line);
double report_log_mean(const report *r, field f, int k);

/* ---- neurons.c, prediction.c: what only the page shows ---- */
int report_look(report *r, nn_model *model, ad_error *error);
void report_predict(report *r); /* predicted, or no_prediction */

/* ---- remark.c ---- */
enum { REPORT_CLAIMS = 2 };
/* What each theory says of a slope, and the band about it in which a fitted one is taken to agree. */
extern const struct report_claim {
    field f;
    const char *name, *theory[REPORT_THEORIES];
    double steepest[REPORT_THEORIES], flattest[REPORT_THEORIES];
} report_claims[REPORT_CLAIMS];
/* Of a fitted slope outside the band: what the measured values say of it, in sentences on lines of their own. False,
 * and no text, where it is inside or there is none. */
bool report_remark(const report *r, const struct report_claim *claim, char *text, size_t size);

/* ---- text.c, report_json.c ---- */
void report_tell_head(const report *r);
void report_tell_column(const report *r, const column *c);
void report_tell_slopes(const report *r);
int report_tell_json(const report *r, ad_error *error);

/* ---- learning.c ---- */
/* Runs the training at n = infinity: learning; NULL where the kernel does not move, or with no_learning where it could
 * not be run. */
void report_learn(report *r);
void report_tell_learning(const report *r);

/* ---- coordinate.c: the coordinate check (Tensor Programs V, arXiv:2203.03466, appendix D.1): networks are trained at
 * several widths, and the powers of n that they show stand beside the derived ones. A sum of powers is no power, and
 * terms of lower order lead where their constants are large: of steps of a small rate, whose change is to first order
 * the sum of what each parameter's updates change by themselves, only those updates are counted that have the largest
 * derived power. To first order in the rate several steps change what one does, so many times. ---- */
/* The number that is fitted: the root mean square of a vector's coordinates at the start, or of their change. */
typedef enum { COORDINATE_SIZE, COORDINATE_CHANGE, COORDINATE_KINDS } coordinate_kind;
extern const char *const coordinate_kinds[COORDINATE_KINDS];

typedef struct coordinate_check {
    tp_regime regime; /* with parts */
    const size_t *widths;
    int n_widths;
    size_t rows;
    long seeds, steps;
    double rate;
    double *logs; /* (vectors, rows, widths, seeds): log of the root mean square */
    bool *lost;   /* by parameter: in some network its update is near the rounding of what it is added to */
} coordinate_check;

typedef struct {
    double derived, fitted, half; /* powers of n, derived -INFINITY: it is 0; half of Student's 95 % interval */
    double limit;                 /* the derived power as n grows, where `derived` is the slope at these widths */
    const char *underived;        /* why no power is derived, and none can agree; NULL: it is */
    const char *lost;             /* a parameter that makes the change, whose update is lost: nothing can agree */
    bool agrees;                  /* derived, and within 0.1 beyond an interval such that all lines' hold together at
                                     95 %; or derived to be 0, and 0 */
    bool zero;                    /* every network has 0 there, which goes with no power: nothing is fitted */
    bool unfit;                   /* some networks have 0 there, or no number: nothing is fitted */
} coordinate_line;

/* Trains by --optimizer at --widths, if they are four or more, by --rate, --steps, --seeds, or their defaults, on
 * the first --train inputs, which need labels. The residual at the start is one power of n, too, and not the sum
 * of two: the labels, as each network's targets are labels + f for its own outputs f at the start, where f grows
 * like n^p labels n^p + f. The output's size is that over 32 draws of what reads it out. The net must outlive it.
 * coordinate_free frees what it holds. */
int coordinate_measure(const options *o, const nn_net *net, const tp_program *program, const ds_data *data,
                       coordinate_check *check, ad_error *error);
void coordinate_free(coordinate_check *check);
/* The widths that it trains at: how many, ascending. */
int coordinate_widths(const options *o, const nn_net *net, const size_t **widths);
/* A slope between these widths as derived: tp_growing's near_start or near_response where it is another than the power
 * as n grows, the limit, by more than 0.02. */
double coordinate_expected(double limit, double near);
/* The mean over seeds of the log of the root mean square. */
double coordinate_log_mean(const coordinate_check *check, int vector, coordinate_kind kind, int width);
/* Over all networks. */
coordinate_line coordinate_fit(const coordinate_check *check, int vector, coordinate_kind kind);
/* Does this parameter's update count in the vector's change? Where none does, all do. */
bool coordinate_leads(const coordinate_check *check, int vector, int param);
/* What those that count change of what all change, at the widest width. */
double coordinate_share(const coordinate_check *check, int vector);
enum { COORDINATE_TEXT = 200 };
/* "by dense2.weight, 0.41 of it at n = 512", where others change it, too; else nothing. */
void coordinate_leaders(const coordinate_check *check, int vector, char text[COORDINATE_TEXT]);
/* The change by one that does not count: it agrees unless it is 1e-4 of the whole or more, and grows faster than the
 * vector's change is derived to. */
coordinate_line coordinate_part(const coordinate_check *check, int vector, int param);
/* Nothing that is derived disagrees. */
bool coordinate_agrees(const coordinate_check *check);
/* coordinate_section.c: a table and a plot; what is missing in it as report_figure says. */
int report_write_coordinates(const report *r, const coordinate_check *check, FILE *out, ad_error *missing,
                             ad_error *error);

/* ---- spectrum_plot.c ---- */
typedef struct {
    const tp_spectrum *limit;
    const double *squares; /* of all seeds at the width, ascending; NULL: none */
    size_t n_squares, width;
    int seeds;
} spectrum_shown;
/* Writes the script between plot_begin and plot_end. Without a law the line is tp_spectrum_estimate's, and its title
 * says so. */
int spectrum_script(plot *p, const spectrum_shown *shown, ad_error *error);

/* ---- figure.c ---- */
/* A finished plot as a figure of the page. What cannot be drawn is told there, and the page goes on: *missing has the
 * first of what should be there. */
void report_figure(const report *r, FILE *out, plot *drawing, const char *caption, ad_error *missing);
void report_missing(FILE *out, const ad_error *why, ad_error *missing);
/* Text with what HTML takes for its own made harmless. */
void report_escape(FILE *out, const char *text, size_t length);

/* ---- page.c ---- */
/* One self-contained HTML file with its plots, whole or not at all, and each plot as files in --plots; path NULL: these
 * alone. -1 also where it is written and lacks a part. */
int report_page(const report *r, const char *path, ad_error *error);
/* Can one be written there, and does gnuplot draw? Asked before the minutes of training, and leaves nothing. */
int report_page_possible(const char *path, const char *folder, ad_error *error);
#endif
