/* print_equation.c: the equation of a chain's density as LaTeX. */
#include "autodiff/base/base.h"
#include "tp/spectrum/inside.h"

#include <math.h>

/* (1 + M), or (0.5 + M) for a space of n/2 dimensions. */
static void print_space(FILE *out, double space, double exponent)
{
    fprintf(out, "(%.6g + M)", space);
    if (fabs(exponent) > 1)
        fprintf(out, "^{%g}", fabs(exponent));
}

/* A factor that is not 1. */
static void print_number(FILE *out, double c)
{
    if (fabs(c - 1) > 1e-12)
        fprintf(out, "%.10g\\, ", c);
}

static void print_side(FILE *out, const tp_equation *e, double power, int sign)
{
    bool any = false;
    if (sign * power > 0) {
        fprintf(out, sign * power > 1 ? "M^{%g} " : "M", fabs(power));
        any = true;
    }
    for (int k = 0; k < e->n_spaces; k++)
        if (sign * e->exponents[k] > 0) {
            print_space(out, e->spaces[k], e->exponents[k]);
            any = true;
        }
    if (!any)
        fputc('1', out);
}

int tp_chain_print(const tp_chain *chain, FILE *out, ad_error *error)
{
    tp_equation e;
    if (tp_equation_of(&e, chain, error))
        return -1;
    void *locale = ad_c_locale_begin();
    fputs("\\begin{align*}\n\\frac{1}{z} &= ", out);
    print_number(out, exp(e.constant));
    fputs("\\frac{", out);
    print_side(out, &e, e.power, 1);
    fputs("}{", out);
    print_side(out, &e, e.power, -1);
    fputs("}", out);
    if (e.n > 0)
        fprintf(out, "\\prod_{l=1}^{%d} w_l", e.n);
    for (int k = 0; k < e.n; k++) {
        const tp_chain_factor *f = e.diagonals[k];
        fputs(",\\\\\nM &= ", out);
        print_number(out, f->in);
        fprintf(
            out,
            "\\mathbb{E}\\, \\frac{w_{%d}\\, \\varphi_{%d}'(h)^2}{1 - w_{%d}\\, \\varphi_{%d}'(h)^2}, \\quad h \\sim "
            "N(0, %.10g)",
            k + 1, k + 1, k + 1, k + 1, f->law.variance);
    }
    fputs(",\\\\\n\\lambda\\, \\rho(\\lambda) &= -\\frac{1}{", out);
    print_number(out, e.to);
    fputs("\\pi}\\, \\operatorname{Im} M(\\lambda + i0)\n\\end{align*}\n", out);
    ad_c_locale_end(locale);
    tp_equation_free(&e);
    return ferror(out) ? ad_fail(error, "the equation cannot be printed") : 0;
}
