/* program.c: limn program: the network as a Netsor-transpose program, and the checks on it. */
#include "examples/limn/commands/commands.h"
#include "examples/limn/commands/kernel.h"

#include <stdlib.h>

/* The program's text as JSON, and each check with its reason. */
static int tell_json(const options *o, const tp_program *program, ad_error *error)
{
    static const char *const names[] = { "initialization", "readout_mean", "readout_independent", "readout_unused" };
    char *text = NULL;
    size_t size;
    tp_checks checks = { 0 };
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return ad_fail(error, "out of memory for the program's text");
    int status = tp_print(program, stream, TP_PAPER, error);
    if (fclose(stream) != 0 && !status)
        status = ad_fail(error, "out of memory for the program's text");
    if (!status && tp_check(program, &checks, error) < 0)
        status = -1;
    if (!status) {
        bool holds[] = { checks.initialization, checks.readout_mean, checks.readout_independent,
                         checks.readout_unused };
        cJSON *root = json_new(o);
        json_put(root, "program", cJSON_CreateString(text));
        cJSON *list = json_put(root, "checks", cJSON_CreateObject());
        for (int k = 0; k < 4; k++) {
            cJSON *check = json_put(list, names[k], cJSON_CreateObject());
            json_put(check, "holds", cJSON_CreateBool(holds[k]));
            if (!holds[k])
                json_put(check, "reason", cJSON_CreateString(checks.text[k]));
        }
        status = json_print(root, error);
    }
    free(text);
    return status;
}

/* LaTeX, JSON of the program alone, or the kernel's recursion. */
static int print_program(const options *o, const tp_program *program, ad_error *error)
{
    if (o->recursion && (o->json || o->format == TP_JSON))
        return ad_fail(error, "--recursion is printed as text or LaTeX");
    if (o->recursion && o->block) {
        size_t block[2] = { 0 };
        kernel_block(o->block, block);
        return tp_print_recursion_of(program, block[0], stdout, o->format, error);
    }
    if (o->recursion)
        return tp_print_recursion(program, stdout, o->format, error);
    return o->json ? tell_json(o, program, error) : tp_print(program, stdout, o->format, error);
}

static int run_program(const options *o, ad_error *error)
{
    ds_data *data = o->inputs || o->data ? data_load(o, error) : NULL;
    bool known = data || !(o->inputs || o->data);
    nn_net *net = known ? network_trace(o, data, error) : NULL;
    tp_program *program = net ? tp_translate(net, error) : NULL;
    int status = program ? print_program(o, program, error) : -1;
    tp_program_free(program);
    nn_net_free(net);
    ds_free(data);
    return status;
}

static int settle_program(options *o)
{
    size_t block[2];
    if (o->block && !o->recursion)
        return option_fail("--block is one output's --recursion in", o->command);
    if (o->block && (!kernel_block(o->block, block) || block[0] != block[1]))
        return option_fail("--block takes one output, as 0, whose own recursion is printed, not", o->block);
    return 0;
}

const tool_command command_program = {
    .name = "program",
    .argument = "NET",
    .summary = "prints the Netsor\u22a4 program and checks it",
    .manual = "The forward and backward pass in the paper's notation, each command with its line of source.\n"
              "--recursion prints the kernel's own recursion in its place; outputs that are not alike\n"
              "have one each, which follow one another, or the one of --block A alone.",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(FORMAT) | TAKE(RECURSION) | TAKE(BLOCK),
    .settle = settle_program,
    .run = run_program,
};
