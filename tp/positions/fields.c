/* fields.c: the parts of a plan: arrays, fields that look at them, steps, and sums of fields. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

/* beyond, what is no 0 might become one: the recursion looks for that */
static const double most_scale = 1e60;

int tp_no_room(const tp_field_plan *p)
{
    ad_fail(p->error, "out of memory for a kernel over positions");
    return TP_NO_ROOM;
}

/* ---- fields ---- */
int tp_new_array(tp_field_plan *p, size_t n)
{
    if (!ad_arena_grow(p->arena, (void **)&p->arrays, p->n_arrays, &p->arrays_capacity, sizeof *p->arrays))
        return tp_no_room(p);
    p->arrays[p->n_arrays] = (tp_field_array){ .n = n, .last = -1, .slot = -1 };
    return p->n_arrays++;
}

int tp_new_field(tp_field_plan *p, int array, size_t n, double c, double power)
{
    if (array < 0)
        return array;
    if (!ad_arena_grow(p->arena, (void **)&p->fields, p->n_fields, &p->fields_capacity, sizeof *p->fields))
        return tp_no_room(p);
    p->fields[p->n_fields] = (tp_field){ .array = array, .n = n, .c = c, .power = power };
    return p->n_fields++;
}

int tp_add_step(tp_field_plan *p, const tp_field_step *step)
{
    if (!ad_arena_grow(p->arena, (void **)&p->steps, p->n_steps, &p->steps_capacity, sizeof *p->steps))
        return tp_no_room(p);
    p->steps[p->n_steps++] = *step;
    return 0;
}

int tp_filled(tp_field_plan *p, size_t n, double value)
{
    int array = tp_new_array(p, n);
    if (array < 0 || tp_add_step(p, &(tp_field_step){ .kind = TP_FILL, .out = array, .c = value }))
        return TP_NO_ROOM;
    return tp_new_field(p, array, n, 1, 0);
}

int32_t *tp_new_numbers(const tp_field_plan *p, size_t n)
{
    return ad_alloc(n + 1, sizeof(int32_t), "a network's positions", p->error);
}

const int32_t *tp_keep_once(tp_field_plan *p, int32_t *numbers, size_t n)
{
    const int32_t *kept = numbers ? tp_keep(p, numbers, n) : NULL;
    ad_free(numbers);
    return kept;
}

/* The entries of a field's array that a map of the field's entries names. */
static const int32_t *see_through(tp_field_plan *p, const tp_field *f, const tp_point_map *map)
{
    if (!f->view)
        return map->to;
    int32_t *to = tp_new_numbers(p, map->n * map->fan);
    for (size_t i = 0; to && i < map->n * map->fan; i++)
        to[i] = map->to[i] < 0 ? -1 : f->view[map->to[i]];
    return tp_keep_once(p, to, map->n * map->fan);
}

const int32_t *tp_identity(tp_field_plan *p, size_t n)
{
    int32_t *to = tp_new_numbers(p, n);
    for (size_t i = 0; to && i < n; i++)
        to[i] = (int32_t)i;
    return tp_keep_once(p, to, n);
}

/* Has it all entries of its array in order, each once? */
static bool is_whole(const tp_field_plan *p, const tp_field *f)
{
    size_t i = 0;
    while (i < f->n && f->view[i] == (int32_t)i)
        i++;
    return i == f->n && i == p->arrays[f->array].n;
}

int tp_materialize(tp_field_plan *p, int field)
{
    if (field < 0 || !p->fields[field].view)
        return field;
    const tp_field f = p->fields[field];
    if (is_whole(p, &f)) {
        p->fields[field].view = NULL;
        return field;
    }
    tp_field_step step = { .kind = TP_ADD,
                           .n_parts = 1,
                           .part = { { .in = f.array, .c = 1, .map = { f.n, 1, f.view } } } };
    if ((step.out = tp_new_array(p, f.n)) < 0 || tp_add_step(p, &step))
        return TP_NO_ROOM;
    p->fields[field].array = step.out;
    p->fields[field].view = NULL;
    return field;
}

int tp_add_to(tp_field_plan *p, int *sum, int of, double c, double power, const tp_point_map *map)
{
    if (of < 0)
        return of == TP_NO_FIELD ? 0 : of;
    const tp_field from = p->fields[of];
    const int32_t *to = see_through(p, &from, map);
    if (!to)
        return tp_no_room(p);
    if (fabs(c * from.c) > most_scale || fabs(c * from.c) < 1 / most_scale)
        return TP_NO_RULE_HERE;
    tp_field_part part = { .in = from.array, .c = c * from.c, .map = { map->n, map->fan, to } };
    if (*sum == TP_NO_FIELD && map->fan == 1) {
        if ((*sum = tp_new_field(p, from.array, map->n, c * from.c, power + from.power)) >= 0)
            p->fields[*sum].view = to;
        return *sum < 0 ? *sum : 0;
    }
    const tp_field before = *sum >= 0 ? p->fields[*sum] : (tp_field){ .power = power + from.power };
    if (fabs(before.power - power - from.power) > 1e-9)
        return TP_NO_RULE_HERE;
    tp_field_step step = { .kind = TP_ADD, .out = before.array, .part = { part }, .n_parts = 1, .goes_on = true };
    if (before.under_way)
        return tp_add_step(p, &step);
    step.goes_on = false;
    if (*sum >= 0) {
        const int32_t *all = before.view ? before.view : tp_identity(p, map->n);
        step.part[step.n_parts++] = (tp_field_part){ .in = before.array, .c = before.c, .map = { map->n, 1, all } };
        if (!all)
            return tp_no_room(p);
    }
    if ((step.out = tp_new_array(p, map->n)) < 0 || tp_add_step(p, &step))
        return TP_NO_ROOM;
    if ((*sum = tp_new_field(p, step.out, map->n, 1, before.power)) < 0)
        return *sum;
    p->fields[*sum].under_way = true;
    return 0;
}
