/* base.h: what the commands of the tool stand on: options, networks, data, results as JSON, Ctrl-C. */
#ifndef LIMN_EXAMPLES_LIMN_BASE_BASE_H
#define LIMN_EXAMPLES_LIMN_BASE_BASE_H
#include "limn.h"

#include <cjson/cJSON.h>

enum { MAX_SETTINGS = 32, MAX_WIDTHS = 16, MAX_TIMES = 64, MAX_RIDGES = 64 };
/* Of --optimizer, beyond nn_optimizer. */
enum { GRADIENT_FLOW = NN_N_OPTIMIZERS };
/* Of --choose. */
enum { CHOOSE_CV, CHOOSE_LOO, CHOOSE_LIKELIHOOD };
/* Of --kernel, beyond tp_kernel_kind. */
enum { KERNEL_BOTH = TP_NNGP + 1 };

typedef struct {
    const char *command, *network;
    const char *source; /* of the commands that take a file before the network */
    int argc;
    char *const *argv; /* as they were typed */
    const char *settings[MAX_SETTINGS + 1];
    int n_settings;
    const char *freeze[MAX_SETTINGS + 1]; /* patterns, ended by NULL */
    int n_freeze;
    const char *abc[MAX_SETTINGS + 1]; /* PATTERN=A,B,C, ended by NULL: those of scale_file first */
    int n_abc;
    const char *scale_file;  /* NULL: --scale is a word */
    char *own[MAX_SETTINGS]; /* what was read from there */
    int n_own;
    const char *maps[MAX_SETTINGS + 1]; /* TORCH=LIMN, ended by NULL */
    int n_maps;
    const char *like;
    const char *grid[MAX_SETTINGS]; /* key=value,value,... */
    int n_grid;
    double ridges[MAX_RIDGES]; /* relative ones, as ridge is */
    int n_ridges;
    int choose; /* CHOOSE_CV ...; -1: not given */
    long folds; /* 0: none */
    const char *csv;
    bool centre, no_centre;
    const char *psi[MAX_SETTINGS]; /* expectations to be found */
    int n_psi;
    const char *data, *inputs, *inputs2, *labels, *label_column, *out, *weights, *checkpoint, *resume;
    const char *labels2, *start, *covariance, *store;
    const char *from, *to; /* vectors of a Jacobian; NULL: the default ones */
    const char *drift, *drift_kernels, *drift_limit;
    nn_weights_info *info; /* what the file of --weights or --resume says; NULL: none is read */
    nn_parametrization scale;
    nn_sigma_in sigma_in;
    nn_layout layout;
    nn_loss loss;
    int optimizer;         /* nn_optimizer or GRADIENT_FLOW; -1: not given */
    tp_kernel_kind kernel; /* or KERNEL_BOTH */
    const char *params, *of, *block, *plots;
    tp_engine engine;
    tp_rule_choice rule;
    nn_kernel_outputs outputs;
    nn_mode mode;
    ad_type type;
    ds_scaling scaling;
    size_t width;                       /* 0: infinite, or the command's default */
    size_t resize_width, resize_height; /* 0: not given */
    double at_width;                    /* 0: not given */
    long split_seed;
    double rate, epochs, tolerance, ridge, momentum; /* 0: not given */
    double weight_decay, noise, test_fraction;       /* -1: not given */
    nn_drift_schedule drift_schedule;
    double drift_share;
    long drift_every; /* 0: the schedule's default */
    double trace_seconds;
    long trace_nodes;
    long steps, seeds, seed, batch, probes, threads, samples, runs, train, test;
    long moments, degrees, points, base_width; /* 0: not given */
    nn_rate_schedule rate_schedule;
    double step_size, gamma, rate_min, clip, label_smoothing, validation; /* 0: not given */
    long warm_up, patience;
    const char *best;
    size_t widths[MAX_WIDTHS];
    int n_widths;
    double times[MAX_TIMES]; /* ascending, INFINITY for inf */
    int n_times;
    bool loss_given, scaling_given, scale_given, sigma_in_given, type_given;
    bool rate_given, epochs_given, steps_given;
    bool infinite; /* infinite: --width inf was written */
    tp_style format;
    bool critical, check, json, explain, grey, transpose, recursion, no_check, progress, help, version;
} options;

/* ---- options.c ---- */
typedef enum {
#define OPTION(ID, ...) OPTION_##ID,
#define CHOICE(ID, ...) OPTION_##ID,
#include "examples/limn/base/options.def"
    OPTIONS
} option;
/* The groups of the help, in its order. */
#define OPTION_GROUPS(ROW)                                                                                             \
    ROW(USUAL, "Most used")                                                                                            \
    ROW(NETWORK, "The network")                                                                                        \
    ROW(DATA, "Data and their form")                                                                                   \
    ROW(KERNEL, "Kernels")                                                                                             \
    ROW(LIMIT, "The limit")                                                                                            \
    ROW(PREDICTION, "Prediction")                                                                                      \
    ROW(TRAINING, "Training")                                                                                          \
    ROW(DRIFT, "Drift of the kernel while it trains")                                                                  \
    ROW(WEIGHTS, "Weights")                                                                                            \
    ROW(PROGRAM, "Programs")                                                                                           \
    ROW(RUN, "The run")

/* A set of options, by their bits. */
__extension__ typedef unsigned __int128 option_set;
_Static_assert(OPTIONS <= 8 * sizeof(option_set), "a command's options are the bits of one word");

/* Sets of options, as bits: TAKE(SEED) | TAKE(SEEDS). */
#define TAKE(ID) ((option_set)1 << OPTION_##ID)
#define TAKE_ALWAYS (TAKE(INPUTS) | TAKE(JSON) | TAKE(HELP) | TAKE(VERSION))
#define TAKE_NETWORK                                                                                                   \
    (TAKE(SET) | TAKE(SCALE) | TAKE(ABC) | TAKE(SIGMA_IN) | TAKE(DATA) | TAKE(RESIZE) | TAKE(GREY) | TAKE(TRANSPOSE) | \
     TAKE(LABEL_COLUMN) | TAKE(TEST_FRACTION) | TAKE(SPLIT_SEED) | TAKE(TRACE_SECONDS) | TAKE(TRACE_NODES) |           \
     TAKE_ALWAYS)

typedef struct {
    const char *name, *argument;  /* NET, FILE, or a file and NET: "F.safetensors NET" */
    const char *summary, *manual; /* one line, and the rest of its help */
    option_set takes;
    /* What its options say to each other, and its defaults: 0, or 2 after option_fail. May be NULL. */
    int (*settle)(options *o);
    /* 0; -1 with an error; 128 and the signal with an error that tells where a fit was interrupted. */
    int (*run)(const options *o, ad_error *error);
    bool shared; /* among ranks, each of which runs it; else rank 0 alone does */
} tool_command;

/* `commands` ends with NULL. 0 and the command that was chosen; 2 with one line on standard error; -1 after help or the
 * version was printed. */
int options_parse(options *o, const tool_command *const *commands, int argc, char **argv, const tool_command **chosen);
/* Prints "limn: WHAT VALUE; see limn --help"; returns 2. */
int option_fail(const char *what, const char *value);
/* The word of a choice: "ntk" for OPTION_SCALE and NN_NTK. */
const char *option_word(option of, int choice);
bool no_step(const options *o); /* --epochs 0 and --steps 0 leave the network as it was drawn */

/* ---- paths.c ---- */
/* Before any work: 2 with an error where an output is an input or another output, -1 where one cannot be written. */
int paths_check(const options *o, ad_error *error);
/* Can a file be written there? What stands there stays. */
int path_writable(const char *path, ad_error *error);

/* ---- help.c ---- */
/* In 80 columns: of one command, or, for NULL, of all. */
void help_print(const tool_command *const *commands, const tool_command *about);
void help_first(void); /* what to type, for one who typed nothing: on standard error */
/* What the help says of networks and their settings. */
void help_networks(char *text, size_t size);

/* ---- pages.c: what is installed beside the tool, from the same table: to standard output ---- */
void pages_man(const tool_command *const *commands, const tool_command *about); /* limn.1, or limn-COMMAND.1 */
void pages_bash(const tool_command *const *commands);                           /* completion */
void pages_zsh(const tool_command *const *commands);

/* ---- network.c ---- */
/* The network's function, built in or a C file's, and what it takes of one sample. */
nn_function network_function(const options *o, nn_input_kind *input, ad_error *error);
/* What one sample of the data is to a network that takes such input, in spec's features and shape. */
int network_sample(const options *o, const ds_data *data, nn_input_kind input, nn_spec *spec, ad_error *error);
/* The network on inputs such as the data's, in the shape that it takes: a built-in one or a C file's. data NULL: the
 * embedded mnist's. */
nn_net *network_trace(const options *o, const ds_data *data, ad_error *error);
/* The network at --width, else at the width of --weights, else at `width`; its values are those of --weights, if given.
 * It owns nothing of the net, which must outlive it. */
nn_model *network_model(const options *o, const nn_net *net, size_t width, uint64_t seed, ad_error *error);

/* ---- guard.c ---- */
void guard_over(void); /* the process ends by itself, and not by the code of a network's C file */

/* ---- scale_file.c ---- */
/* Reads the file of --scale FILE into abc; scale_file_forget frees what it points to. */
int scale_file_read(options *o, ad_error *error);
void scale_file_forget(options *o);

/* ---- weights.c ---- */
/* Scale, sigma-in and settings of the file of --weights or --resume, where the command line has none, told in one line.
 * weights_forget frees what they point to. */
int weights_recall(options *o, ad_error *error);
void weights_forget(options *o);
bool weights_converted(const options *o); /* they are of another scale than --scale and --sigma-in say */

/* ---- data.c ---- */
/* Inputs and, where they are known, labels: --data, or --inputs and --labels. y is NULL without labels. */
ds_data *data_load(const options *o, ad_error *error);
/* The scaling that the options ask for. */
ds_scaling data_scaling(const options *o);
/* With it --inputs2, which must have the axes of the data's inputs and is scaled as these are, by the rows that train;
 * none without that option. ds_array_free frees it, after an error, too. */
ds_data *data_load_both(const options *o, ds_array *second, ad_error *error);
/* The same in two steps: as they were read, and scaled. */
ds_data *data_read_both(const options *o, ds_array *second, ad_error *error);
int data_scale(ds_data *data, ds_array *second, ds_scaling scaling, ad_error *error);
/* --labels2, of the second inputs: classes or targets, as --labels are; ds_array_free frees it. */
int data_labels2(const options *o, const ds_data *data, size_t rows, ds_array *labels, ad_error *error);
bool path_ends_with(const char *path, const char *ending); /* ".npy": what kind of file it is */
/* The name or path of the inputs, for messages. */
const char *data_name(const options *o);
/* Name, rows, shape, split and classes of a set that --data read from files, and the set's note: a line each, or a
 * member of root if that is not NULL; nothing for other inputs without a note. */
void data_tell(const options *o, const ds_data *data, cJSON *root);
/* What the data asks of a network: a number a class, or one a target; 0 without labels. */
size_t data_outputs(const ds_data *data);

/* ---- checked_limit.c ---- */
typedef struct {
    bool training; /* tp_training_kernel's, else tp_limit's */
    tp_kernel_kind which;
    const double *x, *x2; /* x2 NULL: x */
    size_t rows, rows2;
    tp_limit_spec spec;
    double sharing;   /* so many questions have one's time for second opinions; 0: this one alone */
    const char *told; /* a missing rule that stands in it is told already; NULL */
} limit_question;
/* Finds the limit and, where opinion is not NULL, asks for a second opinion of an exact one, unless --no-check is
 * given: a disagreement is an error, and there is no kernel. That the exact rules lacked one is told on standard
 * error. */
int limit_find(const options *o, tp_program *program, const limit_question *q, tp_kernel *kernel, tp_opinion *opinion,
               ad_error *error);
/* tp_kernel_model_spec.error of a limit's kernel of so many rows: what hides its small eigenvalues. The error of a rule
 * bounds each entry's. That of samples is the size of all entries' together (Frobenius), of which an eigenvalue of
 * independent ones sees 2 / sqrt(n) (Wigner), and of one that entries have in common, a factor of all, less. */
double limit_hides(double error, bool sampled, size_t side);
/* The opinion, if there is one, as one line, or as a member of root if that is not NULL. */
void limit_tell(const tp_opinion *opinion, cJSON *root);

/* What samples say of a kernel that was found, in about so many seconds. */
int limit_judge(tp_program *program, const limit_question *q, const tp_kernel *found, double seconds,
                tp_opinion *opinion, ad_error *error);

/* ---- tiles.c: kernels tile by tile ---- */
#define LARGE 1e9 /* bytes from which on time and memory are told before */
typedef struct {
    const options *o;
    tp_program *program;
    size_t features;
    limit_question ask;
    const char *what; /* of progress */
    const char *path; /* of a .npy file, filled as PATH.partial; NULL: memory */
    bool single;
    size_t notes;                       /* bytes of the caller's in the partial file */
    bool (*is_used)(const void *notes); /* has the caller taken the kernel over, whose tiles are then let alone? */
} tiles_job;
typedef struct {
    ds_npy_map *map; /* NULL: memory */
    void *memory, *values, *notes;
    tp_tile_mark *marks;
    size_t count;   /* of marks */
    tp_kernel told; /* method, error, shape */
} tiles;
/* Time and memory are told before on standard error, where there is much, and how much was there. After an error or a
 * kill the file has what was found. tiles_free in any case. */
int tiles_find(const tiles_job *job, tiles *found, ad_error *error);
/* Seconds of the whole, by a piece of it. */
int tiles_forecast(const tiles_job *job, double *seconds, ad_error *error);
int tiles_judge(const tiles_job *job, const tiles *found, tp_opinion *opinion, ad_error *error);
void tiles_free(tiles *found); /* the partial file stays where it has a tile */

/* ---- outputs.c ---- */
/* Limit kernels between the outputs of a program. */
typedef struct {
    const options *o;
    tp_program *program;
    limit_question ask; /* its outputs are not looked at */
    size_t outputs;
    double width;        /* where powers of n are summed; 0: they are an error */
    bool full;           /* (rows, rows2, outputs, outputs); else the mean of the outputs' own, (rows, rows2) */
    tp_opinion *opinion; /* of the output whose own kernel is farthest from its samples; NULL: none is asked for */
    bool *sampled;       /* set where samples or points found a kernel; NULL: it is not asked */
} outputs_job;
/* Is the first output's kernel all that there is, with nothing between two outputs (which counts if `full`)? */
bool outputs_share_a_kernel(const tp_program *program, bool full);
/* *worst: raised to the largest error. */
int outputs_limit(const outputs_job *job, double *out, char *method, size_t method_size, double *worst,
                  ad_error *error);

/* ---- json.c: the result of a command as one object. Memory that runs out is told once, by json_print. ---- */
void json_begin(void);             /* before all else */
cJSON *json_new(const options *o); /* {"command": ..., "network": ..., "settings": {...}, "scale": ..., ...} */
/* Adds item, which may be NULL, and returns it; with it "KEY_why" where it is a number that is null, or has one. */
cJSON *json_put(cJSON *object, const char *key, cJSON *item);
/* With as many digits as come back equal. JSON has no infinity and no NaN: they are null, and json_put says why. */
cJSON *json_number(double x);
cJSON *json_time(double t);                                             /* infinity is "inf" */
cJSON *json_array(const double *values, const size_t *shape, int rank); /* nested lists, row-major */
int json_print(cJSON *object, ad_error *error);                         /* prints and frees it */

/* ---- progress.c: how far a long piece of work is, on standard error: if that is a terminal, or --progress is given.
 * One piece at a time. ---- */
void progress_begin(const options *o, const char *what); /* "36 kernels" */
void progress_tell(double share, void *context); /* of the work that is done, from 0 to 1; context is not looked at */
/* Says on standard error that it takes so many seconds more, where these are more than a minute; did it? */
bool progress_foresee(const char *command, const char *what, double seconds);
void progress_end(void); /* takes it off the terminal */

/* ---- ranks.c: under mpirun, of a limn that was built with MPI; else nothing to do. What the ranks do not share rank 0
 * does alone; it alone prints and writes. ---- */
void ranks_quieten(void); /* before all else: ranks beside 0 say nothing */
int ranks_begin(ad_error *error);
/* All ranks' status: an error of one is that of all. */
int ranks_end(int status, ad_error *error);

/* ---- interrupt.c: SIGINT and SIGTERM between begin and end are noted; the second of a kind kills. ---- */
void interrupt_begin(void);
void interrupt_end(void);
int interrupt_caught(void); /* the signal's number, 0: none */
#endif
