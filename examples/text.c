/* A recurrent network reads a text letter by letter, learns which one comes next, and writes on.
 *
 *     ./build/examples/text */
#include "limn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "the rain falls on the hill and the hill sends the rain to the river "
                           "the river runs to the sea and the sea sends the rain to the sky "
                           "the sky keeps the rain until the wind asks for it and then the rain falls on the hill ";

enum { READ = 16, LETTERS = 27, WIDTH = 96, WRITTEN = 160, ROWS = sizeof text - 1 };

static int number_of(char letter)
{
    return letter == ' ' ? 0 : letter - 'a' + 1;
}

/* A gated recurrent unit (Cho et al., arXiv:1406.1078): s = z s + (1 - z) tanh(W (r s) + U e), of letters e. */
static ad_var gru(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), read = ad_shape_get(x)->axes[1];
    nn_weight w[3], u[3];
    for (int gate = 0; gate < 3; gate++) { /* z, r, and the new state */
        w[gate] = nn_make_weight(net, nn_name(net, "W%d", gate), n, n, 1);
        u[gate] = nn_make_weight(net, nn_name(net, "U%d", gate), n, n, 1);
    }
    /* one table of letters for all steps: of all at once, and then a step's */
    ad_var letters = nn_embedding(net, "letters", x, LETTERS, n, 1), s = { nn_graph(net), -1 };
    for (size_t t = 0; t < READ; t++) {
        ad_var e = ad_take(letters, read, t);
        ad_var z = ad_sigmoid(t ? ad_add(nn_apply(w[0], s), nn_apply(u[0], e)) : nn_apply(u[0], e));
        ad_var next = nn_apply(u[2], e);
        if (t > 0) {
            ad_var r = ad_sigmoid(ad_add(nn_apply(w[1], s), nn_apply(u[1], e)));
            next = ad_add(next, nn_apply(w[2], ad_mul(r, s)));
        }
        next = ad_tanh(next);
        s = t ? ad_add(next, ad_mul(z, ad_sub(s, next))) : ad_sub(next, ad_mul(z, next));
    }
    return nn_readout(net, "readout", s);
}

/* A letter drawn by its probability, e^f over their sum. */
static int draw(const double *f, double u)
{
    double sum = 0, below = 0;
    for (int k = 0; k < LETTERS; k++)
        sum += exp(f[k]);
    for (int k = 0; k < LETTERS; k++)
        if ((below += exp(f[k]) / sum) > u)
            return k;
    return LETTERS - 1;
}

static int write_on(nn_model *model, const double *start, ad_error *error)
{
    double seen[READ], f[LETTERS], u[WRITTEN];
    memcpy(seen, start, sizeof seen);
    ad_uniform(7, ad_stream("letters"), 0, WRITTEN, u);
    for (int i = 0; i < WRITTEN; i++) {
        if (nn_forward(model, seen, 1, f, error) != 0)
            return -1;
        int next = draw(f, u[i]);
        memmove(seen, seen + 1, sizeof seen - sizeof *seen);
        seen[READ - 1] = next;
        putchar(next ? 'a' + next - 1 : ' ');
    }
    putchar('\n');
    return 0;
}

int main(void)
{
    static double x[ROWS * READ], y[ROWS]; /* READ letters of the text, which begins again, and the next one */
    ad_error error = { 0 };
    for (int i = 0; i < ROWS; i++) {
        for (int t = 0; t < READ; t++)
            x[i * READ + t] = number_of(text[(i + t) % ROWS]);
        y[i] = number_of(text[(i + READ) % ROWS]);
    }
    nn_net *net = nn_trace(gru, &(nn_spec){ .features = READ, .outputs = LETTERS, .name = "text" }, &error);
    nn_model *model = net ? nn_model_new(net, WIDTH, 1, AD_FLOAT, 1, &error) : NULL;
    nn_data data = { x, y, ROWS, LETTERS };
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 0.03, .batch = 32, .epochs = 40 };
    fit.schedule = NN_RATE_COSINE;
    fit.clip = 1;
    double loss, accuracy;
    int status = !model || nn_fit(model, &data, &fit, NULL, &error) ||
                 nn_evaluate(model, &data, NN_CROSS_ENTROPY, &loss, &accuracy, &error);
    if (!status)
        printf("%.1f %% of the next letters are the likeliest ones; it writes:\n\n", 100 * accuracy);
    if (status || write_on(model, x, &error))
        fprintf(stderr, "text: %s\n", error.text);
    nn_model_free(model);
    nn_net_free(net);
    return status ? 1 : 0;
}
