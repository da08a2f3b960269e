/* options.c: what stands on the command line: parsing, checking and help, from the table in options.def. */
#include "examples/limn/base/base.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    TEXT,
    REAL,
    WHOLE,
    WORD,
    AT_WIDTH,
    WIDTHS,
    TIMES,
    SIZE,
    SCHEDULE,
    SETTING,
    MAPPING,
    EXPECTATION,
    FLAG
} kind;
enum { WORDS = 8 };
typedef struct {
    const char *name, *argument, *help;
    kind kind;
    size_t at;
    double minimum, maximum;  /* of a number */
    const char *const *words; /* of a choice */
} row;

#define MAX_WIDTH 1e7
#define MAX_WHOLE 1e9
#define MAX_REAL DBL_MAX
_Static_assert(AD_MAX_THREADS == 1024, "the help of --threads tells it");

static const row rows[OPTIONS] = {
#define OPTION(ID, NAME, ARGUMENT, KIND, FIELD, MINIMUM, MAXIMUM, HELP)                                                \
    [OPTION_##ID] = { .name = NAME,                                                                                    \
                      .argument = ARGUMENT,                                                                            \
                      .help = HELP,                                                                                    \
                      .kind = KIND,                                                                                    \
                      .at = offsetof(options, FIELD),                                                                  \
                      .minimum = MINIMUM,                                                                              \
                      .maximum = MAXIMUM },
#define CHOICE(ID, NAME, FIELD, HELP, ...)                                                                             \
    [OPTION_##ID] = { .name = NAME,                                                                                    \
                      .help = HELP,                                                                                    \
                      .kind = WORD,                                                                                    \
                      .at = offsetof(options, FIELD),                                                                  \
                      .words = (const char *const[WORDS]){ __VA_ARGS__ } },
#include "examples/limn/base/options.def"
};

int option_fail(const char *what, const char *value)
{
    fprintf(stderr, "limn: %s %s; see limn --help\n", what, value);
    return 2;
}

const char *option_word(option of, int choice)
{
    return rows[of].words[choice];
}

/* ---- help ---- */
/* What stands behind the option's name: "ntk|nngp" for a choice. */
static const char *argument_of(const row *r, char *text, size_t size)
{
    size_t used = 0;
    if (!r->words)
        return r->argument ? r->argument : "";
    for (int k = 0; k < WORDS && r->words[k] && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", k ? "|" : "", r->words[k]);
    return text;
}

static void print_commands(const tool_command *const *commands)
{
    printf("limn ");
    for (int k = 0; commands[k]; k++)
        printf("%s%s", k ? "|" : "", commands[k]->name);
    puts(" NET|FILE [options]\n");
    for (int k = 0; commands[k]; k++)
        printf("  %-8s %s\n", commands[k]->name, commands[k]->summary);
}

static void print_networks(void)
{
    puts("\nNET is one of these, with the settings' defaults, or a C file that defines\n"
         "ad_var limn_network(nn_net *net, ad_var x); see nn/entry.h.\n\n"
         "  mlp  depth=3, phi=relu, sigma_w=1.41421, sigma_b=none, weights=gaussian (orthogonal: the hidden ones), "
         "outputs\n"
         "  rnn  depth=1, phi=tanh, cell=vanilla (gru, lstm; torch_rnn, torch_gru, torch_lstm), readout=last (mean, "
         "last_step),\n"
         "       padding=none (front), sigma_w=1, sigma_u=1, sigma_b=none, sigma_v=1, outputs; reads an image row by "
         "row;\n"
         "       PyTorch's cells: sigma_b=0, readout_bias=0, bidirectional=no (yes), and no padding\n"
         "  batchnorm  depth=3, phi=relu, eps=1e-05, affine=no (yes), sigma_w=1.41421, sigma_b=none, "
         "readout_bias (sigma_b), outputs;\n"
         "       the inputs of a kernel are one batch, and those of --inputs2 another\n");
}

/* Of one command, or, for NULL, of all. */
static void print_help(const tool_command *const *commands, const tool_command *about)
{
    char text[80];
    if (about)
        printf("limn %s %s [options]\n\n%s: %s.\n%s\n", about->name, about->argument, about->name, about->summary,
               about->manual);
    else
        print_commands(commands);
    if (!about || strstr(about->argument, "NET"))
        print_networks();
    for (int i = 0; i < OPTIONS; i++)
        if (!about || about->takes >> i & 1) {
            const char *argument = argument_of(&rows[i], text, sizeof text);
            bool wide = strlen(argument) > 30;
            printf("  %-15s %-30s%s%*s%s\n", rows[i].name, argument, wide ? "\n" : "", wide ? 49 : 1, "", rows[i].help);
        }
    puts("\nExit status: 0 done, 1 failed, 2 wrong usage, 130 or 143 ended by Ctrl-C or SIGTERM.");
}

/* ---- values ---- */
static bool parse_number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = ad_number(text, &end);
    return end != text && !*end && !errno && isfinite(*value);
}

static bool parse_whole(const char *text, double minimum, double maximum, double *value)
{
    return parse_number(text, value) && *value >= minimum && *value <= maximum && !(floor(*value) < *value);
}

/* "--probes takes a whole number from 2 to 1000000000, not": what an option's row asks of its value. */
static int refuse(const row *r, const char *value)
{
    char text[128], argument[80];
    switch (r->kind) {
    case WHOLE:
        snprintf(text, sizeof text, "%s takes a whole number from %.0f to %.0f, not", r->name, r->minimum, r->maximum);
        break;
    case REAL:
        snprintf(text, sizeof text, "%s takes a number of at least %g, not", r->name, r->minimum);
        break;
    case AT_WIDTH:
        snprintf(text, sizeof text, "%s takes a whole number from %.0f to %.0f, or inf, not", r->name, r->minimum,
                 r->maximum);
        break;
    case WIDTHS:
        snprintf(text, sizeof text, "%s takes up to %d whole numbers of at least %.0f with commas, not", r->name,
                 MAX_WIDTHS, r->minimum);
        break;
    case TIMES:
        snprintf(text, sizeof text, "%s takes up to %d ascending times from 0 to inf with commas, not", r->name,
                 MAX_TIMES);
        break;
    case SCHEDULE:
        snprintf(text, sizeof text, "%s takes log, epoch or a whole number from %.0f to %.0f, not", r->name, r->minimum,
                 r->maximum);
        break;
    default:
        snprintf(text, sizeof text, "%s takes %s, not", r->name, argument_of(r, argument, sizeof argument));
    }
    return option_fail(text, *value ? value : "an empty text");
}

/* The setters take an option's value; false: it is none. */
static bool set_choice(options *o, const row *r, const char *value)
{
    int k = 0;
    while (k < WORDS && r->words[k] && strcmp(r->words[k], value) != 0)
        k++;
    if (k == WORDS || !r->words[k])
        return false;
    *(int *)(void *)((char *)o + r->at) = k;
    o->loss_given |= r == &rows[OPTION_LOSS];
    o->scaling_given |= r == &rows[OPTION_SCALING];
    o->type_given |= r == &rows[OPTION_DTYPE];
    o->scale_given |= r == &rows[OPTION_SCALE];
    o->sigma_in_given |= r == &rows[OPTION_SIGMA_IN];
    return true;
}

static bool set_width(options *o, const row *r, const char *value)
{
    double n = 0;
    o->infinite = strcmp(value, "inf") == 0;
    if (!o->infinite && !parse_whole(value, r->minimum, r->maximum, &n))
        return false;
    o->width = (size_t)n;
    return true;
}

static bool set_widths(options *o, const row *r, const char *value)
{
    o->n_widths = 0;
    for (const char *at = value; at;) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || (double)n < r->minimum || (double)n > r->maximum || (*end && *end != ',') ||
            o->n_widths == MAX_WIDTHS)
            return false;
        o->widths[o->n_widths++] = (size_t)n;
        at = *end ? end + 1 : NULL;
    }
    return true;
}

static bool set_times(options *o, const char *value)
{
    const char *at = value;
    for (o->n_times = 0; at; o->n_times++) {
        char one[32];
        size_t length = strcspn(at, ",");
        double t = (double)INFINITY, before = o->n_times ? o->times[o->n_times - 1] : 0;
        snprintf(one, sizeof one, "%.*s", (int)(length < 31 ? length : 31), at);
        if ((strcmp(one, "inf") != 0 && !parse_number(one, &t)) || t < before || o->n_times == MAX_TIMES)
            return false;
        o->times[o->n_times] = t;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

static bool set_size(options *o, const char *value)
{
    int length = 0;
    return !value[strspn(value, "0123456789x")] &&
           sscanf(value, "%5zux%5zu%n", &o->resize_width, &o->resize_height, &length) == 2 && !value[length] &&
           o->resize_width && o->resize_height;
}

static bool set_schedule(options *o, const row *r, const char *value)
{
    double steps;
    o->drift_schedule = strcmp(value, "epoch") == 0 ? NN_EPOCHS : NN_LOG_STEPS;
    o->drift_every = 0;
    if (strcmp(value, "log") == 0 || strcmp(value, "epoch") == 0)
        return true;
    if (!parse_whole(value, r->minimum, r->maximum, &steps))
        return false;
    o->drift_schedule = NN_STEPS;
    o->drift_every = (long)steps;
    return true;
}

static bool set_number(options *o, const row *r, const char *value)
{
    char *field = (char *)o + r->at;
    double x;
    if (r->kind == WHOLE && parse_whole(value, r->minimum, r->maximum, &x))
        *(long *)(void *)field = (long)x;
    else if (r->kind == REAL && parse_number(value, &x) && x >= r->minimum)
        *(double *)(void *)field = x;
    else
        return false;
    return true;
}

static int set(options *o, const row *r, const char *value)
{
    bool good = true;
    switch (r->kind) {
    case TEXT:
        good = *value;
        *(const char **)(void *)((char *)o + r->at) = value;
        break;
    case SETTING:
        if (o->n_settings == MAX_SETTINGS)
            return option_fail("there are more than 32 settings at", value);
        good = strchr(value, '=');
        o->settings[o->n_settings++] = value;
        break;
    case MAPPING:
        if (o->n_maps == MAX_SETTINGS)
            return option_fail("there are more than 32 maps at", value);
        good = strchr(value, '=');
        o->maps[o->n_maps++] = value;
        break;
    case EXPECTATION:
        if (o->n_psi == MAX_SETTINGS)
            return option_fail("there are more than 32 expectations at", value);
        o->psi[o->n_psi++] = value;
        break;
    case WORD:
        good = set_choice(o, r, value);
        break;
    case AT_WIDTH:
        good = set_width(o, r, value);
        break;
    case WIDTHS:
        good = set_widths(o, r, value);
        break;
    case TIMES:
        good = set_times(o, value);
        break;
    case SIZE:
        good = set_size(o, value);
        break;
    case SCHEDULE:
        good = set_schedule(o, r, value);
        break;
    case REAL:
    case WHOLE:
        good = set_number(o, r, value);
        break;
    case FLAG:
        *((bool *)o + r->at) = true;
        break;
    }
    return good ? 0 : refuse(r, value);
}

/* ---- the command line ---- */
static const tool_command *command_of(const tool_command *const *commands, const char *name)
{
    while (*commands && strcmp((*commands)->name, name) != 0)
        commands++;
    return *commands;
}

/* The option's number, OPTIONS if there is none of that name. */
static int option_of(const char *name, size_t length)
{
    int k = 0;
    while (k < OPTIONS && (strlen(rows[k].name) != length || memcmp(rows[k].name, name, length) != 0))
        k++;
    return k;
}

/* Help and version answer even to what is wrong elsewhere. True if one was asked for. */
static bool answer(const tool_command *const *commands, int argc, char **argv)
{
    bool help = false, version = false;
    const tool_command *about = NULL;
    for (int i = 1; i < argc; i++) {
        help |= strcmp(argv[i], rows[OPTION_HELP].name) == 0 || strcmp(argv[i], "-h") == 0;
        version |= strcmp(argv[i], rows[OPTION_VERSION].name) == 0;
        about = about ? about : command_of(commands, argv[i]);
    }
    if (help)
        print_help(commands, about);
    else if (version)
        puts("limn " LIMN_VERSION);
    return help || version;
}

static bool takes_source(const tool_command *command)
{
    return command && strchr(command->argument, ' ');
}

/* The first word is the command, the last the network, and some commands have a file in between. */
static int read_word(options *o, const tool_command *const *commands, const char *word)
{
    const char **at = !o->command ? &o->command : &o->network;
    if (o->command && !o->source && takes_source(command_of(commands, o->command)))
        at = &o->source;
    if (*at)
        return option_fail("one word too many:", word);
    *at = word;
    return 0;
}

/* An option is "--name value" or "--name=value". */
static int read_all(options *o, const tool_command *const *commands, option_set *given)
{
    char *const *argv = o->argv;
    for (int i = 1; i < o->argc; i++) {
        if (argv[i][0] != '-') {
            if (read_word(o, commands, argv[i]))
                return 2;
            continue;
        }
        size_t length = strcspn(argv[i], "=");
        int k = option_of(argv[i], length);
        const char *value = argv[i][length] ? argv[i] + length + 1 : NULL;
        if (k == OPTIONS)
            return option_fail("unknown option", argv[i]);
        if (rows[k].kind == FLAG && value)
            return option_fail("no value belongs to", rows[k].name);
        if (rows[k].kind != FLAG && !value) {
            if (i + 1 == o->argc)
                return option_fail("an argument is missing after", argv[i]);
            value = argv[++i];
        }
        if (set(o, &rows[k], value))
            return 2;
        *given |= (option_set)1 << k;
    }
    return 0;
}

static int check_taken(const tool_command *command, option_set given)
{
    for (int k = 0; k < OPTIONS; k++)
        if (given & ~command->takes & (option_set)1 << k) {
            fprintf(stderr, "limn: %s takes no %s; see limn %s --help\n", command->name, rows[k].name, command->name);
            return 2;
        }
    return 0;
}

/* What options say to each other in every command. */
static int settle(options *o)
{
    if (o->inputs && o->data)
        return option_fail("--inputs and --data exclude each other in", o->command);
    if (o->labels && !o->inputs && !o->data)
        return option_fail("--labels needs --inputs or --data in", o->command);
    if (o->inputs &&
        (o->resize_width || o->grey || o->transpose || o->label_column || o->test_fraction > 0 || o->split_seed))
        return option_fail(
            "--inputs are taken as they are: what changes images, columns and the split is for --data in", o->command);
    if (o->test_fraction >= 1)
        return option_fail("--test-fraction is below 1 in", o->command);
    if (o->labels2 && !o->inputs2)
        return option_fail("--labels2 needs --inputs2 in", o->command);
    if (o->seeds > 1 && o->weights)
        return option_fail("one file of weights is of one seed: no --seeds in", o->command);
    if (o->explain && (o->out || o->covariance))
        return option_fail("--explain computes nothing for --out in", o->command);
    return 0;
}

int options_parse(options *o, const tool_command *const *commands, int argc, char **argv, const tool_command **chosen)
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
    option_set given = 0;
    if (answer(commands, argc, argv))
        return -1;
    int status = read_all(o, commands, &given);
    *chosen = o->command ? command_of(commands, o->command) : NULL;
    if (!status && !*chosen)
        status = option_fail("unknown command", o->command ? o->command : "(none)");
    if (!status)
        status = check_taken(*chosen, given);
    if (!status && takes_source(*chosen) && !o->source)
        status = option_fail("no file after", o->command);
    if (!status && !o->network)
        status =
            option_fail(strcmp((*chosen)->argument, "FILE") == 0 ? "no file after" : "no network after", o->command);
    if (!status)
        status = settle(o);
    if (!status && (*chosen)->settle)
        status = (*chosen)->settle(o);
    if ((int)o->type < 0)
        o->type = AD_DOUBLE;
    return status;
}
