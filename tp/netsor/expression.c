/* expression.c: reading and writing the expressions of a program.
 *
 *     sum     = product { ("+" | "−" | "-") product }
 *     product = ["−" | "-"] factor { factor | ("⊙" | "*") factor | "/" factor }      all of one rank, from the left
 *     factor  = number | "√" whole | ["√"] "n" ["^" number] | name | name "(" sum { "," sum } ")" | "(" sum ")"
 *             | ("⟨" | "<") sum ["," sum] ("⟩" | ">") | "Σ[" axes "]" product
 *     name    = letter { letter | digit | "_" | "." | "'" } ["[" axis "=" index "]"]
 *
 * A letter is one of ASCII's, or any other character that is not a symbol above: so Wᵀ and f′ are names. A space
 * between two factors is a product, of a number or a scalar with what follows. n is a power of the width, unless it
 * names a variable. */
#include "tp/netsor/script.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { MAX_ARGS = 8, MAX_DEPTH = 200, MAX_HEIGHT = 512 };

/* ---- tokens ---- */
static const char *const symbols[] = { "⊙", "−", "√", "⟨", "⟩", "Σ" };

static size_t symbol_at(const char *at)
{
    for (size_t k = 0; k < sizeof symbols / sizeof *symbols; k++)
        if (strncmp(at, symbols[k], strlen(symbols[k])) == 0)
            return strlen(symbols[k]);
    return 0;
}

void tp_skip_spaces(tp_reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\t')
        reader->at++;
}

bool tp_take(tp_reader *reader, const char *symbol)
{
    tp_skip_spaces(reader);
    if (strncmp(reader->at, symbol, strlen(symbol)) != 0)
        return false;
    reader->at += strlen(symbol);
    return true;
}

static bool is_letter(const char *at)
{
    unsigned char c = (unsigned char)*at;
    return isalpha(c) || c == '_' || (c >= 0x80 && !symbol_at(at));
}

/* Letters, digits and points, then perhaps an index in square brackets; its length. */
static size_t name_length(const char *start)
{
    const char *at = start;
    if (!is_letter(at))
        return 0;
    while (is_letter(at) || isdigit((unsigned char)*at) || *at == '.' || *at == '\'')
        at++;
    if (*at == '[') {
        size_t inside = strcspn(at, "]\n");
        at += at[inside] == ']' ? inside + 1 : 0;
    }
    return (size_t)(at - start);
}

static const char *keep(tp_reader *reader, const char *start, size_t length)
{
    const char *kept = ad_arena_text(reader->arena, "%.*s", (int)length, start);
    if (!kept && !reader->message[0])
        snprintf(reader->message, sizeof reader->message, "out of memory");
    return kept;
}

const char *tp_take_name(tp_reader *reader)
{
    tp_skip_spaces(reader);
    size_t length = name_length(reader->at);
    const char *name = length ? keep(reader, reader->at, length) : NULL;
    if (name)
        reader->at += length;
    return name;
}

bool tp_take_number(tp_reader *reader, double *value, const char **text)
{
    tp_skip_spaces(reader);
    const char *start = reader->at;
    if (!isdigit((unsigned char)*start) && !(*start == '.' && isdigit((unsigned char)start[1])))
        return false;
    char *end;
    *value = ad_number(start, &end);
    *text = keep(reader, start, (size_t)(end - start));
    reader->at = end;
    return *text != NULL;
}

tp_expr *tp_refused(tp_reader *reader, const char *wanted)
{
    tp_skip_spaces(reader);
    size_t length = name_length(reader->at);
    if (!length)
        length = symbol_at(reader->at);
    if (!length)
        length = *reader->at && *reader->at != '\n';
    if (!reader->message[0])
        snprintf(reader->message, sizeof reader->message,
                 length ? "%s expected, not \"%.*s\"" : "%s expected at the end", wanted,
                 (int)(length < 60 ? length : 60), reader->at);
    return NULL;
}

/* ---- reading ---- */
static tp_expr *node(tp_reader *reader, tp_expr_kind kind, int n, tp_expr *const *args)
{
    tp_expr *e = ad_arena_alloc(reader->arena, 1, sizeof *e + (size_t)n * sizeof *e->args);
    if (!e) {
        snprintf(reader->message, sizeof reader->message, "out of memory");
        return NULL;
    }
    *e = (tp_expr){ .kind = kind, .text = "", .var = -1, .n = n };
    for (int k = 0; k < n; k++) {
        e->args[k] = args[k];
        e->height = args[k]->height >= e->height ? args[k]->height + 1 : e->height;
    }
    if (e->height <= MAX_HEIGHT)
        return e;
    snprintf(reader->message, sizeof reader->message,
             "an expression of more than %d operations in a row: give a part of it a line of its own", MAX_HEIGHT);
    return NULL;
}

static tp_expr *leaf(tp_reader *reader, tp_expr_kind kind, double c, const char *text)
{
    tp_expr *e = node(reader, kind, 0, NULL);
    if (e) {
        e->c = c;
        e->text = text ? text : "";
    }
    return e;
}

static tp_expr *read_sum(tp_reader *reader, int depth);
static tp_expr *read_product(tp_reader *reader, int depth);

/* "a, b" up to the closing symbol. */
static int read_list(tp_reader *reader, const char *close, const char *close2, tp_expr **args, int maximum, int depth)
{
    int n = 0;
    do {
        if (n == maximum) {
            snprintf(reader->message, sizeof reader->message, "more than %d arguments", maximum);
            return -1;
        }
        if (!(args[n++] = read_sum(reader, depth)))
            return -1;
    } while (tp_take(reader, ","));
    if (tp_take(reader, close) || (close2 && tp_take(reader, close2)))
        return n;
    tp_refused(reader, close);
    return -1;
}

static tp_expr *read_root(tp_reader *reader)
{
    double value;
    const char *text, *start = reader->at;
    if (*reader->at == 'n' && name_length(reader->at) == 1) {
        reader->at++;
        return leaf(reader, TP_E_N, 0.5, "√n");
    }
    if (!tp_take_number(reader, &value, &text))
        return tp_refused(reader, "a number or n after √");
    const char *all = keep(reader, start, (size_t)(reader->at - start));
    return leaf(reader, TP_E_NUMBER, sqrt(value), all ? ad_arena_text(reader->arena, "√%s", all) : NULL);
}

static tp_expr *read_factor(tp_reader *reader, int depth)
{
    tp_expr *args[MAX_ARGS];
    double value;
    const char *text;
    if (depth > MAX_DEPTH) {
        snprintf(reader->message, sizeof reader->message, "brackets more than %d deep", MAX_DEPTH);
        return NULL;
    }
    if (tp_take_number(reader, &value, &text))
        return leaf(reader, TP_E_NUMBER, value, text);
    if (tp_take(reader, "√"))
        return read_root(reader);
    if (tp_take(reader, "(")) {
        int n = read_list(reader, ")", NULL, args, 1, depth + 1);
        return n < 0 ? NULL : node(reader, TP_E_BRACKET, n, args);
    }
    if (tp_take(reader, "⟨") || tp_take(reader, "<")) {
        int n = read_list(reader, "⟩", ">", args, 2, depth + 1);
        return n < 0 ? NULL : node(reader, TP_E_AVERAGE, n, args);
    }
    if (tp_take(reader, "Σ")) {
        size_t inside = strcspn(reader->at, "]\n");
        if (*reader->at != '[' || reader->at[inside] != ']')
            return tp_refused(reader, "[axes] after Σ");
        text = keep(reader, reader->at + 1, inside - 1);
        reader->at += inside + 1;
        args[0] = read_product(reader, depth + 1);
        tp_expr *sum = args[0] ? node(reader, TP_E_SUM, 1, args) : NULL;
        if (sum)
            sum->text = text;
        return sum;
    }
    const char *name = tp_take_name(reader);
    if (!name)
        return tp_refused(reader, "a number, a name or a bracket");
    if (*reader->at == '(') {
        reader->at++;
        int n = read_list(reader, ")", NULL, args, MAX_ARGS, depth + 1);
        tp_expr *call = n < 0 ? NULL : node(reader, TP_E_CALL, n, args);
        if (call)
            call->text = name;
        return call;
    }
    if (strcmp(name, "n") == 0 && *reader->at == '^') {
        reader->at++;
        if (!tp_take_number(reader, &value, &text))
            return tp_refused(reader, "a number after n^");
        return leaf(reader, TP_E_N, value, ad_arena_text(reader->arena, "n^%s", text));
    }
    return leaf(reader, TP_E_NAME, 0, name);
}

static bool starts_factor(const tp_reader *reader)
{
    const char *at = reader->at;
    return isdigit((unsigned char)*at) || *at == '(' || *at == '<' || is_letter(at) || strncmp(at, "√", 3) == 0 ||
           strncmp(at, "⟨", 3) == 0 || strncmp(at, "Σ", 2) == 0;
}

static bool take_minus(tp_reader *reader)
{
    return tp_take(reader, "−") || tp_take(reader, "-");
}

static tp_expr *read_product(tp_reader *reader, int depth)
{
    bool negative = take_minus(reader);
    tp_expr *left = read_factor(reader, depth);
    while (left) {
        tp_expr_kind kind = TP_E_TIMES;
        tp_skip_spaces(reader);
        if (tp_take(reader, "⊙") || tp_take(reader, "*"))
            kind = TP_E_ODOT;
        else if (tp_take(reader, "/"))
            kind = TP_E_OVER;
        else if (!starts_factor(reader))
            break;
        tp_expr *right = read_factor(reader, depth);
        left = right ? node(reader, kind, 2, (tp_expr *[]){ left, right }) : NULL;
    }
    return left && negative ? node(reader, TP_E_NEG, 1, &left) : left;
}

static tp_expr *read_sum(tp_reader *reader, int depth)
{
    tp_expr *left = read_product(reader, depth);
    while (left) {
        tp_expr_kind kind = TP_E_ADD;
        if (take_minus(reader))
            kind = TP_E_SUB;
        else if (!tp_take(reader, "+"))
            break;
        tp_expr *right = read_product(reader, depth);
        left = right ? node(reader, kind, 2, (tp_expr *[]){ left, right }) : NULL;
    }
    return left;
}

tp_expr *tp_expr_read(tp_reader *reader)
{
    tp_expr *e = read_sum(reader, 0);
    if (!e && !reader->message[0])
        snprintf(reader->message, sizeof reader->message, "out of memory");
    return e;
}

/* ---- writing ---- */
typedef struct {
    ad_arena *arena;
    bool latex, full; /* full: memory is out */
} writer;

static const char *text(writer *w, const char *format, ...) AD_PRINTF(2, 3);
static const char *text(writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *kept = ad_arena_vtext(w->arena, format, args);
    va_end(args);
    w->full = w->full || !kept;
    return kept ? kept : "";
}

/* h12[time=3]: letters, a number above, an index below; ᵀ is a transpose. */
static const char *name_text(writer *w, const char *name)
{
    const char *turned = strstr(name, "ᵀ"), *index = strchr(name, '[');
    size_t end = index ? (size_t)(index - name) : strlen(name);
    if (!w->latex)
        return name;
    if (turned)
        end = (size_t)(turned - name);
    size_t marks = end;
    while (end > 1 && name[end - 1] == '\'')
        end--;
    size_t digits = end;
    while (digits > 1 && isdigit((unsigned char)name[digits - 1]))
        digits--;
    const char *all = "";
    for (size_t k = 0; k < digits; k++)
        all = text(w, name[k] == '_' ? "%s\\_" : "%s%c", all, name[k]);
    if (digits < end)
        all = text(w, "%s^{%.*s}", all, (int)(end - digits), name + digits);
    if (marks > end)
        all = text(w, "{%s}%.*s", all, (int)(marks - end), name + end);
    if (turned)
        all = text(w, "{%s}^{\\top}", all);
    if (index) {
        int axis = (int)strcspn(index + 1, "=]");
        all = text(w, "%s_{[\\mathrm{%.*s}%s}", all, axis, index + 1, index + 1 + axis);
    }
    return all;
}

static const char *number_text(writer *w, const char *number)
{
    if (w->latex && strncmp(number, "√", strlen("√")) == 0)
        return text(w, "\\sqrt{%s}", number + strlen("√"));
    return w->latex && strncmp(number, "n^", 2) == 0 ? text(w, "n^{%s}", number + 2) : number;
}

static const char *write(writer *w, const tp_expr *e)
{
    static const char *const between[][2] = {
        [TP_E_ADD] = { "+", "+" }, [TP_E_SUB] = { "−", "-" }, [TP_E_ODOT] = { "⊙", "\\odot" }
    };
    const char *a = e->n ? write(w, e->args[0]) : "", *b = e->n > 1 ? write(w, e->args[1]) : "";
    switch (e->kind) {
    case TP_E_NUMBER:
    case TP_E_N:
        return number_text(w, e->text);
    case TP_E_NAME:
        return name_text(w, e->text);
    case TP_E_CALL:
        for (int k = 1; k < e->n; k++)
            a = text(w, "%s, %s", a, k > 1 ? write(w, e->args[k]) : b);
        return text(w, w->latex ? "\\mathrm{%s}(%s)" : "%s(%s)", e->text, a);
    case TP_E_NEG:
        return text(w, w->latex ? "-%s" : "−%s", a);
    case TP_E_BRACKET:
        return text(w, "(%s)", a);
    case TP_E_AVERAGE:
        if (e->n == 2)
            a = text(w, "%s, %s", a, b);
        return text(w, w->latex ? "\\langle %s\\rangle" : "⟨%s⟩", a);
    case TP_E_SUM:
        return text(w, w->latex ? "\\sum_{\\mathrm{%s}} %s" : "Σ[%s] %s", e->text, a);
    case TP_E_TIMES:
        return text(w, "%s %s", a, b);
    case TP_E_OVER:
        return text(w, "%s/%s", a, b);
    default:
        return text(w, "%s %s %s", a, between[e->kind][w->latex], b);
    }
}

const char *tp_expr_text(ad_arena *arena, const tp_expr *expr, bool latex)
{
    writer w = { .arena = arena, .latex = latex };
    const char *all = write(&w, expr);
    return w.full ? NULL : all;
}

const char *tp_name_text(ad_arena *arena, const char *name, bool latex)
{
    writer w = { .arena = arena, .latex = latex };
    const char *all = name_text(&w, name);
    return w.full ? NULL : all;
}
