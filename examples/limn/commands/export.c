/* export.c: limn export: the weights of a network become those of a PyTorch model. */
#include "examples/limn/commands/commands.h"

/* The network as its file has it, and in the standard scale, where W is omega. */
typedef struct {
    ds_data *data; /* of --data or --inputs; NULL: the file says the sample */
    nn_net *nets[2];
    nn_model *models[2];
} job;

static int trace_both(job *j, const options *o, ad_error *error)
{
    options standard = *o;
    const size_t *sample = o->info->sample;
    ds_data shape = { .features = sample[0] * (sample[1] ? sample[1] : 1) };
    standard.scale = NN_STANDARD;
    standard.sigma_in = NN_SIGMA_INIT;
    if (sample[1])
        shape.height = sample[0], shape.width = sample[1];
    if ((o->inputs || o->data) && !(j->data = data_load(o, error)))
        return -1;
    if (!j->data && !shape.features)
        return ad_fail(error, "%s: it does not say the inputs of its network: give some, by --inputs or --data",
                       o->weights);
    for (int i = 0; i < 2; i++)
        if (!(j->nets[i] = network_trace(i ? &standard : o, j->data ? j->data : &shape, error)))
            return -1;
    return 0;
}

static void tell_pair(const char *torch, const char *limn, void *context)
{
    if (!*(const bool *)context)
        printf("  %s = %s\n", torch, limn);
}

static int run_export(const options *o, ad_error *error)
{
    job j = { 0 };
    bool json = o->json;
    ad_type type = o->type_given ? o->type : o->info->type;
    options wide = *o;
    wide.type = AD_DOUBLE;
    int status = trace_both(&j, o, error);
    if (!status)
        status = (j.models[0] = network_model(&wide, j.nets[0], 0, 0, error)) ? 0 : -1;
    size_t width = j.models[0] ? nn_model_width(j.models[0]) : 0;
    if (!status)
        status = (j.models[1] = nn_model_new(j.nets[1], width, 0, AD_DOUBLE, (int)o->threads, error)) ? 0 : -1;
    if (!status)
        status = nn_copy_weights(j.models[1], j.models[0], error);
    if (!status)
        status = nn_export(j.models[1], o->out, o->like, o->maps, type, tell_pair, &json, error);
    if (!status && !json)
        printf("%s at width %zu: written to %s\n", o->network, width, o->out);
    if (!status && json) {
        cJSON *root = json_new(o);
        json_put(root, "width", json_number((double)width));
        json_put(root, "out", cJSON_CreateString(o->out));
        status = json_print(root, error);
    }
    for (int i = 0; i < 2; i++) {
        nn_model_free(j.models[i]);
        nn_net_free(j.nets[i]);
    }
    ds_free(j.data);
    return status;
}

static int settle_export(options *o)
{
    o->weights = o->source;
    return o->out ? 0 : option_fail("--out TORCH.safetensors is missing in", o->command);
}

const tool_command command_export = {
    .name = "export",
    .argument = "W.safetensors NET",
    .summary = "the weights of a network as those of a PyTorch model",
    .manual = "  limn export w.safetensors mlp --out torch.safetensors --like model.safetensors\n\n"
              "and in PyTorch: model.load_state_dict(safetensors.torch.load_file(\"torch.safetensors\")). Matrices are "
              "(out,\n"
              "in), what the scale multiplies by is in them, and gates are joined again. Names are those of --like, "
              "found as\n"
              "limn import finds them, or by --map (0=dense1), or else the network's own (dense1.weight).",
    .takes = TAKE_NETWORK | TAKE(MAP) | TAKE(LIKE) | TAKE(LAYOUT) | TAKE(OUT) | TAKE(DTYPE) | TAKE(THREADS),
    .settle = settle_export,
    .run = run_export,
};
