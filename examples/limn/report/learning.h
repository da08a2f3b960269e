/* learning.h: private to the report: a training at n = infinity where features are learned, beside networks. */
#ifndef LIMN_EXAMPLES_LIMN_REPORT_LEARNING_H
#define LIMN_EXAMPLES_LIMN_REPORT_LEARNING_H
#include "examples/limn/report/report.h"

typedef struct report_learning {
    bool kernel_regime; /* nothing is learned: there is no section */
    size_t rows;
    long steps;
    tp_train_spec spec;
    tp_trained run;
    double *frozen;                 /* (rows, outputs): outputs at the end by the kernel of the start */
    double apart;                   /* these from the run's, relative */
    double frozen_loss[MAX_POINTS]; /* at the recorded steps */
    double *losses;                 /* (columns, recorded steps): mean over networks */
    bool *readouts;                 /* by parameter */
    double rate_power;              /* of n, of the readouts' rates */
} report_learning;

enum { REPORT_LEARNED = 4 };
extern const struct report_learned {
    field f;
    const char *name, *theory;
} report_learned[REPORT_LEARNED];

/* Network `draw` of width k, trained alike: the distances of its column. */
int report_learn_draw(report *r, int k, long draw, ad_error *error);
void report_learning_free(report_learning *l);

void report_learning_json(const report *r, cJSON *root);
int report_write_learning(const report *r, FILE *out, ad_error *missing, ad_error *error);
#endif
