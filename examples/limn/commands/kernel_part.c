/* kernel_part.c: the parameters, the vector and the outputs that a kernel is asked for. */
#include "examples/limn/commands/kernel.h"

#include <fnmatch.h>
#include <string.h>

static const char *param_name(const nn_net *net, int k)
{
    return ad_node_of(nn_graph(net), nn_param(net, k).id)->name;
}

/* A pattern that fits no parameter. */
static int refuse_pattern(const nn_net *net, const char *pattern, ad_error *error)
{
    char list[300] = "";
    int n = nn_n_params(net);
    const char **names = ad_alloc((size_t)n + 1, sizeof *names, "names", error);
    for (int k = 0; names && k < n; k++) {
        size_t used = strlen(list);
        names[k] = param_name(net, k);
        snprintf(list + used, sizeof list - used, "%s%s", k ? ", " : "", names[k]);
    }
    const char *closest = names ? ad_closest(pattern, names) : NULL;
    if (names)
        ad_fail(error, "--params %s fits no parameter%s%s%s: they are %s", pattern, closest ? " (did you mean " : "",
                closest ? closest : "", closest ? "?)" : "", list);
    ad_free(names);
    return -1;
}

static int choose_params(kernel_job *j, ad_error *error)
{
    char pattern[128];
    const nn_net *net = j->net;
    if (!(j->params = ad_alloc((size_t)nn_n_params(net) + 1, sizeof *j->params, "parameters", error)))
        return -1;
    for (const char *at = j->o->params; at;) {
        size_t length = strcspn(at, ",");
        bool fits = false;
        if (length >= sizeof pattern)
            return ad_fail(error, "--params: a pattern of %zu characters is too long", length);
        snprintf(pattern, sizeof pattern, "%.*s", (int)length, at);
        for (int k = 0; k < nn_n_params(net); k++)
            if (fnmatch(pattern, param_name(net, k), 0) == 0)
                fits = j->params[k] = true;
        if (!fits)
            return refuse_pattern(net, pattern, error);
        at = at[length] ? at + length + 1 : NULL;
    }
    j->part.params = j->params;
    return 0;
}

/* The program that has the name is the network's; a limit then needs that of the vector. */
static int choose_vector(kernel_job *j, bool limit, ad_error *error)
{
    if (j->o->mode == NN_TRAINING && nn_has_dropout(j->net))
        return ad_fail(error, "--of %s: hidden vectors are those without the masks of dropout: no --mode train",
                       j->o->of);
    tp_program *program = j->program ? j->program : tp_translate(j->net, error);
    int status = program ? tp_vector_named(program, j->o->of, &j->part.of, error) : -1;
    tp_program_free(program);
    j->program = !status && limit ? tp_translate_vector(j->net, j->part.of, error) : NULL;
    return status || (limit && !j->program) ? -1 : 0;
}

bool kernel_block(const char *text, size_t block[2])
{
    int length = 0, n = sscanf(text, "%5zu%n,%5zu%n", &block[0], &length, &block[1], &length);
    if (n == 1)
        block[1] = block[0];
    return n >= 1 && !text[length] && !text[strspn(text, "0123456789,")];
}

int kernel_parts(kernel_job *j, ad_error *error)
{
    if (j->o->params && choose_params(j, error))
        return -1;
    if (j->o->of && choose_vector(j, j->program != NULL, error))
        return -1;
    for (int k = 0; k < 2 && j->o->block; k++)
        if (kernel_block(j->o->block, j->block) && j->block[k] >= j->outputs)
            return ad_fail(error, "--block %s: %s has %zu outputs, 0 to %zu", j->o->block, j->o->network, j->outputs,
                           j->outputs - 1);
    return 0;
}
