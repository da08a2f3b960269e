/* split.c: a plan of pairs falls into groups of pairs that never meet. Where filters have stride 1 and nothing is
 * pooled between them, pairs (p, p + d) of different d are such: all layers of a group are then done while it is in the
 * cache.
 *
 * Entries of arrays are numbered anew, group after group, and what steps read is told from the group's beginning on.
 * Two kinds of arrays are whole: those that are filled with a number, and sums at the end, small ones that all groups
 * add to. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

#include <limits.h>
#include <string.h>

enum { WORTH = 1 << 14 /* entries: below, all of a plan is in the cache */, GROUP = 768, SMALL = 8 };

/* What arrays have that are alike, as those of equal layers are: an atom of each entry, -1 none; then the group of each
 * entry, and its place there. */
typedef struct table {
    struct table *next;
    size_t n, room;
    uint64_t hash;
    int32_t *labels, *groups;
    const int32_t *begin;
} table;

/* Entries that meet have one root: of atoms, which are the entries that are made of data. */
typedef struct {
    tp_field_plan *plan;
    table **of; /* by array */
    table *tables;
    int32_t *parent; /* by atom */
    size_t atoms;
    int32_t *group; /* by atom, of roots */
    size_t groups;
} split;

static int32_t root_of(split *s, int32_t atom)
{
    while (s->parent[atom] != atom)
        atom = s->parent[atom] = s->parent[s->parent[atom]];
    return atom;
}

/* The label of what has both; the smaller root stays, so that it does not depend on the order. */
static int32_t meet(split *s, int32_t a, int32_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    a = root_of(s, a);
    b = root_of(s, b);
    if (a > b)
        return s->parent[a] = b;
    return s->parent[b] = a;
}

/* ---- which arrays are whole ---- */
static bool is_made_by_sums(const tp_field_plan *p, int array)
{
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind != TP_ADD &&
            (p->steps[i].out == array || (tp_goes_by_entries(&p->steps[i]) && p->steps[i].tangent_out == array)))
            return false;
    return true;
}

/* Is it read by sums into whole arrays alone? */
static bool is_read_late(const tp_field_plan *p, int array)
{
    for (int i = 0; i < p->n_steps; i++) {
        const tp_field_step *s = &p->steps[i];
        if (tp_goes_by_entries(s) && (s->in == array || s->tangent == array))
            return false;
        for (int k = 0; k < s->n_parts; k++)
            if (s->part[k].in == array && !p->arrays[s->out].whole)
                return false;
    }
    return true;
}

/* The kernel, small sums that only it is made of, and what is filled. */
static void find_whole(tp_field_plan *p, int out, size_t largest)
{
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind == TP_FILL)
            p->arrays[p->steps[i].out].whole = true;
    p->arrays[out].whole = is_made_by_sums(p, out);
    for (int i = p->n_steps - 1; i >= 0; i--) { /* what reads an array stands after it */
        const tp_field_step *s = &p->steps[i];
        for (int k = 0; k < s->n_parts && p->arrays[s->out].whole; k++) {
            tp_field_array *a = &p->arrays[s->part[k].in];
            if (!a->whole && a->n * SMALL <= largest && is_made_by_sums(p, s->part[k].in) &&
                is_read_late(p, s->part[k].in))
                a->whole = true;
        }
    }
}

/* ---- which entries meet ---- */
static int32_t *new_labels(const split *s, size_t n)
{
    return ad_alloc(n + 1, sizeof(int32_t), "a plan's groups", s->plan->error);
}

/* Gives the labels, which become the split's, to an array. */
static int label_array(split *s, int array, int32_t *labels)
{
    size_t n = s->plan->arrays[array].n;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < n && labels; i++)
        hash = (hash ^ (uint32_t)labels[i]) * 1099511628211u;
    for (table *t = s->tables; t && labels; t = t->next)
        if (t->hash == hash && t->n == n && memcmp(t->labels, labels, n * sizeof *labels) == 0) {
            ad_free(labels);
            s->of[array] = t;
            return 0;
        }
    table *t = labels ? ad_arena_alloc(s->plan->arena, 1, sizeof *t) : NULL;
    if (!t) {
        ad_free(labels);
        return labels ? ad_fail(s->plan->error, "out of memory for a plan's groups") : -1;
    }
    *t = (table){ .next = s->tables, .n = n, .hash = hash, .labels = labels };
    s->of[array] = s->tables = t;
    return 0;
}

static int label_data(split *s, const tp_field_step *step)
{
    size_t n = s->plan->arrays[step->out].n;
    int32_t *labels = new_labels(s, n);
    for (size_t i = 0; i < n && labels; i++)
        s->parent[s->atoms + i] = labels[i] = (int32_t)(s->atoms + i);
    s->atoms += n;
    return label_array(s, step->out, labels);
}

static int label_sum(split *s, const tp_field_step *step)
{
    if (s->plan->arrays[step->out].whole)
        return 0;
    const table *before = s->of[step->out];
    int32_t *labels = new_labels(s, s->plan->arrays[step->out].n);
    for (size_t i = 0; i < step->part[0].map.n && labels; i++) {
        int32_t all = before ? before->labels[i] : -1;
        for (int k = 0; k < step->n_parts; k++) {
            const tp_field_part *part = &step->part[k];
            for (size_t e = 0; e < part->map.fan && !s->plan->arrays[part->in].whole; e++) {
                int32_t from = part->map.to[i * part->map.fan + e];
                if (from >= 0)
                    all = meet(s, all, s->of[part->in]->labels[from]);
            }
        }
        labels[i] = all < 0 ? -1 : root_of(s, all);
    }
    return label_array(s, step->out, labels);
}

/* Of what is read and made entry by entry; 1 where one is of a sum of nothing: what is made of it may be no 0. */
static int label_expectation(split *s, const tp_field_step *step)
{
    const tp_field_plan *p = s->plan;
    int arrays[4] = { step->in, step->tangent_out < 0 ? -1 : step->tangent, step->out, step->tangent_out };
    for (int k = 0; k < 4; k++)
        if (arrays[k] >= 0 && p->arrays[arrays[k]].whole)
            return 1;
    const int32_t *first = s->of[step->in]->labels, *second = arrays[1] < 0 ? NULL : s->of[arrays[1]]->labels;
    for (size_t i = 0; i < step->pairs.n; i++) {
        if (first[i] < 0 || (second && second[i] < 0))
            return 1;
        if (second)
            meet(s, first[i], second[i]);
    }
    for (int k = 2; k < 4; k++)
        if (arrays[k] >= 0)
            s->of[arrays[k]] = s->of[step->in];
    return 0;
}

static int label_all(split *s)
{
    int status = 0;
    for (int i = 0; i < s->plan->n_steps && !status; i++) {
        const tp_field_step *step = &s->plan->steps[i];
        status = step->kind == TP_DATA      ? label_data(s, step)
                 : step->kind == TP_ADD     ? label_sum(s, step)
                 : tp_goes_by_entries(step) ? label_expectation(s, step)
                                            : 0;
    }
    return status;
}

/* Roots in the order of their first atoms become groups, several small ones one. */
static int number_groups(split *s)
{
    s->group = ad_alloc(s->atoms + 1, sizeof *s->group, "a plan's groups", s->plan->error);
    size_t *count = s->group ? ad_alloc(s->atoms + 1, sizeof *count, "a plan's groups", s->plan->error) : NULL;
    size_t together = 0;
    for (size_t i = 0; i < s->atoms && count; i++)
        count[root_of(s, (int32_t)i)]++;
    for (size_t i = 0; i < s->atoms && count; i++) {
        if (s->parent[i] != (int32_t)i)
            continue;
        if (together && together + count[i] > GROUP) {
            s->groups++;
            together = 0;
        }
        together += count[i];
        s->group[i] = (int32_t)s->groups;
    }
    s->groups++;
    ad_free(count);
    return count ? 0 : -1;
}

/* ---- new numbers ---- */
/* Labels become groups and places there, and the groups are counted. What is a sum of nothing, and read as 0, is left
 * out. */
static int place_entries(split *s, table *t)
{
    tp_field_plan *p = s->plan;
    int32_t *begin = ad_alloc(s->groups + 2, sizeof *begin, "a plan's groups", p->error);
    int32_t *next = begin ? ad_alloc(s->groups + 1, sizeof *next, "a plan's groups", p->error) : NULL;
    t->groups = next ? new_labels(s, t->n) : NULL;
    for (size_t i = 0; i < t->n && t->groups; i++) {
        t->groups[i] = t->labels[i] < 0 ? -1 : s->group[root_of(s, t->labels[i])];
        if (t->groups[i] >= 0)
            t->labels[i] = next[t->groups[i]]++;
    }
    for (size_t g = 0; g < s->groups && t->groups; g++) {
        t->room = (size_t)next[g] > t->room ? (size_t)next[g] : t->room;
        begin[g + 1] = begin[g] + next[g];
    }
    t->begin = t->groups ? tp_keep(p, begin, s->groups + 1) : NULL;
    ad_free(begin);
    ad_free(next);
    return t->begin ? 0 : -1;
}

/* Numbers of an array's entries, in the order of its groups. */
static const int32_t *sorted(split *s, const table *t, const int32_t *numbers, size_t fan)
{
    size_t count = (size_t)t->begin[s->groups];
    int32_t *list = new_labels(s, count * fan);
    for (size_t i = 0; i < t->n && list; i++)
        if (t->groups[i] >= 0)
            memcpy(list + (size_t)(t->begin[t->groups[i]] + t->labels[i]) * fan, numbers + i * fan, fan * sizeof *list);
    const int32_t *kept = list ? tp_keep(s->plan, list, count * fan) : NULL;
    ad_free(list);
    return kept;
}

static int renumber_part(split *s, const table *out, tp_field_part *part)
{
    size_t count = part->map.n * part->map.fan;
    const table *in = s->plan->arrays[part->in].whole ? NULL : s->of[part->in];
    int32_t *to = new_labels(s, count);
    for (size_t i = 0; i < count && to; i++) {
        int32_t from = part->map.to[i];
        to[i] = from < 0 || !in ? from : in->groups[from] < 0 ? -1 : in->labels[from];
    }
    part->map.to = to ? sorted(s, out, to, part->map.fan) : NULL;
    ad_free(to);
    return part->map.to ? 0 : -1;
}

/* What each group adds to a whole array: pairs of the entry that is added to and the one that is added. */
static int scatter_part(split *s, const table *in, tp_field_part *part)
{
    tp_field_plan *p = s->plan;
    size_t count = part->map.n * part->map.fan;
    int32_t *begin = ad_arena_alloc(p->arena, s->groups + 2, sizeof *begin), *pairs = NULL;
    if (!begin || !(pairs = ad_arena_alloc(p->arena, 2 * count + 1, sizeof *pairs)))
        return ad_fail(p->error, "out of memory for a plan's groups");
    memset(begin, 0, (s->groups + 2) * sizeof *begin);
    for (size_t i = 0; i < count; i++)
        if (part->map.to[i] >= 0 && in->groups[part->map.to[i]] >= 0)
            begin[2 + in->groups[part->map.to[i]]]++;
    for (size_t g = 2; g < s->groups + 2; g++)
        begin[g] += begin[g - 1];
    for (size_t i = 0; i < count; i++) {
        int32_t from = part->map.to[i];
        if (from < 0 || in->groups[from] < 0)
            continue;
        size_t at = (size_t)begin[1 + in->groups[from]]++;
        pairs[2 * at] = (int32_t)(i / part->map.fan);
        pairs[2 * at + 1] = in->labels[from];
    }
    part->begin = begin;
    part->pairs = pairs;
    return 0;
}

static int renumber_step(split *s, tp_field_step *step)
{
    tp_field_plan *p = s->plan;
    int status = 0;
    for (int k = 0; k < step->n_parts && !status; k++) {
        if (!p->arrays[step->out].whole)
            status = renumber_part(s, s->of[step->out], &step->part[k]);
        else if (!p->arrays[step->part[k].in].whole)
            status = scatter_part(s, s->of[step->part[k].in], &step->part[k]);
    }
    if (step->kind == TP_DATA) {
        step->map.to = sorted(s, s->of[step->out], step->map.to, 2 * step->map.fan);
        status = step->map.to ? 0 : -1;
    }
    if (tp_goes_by_entries(step)) {
        step->pairs.first = sorted(s, s->of[step->in], step->pairs.first, 1);
        step->pairs.second = sorted(s, s->of[step->in], step->pairs.second, 1);
        status = step->pairs.first && step->pairs.second ? 0 : -1;
    }
    return status;
}

static int renumber(split *s)
{
    tp_field_plan *p = s->plan;
    int status = 0;
    for (table *t = s->tables; t && !status; t = t->next)
        status = place_entries(s, t);
    for (int a = 0; a < p->n_arrays && !status; a++)
        if (s->of[a]) {
            p->arrays[a].begin = s->of[a]->begin;
            p->arrays[a].room = s->of[a]->room;
        }
    for (int i = 0; i < p->n_steps && !status; i++)
        status = renumber_step(s, &p->steps[i]);
    p->n_groups = s->groups;
    return status;
}

int tp_split_plan(tp_field_plan *p, int out)
{
    size_t largest = 0, atoms = 0;
    for (int i = 0; i < p->n_steps; i++) {
        size_t n = p->steps[i].out < 0 ? 0 : p->arrays[p->steps[i].out].n;
        largest = n > largest ? n : largest;
        atoms += p->steps[i].kind == TP_DATA ? n : 0;
    }
    p->n_groups = 1;
    for (int a = 0; a < p->n_arrays; a++)
        p->arrays[a].room = p->arrays[a].n;
    if (largest < WORTH || atoms > INT32_MAX / 2)
        return 0;
    find_whole(p, out, largest);
    split s = { .plan = p };
    s.of = ad_alloc((size_t)p->n_arrays + 1, sizeof *s.of, "a plan's groups", p->error);
    s.parent = s.of ? ad_alloc(atoms + 1, sizeof *s.parent, "a plan's groups", p->error) : NULL;
    int status = s.parent ? label_all(&s) : -1;
    if (!status)
        status = number_groups(&s);
    if (!status && s.groups > 1)
        status = renumber(&s);
    for (int a = 0; a < p->n_arrays; a++)
        p->arrays[a].whole &= p->n_groups > 1;
    for (const table *t = s.tables; t; t = t->next) {
        ad_free(t->labels);
        ad_free(t->groups);
    }
    ad_free(s.of);
    ad_free(s.parent);
    ad_free(s.group);
    return status < 0 ? -1 : 0;
}
