/* shapes.c: lists of axes and what is done with them, by name alone. */
#include "autodiff/trace/trace.h"

ad_shape ad_shape_make(int rank, const ad_axis *axes)
{
    ad_shape shape = { 0 };
    for (int i = 0; i < rank; i++)
        ad_shape_push(&shape, axes[i]);
    return shape;
}

void ad_shape_push(ad_shape *shape, ad_axis axis)
{
    if (shape->rank < AD_MAX_RANK)
        shape->axes[shape->rank] = axis;
    shape->rank += shape->rank <= AD_MAX_RANK; /* a rank above AD_MAX_RANK is refused when the node is made */
}

bool ad_same(ad_axis a, ad_axis b)
{
    return a.id == b.id && a.prime == b.prime && a.graph == b.graph;
}

ad_axis ad_prime(ad_axis axis)
{
    axis.prime++;
    return axis;
}

ad_axis ad_unprimed(ad_axis axis)
{
    axis.prime = 0;
    return axis;
}

/* How many axes are kept: of a shape that is refused it may be fewer than its rank. */
static int kept(const ad_shape *shape)
{
    return shape->rank < AD_MAX_RANK ? shape->rank : AD_MAX_RANK;
}

bool ad_has(const ad_shape *shape, ad_axis axis)
{
    for (int i = 0; i < kept(shape); i++)
        if (ad_same(shape->axes[i], axis))
            return true;
    return false;
}

ad_shape ad_shape_minus(const ad_shape *a, const ad_shape *b)
{
    ad_shape rest = { 0 };
    for (int i = 0; i < kept(a); i++)
        if (!ad_has(b, a->axes[i]))
            ad_shape_push(&rest, a->axes[i]);
    return rest;
}

ad_shape ad_shape_union(const ad_shape *a, const ad_shape *b)
{
    ad_shape all = *a;
    for (int i = 0; i < kept(b); i++)
        if (!ad_has(a, b->axes[i]))
            ad_shape_push(&all, b->axes[i]);
    return all;
}

ad_shape ad_shape_meet(const ad_shape *a, const ad_shape *b)
{
    ad_shape both = { 0 };
    for (int i = 0; i < kept(a); i++)
        if (ad_has(b, a->axes[i]))
            ad_shape_push(&both, a->axes[i]);
    return both;
}

bool ad_shape_within(const ad_shape *part, const ad_shape *whole)
{
    for (int i = 0; i < kept(part); i++)
        if (!ad_has(whole, part->axes[i]))
            return false;
    return true;
}

bool ad_shape_same(const ad_shape *a, const ad_shape *b)
{
    return a->rank == b->rank && ad_shape_within(a, b);
}

ad_shape ad_shape_replace(ad_shape shape, ad_axis from, ad_axis to)
{
    for (int i = 0; i < kept(&shape); i++)
        if (ad_same(shape.axes[i], from))
            shape.axes[i] = to;
    return shape;
}

bool ad_shape_equal(const ad_shape *a, const ad_shape *b)
{
    bool equal = a->rank == b->rank;
    for (int i = 0; i < kept(a) && equal; i++)
        equal = ad_same(a->axes[i], b->axes[i]);
    return equal;
}

int ad_shape_position(const ad_shape *shape, ad_axis axis)
{
    for (int i = 0; i < kept(shape); i++)
        if (ad_same(shape->axes[i], axis))
            return i;
    return -1;
}
