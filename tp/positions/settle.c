/* settle.c: formulas as they are printed: which are 0, by which power of n the others go, and which are multiples of
 * others, so that a covariance and what it is a multiple of have one line. */
#include "tp/positions/formulas.h"

#include "autodiff/base/base.h"

#include <string.h>

static const double same_power = 1e-9;

int tp_resolve_line(const tp_formulas *f, int line, double *c)
{
    for (; f->lines[line].alias >= 0; line = f->lines[line].alias)
        *c *= f->lines[line].times;
    return line;
}

static int refuse_powers(tp_formulas *f, const tp_formula *line)
{
    const ad_node *node = ad_node_of(f->plan->graph, line->a);
    if (!f->error->text[0])
        ad_fail(f->error,
                "%s:%d: %s: the kernel's recursion over positions has several powers of n here, and is not "
                "printed",
                node->where.file ? node->where.file : "", node->where.line, tp_node_name(node));
    return 1;
}

/* ---- multiples ---- */
static bool identical(const tp_formulas *f, const tp_indices *at, const tp_indices *own, const tp_indices *other)
{
    bool same = at->n == own->n && at->n == other->n;
    for (int i = 0; i < at->n && same; i++) {
        same = tp_same_index(&at->at[i], &own->at[i]) && own->at[i].n == other->at[i].n;
        if (same && own->at[i].n)
            same = f->variables[own->at[i].var[0]].size == f->variables[other->at[i].var[0]].size;
    }
    return same;
}

/* Its one term is another line at the same positions. */
static bool is_multiple(const tp_formulas *f, const tp_formula *line)
{
    const tp_formula_term *t = line->terms;
    if (line->expects || line->kind == TP_NUMBERS || line->root || line->n_terms != 1 || t->n_sums || t->n_conditions ||
        t->n_factors != 1 || t->factors->line < 0)
        return false;
    const tp_formula *other = &f->lines[t->factors->line];
    return other->kind != TP_NUMBERS && identical(f, &t->factors->a, &line->of_a, &other->of_a) &&
           identical(f, &t->factors->b, &line->of_b, &other->of_b);
}

static void rename_index(tp_index *index, const tp_indices *from, const tp_indices *to)
{
    for (int k = 0; k < index->n; k++)
        for (int i = 0; i < from->n; i++)
            if (from->at[i].n && index->var[k] == from->at[i].var[0]) {
                index->var[k] = to->at[i].var[0];
                break;
            }
}

static void rename_all(tp_index *index, const tp_formula *from, const tp_formula *to)
{
    rename_index(index, &from->of_a, &to->of_a);
    rename_index(index, &from->of_b, &to->of_b);
}

/* The line takes over what the other one is, which becomes its multiple: the terms in the line's variables. */
static void take_over(tp_formula *line, tp_formula *other, int number, double c)
{
    line->terms = other->terms;
    line->n_terms = other->n_terms;
    for (int k = 0; k < line->n_terms; k++) {
        tp_formula_term *t = &line->terms[k];
        t->c *= c;
        for (int i = 0; i < t->n_conditions; i++) {
            rename_all(&t->conditions[i].a, other, line);
            rename_all(&t->conditions[i].b, other, line);
        }
        for (int i = 0; i < t->n_factors; i++) {
            for (int j = 0; j < t->factors[i].a.n; j++)
                rename_all(&t->factors[i].a.at[j], other, line);
            for (int j = 0; j < t->factors[i].b.n; j++)
                rename_all(&t->factors[i].b.at[j], other, line);
        }
    }
    other->alias = number;
    other->times = 1 / c;
}

/* ---- line by line ---- */
static int settle(tp_formulas *f, int number);

static bool same_indices(const tp_indices *a, const tp_indices *b)
{
    bool same = a->n == b->n;
    for (int k = 0; k < a->n && same; k++)
        same = tp_same_index(&a->at[k], &b->at[k]);
    return same;
}

/* All but their numbers. */
static bool same_terms(const tp_formula_term *s, const tp_formula_term *t)
{
    bool same = s->n_sums == t->n_sums && s->n_conditions == t->n_conditions && s->n_factors == t->n_factors;
    for (int i = 0; i < s->n_sums && same; i++)
        same = s->sums[i] == t->sums[i];
    for (int i = 0; i < s->n_conditions && same; i++) {
        const tp_condition *a = &s->conditions[i], *b = &t->conditions[i];
        same = a->kind == b->kind && a->size == b->size && tp_same_index(&a->a, &b->a) && tp_same_index(&a->b, &b->b);
    }
    for (int i = 0; i < s->n_factors && same; i++) {
        const tp_formula_factor *a = &s->factors[i], *b = &t->factors[i];
        same = a->line == b->line && a->x == b->x && a->y == b->y && a->second == b->second &&
               same_indices(&a->a, &b->a) && same_indices(&a->b, &b->b);
    }
    return same;
}

/* Terms that differ in their numbers alone are one. */
static void add_alike(tp_formula *line)
{
    int n = 0;
    for (int k = 0; k < line->n_terms; k++) {
        int i = 0;
        while (i < n && !same_terms(&line->terms[i], &line->terms[k]))
            i++;
        if (i < n)
            line->terms[i].c += line->terms[k].c;
        else
            line->terms[n++] = line->terms[k];
    }
    line->n_terms = 0;
    for (int k = 0; k < n; k++)
        if (fabs(line->terms[k].c) > 0)
            line->terms[line->n_terms++] = line->terms[k];
}

static int settle_terms(tp_formulas *f, int number)
{
    int n = 0;
    for (int k = 0; k < f->lines[number].n_terms; k++) {
        tp_formula_term *t = &f->lines[number].terms[k];
        double power = t->power;
        bool zero = false;
        for (int i = 0; i < t->n_factors && !zero; i++) {
            int of = t->factors[i].line, status = of < 0 ? 0 : settle(f, of);
            if (status)
                return status;
            zero = of >= 0 && f->lines[of].zero;
            power += of >= 0 ? f->lines[of].power : 0;
        }
        if (zero)
            continue;
        if (n > 0 && fabs(power - f->lines[number].power) > same_power)
            return refuse_powers(f, &f->lines[number]);
        f->lines[number].power = power;
        f->lines[number].terms[n++] = *t;
    }
    f->lines[number].n_terms = n;
    add_alike(&f->lines[number]);
    return 0;
}

static int settle(tp_formulas *f, int number)
{
    tp_formula *line = &f->lines[number];
    if (line->settled)
        return 0;
    line->settled = true;
    if (line->expects) {
        int of[3] = { line->covariance, line->variance, line->variance2 };
        for (int k = 0; k < 3; k++) {
            int status = settle(f, of[k]);
            if (status)
                return status;
            if (!f->lines[of[k]].zero && fabs(f->lines[of[k]].power) > same_power)
                return refuse_powers(f, line);
        }
        return 0;
    }
    int status = settle_terms(f, number);
    if (status)
        return status;
    line->zero = line->n_terms == 0;
    if (line->kind == TP_NUMBERS && (line->zero || fabs(line->power) > same_power))
        return refuse_powers(f, line);
    if (line->zero || !is_multiple(f, line))
        return 0;
    double c = line->terms->c;
    int to = line->terms->factors->line;
    tp_formula *other = &f->lines[to];
    if (line->stands && !other->stands && !other->expects && other->alias < 0) {
        take_over(line, other, number, c);
    } else {
        line->alias = to;
        line->times = c;
    }
    return 0;
}

int tp_settle_formulas(tp_formulas *f)
{
    for (int k = 0; k < f->n; k++) {
        int status = settle(f, k);
        if (status)
            return status;
    }
    return 0;
}
