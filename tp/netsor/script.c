/* script.c: a program is made command by command; names are looked up and types checked as each is added. */
#include "tp/netsor/script.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

enum { SCALAR = -1, WRONG = -2, DATA = -2 };

tp_script *tp_script_new(ad_error *error)
{
    tp_script *script = ad_alloc(1, sizeof *script, "a program", error);
    if (script && !(script->arena = ad_arena_new(error))) {
        ad_free(script);
        script = NULL;
    }
    return script;
}

void tp_script_free(tp_script *script)
{
    if (!script)
        return;
    ad_free(script->commands);
    ad_free(script->widths);
    ad_free(script->functions);
    ad_arena_free(script->arena);
    ad_free(script);
}

int tp_script_fail(tp_script *script, int line, const char *name, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    ad_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *file = script->file ? script->file : "program";
    return ad_fail(&script->error, "%s:%d: %s%s%s", file, line, name ? name : "", name && *name ? ": " : "", text);
}

static int no_memory(tp_script *script)
{
    return ad_fail(&script->error, "out of memory for a program of %d commands", script->n);
}

int tp_script_find(const tp_script *script, const char *name)
{
    for (int k = 0; k < script->n; k++)
        if (script->commands[k].type != 'n' && strcmp(script->commands[k].name, name) == 0)
            return k;
    return -1;
}

int tp_script_width_named(tp_script *script, const char *name)
{
    for (int k = 0; k < script->n_widths; k++)
        if (strcmp(script->widths[k].name, name) == 0)
            return k;
    void *widths = script->widths;
    bool ok = ad_grow(&widths, script->n_widths, &script->widths_capacity, sizeof *script->widths, "a program",
                      &script->error);
    script->widths = widths;
    const char *kept = ok ? ad_arena_text(script->arena, "%s", name) : NULL;
    if (!kept)
        return no_memory(script);
    script->widths[script->n_widths] = (tp_script_width){ kept, 1, 0 };
    return script->n_widths++;
}

int tp_script_function(tp_script *script, const ad_function *function)
{
    if (!script || !function || !function->name)
        return script ? tp_script_fail(script, 0, "", "a function of it, or its name, is missing (NULL)") : -1;
    void *functions = script->functions;
    bool ok = ad_grow(&functions, script->n_functions, &script->functions_capacity, sizeof *script->functions,
                      "a program", &script->error);
    script->functions = functions;
    if (!ok)
        return -1;
    script->functions[script->n_functions++] = function;
    return 0;
}

const ad_function *tp_script_custom(const tp_script *script, const char *name, int *order)
{
    for (int k = 0; k < script->n_functions; k++) {
        const ad_function *f = script->functions[k];
        size_t length = strlen(f->name), marks = 0;
        if (strncmp(name, f->name, length) != 0)
            continue;
        for (*order = 0; *order < f->count; ++*order, marks += strlen("′"))
            if (strspn(name + length + marks, "′") == 0 || !name[length + marks])
                break;
        if (!name[length + marks] && *order < f->count)
            return f;
    }
    return NULL;
}

bool tp_takes_parameter(int op)
{
    return op >= 0 && op < AD_CUSTOM && ad_op_facts_of((ad_op)op)->takes_p;
}

/* ---- types ---- */
typedef struct {
    tp_script *script;
    const tp_command *command;
    bool linear; /* a linear combination of G-vars is wanted */
} checker;

static int refuse(checker *c, const char *format, ...) AD_PRINTF(2, 3);
static int refuse(checker *c, const char *format, ...)
{
    char text[250];
    va_list args;
    va_start(args, format);
    ad_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tp_script_fail(c->script, c->command->line, c->command->name, "%s", text);
    return WRONG;
}

/* The name without an index. */
static size_t base_length(const char *name)
{
    return strcspn(name, "[");
}

static bool is_data(const tp_script *script, const char *name)
{
    size_t length = base_length(name);
    for (int k = 0; k < script->n; k++) {
        const char *data = script->commands[k].gram_x;
        if (data && base_length(data) == length && strncmp(data, name, length) == 0)
            return true;
    }
    return false;
}

static int type_of_name(checker *c, tp_expr *e)
{
    tp_script *s = c->script;
    e->var = tp_script_find(s, e->text);
    if (e->var < 0 && strchr(e->text, '[')) { /* a member of a family over fixed axes */
        const char *base = ad_arena_text(s->arena, "%.*s", (int)base_length(e->text), e->text);
        e->var = base ? tp_script_find(s, base) : -1;
        e->c = 1;
    }
    if (e->var < 0 && strcmp(e->text, "n") == 0) {
        e->kind = TP_E_N;
        e->c = 1;
        return SCALAR;
    }
    if (e->var < 0 && is_data(s, e->text)) {
        e->var = DATA;
        return SCALAR;
    }
    if (e->var < 0)
        return refuse(c, "unknown name %s", e->text);
    const tp_command *of = &s->commands[e->var];
    if (of->type == 'A')
        return refuse(c, "%s is an A-var (line %d): a matrix is multiplied into a vector by MatMul alone", e->text,
                      of->line);
    if (of->type == 'f')
        return refuse(c, "%s is an output (line %d), which has no limit but in law", e->text, of->line);
    if (c->linear && of->type == 'H')
        return refuse(c, "%s is an H-var (line %d): LinComb takes G-vars, so this is a Nonlin", e->text, of->line);
    return of->type == 's' ? SCALAR : of->width;
}

static int type_of(checker *c, tp_expr *e);

/* Two operands: the same width, or one of them a scalar. */
static int join(checker *c, const tp_expr *e, int a, int b)
{
    const tp_script_width *w = c->script->widths;
    if (a == WRONG || b == WRONG)
        return WRONG;
    if (a >= 0 && b >= 0 && a != b)
        return refuse(c, "vectors over two widths, %s and %s, meet entry by entry in %s", w[a].name, w[b].name,
                      e->args[1]->text);
    return a >= 0 ? a : b;
}

static int type_of_call(checker *c, tp_expr *e)
{
    int op = ad_unary_named(e->text), order, all = SCALAR;
    bool known = op >= 0 || tp_script_custom(c->script, e->text, &order);
    for (int k = 0; k < AD_N_OPS && !known; k++) /* what a network may have, without a rule here */
        known = !ad_is_unary((ad_op)k) && !ad_is_binary((ad_op)k) && strcmp(ad_op_name((ad_op)k), e->text) == 0;
    if (!known)
        return refuse(c, "unknown function %s", e->text);
    int wanted = tp_takes_parameter(op) ? 2 : 1;
    if (op >= 0 && e->n != wanted)
        return refuse(c, "%s takes %d argument%s, not %d", e->text, wanted, wanted > 1 ? "s" : "", e->n);
    if (wanted == 2 && e->args[1]->kind != TP_E_NUMBER && e->args[1]->kind != TP_E_NEG)
        return refuse(c, "the second argument of %s is a number", e->text);
    for (int k = 0; k < e->n; k++) {
        int one = type_of(c, e->args[k]);
        if (one == WRONG)
            return WRONG;
        all = one >= 0 ? one : all;
    }
    if (c->linear && all >= 0)
        return refuse(c, "%s is not linear: LinComb takes sums of G-vars, so this is a Nonlin", e->text);
    return all;
}

/* The width of an expression, SCALAR, or WRONG with an error. */
static int type_of(checker *c, tp_expr *e)
{
    int a, b;
    switch (e->kind) {
    case TP_E_NUMBER:
    case TP_E_N:
        return SCALAR;
    case TP_E_NAME:
        return type_of_name(c, e);
    case TP_E_CALL:
        return type_of_call(c, e);
    case TP_E_NEG:
    case TP_E_BRACKET:
    case TP_E_SUM:
        return type_of(c, e->args[0]);
    case TP_E_AVERAGE: {
        bool linear = c->linear;
        c->linear = false;
        a = type_of(c, e->args[0]);
        b = e->n == 2 ? type_of(c, e->args[1]) : a;
        c->linear = linear;
        if (a == WRONG || b == WRONG || (e->n == 2 && join(c, e, a, b) == WRONG))
            return WRONG;
        return a == SCALAR && b == SCALAR ? refuse(c, "an average of scalars: there is no width in it") : SCALAR;
    }
    case TP_E_ADD:
    case TP_E_SUB:
        a = type_of(c, e->args[0]);
        b = a == WRONG ? WRONG : type_of(c, e->args[1]);
        if (c->linear && a != WRONG && b != WRONG && (a == SCALAR) != (b == SCALAR))
            return refuse(c, "a scalar is added to a G-var: that is no linear combination, so this is a Nonlin");
        return join(c, e, a, b);
    default:
        a = type_of(c, e->args[0]);
        b = a == WRONG ? WRONG : type_of(c, e->args[1]);
        if (a == WRONG || b == WRONG)
            return WRONG;
        if (c->linear && ((a >= 0 && b >= 0) || (e->kind == TP_E_OVER && b >= 0)))
            return refuse(c, "a product or quotient of vectors is not linear: this is a Nonlin");
        return join(c, e, a, b);
    }
}

static int check_matmul(checker *c, tp_command *command)
{
    tp_script *s = c->script;
    const tp_command *m = command->matrix >= 0 ? &s->commands[command->matrix] : NULL;
    const tp_command *x = command->vector >= 0 ? &s->commands[command->vector] : NULL;
    if (!m || !x)
        return WRONG;
    if (m->type != 'A')
        return refuse(c, "%s is no A-var (line %d): MatMul multiplies a matrix into a vector", m->name, m->line);
    if (x->type != 'G' && x->type != 'H')
        return refuse(c, "%s is no vector (line %d): MatMul multiplies an A-var into a G- or H-var", x->name, x->line);
    if (m->width2 != x->width)
        return refuse(c, "%s is %s x %s (line %d), and %s is over %s (line %d)", m->name, s->widths[m->width].name,
                      s->widths[m->width2].name, m->line, x->name, s->widths[x->width].name, x->line);
    command->type = 'G';
    command->width = m->width;
    return 0;
}

static int check_types(checker *c, tp_command *command)
{
    tp_script *s = c->script;
    int width;
    switch (command->rule) {
    case TP_INPUT:
    case TP_WIDTH:
        return 0;
    case TP_TRSP: {
        const tp_command *m = &s->commands[command->matrix];
        if (m->type != 'A')
            return refuse(c, "%s is no A-var (line %d): only a matrix has a transpose", m->name, m->line);
        command->type = 'A';
        command->transposed = true;
        command->width = m->width2;
        command->width2 = m->width;
        return 0;
    }
    case TP_MATMUL:
        return check_matmul(c, command);
    case TP_LINCOMB:
    case TP_NONLIN:
        c->linear = command->rule == TP_LINCOMB;
        if ((width = type_of(c, command->body)) == WRONG)
            return WRONG;
        if (width == SCALAR)
            return refuse(c, "a scalar: without a vector in it this is a Moment");
        command->type = c->linear ? 'G' : 'H';
        command->width = width;
        return 0;
    case TP_MOMENT:
    case TP_OUTPUT:
        if ((width = type_of(c, command->body)) == WRONG)
            return WRONG;
        if (width != SCALAR && command->rule == TP_OUTPUT)
            return refuse(c, "a vector over %s: an output has no width", s->widths[width].name);
        if (width != SCALAR) {
            tp_expr *average = ad_arena_alloc(s->arena, 1, sizeof *average + sizeof *average->args);
            if (!average)
                return no_memory(s);
            *average = (tp_expr){ .kind = TP_E_AVERAGE, .text = "", .var = -1, .n = 1 };
            average->args[0] = command->body;
            command->body = average;
        }
        command->type = command->rule == TP_OUTPUT ? 'f' : 's';
        command->width = -1;
        return 0;
    }
    return 0;
}

int tp_script_add(tp_script *script, const tp_command *given)
{
    if (script->error.text[0])
        return -1;
    tp_command command = *given;
    checker c = { .script = script, .command = &command };
    int before = command.type == 'n' ? -1 : tp_script_find(script, command.name);
    if (before >= 0)
        return tp_script_fail(script, command.line, command.name, "is defined already, in line %d",
                              script->commands[before].line);
    if (check_types(&c, &command))
        return script->error.text[0] ? -1 : no_memory(script);
    void *commands = script->commands;
    bool ok = ad_grow(&commands, script->n, &script->capacity, sizeof command, "a program", &script->error);
    script->commands = commands;
    if (!ok)
        return -1;
    script->commands[script->n] = command;
    return script->n++;
}

/* ---- by calls ---- */
tp_expr *tp_script_expression(tp_script *script, int line, const char *name, const char *text)
{
    tp_reader reader = { .arena = script->arena, .start = text, .at = text };
    tp_expr *e = tp_expr_read(&reader);
    tp_skip_spaces(&reader);
    if (e && *reader.at)
        e = tp_refused(&reader, "an operator");
    if (!e)
        tp_script_fail(script, line, name, "%s in \"%s\"", reader.message, text);
    return e;
}

/* Can a call add to the program? Its texts are there, and nothing was wrong before. */
static bool may_add(ad_where where, tp_script *script, const char *name, const char *text)
{
    if (!script || script->error.text[0])
        return false;
    script->file = script->file ? script->file : where.file;
    if (!name || !text)
        tp_script_fail(script, where.line, name, "%s is missing (NULL)", name ? "a text that it takes" : "its name");
    return name && text;
}

/* What every call starts from: the name is copied, an empty one refused. */
static bool begin(ad_where where, tp_script *script, tp_rule rule, const char *name, const char *text,
                  tp_command *command)
{
    if (!may_add(where, script, name, text))
        return false;
    *command = (tp_command){ .rule = rule,
                             .where = where,
                             .line = where.line,
                             .matrix = -1,
                             .vector = -1,
                             .width = -1,
                             .width2 = -1,
                             .origin = "",
                             .factor = "",
                             .mean_text = "",
                             .law_text = "" };
    tp_reader reader = { .arena = script->arena, .start = name, .at = name };
    command->name = tp_take_name(&reader);
    if (!command->name || *reader.at) {
        tp_script_fail(script, where.line, name, "is no name: a letter, then letters and digits");
        return false;
    }
    return true;
}

/* A width of a call, by its name. */
static int width_of(tp_script *script, int line, const char *name, const char *width)
{
    tp_reader reader = { .arena = script->arena, .start = width, .at = width };
    if (!tp_take_name(&reader) || *reader.at)
        return tp_script_fail(script, line, name, "\"%s\" is no name of a width: a letter, then letters and digits",
                              width);
    return tp_script_width_named(script, width);
}

int tp_width_at(ad_where where, tp_script *script, const char *name, double ratio)
{
    tp_command command;
    if (!begin(where, script, TP_WIDTH, name, "", &command))
        return -1;
    if (!(ratio > 0) || !isfinite(ratio))
        return tp_script_fail(script, where.line, name, "a width is a positive multiple of n, not %g", ratio);
    int width = tp_script_width_named(script, name);
    if (width < 0)
        return -1;
    if (script->widths[width].line)
        return tp_script_fail(script, where.line, name, "this width is given in line %d already",
                              script->widths[width].line);
    script->widths[width].ratio = ratio;
    script->widths[width].line = where.line;
    command.type = 'n';
    command.width = width;
    return tp_script_add(script, &command);
}

static bool is_variance(tp_script *script, int line, const char *name, double variance)
{
    if (variance >= 0 && isfinite(variance))
        return true;
    tp_script_fail(script, line, name, "its variance is %g: one is finite and not negative", variance);
    return false;
}

int tp_input_matrix_at(ad_where where, tp_script *script, const char *name, const char *rows, const char *columns,
                       double variance)
{
    tp_command command;
    if (!begin(where, script, TP_INPUT, name, rows ? columns : rows, &command) ||
        !is_variance(script, where.line, name, variance))
        return -1;
    command.type = 'A';
    command.width = width_of(script, where.line, name, rows);
    command.width2 = command.width < 0 ? -1 : width_of(script, where.line, name, columns);
    command.variance = variance;
    return command.width2 < 0 ? -1 : tp_script_add(script, &command);
}

int tp_input_vector_at(ad_where where, tp_script *script, const char *name, const char *width, double mean,
                       double variance)
{
    tp_command command;
    if (!begin(where, script, TP_INPUT, name, width, &command) || !is_variance(script, where.line, name, variance))
        return -1;
    if (!isfinite(mean))
        return tp_script_fail(script, where.line, name, "its mean is %g", mean);
    command.type = 'G';
    command.width = width_of(script, where.line, name, width);
    command.mean = mean;
    command.variance = variance;
    return command.width < 0 ? -1 : tp_script_add(script, &command);
}

int tp_input_covariance_at(ad_where where, tp_script *script, const char *a, const char *b, double covariance)
{
    if (!may_add(where, script, a, b))
        return -1;
    int i = tp_script_find(script, a), k = tp_script_find(script, b);
    if (i < 0 || k < 0)
        return tp_script_fail(script, where.line, i < 0 ? a : b, "unknown name");
    if (i == k)
        return tp_script_fail(script, where.line, a, "its covariance with itself is its variance");
    tp_command *late = &script->commands[i > k ? i : k];
    const tp_command *early = &script->commands[i > k ? k : i];
    if (late->rule != TP_INPUT || early->rule != TP_INPUT || late->type != 'G' || early->type != 'G')
        return tp_script_fail(script, where.line,
                              late->type == 'G' && late->rule == TP_INPUT ? early->name : late->name,
                              "is no input G-var: only those have a covariance that is given");
    if (late->width != early->width)
        return tp_script_fail(script, where.line, late->name, "and %s are over different widths", early->name);
    if (!isfinite(covariance))
        return tp_script_fail(script, where.line, late->name, "its covariance with %s is %g", early->name, covariance);
    for (int c = 0; c < late->n_covariances; c++)
        if (late->covariances[c].with == (i > k ? k : i))
            return tp_script_fail(script, where.line, late->name, "its covariance with %s is given twice", early->name);
    tp_script_covariance *list = ad_arena_alloc(script->arena, (size_t)late->n_covariances + 1, sizeof *list);
    if (!list)
        return no_memory(script);
    if (late->n_covariances)
        memcpy(list, late->covariances, (size_t)late->n_covariances * sizeof *list);
    list[late->n_covariances] = (tp_script_covariance){ i > k ? k : i, covariance, "" };
    late->covariances = list;
    return late->n_covariances++;
}

/* The command of a name; an error if there is none. */
static int known(tp_script *script, int line, const char *name, const char *used)
{
    int k = tp_script_find(script, used);
    return k < 0 ? tp_script_fail(script, line, name, "unknown name %s", used) : k;
}

int tp_trsp_at(ad_where where, tp_script *script, const char *name, const char *matrix)
{
    tp_command command;
    if (!begin(where, script, TP_TRSP, name, matrix, &command) ||
        (command.matrix = known(script, where.line, name, matrix)) < 0)
        return -1;
    return tp_script_add(script, &command);
}

int tp_matmul_at(ad_where where, tp_script *script, const char *name, const char *matrix, const char *vector)
{
    tp_command command;
    if (!begin(where, script, TP_MATMUL, name, matrix ? vector : matrix, &command) ||
        (command.matrix = known(script, where.line, name, matrix)) < 0 ||
        (command.vector = known(script, where.line, name, vector)) < 0)
        return -1;
    return tp_script_add(script, &command);
}

static int with_body(ad_where where, tp_script *script, tp_rule rule, const char *name, const char *expression)
{
    tp_command command;
    if (!begin(where, script, rule, name, expression, &command) ||
        !(command.body = tp_script_expression(script, where.line, name, expression)))
        return -1;
    return tp_script_add(script, &command);
}

int tp_lincomb_at(ad_where where, tp_script *script, const char *name, const char *expression)
{
    return with_body(where, script, TP_LINCOMB, name, expression);
}

int tp_nonlin_at(ad_where where, tp_script *script, const char *name, const char *expression)
{
    return with_body(where, script, TP_NONLIN, name, expression);
}

int tp_moment_at(ad_where where, tp_script *script, const char *name, const char *expression)
{
    return with_body(where, script, TP_MOMENT, name, expression);
}
