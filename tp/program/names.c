/* names.c: factors, names and the lines themselves, as text of a style. */
#include "autodiff/base/base.h"
#include "tp/program/writer.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

const char *tp_writer_text(tp_writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *kept = ad_arena_vtext(w->arena, format, args);
    va_end(args);
    w->full = w->full || !kept;
    return kept ? kept : "";
}

const char *tp_node_name(const ad_node *node)
{
    return node->name ? node->name : tp_left_order(node) >= 0 ? node->function->name : ad_op_name(node->op);
}

/* ---- factors ---- */
bool tp_is_near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* n^p for p > 0 */
static const char *root(tp_writer *w, double p)
{
    if (tp_is_near(p, 1))
        return "n";
    if (tp_is_near(p, 0.5))
        return w->latex ? "\\sqrt{n}" : "√n";
    return tp_writer_text(w, w->latex ? "n^{%.4g}" : "n^%.4g", p);
}

const char *tp_number_text(tp_writer *w, double c)
{
    char text[TP_NUMBER_TEXT];
    return w->latex ? tp_writer_text(w, "%s", tp_number_latex(c, text)) : tp_writer_text(w, "%.6g", c);
}

const char *tp_coefficient_text(tp_writer *w, double c, double power)
{
    bool one = tp_is_near(c, 1), flat = !(fabs(power) > 1e-9);
    if (one && flat)
        return "";
    const char *number = tp_number_text(w, c);
    if (flat)
        return number;
    if (power > 0)
        return one ? root(w, power) : tp_writer_text(w, "%s %s", number, root(w, power));
    return tp_writer_text(w, "%s/%s", number, root(w, -power));
}

const char *tp_times_text(tp_writer *w, double c, double power, const char *what)
{
    if (c < 0)
        return tp_writer_text(w, w->latex ? "-%s" : "−%s", tp_times_text(w, -c, power, what));
    const char *front = tp_coefficient_text(w, c, power);
    return *front ? tp_writer_text(w, "%s %s", front, what) : what;
}

static bool is_one(const tp_line_term *t)
{
    return tp_is_near(t->c, 1) && !(fabs(t->power) > 1e-9);
}

const char *tp_in_brackets(tp_writer *w, const char *inside)
{
    return tp_writer_text(w, "(%s)", inside);
}

/* The whole, factor and base, at least at this level. */
const char *tp_whole_text(tp_writer *w, const tp_line_term *t, int level)
{
    if (is_one(t))
        return t->level < level ? tp_in_brackets(w, t->text) : t->text;
    const char *base = t->level < PRODUCT_LEVEL ? tp_in_brackets(w, t->text) : t->text;
    const char *all = tp_times_text(w, t->c, t->power, base);
    return level > PRODUCT_LEVEL || (level == PRODUCT_LEVEL && t->c < 0) ? tp_in_brackets(w, all) : all;
}

/* The base alone, as a factor of a product. */
const char *tp_base_text(tp_writer *w, const tp_line_term *t)
{
    return t->level < PRODUCT_LEVEL ? tp_in_brackets(w, t->text) : t->text;
}

/* ---- names ---- */
const char *tp_numbered_name(tp_writer *w, const char *letter, int number)
{
    if (number == 0)
        return letter;
    return tp_writer_text(w, w->latex ? "%s^{%d}" : "%s%d", letter, number);
}

enum { LONG_NAME = 14 };

/* What LaTeX takes for itself is escaped: a name of the user's. */
const char *tp_plain_name(tp_writer *w, const char *name)
{
    if (!w->latex)
        return name;
    const char *all = "";
    bool parts = strlen(name) > LONG_NAME; /* may then be broken before a dot */
    for (; *name; name++)
        all = tp_writer_text(w,
                             parts && *name == '.'    ? "%s}\\allowbreak \\mathrm{%c"
                             : strchr("_#%&$", *name) ? "%s\\%c"
                                                      : "%s%c",
                             all, *name);
    return tp_writer_text(w, "\\mathrm{%s}", all);
}

/* Where a name stands in the table, or the free slot where it would stand; there is one. */
static size_t slot_of(const tp_writer *w, const char *name)
{
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (const char *at = name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211U;
    size_t slot = (size_t)(hash ^ hash >> 32) & (w->n_slots - 1);
    while (w->taken[slot] && strcmp(w->taken[slot], name) != 0)
        slot = (slot + 1) & (w->n_slots - 1);
    return slot;
}

/* Room for one name more, at least half of the slots free. */
static bool grow_taken(tp_writer *w)
{
    tp_writer before = *w;
    if (2 * (w->n_taken + 1) <= w->n_slots)
        return true;
    size_t n_slots = w->n_slots ? 2 * w->n_slots : 64;
    const char **taken = ad_arena_alloc(w->arena, n_slots, sizeof *taken);
    if (!taken)
        return false;
    w->taken = taken;
    w->n_slots = n_slots;
    for (size_t k = 0; k < before.n_slots; k++)
        if (before.taken[k])
            w->taken[slot_of(w, before.taken[k])] = before.taken[k];
    return true;
}

void tp_take_name_of(tp_writer *w, const char *name)
{
    if (!grow_taken(w)) {
        w->full = true;
        return;
    }
    size_t slot = slot_of(w, name);
    w->n_taken += !w->taken[slot];
    w->taken[slot] = name;
}

static bool is_taken(const tp_writer *w, const char *name)
{
    return w->n_slots && w->taken[slot_of(w, name)];
}

static const char *fresh(tp_writer *w, const char *letter)
{
    const char *name;
    int at = 0;
    while (at < MOST_LETTERS - 1 && w->letters[at] && strcmp(w->letters[at], letter) != 0)
        at++;
    w->letters[at] = letter;
    do
        name = tp_numbered_name(w, letter, ++w->counts[at]);
    while (!w->full && is_taken(w, name));
    return name;
}

tp_line *tp_add_line(tp_writer *w, tp_rule rule, int node, const char *name, const char *right, const char *type)
{
    if (!ad_arena_grow(w->arena, (void **)&w->lines, w->n_lines, &w->capacity, sizeof *w->lines)) {
        w->full = true;
        return &w->nowhere;
    }
    tp_line *line = &w->lines[w->n_lines++];
    tp_take_name_of(w, name);
    *line = (tp_line){ .rule = rule,
                       .backward = node >= w->program->forward,
                       .name = name,
                       .text = right,
                       .type = type,
                       .law = "",
                       .factor = "",
                       .node = node,
                       .c = 1,
                       .where = ad_node_of(w->graph, node)->where };
    return line;
}

/* Of a matrix (in, out): its rows, then its columns. */
static const char *width_of(tp_writer *w, const ad_shape *shape)
{
    const char *list = "";
    for (int i = shape->rank - 1; i >= 0; i--)
        if (ad_axis_kind(w->graph, shape->axes[i]) == AD_WIDTH)
            list = *list ? tp_writer_text(w, "%s, %s", list, ad_axis_name(w->graph, shape->axes[i]))
                         : ad_axis_name(w->graph, shape->axes[i]);
    return list;
}

const char *tp_type_text(tp_writer *w, const tp_line_term *t, const ad_shape *shape)
{
    static const char *const letters[] = { "", "A", "G", "H", "" };
    return t->type == SCALAR ? "scalar" : tp_writer_text(w, "%s(%s)", letters[t->type], width_of(w, shape));
}

/* Gives the term a line of its own. The name of a backward vector comes from what it is the adjoint of. */
void tp_name_term(tp_writer *w, int id, tp_line_term *t, tp_rule rule)
{
    if (t->named)
        return;
    const char *name = id >= w->program->forward ? w->adjoint_of[id] : NULL;
    static const char *const forward[] = { "", "W", "h", "x", "s" }, *const backward[] = { "", "W", "dg", "dy", "ds" };
    if (!name && t->type == G_VAR && w->added[id] && w->uses[id] == 1 && id < w->program->forward)
        name = fresh(w, "g");
    if (!name)
        name = fresh(w, (id >= w->program->forward ? backward : forward)[t->type]);
    tp_line *line = tp_add_line(w, rule, id, name, t->text, tp_type_text(w, t, &ad_node_of(w->graph, id)->shape));
    line->c = t->c;
    line->power = t->power;
    if (line->backward)
        line->factor = tp_coefficient_text(w, t->c, t->power);
    t->text = name;
    t->level = ATOM_LEVEL;
    t->named = true;
}
