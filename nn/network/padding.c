/* padding.c: which steps of a sequence are there, where zeros stand in front of it. */
#include "nn/network/network.h"

ad_var nn_padding_mask_at(ad_where where, nn_net *net, ad_var x, size_t t)
{
    if (!nn_takes(where, net, "present", "mask", x))
        return nn_nothing(net);
    if (ad_shape_get(x)->rank != 3)
        return ad_poison(net->graph, where, "present: only sequences, (batch, time, features), have padding");
    ad_axis time = ad_shape_get(x)->axes[1], features = ad_shape_get(x)->axes[2];
    ad_axis past = ad_fresh_at(where, net->graph, "past", t + 1);
    ad_var size = ad_unary_at(where, AD_ABS, ad_slice_at(where, x, time, 0, t + 1, past), 0);
    ad_var any = ad_unary_at(where, AD_STEP, ad_sum_at(where, size, ad_shape_of(past, features)), 0);
    return ad_expand_at(where, any, ad_shape_of(net->batch, ad_fixed_at(where, net->graph, "present", 1)));
}
