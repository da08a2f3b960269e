/* inside.h: private: a training at n = infinity that is under way. */
#ifndef LIMN_TP_TRAINING_INSIDE_H
#define LIMN_TP_TRAINING_INSIDE_H
#include "nn/train/train.h"
#include "tp/executor/executor.h"
#include "tp/training.h"

typedef struct {
    tp_program *program;
    tp_train_spec spec; /* with its defaults filled in */
    nn_data parts[2];   /* to train on, and to test on: rows 0 if there are none, y NULL if it has none */
    size_t features, outputs, points, probes;
    double *x; /* (points, features): of both */
    nn_feed feed;
    long steps, apart;
    bool kernel_regime;
    double first_loss; /* of the run under way, before its first step */
    double *one_hot;   /* (outputs) */
    ad_arena *arena;
    int blas_threads; /* what BLAS kept to before */
} tp_training_job;

/* ---- settle.c ---- */
/* Checks and defaults, whether features are learned; -1 with an error where this room cannot run the limit. */
int tp_training_open(tp_training_job *job, tp_program *program, const nn_data *train, const nn_data *test,
                     const tp_train_spec *spec, ad_error *error);
void tp_training_close(tp_training_job *job);
/* The gradient of the loss by the outputs, (rows, outputs), for targets as nn_feed_batch has them; and the loss. */
double tp_loss_slope(nn_loss loss, const double *f, const double *y, size_t rows, size_t outputs, double *slope);

/* Of a loss after so many steps of a run: -1 with an error where it diverges. */
int tp_check_loss(tp_training_job *job, long step, double loss, ad_error *error);

/* ---- records.c: means over runs, with errors. ---- */
int tp_records_open(const tp_training_job *job, tp_trained *out, ad_error *error);
/* A run's values after the step of row number k: f (points, outputs), the kernels (probes, probes). */
void tp_records_add(const tp_training_job *job, tp_trained *out, int k, int run, const double *f, const double *kernel,
                    const double *features);
void tp_records_finish(const tp_training_job *job, tp_trained *out);

/* ---- checkpoint.c ---- */
/* Where sampled runs are: so many steps of this run are done, and that many rows of it are recorded. */
typedef struct {
    int run, row;
    long step;
} tp_training_place;
int tp_training_save(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place,
                     ad_error *error);
/* Of a new learner, from spec.resume. */
int tp_training_resume(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place,
                       ad_error *error);

/* ---- the two ways ---- */
int tp_train_sampled(tp_training_job *job, tp_trained *out, ad_error *error);
/* Of the kernel regime: f (points, outputs), and in words what it is. */
int tp_training_start(tp_training_job *job, double *f, char *text, size_t size, ad_error *error);
int tp_train_by_kernel(tp_training_job *job, tp_trained *out, ad_error *error);
#endif
