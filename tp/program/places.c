/* places.c: vectors at places of a picture, as x1[rows+offset-1]: what windows, zeros around and parts of them are of
 * the vector below them all. */
#include "autodiff/base/base.h"
#include "tp/program/writer.h"

#include <string.h>

/* A fixed axis of the node: what stands at `count` on it stands at stride count + step k + shift further in, k being
 * the place on `offset`. */
typedef struct {
    ad_axis axis, inside, offset;
    ptrdiff_t stride, step, shift;
} place;

typedef struct {
    int n;
    place at[AD_MAX_RANK];
} places;

/* The place whose axis is called so, further in. */
static place *find(places *all, ad_axis axis)
{
    for (int i = 0; i < all->n; i++)
        if (ad_same(all->at[i].inside, axis))
            return &all->at[i];
    if (all->n == AD_MAX_RANK)
        return NULL;
    all->at[all->n] = (place){ .axis = axis, .inside = axis, .stride = 1 };
    return &all->at[all->n++];
}

static bool moves(ad_op op)
{
    return op == AD_WINDOWS || op == AD_UNSLICE || op == AD_SLICE;
}

/* Takes in one op; false: it is not of this form. */
static bool step_in(const ad_node *node, places *all)
{
    place *p = find(all, node->axis2);
    if (!p)
        return false;
    ptrdiff_t start = (ptrdiff_t)node->start;
    if (node->op == AD_WINDOWS) {
        if (p->offset.id)
            return false;
        p->stride *= (ptrdiff_t)node->stride;
        p->shift = p->shift * (ptrdiff_t)node->stride + start;
        p->step = node->dilation;
        p->offset = node->axis3;
    } else {
        p->shift += node->op == AD_SLICE ? start : -start;
    }
    p->inside = node->axis;
    return true;
}

const char *tp_position_name(ad_arena *arena, const ad_graph *graph, ad_axis axis)
{
    const char *name = ad_axis_name(graph, axis);
    return ad_arena_text(arena, "%.*s", (int)strcspn(name, "*"), name);
}

const char *tp_affine_text(ad_arena *arena, bool latex, const tp_affine_part *parts, int n, ptrdiff_t shift)
{
    const char *all = n ? "" : ad_arena_text(arena, "%td", shift), *minus = latex ? "-" : "−";
    for (int i = 0; i < n && all; i++) {
        ptrdiff_t times = parts[i].times, size = times < 0 ? -times : times;
        const char *sign = times < 0 ? minus : i ? "+" : "";
        all = size == 1 ? ad_arena_text(arena, "%s%s%s", all, sign, parts[i].name)
                        : ad_arena_text(arena, "%s%s%td %s", all, sign, size, parts[i].name);
    }
    if (n && shift && all)
        all = ad_arena_text(arena, "%s%s%td", all, shift < 0 ? minus : "+", shift < 0 ? -shift : shift);
    return all;
}

static const char *one_place(tp_writer *w, const place *p)
{
    tp_affine_part parts[2] = { { tp_position_name(w->arena, w->graph, p->axis), p->stride } };
    if (p->offset.id)
        parts[1] = (tp_affine_part){ tp_position_name(w->arena, w->graph, p->offset), p->step };
    bool full = !parts[0].name || (p->offset.id && !parts[1].name);
    const char *all = full ? NULL : tp_affine_text(w->arena, w->latex, parts, p->offset.id ? 2 : 1, p->shift);
    w->full = w->full || !all;
    return all ? all : "";
}

const char *tp_place_text(tp_writer *w, int id, int *below)
{
    places all = { 0 };
    bool windows = false;
    const ad_node *node = ad_node_of(w->graph, id);
    for (; moves(node->op); node = ad_node_of(w->graph, id)) {
        if (!step_in(node, &all))
            return NULL;
        windows = windows || node->op == AD_WINDOWS;
        id = node->in[0];
    }
    const char *text = "";
    for (int i = 0; i < node->shape.rank; i++) /* in the order of the vector's own axes */
        for (int k = 0; k < all.n; k++)
            if (ad_same(all.at[k].inside, node->shape.axes[i]))
                text = tp_writer_text(w, "%s%s%s", text, *text ? ", " : "", one_place(w, &all.at[k]));
    *below = id;
    return windows ? tp_writer_text(w, w->latex ? "_{[%s]}" : "[%s]", tp_plain_name(w, text)) : NULL;
}
