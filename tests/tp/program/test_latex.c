/* What is printed as LaTeX compiles: programs of networks, programs by hand, and the kernels' recursions. */
#include "limn.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs pdflatex on a document with this body, in a folder of its own; pdflatex must be there. */
static void expect_compiles(const char *body, const char *what)
{
    char folder[] = "/tmp/limn-latex-XXXXXX", path[100], command[500];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.tex", folder);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    fprintf(file,
            "\\documentclass{article}\n\\usepackage{amsmath,amssymb,array,longtable}\n\\begin{document}\n%s\n"
            "\\end{document}\n",
            body);
    fclose(file);
    snprintf(command, sizeof command,
             "cd %s && pdflatex -interaction=nonstopmode -halt-on-error a.tex > out.txt 2>&1 "
             "&& test -s a.pdf && ! grep -q 'Missing character' a.log && ! grep -A3 'Overfull .hbox' a.log",
             folder);
    int status = system(command);
    snprintf(command, sizeof command, "grep -A6 -e '^!' -e 'Overfull .hbox' %s/out.txt; rm -r %s", folder, folder);
    cr_expect_eq(status, 0, "%s: pdflatex gave %d:\n%s", what, status, body);
    cr_expect(system(command) >= 0);
}

static char *fill(const tp_program *program, const tp_script *script, bool recursion)
{
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    FILE *stream = open_memstream(&text, &size);
    int status = script      ? tp_script_print(script, stream, TP_LATEX, &error)
                 : recursion ? tp_print_recursion(program, stream, TP_LATEX, &error)
                             : tp_print(program, stream, TP_LATEX, &error);
    cr_assert_eq(status, 0, "%s", error.text);
    fclose(stream);
    return text;
}

static void twice(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 2 * x[i];
}

static void two(size_t n, const double *x, double *y)
{
    (void)x;
    for (size_t i = 0; i < n; i++)
        y[i] = 2;
}

/* Names that LaTeX would take for its own, widths, layernorm, a transpose, a user's function. */
static ad_var difficult(nn_net *net, ad_var x)
{
    static const ad_function function = { .name = "twice_f", .count = 2, .derivatives = { twice, two } };
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m_2", 1.5);
    nn_weight w = nn_make_weight(net, "W_1.a_b#%&", n, m, 1.2);
    ad_var h = ad_leaky(nn_dense(net, "dense_1", x, n), 0.1);
    ad_var g = nn_apply(w, ad_custom(&function, h));
    ad_var size = ad_mean(ad_square(g), ad_shape_of(m));
    g = ad_mul(g, ad_rsqrt(ad_add(size, ad_constant(nn_graph(net), 1e-5, (ad_shape){ 0 }))));
    return nn_readout(net, "readout", ad_gelu(g));
}

static void check_network(nn_function function, const char *const *settings, nn_spec spec, bool recursion,
                          const char *what)
{
    ad_error error = { 0 };
    spec.settings = settings;
    spec.name = what;
    nn_net *net = nn_trace(function, &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    char *text = fill(program, NULL, recursion);
    expect_compiles(text, what);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

Test(latex, programs_of_networks)
{
    static const char *const rnn[] = { "cell=gru", "padding=front", "sigma_b=0.2", NULL };
    check_network(nn_builtin("mlp"), (const char *const[]){ "sigma_b=0.1", NULL }, (nn_spec){ .features = 3 }, false,
                  "mlp");
    check_network(nn_builtin("rnn"), rnn, (nn_spec){ .shape = { 8, 2 } }, false, "gru");
    check_network(difficult, NULL, (nn_spec){ .features = 3 }, false, "names");
}

/* Zeros around pictures are parts of parts: TeX takes one index for each brace. */
Test(latex, programs_of_filters)
{
    static const char *const strided[] = { "depth=2", "stride=2", NULL };
    ad_error error = { 0 };
    nn_net *net = nn_trace(nn_builtin("cnn"), &(nn_spec){ .shape = { 3, 3, 1 }, .settings = strided }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    char *text = fill(program, NULL, false);
    cr_expect(strstr(text, "]})}_{[") || strstr(text, "]}}_{["), "%s", text);
    cr_expect(!strstr(text, "]}_{["), "%s", text);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

Test(latex, recursions)
{
    static const char *const one[] = { "depth=1", "filter=1", NULL };
    check_network(nn_builtin("cnn"), one, (nn_spec){ .shape = { 3, 3, 1 }, .parametrization = NN_STANDARD }, true,
                  "by position");
    check_network(nn_builtin("mlp"), (const char *const[]){ "sigma_b=0.1", NULL }, (nn_spec){ .features = 3 }, true,
                  "mlp");
    check_network(nn_builtin("rnn"), (const char *const[]){ "readout=mean", NULL }, (nn_spec){ .shape = { 8, 2 } },
                  true, "rnn");
    check_network(difficult, NULL, (nn_spec){ .features = 3 }, true, "names");
}

/* Filters, strides, the other end around, zeros between, filters of each position, normalised, beside a long name. */
static ad_var filters(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_tanh(nn_conv_with(net, "stem_1", x, n, .stride = { 2, 1 }, .bias = true, .sigma_b = 0.3));
    ad_var h = nn_conv_with(net, "b", ad_relu(x), n, .padding = NN_CIRCULAR);
    h = nn_layernorm(net, "norm", ad_add(h, nn_conv(net, "c", ad_gelu(x), n)));
    h = nn_average_pool(net, ad_relu(nn_local(net, "d", ad_relu(h), n)));
    return nn_flatten_readout(net, "out", ad_relu(nn_conv_transpose_with(net, "e", h, n, .stride = { 2 })));
}

Test(latex, recursions_over_positions)
{
    nn_spec picture = { .shape = { 28, 28, 1 }, .outputs = 10 };
    check_network(nn_builtin("cnn"), (const char *const[]){ "sigma_b=0.1", "pool=2", NULL }, picture, true, "cnn");
    check_network(nn_builtin("cnn"), (const char *const[]){ "padding=valid", "stride=2", NULL }, picture, true,
                  "strides");
    check_network(filters, NULL, (nn_spec){ .shape = { 16, 12, 3 } }, true, "filters");
}

/* A residual network with layernorm, GELU and biases, whose names are long: nothing stands over the margin. */
static ad_var resnet(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense_with(net, "embedding.projection_in", x, n, .bias = true, .sigma_b = 0.1);
    for (int block = 1; block <= 4; block++) {
        ad_var u = nn_layernorm(net, nn_name(net, "blocks.%d.norm", block), h);
        u = ad_gelu(nn_dense_with(net, nn_name(net, "blocks.%d.linear1", block), u, n, .sigma_w = 1.5, .bias = true,
                                  .sigma_b = 0.3));
        h = ad_add(h, ad_scale(nn_dense(net, nn_name(net, "blocks.%d.linear2", block), u, n), 0.7));
    }
    return nn_readout(net, "head.readout_weights", ad_tanh(nn_layernorm(net, "final_norm", h)));
}

Test(latex, a_residual_network_fits_the_page)
{
    check_network(resnet, NULL, (nn_spec){ .features = 784, .outputs = 10 }, false, "a ResNet's program");
    check_network(resnet, NULL, (nn_spec){ .features = 784, .outputs = 10 }, true, "a ResNet's recursion");
}

static ad_var deep_tanh(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 3; layer++)
        x = ad_tanh(nn_dense(net, nn_name(net, "dense%d", layer), x, n));
    return nn_readout(net, "readout", x);
}

static char *text_of(nn_function function, size_t features, bool recursion)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = features }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    char *text = fill(program, NULL, recursion);
    tp_program_free(program);
    nn_net_free(net);
    return text;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

/* 1e-05 is 10^{-5}, 1/784 a fraction, 0.49 stays; what several expectations have is defined once. */
Test(latex, numbers_and_names)
{
    char *text = text_of(resnet, 784, true);
    cr_expect(strstr(text, "10^{-5}") && strstr(text, "\\tfrac{1}{784}") && strstr(text, "0.49"), "%s", text);
    cr_expect(!strstr(text, "1e-05") && !strstr(text, "0.00127551") && !strstr(text, "\\left("), "%s", text);
    free(text);
    text = text_of(resnet, 784, false);
    cr_expect(strstr(text, "10^{-5}") && !strstr(text, "e-05"), "%s", text);
    cr_expect_eq(count(text, "\\mathrm{rsqrt}"), 5, "%s", text); /* one a layernorm, for both passes */
    free(text);
    text = text_of(deep_tanh, 3, true);
    cr_expect_eq(count(text, "\\mathrm{square}"), 1, "%s", text);
    cr_expect_eq(count(text, "\\varphi^{1}(u) & ="), 1, "%s", text);
    cr_expect_eq(count(text, "\\varphi^{1}(v)"), 3, "%s", text);
    free(text);
}

Test(latex, programs_by_hand)
{
    ad_error error = { 0 };
    tp_script *script = tp_script_parse("Width  m  := 2 n\n"
                                        "Input  W_1 : A(m, n) ~ N(0, 1/n)\n"
                                        "Input  x  : G(n) ~ N(0.5, 1)\n"
                                        "Input  y  : G(n) ~ N(0, 1), Cov(y, x) = -0.5\n"
                                        "Input  h1 := U x[time=3]/√8 : G(n) ~ N(0, 2 ⟨x[time=3], x[time=3]⟩/8)\n"
                                        "MatMul h2 := W_1 x\n"
                                        "Nonlin a  := tanh(h2)/(1 + square(h2)) − √n h2/n^0.5\n"
                                        "Trsp   Wᵀ := W_1\n"
                                        "MatMul g' := Wᵀ a : G(n) (1/√n)\n"
                                        "Moment e  := ⟨g', y⟩ + ⟨leaky(y, 0.2) ⊙ y⟩\n",
                                        "test.tp", &error);
    cr_assert(script, "%s", error.text);
    char *text = fill(NULL, script, false);
    expect_compiles(text, "by hand");
    free(text);
    tp_script_free(script);
}
