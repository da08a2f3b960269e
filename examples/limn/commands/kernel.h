/* kernel.h: what the files of limn kernel share. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_KERNEL_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_KERNEL_H
#include "examples/limn/base/base.h"

/* One kernel, the NTK or the NNGP. */
typedef struct {
    tp_kernel_kind which;
    tp_kernel limit; /* of a limit; its terms are of (rows, rows2) */
    tp_opinion opinion;
    double *values; /* (rows, rows2) or (rows, rows2, outputs, outputs); NULL if a limit has several powers */
    double *errors; /* the standard errors of the values, of several seeds or of samples; else NULL */
} kernel_result;

/* A kernel's inputs and its results. */
typedef struct {
    const options *o;
    ds_data *data;
    ds_array second; /* data is NULL without --inputs2 */
    nn_net *net;
    tp_program *program; /* of a limit */
    size_t rows, rows2, outputs;
    bool full;
    bool *params;        /* by parameter, those of --params; NULL: all */
    nn_kernel_part part; /* of these, and of --of */
    size_t block[2];     /* the outputs of --block */
    size_t width;        /* 0: a limit */
    kernel_result results[2];
    int n_results;
} kernel_job;

/* ---- kernel_part.c ---- */
/* What --params, --of and --block mean for this network; of a limit, the program of --of's vector. */
int kernel_parts(kernel_job *j, ad_error *error);
/* "A" or "A,B"; false: it is neither. */
bool kernel_block(const char *text, size_t block[2]);

/* ---- kernel_find.c ---- */
/* 0: larger than any memory, with an error. */
size_t kernel_numbers(const kernel_job *j, ad_error *error);
/* The limit of the first rows against the first rows2, of the first output. opinion NULL: unchecked. */
int kernel_solve(const kernel_job *j, tp_kernel_kind which, size_t rows, size_t rows2, tp_kernel *kernel,
                 tp_opinion *opinion, ad_error *error);
/* What the limit of all rows would take, if samples find it. */
int kernel_forecast(const kernel_job *j, tp_kernel_kind which, tp_forecast *forecast, ad_error *error);
int kernel_measure(const kernel_job *j, tp_kernel_kind which, nn_model *model, size_t rows, size_t rows2, double *out,
                   ad_error *error);
/* All results, checked to be finite. */
int kernel_find(kernel_job *j, ad_error *error);

/* What is asked for of the first rows against the first rows2. */
limit_question kernel_question(const kernel_job *j, tp_kernel_kind which, size_t rows, size_t rows2);

/* ---- kernel_tiles.c: limits as floats, and those that are large and go to a .npy file ---- */
bool kernel_wants_tiles(const kernel_job *j);
int kernel_tiles(kernel_job *j, ad_error *error);

/* ---- kernel_tell.c ---- */
const char *kernel_title(const kernel_job *j); /* "NTK and NNGP kernel" */
/* "NTK of mlp in the limit, 5 x 5 inputs": of a title of one kernel or of both. */
void kernel_describe(const kernel_job *j, const char *what, size_t width, char *text, size_t size);
cJSON *kernel_describe_json(const kernel_job *j, size_t width);
int kernel_tell(const kernel_job *j, ad_error *error);
/* To --out: .npy, of one kernel, with the standard errors of several seeds in a second file; .npz or .csv. */
int kernel_write(const kernel_job *j, ad_error *error);

/* ---- kernel_explain.c ---- */
/* Memory and time in place of a kernel, estimated from pieces. */
int kernel_explain(const kernel_job *j, ad_error *error);
#endif
