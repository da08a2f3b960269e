/* text.c: a program as text, in the notation that tp_print writes: reading it and writing it.
 *
 *     text    = [ "Netsor⊤ program" ... ] { [ command | "backward" ] [ "#" ... ] newline } [ notes ]
 *     notes   = "In brackets:" ... | "Places:" ... | "Initialization assumption:" ...   to the end: what tp_print says
 *                                                                                of a network
 *     command = "Width"   name ":=" number "n"                                               place
 *             | "Input"   name [":=" origin] ":" type "~" law                                place
 *             | "Trsp"    name ":=" name            [":" type]                               place
 *             | "MatMul"  name ":=" name name       [":" type] ["(" factor ")"]              place
 *             | "LinComb" name ":=" sum             [":" type] ["(" factor ")"]              place
 *             | "Nonlin"  name ":=" sum             [":" type] ["(" factor ")"]              place
 *             | "Moment"  name ":=" sum             [":" type] ["(" factor ")"]              place
 *             | "Output"  name ":=" sum                                                      place
 *     type    = "A(" rows "," columns ")" | "G(" width ")" | "H(" width ")" | "scalar"
 *     law     = "N(" number "," variance ")" { "," "Cov(" name "," name ")" "=" number }
 *     variance = number ["/" width] | [number] "⟨" sum "," sum "⟩" ["/" number]
 *     place   = [ file ":" line ]
 *
 * Sums and names are those of expression.c. A matrix has the variance number/columns; a variance with ⟨x, x⟩ is of
 * data, and its origin, "U x/√784", says which parameter meets which data. An origin is any other text, too: what the
 * parameter is called where the program comes from. A factor is what the traced quantity is the vector times. A type
 * that is written must be the one that the command has. */
#include "tp/netsor/script.h"

#include <cJSON.h>
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 16 << 20 };

typedef struct {
    tp_script *script;
    tp_reader reader;
    tp_command command;
    char declared; /* the type that is written; 0: none */
    int declared_width, declared_width2;
    int line;
} line_reader;

static bool fail(line_reader *l, const char *name, const char *what)
{
    tp_script_fail(l->script, l->line, name, "%s", what);
    return false;
}

/* What the reader has found wrong. */
static bool report(line_reader *l)
{
    return fail(l, l->command.name, l->reader.message[0] ? l->reader.message : "out of memory");
}

static bool expect(line_reader *l, const char *symbol)
{
    char wanted[40];
    snprintf(wanted, sizeof wanted, "\"%s\"", symbol);
    return tp_take(&l->reader, symbol) || (tp_refused(&l->reader, wanted), report(l));
}

static const char *expect_name(line_reader *l, const char *wanted)
{
    const char *name = tp_take_name(&l->reader);
    if (!name) {
        tp_refused(&l->reader, wanted);
        report(l);
    }
    return name;
}

static bool expect_number(line_reader *l, double *value, const char **text)
{
    const char *start;
    tp_skip_spaces(&l->reader);
    start = l->reader.at;
    bool negative = tp_take(&l->reader, "−") || tp_take(&l->reader, "-");
    if (!tp_take_number(&l->reader, value, text)) {
        tp_refused(&l->reader, "a number");
        return report(l);
    }
    if (!isfinite(*value))
        return fail(l, l->command.name, "a number that is not finite");
    *value = negative ? -*value : *value;
    *text = ad_arena_text(l->script->arena, "%.*s", (int)(l->reader.at - start), start);
    return *text != NULL;
}

static bool at_end(line_reader *l)
{
    tp_skip_spaces(&l->reader);
    return !*l->reader.at;
}

/* ---- the parts of a line ---- */
static int expect_width(line_reader *l)
{
    const char *name = expect_name(l, "a width");
    return name ? tp_script_width_named(l->script, name) : -1;
}

static bool read_type(line_reader *l)
{
    if (tp_take(&l->reader, "scalar")) {
        l->declared = 's';
        return true;
    }
    tp_skip_spaces(&l->reader);
    char letter = *l->reader.at;
    if (!letter || !strchr("AGH", letter) || l->reader.at[1] != '(') {
        tp_refused(&l->reader, "a type, A(n, n), G(n), H(n) or scalar,");
        return report(l);
    }
    l->reader.at += 2;
    l->declared = letter;
    if ((l->declared_width = expect_width(l)) < 0)
        return false;
    if (letter == 'A' && (!expect(l, ",") || (l->declared_width2 = expect_width(l)) < 0))
        return false;
    return expect(l, ")");
}

/* Data in a law: a name, or an expression of them. */
static const char *read_data(line_reader *l)
{
    tp_expr *e = tp_expr_read(&l->reader);
    const char *text = e ? tp_expr_text(l->script->arena, e, false) : NULL;
    if (!text)
        report(l);
    return text;
}

/* "2 ⟨x, x⟩/784" or "0.5/n" */
static bool read_variance(line_reader *l)
{
    tp_command *c = &l->command;
    const char *start, *text;
    double over;
    tp_skip_spaces(&l->reader);
    start = l->reader.at;
    c->variance = 1;
    bool number = tp_take_number(&l->reader, &c->variance, &text);
    bool gram = tp_take(&l->reader, "⟨") || tp_take(&l->reader, "<");
    if (!number && !gram) {
        tp_refused(&l->reader, "a variance");
        return report(l);
    }
    if (gram) {
        if (!(c->gram_x = read_data(l)) || !expect(l, ",") || !(c->gram_y = read_data(l)))
            return false;
        if (!tp_take(&l->reader, ">") && !expect(l, "⟩"))
            return false;
    }
    if (tp_take(&l->reader, "/")) {
        if (l->declared == 'A') {
            int width = expect_width(l);
            if (width < 0)
                return false;
            if (width != l->declared_width2)
                return fail(l, c->name, "a matrix has the variance number/width, where the width is its columns'");
        } else if (!expect_number(l, &over, &text)) {
            return false;
        } else {
            c->variance /= over;
        }
    } else if (l->declared == 'A') {
        return fail(l, c->name, "an A-var has a variance over its width, as in N(0, 1/n)");
    }
    c->law_text = ad_arena_text(l->script->arena, "%.*s", (int)(l->reader.at - start), start);
    if (!isfinite(c->variance))
        return fail(l, c->name, "its variance is not finite");
    if (c->variance < 0) {
        tp_script_fail(l->script, l->line, c->name, "its variance is %g: one is finite and not negative", c->variance);
        return false;
    }
    return c->law_text != NULL;
}

static bool read_covariance(line_reader *l)
{
    tp_command *c = &l->command;
    const char *names[2];
    tp_script_covariance cov = { -1, 0, "" };
    if (!expect(l, "Cov") || !expect(l, "(") || !(names[0] = expect_name(l, "a name")) || !expect(l, ",") ||
        !(names[1] = expect_name(l, "a name")) || !expect(l, ")") || !expect(l, "=") ||
        !expect_number(l, &cov.value, &cov.text))
        return false;
    int own = strcmp(names[0], c->name) == 0 ? 0 : 1;
    if (strcmp(names[own], c->name) != 0 || strcmp(names[!own], c->name) == 0)
        return fail(l, c->name, "a covariance in its law is one with an input before it");
    cov.with = tp_script_find(l->script, names[!own]);
    if (cov.with < 0) {
        tp_script_fail(l->script, l->line, c->name, "unknown name %s", names[!own]);
        return false;
    }
    const tp_command *other = &l->script->commands[cov.with];
    if (other->rule != TP_INPUT || other->type != 'G' || l->declared != 'G')
        return fail(l, c->name, "a covariance is given of two input G-vars");
    if (other->width != l->declared_width)
        return fail(l, c->name, "a covariance is given of two vectors over one width");
    for (int k = 0; k < c->n_covariances; k++)
        if (c->covariances[k].with == cov.with) {
            tp_script_fail(l->script, l->line, c->name, "its covariance with %s is given twice", names[!own]);
            return false;
        }
    tp_script_covariance *list = ad_arena_alloc(l->script->arena, (size_t)c->n_covariances + 1, sizeof *list);
    if (!list)
        return report(l);
    if (c->n_covariances)
        memcpy(list, c->covariances, (size_t)c->n_covariances * sizeof *list);
    list[c->n_covariances++] = cov;
    c->covariances = list;
    return true;
}

static bool read_law(line_reader *l)
{
    tp_command *c = &l->command;
    if (!expect(l, "N") || !expect(l, "(") || !expect_number(l, &c->mean, &c->mean_text) || !expect(l, ",") ||
        !read_variance(l) || !expect(l, ")"))
        return false;
    if (l->declared == 'A' && fabs(c->mean) > 0)
        return fail(l, c->name, "an A-var has mean 0: that is the initialization assumption");
    while (tp_take(&l->reader, ","))
        if (!read_covariance(l))
            return false;
    return true;
}

/* The parameter that meets data: the name before the data's in an origin such as "2 U x/√784". */
static const char *before_data(line_reader *l, const char *origin)
{
    tp_reader reader = { .arena = l->script->arena, .start = origin, .at = origin };
    const char *before = NULL;
    while (*reader.at) {
        tp_skip_spaces(&reader);
        if (before && strncmp(reader.at, l->command.gram_x, strlen(l->command.gram_x)) == 0)
            return before;
        const char *name = tp_take_name(&reader);
        if (name)
            before = name;
        else if (*reader.at)
            reader.at++;
    }
    return NULL;
}

static bool read_input(line_reader *l)
{
    tp_command *c = &l->command;
    if (tp_take(&l->reader, ":=")) {
        tp_skip_spaces(&l->reader);
        const char *end = strstr(l->reader.at, " :");
        size_t length = end ? (size_t)(end - l->reader.at) : strlen(l->reader.at);
        while (length && l->reader.at[length - 1] == ' ')
            length--;
        c->origin = ad_arena_text(l->script->arena, "%.*s", (int)length, l->reader.at);
        if (!c->origin)
            return report(l);
        l->reader.at += length;
    }
    if (!expect(l, ":") || !read_type(l) || !expect(l, "~") || !read_law(l))
        return false;
    if (l->declared == 'H')
        return fail(l, c->name, "an input is an A-var, a G-var or a scalar, not an H-var");
    c->type = l->declared;
    c->width = l->declared_width;
    c->width2 = l->declared_width2;
    if (c->gram_x)
        c->origin_vector = before_data(l, c->origin);
    return true;
}

static bool find_operand(line_reader *l, int *operand)
{
    const char *name = expect_name(l, "a name");
    if (!name)
        return false;
    *operand = tp_script_find(l->script, name);
    const char *index = strchr(name, '[');
    if (*operand < 0 && index) { /* a member of a family, which is found when it is solved */
        const char *base = ad_arena_text(l->script->arena, "%.*s", (int)(index - name), name);
        *operand = base ? tp_script_find(l->script, base) : -1;
        l->command.origin = name;
    }
    if (*operand < 0)
        tp_script_fail(l->script, l->line, l->command.name, "unknown name %s", name);
    return *operand >= 0;
}

static bool read_body(line_reader *l)
{
    tp_command *c = &l->command;
    double ratio;
    const char *text;
    if (c->rule == TP_INPUT)
        return read_input(l);
    if (!expect(l, ":="))
        return false;
    if (c->rule == TP_WIDTH) {
        if (!expect_number(l, &ratio, &text) || !expect(l, "n"))
            return false;
        if (!(ratio > 0))
            return fail(l, c->name, "a width is a positive multiple of n");
        if ((c->width = tp_script_width_named(l->script, c->name)) < 0)
            return false;
        tp_script_width *width = &l->script->widths[c->width];
        if (width->line) {
            tp_script_fail(l->script, l->line, c->name, "this width is given in line %d already", width->line);
            return false;
        }
        width->ratio = ratio;
        width->line = l->line;
        c->law_text = text;
        c->type = 'n';
        return true;
    }
    if (c->rule == TP_TRSP)
        return find_operand(l, &c->matrix);
    if (c->rule == TP_MATMUL)
        return find_operand(l, &c->matrix) && find_operand(l, &c->vector);
    c->body = tp_expr_read(&l->reader);
    return c->body ? true : report(l);
}

/* "(1/√n)": any text in brackets */
static bool read_factor(line_reader *l)
{
    if (!tp_take(&l->reader, "("))
        return true;
    enum { LONGEST = 76 }; /* a longer one would be cut where it is printed */
    size_t length = strcspn(l->reader.at, ")");
    if (length > LONGEST)
        return fail(l, l->command.name, "its factor, in brackets, has more than 76 bytes");
    l->command.factor = ad_arena_text(l->script->arena, "%.*s", (int)length, l->reader.at);
    l->reader.at += length;
    return l->command.factor ? expect(l, ")") : report(l);
}

/* ---- lines ---- */
/* Takes "net.c:12" off the end of a line. What cannot be written as it is read is none: a folder, a line past those
 * that there are. */
static void take_place(char *text, tp_script *script, ad_where *where)
{
    size_t length = strlen(text), digits = length;
    while (digits && isdigit((unsigned char)text[digits - 1]))
        digits--;
    size_t start = digits ? digits - 1 : 0;
    if (!start || digits == length || text[start] != ':')
        return;
    size_t end = start;
    while (start && text[start - 1] != ' ' && text[start - 1] != '\t' && text[start - 1] != ':')
        start--;
    long line = strtol(text + digits, NULL, 10);
    if (start == end || !start || text[start - 1] == ':' || text[end - 1] == '/' || line > INT_MAX)
        return;
    const char *file = ad_arena_text(script->arena, "%.*s", (int)(end - start), text + start);
    *where = (ad_where){ file, (int)line };
    text[start] = 0;
}

static bool check_declared(const line_reader *l, int k)
{
    tp_script *s = l->script;
    const tp_command *c = &s->commands[k];
    const char *kind = c->type == 's'   ? "a scalar"
                       : c->type == 'A' ? "an A-var"
                       : c->type == 'G' ? "a G-var"
                                        : "an H-var";
    if (!l->declared || c->rule == TP_INPUT)
        return true;
    if (c->type != l->declared)
        tp_script_fail(s, l->line, c->name, "type %c is written, but it is %s", l->declared, kind);
    else if (c->type != 's' && (c->width != l->declared_width || (c->type == 'A' && c->width2 != l->declared_width2)))
        tp_script_fail(s, l->line, c->name, "width %s is written, but it is over %s",
                       s->widths[c->width != l->declared_width ? l->declared_width : l->declared_width2].name,
                       s->widths[c->width != l->declared_width ? c->width : c->width2].name);
    return !s->error.text[0];
}

static int rule_named(const char *name)
{
    for (int k = 0; name && k < TP_RULES; k++)
        if (strcmp(tp_rule_name((tp_rule)k), name) == 0)
            return k;
    return -1;
}

static bool read_line(tp_script *script, char *text, int number, bool *backward)
{
    line_reader l = { .script = script, .line = number };
    l.command = (tp_command){ .matrix = -1,
                              .vector = -1,
                              .width = -1,
                              .width2 = -1,
                              .origin = "",
                              .factor = "",
                              .mean_text = "",
                              .law_text = "",
                              .line = number };
    take_place(text, script, &l.command.where);
    l.reader = (tp_reader){ .arena = script->arena, .start = text, .at = text };
    if (at_end(&l))
        return true;
    const char *start = l.reader.at, *word = tp_take_name(&l.reader);
    if (word && strcmp(word, "backward") == 0 && at_end(&l)) {
        *backward = true;
        return true;
    }
    int rule = rule_named(word);
    if (rule < 0) {
        l.reader.at = start;
        tp_refused(&l.reader, "a command (Width, Input, Trsp, MatMul, LinComb, Nonlin, Moment or Output)");
        return report(&l);
    }
    l.command.rule = (tp_rule)rule;
    l.command.backward = *backward;
    if (!(l.command.name = expect_name(&l, "a name")) || !read_body(&l))
        return false;
    if (rule != TP_INPUT && tp_take(&l.reader, ":") && !read_type(&l))
        return false;
    if (rule != TP_INPUT && !read_factor(&l))
        return false;
    if (!at_end(&l)) {
        tp_refused(&l.reader, "the end of the line");
        return report(&l);
    }
    int k = tp_script_add(script, &l.command);
    return k >= 0 && check_declared(&l, k);
}

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int read_all(tp_script *script, const char *text)
{
    bool backward = false;
    int number = 1;
    for (const char *at = text; *at; number++) {
        size_t length = strcspn(at, "\n");
        if (starts_with(at, "In brackets:") || starts_with(at, "Places:") ||
            starts_with(at, "Initialization assumption:")) {
            /* the first of these lines is written with the factors that it explains */
            const char *notes = starts_with(at, "Init") ? at : strstr(at, "\nInitialization assumption:");
            script->notes = ad_arena_text(script->arena, "%s", !notes ? "" : notes + (*notes == '\n'));
            return script->notes ? 0 : -1;
        }
        char *line = ad_arena_text(script->arena, "%.*s", (int)length, at);
        if (!line)
            return -1;
        if (starts_with(line, "Netsor") && !script->title && script->n == 0) {
            script->title = line;
        } else {
            line[strcspn(line, "#\r")] = 0;
            if (!read_line(script, line, number, &backward))
                return -1;
        }
        at += length + (at[length] == '\n');
    }
    return 0;
}

tp_script *tp_script_parse(const char *text, const char *file, ad_error *error)
{
    tp_script *script = text ? tp_script_new(error) : NULL;
    if (!text)
        ad_fail(error, "%s: no text of a program (NULL)", file ? file : "text");
    if (!script)
        return NULL;
    script->file = ad_arena_text(script->arena, "%s", file ? file : "text");
    if (!script->file || read_all(script, text)) {
        ad_fail(error, "%s", script->error.text[0] ? script->error.text : "out of memory for a program's text");
        tp_script_free(script);
        return NULL;
    }
    if (script->n == 0) {
        ad_fail(error, "%s: the text has no commands: no program", script->file);
        tp_script_free(script);
        return NULL;
    }
    return script;
}

tp_script *tp_script_read(const char *path, ad_error *error)
{
    size_t bytes;
    char *text = ad_file_read(path, MAX_BYTES, &bytes, error);
    tp_script *script = NULL;
    if (text && strlen(text) < bytes)
        ad_fail(error, "%s: a zero byte in it: no text", path);
    else if (text)
        script = tp_script_parse(text, path, error);
    ad_free(text);
    return script;
}

/* ---- writing ---- */
/* The shortest digits that read back as this number. */
static const char *number(ad_arena *arena, double value, const char *written)
{
    char text[40];
    if (*written)
        return written;
    for (int digits = 6; digits <= 17; digits++) {
        ad_snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(fabs(ad_number(text, NULL) - value) > 0))
            break;
    }
    return ad_arena_text(arena, "%s", text);
}

/* An expression's text as LaTeX. */
static const char *latex_of(ad_arena *arena, const char *text)
{
    tp_reader reader = { .arena = arena, .start = text, .at = text };
    const tp_expr *e = tp_expr_read(&reader);
    return e && !*reader.at ? tp_expr_text(arena, e, true) : NULL;
}

static const char *law_text(const tp_script *s, const tp_command *c, ad_arena *arena, bool latex)
{
    const char *mean = number(arena, c->mean, c->mean_text), *variance = number(arena, c->variance, c->law_text);
    if (mean && variance && !*c->law_text && c->type == 'A')
        variance = ad_arena_text(arena, "%s/%s", variance, s->widths[c->width2].name);
    if (variance && latex && c->gram_x) {
        const char *x = latex_of(arena, c->gram_x), *y = latex_of(arena, c->gram_y);
        const char *value = number(arena, c->variance, "");
        variance = x && y && value ? ad_arena_text(arena, "%s\\,\\langle %s, %s\\rangle", value, x, y) : NULL;
    }
    const char *law = mean && variance ? ad_arena_text(arena, "N(%s, %s)", mean, variance) : NULL;
    for (int k = 0; law && k < c->n_covariances; k++) {
        const tp_script_covariance *v = &c->covariances[k];
        const char *own = tp_name_text(arena, c->name, latex), *value = number(arena, v->value, v->text);
        const char *other = tp_name_text(arena, s->commands[v->with].name, latex);
        law = own && other && value
                  ? ad_arena_text(arena, latex ? "%s,\\ \\mathrm{Cov}(%s, %s) = %s" : "%s, Cov(%s, %s) = %s", law, own,
                                  other, value)
                  : NULL;
    }
    return law;
}

/* What stands after ":=". */
static const char *body_text(const tp_script *s, const tp_command *c, ad_arena *arena, bool latex)
{
    switch (c->rule) {
    case TP_WIDTH: {
        const char *ratio = number(arena, s->widths[c->width].ratio, c->law_text);
        return ratio ? ad_arena_text(arena, "%s n", ratio) : NULL;
    }
    case TP_INPUT:
        return latex ? "" : c->origin;
    case TP_TRSP:
        return tp_name_text(arena, s->commands[c->matrix].name, latex);
    case TP_MATMUL: {
        const char *vector = *c->origin ? c->origin : s->commands[c->vector].name;
        const char *m = tp_name_text(arena, s->commands[c->matrix].name, latex),
                   *x = tp_name_text(arena, vector, latex);
        return m && x ? ad_arena_text(arena, "%s %s", m, x) : NULL;
    }
    default:
        return tp_expr_text(arena, c->body, latex);
    }
}

static const char *type_text(const tp_script *s, const tp_command *c, ad_arena *arena)
{
    switch (c->type) {
    case 's':
        return "scalar";
    case 'A':
        return ad_arena_text(arena, "A(%s, %s)", s->widths[c->width].name, s->widths[c->width2].name);
    case 'G':
    case 'H':
        return ad_arena_text(arena, "%c(%s)", c->type, s->widths[c->width].name);
    default:
        return "";
    }
}

/* "1/√n" */
static const char *factor_text(const tp_command *c, ad_arena *arena, bool latex)
{
    return latex && *c->factor ? latex_of(arena, c->factor) : c->factor;
}

static bool make_line(const tp_script *s, const tp_command *c, ad_arena *arena, bool latex, tp_line *line)
{
    *line = (tp_line){ .rule = c->rule, .backward = c->backward, .where = c->where, .law = "" };
    line->name = tp_name_text(arena, c->name, latex);
    line->text = body_text(s, c, arena, latex);
    line->type = type_text(s, c, arena);
    line->factor = factor_text(c, arena, latex);
    if (c->rule == TP_INPUT)
        line->law = law_text(s, c, arena, latex);
    return line->name && line->text && line->type && line->law && line->factor;
}

static int print_json(const tp_line *lines, int n, FILE *stream)
{
    cJSON *root = cJSON_CreateObject(), *list = root ? tp_lines_json(lines, n) : NULL;
    bool ok = list && cJSON_AddItemToObject(root, "commands", list);
    if (!ok)
        cJSON_Delete(list);
    char *text = ok ? cJSON_Print(root) : NULL;
    if (text)
        fprintf(stream, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? 0 : -1;
}

int tp_script_print(const tp_script *script, FILE *stream, tp_style style, ad_error *error)
{
    if (script->error.text[0])
        return ad_fail(error, "%s", script->error.text);
    void *locale = ad_c_locale_begin();
    ad_arena *arena = ad_arena_new(error);
    tp_line *lines = arena ? ad_arena_alloc(arena, (size_t)script->n + 1, sizeof *lines) : NULL;
    bool ok = lines != NULL;
    for (int k = 0; ok && k < script->n; k++)
        ok = make_line(script, &script->commands[k], arena, style == TP_LATEX, &lines[k]);
    if (ok && style == TP_JSON)
        ok = print_json(lines, script->n, stream) == 0;
    else if (ok) {
        bool paper = style == TP_PAPER;
        if (paper && script->title)
            fprintf(stream, "%s\n", script->title);
        tp_print_lines(lines, script->n, stream, style);
        fputs(paper && script->notes ? script->notes : "", stream);
    }
    ad_arena_free(arena);
    ad_c_locale_end(locale);
    if (!ok)
        return ad_fail(error, "out of memory for printing a program");
    return ferror(stream) ? ad_fail(error, "the program cannot be printed") : 0;
}
