/* weights_copy.c: the weights of a model in another parametrization or type. */
#include "nn/model/model.h"

#include <math.h>
#include <string.h>

/* Of one width, with the same parameters. */
static int check_parameters(const nn_model *to, const nn_model *from, ad_error *error)
{
    if (to->n != from->n)
        return ad_fail(error, "%s: weights of width %zu cannot be copied to width %zu", nn_title(to->net), from->n,
                       to->n);
    int n = nn_count_tensors(to), n_from = nn_count_tensors(from);
    for (int k = 0; k < n || k < n_from; k++) {
        const char *one = k < n ? nn_tensor_name(to, k) : "none", *two = k < n_from ? nn_tensor_name(from, k) : "none";
        if (strcmp(one, two) != 0)
            return ad_fail(error,
                           "%s: weights cannot be copied between networks of other parameters: %s here, %s there (with "
                           "sigma in the multiplier, a bias of sigma 0 is left out)",
                           nn_title(to->net), one, two);
        if (to->offsets[k + 1] != from->offsets[k + 1])
            return ad_fail(error, "%s: weights cannot be copied: %s is of another shape", nn_title(to->net), one);
    }
    return 0;
}

/* The same function of W. */
static int check_same(const nn_model *to, const nn_model *from, ad_error *error)
{
    uint64_t one, two;
    if (check_parameters(to, from, error) != 0)
        return -1;
    if (nn_trace_mark(to->net, &one, error) != 0 || nn_trace_mark(from->net, &two, error) != 0)
        return -1;
    if (one == two)
        return 0;
    return ad_fail(
        error,
        "%s: weights cannot be converted from the scale %s to %s: the two traces do not compute the same of W "
        "(a parameter that is used without its multiplier does this)",
        nn_title(to->net), nn_parametrization_name(from->net->spec.parametrization),
        nn_parametrization_name(to->net->spec.parametrization));
}

int nn_copy_weights(nn_model *to, const nn_model *from, ad_error *error)
{
    if (check_same(to, from, error) != 0)
        return -1;
    for (int k = 0; k < nn_count_tensors(to); k++) {
        bool param = k < to->net->n_params;
        double was = param ? nn_multiplier(from->net, k, &from->sizes) : 1;
        double is = param ? nn_multiplier(to->net, k, &to->sizes) : 1;
        if (!(fabs(is) > 0))
            return ad_fail(error, "%s: %s is multiplied by 0", nn_title(to->net), nn_tensor_name(to, k));
        for (size_t i = from->offsets[k]; i < from->offsets[k + 1]; i++) {
            double x = nn_value(from->values, i, from->type) * (was / is);
            if (to->type == AD_FLOAT)
                ((float *)to->values)[i] = (float)x;
            else
                ((double *)to->values)[i] = x;
        }
    }
    return 0;
}
