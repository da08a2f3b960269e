/* print.c: the program in the paper's notation (Tensor Programs II, arXiv:2006.14548): as text, LaTeX or JSON. */
#include "tp/program/program.h"

#include "autodiff/base/base.h"

#include <cJSON.h>
#include <math.h>
#include <string.h>

static const char *const rules[] = { "Input", "Trsp", "MatMul", "LinComb", "Nonlin", "Moment", "Output", "Width" };

const char *tp_rule_name(tp_rule rule)
{
    return rules[rule];
}

static int widest(const tp_line *lines, int n, int at_most, bool inputs, size_t field)
{
    int most = 0;
    for (int i = 0; i < n; i++) {
        int c = ad_columns(*(const char *const *)(const void *)((const char *)&lines[i] + field));
        if ((lines[i].law[0] != 0) == inputs && c > most && c <= at_most)
            most = c;
    }
    return most;
}

static void put(FILE *stream, const char *text, int width)
{
    fprintf(stream, "%s%*s", text, ad_columns(text) < width ? width - ad_columns(text) : 0, "");
}

/* name := text : type   ~ law   (factor)   file:line; an input of which no origin is known has no text. */
static void print_paper(const tp_line *lines, int n, FILE *stream)
{
    const int names = widest(lines, n, 12, false, offsetof(tp_line, name));
    const int texts = widest(lines, n, 44, false, offsetof(tp_line, text));
    const int origins = widest(lines, n, 44, true, offsetof(tp_line, text));
    const int laws = widest(lines, n, 30, true, offsetof(tp_line, law));
    const int bodies = origins > texts ? origins : texts;
    bool factors = false, places = false;
    for (int i = 0; i < n; i++) {
        const tp_line *line = &lines[i];
        if (line->backward && (i == 0 || !lines[i - 1].backward))
            fprintf(stream, "  backward\n");
        places = places || strstr(line->text, "unwindows(") || strstr(line->text, "unslice(");
        bool input = line->law[0] != 0, placed = line->where.file != NULL;
        bool typed = line->type[0] != 0, lawful = input || line->factor[0], rest = typed || lawful || placed;
        fprintf(stream, "  %-8s ", rules[line->rule]);
        put(stream, line->name, line->text[0] || rest ? names : 0);
        fprintf(stream, line->text[0] ? " := " : bodies && rest ? "    " : "");
        put(stream, line->text, rest ? bodies : 0);
        fprintf(stream, "%s", typed ? " : " : "");
        put(stream, line->type, !lawful && !placed ? 0 : typed ? 8 : 11);
        if (input || ((line->factor[0] || placed) && laws))
            fprintf(stream, " %s ", input ? "~" : " ");
        factors = factors || line->factor[0];
        const char *law = line->law;
        char bracket[80];
        if (line->factor[0] && !input) {
            snprintf(bracket, sizeof bracket, "(%s)", line->factor);
            law = bracket;
        }
        put(stream, law, placed ? laws : 0);
        if (placed)
            fprintf(stream, "  %s:%d", tp_short_file(line->where.file), line->where.line);
        fputc('\n', stream);
    }
    if (factors)
        fprintf(stream, "In brackets: what the traced quantity is this vector times; da stands for ∂f/∂a.\n");
    if (places)
        fprintf(stream, "Places: unwindows(a) has at each place the sum of what windows have there; unslice(a) is a, "
                        "with zeros before and after.\n");
}

/* A table of five columns that goes over pages: command, definition, type, law or factor, source. */
static void print_latex(const tp_line *lines, int n, FILE *stream)
{
    fprintf(stream,
            "%% \\usepackage{amsmath,array,longtable}\n{\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
            "\\begin{longtable}{@{}l>{\\raggedright$}p{0.35\\linewidth}<{$}>{\\raggedright$}p{0.11\\linewidth}<{$}"
            ">{\\raggedright$}p{0.19\\linewidth}<{$}"
            ">{\\scriptsize\\raggedright\\arraybackslash}p{0.15\\linewidth}@{}}\n");
    for (int i = 0; i < n; i++) {
        const tp_line *line = &lines[i];
        if (line->backward && (i == 0 || !lines[i - 1].backward))
            fprintf(stream, "\\multicolumn{5}{@{}l}{backward}\\\\\n");
        fprintf(stream, "\\textsc{%s} & %s%s", rules[line->rule], line->name, line->text[0] ? " := " : "");
        tp_put_math(line->text, stream);
        fputs(" & ", stream);
        if (strcmp(line->type, "scalar") == 0)
            fputs("\\mathrm{scalar}", stream);
        else
            tp_put_math(line->type, stream);
        fputs(" & ", stream);
        if (line->law[0])
            fputs("\\sim ", stream);
        if (line->law[0])
            tp_put_math(line->law, stream);
        else if (line->factor[0])
            fprintf(stream, "(%s)", line->factor);
        fprintf(stream, " & ");
        if (line->where.file)
            tp_put_place(&line->where, stream);
        fprintf(stream, " \\\\\n");
    }
    fprintf(stream, "\\end{longtable}}\n");
}

void tp_print_lines(const tp_line *lines, int n, FILE *stream, tp_style style)
{
    (style == TP_LATEX ? print_latex : print_paper)(lines, n, stream);
}

static cJSON *line_object(const tp_line *line)
{
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "command", rules[line->rule]) &&
              cJSON_AddStringToObject(o, "name", line->name) && cJSON_AddStringToObject(o, "of", line->text) &&
              cJSON_AddStringToObject(o, "type", line->type) && cJSON_AddBoolToObject(o, "backward", line->backward) &&
              (!line->where.file || (cJSON_AddStringToObject(o, "file", line->where.file) &&
                                     cJSON_AddNumberToObject(o, "line", line->where.line))) &&
              (!line->law[0] || cJSON_AddStringToObject(o, "law", line->law)) &&
              (!line->factor[0] || cJSON_AddStringToObject(o, "factor", line->factor));
    if (ok)
        return o;
    cJSON_Delete(o);
    return NULL;
}

cJSON *tp_lines_json(const tp_line *lines, int n)
{
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (int i = 0; ok && i < n; i++) {
        cJSON *o = line_object(&lines[i]);
        ok = o && cJSON_AddItemToArray(list, o);
        if (!ok)
            cJSON_Delete(o);
    }
    if (ok)
        return list;
    cJSON_Delete(list);
    return NULL;
}

static const char *convention(const tp_program *program)
{
    return nn_spec_of(program->net)->sigma_in == NN_SIGMA_INIT
               ? "σ in the initial deviation: no σ² from a weight's own gradient, a bias adds 1 to the NTK"
               : "σ in the multiplier: σ² from a weight's own gradient, a bias adds σ² to the NTK";
}

static int print_json(const tp_program *program, const tp_line *lines, int n, const tp_checks *checks,
                      const char *growth, FILE *stream, ad_error *error)
{
    cJSON *root = cJSON_CreateObject(), *list = root ? tp_lines_json(lines, n) : NULL;
    bool ok = list && cJSON_AddItemToObject(root, "commands", list);
    if (!ok)
        cJSON_Delete(list);
    bool like = tp_bp_like(checks);
    ok = ok && cJSON_AddBoolToObject(root, "initialization_assumption", checks->initialization) &&
         cJSON_AddBoolToObject(root, "bp_like", like) && cJSON_AddStringToObject(root, "growth", growth) &&
         cJSON_AddStringToObject(root, "convention", convention(program));
    cJSON *said = ok ? cJSON_AddArrayToObject(root, "violations") : NULL;
    for (int i = 0; ok && i < TP_CHECKS; i++)
        if (checks->text[i][0]) {
            cJSON *s = cJSON_CreateString(checks->text[i]);
            ok = said && s && cJSON_AddItemToArray(said, s);
        }
    char *out = ok ? cJSON_Print(root) : NULL;
    if (out)
        fprintf(stream, "%s\n", out);
    else
        ad_fail(error, "out of memory for printing a program");
    cJSON_free(out);
    cJSON_Delete(root);
    return out ? 0 : -1;
}

static void print_checks(const tp_program *program, const tp_checks *checks, const char *growth, FILE *stream)
{
    bool like = tp_bp_like(checks);
    fprintf(stream, "Initialization assumption: %s. BP-like (Proposition 2): %s.\n",
            checks->initialization ? "holds" : "violated", like ? "yes" : "no");
    for (int i = 0; i < TP_CHECKS; i++)
        if (checks->text[i][0])
            fprintf(stream, "  %s\n", checks->text[i]);
    fprintf(stream, "Growth of the nonlinearities: %s.\n", growth);
    fprintf(stream, "Convention: %s.\n", convention(program));
}

static bool has_windows(const tp_program *program)
{
    for (int id = 0; id < program->forward; id++)
        if (program->lives[id] && ad_node_of(program->graph, id)->op == AD_WINDOWS)
            return true;
    return false;
}

int tp_print(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    int n = 0;
    tp_checks checks;
    if (!ad_given(program, "the program", error) || !ad_given(stream, "the stream that it is printed to", error))
        return -1;
    ad_arena *arena = ad_arena_new(error);
    const tp_line *lines = arena ? tp_lines(program, arena, style, &n, error) : NULL;
    char growth[400] = "";
    int status =
        !lines || tp_check(program, &checks, error) < 0 || tp_check_growth(program, growth, sizeof growth, error) < 0
            ? -1
            : 0;
    if (!status && style == TP_JSON)
        status = print_json(program, lines, n, &checks, growth, stream, error);
    else if (!status && style == TP_LATEX)
        tp_print_lines(lines, n, stream, style);
    else if (!status) {
        const char *name = nn_spec_of(program->net)->name;
        fprintf(stream, "Netsor⊤ program%s%s. Every vector is a family over the batch%s.\n", name ? " of " : "",
                name ? name : "", has_windows(program) ? ", and over its positions, 0 outside the picture" : "");
        tp_print_lines(lines, n, stream, style);
        print_checks(program, &checks, growth, stream);
    }
    ad_arena_free(arena);
    if (!status && ferror(stream))
        status = ad_fail(error, "the program cannot be printed");
    return status;
}
