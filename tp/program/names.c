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

const char *tp_coefficient_text(tp_writer *w, double c, double power)
{
    bool one = tp_is_near(c, 1), flat = !(fabs(power) > 1e-9);
    if (one && flat)
        return "";
    if (flat)
        return tp_writer_text(w, "%.6g", c);
    if (power > 0)
        return one ? root(w, power) : tp_writer_text(w, "%.6g %s", c, root(w, power));
    return tp_writer_text(w, "%.6g/%s", c, root(w, -power));
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
    return tp_writer_text(w, w->latex ? "\\left(%s\\right)" : "(%s)", inside);
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

/* What LaTeX takes for itself is escaped: a name of the user's. */
const char *tp_plain_name(tp_writer *w, const char *name)
{
    if (!w->latex)
        return name;
    const char *all = "";
    for (; *name; name++)
        all = tp_writer_text(w, strchr("_#%&$", *name) ? "%s\\%c" : "%s%c", all, *name);
    return tp_writer_text(w, "\\mathrm{%s}", all);
}

/* Does a line have this name, or will one, as the adjoint of a vector? */
static bool is_taken(const tp_writer *w, const char *name)
{
    bool taken = false;
    for (int i = 0; i < w->n_lines && !taken; i++)
        taken = strcmp(w->lines[i].name, name) == 0;
    for (int id = w->program->forward; id < w->program->n_nodes && !taken; id++)
        taken = w->adjoint_of[id] && strcmp(w->adjoint_of[id], name) == 0;
    return taken;
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
    *line = (tp_line){ .rule = rule,
                       .backward = node >= w->program->forward,
                       .name = name,
                       .text = right,
                       .type = type,
                       .law = "",
                       .factor = "",
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
    if (line->backward)
        line->factor = tp_coefficient_text(w, t->c, t->power);
    t->text = name;
    t->level = ATOM_LEVEL;
    t->named = true;
}
