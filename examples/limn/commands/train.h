/* train.h: private to the command train: what is trained, and training at n = infinity. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_H
#include "examples/limn/commands/commands.h"

enum { TRAIN_BATCH = 64, TRAIN_EPOCHS = 20 };

/* What is trained on, a part of --validation, and the rest of the data. */
enum { TRAIN_PART, VALIDATION_PART, TEST_PART, PARTS };
typedef struct {
    ds_data *data;
    ds_array second, labels2; /* of --inputs2 and --labels2, the test part in place of the data's own */
    nn_net *net;
    nn_data parts[PARTS];
    nn_loss loss;
} train_job;

/* ---- train_infinite.c ---- */
int settle_infinite(options *o);
int train_infinite(const train_job *job, const options *o, cJSON **root, ad_error *error);
#endif
