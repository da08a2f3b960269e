/* options.c: what stands on the command line: parsing and checking, from the table in options.def. */
#include "examples/limn/base/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int option_fail(const char *what, const char *value)
{
    ad_error line = { 0 }; /* one line, whatever was typed */
    ad_fail(&line, "%s %.200s%s", what, value, strlen(value) > 200 ? "..." : "");
    fprintf(stderr, "limn: %s; see limn --help\n", line.text);
    return 2;
}

/* ---- values ---- */
static bool parse_number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = ad_number(text, &end);
    return end != text && !*end && !errno && isfinite(*value);
}

/* One of a list with commas: of so many bytes. */
static bool parse_item(const char *text, size_t length, double *value)
{
    char *end;
    errno = 0;
    *value = ad_number(text, &end);
    return length && end == text + length && !errno && isfinite(*value);
}

static bool parse_whole(const char *text, double minimum, double maximum, double *value)
{
    return parse_number(text, value) && *value >= minimum && *value <= maximum && !(floor(*value) < *value);
}

/* "--probes takes a whole number from 2 to 1000000000, not": what an option's row asks of its value. */
static int refuse(const row *r, const char *value)
{
    char text[160], argument[80];
    const char *words[WORDS + 1] = { NULL }, *closest = NULL;
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
        snprintf(text, sizeof text, "%s takes up to %d ascending whole numbers of at least %.0f with commas, not",
                 r->name, MAX_WIDTHS, r->minimum);
        break;
    case TIMES:
        snprintf(text, sizeof text, "%s takes up to %d ascending times from 0 to inf with commas, not", r->name,
                 MAX_TIMES);
        break;
    case RIDGES:
        snprintf(text, sizeof text,
                 "%s takes LO:HI[:COUNT], 0 < LO < HI, or numbers from 0 with commas (up to %d), not", r->name,
                 MAX_RIDGES);
        break;
    case SCHEDULE:
        snprintf(text, sizeof text, "%s takes log, epoch or a whole number from %.0f to %.0f, not", r->name, r->minimum,
                 r->maximum);
        break;
    default:
        for (int k = 0; k < WORDS && r->words; k++)
            words[k] = r->words[k];
        closest = ad_closest(value, words);
        snprintf(text, sizeof text, closest ? "%s takes %s (did you mean %s?), not" : "%s takes %s, not", r->name,
                 option_argument(r, argument, sizeof argument), closest);
    }
    return option_fail(text, *value ? value : "an empty text");
}

/* The setters take an option's value; false: it is none. */
static bool set_choice(options *o, const row *r, const char *value)
{
    int k = 0;
    while (k < WORDS && r->words[k] && strcmp(r->words[k], value) != 0)
        k++;
    bool own = r == &rows[OPTION_SCALE] && (k == WORDS || !r->words[k]) && access(value, R_OK) == 0;
    if (own)
        k = NN_NTK;
    else if (k == WORDS || !r->words[k])
        return false;
    *(int *)(void *)((char *)o + r->at) = k;
    o->loss_given |= r == &rows[OPTION_LOSS];
    o->scaling_given |= r == &rows[OPTION_SCALING];
    o->type_given |= r == &rows[OPTION_DTYPE];
    o->scale_given |= r == &rows[OPTION_SCALE];
    if (r == &rows[OPTION_SCALE])
        o->scale_file = own ? value : NULL;
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
            o->n_widths == MAX_WIDTHS || (o->n_widths && n <= (long)o->widths[o->n_widths - 1]))
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
        size_t length = strcspn(at, ",");
        double t = (double)INFINITY, before = o->n_times ? o->times[o->n_times - 1] : 0;
        bool endless = length == 3 && strncmp(at, "inf", 3) == 0;
        if ((!endless && !parse_item(at, length, &t)) || t < before || o->n_times == MAX_TIMES)
            return false;
        o->times[o->n_times] = t;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

/* "1e-6:1e2:9", evenly spaced by their logarithms, one a decade if there is no count. */
static bool set_ridge_range(options *o, const char *value)
{
    char *end;
    double low = ad_number(value, &end), count = 0;
    if (*end != ':' || !(low > 0))
        return false;
    double high = ad_number(end + 1, &end);
    if (!(high > low && isfinite(high)) || (*end && *end != ':'))
        return false;
    if (!*end)
        count = floor(log10(high / low) + 0.5) + 1;
    else if (!parse_whole(end + 1, 2, MAX_RIDGES, &count))
        return false;
    count = fmin(fmax(count, 2), MAX_RIDGES);
    o->n_ridges = (int)count;
    for (int k = 0; k < o->n_ridges; k++) { /* rounded, so that a decade is one */
        char text[32];
        ad_snprintf(text, sizeof text, "%.14g", low * pow(high / low, k / (count - 1)));
        o->ridges[k] = ad_number(text, NULL);
    }
    o->ridges[0] = low;
    o->ridges[o->n_ridges - 1] = high;
    return true;
}

static bool set_ridges(options *o, const char *value)
{
    if (strchr(value, ':'))
        return set_ridge_range(o, value);
    const char *at = value;
    for (o->n_ridges = 0; at; o->n_ridges++) {
        size_t length = strcspn(at, ",");
        if (o->n_ridges == MAX_RIDGES || !parse_item(at, length, &o->ridges[o->n_ridges]) || o->ridges[o->n_ridges] < 0)
            return false;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

/* key=value,value,...: neither is empty. */
static bool is_grid(const char *value)
{
    const char *equals = strchr(value, '=');
    if (!equals || equals == value)
        return false;
    for (const char *at = equals; at; at = strchr(at + 1, ','))
        if (!at[1] || at[1] == ',')
            return false;
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
    o->rate_given |= r == &rows[OPTION_RATE];
    o->epochs_given |= r == &rows[OPTION_EPOCHS];
    o->steps_given |= r == &rows[OPTION_STEPS];
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
    case GRID:
        if (o->n_grid == MAX_SETTINGS)
            return option_fail("there are more than 32 grids at", value);
        good = is_grid(value);
        o->grid[o->n_grid++] = value;
        break;
    case RIDGES:
        good = set_ridges(o, value);
        break;
    case MAPPING:
        if (o->n_maps == MAX_SETTINGS)
            return option_fail("there are more than 32 maps at", value);
        good = strchr(value, '=');
        o->maps[o->n_maps++] = value;
        break;
    case PATTERN:
        if (o->n_freeze == MAX_SETTINGS)
            return option_fail("there are more than 32 patterns at", value);
        good = *value;
        o->freeze[o->n_freeze++] = value;
        break;
    case EXPONENTS:
        if (o->n_abc == MAX_SETTINGS)
            return option_fail("there are more than 32 exponents at", value);
        good = strchr(value, '=');
        o->abc[o->n_abc++] = value;
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
/* "unknown option --widht (did you mean --width?)", with the closest of the names, if one is close. */
static int fail_unknown(const char *what, const char *word, const char *const *names)
{
    char text[200];
    const char *closest = ad_closest(word, names);
    snprintf(text, sizeof text, closest ? "%.80s (did you mean %s?)" : "%.80s", word, closest);
    return option_fail(what, text);
}

static const char *const *command_names(const tool_command *const *commands)
{
    static const char *names[32];
    int n = 0;
    while (n < 30 && commands[n]) {
        names[n] = commands[n]->name;
        n++;
    }
    names[n] = "help";
    return names;
}

/* Of those that the command takes; NULL: of all. */
static const char *const *option_names(const tool_command *command)
{
    static const char *names[OPTIONS + 1];
    int n = 0;
    for (int k = 0; k < OPTIONS; k++)
        if (option_taken(command, k))
            names[n++] = rows[k].name;
    names[n] = NULL;
    return names;
}

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

/* limn help [COMMAND], limn help man|bash|zsh [COMMAND], limn help commands (their names). */
static int answer_help(const tool_command *const *commands, int argc, char **argv)
{
    const char *topic = argc > 2 ? argv[2] : "", *name = argc > 3 ? argv[3] : NULL;
    bool page = strcmp(topic, "man") == 0, names = strcmp(topic, "commands") == 0;
    const tool_command *about = command_of(commands, page && name ? name : topic);
    if (page && name && !about)
        return fail_unknown("unknown command", name, command_names(commands));
    if (page)
        pages_man(commands, about);
    else if (strcmp(topic, "bash") == 0)
        pages_bash(commands);
    else if (strcmp(topic, "zsh") == 0)
        pages_zsh(commands);
    else if (about || !*topic || strcmp(topic, "help") == 0)
        help_print(commands, about);
    else if (!names)
        return fail_unknown("no help on", topic, command_names(commands));
    for (int k = 0; names && commands[k]; k++)
        puts(commands[k]->name);
    return -1;
}

/* Help and version answer even to what is wrong elsewhere: -1 if one was asked for. 2 for nothing at all. */
static int answer(const tool_command *const *commands, int argc, char **argv)
{
    bool help = false, version = false;
    const tool_command *about = NULL;
    if (argc < 2) {
        help_first();
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        help |= strcmp(argv[i], rows[OPTION_HELP].name) == 0 || strcmp(argv[i], "-h") == 0;
        version |= strcmp(argv[i], rows[OPTION_VERSION].name) == 0;
        about = about ? about : command_of(commands, argv[i]);
    }
    if (help)
        help_print(commands, about);
    else if (strcmp(argv[1], "help") == 0)
        return answer_help(commands, argc, argv);
    else if (version)
        puts("limn " LIMN_VERSION);
    return help || version ? -1 : 0;
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

/* An option is "--name value" or "--name=value"; after "--" there is none. */
static int read_all(options *o, const tool_command *const *commands, option_set *given)
{
    char *const *argv = o->argv;
    bool words = false;
    for (int i = 1; i < o->argc; i++) {
        if (!words && strcmp(argv[i], "--") == 0) {
            words = true;
            continue;
        }
        if (words || argv[i][0] != '-') {
            if (read_word(o, commands, argv[i]))
                return 2;
            continue;
        }
        size_t length = strcspn(argv[i], "=");
        int k = option_of(argv[i], length);
        const char *value = argv[i][length] ? argv[i] + length + 1 : NULL;
        if (k == OPTIONS) {
            char name[64]; /* without its value */
            snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), argv[i]);
            return fail_unknown("unknown option", name,
                                option_names(o->command ? command_of(commands, o->command) : NULL));
        }
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
        (o->resize_width || o->grey || o->transpose || o->label_column || o->test_fraction >= 0 || o->split_seed))
        return option_fail(
            "--inputs are taken as they are: what changes images, columns and the split is for --data in", o->command);
    if (o->test_fraction >= 1)
        return option_fail("--test-fraction is below 1 in", o->command);
    if ((int)o->kernel == KERNEL_BOTH && strcmp(o->command, "kernel") != 0)
        return option_fail("--kernel both is for limn kernel, not", o->command);
    if (o->rate_given && !(o->rate > 0) && strcmp(o->command, "predict") == 0)
        return option_fail("nothing moves with --rate 0: nothing is to be told in", o->command);
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
                    .trace_seconds = 300,
                    .trace_nodes = 2000000,
                    .test_fraction = -1,
                    .weight_decay = -1,
                    .noise = -1,
                    .choose = -1 };
    option_set given = 0;
    int answered = answer(commands, argc, argv);
    if (answered)
        return answered;
    int status = read_all(o, commands, &given);
    *chosen = o->command ? command_of(commands, o->command) : NULL;
    if (!status && !*chosen)
        status = o->command ? fail_unknown("unknown command", o->command, command_names(commands))
                            : option_fail("no command among", argv[1]);
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

bool no_step(const options *o)
{
    return (o->steps_given && o->steps == 0) || (!o->steps && o->epochs_given && !(o->epochs > 0));
}
