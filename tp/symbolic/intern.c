/* intern.c: tables of interned byte strings, by open addressing, and the memo over one. */
#include "tp/symbolic/intern.h"
#include "autodiff/base/base.h"

#include <string.h>

int tp_table_new(tp_table *table, ad_arena *arena, ad_error *error)
{
    *table = (tp_table){ .arena = arena, .capacity = 64, .n_slots = 128 };
    table->items = ad_reserve((size_t)table->capacity, sizeof *table->items, "a table", error);
    table->slots = ad_alloc(table->n_slots, sizeof *table->slots, "a table", error);
    return table->items && table->slots ? 0 : -1;
}

void tp_table_free(tp_table *table)
{
    ad_free(table->items);
    ad_free(table->slots);
}

static uint32_t hash_of(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    uint64_t h = 0xcbf29ce484222325u, word;
    for (; size >= sizeof word; size -= sizeof word, b += sizeof word) {
        memcpy(&word, b, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (size_t i = 0; i < size; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 29);
}

/* The slot of this content, or the free one where it belongs. */
static size_t find_slot(const tp_table *table, uint32_t hash, const void *bytes, size_t size)
{
    size_t at = hash & (table->n_slots - 1);
    for (; table->slots[at].number; at = (at + 1) & (table->n_slots - 1)) {
        if (table->slots[at].hash != hash)
            continue;
        const tp_item *item = &table->items[table->slots[at].number - 1];
        if (item->size == size && memcmp(item->bytes, bytes, size) == 0)
            break;
    }
    return at;
}

static bool grow_table(tp_table *table)
{
    tp_table larger = {
        .arena = table->arena, .n = table->n, .capacity = 2 * table->capacity, .n_slots = 2 * table->n_slots
    };
    larger.items = ad_reserve((size_t)larger.capacity, sizeof *larger.items, "a table", NULL);
    larger.slots = ad_alloc(larger.n_slots, sizeof *larger.slots, "a table", NULL);
    if (!larger.items || !larger.slots) {
        tp_table_free(&larger);
        return false;
    }
    memcpy(larger.items, table->items, (size_t)table->n * sizeof *table->items);
    for (size_t k = 0; k < table->n_slots; k++) {
        size_t at = table->slots[k].hash & (larger.n_slots - 1);
        while (table->slots[k].number && larger.slots[at].number)
            at = (at + 1) & (larger.n_slots - 1);
        if (table->slots[k].number)
            larger.slots[at] = table->slots[k];
    }
    tp_table_free(table);
    *table = larger;
    return true;
}

int tp_intern(tp_table *table, const void *bytes, size_t size)
{
    uint32_t hash = hash_of(bytes, size);
    size_t slot = find_slot(table, hash, bytes, size);
    if (table->slots[slot].number)
        return (int)table->slots[slot].number - 1;
    if (table->n == table->capacity) {
        if (!grow_table(table))
            return -1;
        slot = find_slot(table, hash, bytes, size);
    }
    void *copy = ad_arena_alloc(table->arena, size, 1);
    if (!copy)
        return -1;
    memcpy(copy, bytes, size);
    table->items[table->n] = (tp_item){ copy, size };
    table->slots[slot] = (tp_slot){ (uint32_t)table->n + 1, hash };
    return table->n++;
}

int tp_memo_new(tp_memo_table *memo, ad_arena *arena, ad_error *error)
{
    *memo = (tp_memo_table){ .capacity = 0 };
    return tp_table_new(&memo->keys, arena, error);
}

void tp_memo_free(tp_memo_table *memo)
{
    tp_table_free(&memo->keys);
    ad_free(memo->values);
}

int tp_memo_slot(tp_memo_table *memo, const void *key, size_t size)
{
    int before = memo->keys.n;
    if (!ad_grow((void **)&memo->values, before, &memo->capacity, sizeof *memo->values, "a memo", NULL))
        return -1;
    int id = tp_intern(&memo->keys, key, size);
    if (id == before)
        memo->values[id] = -1;
    return id;
}
