/* test_npy_map.c: .npy files that are filled over several runs: whole only in the end, taken up by those whose they are
 * alone. */
#include "datasets/datasets.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TOOL_SUITE(npy_map);

enum { ROWS = 3, COLUMNS = 5, NOTES = 24 };
static const size_t shape[2] = { ROWS, COLUMNS };

static ds_npy_map *open_map(const char *file, bool single, uint64_t stamp, const char *told)
{
    ad_error error = { 0 };
    ds_npy_map *map = ds_npy_map_open(in(file), shape, 2, single, NOTES, stamp, &error);
    cr_assert_eq(map == NULL, told != NULL, "%s", error.text);
    cr_assert(!told || strstr(error.text, told), "%s", error.text);
    return map;
}

Test(npy_map, filled_in_two_runs)
{
    for (int single = 0; single < 2; single++) {
        ad_error error = { 0 };
        ds_npy_map *map = open_map("a.npy", single, 7, NULL);
        for (int i = 0; i < ROWS * COLUMNS; i++) {
            if (i == 8) { /* the first run ends */
                memset(ds_npy_map_notes(map), 42, NOTES);
                ds_npy_map_close(map, true);
                cr_assert_eq(access(in("a.npy"), F_OK), single ? 0 : -1);
                ds_array none;
                cr_assert(ds_npy_read(in("a.npy.partial"), &none, &error), "a partial file was read");
                open_map("a.npy", !single, 7, "another file");
                open_map("a.npy", single, 8, "another file");
                map = open_map("a.npy", single, 7, NULL);
                cr_assert_eq(((unsigned char *)ds_npy_map_notes(map))[NOTES - 1], 42);
                open_map("a.npy", single, 7, "another process");
            }
            if (single)
                ((float *)ds_npy_map_numbers(map))[i] = (float)i / 8;
            else
                ((double *)ds_npy_map_numbers(map))[i] = (double)i / 8;
        }
        error = (ad_error){ 0 };
        cr_assert(!ds_npy_map_finish(map, &error), "%s", error.text);
        cr_assert_eq(access(in("a.npy.partial"), F_OK), -1);
        ds_array a;
        cr_assert(!ds_npy_read(in("a.npy"), &a, &error), "%s", error.text);
        cr_assert(a.rank == 2 && a.shape[0] == ROWS && a.shape[1] == COLUMNS);
        for (int i = 0; i < ROWS * COLUMNS; i++)
            cr_assert_eq(a.data[i], (double)i / 8);
        ds_array_free(&a);
    }
}

/* Killed at the very end: before the notes are cut off the file is taken up, after that it is told for what it is. */
Test(npy_map, ended_before_its_name)
{
    ad_error error = { 0 };
    ds_npy_map *map = open_map("e.npy", false, 7, NULL);
    ds_npy_map_close(map, true);
    shell("printf '\\223' | dd of=%s bs=1 conv=notrunc status=none", in("e.npy.partial"));
    open_map("e.npy", false, 8, "another file");
    map = open_map("e.npy", false, 7, NULL);
    memset(ds_npy_map_numbers(map), 0, sizeof(double) * ROWS * COLUMNS);
    cr_assert(!ds_npy_map_finish(map, &error), "%s", error.text);
    shell("mv %s %s", in("e.npy"), in("e.npy.partial"));
    open_map("e.npy", false, 7, "it is whole");
    ds_array a;
    cr_assert(!ds_npy_read(in("e.npy.partial"), &a, &error), "%s", error.text);
    ds_array_free(&a);
}

Test(npy_map, refused_and_given_up)
{
    ds_npy_map *map = open_map("b.npy", true, 1, NULL);
    ds_npy_map_close(map, false);
    cr_assert_eq(access(in("b.npy.partial"), F_OK), -1);
    open_map("none/b.npy", true, 1, "cannot write");
    map = open_map("d.npy", true, 1, NULL); /* killed before all is written that tells what it is */
    size_t size;
    ds_npy_map_close(map, true);
    char *bytes = slurp(in("d.npy.partial"), &size);
    memset(bytes, 0, size);
    put("d.npy.partial", bytes, size);
    ad_free(bytes);
    map = open_map("d.npy", true, 1, NULL);
    ds_npy_map_close(map, true);
    open_map("d.npy", true, 2, "another file");
    put_text("c.npy.partial", "of someone else");
    open_map("c.npy", true, 1, "another file");
    ds_npy_map_close(NULL, true);
}
