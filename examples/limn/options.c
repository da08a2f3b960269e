/* options.c: one table of options, from which parsing, checking and help come. */
#include "examples/limn/limn_tool.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT = 1, TRAIN = 2, EVAL = 4, KERNEL = 8, PREDICT = 16, PROGRAM = 32, LIMIT = 64, NETWORK = 63, ALL = 127 };

static const struct {
    const char *name, *help, *more;
} commands[] = {
    { "report", "trains at several widths and compares with the limit",
      "Prints the network's program, then, width by width and over several seeds, accuracies and the distances of its\n"
      "tangent kernel from the limit and from its own start, with the slopes fitted to them and their intervals. A "
      "slope\n"
      "outside theory's band comes with what the measured values say of it.\n"
      "Widths 128 to 1024 (64 to 512 for more than 16 time steps), 10 seeds, 100 steps at 1/250 of the largest stable\n"
      "rate; for sequences and batch normalisation 25 steps at 1/62.5, and for the latter 6 seeds. No two networks "
      "share\n"
      "draws: from --seed on, each width has numbers of its own, 4 times --seeds (batch normalisation: 2). All are "
      "drawn and\n"
      "the first --seeds trained. Accuracies of batch normalisation are in evaluation, with the running statistics." },
    { "train", "trains at one width and tells loss and accuracy",
      "A float network of --width 512 with Adam on batches of 64; cross-entropy for classes, square loss for targets.\n"
      "--out keeps the weights, --checkpoint also the state of the fit, from which --resume goes on: bit for bit, "
      "with\n"
      "the same --threads. Ctrl-C ends after the step with a checkpoint, a second one at once. --drift measures the "
      "NTK\n"
      "of the first --probes inputs on the way; its columns are the fields of nn_drift_row (nn/nn.h)." },
    { "eval", "loss, accuracy and outputs of a network with given --weights",
      "The width is that of the weights. --out writes the outputs of all inputs, (rows, outputs)." },
    { "kernel", "NTK or NNGP kernel, at a width or in the limit",
      "Without --width (or with --width inf) it is the limit, else a network drawn from --seed, or of --weights.\n"
      "Without --out it prints the first rows and columns. --explain tells memory and time in place of computing." },
    { "predict", "what training would do, by a constant kernel",
      "Train and test loss, accuracy and likelihood at --times of training, by the limit's kernel (an ensemble of "
      "networks:\n"
      "its mean, and its variance for the likelihood) or, with --width N, by the kernel of one network drawn from "
      "--seed,\n"
      "from its own outputs on. The square loss is sum (f - y)^2 / (2 N k), k outputs: limn train's, which has no k, "
      "needs\n"
      "1/k of the rate for the same. t is time with the flow, else steps. --kernel nngp trains the readout alone, at "
      "inf it\n"
      "is GP inference. A kernel that cannot be inverted is an error that names its condition number and a --ridge.\n"
      "--out writes the test outputs (the training ones, if there are no others), (times, rows, outputs)." },
    { "program", "prints the Netsor\u22a4 program and checks it",
      "The forward and backward pass in the paper's notation, each command with its line of source.\n"
      "--recursion prints the kernel's own recursion in its place." },
    { "limit", "solves a program written by hand",
      "The file is in the notation of limn program, whose grammar stands in tp/script_text.c:\n\n"
      "  Input    W  : A(n, n) ~ N(0, 1/n)\n"
      "  Input    x  : G(n)    ~ N(0, 1)\n"
      "  MatMul   h  := W x\n"
      "  Nonlin   y  := tanh(h)\n"
      "  Moment   e  := \u27e8y, h\u27e9\n\n"
      "Prints means, variances and covariances of its vectors and the limits of its scalars, and with --width the "
      "same\n"
      "at that width, mean and standard error over --seeds. A law of data, N(0, \u27e8x, x\u27e9/784), takes the first "
      "row of\n"
      "--inputs.\n" },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

typedef enum { TEXT, REAL, WHOLE, CHOICE, WIDTH, WIDTHS, TIMES, SIZE, SCHEDULE, SETTING, PSI, FLAG } kind;
typedef struct {
    const char *name, *argument, *help;
    kind kind;
    size_t at;
    double least; /* of a number */
    int commands; /* those that take it */
} row;

#define AT(field) offsetof(options, field)
static const row rows[] = {
    { "--set", "key=value", "a setting of the network; may be repeated", SETTING, 0, 0, NETWORK },
    { "--scale", "ntk|standard|meanfield|mup", "parametrization (ntk); limits are for ntk and standard", CHOICE,
      AT(scale), 0, NETWORK },
    { "--sigma-in", "init|multiplier", "where sigma stands (init)", CHOICE, AT(sigma_in), 0, NETWORK },
    { "--data", "mnist|digits|PATH",
      "embedded data (mnist), or files: a folder of images for each class, IDX\n"
      "                                                 (MNIST), CIFAR-10, CSV, .npy; see datasets/README.md",
      TEXT, AT(data), 0, NETWORK },
    { "--resize", "WxH", "of the images of --data", SIZE, AT(resize_width), 0, NETWORK },
    { "--grey", NULL, "of the images of --data", FLAG, AT(grey), 0, NETWORK },
    { "--label-column", "NAME|K|first|last|none", "of a CSV (last); K counts from 1", TEXT, AT(label_column), 0,
      NETWORK },
    { "--test-fraction", "F", "of the rows of --data, shuffled (as the files have it, or 0.2)", REAL, AT(test_fraction),
      0, NETWORK },
    { "--split-seed", "K", "of that shuffle (0)", WHOLE, AT(split_seed), 0, NETWORK },
    { "--inputs", "X.npy", "inputs of your own, as they are: (rows, features) or (rows, time, features)", TEXT,
      AT(inputs), 0, ALL },
    { "--labels", "Y.npy", "of --inputs: classes (rows), or targets (rows[, outputs]); also of one IDX or .npy file",
      TEXT, AT(labels), 0, REPORT | TRAIN | EVAL | PREDICT },
    { "--scaling", "standard|unit|pixelwise|sphere", "of inputs (standard; of --inputs, unit)", CHOICE, AT(scaling), 0,
      REPORT | TRAIN | EVAL | KERNEL | PREDICT },
    { "--inputs2", "Y.npy", "the kernel's second inputs (the first); the inputs to test on", TEXT, AT(inputs2), 0,
      KERNEL | PREDICT },
    { "--labels2", "Y.npy", "of --inputs2", TEXT, AT(labels2), 0, PREDICT },
    { "--width", "N|inf", "width n; inf is the limit, of a kernel", WIDTH, AT(width), 0,
      TRAIN | EVAL | KERNEL | PREDICT | LIMIT },
    { "--widths", "N,N,...", "the widths to compare", WIDTHS, AT(widths), 0, REPORT },
    { "--at-width", "N", "where the powers of n of a limit are summed", REAL, AT(at_width), 1, KERNEL | PREDICT },
    { "--seed", "K", "the first seed (1)", WHOLE, AT(seed), 0, REPORT | TRAIN | KERNEL | PREDICT | LIMIT },
    { "--seeds", "K", "how many seeds; a kernel is their mean", WHOLE, AT(seeds), 1, REPORT | TRAIN | KERNEL | LIMIT },
    { "--kernel", "ntk|nngp", "which kernel (ntk)", CHOICE, AT(kernel), 0, KERNEL | PREDICT },
    { "--outputs", "full|mean", "[N,M,O,O], or its mean over outputs [N,M] (mean)", CHOICE, AT(outputs), 0,
      KERNEL | PREDICT },
    { "--weights", "F.safetensors", "raw omega, shape (in, out), named as in the trace", TEXT, AT(weights), 0,
      TRAIN | EVAL | KERNEL | PREDICT },
    { "--out", "FILE",
      "the kernel or the outputs (.npy, float64); trained weights (.safetensors); the report's page\n"
      "                                                 (limn-report.html; with --json none)",
      TEXT, AT(out), 0, REPORT | TRAIN | EVAL | KERNEL | PREDICT },
    { "--mode", "auto|train|eval",
      "of batch normalisation: inputs are one batch, or alone with the running statistics\n"
      "                                              (auto: eval, and of a kernel, train)",
      CHOICE, AT(mode), 0, EVAL | KERNEL },
    { "--loss", "square|cross-entropy", "loss (classes: cross-entropy; targets, and predict: square)", CHOICE, AT(loss),
      0, TRAIN | EVAL | PREDICT },
#define NN_OPTIMIZER(NAME, word, ...) #word "|"
    { "--optimizer",
#include "nn/optimizers.def"
      "flow", "optimizer (adam; predict: flow, sgd or momentum)", CHOICE, AT(optimizer), 0, TRAIN | PREDICT },
#define NN_OPTIMIZER(NAME, word, rate, decay, ...) #word " " #decay ", "
    { "--weight-decay", "D",
      "decay of omega, a step ("
#include "nn/optimizers.def"
      "unless given)",
      REAL, AT(weight_decay), 0, TRAIN },
    { "--momentum", "M", "of --optimizer momentum (0.9)", REAL, AT(momentum), 0, PREDICT },
    { "--times", "T,T,...", "times or steps, ascending, inf included (1,10,100,inf)", TIMES, AT(times), 0, PREDICT },
    { "--ridge", "R", "added to the kernel's diagonal, times the mean of it (0)", REAL, AT(ridge), 0, PREDICT },
    { "--train", "N", "the first N inputs to train on (1000; of --inputs, all)", WHOLE, AT(train), 1, PREDICT },
    { "--test", "N", "the first N inputs to test on (1000; of --inputs2, all)", WHOLE, AT(test), 1, PREDICT },
    { "--start", "F.npy", "outputs at the start, (train + test rows, outputs) (limit: 0; else the network's)", TEXT,
      AT(start), 0, PREDICT },
    { "--covariance", "C.npy", "a limit's, of the ensemble's test outputs: (times, rows, rows)", TEXT, AT(covariance),
      0, PREDICT },
    { "--rate", "R",
#define RATE_false(word, rate) #word " " #rate "; "
#define RATE_true(word, rate)
#define NN_OPTIMIZER(NAME, word, rate, decay, adaptive, ...) RATE_##adaptive(word, rate)
      "learning rate ("
#include "nn/optimizers.def"
#define ADAPTIVE_false(word)
#define ADAPTIVE_true(word) #word ", "
#define NN_OPTIMIZER(NAME, word, rate, decay, adaptive, ...) ADAPTIVE_##adaptive(word)
#include "nn/optimizers.def"
      "by scale:\n"
      "                                                 0.014, 0.0005, 0.001, 0.01;\n"
      "                                                 report: 1/250 or 1/62.5 of the largest stable one;\n"
      "                                                 predict: flow 1, else half of the largest stable one)",
      REAL, AT(rate), 0, REPORT | TRAIN | PREDICT },
    { "--batch", "N", "batch size (64); 0 is all rows", WHOLE, AT(batch), 0, TRAIN },
    { "--epochs", "E", "epochs of training (20)", REAL, AT(epochs), 0, TRAIN },
    { "--steps", "S", "steps of training, in place of epochs (report: 100 or 25)", WHOLE, AT(steps), 0,
      REPORT | TRAIN },
    { "--probes", "K", "the first K inputs (report: 32; kernel: all given, or 32; train --drift: 64)", WHOLE,
      AT(probes), 2, REPORT | KERNEL | TRAIN },
    { "--drift", "F.csv", "drift of the tangent kernel while it trains, a line a measurement", TEXT, AT(drift), 0,
      TRAIN },
    { "--drift-every", "log|epoch|K", "after 1, 2, 3, 4, 5, 6, 8, 10, ... steps, each epoch or each K steps (log)",
      SCHEDULE, AT(drift_schedule), 1, TRAIN },
    { "--drift-share", "S", "leave measurements out beyond this share of the time (none is)", REAL, AT(drift_share), 0,
      TRAIN },
    { "--drift-kernels", "PREFIX", "each kernel of the probes, as PREFIX00000120.npy after step 120", TEXT,
      AT(drift_kernels), 0, TRAIN },
    { "--drift-limit", "T.npy", "the limit kernel of the probes (found, where the exact engine has a rule)", TEXT,
      AT(drift_limit), 0, TRAIN },
    { "--checkpoint", "F.safetensors", "written each 100 steps and at the end", TEXT, AT(checkpoint), 0, TRAIN },
    { "--resume", "F.safetensors", "a checkpoint to go on from", TEXT, AT(resume), 0, TRAIN },
    { "--dtype", "float|double", "type of a finite network (train: float; else double)", CHOICE, AT(type), 0,
      TRAIN | EVAL | KERNEL | PREDICT },
    { "--engine", "auto|exact|sample", "a limit's: exact rules, samples at n = infinity, or what fits (auto)", CHOICE,
      AT(engine), 0, KERNEL | PREDICT | LIMIT },
    { "--rule", "auto|bp|general", "a limit's: simple for BP-like programs, or general (auto: as the program is)",
      CHOICE, AT(rule), 0, KERNEL | PREDICT | LIMIT },
    { "--samples", "S", "of the sampling engine (4096)", WHOLE, AT(samples), 16, KERNEL | PREDICT | LIMIT },
    { "--runs", "R", "of the sampling engine, for its error (8)", WHOLE, AT(runs), 2, KERNEL | PREDICT | LIMIT },
    { "--tolerance", "E",
      "a limit's relative error: of expectations, or more runs of the sampling engine until it is met", REAL,
      AT(tolerance), 0, KERNEL | PREDICT },
    { "--threads", "T", "threads (1)", WHOLE, AT(threads), 1, REPORT | TRAIN | EVAL | KERNEL | PREDICT },
    { "--explain", NULL, "memory and time, estimated from a piece of the work", FLAG, AT(explain), 0,
      KERNEL | PREDICT },
    { "--psi", "EXPRESSION", "an expectation besides the file's, as x*y*step(z); may be repeated", PSI, 0, 0, LIMIT },
    { "--format", "text|latex|json", "of a program (text)", CHOICE, AT(format), 0, PROGRAM },
    { "--recursion", NULL, "the kernel's recursion in place of the program", FLAG, AT(recursion), 0, PROGRAM },
    { "--json", NULL, "the result as one JSON object", FLAG, AT(json), 0, ALL },
    { "--help", NULL, "this text", FLAG, 0, 0, ALL },
    { "--version", NULL, "limn's version", FLAG, 0, 0, ALL },
};
enum { ROWS = sizeof rows / sizeof *rows };

static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "limn: %s %s; see limn --help\n", what, value);
    return 2;
}

/* The number of a command, -1 if there is none of that name. */
static int command_number(const char *name)
{
    for (int k = 0; k < COMMANDS; k++)
        if (strcmp(commands[k].name, name) == 0)
            return k;
    return -1;
}

/* Of one command, or, for -1, of all. */
static void help(int command)
{
    printf("limn %s %s [options]\n\n",
           command < 0 ? "report|train|eval|kernel|predict|program|limit" : commands[command].name,
           command < 0             ? "NET|FILE"
           : 1 << command == LIMIT ? "FILE"
                                   : "NET");
    if (command < 0)
        for (int k = 0; k < COMMANDS; k++)
            printf("  %-8s %s\n", commands[k].name, commands[k].help);
    else
        printf("%s: %s.\n%s\n", commands[command].name, commands[command].help, commands[command].more);
    if (command < 0 || 1 << command != LIMIT)
        puts("\nNET is one of these, with the settings' defaults, or a C file that defines\n"
             "ad_var limn_network(nn_net *net, ad_var x); see nn/entry.h.\n\n"
             "  mlp  depth=3, phi=relu, sigma_w=1.41421, sigma_b=none, outputs\n"
             "  rnn  depth=1, phi=tanh, cell=vanilla (gru, lstm), readout=last (mean), padding=none (front), "
             "sigma_w=1,\n"
             "       sigma_u=1, sigma_b=none, sigma_v=1, outputs; reads an image row by row\n"
             "  batchnorm  depth=3, phi=relu, eps=1e-05, affine=no (yes), sigma_w=1.41421, outputs; the inputs of a "
             "kernel\n"
             "       are one batch, and those of --inputs2 another\n");
    for (int i = 0; i < ROWS; i++)
        if (command < 0 || rows[i].commands >> command & 1)
            printf("  %-15s %-30s %s\n", rows[i].name, rows[i].argument ? rows[i].argument : "", rows[i].help);
    puts("\nExit status: 0 done, 1 failed, 2 wrong usage, 130 or 143 ended by Ctrl-C or SIGTERM.");
}

static bool number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return end != text && !*end && !errno && isfinite(*value);
}

/* The position of value among "a|b|c", -1 if it is none. */
static int choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (int k = 0;; k++) {
        size_t next = strcspn(choices, "|");
        if (next == length && memcmp(choices, value, length) == 0)
            return k;
        if (!choices[next])
            return -1;
        choices += next + 1;
    }
}

static const row *find(const char *name, size_t length)
{
    for (int k = 0; k < ROWS; k++)
        if (strlen(rows[k].name) == length && memcmp(rows[k].name, name, length) == 0)
            return &rows[k];
    return NULL;
}

const char *option_word(const char *option, int which, char *word, size_t size)
{
    const row *r = find(option, strlen(option));
    const char *at = r->argument;
    for (int k = 0; k < which && strchr(at, '|'); k++)
        at = strchr(at, '|') + 1;
    snprintf(word, size, "%.*s", (int)strcspn(at, "|"), at);
    return word;
}

static int set_widths(options *o, const char *value)
{
    o->n_widths = 0;
    for (const char *at = value; at;) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 2 || n > 10000000 || (*end && *end != ',') || o->n_widths == MOST_WIDTHS)
            return usage_error("--widths takes up to 16 whole numbers of at least 2 with commas, not", value);
        o->widths[o->n_widths++] = (size_t)n;
        at = *end ? end + 1 : NULL;
    }
    return 0;
}

static int set_times(options *o, const char *value)
{
    const char *at = value;
    for (o->n_times = 0; at; o->n_times++) {
        char one[32];
        size_t length = strcspn(at, ",");
        double t = (double)INFINITY, before = o->n_times ? o->times[o->n_times - 1] : 0;
        snprintf(one, sizeof one, "%.*s", (int)(length < 31 ? length : 31), at);
        if ((strcmp(one, "inf") != 0 && !number(one, &t)) || t < before || o->n_times == MOST_TIMES)
            return usage_error("--times takes up to 64 ascending times from 0 to inf with commas, not", value);
        o->times[o->n_times] = t;
        at = at[length] ? at + length + 1 : NULL;
    }
    return 0;
}

static const double most_whole = 1e9;

/* "--probes takes a whole number from 2 to 1000000000, not": what an option's row asks of its value. */
static void wanted(const row *r, char *text, size_t size)
{
    if (r->kind == WHOLE)
        snprintf(text, size, "%s takes a whole number from %g to %.0f, not", r->name, r->least, most_whole);
    else if (r->kind == REAL)
        snprintf(text, size, "%s takes a number of at least %g, not", r->name, r->least);
    else if (r->kind == SCHEDULE)
        snprintf(text, size, "%s takes log, epoch or a whole number from %g to %.0f, not", r->name, r->least,
                 most_whole);
    else
        snprintf(text, size, "%s takes %s, not", r->name, r->argument);
}

static int set(options *o, const row *r, const char *value)
{
    char *field = (char *)o + r->at, text[96];
    double x;
    wanted(r, text, sizeof text);
    switch (r->kind) {
    case TEXT:
        if (!*value)
            return usage_error(text, "an empty text");
        *(const char **)(void *)field = value;
        return 0;
    case SETTING:
        if (!strchr(value, '='))
            return usage_error(text, value);
        if (o->n_settings == MOST_SETTINGS)
            return usage_error("there are more than 32 settings at", value);
        o->settings[o->n_settings++] = value;
        return 0;
    case PSI:
        if (o->n_psi == MOST_SETTINGS)
            return usage_error("there are more than 32 expectations at", value);
        o->psi[o->n_psi++] = value;
        return 0;
    case CHOICE: {
        int k = choice(r->argument, value);
        if (k < 0)
            return usage_error(text, value);
        *(int *)(void *)field = k;
        o->loss_given |= r->at == AT(loss);
        o->scaling_given |= r->at == AT(scaling);
        return 0;
    }
    case WIDTH:
        o->infinite = strcmp(value, "inf") == 0;
        x = 0;
        if (!o->infinite && (!number(value, &x) || x < 2 || x > 1e7 || floor(x) < x))
            return usage_error("--width takes a whole number of at least 2, or inf, not", value);
        o->width = (size_t)x;
        return 0;
    case WIDTHS:
        return set_widths(o, value);
    case TIMES:
        return set_times(o, value);
    case SIZE: {
        int length = 0;
        if (value[strspn(value, "0123456789x")] ||
            sscanf(value, "%5zux%5zu%n", &o->resize_width, &o->resize_height, &length) != 2 || value[length] ||
            !o->resize_width || !o->resize_height)
            return usage_error(text, value);
        return 0;
    }
    case SCHEDULE:
        o->drift_schedule = strcmp(value, "epoch") == 0 ? NN_EPOCHS : NN_LOG_STEPS;
        o->drift_every = 0;
        if (strcmp(value, "log") == 0 || strcmp(value, "epoch") == 0)
            return 0;
        if (!number(value, &x) || x < r->least || x > most_whole || floor(x) < x)
            return usage_error(text, value);
        o->drift_schedule = NN_STEPS;
        o->drift_every = (long)x;
        return 0;
    case REAL:
    case WHOLE:
        if (!number(value, &x) || x < r->least || (r->kind == WHOLE && (floor(x) < x || x > most_whole)))
            return usage_error(text, value);
        if (r->kind == REAL)
            *(double *)(void *)field = x;
        else
            *(long *)(void *)field = (long)x;
        return 0;
    case FLAG:
        *(bool *)(void *)field = true;
        return 0;
    }
    return 0;
}

/* The first word is the command, the second the network; an option is "--name value" or "--name=value". */
static int read_all(options *o, int argc, char **argv, const row **given, int *n_given)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (o->network)
                return usage_error("one word too many:", argv[i]);
            *(o->command ? &o->network : &o->command) = argv[i];
            continue;
        }
        size_t length = strcspn(argv[i], "=");
        const row *r = find(argv[i], length);
        const char *value = argv[i][length] ? argv[i] + length + 1 : NULL;
        if (!r)
            return usage_error("unknown option", argv[i]);
        if (r->kind == FLAG && value)
            return usage_error("no value belongs to", r->name);
        if (r->kind != FLAG && !value) {
            if (i + 1 == argc)
                return usage_error("an argument is missing after", argv[i]);
            value = argv[++i];
        }
        int status = set(o, r, value);
        if (status)
            return status;
        given[(*n_given)++] = r;
    }
    return 0;
}

/* What options say to each other, and the defaults that depend on the command. */
static int settle(options *o, int command)
{
    bool train = 1 << command == TRAIN, predict = 1 << command == PREDICT;
    bool kernel = 1 << command == KERNEL || predict;
    if (o->inputs && o->data)
        return usage_error("--inputs and --data exclude each other in", o->command);
    if (o->labels && !o->inputs && !o->data)
        return usage_error("--labels needs --inputs or --data in", o->command);
    if (o->inputs && (o->resize_width || o->grey || o->label_column || o->test_fraction > 0 || o->split_seed))
        return usage_error(
            "--inputs are taken as they are: what changes images, columns and the split is for --data in", o->command);
    if (o->test_fraction >= 1)
        return usage_error("--test-fraction is below 1 in", o->command);
    if (o->infinite && !kernel && 1 << command != LIMIT)
        return usage_error("--width inf has no meaning in", o->command);
    if (kernel && o->at_width > 0 && o->width)
        return usage_error("--at-width sums a limit, --width N has none in", o->command);
    if (kernel && o->mode == NN_EVALUATION && !o->width && !o->weights)
        return usage_error("--mode eval needs --width N or --weights in", o->command);
    if (kernel && o->infinite && o->weights)
        return usage_error("--width inf knows no --weights in", o->command);
    if (o->labels2 && !o->inputs2)
        return usage_error("--labels2 needs --inputs2 in", o->command);
    if (predict && o->optimizer > NN_MOMENTUM && o->optimizer != GRADIENT_FLOW)
        return usage_error("only sgd, momentum and flow have a kernel, not",
                           nn_optimizer_name((nn_optimizer)o->optimizer));
    if (train && !(o->weight_decay < 0) && !(o->weight_decay > 0))
        return usage_error("--weight-decay takes a number above 0 (adamw without any is adam) in", o->command);
    if (train && o->optimizer == GRADIENT_FLOW)
        return usage_error("steps cannot follow the flow in", o->command);
    if (predict && o->covariance && (o->width || o->weights || o->start || o->loss == NN_CROSS_ENTROPY))
        return usage_error("--covariance is of a limit's ensemble on the square loss, without --start, in", o->command);
    if (predict && o->outputs == NN_FULL && !o->width && !o->weights)
        return usage_error("--outputs full is for a --width N, between outputs the limit is 0, in", o->command);
    if (o->seeds > 1 && (o->checkpoint || o->resume || o->weights || (train && o->out)))
        return usage_error("one file of weights is of one seed: no --seeds in", o->command);
    if (o->seeds > 1 && o->drift)
        return usage_error("one file of --drift is of one seed: no --seeds in", o->command);
    if (train && !o->drift && (o->probes || o->drift_kernels || o->drift_limit || o->drift_share > 0))
        return usage_error("--drift F.csv is missing in", o->command);
    if (o->drift_share >= 1)
        return usage_error("--drift-share is below 1 in", o->command);
    if (o->explain && (o->out || o->covariance))
        return usage_error("--explain computes nothing for --out in", o->command);
    if (1 << command == EVAL && !o->weights)
        return usage_error("--weights F.safetensors is missing in", o->command);
    if (o->optimizer < 0)
        o->optimizer = predict ? GRADIENT_FLOW : NN_ADAM;
    if ((int)o->type < 0)
        o->type = train ? AD_FLOAT : AD_DOUBLE;
    if (1 << command == REPORT && !o->probes)
        o->probes = 32;
    if (train && !o->probes)
        o->probes = 64;
    return 0;
}

int options_parse(options *o, int argc, char **argv)
{
    *o = (options){ .argc = argc,
                    .argv = argv,
                    .seed = 1,
                    .outputs = NN_MEAN,
                    .type = (ad_type)-1,
                    .threads = 1,
                    .batch = -1,
                    .optimizer = -1,
                    .momentum = 0.9,
                    .weight_decay = -1 };
    const row **given = ad_alloc((size_t)argc, sizeof *given, "options", NULL);
    if (!given) {
        fprintf(stderr, "limn: out of memory for options\n");
        return 1;
    }
    bool want_help = false, want_version = false;
    const char *about = NULL;
    for (int i = 1; i < argc; i++) { /* help answers even to what is wrong elsewhere */
        want_help |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        want_version |= strcmp(argv[i], "--version") == 0;
        if (!about && command_number(argv[i]) >= 0)
            about = argv[i];
    }
    int n_given = 0, command = -1, status = 0;
    if (want_help || want_version) {
        if (want_help)
            help(about ? command_number(about) : -1);
        else
            puts("limn " LIMN_VERSION);
        status = -1;
    }
    if (!status)
        status = read_all(o, argc, argv, given, &n_given);
    if (!status && (!o->command || (command = command_number(o->command)) < 0))
        status = usage_error("unknown command", o->command ? o->command : "(none)");
    for (int k = 0; k < n_given && !status; k++)
        if (!(given[k]->commands >> command & 1)) {
            fprintf(stderr, "limn: %s takes no %s; see limn %s --help\n", o->command, given[k]->name, o->command);
            status = 2;
        }
    if (!status && !o->network)
        status = usage_error(1 << command == LIMIT ? "no file after" : "no network after", o->command);
    if (!status)
        status = settle(o, command);
    ad_free(given);
    return status;
}
