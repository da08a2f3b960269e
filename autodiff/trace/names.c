/* names.c: the nodes of a graph by their names: a table of open addressing. A node that a rewound graph has dropped
 * leaves its place behind; what is there by then has another name, or none. */
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <string.h>

static unsigned hash_of(const char *name)
{
    unsigned hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

static bool has_name(const ad_graph *graph, int id, const char *name)
{
    return id < graph->n_nodes && graph->nodes[id]->name && strcmp(graph->nodes[id]->name, name) == 0;
}

int ad_named(const ad_graph *graph, const char *name)
{
    unsigned mask = (unsigned)graph->named_capacity - 1, at = hash_of(name) & mask;
    for (; graph->named_capacity && graph->named[at]; at = (at + 1) & mask)
        if (has_name(graph, graph->named[at] - 1, name))
            return graph->named[at] - 1;
    return -1;
}

static void put_name(ad_graph *graph, int id)
{
    unsigned mask = (unsigned)graph->named_capacity - 1, at = hash_of(graph->nodes[id]->name) & mask;
    while (graph->named[at])
        at = (at + 1) & mask;
    graph->named[at] = id + 1;
    graph->n_named++;
}

bool ad_note_name(ad_graph *graph)
{
    enum { FIRST = 64 };
    if (2 * graph->n_named < graph->named_capacity) {
        put_name(graph, graph->n_nodes - 1);
        return true;
    }
    int capacity = graph->named_capacity ? 2 * graph->named_capacity : FIRST;
    int *named = ad_arena_alloc(graph->arena, (size_t)capacity, sizeof *named);
    if (!named)
        return false;
    graph->named = named;
    graph->named_capacity = capacity;
    graph->n_named = 0;
    for (int id = 0; id < graph->n_nodes; id++)
        if (graph->nodes[id]->name)
            put_name(graph, id);
    return true;
}
