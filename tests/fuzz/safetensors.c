/* safetensors.c: files of named arrays, as they are, as weights of a network and as those of a PyTorch model. What is
 * read is written and read again, the same. */
#include "nn/safetensors/safetensors.h"
#include "nn/nn.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void comes_back(const nn_tensors *file)
{
    ad_error error = { 0 };
    nn_tensor all[64];
    size_t n = nn_tensors_count(file);
    if (n > 64)
        return;
    for (size_t k = 0; k < n; k++)
        all[k] = *nn_tensors_at(file, k);
    fuzz_holds(nn_tensors_write(fuzz_in("y.safetensors"), all, n, NULL, 0, &error) == 0);
    nn_tensors *again = nn_tensors_read(fuzz_in("y.safetensors"), &error);
    fuzz_holds(again && nn_tensors_count(again) == n);
    for (size_t k = 0; k < n; k++) {
        const nn_tensor *t = nn_tensors_find(again, all[k].name);
        fuzz_holds(t && t->count == all[k].count && t->dtype == all[k].dtype && t->rank == all[k].rank);
        for (size_t i = 0; i < t->count && i < 1000; i++) {
            double a = nn_tensor_value(t, i), b = nn_tensor_value(&all[k], i);
            fuzz_holds(memcmp(&a, &b, sizeof a) == 0);
        }
    }
    nn_tensors_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static nn_model *model;
    static nn_net *net;
    ad_error error = { 0 };
    if (!net) {
        net = nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = 2, .name = "mlp" }, &error);
        model = net ? nn_model_new(net, 2, 1, AD_DOUBLE, 1, &error) : NULL;
        fuzz_holds(model != NULL);
    }
    const char *path = fuzz_in("x.safetensors");
    fuzz_put("x.safetensors", bytes, count);
    nn_tensors *file = nn_tensors_read(path, &error);
    fuzz_verdict(!file, &error);
    if (file)
        comes_back(file);
    nn_tensors_free(file);
    error = (ad_error){ 0 };
    nn_weights_info *info = nn_weights_info_read(path, &error);
    fuzz_verdict(!info, &error);
    nn_weights_info_free(info);
    error = (ad_error){ 0 };
    fuzz_verdict(nn_width_of_weights(net, path, &error) == 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(nn_load(model, path, &error) != 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(nn_import(model, path, NULL, NULL, NULL, &error) != 0, &error);
    return 0;
}
