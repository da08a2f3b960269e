/* The kernel's recursion as it is printed over positions: read by an interpreter of its grammar, its lines give the
 * kernels that tp_limit has; lines of small networks are what one writes by hand. */
#include "limn.h"
#include "tp/positions/positions.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 2, HIGH = 4, WIDE = 3, CHANNELS = 4, FEATURES = HIGH * WIDE * CHANNELS };

/* ---- what is read ---- */
enum { MOST_LINES = 200, MOST_NAMES = 200, MOST_AXES = 8, MOST_SIDE = 4 };

typedef struct {
    char name[40];
    int size;
} place_name;

/* A line's own places, of the first and of the second input; its values, by samples and places. */
typedef struct {
    char name[40], *right;
    int n[2];
    char places[2][MOST_SIDE][40];
    double *values;
} printed_line;

typedef struct {
    char *text;
    printed_line lines[MOST_LINES];
    int n_lines, n_names;
    place_name names[MOST_NAMES];
    int shape[3], axes; /* of the input */
    const double *x;    /* (SAMPLES, features) */
    char positions[200];
} reader;

/* What a text is read with: the two samples, and names of places with their values. */
typedef struct {
    reader *r;
    const printed_line *line;
    int sample[2], n;
    struct {
        char name[40];
        int value;
    } at[24];
} scope;

static bool starts(const char **at, const char *what)
{
    size_t length = strlen(what);
    if (strncmp(*at, what, length) != 0)
        return false;
    *at += length;
    return true;
}

static void skip(const char **at)
{
    while (**at == ' ')
        ++*at;
}

static void expect(const char **at, const char *what)
{
    cr_assert(starts(at, what), "\"%s\" is not at: %.60s", what, *at);
}

/* A name of letters, digits, dots and a prime; other marks end it. */
static void read_name(const char **at, char name[40])
{
    int n = 0;
    for (;;) {
        unsigned char c = (unsigned char)**at;
        bool prime = strncmp(*at, "′", 3) == 0;
        if (isalnum(c) || c == '.' || c == '_') {
            name[n++] = *(*at)++;
        } else if (prime) {
            memcpy(name + n, "′", 3);
            n += 3;
            *at += 3;
        } else {
            break;
        }
        cr_assert_lt(n, 36);
    }
    name[n] = 0;
    cr_assert(n > 0, "no name at: %.60s", *at);
}

/* The simplest fraction that six digits stand for. */
static double read_number(const char **at)
{
    char *end;
    double x = strtod(*at, &end);
    cr_assert(end > *at, "no number at: %.60s", *at);
    *at = end;
    double half = 0.5 * pow(10, floor(log10(x)) - 5) * (1 + 1e-9);
    for (int q = 1; q <= 100000; q++) {
        double p = round(x * q);
        if (p > 0 && fabs(p / q - x) <= half)
            return p / q;
    }
    return x;
}

static int size_of(const reader *r, const char *name)
{
    char stem[40];
    snprintf(stem, sizeof stem, "%s", name);
    char *prime = strstr(stem, "′");
    if (prime)
        *prime = 0;
    for (int k = 0; k < r->n_names; k++)
        if (strcmp(r->names[k].name, stem) == 0)
            return r->names[k].size;
    cr_assert(false, "no size of %s", name);
    return 0;
}

static int value_of(const scope *s, const char *name)
{
    for (int k = s->n; k-- > 0;)
        if (strcmp(s->at[k].name, name) == 0)
            return s->at[k].value;
    cr_assert(false, "no value of %s", name);
    return 0;
}

static void bind(scope *s, const char *name, int value)
{
    cr_assert_lt(s->n, 24);
    snprintf(s->at[s->n].name, sizeof s->at[s->n].name, "%s", name);
    s->at[s->n++].value = value;
}

/* ---- places ---- */
enum { NO_PLACE = -1000000 };

static int floor_div(int a, int b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int read_affine(scope *s, const char **at)
{
    int sum = 0;
    for (bool first = true;; first = false) {
        int sign = 1, times = 1;
        if (starts(at, "−"))
            sign = -1;
        else if (!starts(at, "+") && !first)
            return sum;
        bool number = isdigit((unsigned char)**at);
        if (number)
            times = (int)strtol(*at, (char **)at, 10);
        if (number && !(**at == ' ' && isalpha((unsigned char)(*at)[1]) && strncmp(*at, " mod", 4) != 0)) {
            sum += sign * times;
            continue;
        }
        skip(at);
        char name[40];
        read_name(at, name);
        sum += sign * times * value_of(s, name);
    }
}

static int read_place(scope *s, const char **at)
{
    bool floored = starts(at, "⌊"), bracket = starts(at, "(");
    int i = read_affine(s, at);
    if (bracket)
        expect(at, ")");
    if (floored || **at == '/') {
        expect(at, "/");
        int by = (int)strtol(*at, (char **)at, 10), whole = floor_div(i, by);
        if (floored)
            expect(at, "⌋");
        return floored || whole * by == i ? whole : NO_PLACE;
    }
    if (starts(at, " mod ")) {
        int by = (int)strtol(*at, (char **)at, 10);
        return i - by * floor_div(i, by);
    }
    return i;
}

/* "a, b; c, d]", behind its bracket. */
static void read_places(scope *s, const char **at, int places[2][MOST_SIDE], int n[2])
{
    n[0] = n[1] = 0;
    for (int side = 0; !starts(at, "]");) {
        if (starts(at, ";")) {
            side = 1;
            skip(at);
            continue;
        }
        if (starts(at, ", "))
            continue;
        cr_assert_lt(n[side], MOST_SIDE);
        places[side][n[side]++] = read_place(s, at);
    }
}

/* ---- lines ---- */
static double value_at(reader *r, const printed_line *line, const int sample[2], int places[2][MOST_SIDE]);
static double read_sum(scope *s, const char **at);

static const printed_line *line_named(const reader *r, const char *name)
{
    for (int k = 0; k < r->n_lines; k++)
        if (strcmp(r->lines[k].name, name) == 0)
            return &r->lines[k];
    cr_assert(false, "no line %s", name);
    return NULL;
}

/* "Σ1", "s1(x′)", "Σ1(x, x)": the line, the samples, and of a number whose it is. */
static const printed_line *read_line_name(scope *s, const char **at, int sample[2], int *side)
{
    const printed_line *best = NULL;
    for (int k = 0; k < s->r->n_lines; k++) { /* the longest one */
        const printed_line *line = &s->r->lines[k];
        size_t length = strlen(line->name);
        if (strncmp(*at, line->name, length) == 0 && (!best || length > strlen(best->name)))
            best = line;
    }
    cr_assert(best, "no line at: %.60s", *at);
    *at += strlen(best->name);
    sample[0] = s->sample[0];
    sample[1] = s->sample[1];
    if (starts(at, "(x, x)"))
        sample[1] = sample[0];
    else if (starts(at, "(x′, x′)"))
        sample[0] = sample[1];
    else if ((*side = starts(at, "(x′)")))
        sample[0] = sample[1];
    else if (starts(at, "(x)"))
        sample[1] = sample[0];
    return best;
}

static bool is_number_line(const printed_line *line)
{
    return line->name[0] == 's';
}

/* One or several references, with their places. */
static double read_references(scope *s, const char **at)
{
    const printed_line *lines[8];
    int samples[8][2], of[8] = { 0 }, n = 0, places[2][MOST_SIDE], given[2];
    bool bracket = starts(at, "(");
    do {
        skip(at);
        lines[n] = read_line_name(s, at, samples[n], &of[n]);
        n++;
    } while (bracket && !starts(at, ")"));
    bool there = starts(at, "[");
    if (there)
        read_places(s, at, places, given);
    double product = 1;
    for (int k = 0; k < n; k++) {
        bool one = is_number_line(lines[k]);
        for (int side = 0; side < 2 && !there; side++) { /* at its own places: a number of one input at that one's */
            int from = one ? of[k] : side;
            given[side] = lines[k]->n[side] ? s->line->n[from] : 0;
            for (int i = 0; i < given[side]; i++)
                places[side][i] = value_of(s, s->line->places[from][i]);
        }
        int used[2][MOST_SIDE];
        memcpy(used, places, sizeof used);
        cr_assert(given[0] == lines[k]->n[0] && given[1] == lines[k]->n[1], "places of %s in %s", lines[k]->name,
                  s->line->name);
        product *= value_at(s->r, lines[k], samples[k], used);
    }
    return product;
}

static const double *read_data(scope *s, const char **at, int *axes, int *offset)
{
    expect(at, "x");
    int sample = s->sample[starts(at, "′")], place[MOST_AXES];
    *axes = 0;
    *offset = 0;
    if (starts(at, "["))
        while (!starts(at, "]")) {
            place[(*axes)++] = read_place(s, at);
            starts(at, ", ");
        }
    int features = 1;
    for (int i = 0; i < s->r->axes; i++)
        features *= s->r->shape[i];
    for (int i = 0; i < s->r->axes; i++) {
        int index = i < *axes ? place[i] : 0;
        if (index < 0 || index >= s->r->shape[i])
            *offset = NO_PLACE;
        *offset = *offset == NO_PLACE ? NO_PLACE : *offset * s->r->shape[i] + index;
    }
    return s->r->x + (size_t)sample * (size_t)features;
}

static double read_inner(scope *s, const char **at)
{
    int axes[2], offset[2], rest = 1;
    const double *x = read_data(s, at, &axes[0], &offset[0]);
    expect(at, ", ");
    const double *y = read_data(s, at, &axes[1], &offset[1]);
    expect(at, "⟩");
    cr_assert_eq(axes[0], axes[1]);
    for (int i = axes[0]; i < s->r->axes; i++)
        rest *= s->r->shape[i];
    double sum = 0;
    for (int k = 0; k < rest && offset[0] != NO_PLACE && offset[1] != NO_PLACE; k++)
        sum += x[offset[0] + k] * y[offset[1] + k];
    return sum;
}

static double read_condition(scope *s, const char **at)
{
    if (starts(at, "x = x′]"))
        return s->sample[0] == s->sample[1];
    if (starts(at, "0 ≤ ")) {
        int i = read_place(s, at);
        expect(at, " < ");
        int size = (int)strtol(*at, (char **)at, 10);
        expect(at, "]");
        return i >= 0 && i < size;
    }
    int a = read_place(s, at);
    expect(at, " = ");
    int b = read_place(s, at);
    expect(at, "]");
    return a == b;
}

/* Conditions and factors up to a sign, a bracket or the end. */
static double read_product(scope *s, const char **at)
{
    double product = 1;
    for (;;) {
        skip(at);
        if (starts(at, "["))
            product *= read_condition(s, at);
        else if (starts(at, "⟨"))
            product *= read_inner(s, at);
        else if (!**at || **at == '+' || **at == '-' || **at == ')' || **at == ',' || **at == ';')
            return product;
        else
            product *= read_references(s, at);
    }
}

static double sum_over(scope *s, const char **at, char names[][40], int n)
{
    if (n == 0)
        return read_product(s, at);
    double sum = 0;
    const char *from = *at;
    int bound = s->n;
    for (int i = 0; i < size_of(s->r, names[0]); i++) {
        *at = from;
        bind(s, names[0], i);
        sum += sum_over(s, at, names + 1, n - 1);
        s->n = bound;
    }
    return sum;
}

static double read_term(scope *s, const char **at)
{
    double c = 1;
    char names[12][40];
    int n = 0;
    skip(at);
    if (isdigit((unsigned char)**at))
        c = read_number(at);
    skip(at);
    while (starts(at, "[")) {
        c *= read_condition(s, at);
        skip(at);
    }
    if (starts(at, "Σ[")) /* Σ1 is a name */
        while (!starts(at, "]")) {
            cr_assert_lt(n, 12);
            read_name(at, names[n++]);
            starts(at, ", ");
        }
    return c * sum_over(s, at, names, n);
}

static double read_sum(scope *s, const char **at)
{
    double sum = 0;
    for (;;) {
        skip(at);
        double sign = starts(at, "-") ? -1 : 1;
        starts(at, "+");
        sum += sign * read_term(s, at);
        skip(at);
        if (!**at || **at == ')' || **at == ',' || **at == ';')
            return sum;
    }
}

/* ---- expectations ---- */
/* E f(u) g(v) of variances a and b and covariance c, as one finds it in papers. */
static double expectation_of(const char *f, const char *g, double a, double b, double c)
{
    const double pi = 3.14159265358979323846;
    double size = sqrt(a * b), t = size > 0 ? fmax(-1, fmin(1, c / size)) : 0;
    if (strcmp(f, "relu(u)") == 0 && strcmp(g, "relu(v)") == 0)
        return size * (sqrt(1 - t * t) + t * (pi - acos(t))) / (2 * pi);
    if (strcmp(f, "step(u)") == 0 && strcmp(g, "step(v)") == 0)
        return (pi - acos(t)) / (2 * pi);
    if (strcmp(f, "erf(u)") == 0 && strcmp(g, "erf(v)") == 0)
        return 2 / pi * asin(2 * c / sqrt((1 + 2 * a) * (1 + 2 * b)));
    if (strcmp(f, "erf_grad(u)") == 0 && strcmp(g, "erf_grad(v)") == 0)
        return 4 / pi / sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c * c);
    if (strcmp(f, "u") == 0 && strcmp(g, "relu(v)") == 0)
        return c / 2;
    if (strcmp(f, "relu(u)") == 0 && strcmp(g, "v") == 0)
        return c / 2;
    if (strcmp(f, "u") == 0 && strcmp(g, "erf(v)") == 0)
        return c * 2 / sqrt(pi) / sqrt(1 + 2 * b);
    if (strcmp(f, "erf(u)") == 0 && strcmp(g, "v") == 0)
        return c * 2 / sqrt(pi) / sqrt(1 + 2 * a);
    /* relu(u) is u / 2 and an even part, step(u) 1 / 2 and an odd one */
    if (strcmp(f, "relu(u)") == 0 && strcmp(g, "erf(v)") == 0)
        return c / sqrt(pi) / sqrt(1 + 2 * b);
    if (strcmp(f, "erf(u)") == 0 && strcmp(g, "relu(v)") == 0)
        return c / sqrt(pi) / sqrt(1 + 2 * a);
    if (strcmp(f, "step(u)") == 0 && strcmp(g, "erf_grad(v)") == 0)
        return 1 / sqrt(pi) / sqrt(1 + 2 * b);
    if (strcmp(f, "erf_grad(u)") == 0 && strcmp(g, "step(v)") == 0)
        return 1 / sqrt(pi) / sqrt(1 + 2 * a);
    if (strcmp(f, "step(u)") == 0 && !*g)
        return 0.5;
    if (strcmp(f, "erf_grad(u)") == 0 && !*g)
        return 2 / sqrt(pi) / sqrt(1 + 2 * a);
    cr_assert(false, "no closed form of E %s %s", f, g);
    return 0;
}

/* Up to the space or the comma outside of brackets. */
static void read_function(const char **at, char f[100])
{
    int depth = 0, n = 0;
    bool number = isdigit((unsigned char)**at);
    for (; **at && (depth || (**at != ',' && (number || **at != ' '))); ++*at) {
        number = number && **at != ' ';
        depth += (**at == '(') - (**at == ')');
        f[n++] = **at;
        cr_assert_lt(n, 99);
    }
    f[n] = 0;
}

/* The text at samples and places of one side, for both. */
static double on_one_side(const scope *s, const char *text, int side)
{
    scope one = *s;
    one.sample[!side] = one.sample[side];
    for (int i = 0; i < s->line->n[side]; i++) {
        cr_assert_eq(s->line->n[0], s->line->n[1]);
        bind(&one, s->line->places[!side][i], value_of(s, s->line->places[side][i]));
    }
    return read_sum(&one, &text);
}

static double read_expectation(scope *s, const char **at)
{
    char f[100], g[100] = "";
    read_function(at, f);
    skip(at);
    if (**at != ',')
        read_function(at, g);
    expect(at, ",");
    skip(at);
    if (starts(at, "u ~ ")) {
        double a = read_sum(s, at);
        return expectation_of(f, g, a, a, a);
    }
    expect(at, "(u, v) ~ ");
    double a, b, c;
    if (**at == '(') {
        ++*at;
        a = read_sum(s, at);
        expect(at, ", ");
        b = read_sum(s, at);
        expect(at, "; ");
        c = read_sum(s, at);
        expect(at, ")");
    } else {
        a = on_one_side(s, *at, 0);
        b = on_one_side(s, *at, 1);
        c = read_sum(s, at);
    }
    return expectation_of(f, g, a, b, c);
}

static double read_right(scope *s)
{
    const char *at = s->line->right;
    double value;
    if (starts(&at, "E "))
        return read_expectation(s, &at);
    if (starts(&at, "rsqrt(")) {
        value = 1 / sqrt(read_sum(s, &at));
        expect(&at, ")");
    } else {
        value = read_sum(s, &at);
    }
    cr_assert(!*at, "left of %s: %s", s->line->name, at);
    return value;
}

static double value_at(reader *r, const printed_line *line, const int sample[2], int places[2][MOST_SIDE])
{
    size_t entry = (size_t)(sample[0] * SAMPLES + sample[1]), entries = SAMPLES * SAMPLES;
    scope s = { .r = r, .line = line, .sample = { sample[0], sample[1] } };
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < line->n[side]; i++) {
            int size = size_of(r, line->places[side][i]);
            if (places[side][i] < 0 || places[side][i] >= size)
                return 0;
            bind(&s, line->places[side][i], places[side][i]);
            entry = entry * (size_t)size + (size_t)places[side][i];
            entries *= (size_t)size;
        }
    printed_line *of = &r->lines[line - r->lines];
    if (!of->values) {
        of->values = malloc(entries * sizeof *of->values);
        cr_assert(of->values);
        for (size_t k = 0; k < entries; k++)
            of->values[k] = NAN;
    }
    if (isnan(of->values[entry]))
        of->values[entry] = read_right(&s);
    return of->values[entry];
}

/* ---- the text ---- */
/* "[rows, columns; rows′, columns′]" behind its bracket. */
static void read_own_places(printed_line *line, const char **at)
{
    line->n[0] = line->n[1] = 0;
    for (int side = 0; !starts(at, "]");) {
        if (starts(at, "; ")) {
            side = 1;
            continue;
        }
        if (starts(at, ", "))
            continue;
        cr_assert_lt(line->n[side], MOST_SIDE);
        read_name(at, line->places[side][line->n[side]++]);
    }
}

/* "rows, columns from 0 to 7; offset, …, offset6 from 0 to 2." */
static void read_sizes(reader *r, const char *at)
{
    while (*at && *at != '.') {
        int first = r->n_names;
        while (!starts(&at, " from 0 to ")) {
            if (starts(&at, ", …, ")) {
                char last[40], stem[40];
                read_name(&at, last);
                snprintf(stem, sizeof stem, "%s", r->names[r->n_names - 1].name);
                size_t length = strcspn(stem, "0123456789");
                int from = stem[length] ? atoi(stem + length) : 1;
                for (int k = from + 1; k <= atoi(last + length); k++)
                    snprintf(r->names[r->n_names++].name, 40, "%.*s%d", (int)length, stem, k);
                continue;
            }
            starts(&at, ", ");
            cr_assert_lt(r->n_names, MOST_NAMES);
            read_name(&at, r->names[r->n_names++].name);
        }
        int size = (int)strtol(at, (char **)&at, 10) + 1;
        for (int k = first; k < r->n_names; k++)
            r->names[k].size = size;
        starts(&at, "; ");
    }
}

/* Without the source's place, at the end. */
static void cut_source(char *line)
{
    char *dot = strstr(line, ".c:");
    if (!dot)
        return;
    while (dot > line && dot[-1] != ' ')
        dot--;
    while (dot > line && dot[-1] == ' ')
        dot--;
    *dot = 0;
}

static void add_line(reader *r, char *text)
{
    char *equals = strstr(text, " = ");
    cut_source(text);
    if (strncmp(text, "         ", 9) == 0) {
        printed_line *last = &r->lines[r->n_lines - 1];
        char *all = malloc(strlen(last->right) + strlen(text) + 2);
        sprintf(all, "%s %s", last->right, text + 9);
        free(last->right);
        last->right = all;
        return;
    }
    cr_assert(equals && r->n_lines < MOST_LINES, "%s", text);
    printed_line *line = &r->lines[r->n_lines++];
    int n = (int)strcspn(text + 2, " ");
    snprintf(line->name, sizeof line->name, "%.*s", n, text + 2);
    line->right = strdup(equals + 3);
}

static void settle_places(reader *r)
{
    for (int k = 0; k < r->n_lines; k++) {
        printed_line *line = &r->lines[k];
        const char *at = line->right, *arrow = strstr(at, " ↦ ");
        bool kernel = strcmp(line->name, "K") == 0 || strcmp(line->name, "Θ") == 0;
        if (arrow) {
            at++;
            read_own_places(line, &at);
            char *rest = strdup(arrow + strlen(" ↦ "));
            free(line->right);
            line->right = rest;
        } else if (strncmp(at, "E ", 2) == 0) { /* as its covariance */
            const char *of = strstr(at, " ~ ");
            cr_assert(of);
            of += 3;
            if (*of == '(')
                of = strstr(of, "; ") ? strrchr(of, ';') + 2 : of;
            while (isdigit((unsigned char)*of) || *of == '.' || *of == ' ')
                of++;
            scope s = { .r = r };
            int sample[2], side;
            const printed_line *same = read_line_name(&s, &of, sample, &side);
            memcpy(line->n, same->n, sizeof line->n);
            memcpy(line->places, same->places, sizeof line->places);
        } else if (!kernel && !is_number_line(line) && r->positions[0]) {
            at = r->positions + 1;
            read_own_places(line, &at);
        }
    }
}

static void read_text(reader *r, char *text)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] == '[' && strstr(line, " unless others"))
            snprintf(r->positions, sizeof r->positions, "%.*s", (int)(strchr(line, ']') + 1 - line), line);
        else if (strncmp(line, "Places: ", 8) == 0)
            read_sizes(r, line + 8);
        else if (line[0] == ' ')
            add_line(r, line);
    }
    settle_places(r);
}

static void reader_end(reader *r)
{
    for (int k = 0; k < r->n_lines; k++) {
        free(r->lines[k].right);
        free(r->lines[k].values);
    }
    free(r);
}

/* ---- networks ---- */
static ad_var same_flat(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .bias = true, .sigma_b = 0.5));
    x = ad_relu(nn_conv(net, "b", x, n));
    return nn_flatten_readout(net, "out", x);
}

static ad_var strided(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_erf(nn_conv_with(net, "a", x, n, .filter = { 3, 2 }, .stride = { 2, 1 }, .bias = true, .sigma_b = 0.4));
    x = ad_relu(nn_conv_with(net, "b", x, n, .filter = { 2 }, .padding = NN_CIRCULAR, .sigma_w = 1.25));
    return nn_flatten_readout(net, "out", x);
}

static ad_var circular(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .padding = NN_CIRCULAR));
    x = ad_erf(nn_conv_with(net, "b", x, n, .padding = NN_CIRCULAR, .stride = { 2, 1 }));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var dilated(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    x = ad_erf(nn_conv_with(net, "a", x, n, .filter = { 2, 2 }, .dilation = { 2, 1 }, .padding = NN_VALID));
    x = ad_relu(nn_conv_with(net, "b", x, m, .bias = true, .sigma_b = 0.25));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var pooled(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_average_pool_with(net, ad_relu(nn_conv(net, "a", x, n)), .window = { 2, 2 }, .stride = { 2, 1 });
    x = ad_relu(nn_conv(net, "b", x, n));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var local(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_local_with(net, "a", x, n, .filter = { 2 }, .bias = true, .sigma_b = 0.5));
    x = ad_relu(nn_conv_with(net, "b", x, n, .filter = { 2, 3 }));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

/* One filter twice, and what passes it by. */
static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_conv(net, "in", x, n);
    for (int k = 0; k < 2; k++)
        h = ad_add(h, ad_scale(nn_conv(net, nn_name(net, "block%d", k), ad_relu(h), n), 0.75));
    h = nn_average_pool(net, ad_relu(h));
    return nn_flatten_readout(net, "out", h);
}

/* After a function comes a sum of functions, and then a filter. */
static ad_var branches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_conv(net, "u", x, n), v = nn_conv_with(net, "v", x, n, .filter = { 1 });
    ad_var both = ad_sub(u, ad_scale(ad_erf(ad_add(u, v)), 0.5));
    return nn_flatten_readout(net, "out", ad_relu(nn_conv_with(net, "w", both, n, .padding = NN_VALID)));
}

static ad_var sequence(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .filter = { 3 }));
    x = ad_erf(nn_conv_with(net, "b", x, n, .filter = { 3 }, .stride = { 2 }, .padding = NN_VALID));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var transposed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .stride = { 2, 1 }));
    x = ad_relu(nn_conv_transpose_with(net, "b", x, n, .stride = { 2, 2 }));
    return nn_flatten_readout(net, "out", x);
}

/* Layer normalisation of the channels of each position, and of all positions together. */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_conv_with(net, "a", x, n, .bias = true, .sigma_b = 0.5);
    x = ad_relu(nn_layernorm_with(net, "one", x, .epsilon = 0.125));
    x = nn_layernorm_with(net, "two", nn_conv_with(net, "b", x, n, .filter = { 2 }, .stride = { 2, 1 }), .epsilon = 1);
    return nn_flatten_readout(net, "out", ad_erf(x));
}

static ad_var whole_picture(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_conv(net, "a", x, n);
    const ad_axis *axes = ad_shape_get(u)->axes; /* (batch, rows, columns, n) */
    ad_shape over = ad_shape_of(axes[1], axes[2], axes[3]);
    u = ad_erf(nn_layernorm_with(net, "norm", u, .over = over, .epsilon = 0.5));
    return nn_readout(net, "out", nn_global_pool(net, u));
}

static ad_var dropped(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dropout(net, "one", ad_relu(nn_conv(net, "a", x, n)), 0.75);
    h = ad_relu(nn_conv_with(net, "b", h, n, .bias = true, .sigma_b = 0.25));
    h = ad_add(h, nn_dropout(net, "two", h, 0.5));
    return nn_readout(net, "out", nn_global_pool(net, ad_erf(nn_conv_with(net, "c", h, n, .filter = { 2, 1 }))));
}

/* Cut, put around and put together by hand, and taken twice. */
static ad_var parts(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_graph *graph = nn_graph(net);
    ad_var u = nn_conv(net, "a", x, n);
    ad_axis rows = ad_shape_get(u)->axes[1], columns = ad_shape_get(u)->axes[2];
    ad_axis two = ad_fixed(graph, "two", 2), three = ad_fixed(graph, "three", 3), five = ad_fixed(graph, "five", 5);
    ad_var top = ad_slice(ad_relu(u), rows, 1, 2, two), bottom = ad_slice(ad_erf(u), rows, 0, 3, three);
    ad_var both = ad_concat((ad_var[]){ top, bottom }, 2, (ad_axis[]){ two, three }, five);
    ad_var around = ad_pad(both, columns, 1, ad_fixed(graph, "wide", 5));
    around = ad_add(around, ad_scale(around, 0.5));
    return nn_flatten_readout(
        net, "out", ad_relu(nn_conv_with(net, "b", around, n, .filter = { 2 }, .bias = true, .sigma_b = 0.5)));
}

/* One matrix in two layers, a filter that does not learn, and gains that do not. */
static ad_var shared(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.5);
    ad_var u = nn_apply(w, ad_relu(nn_conv(net, "frozen", x, n)));
    ad_var h = nn_layernorm_with(net, "norm", nn_apply(w, ad_erf(u)), .affine = true, .epsilon = 0.25);
    nn_freeze(net, "frozen.*");
    nn_freeze(net, "norm.*");
    return nn_flatten_readout(net, "out", ad_erf(h));
}

static const struct {
    const char *name;
    nn_function network;
    bool sequence;
} networks[] = {
    { "same, flat", same_flat, false },  { "strided", strided, false },       { "circular", circular, false },
    { "dilated", dilated, false },       { "pooled", pooled, false },         { "local", local, false },
    { "residual", residual, false },     { "branches", branches, false },     { "sequence", sequence, true },
    { "transposed", transposed, false }, { "normalised", normalised, false }, { "whole picture", whole_picture, false },
    { "dropped", dropped, false },       { "parts", parts, false },           { "shared", shared, false },
};

static tp_program *translate(nn_function network, const nn_spec *spec, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(network, spec, &error);
    tp_program *program = *net ? tp_translate_training(*net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    return program;
}

static char *print_text(const tp_program *program, const char *name)
{
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    FILE *stream = open_memstream(&text, &size);
    int status = tp_print_positions(program, stream, TP_PAPER, &error);
    fclose(stream);
    cr_assert_eq(status, 0, "%s: %d %s", name, status, error.text);
    return text;
}

/* What the text says, of all pairs of samples, is what the limit is. */
Test(printed, lines_have_the_values_of_the_limit)
{
    double x[SAMPLES * FEATURES];
    ad_normal(5, ad_stream("printed"), 0, SAMPLES * FEATURES, x);
    for (int k = 0; k < (int)(sizeof networks / sizeof *networks); k++)
        for (int convention = 0; convention < 2; convention++) {
            nn_net *net;
            nn_spec spec = { .outputs = (size_t)(1 + convention),
                             .sigma_in = convention ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT,
                             .shape = { HIGH, WIDE, CHANNELS } };
            if (networks[k].sequence)
                memcpy(spec.shape, (size_t[]){ HIGH * WIDE, CHANNELS, 0, 0 }, sizeof spec.shape);
            tp_program *program = translate(networks[k].network, &spec, &net);
            char *text = print_text(program, networks[k].name), *copy = strdup(text);
            reader *r = calloc(1, sizeof *r);
            cr_assert(r && copy);
            r->x = x;
            r->axes = networks[k].sequence ? 2 : 3;
            for (int i = 0; i < r->axes; i++)
                r->shape[i] = (int)spec.shape[i];
            read_text(r, copy);
            for (tp_kernel_kind which = TP_NTK; which <= TP_NNGP; which++) {
                tp_kernel kernel;
                ad_error error = { 0 };
                cr_assert_eq(tp_limit_positions(program, which, x, SAMPLES, NULL, 0, &(tp_limit_spec){ .threads = 1 },
                                                &kernel, &error),
                             0, "%s: %s", networks[k].name, error.text);
                for (int i = 0; i < SAMPLES; i++)
                    for (int j = 0; j < SAMPLES; j++) {
                        double says = value_at(r, line_named(r, which == TP_NTK ? "Θ" : "K"), (int[]){ i, j },
                                               (int[2][MOST_SIDE]){ { 0 } });
                        double is = kernel.terms[0].values[(size_t)(i * SAMPLES + j)];
                        double size = sqrt(kernel.terms[0].values[0] * kernel.terms[0].values[SAMPLES + 1]);
                        cr_expect(fabs(says - is) <= 1e-12 * size,
                                  "%s, convention %d, %s(%d, %d): %.15g, not %.15g\n%s", networks[k].name, convention,
                                  which == TP_NTK ? "NTK" : "NNGP", i, j, says, is, text);
                    }
                tp_kernel_free(&kernel);
            }
            free(text);
            free(copy);
            reader_end(r);
            tp_program_free(program);
            nn_net_free(net);
        }
}

/* ---- other programs ---- */
static ad_var nested(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = ad_relu(nn_conv(net, "u", x, n));
    return nn_flatten_readout(net, "out", ad_tanh(ad_add(u, nn_conv(net, "v", u, n))));
}

static ad_var with_gains(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = ad_relu(nn_layernorm_with(net, "norm", nn_conv(net, "u", x, n), .affine = true));
    u = nn_conv(net, "v", u, n);
    return nn_readout(net, "out", nn_global_pool(net, ad_relu(u)));
}

static ad_var largest(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_flatten_readout(net, "out", nn_max_pool(net, ad_relu(nn_conv(net, "u", x, n))));
}

/* Nothing is printed over positions, with a reason; and where it is not too long, pair by pair. */
Test(printed, other_programs_are_handed_back)
{
    static const nn_function others[] = { nested, with_gains, largest };
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        for (int large = 0; large < 2; large++) {
            nn_net *net;
            nn_spec spec = { .outputs = 1, .shape = { 3, 3, 1 } };
            if (large)
                spec.shape[0] = spec.shape[1] = 32;
            tp_program *program = translate(others[k], &spec, &net);
            ad_error reason = { 0 }, error = { 0 };
            char *text[2] = { NULL };
            size_t size[2];
            for (int way = 0; way < 2; way++) {
                FILE *stream = open_memstream(&text[way], &size[way]);
                int status = way ? tp_print_recursion(program, stream, TP_PAPER, &error)
                                 : tp_print_positions(program, stream, TP_PAPER, &reason);
                fclose(stream);
                if (!way)
                    cr_expect(status == 1 && size[way] == 0, "%zu: %d, %s", k, status, text[way]);
                else
                    cr_expect(!strstr(text[way], "Places"), "%zu: %s", k, text[way]);
            }
            cr_expect(strstr(reason.text, "test_printed.c:") && !strstr(error.text, "exact limit"), "%zu: %s; %s", k,
                      reason.text, error.text);
            free(text[0]);
            free(text[1]);
            tp_program_free(program);
            nn_net_free(net);
        }
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* As many lines whatever the picture's size, also through the door. */
Test(printed, text_does_not_grow_with_the_picture)
{
    int lines[3];
    for (int k = 0; k < 3; k++) {
        nn_net *net;
        nn_spec spec = { .outputs = 3, .shape = { (size_t)8 << k << k, (size_t)8 << k << k, 3 } };
        tp_program *program = translate(nn_builtin("cnn"), &spec, &net);
        ad_error error = { 0 };
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        cr_assert_eq(tp_print_recursion(program, stream, TP_PAPER, &error), 0, "%s", error.text);
        fclose(stream);
        lines[k] = count_lines(text);
        cr_expect(strstr(text, "Places: ") && lines[k] == lines[0] && size < 4000, "%s", text);
        free(text);
        tp_program_free(program);
        nn_net_free(net);
    }
}

Test(printed, memory_that_runs_out)
{
    static const nn_function some[] = { local, normalised, transposed };
    for (size_t which = 0; which < sizeof some / sizeof *some; which++) {
        nn_net *net;
        nn_spec spec = { .outputs = 2, .shape = { HIGH, WIDE, CHANNELS } };
        tp_program *program = translate(some[which], &spec, &net);
        for (long k = 1, failed = 1; failed; k += k < 200 ? 1 : 7) {
            ad_error error = { 0 };
            char *text = NULL;
            size_t size;
            FILE *stream = open_memstream(&text, &size);
            ad_hook_allocation(k);
            failed = tp_print_positions(program, stream, TP_LATEX, &error);
            ad_hook_allocation(0);
            fclose(stream);
            cr_expect(!failed || (failed < 0 && error.text[0] && size == 0), "allocation %ld: %ld, %s", k, failed,
                      error.text);
            free(text);
        }
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- by hand ---- */
static ad_var one_filter(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_flatten_readout(net, "out", ad_relu(nn_conv(net, "a", x, n)));
}

static ad_var two_filters(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .stride = { 2, 2 }, .filter = { 2 }, .padding = NN_VALID));
    x = ad_relu(nn_conv_with(net, "b", x, n, .padding = NN_CIRCULAR));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var average(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_average_pool(net, ad_relu(nn_conv_with(net, "a", x, n, .filter = { 1 })));
    return nn_flatten_readout(net, "out", ad_erf(nn_conv_with(net, "b", x, n, .filter = { 1, 3 })));
}

static ad_var of_place(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_local_with(net, "a", x, n, .filter = { 2 }, .padding = NN_VALID));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var passed_by(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_conv_with(net, "a", x, n, .filter = { 1 });
    h = ad_add(h, nn_conv_with(net, "b", ad_relu(h), n, .filter = { 1, 2 }, .bias = true, .sigma_b = 0.5));
    return nn_flatten_readout(net, "out", ad_relu(h));
}

static ad_var in_time(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .filter = { 4 }, .dilation = { 2 }, .padding = NN_VALID));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static const struct {
    nn_function network;
    size_t shape[4];
    const char *lines;
} by_hand[] = {
    { one_filter,
      { 4, 4, 4 },
      "Places: rows, columns from 0 to 3; offset, offset2 from 0 to 2.\n"
      "  Σ1   = 0.0277778 Σ[offset, offset2] ⟨x[rows+offset−1, columns+offset2−1], "
      "x′[rows′+offset−1, columns′+offset2−1]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  K    = 0.0625 Σ[rows, columns] K1[rows, columns; rows, columns]\n"
      "  Θ    = 0.0625 Σ[rows, columns] K1[rows, columns; rows, columns]\n"
      "         + 0.0625 Σ[rows, columns] (K̇1 Σ1)[rows, columns; rows, columns]\n" },
    { two_filters,
      { 8, 8, 4 },
      "Places: rows.4, columns.4 from 0 to 3; offset, offset2 from 0 to 1; offset3, offset4 from 0 "
      "to 2.\n"
      "  Σ1   = 0.0625 Σ[offset, offset2] ⟨x[2 rows.4+offset, 2 columns.4+offset2], x′[2 "
      "rows.4′+offset, 2 columns.4′+offset2]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  Σ2   = 0.111111 Σ[offset3, offset4] K1[(rows.4+offset3−1) mod 4, (columns.4+offset4−1) "
      "mod 4; (rows.4′+offset3−1) mod 4, (columns.4′+offset4−1) mod 4]\n"
      "  K2   = E relu(u) relu(v),  (u, v) ~ Σ2\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  T1   = Σ2\n"
      "         + 0.111111 Σ[offset3, offset4] (K̇1 Σ1)[(rows.4+offset3−1) mod 4, "
      "(columns.4+offset4−1) mod 4; (rows.4′+offset3−1) mod 4, (columns.4′+offset4−1) mod 4]\n"
      "  K̇2   = E step(u) step(v),  (u, v) ~ Σ2\n"
      "  K    = 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] K2[rows.4, columns.4; "
      "rows.4′, columns.4′]\n"
      "  Θ    = 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] K2[rows.4, columns.4; "
      "rows.4′, columns.4′]\n"
      "         + 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] (K̇2 T1)[rows.4, columns.4; "
      "rows.4′, columns.4′]\n" },
    { average,
      { 4, 4, 4 },
      "Places: rows, columns from 0 to 3; rows.2, columns.2, offset3, offset4 from 0 to 1; offset6 "
      "from 0 to 2.\n"
      "  Σ1   = 0.25 ⟨x[rows, columns], x′[rows′, columns′]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  K2   = [rows.2, columns.2; rows.2′, columns.2′] ↦ 0.0625 Σ[offset3, offset4, offset3′, "
      "offset4′] K1[2 rows.2+offset3, 2 columns.2+offset4; 2 rows.2′+offset3′, 2 "
      "columns.2′+offset4′]\n"
      "  Σ2   = [rows.2, columns.2; rows.2′, columns.2′] ↦ 0.333333 Σ[offset6] K2[rows.2, "
      "columns.2+offset6−1; rows.2′, columns.2′+offset6−1]\n"
      "  K3   = E erf(u) erf(v),  (u, v) ~ Σ2\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  T1   = [rows.2, columns.2; rows.2′, columns.2′] ↦ 0.0625 Σ[offset3, offset4, offset3′, "
      "offset4′] (K̇1 Σ1)[2 rows.2+offset3, 2 columns.2+offset4; 2 rows.2′+offset3′, 2 "
      "columns.2′+offset4′]\n"
      "  T2   = [rows.2, columns.2; rows.2′, columns.2′] ↦ Σ2\n"
      "         + 0.333333 Σ[offset6] T1[rows.2, columns.2+offset6−1; rows.2′, "
      "columns.2′+offset6−1]\n"
      "  K̇2   = E erf_grad(u) erf_grad(v),  (u, v) ~ Σ2\n"
      "  K    = 0.25 Σ[rows.2, columns.2] K3[rows.2, columns.2; rows.2, columns.2]\n"
      "  Θ    = 0.25 Σ[rows.2, columns.2] K3[rows.2, columns.2; rows.2, columns.2]\n"
      "         + 0.25 Σ[rows.2, columns.2] (K̇2 T2)[rows.2, columns.2; rows.2, columns.2]\n" },
    { of_place,
      { 5, 5, 4 },
      "Places: rows.4, columns.4 from 0 to 3; offset, offset2 from 0 to 1.\n"
      "  Σ1   = 0.0625 [rows.4 = rows.4′] [columns.4 = columns.4′] Σ[offset, offset2] "
      "⟨x[rows.4+offset, columns.4+offset2], x′[rows.4′+offset, columns.4′+offset2]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  K    = 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] K1[rows.4, columns.4; "
      "rows.4′, columns.4′]\n"
      "  Θ    = 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] K1[rows.4, columns.4; "
      "rows.4′, columns.4′]\n"
      "         + 0.00390625 Σ[rows.4, columns.4, rows.4′, columns.4′] (K̇1 Σ1)[rows.4, columns.4; "
      "rows.4′, columns.4′]\n" },
    { passed_by,
      { 4, 4, 4 },
      "Places: rows, columns from 0 to 3; offset4 from 0 to 1.\n"
      "  Σ1   = 0.25 ⟨x[rows, columns], x′[rows′, columns′]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  Σ2   = 0.5 Σ[offset4] K1[rows, columns+offset4; rows′, columns′+offset4]\n"
      "  Σ3   = Σ1 + Σ2 + 0.25\n"
      "  K2   = E relu(u) relu(v),  (u, v) ~ Σ3\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  T1   = Σ2\n"
      "         + 0.5 Σ[offset4] (K̇1 Σ1)[rows, columns+offset4; rows′, columns′+offset4]\n"
      "  T2   = Σ1 + T1 + 1\n"
      "  K̇2   = E step(u) step(v),  (u, v) ~ Σ3\n"
      "  K    = 0.0625 Σ[rows, columns] K2[rows, columns; rows, columns]\n"
      "  Θ    = 0.0625 Σ[rows, columns] K2[rows, columns; rows, columns]\n"
      "         + 0.0625 Σ[rows, columns] (K̇2 T2)[rows, columns; rows, columns]\n" },
    { in_time,
      { 14, 4 },
      "Places: time.8 from 0 to 7; offset from 0 to 3.\n"
      "  Σ1   = 0.0625 Σ[offset] ⟨x[time.8+2 offset], x′[time.8′+2 offset]⟩\n"
      "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1\n"
      "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1\n"
      "  K    = 0.015625 Σ[time.8, time.8′] K1[time.8; time.8′]\n"
      "  Θ    = 0.015625 Σ[time.8, time.8′] K1[time.8; time.8′]\n"
      "         + 0.015625 Σ[time.8, time.8′] (K̇1 Σ1)[time.8; time.8′]\n" },
};

/* The lines without their sources, and what stands above them but for how they are read. */
static char *lines_of(const char *text)
{
    char *copy = strdup(text), *all = calloc(1, strlen(text) + 1);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] != ' ' && strncmp(line, "Places", 6) != 0)
            continue;
        cut_source(line);
        strcat(strcat(all, line), "\n");
    }
    free(copy);
    return all;
}

Test(printed, as_one_writes_it_by_hand)
{
    for (size_t k = 0; k < sizeof by_hand / sizeof *by_hand; k++) {
        nn_net *net;
        nn_spec spec = { .outputs = 1 };
        memcpy(spec.shape, by_hand[k].shape, sizeof spec.shape);
        tp_program *program = translate(by_hand[k].network, &spec, &net);
        char *text = print_text(program, "by hand"), *lines = lines_of(text);
        cr_expect(strcmp(lines, by_hand[k].lines) == 0, "%zu:\n%s", k, lines);
        free(text);
        free(lines);
        tp_program_free(program);
        nn_net_free(net);
    }
}
