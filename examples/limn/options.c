/* options.c: one table of options, from which parsing and help come. */
#include "limn_tool.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, REAL, WHOLE, CHOICE, WIDTH, WIDTHS, SETTING } kind;
typedef struct {
    const char *name, *argument, *help;
    kind kind;
    size_t at;
    double least; /* of a number */
} row;

#define AT(field) offsetof(options, field)
static const row rows[] = {
    { "--set", "key=value", "a setting of the network; may be repeated", SETTING, 0, 0 },
    { "--scale", "ntk|standard|meanfield|mup", "parametrization (ntk)", CHOICE, AT(scale), 0 },
    { "--sigma-in", "init|multiplier", "where sigma stands (init)", CHOICE, AT(sigma_in), 0 },
    { "--width", "N|inf", "width; inf is the limit", WIDTH, AT(width), 0 },
    { "--widths", "N,N,...", "widths of the report", WIDTHS, AT(widths), 0 },
    { "--at-width", "N", "where several powers of n are summed", REAL, AT(at_width), 1 },
    { "--seed", "K", "first seed (1)", WHOLE, AT(seed), 0 },
    { "--seeds", "K", "how many seeds", WHOLE, AT(seeds), 1 },
    { "--data", "mnist|digits", "embedded data (mnist)", TEXT, AT(data), 0 },
    { "--inputs", "X.npy", "inputs (rows, features)", TEXT, AT(inputs), 0 },
    { "--inputs2", "Y.npy", "second inputs of a kernel", TEXT, AT(inputs2), 0 },
    { "--labels", "Y.npy", "classes (rows) of --inputs", TEXT, AT(labels), 0 },
    { "--kernel", "ntk|nngp", "which kernel (ntk)", CHOICE, AT(kernel), 0 },
    { "--outputs", "full|mean", "[N,M,O,O] or its mean over outputs [N,M] (mean)", CHOICE, AT(outputs), 0 },
    { "--out", "K.npy", "where the result goes, float64", TEXT, AT(out), 0 },
    { "--weights", "F.safetensors", "raw omega to load", TEXT, AT(weights), 0 },
    { "--loss", "square|cross-entropy", "loss", CHOICE, AT(loss), 0 },
    { "--optimizer", "sgd|momentum|adam", "optimizer (sgd)", CHOICE, AT(optimizer), 0 },
    { "--rate", "R", "learning rate", REAL, AT(rate), 0 },
    { "--batch", "N", "batch size; 0 is all rows", WHOLE, AT(batch), 0 },
    { "--epochs", "E", "epochs of training", REAL, AT(epochs), 0 },
    { "--steps", "S", "steps of training", WHOLE, AT(steps), 0 },
    { "--probes", "K", "inputs on which the report's kernels are compared (32)", WHOLE, AT(probes), 2 },
    { "--checkpoint", "F.safetensors", "written while training", TEXT, AT(checkpoint), 0 },
    { "--resume", "F.safetensors", "a checkpoint to go on from", TEXT, AT(resume), 0 },
    { "--dtype", "float|double", "type of a finite network", CHOICE, AT(type), 0 },
    { "--threads", "T", "threads (1)", WHOLE, AT(threads), 1 },
};

static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "limn: %s %s; see limn --help\n", what, value);
    return 2;
}

static void help(void)
{
    puts("limn report|train|eval|kernel|program NET [options]\n\n"
         "NET is mlp (settings depth=3, phi=relu, sigma_w, sigma_b=none, outputs) or a C file that defines\n"
         "ad_var limn_network(nn_net *net, ad_var x); see nn/entry.h.\n\n"
         "  report   trains at several widths and compares with the limit\n"
         "  train    trains at one width\n"
         "  eval     loss and accuracy of --weights\n"
         "  kernel   NTK or NNGP kernel, at a width or in the limit\n"
         "  program  the Netsor\u22a4 program\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("  %-13s %-27s %s\n", rows[i].name, rows[i].argument, rows[i].help);
    puts("\nExit status: 0 done, 1 failed, 2 wrong usage.");
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

static int set(options *o, const row *r, const char *value)
{
    char *field = (char *)o + r->at, text[96];
    double x;
    snprintf(text, sizeof text, "%s takes %s, not", r->name, r->argument);
    switch (r->kind) {
    case TEXT: *(const char **)(void *)field = value; return 0;
    case SETTING:
        if (!strchr(value, '=') || o->n_settings == MOST_SETTINGS)
            return usage_error(text, value);
        o->settings[o->n_settings++] = value;
        return 0;
    case CHOICE: {
        int k = choice(r->argument, value);
        if (k < 0)
            return usage_error(text, value);
        *(int *)(void *)field = k;
        o->loss_given |= r->at == AT(loss);
        return 0;
    }
    case WIDTH:
        if (strcmp(value, "inf") == 0) {
            o->width = 0;
            return 0;
        }
        if (!number(value, &x) || x < 2 || x > 1e7 || floor(x) < x)
            return usage_error("--width takes a whole number of at least 2, or inf, not", value);
        o->width = (size_t)x;
        return 0;
    case WIDTHS:
        o->n_widths = 0;
        for (const char *at = value; *at;) {
            char *end;
            long n = strtol(at, &end, 10);
            if (end == at || n < 2 || n > 10000000 || (*end && *end != ',') || o->n_widths == MOST_WIDTHS)
                return usage_error("--widths takes whole numbers of at least 2 with commas, not", value);
            o->widths[o->n_widths++] = (size_t)n;
            at = *end ? end + 1 : end;
        }
        return 0;
    case REAL:
    case WHOLE:
        if (!number(value, &x) || x < r->least || (r->kind == WHOLE && (floor(x) < x || x > 1e9)))
            return usage_error(text, value);
        if (r->kind == REAL)
            *(double *)(void *)field = x;
        else
            *(long *)(void *)field = (long)x;
        return 0;
    }
    return 0;
}

int options_parse(options *o, int argc, char **argv)
{
    *o = (options){ .seed = 1, .outputs = NN_MEAN, .type = AD_DOUBLE, .threads = 1, .probes = 32, .batch = -1 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help();
            return -1;
        }
        if (argv[i][0] != '-') {
            if (!o->command)
                o->command = argv[i];
            else if (!o->network)
                o->network = argv[i];
            else
                return usage_error("one word too many:", argv[i]);
            continue;
        }
        const row *found = NULL;
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            if (strcmp(rows[k].name, argv[i]) == 0)
                found = &rows[k];
        if (!found)
            return usage_error("unknown option", argv[i]);
        if (i + 1 == argc)
            return usage_error("an argument is missing after", argv[i]);
        int status = set(o, found, argv[++i]);
        if (status)
            return status;
    }
    if (!o->command || choice("report|train|eval|kernel|program", o->command) < 0)
        return usage_error("unknown command", o->command ? o->command : "(none)");
    return o->network ? 0 : usage_error("no network after", o->command);
}
