/* The spectra of chains against closed forms: Fuss-Catalan numbers, ReLU's recursion, the arcsine law; and against
 * themselves: mass, moments of the density, edges. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { FEATURES = 3 };
static const double input[FEATURES] = { 1, -0.5, 0.75 };

/* A mlp with `layers` factors W D between its first and its last hidden preactivation. */
static const char *weights = "weights=gaussian";
static int find(int layers, const char *phi, double variance, const tp_spectrum_spec *spec, tp_spectrum *s,
                ad_error *error)
{
    char depth[30], activation[40], sigma[60];
    snprintf(depth, sizeof depth, "depth=%d", layers + 1);
    snprintf(activation, sizeof activation, "phi=%s", phi);
    snprintf(sigma, sizeof sigma, "sigma_w=%.17g", sqrt(variance));
    const char *settings[] = { depth, activation, sigma, weights, NULL };
    nn_spec net_spec = { .features = FEATURES, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(nn_builtin("mlp"), &net_spec, error);
    tp_program *program = net ? tp_translate(net, error) : NULL;
    int status = program ? tp_spectrum_find(program, input, spec, s, error) : -1;
    tp_program_free(program);
    nn_net_free(net);
    return status;
}

static tp_spectrum found(int layers, const char *phi, double variance, tp_spectrum_spec spec)
{
    tp_spectrum s;
    ad_error error = { 0 };
    cr_assert_eq(find(layers, phi, variance, &spec, &s, &error), 0, "%s", error.text);
    return s;
}

static void same(double a, double b, double tolerance, const char *what)
{
    cr_assert(fabs(a - b) <= tolerance * fmax(fabs(b), 1e-300), "%s: %.17g for %.17g", what, a, b);
}

/* sum weights per_log lambda^k, and atoms. */
static double moment(const tp_spectrum *s, int k)
{
    double sum = 0;
    for (size_t i = 0; i < s->points; i++)
        sum += s->weights[i] * s->per_log[i] * exp(k * s->log_lambda[i]);
    for (int a = 0; a < s->n_atoms; a++)
        sum += s->atoms[a].mass * (k ? pow(s->atoms[a].at, k) : 1);
    return sum;
}

static void is_whole(const tp_spectrum *s)
{
    cr_assert(s->has_law, "%s", s->method);
    same(moment(s, 0), 1, 1e-6, "mass");
    for (int k = 1; k <= s->n_moments; k++)
        same(moment(s, k), s->moments[k - 1], 1e-6, "a moment of the density");
    for (size_t i = 1; i < s->points; i++)
        cr_assert(s->log_lambda[i] > s->log_lambda[i - 1] && s->continuous[i] >= s->continuous[i - 1]);
}

/* binomial(k (L + 1), k) / (k L + 1) */
static double fuss_catalan(int layers, int k)
{
    double value = 1;
    for (int i = 1; i <= k; i++)
        value = value * (k * layers + i) / i;
    return value / (k * layers + 1);
}

Test(spectrum, linear_chains_have_fuss_catalan_moments)
{
    const int layers[] = { 1, 2, 3, 10, 40 };
    for (int i = 0; i < 5; i++) {
        int l = layers[i];
        tp_spectrum s = found(l, "identity", 1, (tp_spectrum_spec){ .moments = 6 });
        for (int k = 1; k <= 6; k++)
            same(s.moments[k - 1], fuss_catalan(l, k), 1e-12, "a Fuss-Catalan number");
        is_whole(&s);
        same(exp(s.log_support[1]), pow(l + 1, l + 1) / pow(l, l), 1e-10, "the right edge");
        cr_assert(isinf(s.condition) && s.smallest == 0 && s.n_atoms == 0);
        tp_spectrum_free(&s);
    }
}

/* lambda m = (1 + m)(1 + 2m)^L, by its own series: coefficients of (1 + m)^k (1 + 2m)^(kL), Lagrange. */
static double relu_moment(int layers, int k)
{
    double sum = 0, a = 1;
    for (int i = 0; i <= k - 1; i++) {
        double b = 1;
        int j = k - 1 - i;
        for (int r = 1; r <= j; r++)
            b = b * (k * layers - r + 1) / r * 2;
        sum += a * b;
        a = a * (k - i) / (i + 1);
    }
    return sum / k;
}

Test(spectrum, relu_chains)
{
    const double first[] = { 1, 3, 11, 45 };
    for (int l = 1; l <= 20; l += l < 4 ? 1 : 8) {
        tp_spectrum s = found(l, "relu", 2, (tp_spectrum_spec){ .moments = 4 });
        for (int k = 1; k <= 4; k++) {
            same(s.moments[k - 1], relu_moment(l, k), 1e-12, "a moment");
            if (l == 1)
                same(s.moments[k - 1], first[k - 1], 1e-12, "a moment");
        }
        is_whole(&s);
        cr_assert(s.n_atoms == 1 && s.atoms[0].at == 0 && fabs(s.atoms[0].mass - 0.5) < 1e-12);
        if (l == 1) {
            same(exp(s.log_support[1]), 3 + 2 * sqrt(2), 1e-10, "the right edge");
            same(exp(s.log_support[0]), 3 - 2 * sqrt(2), 1e-10, "the left edge");
        }
        tp_spectrum_free(&s);
    }
}

Test(spectrum, a_function_after_the_last_matrix)
{
    const double moments[] = { 0.5, 1, 2.5 };
    tp_spectrum s = found(1, "relu", 2, (tp_spectrum_spec){ .moments = 3, .from = "h1", .to = "x2" });
    for (int k = 0; k < 3; k++)
        same(s.moments[k], moments[k], 1e-12, "D W D");
    same(exp(s.log_support[1]), 4, 1e-10, "its edge");
    is_whole(&s);
    tp_spectrum_free(&s);
    s = found(1, "relu", 2, (tp_spectrum_spec){ .moments = 3, .from = "x1", .to = "h2" });
    same(s.moments[1], 8, 1e-12, "W alone");
    tp_spectrum_free(&s);
}

Test(spectrum, deep_chains_of_every_activation)
{
    const char *const phis[] = { "tanh", "erf", "hard_tanh", "gelu", "swish", "sin", "leaky", "elu", "softplus" };
    const int layers[] = { 1, 4, 16, 100 };
    for (int p = 0; p < 9; p++)
        for (int i = 0; i < 4; i++) {
            tp_spectrum s = found(layers[i], phis[p], 1.2, (tp_spectrum_spec){ .moments = 3 });
            is_whole(&s);
            tp_spectrum_free(&s);
        }
}

Test(spectrum, orthogonal_relu)
{
    const double moments[2][4] = { { 1, 2, 4, 8 }, { 1, 3, 10, 35 } };
    weights = "weights=orthogonal";
    for (int l = 1; l <= 2; l++) {
        tp_spectrum s = found(l, "relu", 2, (tp_spectrum_spec){ .moments = 4 });
        for (int k = 0; k < 4; k++)
            same(s.moments[k], moments[l - 1][k], 1e-12, "a moment");
        same(s.atoms[0].at, 0, 0, "the first atom");
        same(s.atoms[0].mass, 0.5, 1e-12, "its mass");
        if (l == 1) {
            cr_assert(s.has_law && s.n_atoms == 2 && s.points == 0);
            same(s.atoms[1].at, 2, 1e-12, "the second atom");
            same(s.atoms[1].mass, 0.5, 1e-12, "its mass");
        } else {
            is_whole(&s);
            same(exp(s.log_support[1]), 4, 1e-10, "the right edge");
            for (size_t i = 0; i < s.points; i++) { /* half of the arcsine law on [0, 4] */
                double lambda = exp(s.log_lambda[i]), arcsine = lambda / sqrt(lambda * (4 - lambda)) / (2 * acos(-1));
                cr_assert(fabs(s.per_log[i] - arcsine) < 1e-9 * fmax(1, arcsine), "%g: %g %g", lambda, s.per_log[i],
                          arcsine);
                double below = 0.5 + asin(sqrt(lambda / 4)) / acos(-1);
                cr_assert(fabs(tp_spectrum_below(&s, s.log_lambda[i]) - below) < 1e-5, "%g %g", lambda, below);
            }
        }
        tp_spectrum_free(&s);
    }
}

Test(spectrum, orthogonal_chains_of_smooth_functions)
{
    const char *const phis[] = { "tanh", "erf", "softplus", "hard_tanh", "relu" };
    weights = "weights=orthogonal";
    for (int p = 0; p < 5; p++)
        for (int l = 2; l <= 16; l *= 2) {
            tp_spectrum s = found(l, phis[p], 1.1, (tp_spectrum_spec){ .moments = 3 });
            is_whole(&s);
            tp_spectrum_free(&s);
        }
}

Test(spectrum, mean_square_is_the_product_of_slopes)
{
    /* E tanh'^2 by the trapezoid rule, over the variances of the forward pass by the same rule */
    double q = 0, product = 1;
    for (int i = 0; i < FEATURES; i++)
        q += input[i] * input[i] / FEATURES * 1.3;
    for (int l = 0; l < 5; l++) {
        double slope = 0, square = 0;
        for (int i = -3000; i <= 3000; i++) {
            double x = i * 0.003, w = 0.003 * exp(-x * x / 2) / sqrt(2 * acos(-1)), t = tanh(sqrt(q) * x);
            slope += w * pow(1 - t * t, 2);
            square += w * t * t;
        }
        product *= 1.3 * slope;
        q = 1.3 * square;
    }
    tp_spectrum s = found(5, "tanh", 1.3, (tp_spectrum_spec){ .moments = 1 });
    same(s.moments[0], product, 1e-10, "m_1");
    tp_spectrum_free(&s);
}

/* W D of a law of d^2 with moments mu_k is a free compound Poisson law: its free cumulants are sigma^(2k) mu_k, and
 * m_n = sum_s cumulant_s [z^(n-s)] (1 + m_1 z + m_2 z^2 + ...)^s (Speicher). */
static void free_compound(int count, const double *cumulants, double *m)
{
    double power[TP_SPECTRUM_MOMENTS + 1], next[TP_SPECTRUM_MOMENTS + 1];
    memset(m, 0, ((size_t)count + 1) * sizeof *m);
    m[0] = 1;
    for (int n = 1; n <= count; n++) {
        double total = 0;
        memset(power, 0, sizeof power);
        power[0] = 1;
        for (int s = 1; s <= n; s++) {
            for (int j = 0; j <= n; j++) {
                next[j] = 0;
                for (int i = 0; i <= j; i++)
                    next[j] += power[i] * m[j - i];
            }
            memcpy(power, next, sizeof power);
            total += cumulants[s] * power[n - s];
        }
        m[n] = total;
    }
}

/* Derivatives that grow: their high moments are made far out, E (2h)^2k and E e^2kh at variance q. */
Test(spectrum, moments_of_unbounded_slopes)
{
    double q = 0, cumulants[TP_SPECTRUM_MOMENTS + 1] = { 0 }, m[TP_SPECTRUM_MOMENTS + 1], factorial = 1;
    const double variance = 1.7;
    ad_error error = { 0 };
    for (int i = 0; i < FEATURES; i++)
        q += input[i] * input[i] / FEATURES * variance;
    for (int k = 1; k <= 24; k++) {
        factorial *= 2 * k - 1;
        cumulants[k] = pow(4 * q * variance, k) * factorial;
    }
    free_compound(24, cumulants, m);
    tp_spectrum s = found(1, "square", variance, (tp_spectrum_spec){ .moments = 24 });
    for (int k = 1; k <= 24; k++) {
        same(s.moments[k - 1], m[k], 2e-11, "a moment of the square");
        cr_assert(s.errors[k - 1] > 0);
    }
    tp_spectrum_free(&s);
    for (int k = 1; k <= 8; k++)
        cumulants[k] = pow(variance, k) * exp(2 * k * k * q);
    free_compound(8, cumulants, m);
    s = found(1, "exp", variance, (tp_spectrum_spec){ .moments = 8 });
    for (int k = 1; k <= 8; k++)
        same(s.moments[k - 1], m[k], 2e-11, "a moment of exp");
    tp_spectrum_free(&s);
    cr_assert_eq(find(1, "exp", 1.7, &(tp_spectrum_spec){ .moments = 32 }, &s, &error), -1);
    cr_assert(strstr(error.text, "fewer moments"), "%s", error.text);
}

/* W D with slopes 1 and 0.01: the law of a matrix of two populations, whose support has a gap; ends from its equation
 * z = (1 + m) (1 + sum p_i c_i / (v - c_i)), a maximum and a minimum of z over real m between. */
Test(spectrum, several_bands)
{
    tp_spectrum s = found(1, "leaky", 2, (tp_spectrum_spec){ 0 });
    is_whole(&s);
    cr_assert_eq(s.n_bands, 2, "%d bands", s.n_bands);
    cr_assert(isinf(s.bands[0][0]) && fabs(s.bands[1][1] - s.log_support[1]) < 1e-12);
    /* lambda in terms of g = G(lambda) of W D^2 W': lambda = 1/g + sum 2 p c / (1 - 2 c g), c = 1, 1e-4, p = 1/2 */
    double gap[2] = { 0, INFINITY }, before = 0, rises = 0;
    for (int k = 1; k < 400000; k++) { /* in the gap g goes over reals between the poles 1/2 and 5000 of the sum */
        double g = 0.5 * exp(log(1e4) * k / 400000), z = 1 / g + 1 / (1 - 2 * g) + 1e-4 / (1 - 2e-4 * g);
        if (k > 1 && (z - before) * rises < 0)
            gap[rises > 0 ? 1 : 0] = before;
        rises = k > 1 ? z - before : 0;
        before = z;
    }
    double low = fmin(gap[0], gap[1]), high = fmax(gap[0], gap[1]);
    same(exp(s.bands[0][1]), low, 1e-6, "the gap's low end");
    same(exp(s.bands[1][0]), high, 1e-6, "the gap's high end");
    tp_spectrum_free(&s);
}

static void is_refused(int layers, const char *phi, double variance, tp_spectrum_spec spec, const char *part)
{
    tp_spectrum s;
    ad_error error = { 0 };
    cr_assert_eq(find(layers, phi, variance, &spec, &s, &error), -1, "%s is not refused", part);
    cr_assert(strstr(error.text, part), "%s", error.text);
    cr_assert(!strchr(error.text, '\n'));
}

/* One function between orthogonal matrices: the spectrum ends where its slope does, between two nodes of its law or at
 * infinity: gelu' is largest at sqrt 2, selu' left of 0. */
Test(spectrum, ends_of_one_function)
{
    const struct {
        const char *phi;
        double largest;
    } cases[] = { { "tanh", 1 },
                  { "softplus", 1 },
                  { "sigmoid", 0.25 },
                  { "gelu", 0.5 * (1 + erf(1)) + exp(-1) / sqrt(acos(-1)) },
                  { "selu", 1.75809934084737685994 } };
    weights = "weights=orthogonal";
    for (int i = 0; i < 5; i++) {
        tp_spectrum s = found(1, cases[i].phi, 1.44, (tp_spectrum_spec){ 0 });
        same(s.largest, 1.2 * cases[i].largest, 1e-9, cases[i].phi);
        same(exp(s.log_support[1] / 2), s.largest, 1e-12, "the end of the support");
        cr_assert(s.has_law && s.smallest == 0, "%s: %g", cases[i].phi, s.smallest);
        tp_spectrum_free(&s);
    }
    weights = "weights=gaussian";
}

/* Arguments far beyond where 1 - tanh^2 rounds to 0, which it never is: the law of sigma^2 sech^4 h, no atom at
 * 0; a node of the law has a mass of up to 0.02. */
Test(spectrum, slopes_below_roundings)
{
    const double variance = 36;
    double q = 0;
    for (int i = 0; i < FEATURES; i++)
        q += input[i] * input[i] / FEATURES * variance;
    weights = "weights=orthogonal";
    tp_spectrum s = found(1, "tanh", variance, (tp_spectrum_spec){ 0 });
    weights = "weights=gaussian";
    cr_assert(s.has_law && s.n_atoms == 0, "%s", s.method);
    for (double at = -60; at < 3; at += 0.5) {
        double root = exp((log(variance) - at) / 4), h = log(root + sqrt(root * root - 1));
        double want = erfc(h / sqrt(2 * q)), have = tp_spectrum_below(&s, at);
        cr_assert(fabs(have - want) < 1e-3, "below e^%g: %.8f for %.8f", at, have, want);
    }
    tp_spectrum_free(&s);
    s = found(2, "tanh", variance, (tp_spectrum_spec){ 0 });
    is_whole(&s);
    cr_assert_eq(s.n_atoms, 0);
    tp_spectrum_free(&s);
    s = found(2, "gelu", variance, (tp_spectrum_spec){ 0 }); /* e^(-h^2) leaves a double's range itself */
    cr_assert(!s.has_law && strstr(s.method, "leaves a double's range"), "%s", s.method);
    tp_spectrum_free(&s);
}

/* Signals that grow by 8 a layer, to deviations of 1e5 and of 1e130; all but 1e-5 of a hard tanh at its ends. */
Test(spectrum, arguments_of_any_width)
{
    const int layers[] = { 11, 290 };
    for (int i = 0; i < 2; i++) {
        tp_spectrum s = found(layers[i], "relu", 16, (tp_spectrum_spec){ .moments = 1 });
        cr_assert(s.has_law, "%s", s.method);
        same(s.moments[0], pow(8, layers[i]), s.errors[0] / s.moments[0], "a mean square");
        same(s.atoms[0].mass, 0.5, 1e-12, "the atom at 0");
        tp_spectrum_free(&s);
    }
    tp_spectrum s = found(1, "hard_tanh", 1e10, (tp_spectrum_spec){ .moments = 1 });
    double q = 0;
    for (int i = 0; i < FEATURES; i++)
        q += input[i] * input[i] / FEATURES * 1e10;
    cr_assert(s.has_law, "%s", s.method);
    same(s.moments[0], 1e10 * erf(1 / sqrt(2 * q)), 1e-11, "a share of linear units");
    tp_spectrum_free(&s);
    double square = 0, mean = 1; /* q -> 2 E h^4 = 6 q^2, and a layer's mean square 2 E (2h)^2 = 8q */
    for (int i = 0; i < FEATURES; i++)
        square += 2 * input[i] * input[i] / FEATURES;
    for (int l = 0; l < 6; l++) {
        mean *= 8 * square;
        square *= 6 * square;
    }
    s = found(6, "square", 2, (tp_spectrum_spec){ .moments = 1 });
    same(s.moments[0], mean, 1e-11, "a mean square of squares");
    tp_spectrum_free(&s);
    is_refused(400, "relu", 16, (tp_spectrum_spec){ 0 }, "leaves the range of a double");
}

/* Three layers of tanh with biases, their factors and signs where they are not needed, or nowhere. */
static ad_var wordy(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    bool words = nn_setting_int(net, "words", 0, 0, 1) == 1;
    ad_var h = nn_dense_with(net, "h1", x, n, .bias = true, .sigma_b = 0.3);
    for (int l = 2; l <= 3; l++) {
        ad_var y = ad_tanh(h);
        if (!words) {
            h = nn_dense_with(net, nn_name(net, "h%d", l), y, n, .sigma_w = 1.5, .bias = true, .sigma_b = 0.3);
            continue;
        }
        ad_var b = ad_param(nn_graph(net), nn_name(net, "b%d", l), ad_shape_of(n),
                            (ad_init){ .multiplier = 1, .deviation = 0.1, .rate = 1 });
        h = nn_dense_with(net, nn_name(net, "h%d", l), ad_scale(ad_neg(y), -2), n, .sigma_w = 0.75);
        h = ad_sub(ad_neg(ad_neg(h)), ad_scale(b, -3));
    }
    return nn_readout(net, "readout", ad_tanh(h));
}

Test(spectrum, factors_and_signs_change_nothing)
{
    tp_spectrum s[2];
    for (int k = 0; k < 2; k++) {
        ad_error error = { 0 };
        const char *settings[] = { k ? "words=1" : "words=0", NULL };
        nn_net *net = nn_trace(wordy, &(nn_spec){ .features = FEATURES, .settings = settings }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        cr_assert_eq(tp_spectrum_find(program, input, &(tp_spectrum_spec){ 0 }, &s[k], &error), 0, "%s", error.text);
        is_whole(&s[k]);
        tp_program_free(program);
        nn_net_free(net);
    }
    cr_assert(s[0].n_moments == s[1].n_moments && s[0].n_moments > 1);
    for (int k = 0; k < s[0].n_moments; k++)
        same(s[1].moments[k], s[0].moments[k], 1e-12, "a moment");
    cr_expect(fabs(s[0].moments[0] - 1) > 0.01);
    tp_spectrum_free(&s[0]);
    tp_spectrum_free(&s[1]);
}

Test(spectrum, what_is_refused)
{
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .from = "h7" }, "called h7 (did you mean h1?): its vectors");
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .from = "f" }, "no vector of the program is called f");
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .from = "W2" }, "no vector of the program is called W2");
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .from = "dh2" }, "called dh2 (did you mean h2?)");
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .from = "h3", .to = "h1" }, "does not depend on");
    is_refused(0, "tanh", 1, (tp_spectrum_spec){ 0 }, "no layer in it");
    is_refused(2, "tanh", 1, (tp_spectrum_spec){ .moments = 99 }, "99 moments");
    is_refused(2, "step", 1, (tp_spectrum_spec){ 0 }, "derivative");
}

/* Whatever allocation fails, there is an error and nothing of the spectrum is left, or the method says what there is
 * not. */
static void survives(const char *phi, tp_spectrum_spec spec, long step, int least)
{
    const char *settings[] = { "depth=3", phi, weights, NULL };
    nn_spec net_spec = { .features = FEATURES, .settings = settings, .name = "mlp" };
    ad_error error = { 0 };
    nn_net *net = nn_trace(nn_builtin("mlp"), &net_spec, &error);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    int failures = 0;
    for (long k = 1, done = 0; !done && k < 3000; k += step) {
        tp_spectrum s;
        ad_error failure = { 0 };
        ad_hook_allocation(k);
        int status = tp_spectrum_find(program, input, &spec, &s, &failure);
        ad_hook_allocation(0);
        failures += status != 0;
        cr_assert(status == 0 || (*failure.text && !s.log_lambda && !s.atoms), "allocation %ld: %s", k, failure.text);
        done = status == 0 && s.n_moments && (s.has_law || spec.engine == TP_ENGINE_SAMPLE) && !strstr(s.method, "no ");
        tp_spectrum_free(&s);
    }
    cr_assert(failures >= least, "%d", failures);
    tp_program_free(program);
    nn_net_free(net);
}

Test(spectrum, memory_that_runs_out)
{
    survives("phi=relu", (tp_spectrum_spec){ .points = 16, .moments = 1 }, 3, 1);
    survives("phi=relu", (tp_spectrum_spec){ .moments = 2, .engine = TP_ENGINE_SAMPLE, .samples = 64, .runs = 2 }, 2,
             10);
}
