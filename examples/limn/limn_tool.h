/* limn_tool.h: what the commands of the tool share. */
#ifndef LIMN_TOOL_H
#define LIMN_TOOL_H
#include "limn.h"

enum { MOST_SETTINGS = 32, MOST_WIDTHS = 16 };

typedef struct {
    const char *command, *network;
    const char *settings[MOST_SETTINGS + 1];
    int n_settings;
    const char *data, *inputs, *inputs2, *labels, *out, *weights, *checkpoint, *resume;
    nn_scale scale;
    nn_sigma_in sigma_in;
    nn_loss loss;
    nn_optimizer optimizer;
    tp_which kernel;
    nn_kernel_outputs outputs;
    ad_type type;
    size_t width;             /* 0: infinite, or the command's default */
    double at_width;          /* 0: not given */
    double rate, epochs;
    long steps, seeds, seed, batch, probes, threads;
    size_t widths[MOST_WIDTHS];
    int n_widths;
    bool loss_given;
} options;

/* 0, or 2 with one line on standard error; -1 after help was printed. */
int options_parse(options *o, int argc, char **argv);

/* A built-in network or a C file's; NULL with an error. */
nn_function network_find(const char *name, ad_error *error);
/* Inputs and, where they are known, labels: --data or --inputs and --labels. */
ds_data *data_load(const options *o, ad_error *error);
nn_net *network_trace(const options *o, size_t features, size_t outputs, ad_error *error);

int command_report(const options *o, ad_error *error);
int command_kernel(const options *o, ad_error *error);
int command_program(const options *o, ad_error *error);
int command_train(const options *o, ad_error *error);
int command_eval(const options *o, ad_error *error);
#endif
