/* kernel.c: limn kernel: the NTK and the NNGP kernel of inputs, at a width or in the limit, whole or by part. */
#include "examples/limn/commands/kernel.h"
#include "examples/limn/commands/commands.h"

#include <string.h>

static int open_job(kernel_job *j, ad_error *error)
{
    const options *o = j->o;
    if (!(j->data = data_load_both(o, &j->second, error)))
        return -1;
    size_t maximum = o->probes > 0 ? (size_t)o->probes : o->inputs || o->data ? SIZE_MAX : 32;
    j->rows = j->data->rows < maximum ? j->data->rows : maximum;
    j->rows2 = j->second.data ? j->second.shape[0] : j->rows;
    if (!(j->net = network_trace(o, j->data, error)))
        return -1;
    j->outputs = nn_n_outputs(j->net);
    j->full = o->outputs == NN_FULL;
    for (int which = TP_NTK; which <= TP_NNGP; which++)
        if ((int)o->kernel == which || (int)o->kernel == KERNEL_BOTH)
            j->results[j->n_results++].which = (tp_kernel_kind)which;
    if (o->width || o->weights)
        return kernel_parts(j, error);
    if (o->scale == NN_MEANFIELD || o->scale == NN_MUP) {
        return ad_fail(error, "limits are for --scale ntk and standard: %s has a kernel at a --width N",
                       option_word(OPTION_SCALE, (int)o->scale));
    }
    j->program = (o->mode == NN_TRAINING ? tp_translate_training : tp_translate)(j->net, error);
    return j->program ? kernel_parts(j, error) : -1;
}

static void close_job(kernel_job *j)
{
    for (int k = 0; k < j->n_results; k++) {
        ad_free(j->results[k].values);
        ad_free(j->results[k].errors);
        tp_kernel_free(&j->results[k].limit);
    }
    ad_free(j->params);
    tp_program_free(j->program);
    nn_net_free(j->net);
    ds_array_free(&j->second);
    ds_free(j->data);
}

static int run_kernel(const options *o, ad_error *error)
{
    kernel_job j = { .o = o };
    int status = open_job(&j, error);
    if (!status && o->explain) {
        status = tp_rank() == 0 ? kernel_explain(&j, error) : 0;
    } else if (!status && kernel_wants_tiles(&j)) {
        status = kernel_tiles(&j, error);
    } else if (!status && tp_rank() == 0) {
        status = kernel_find(&j, error);
        if (!status && o->out)
            status = kernel_write(&j, error);
        if (!status)
            status = kernel_tell(&j, error);
    }
    close_job(&j);
    return status;
}

/* Files of several arrays have an ending of their own. */
static bool takes_several(const char *path)
{
    return path_ends_with(path, ".npz") || path_ends_with(path, ".csv");
}

static int settle_part(const options *o)
{
    size_t block[2];
    if (o->params && o->kernel != TP_NTK)
        return option_fail("--params is for the NTK, not --kernel", option_word(OPTION_KERNEL, (int)o->kernel));
    if (o->block && !kernel_block(o->block, block))
        return option_fail("--block takes an output or two, as 0 or 0,3, not", o->block);
    if (o->block && o->outputs == NN_FULL)
        return option_fail("--block is one of the blocks that --outputs full has all of in", o->command);
    if (o->of && (o->block || o->outputs == NN_FULL))
        return option_fail("a hidden vector (--of) has no outputs: no --block and no --outputs full in", o->command);
    if (o->of && o->mode == NN_EVALUATION)
        return option_fail("hidden vectors (--of) are those in training: no --mode eval in", o->command);
    if (o->out && (int)o->kernel == KERNEL_BOTH && !takes_several(o->out))
        return option_fail("two kernels are written to a FILE.npz or .csv, not to", o->out);
    return 0;
}

static int settle_kernel(options *o)
{
    if (o->at_width > 0 && o->width)
        return option_fail("--at-width sums a limit, --width N has none in", o->command);
    if (o->mode == NN_EVALUATION && !o->width && !o->weights)
        return option_fail("--mode eval needs --width N or --weights in", o->command);
    return o->infinite && o->weights ? option_fail("--width inf knows no --weights in", o->command) : settle_part(o);
}

const tool_command command_kernel = {
    .name = "kernel",
    .argument = "NET",
    .summary = "NTK or NNGP kernel, at a width or in the limit",
    .manual =
        "Without --width (or with --width inf) it is the limit, else a network drawn from --seed, or of --weights.\n"
        "Without --out it prints the first rows and columns. --explain tells memory and time in place of computing.\n"
        "A limit as --dtype float, or of a GB or more, goes to --out K.npy tile by tile: K.npy.partial meanwhile,\n"
        "which the same command goes on with after a kill. mpirun -n R limn kernel ... finds tiles on R processes.\n"
        "The mean over several seeds, or of samples, has standard errors: in print, beside the kernels in a .npz\n"
        "(ntk, ntk_standard_errors, ...) or .csv file, and those of seeds beside K.npy in K.standard_errors.npy.",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(SCALING) | TAKE(INPUTS2) | TAKE(WIDTH) | TAKE(AT_WIDTH) | TAKE(SEED) |
             TAKE(SEEDS) | TAKE(KERNEL) | TAKE(PARAMS) | TAKE(OF) | TAKE(BLOCK) | TAKE(OUTPUTS) | TAKE(WEIGHTS) |
             TAKE(LAYOUT) | TAKE(OUT) | TAKE(MODE) | TAKE(PROBES) | TAKE(DTYPE) | TAKE(ENGINE) | TAKE(RULE) |
             TAKE(SAMPLES) | TAKE(RUNS) | TAKE(TOLERANCE) | TAKE(NO_CHECK) | TAKE(THREADS) | TAKE(EXPLAIN) |
             TAKE(PROGRESS),
    .settle = settle_kernel,
    .run = run_kernel,
    .shared = true,
};
