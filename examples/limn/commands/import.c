/* import.c: limn import: the weights of a PyTorch model become those of a network. */
#include "examples/limn/commands/commands.h"

/* The network in the standard scale, where W is omega, and in the scale that was asked for. */
typedef struct {
    nn_net *nets[2];
    nn_model *models[2];
    cJSON *root;
} job;

static int trace_both(job *j, const options *o, size_t *width, ad_error *error)
{
    nn_input_kind input;
    nn_function function = network_function(o, &input, error);
    nn_spec spec = { .parametrization = NN_STANDARD, .settings = o->settings, .name = o->network };
    ds_data *data = function && (o->inputs || o->data) ? data_load(o, error) : NULL;
    int status = function && (data || !(o->inputs || o->data)) ? 0 : -1;
    if (!status && data)
        status = network_sample(o, data, input, &spec, error);
    ds_free(data);
    if (status || nn_import_sizes(function, input, &spec, width, o->source, o->maps, error))
        return -1;
    if (!(j->nets[0] = nn_trace(function, &spec, error)))
        return -1;
    spec.parametrization = o->scale;
    spec.sigma_in = o->sigma_in;
    spec.abc = o->abc;
    return (j->nets[1] = nn_trace(function, &spec, error)) ? 0 : -1;
}

static void tell_pair(const char *torch, const char *limn, void *context)
{
    cJSON *list = context;
    if (list)
        json_put(list, torch, cJSON_CreateString(limn));
    else
        printf("  %s = %s\n", torch, limn);
}

static int fill_both(job *j, const options *o, size_t width, ad_type type, ad_error *error)
{
    cJSON *list = j->root ? json_put(j->root, "tensors", cJSON_CreateObject()) : NULL;
    for (int i = 0; i < 2; i++)
        if (!(j->models[i] = nn_model_new(j->nets[i], width, 0, i ? type : AD_DOUBLE, (int)o->threads, error)))
            return -1;
    if (nn_import(j->models[0], o->source, o->maps, tell_pair, list, error) ||
        nn_copy_weights(j->models[1], j->models[0], error))
        return -1;
    return nn_save(j->models[1], o->out, error);
}

static int tell(job *j, const options *o, size_t width, ad_error *error)
{
    size_t features = nn_features(j->nets[1]), outputs = nn_n_outputs(j->nets[1]);
    const size_t *shape = nn_spec_of(j->nets[1])->shape;
    if (shape[1])
        features = shape[2] ? shape[2] : shape[1];
    if (j->root) {
        json_put(j->root, "width", json_number((double)width));
        json_put(j->root, "features", json_number((double)features));
        json_put(j->root, "outputs", json_number((double)outputs));
        json_put(j->root, "out", cJSON_CreateString(o->out));
        cJSON *root = j->root;
        j->root = NULL;
        return json_print(root, error);
    }
    printf("%s at width %zu, %zu features, %zu outputs, scale %s: written to %s\n", o->network, width, features,
           outputs, option_word(OPTION_SCALE, (int)o->scale), o->out);
    return 0;
}

static int run_import(const options *o, ad_error *error)
{
    job j = { .root = o->json ? json_new(o) : NULL };
    size_t width = o->width;
    nn_weights_info *info = nn_weights_info_read(o->source, error);
    ad_type type = o->type_given ? o->type : info ? info->type : AD_DOUBLE;
    int status = info ? trace_both(&j, o, &width, error) : -1;
    if (!status)
        status = fill_both(&j, o, width, type, error);
    if (!status)
        status = tell(&j, o, width, error);
    nn_weights_info_free(info);
    cJSON_Delete(j.root);
    for (int i = 0; i < 2; i++) {
        nn_model_free(j.models[i]);
        nn_net_free(j.nets[i]);
    }
    return status;
}

static int settle_import(options *o)
{
    if (o->infinite)
        return option_fail("--width inf has no meaning in", o->command);
    return o->out ? 0 : option_fail("--out W.safetensors is missing in", o->command);
}

const tool_command command_import = {
    .name = "import",
    .argument = "TORCH.safetensors NET",
    .summary = "the weights of a PyTorch model as those of a network",
    .manual =
        "In PyTorch: safetensors.torch.save_file(model.state_dict(), \"torch.safetensors\"). Then, say,\n\n"
        "  limn import torch.safetensors mlp --set depth=2 --set sigma_b=0 \\\n"
        "      --set phi=tanh --out w.safetensors\n"
        "  limn eval mlp --weights w.safetensors --inputs x.npy --out f.npy\n\n"
        "The function stays the same in every --scale: matrices are turned from (out, in) to (in, out), and omega is\n"
        "W / (c n^p), c n^p what the scale multiplies by (1 in --scale standard). Width, features and outputs are "
        "found\n"
        "from the shapes. Which tensor is which: --map, then equal names, then modules of equal shapes in the order "
        "of\n"
        "the numbers in their names (0, 2, 4; layers.0, ...; fc1, fc2). Every tensor must have its place but\n"
        "num_batches_tracked; the pairs are told. Biases have theirs with --set sigma_b=0 (of mlp, batchnorm).\n"
        "RNN, GRU and LSTM, with their depth and directions: rnn --set cell=torch_rnn|torch_gru|torch_lstm, and\n"
        "readout=last (h_n of the last layer), last_step (output[:, -1]) or mean. BatchNorm: batchnorm --set "
        "affine=yes.\n"
        "Conv2d (stride 1, padding (k - 1) / 2 or, padding=valid, 0), AvgPool2d and Flatten: cnn, with --inputs or\n"
        "--data for the pictures' size: (rows, height, width, channels), where PyTorch has the channels first.",
    .takes = TAKE(INPUTS) | TAKE(DATA) | TAKE(SET) | TAKE(SCALE) | TAKE(SIGMA_IN) | TAKE(WIDTH) | TAKE(MAP) |
             TAKE(OUT) | TAKE(DTYPE) | TAKE(THREADS) | TAKE(JSON) | TAKE(HELP) | TAKE(VERSION),
    .settle = settle_import,
    .run = run_import,
};
