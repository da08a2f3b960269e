/* predict.h: what the files of limn predict share. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_PREDICT_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_PREDICT_H
#include "examples/limn/base/base.h"

typedef struct {
    const options *o;
    ds_data *data;
    ds_scaling scaling; /* of the inputs */
    double *raw;        /* (rows[0], features): as they were read, where a kernel is to be chosen; else NULL */
    ds_array second;
    nn_net *net;
    tp_program *program; /* of a limit; else model */
    nn_model *model;
    bool readout, full, ensemble; /* full: between outputs; ensemble: of networks that start at random; its variance is
                                     known */
    double readout_rate;          /* nn_readout_rate; NAN: there is none, and */
    ad_error no_readout;          /* this is why */
    double width;                 /* where a limit's powers are summed, or 1 */
    const double *x[2];           /* inputs to train and to test on; their rows, test: maybe 0 */
    size_t rows[2], outputs;
    double *y[2];     /* (rows, outputs); y[1] NULL: not known */
    double *start;    /* (rows[0] + rows[1], outputs); NULL: 0 */
    char method[600]; /* how a limit was found */
    double error;
    double hides;       /* as tp_kernel_model_spec.error, of the training inputs' kernel that was found last */
    bool shared;        /* among ranks */
    bool quiet;         /* a kernel of many: its progress is not told */
    bool asked[2];      /* by kernel: its first limit was checked, */
    tp_opinion opinion; /* and this is of the kernel that trains */
} prediction;

/* ---- predict_open.c ---- */
/* A line, said where the network has dropout. */
extern const char prediction_without_dropout[];
/* Does it choose a kernel or a ridge? */
bool predict_selects(const options *o);
/* Inputs and their labels: data, second, scaling, raw, x, rows. */
int predict_open_data(prediction *p, ad_error *error);
/* The network's trace, the targets and, of a limit, its program; needs the data. */
int predict_open_limit(prediction *p, ad_error *error);
/* The members readout_rate and no_readout, of what is open. */
void predict_find_readout(prediction *p);
/* "NTK" or "NNGP kernel", and what that says of training. */
const char *predict_kernel_name(const prediction *p);
/* Of a width, the network, if there is none yet; outputs at the start. */
int predict_open_start(prediction *p, ad_error *error);
/* The limit's prediction starts from the outputs' mean, which must be known. */
int predict_check_centred(const prediction *p, ad_error *error);
void predict_close(prediction *p);

/* ---- predict_kernel.c: all are to be freed with ad_free, and NULL after an error ---- */
/* Of the training inputs, (n, n); n is rows, or rows * outputs if `full`. */
double *predict_train_kernel(prediction *p, tp_kernel_kind which, ad_error *error);
/* Of the test inputs with the training inputs. */
double *predict_cross_kernel(prediction *p, tp_kernel_kind which, ad_error *error);
/* Of the test inputs of a limit: (rows, rows), or the diagonal (rows); between outputs, too, if `full`. */
double *predict_test_kernel(prediction *p, tp_kernel_kind which, bool diagonal, ad_error *error);

/* ---- the same over ranks: to be freed with tp_spread_free, and NULL after an error ---- */
/* Do ranks share this prediction? What they do not rank 0 predicts alone. */
bool predict_shares(const prediction *p);
tp_spread *predict_train_spread(prediction *p, tp_kernel_kind which, ad_error *error);
tp_spread *predict_cross_spread(prediction *p, tp_kernel_kind which, ad_error *error);

/* The time of the factoring, in a line on standard error, where progress is told and inputs are many. */
void predict_tell_factoring(const prediction *p, size_t n, const tp_kernel_model_spec *spec);
/* Memory by what it is for, and the time of the factoring, in place of a prediction. */
int predict_explain(const prediction *p, const tp_kernel_model_spec *spec, ad_error *error);

/* ---- predict_floats.c: many rows: a kernel of floats, factored in place ---- */
static inline bool predict_floats_asked(const options *o) /* by --dtype float, of a limit */
{
    return o->type_given && o->type == AD_FLOAT && !o->width && !o->weights;
}
int predict_floats_settle(const options *o); /* 0, or the refusal of other options */
int predict_floats(prediction *p, ad_error *error);
int predict_floats_explain(prediction *p, ad_error *error); /* its memory and time, in its place */

/* ---- predict_select.c: which kernel of a grid, and which ridge ---- */
/* A kernel and a ridge; NAN where it is not known: no folds, no classes, or a kernel that is singular. */
typedef struct {
    double ridge;                 /* over the mean of the diagonal */
    double cv_error, cv_error_se; /* the share of rows of a wrong class, by folds, and its standard error over them */
    double cv_mse, cv_mse_se;     /* mean of (f - y)^2 */
    double loo_error, loo_mse;
    double likelihood; /* its logarithm */
} candidate;
typedef struct {
    const options *o;
    ad_arena *arena;
    size_t kernels, ridges, rows, best;
    bool classes, scaled_by_fold; /* scaled_by_fold: folds have inputs scaled by their own training rows */
    const char **keys;            /* (n_grid) */
    const char **values;          /* (kernels, n_grid): "key=value" */
    const double *ridge;          /* (ridges) */
    candidate *candidates;        /* (kernels, ridges) */
} selection;
/* Tries each kernel of --grid at each ridge on the data; p has its data open. */
selection *selection_new(const prediction *p, ad_error *error);
void selection_free(selection *s);
/* Settings and ridge of the best one, in place of the options' own; the texts stay the selection's. */
void selection_take(const selection *s, options *o);

/* The best of the candidates from .. to - 1; SIZE_MAX: none can be inverted. */
size_t selection_best(const selection *s, size_t from, size_t to);

/* ---- predict_tell.c ---- */
/* The table, or a member of root if that is not NULL. */
void selection_tell(const selection *s, cJSON *root);
/* --csv: all candidates, a line each. */
int selection_write(const selection *s, ad_error *error);
#endif
