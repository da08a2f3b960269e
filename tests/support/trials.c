#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

void trial_add(trial *t, double value)
{
    double before = value - t->mean;
    t->n++;
    t->mean += before / t->n;
    t->squares += before * (value - t->mean);
}

double error_of(trial t)
{
    return sqrt(t.squares / ((double)t.n * (t.n - 1)));
}

double distance(trial t, double truth, double allowed)
{
    return fmax(0, fabs(t.mean - truth) - allowed) / error_of(t);
}

trial trial_slope(int n, const double *x, const double *y, const double *errors)
{
    double weight = 0, mean_x = 0, mean_y = 0, xx = 0, xy = 0;
    for (int k = 0; k < n; k++) {
        double w = 1 / (errors[k] * errors[k]);
        weight += w;
        mean_x += w * x[k];
        mean_y += w * y[k];
    }
    mean_x /= weight;
    mean_y /= weight;
    for (int k = 0; k < n; k++) {
        double w = 1 / (errors[k] * errors[k]);
        xx += w * (x[k] - mean_x) * (x[k] - mean_x);
        xy += w * (x[k] - mean_x) * (y[k] - mean_y);
    }
    return (trial){ .n = n, .mean = xy / xx, .squares = 1 / sqrt(xx) };
}

trial_net trial_open(ad_graph *graph, const ad_var *outputs, int n, const ad_sizes *sizes)
{
    trial_net net = { .sizes = *sizes };
    ad_error error = { 0 };
    cr_assert_not(ad_failed(graph), "%s", ad_message(graph));
    net.plan = ad_plan_new(outputs, n, &(ad_plan_spec){ .type = AD_DOUBLE, .capacity = *sizes }, &error);
    cr_assert(net.plan, "%s", error.text);
    for (int id = 0; id < ad_graph_size(graph); id++)
        if (ad_node_of(graph, id)->op == AD_PARAM) {
            int k = net.n_params++;
            cr_assert(k < MOST_PARAMS);
            net.params[k] = (ad_var){ graph, id };
            net.values[k] = calloc(ad_elements(graph, &ad_node_of(graph, id)->shape, sizes), sizeof(double));
            ad_bind(net.plan, net.params[k], net.values[k]);
        }
    return net;
}

void trial_draw(trial_net *net, uint64_t seed)
{
    ad_error error = { 0 };
    for (int k = 0; k < net->n_params; k++)
        cr_assert(!ad_draw(net->params[k], &net->sizes, seed, AD_DOUBLE, net->values[k], &error), "%s", error.text);
    cr_assert(!ad_run(net->plan, &net->sizes, &error), "%s", error.text);
}

void trial_close(trial_net *net)
{
    for (int k = 0; k < net->n_params; k++)
        free(net->values[k]);
    ad_plan_free(net->plan);
}

static double angle(double q11, double q22, double q12)
{
    return acos(fmin(1, fmax(-1, q12 / sqrt(q11 * q22))));
}

double expected_relu_relu(double q11, double q22, double q12)
{
    double theta = angle(q11, q22, q12), pi = acos(-1);
    return sqrt(q11 * q22) * (sin(theta) + (pi - theta) * cos(theta)) / (2 * pi);
}

double expected_step_step(double q11, double q22, double q12)
{
    double pi = acos(-1);
    return (pi - angle(q11, q22, q12)) / (2 * pi);
}

/* ---- vectors and matrices of one width ---- */
space space_new(void)
{
    space s = { .graph = ad_graph_new(NULL) };
    s.n = ad_width(s.graph, "n", 1);
    return s;
}

ad_var matrix(space s, const char *name)
{
    ad_init init = { .axis = s.n, .deviation = 1, .deviation_power = -0.5 };
    return ad_param(s.graph, name, ad_shape_of(s.n, ad_prime(s.n)), init);
}

ad_var vector(space s, const char *name, double mean)
{
    return ad_param(s.graph, name, ad_shape_of(s.n), (ad_init){ .deviation = 1, .mean = mean });
}

ad_var times(space s, ad_var w, ad_var x)
{
    ad_axis second = ad_prime(s.n);
    return ad_contract(w, ad_relabel(x, s.n, second), ad_shape_of(second));
}

ad_var transposed_times(space s, ad_var w, ad_var x)
{
    return ad_relabel(ad_contract(w, x, ad_shape_of(s.n)), ad_prime(s.n), s.n);
}

ad_var average(space s, ad_var x)
{
    return ad_mean(x, ad_shape_of(s.n));
}

ad_var average_product(space s, ad_var x, ad_var y)
{
    return average(s, ad_mul(x, y));
}
