/* memo.c: the series that are kept, in the order of their last use. All of them take so many bytes at most; a series
 * that a thread is comparing stays until it is done. */
#include "tp/gauss/memo.h"

#include <pthread.h>
#include <string.h>

typedef struct entry {
    struct entry *next;
    tp_found found;
    double *x, *y; /* (n): where the function was evaluated on the way, and its values */
    size_t n, bytes;
    int readers;
} entry;

static const size_t most_bytes = (size_t)1 << 25;
static struct {
    pthread_mutex_t lock;
    entry *first; /* the last used */
    size_t bytes;
} memo = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- notes ---- */
static void note(tp_noted *notes, size_t n, const double *x, const double *y)
{
    ad_error ignored = { 0 };
    size_t room = notes->n + n;
    if (!notes->whole || !(notes->whole = room <= TP_MOST_NOTED))
        return;
    if (room > notes->capacity) {
        size_t capacity = 2 * room;
        double *more = ad_reserve(2 * capacity, sizeof *more, "notes of a function", &ignored);
        if (!(notes->whole = more))
            return;
        if (notes->n) {
            memcpy(more, notes->x, notes->n * sizeof *more);
            memcpy(more + capacity, notes->y, notes->n * sizeof *more);
        }
        ad_free(notes->x);
        notes->x = more;
        notes->y = more + capacity;
        notes->capacity = capacity;
    }
    memcpy(notes->x + notes->n, x, n * sizeof *x);
    memcpy(notes->y + notes->n, y, n * sizeof *y);
    notes->n += n;
}

/* context: the notes. */
static void eval_noted(const tp_univariate *u, size_t n, const double *x, double *y)
{
    enum { BLOCK = 256 };
    union {
        const void *given;
        tp_noted *notes;
    } context = { u->context };
    const tp_univariate *f = context.notes->f;
    double at[BLOCK]; /* y may be x */
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        memcpy(at, x + i, count * sizeof *at);
        f->eval(f, count, at, y + i);
        note(context.notes, count, at, y + i);
    }
}

tp_univariate tp_noted_begin(tp_noted *notes, const tp_univariate *f)
{
    tp_univariate noted = *f;
    *notes = (tp_noted){ .f = f, .whole = true };
    noted.eval = eval_noted;
    noted.context = notes;
    return noted;
}

void tp_noted_free(tp_noted *notes)
{
    ad_free(notes->x);
    *notes = (tp_noted){ 0 };
}

/* ---- entries ---- */
static void free_entry(entry *e)
{
    tp_chebyshev_free(&e->found.table);
    ad_free(e->x);
    ad_free(e);
}

static int copy_table(const tp_chebyshev *from, tp_chebyshev *to, ad_error *error)
{
    *to = *from;
    to->coefficients = ad_reserve(from->n * from->width, sizeof(double), "a table over variances", error);
    if (!to->coefficients)
        return -1;
    memcpy(to->coefficients, from->coefficients, from->n * from->width * sizeof(double));
    return 0;
}

static bool same(double a, double b)
{
    return a >= b && a <= b;
}

/* Has f these values? The first ones tell most that are another function. */
static bool has_values(const entry *e, const tp_univariate *f)
{
    enum { FEW = 16, BLOCK = 1024 };
    double y[BLOCK];
    for (size_t i = 0, n = FEW; i < e->n; i += n, n = BLOCK) {
        n = e->n - i < n ? e->n - i : n;
        f->eval(f, n, e->x + i, y);
        if (memcmp(y, e->y + i, n * sizeof *y) != 0)
            return false;
    }
    return true;
}

/* The place of the next entry of this range from *at on, to read; NULL at the end. */
static entry *next_of(entry *at, double low, double high, double tolerance)
{
    while (at && !(same(at->found.low, low) && same(at->found.high, high) && same(at->found.tolerance, tolerance)))
        at = at->next;
    if (at)
        at->readers++;
    return at;
}

/* To the front. */
static void use(entry *e)
{
    entry **at = &memo.first;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->next = memo.first;
    memo.first = e;
}

bool tp_memo_get(const tp_univariate *f, double low, double high, double tolerance, tp_found *found)
{
    ad_error ignored = { 0 };
    bool got = false;
    pthread_mutex_lock(&memo.lock);
    entry *e = next_of(memo.first, low, high, tolerance);
    while (e && !got) {
        pthread_mutex_unlock(&memo.lock);
        bool its = has_values(e, f);
        got = its && copy_table(&e->found.table, &found->table, &ignored) == 0;
        pthread_mutex_lock(&memo.lock);
        e->readers--;
        if (got) {
            tp_chebyshev table = found->table;
            *found = e->found;
            found->table = table;
            use(e);
        } else
            e = its ? NULL : next_of(e->next, low, high, tolerance);
    }
    pthread_mutex_unlock(&memo.lock);
    return got;
}

/* The least used ones go until there is room; false: those that are being read leave none. */
static bool make_room(size_t bytes)
{
    while (memo.bytes + bytes > most_bytes) {
        entry **last = NULL;
        for (entry **at = &memo.first; *at; at = &(*at)->next)
            last = (*at)->readers ? last : at;
        if (!last)
            return false;
        entry *gone = *last;
        *last = gone->next;
        memo.bytes -= gone->bytes;
        free_entry(gone);
    }
    return true;
}

void tp_memo_put(const tp_found *found, tp_noted *notes)
{
    ad_error ignored = { 0 };
    size_t n = notes->n, bytes = (2 * n + found->table.n * found->table.width) * sizeof(double);
    entry *e = notes->whole && n && bytes <= most_bytes / 4 ? ad_alloc(1, sizeof *e, "a series", &ignored) : NULL;
    if (!e)
        return;
    *e = (entry){ .found = *found, .n = n, .bytes = bytes };
    e->found.table = (tp_chebyshev){ 0 };
    e->x = ad_reserve(2 * n, sizeof *e->x, "a series", &ignored);
    if (!e->x || copy_table(&found->table, &e->found.table, &ignored)) {
        free_entry(e);
        return;
    }
    e->y = e->x + n;
    memcpy(e->x, notes->x, n * sizeof *e->x);
    memcpy(e->y, notes->y, n * sizeof *e->y);
    pthread_mutex_lock(&memo.lock);
    bool room = make_room(bytes);
    if (room) {
        e->next = memo.first;
        memo.first = e;
        memo.bytes += bytes;
    }
    pthread_mutex_unlock(&memo.lock);
    if (!room)
        free_entry(e);
}
