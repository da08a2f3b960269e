/* stand_ins.c: what is like a group of functions and has an expectation that is made of smaller groups: functions of
 * nested lins, f(x) of a polynomial x in functions of independent Gaussians, have powers of x in their place. An
 * expectation of the polynomial that comes of it falls into those of independent factors; what is left of f(x) after a
 * regression on these powers is small where f is smooth and x of order one. */
#include "tp/symbolic/symbolic.h"

/* At most: terms of both sides' polynomials together; powers together: of higher ones the expectations err by more than
 * they leave. Functions that stand beside others, as in an NTK, are in many groups, each with powers of its own. */
enum { MOST_PAIRS = 128, HIGHEST = 6, HIGHEST_BESIDE_OTHERS = 4 };

/* The nested ones among a group's factors, by number: how many, or one too many. */
typedef struct {
    int n, at[3];
} nested_factors;

static nested_factors find_nested(const tp_algebra *algebra, const tp_group *group)
{
    nested_factors nested = { .n = 0 };
    for (int k = 0; k < group->n && nested.n < 3; k++)
        if (tp_nested(algebra, group->at[k].factor.lin))
            nested.at[nested.n++] = k;
    return nested;
}

/* Is a factor's lin in no factor before it? */
static bool is_first(const tp_coordinate *x, int term, int factor)
{
    for (int i = 0; i <= term; i++)
        for (int m = 0; m < (i < term ? x->terms[i].n : factor); m++)
            if (x->terms[i].factors[m].lin == x->terms[term].factors[factor].lin)
                return false;
    return true;
}

/* How many terms a power of x has, and factors its longest one; of what is nested further in, none but x itself. */
static bool power_counts(const tp_algebra *algebra, const tp_coordinate *x, int power, double *terms, int *factors)
{
    int longest = 0, lins = 0;
    bool nests = false;
    for (int i = 0; i < x->n; i++) {
        longest = x->terms[i].n > longest ? x->terms[i].n : longest;
        for (int m = 0; m < x->terms[i].n; m++) {
            nests = nests || tp_nested(algebra, x->terms[i].factors[m].lin);
            lins += is_first(x, i, m);
        }
    }
    for (int k = 1; k <= power; k++)
        *terms *= (double)(x->n + k - 1) / k;
    *factors += power * longest < lins ? power * longest : lins;
    return power < 2 || !nests;
}

/* On which side a factor stands: its sample's, or, of one sample, either nested factor on its own. */
static int side_of(const tp_group *group, const nested_factors *nested, int k, bool alone)
{
    return alone ? nested->n > 1 && k == nested->at[1] : group->at[k].second;
}

static int power_of(const nested_factors *nested, int k, int powers)
{
    for (int i = 0; i < nested->n; i++)
        if (nested->at[i] == k)
            return tp_power_of(powers, i);
    return -1;
}

/* Are both sides' polynomials small enough? */
static bool is_small(const tp_algebra *algebra, const tp_group *group, const nested_factors *nested, int powers,
                     bool alone)
{
    double terms = 1;
    int factors[2] = { 0, 0 };
    bool small = true;
    for (int k = 0; k < group->n && small; k++) {
        int power = power_of(nested, k, powers), *count = &factors[side_of(group, nested, k, alone)];
        if (power < 0)
            ++*count;
        else
            small = power_counts(algebra, tp_nested(algebra, group->at[k].factor.lin), power, &terms, count);
    }
    return small && terms <= MOST_PAIRS && factors[0] <= TP_MAX_FACTORS && factors[1] <= TP_MAX_FACTORS;
}

/* The polynomial of one side. */
static int side_coordinate(tp_algebra *algebra, const tp_group *group, const nested_factors *nested, int powers,
                           bool alone, int side)
{
    int node = algebra->program->output.id, x = tp_coordinate_number(algebra, 1);
    for (int k = 0; k < group->n && x >= 0; k++) {
        const tp_factor *factor = &group->at[k].factor;
        int power = power_of(nested, k, powers), of;
        if (side_of(group, nested, k, alone) != side)
            continue;
        if (power < 0) {
            tp_term term = { .c = 1, .n = 1 };
            term.factors[0] = *factor;
            of = tp_coordinate_term(algebra, &term);
        } else {
            of = tp_gvar_at(algebra, tp_lin_at(algebra, factor->lin)->parts[0].gvar)->node;
        }
        for (int p = 0; p < (power < 0 ? 1 : power) && x >= 0; p++)
            x = of < 0 ? -1 : tp_coordinate_product(algebra, node, x, of);
    }
    return x;
}

/* The powers that stand for a function: of its parity, if it has one. */
static int powers_of(const tp_algebra *algebra, int fn, int *powers)
{
    int parity = tp_fn_parity(algebra, fn), n = 0, step = parity ? 2 : 1;
    for (int p = parity < 0; n < 3; p += step)
        powers[n++] = p;
    return n;
}

/* Of two functions of the same number: is the same power among these? */
static bool is_there(const tp_group *group, const nested_factors *nested, const tp_stand_in *list, int n, int powers)
{
    const tp_group_factor *a = &group->at[nested->at[0]], *b = &group->at[nested->at[nested->n - 1]];
    bool there = false;
    for (int k = 0; k < n && a->factor.lin == b->factor.lin && a->second == b->second; k++)
        there = there || tp_power_of(list[k].powers, 0) + tp_power_of(list[k].powers, 1) ==
                             tp_power_of(powers, 0) + tp_power_of(powers, 1);
    return there;
}

int tp_stand_ins(tp_algebra *algebra, int group, bool alone, tp_stand_in *list)
{
    const tp_group *g = tp_group_at(algebra, group);
    nested_factors nested = find_nested(algebra, g);
    int powers[2][3] = { { 0 } }, counts[2] = { 1, 1 }, n = 0;
    int highest = g->n == nested.n ? HIGHEST : HIGHEST_BESIDE_OTHERS;
    if (nested.n < 1 || nested.n > 2)
        return 0;
    for (int i = 0; i < nested.n; i++)
        counts[i] = powers_of(algebra, g->at[nested.at[i]].factor.fn, powers[i]);
    for (int i = 0; i < counts[0] * counts[1]; i++) {
        int first = powers[0][i / counts[1]], second = powers[1][i % counts[1]], both = TP_POWERS(first, second);
        bool one = both == 0 && g->n == nested.n;
        if (one || first + second > highest || is_there(g, &nested, list, n, both) ||
            !is_small(algebra, g, &nested, both, alone))
            continue;
        list[n] = (tp_stand_in){ .powers = both };
        for (int side = 0; side < 2; side++)
            if ((list[n].of[side] = side_coordinate(algebra, g, &nested, both, alone, side)) < 0)
                return -1;
        n++;
    }
    return n;
}
