/* panels.c: the transform of a law near its own values. A rule's nodes stand for a smooth function until w d^2 = 1
 * comes near the line: then each panel's pole is taken out and integrated by itself.
 *
 * On a panel with s from -1 to 1, y(s) = log d^2 is a polynomial through the nodes and m(s) the mass, and with
 * eta = -log w the integrand m / (e^(eta - y) - 1) has a pole of residue R = -m / y' at y(s0) = eta, so that
 *   integral = rule + R (log(1 - s0) - log(-1 - s0) - sum w_i / (s_i - s0)). */
#include "tp/spectrum/chain.h"

#include "tp/gauss/gauss.h"

#include <math.h>

void tp_panel_fill(tp_panel *panel, double low, double high, const double *squares)
{
    double x[TP_PANEL_NODES], w[TP_PANEL_NODES];
    tp_legendre(TP_PANEL_NODES, x, w);
    *panel =
        (tp_panel){ .middle = (low + high) / 2, .half = (high - low) / 2, .lowest = INFINITY, .highest = -INFINITY };
    for (int i = 0; i < TP_PANEL_NODES; i++) {
        double y = log(squares[i]), before = 0, at = 1;
        panel->x[i] = x[i];
        panel->w[i] = w[i];
        panel->lowest = fmin(panel->lowest, y);
        panel->highest = fmax(panel->highest, y);
        for (int k = 0; k < TP_PANEL_NODES; k++) { /* y's coefficient of Legendre's P_k, by the rule */
            panel->y[k] += (2 * k + 1) / 2.0 * w[i] * at * y;
            double next = ((2 * k + 1) * x[i] * at - k * before) / (k + 1);
            before = at;
            at = next;
        }
    }
}

/* y, y' and y'' at a complex s. */
static void series_at(const tp_panel *panel, double complex s, double complex out[3])
{
    double complex p[2][3] = { { 0 }, { 1, 0, 0 } };
    out[0] = out[1] = out[2] = 0;
    for (int k = 0; k < TP_PANEL_NODES; k++) {
        double complex next[3];
        for (int d = 0; d < 3; d++) {
            out[d] += panel->y[k] * p[1][d];
            next[d] = ((2 * k + 1) * (s * p[1][d] + (d ? d * p[1][d - 1] : 0)) - k * p[0][d]) / (k + 1);
        }
        for (int d = 0; d < 3; d++) {
            p[0][d] = p[1][d];
            p[1][d] = next[d];
        }
    }
}

/* The pole from a start; false if there is none within reach of the panel. */
static bool find_pole(const tp_panel *panel, double complex eta, double start, double complex *s, double complex y[3])
{
    const double reach = 2;
    *s = start;
    for (int k = 0; k < 30; k++) {
        series_at(panel, *s, y);
        double complex step = (eta - y[0]) / y[1];
        if (!(cabs(step) < 1e3))
            return false;
        *s += cabs(step) > 0.5 ? step * (0.5 / cabs(step)) : step;
        if (cabs(step) < 1e-14) {
            series_at(panel, *s, y);
            return cabs(*s) < reach;
        }
        if (cabs(*s) > 2 * reach)
            return false;
    }
    return false;
}

/* What the rule misses of one pole, of psi and of w psi'. */
static void add_pole(const tp_panel *panel, double complex s, const double complex y[3], tp_law_values *values)
{
    const double root = 2.50662827463100050; /* of 2 pi */
    double complex h = panel->middle + panel->half * s, m = panel->half * cexp(-h * h / 2) / root;
    double complex residue = -m / y[1], residue_slope = m * (h * panel->half * y[1] + y[2]) / (y[1] * y[1]);
    double complex missing = clog(1 - s) - clog(-1 - s), slope = 1 / (-1 - s) - 1 / (1 - s);
    for (int i = 0; i < TP_PANEL_NODES; i++) {
        missing -= panel->w[i] / (panel->x[i] - s);
        slope -= panel->w[i] / ((panel->x[i] - s) * (panel->x[i] - s));
    }
    values->psi += residue * missing;
    values->rest += residue * missing;
    values->slope -= (residue_slope * missing + residue * slope) / y[1];
}

void tp_law_add_poles(const tp_law *law, double complex log_w, tp_law_values *values)
{
    enum { STARTS = 3, MOST = 4 };
    double complex eta = -log_w;
    for (int p = 0; p < law->n_panels; p++) {
        const tp_panel *panel = &law->panels[p];
        double range = panel->highest - panel->lowest, slack = 1.5 * range + 1e-3;
        double complex found[MOST];
        int n = 0;
        if (creal(eta) < panel->lowest - slack || creal(eta) > panel->highest + slack || cimag(eta) > slack)
            continue;
        for (int k = 0; k < STARTS; k++) {
            double complex s, y[3];
            bool seen = !find_pole(panel, eta, k - 1, &s, y);
            for (int i = 0; i < n && !seen; i++)
                seen = cabs(found[i] - s) < 1e-8;
            if (seen)
                continue;
            found[n++] = s;
            add_pole(panel, s, y, values);
        }
    }
}
