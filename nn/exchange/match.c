/* match.c: which of PyTorch's tensors is which of the net's: by maps, by equal names, and then module by module, where
 * the shapes are equal, in the order of the numbers in their names. */
#include "nn/exchange/exchange.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool nn_same_shape(const nn_group *group, const nn_tensor *t)
{
    return t->rank == group->rank && memcmp(t->shape, group->shape, (size_t)t->rank * sizeof *t->shape) == 0;
}

/* ---- names ---- */
/* Equal but for the digits? */
static bool numbered_alike(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const char *end_a = a + n_a, *end_b = b + n_b;
    while (a < end_a && b < end_b) {
        bool digit = isdigit((unsigned char)*a) && isdigit((unsigned char)*b);
        if (!digit && *a != *b)
            return false;
        a++, b++;
        while (digit && a < end_a && isdigit((unsigned char)*a))
            a++;
        while (digit && b < end_b && isdigit((unsigned char)*b))
            b++;
    }
    return a == end_a && b == end_b;
}

/* By the numbers of two names that are equal otherwise. */
static int compare_numbers(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const char *end_a = a + n_a, *end_b = b + n_b;
    while (a < end_a && b < end_b) {
        if (!isdigit((unsigned char)*a)) {
            a++, b++;
            continue;
        }
        unsigned long x = strtoul(a, (char **)(void *)&a, 10), y = strtoul(b, (char **)(void *)&b, 10);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

/* ---- modules ---- */
/* The members of a module in their order: of each member the first one, and the next or -1. */
typedef struct {
    int *first, *next;
} chains;
typedef struct {
    const nn_torch *from;
    const nn_groups *groups;
    int *found, *taken; /* by group, the tensor; by tensor, the group; -1 */
    chains of_tensors, of_groups;
} job;

typedef struct {
    const char *name;
    size_t module;
    int at;
} member;

static int by_module(const void *x, const void *y)
{
    const member *a = x, *b = y;
    if (a->module != b->module)
        return a->module < b->module ? -1 : 1;
    int order = strncmp(a->name, b->name, a->module);
    return order ? order : a->at - b->at;
}

static int make_chains(chains *c, member *members, size_t n, ad_arena *arena)
{
    c->first = ad_arena_alloc(arena, n + 1, sizeof *c->first);
    c->next = ad_arena_alloc(arena, n + 1, sizeof *c->next);
    if (!c->first || !c->next)
        return -1;
    qsort(members, n, sizeof *members, by_module);
    for (size_t k = 0; k < n; k++) {
        const member *m = &members[k], *before = m - 1;
        bool same = k && before->module == m->module && strncmp(before->name, m->name, m->module) == 0;
        c->first[m->at] = same ? c->first[before->at] : m->at;
        c->next[m->at] = -1;
        if (same)
            c->next[before->at] = m->at;
    }
    return 0;
}

static const nn_tensor *tensor_at(const job *j, int t)
{
    return nn_tensors_at(j->from->file, (size_t)t);
}

static int count_tensors(const job *j)
{
    return (int)nn_tensors_count(j->from->file);
}

static bool is_open(const job *j, int t)
{
    return j->taken[t] < 0 && !nn_is_count(tensor_at(j, t));
}

/* The module of PyTorch's of that name, by its first tensor; -1. */
static int find_module(const job *j, const char *module, size_t length)
{
    for (int t = 0; t < count_tensors(j); t++) {
        const char *name = tensor_at(j, t)->name;
        if (j->of_tensors.first[t] == t && nn_module_length(name) == length && strncmp(name, module, length) == 0)
            return t;
    }
    return -1;
}

/* The open tensor of that module and last name; -1. */
static int find_tensor(const job *j, int module, const char *kind)
{
    size_t length = nn_module_length(tensor_at(j, module)->name);
    for (int t = module; t >= 0; t = j->of_tensors.next[t])
        if (strcmp(tensor_at(j, t)->name + length + (length > 0), kind) == 0 && is_open(j, t))
            return t;
    return -1;
}

static int open_in_module(const job *j, int module)
{
    int count = 0;
    for (int t = module; t >= 0; t = j->of_tensors.next[t])
        count += is_open(j, t);
    return count;
}

/* Whether the open groups of a module of ours, by one of them, have the open tensors of one of PyTorch's. */
static bool module_fits(const job *j, int of, int module)
{
    int count = 0;
    for (int g = j->of_groups.first[of]; g >= 0; g = j->of_groups.next[g]) {
        if (j->found[g] >= 0)
            continue;
        int t = find_tensor(j, module, j->groups->groups[g].kind);
        if (t < 0 || !nn_same_shape(&j->groups->groups[g], tensor_at(j, t)))
            return false;
        count++;
    }
    return count > 0 && count == open_in_module(j, module);
}

static void take(job *j, int g, int t)
{
    j->found[g] = t;
    j->taken[t] = g;
}

static void take_module(job *j, int of, int module)
{
    for (int g = j->of_groups.first[of]; g >= 0; g = j->of_groups.next[g]) {
        int t = j->found[g] < 0 ? find_tensor(j, module, j->groups->groups[g].kind) : -1;
        if (t >= 0)
            take(j, g, t);
    }
}

/* ---- maps ---- */
static int map_tensor(job *j, const char *torch, size_t length, const char *limn)
{
    for (int t = 0; t < count_tensors(j); t++)
        for (int g = 0; g < j->groups->n; g++)
            if (strlen(tensor_at(j, t)->name) == length && strncmp(tensor_at(j, t)->name, torch, length) == 0 &&
                strcmp(j->groups->groups[g].name, limn) == 0 && is_open(j, t) && j->found[g] < 0) {
                if (!nn_same_shape(&j->groups->groups[g], tensor_at(j, t)))
                    return 1;
                take(j, g, t);
                return 0;
            }
    return -1;
}

static int map_module(job *j, const char *torch, size_t length, const char *limn)
{
    int module = find_module(j, torch, length);
    for (int g = 0; g < j->groups->n && module >= 0; g++) {
        const nn_group *group = &j->groups->groups[g];
        if (j->found[g] >= 0 || group->module != strlen(limn) || strncmp(group->name, limn, group->module) != 0 ||
            !open_in_module(j, module))
            continue;
        if (!module_fits(j, g, module))
            return 1;
        take_module(j, g, module);
        return 0;
    }
    return -1;
}

static int apply_maps(job *j, ad_error *error)
{
    for (const char *const *map = j->from->maps; map && *map; map++) {
        const char *equals = strchr(*map, '=');
        if (!equals)
            return ad_fail(error, "map %.80s: it must be TORCH=LIMN", *map);
        size_t length = (size_t)(equals - *map);
        int status = map_tensor(j, *map, length, equals + 1);
        if (status < 0)
            status = map_module(j, *map, length, equals + 1);
        if (status < 0)
            return ad_fail(error,
                           "%s: map %.160s: no such tensor or module in the file, or in the network, or it is "
                           "mapped already",
                           j->from->path, *map);
        if (status > 0)
            return 1;
    }
    return 0;
}

static void match_equal_names(job *j)
{
    for (int g = 0; g < j->groups->n; g++)
        for (int t = 0; t < count_tensors(j) && j->found[g] < 0; t++)
            if (is_open(j, t) && strcmp(tensor_at(j, t)->name, j->groups->groups[g].name) == 0 &&
                nn_same_shape(&j->groups->groups[g], tensor_at(j, t)))
                take(j, g, t);
}

/* ---- by shape and order ---- */
/* Of the modules that would do for a group's, the first by its numbers; two that differ otherwise are ambiguous. 0,
 * or 1 if none would do, or 2. */
static int choose_module(const job *j, int of, int *chosen)
{
    *chosen = -1;
    for (int t = 0; t < count_tensors(j); t++) {
        if (j->of_tensors.first[t] != t || !module_fits(j, of, t))
            continue;
        const char *name = tensor_at(j, t)->name, *best = *chosen < 0 ? NULL : tensor_at(j, *chosen)->name;
        size_t length = nn_module_length(name), best_length = best ? nn_module_length(best) : 0;
        if (best && !numbered_alike(name, length, best, best_length))
            return 2;
        if (!best || compare_numbers(name, length, best, best_length) < 0)
            *chosen = t;
    }
    return *chosen < 0;
}

static const nn_tensor *tensor_of(const job *j, int g)
{
    return tensor_at(j, j->found[g]);
}

/* Do the modules that are numbered alike stand in the order of the trace? */
static bool is_ordered(const job *j)
{
    for (int g = 0; g + 1 < j->groups->n; g++)
        for (int h = g + 1; h < j->groups->n; h++) {
            const char *a = tensor_of(j, g)->name, *b = tensor_of(j, h)->name;
            size_t n_a = nn_module_length(a), n_b = nn_module_length(b);
            if (numbered_alike(a, n_a, b, n_b) && compare_numbers(a, n_a, b, n_b) > 0)
                return false;
        }
    return true;
}

static int match_all(job *j, bool *ambiguous, ad_error *error)
{
    int status = apply_maps(j, error);
    if (status)
        return status;
    match_equal_names(j);
    for (int g = 0; g < j->groups->n; g++) {
        int module;
        if (j->found[g] >= 0)
            continue;
        if ((status = choose_module(j, g, &module)))
            break;
        take_module(j, g, module);
    }
    *ambiguous = status == 2;
    for (int t = 0; t < count_tensors(j) && !status; t++)
        status = is_open(j, t);
    return status ? 1 : 0;
}

static int start(job *j, const nn_torch *from, const nn_groups *groups, ad_error *error)
{
    *j = (job){ .from = from, .groups = groups };
    size_t n_groups = (size_t)groups->n, n_tensors = nn_tensors_count(from->file);
    j->found = ad_arena_alloc(from->arena, n_groups + 1, sizeof *j->found);
    j->taken = ad_arena_alloc(from->arena, n_tensors + 1, sizeof *j->taken);
    member *members = ad_arena_alloc(from->arena, (n_groups > n_tensors ? n_groups : n_tensors) + 1, sizeof *members);
    if (!j->found || !j->taken || !members)
        return ad_fail(error, "%s: out of memory", from->path);
    for (size_t t = 0; t < n_tensors; t++) {
        const char *name = nn_tensors_at(from->file, t)->name;
        members[t] = (member){ name, nn_module_length(name), (int)t };
    }
    int status = make_chains(&j->of_tensors, members, n_tensors, from->arena);
    for (size_t g = 0; g < n_groups; g++)
        members[g] = (member){ groups->groups[g].name, groups->groups[g].module, (int)g };
    if (status || make_chains(&j->of_groups, members, n_groups, from->arena))
        return ad_fail(error, "%s: out of memory", from->path);
    memset(j->found, -1, n_groups * sizeof *j->found);
    memset(j->taken, -1, n_tensors * sizeof *j->taken);
    return 0;
}

int nn_match_groups(const nn_torch *from, const nn_groups *groups, nn_match *out, ad_error *error)
{
    job j;
    bool ambiguous = false;
    if (start(&j, from, groups, error) != 0)
        return -1;
    int status = match_all(&j, &ambiguous, error);
    *out = (nn_match){ .found = j.found, .ordered = !status && is_ordered(&j) };
    return status;
}

/* ---- what stays open ---- */
AD_PRINTF(3, 4) static void add_text(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void add_shape(char *text, size_t size, const char *name, int rank, const size_t *shape)
{
    if (strlen(text) + 40 > size) {
        if (strlen(text) + 5 < size && !strstr(text, " ..."))
            add_text(text, size, " ...");
        return;
    }
    add_text(text, size, "%s%.60s (", *text ? ", " : "", name);
    for (int i = 0; i < rank; i++)
        add_text(text, size, "%s%zu", i ? ", " : "", shape[i]);
    add_text(text, size, ")");
}

int nn_match_fail(const nn_torch *from, const nn_groups *groups, const nn_net *net, size_t n, ad_error *error)
{
    char theirs[130] = "", ours[130] = "";
    bool ambiguous = false;
    job j;
    if (start(&j, from, groups, error) != 0 || match_all(&j, &ambiguous, error) < 0)
        return -1;
    for (int t = 0; t < count_tensors(&j); t++)
        if (is_open(&j, t))
            add_shape(theirs, sizeof theirs, tensor_at(&j, t)->name, tensor_at(&j, t)->rank, tensor_at(&j, t)->shape);
    for (int g = 0; g < groups->n; g++)
        if (j.found[g] < 0)
            add_shape(ours, sizeof ours, groups->groups[g].name, groups->groups[g].rank, groups->groups[g].shape);
    if (ambiguous)
        return ad_fail(error, "%s: several tensors fit: of the file, %s; of %.40s, %s: give --map TORCH=LIMN",
                       from->path, theirs, nn_title(net), ours);
    return ad_fail(error,
                   "%.80s: its tensors are not %.40s's at width %zu: left of the file: %s; of the network: %s. "
                   "Give other settings (depth; sigma_b=0 for biases; cell), or --map TORCH=LIMN",
                   from->path, nn_title(net), n, *theirs ? theirs : "none", *ours ? ours : "none");
}
