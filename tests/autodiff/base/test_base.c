/* Errors, memory, arenas and files. */
#include "autodiff/base/base.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors --------------------------------------------------------------------------------------------------- */
Test(base, first_error_stays)
{
    ad_error error = { { 0 } };
    cr_assert_eq(ad_fail(&error, "row %d of %s", 3, "a.csv"), -1);
    cr_assert_eq(ad_fail(&error, "later"), -1);
    cr_assert_str_eq(error.text, "row 3 of a.csv");
    cr_assert_eq(ad_fail(NULL, "lost"), -1);
}

Test(base, an_error_is_one_line)
{
    ad_error error = { { 0 } };
    ad_fail(&error, "%s: no such file", "two\nlines\r\t\x7f\x01.npy");
    cr_assert_str_eq(error.text, "two lines    .npy: no such file");
}

Test(base, long_error_is_cut)
{
    ad_error error = { { 0 } };
    char text[2 * sizeof error.text];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ad_fail(&error, "%s", text);
    cr_assert_eq(strlen(error.text), sizeof error.text - 1);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */
Test(base, memory_is_zeroed_aligned_and_counted)
{
    long before = ad_allocations();
    for (size_t n = 0; n < 200; n++) {
        unsigned char *memory = ad_alloc(n, 3, "bytes", NULL);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % 64, 0);
        for (size_t i = 0; i < 3 * n; i++)
            cr_assert_eq(memory[i], 0);
        memset(memory, 0xff, 3 * n);
        ad_free(memory);
    }
    cr_assert_eq(ad_allocations() - before, 200);
    ad_free(NULL);
}

Test(base, too_much_memory_is_an_error)
{
    const size_t counts[] = { SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 8, 1 }, sizes[] = { 2, 2, 8, SIZE_MAX - 3 };
    for (int i = 0; i < 4; i++) {
        ad_error error = { { 0 } };
        cr_assert_null(ad_alloc(counts[i], sizes[i], "the moon", &error));
        cr_assert_not_null(strstr(error.text, "out of memory"));
        cr_assert_not_null(strstr(error.text, "the moon"));
    }
}

Test(base, allocation_hook_strikes_the_kth_once)
{
    for (long k = 1; k <= 5; k++) {
        ad_hook_allocation(k);
        for (long i = 1; i <= 8; i++) {
            ad_error error = { { 0 } };
            void *memory = ad_alloc(4, 4, "a block", &error);
            cr_assert_eq(memory == NULL, i == k, "hook %ld, allocation %ld", k, i);
            cr_assert_eq(error.text[0] != 0, i == k);
            ad_free(memory);
        }
    }
    ad_hook_allocation(1);
    ad_hook_allocation(0);
    void *memory = ad_alloc(1, 1, "a byte", NULL);
    cr_assert_not_null(memory);
    ad_free(memory);
}

/* ---- arenas --------------------------------------------------------------------------------------------------- */
Test(base, arena_pieces_do_not_overlap)
{
    enum { N = 2000 };
    static unsigned char *piece[N];
    static size_t size[N];
    ad_arena *arena = ad_arena_new(NULL);
    cr_assert_not_null(arena);
    for (size_t i = 0; i < N; i++) {
        size[i] = i % 97 == 0 ? 50000 + i : i % 61; /* some larger than a block */
        piece[i] = ad_arena_alloc(arena, size[i], 1);
        cr_assert_not_null(piece[i]);
        cr_assert_eq((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k < size[i]; k++)
            cr_assert_eq(piece[i][k], 0);
        memset(piece[i], (int)(i % 255 + 1), size[i]);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k++)
            cr_assert_eq(piece[i][k], i % 255 + 1);
    ad_arena_free(arena);
    ad_arena_free(NULL);
}

Test(base, arena_text)
{
    ad_arena *arena = ad_arena_new(NULL);
    const char *name = ad_arena_text(arena, "block%d.%s", 12, "weight"), *empty = ad_arena_text(arena, "%s", "");
    char big[70000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = 0;
    cr_assert_str_eq(ad_arena_text(arena, "%s", big), big);
    cr_assert_str_eq(name, "block12.weight");
    cr_assert_str_eq(empty, "");
    ad_arena_free(arena);
}

Test(base, arena_gives_no_more_than_its_limit)
{
    ad_arena *arena = ad_arena_new(NULL);
    ad_arena_limit(arena, 4096);
    cr_assert_not_null(ad_arena_alloc(arena, 4000, 1));
    cr_assert_not(ad_arena_is_full(arena));
    cr_assert_null(ad_arena_alloc(arena, 97, 1));
    cr_assert_null(ad_arena_alloc(arena, SIZE_MAX / 8, 1));
    cr_assert(ad_arena_is_full(arena));
    cr_assert_not_null(ad_arena_alloc(arena, 96, 1));
    ad_arena_limit(arena, 0);
    cr_assert_not_null(ad_arena_alloc(arena, 1 << 20, 1));
    ad_arena_free(arena);
}

Test(base, arena_out_of_memory_returns_null_and_goes_on)
{
    ad_arena *arena = ad_arena_new(NULL);
    cr_assert_null(ad_arena_alloc(arena, SIZE_MAX, 2));
    cr_assert_null(ad_arena_alloc(arena, SIZE_MAX - 4, 1));
    ad_hook_allocation(1);
    cr_assert_null(ad_arena_text(arena, "%s", "no block yet"));
    int *number = ad_arena_alloc(arena, 1, sizeof *number);
    cr_assert_not_null(number);
    cr_assert_eq(*number, 0);
    ad_arena_free(arena);
    ad_hook_allocation(1);
    ad_error error = { { 0 } };
    cr_assert_null(ad_arena_new(&error));
    cr_assert_not_null(strstr(error.text, "an arena"));
}

/* ---- files ---------------------------------------------------------------------------------------------------- */
static char folder[] = "/tmp/limn-base-XXXXXX", path[64];

static void enter(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/data", folder);
}

static int entries(void)
{
    int n = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static void leave(void)
{
    unlink(path);
    cr_expect_eq(entries(), 0, "a file is left behind");
    rmdir(folder);
}

static void expect_content(const char *text)
{
    size_t bytes = 99;
    char *data = ad_file_read(path, 1000, &bytes, NULL);
    cr_assert_not_null(data);
    cr_assert_eq(bytes, strlen(text));
    cr_assert_str_eq(data, text);
    ad_free(data);
}

static int put(const char *text, ad_error *error)
{
    ad_file *file = ad_file_create(path, error);
    if (!file)
        return -1;
    for (; *text; text++)
        if (ad_file_write(file, text, 1, error) != 0) {
            ad_file_discard(file);
            return -1;
        }
    return ad_file_close(file, error);
}

Test(base, file_appears_when_it_is_whole, .init = enter, .fini = leave)
{
    cr_assert_eq(put("old", NULL), 0);
    ad_file *file = ad_file_create(path, NULL);
    cr_assert_not_null(file);
    cr_assert_eq(ad_file_write(file, "new", 3, NULL), 0);
    expect_content("old");
    cr_assert_eq(ad_file_close(file, NULL), 0);
    expect_content("new");
    cr_assert_eq(entries(), 1);
}

Test(base, discarded_file_leaves_the_old_one, .init = enter, .fini = leave)
{
    cr_assert_eq(put("old", NULL), 0);
    ad_file *file = ad_file_create(path, NULL);
    ad_file_write(file, "half", 4, NULL);
    ad_file_discard(file);
    ad_file_discard(NULL);
    expect_content("old");
    cr_assert_eq(entries(), 1);
}

/* Five writes and the closing one: each may fail, and none leaves a trace. */
Test(base, any_failing_write_leaves_the_old_file, .init = enter, .fini = leave)
{
    cr_assert_eq(put("old", NULL), 0);
    for (long k = 1; k <= 6; k++) {
        ad_error error = { { 0 } };
        ad_hook_write(k);
        cr_assert_eq(put("12345", &error), -1, "write %ld", k);
        cr_assert_not_null(strstr(error.text, path));
        cr_assert_not_null(strstr(error.text, "cannot write"));
        expect_content("old");
        cr_assert_eq(entries(), 1);
    }
    ad_hook_write(7);
    cr_assert_eq(put("12345", NULL), 0);
    ad_hook_write(0);
    expect_content("12345");
}

Test(base, read_hook_strikes_the_kth_once, .init = enter, .fini = leave)
{
    cr_assert_eq(put("content", NULL), 0);
    ad_hook_read(2);
    for (int i = 1; i <= 3; i++) {
        ad_error error = { { 0 } };
        size_t bytes = 0;
        char *data = ad_file_read(path, 100, &bytes, &error);
        cr_assert_eq(data == NULL, i == 2, "read %d", i);
        cr_assert_eq(strstr(error.text, "cannot read") != NULL, i == 2);
        cr_assert_eq(bytes, i == 2 ? 0 : strlen("content"));
        ad_free(data);
    }
}

Test(base, renaming_onto_a_folder_is_an_error, .init = enter, .fini = leave)
{
    cr_assert_eq(mkdir(path, 0700), 0);
    ad_error error = { { 0 } };
    cr_assert_eq(put("text", &error), -1);
    cr_assert_not_null(strstr(error.text, path));
    cr_assert_eq(entries(), 1);
    rmdir(path);
}

Test(base, absent_places_are_errors_with_the_path)
{
    ad_error error = { { 0 } };
    size_t bytes = 99;
    cr_assert_null(ad_file_read("/nowhere/at/all", 10, &bytes, &error));
    cr_assert_eq(bytes, 0);
    cr_assert_not_null(strstr(error.text, "/nowhere/at/all"));
    error.text[0] = 0;
    cr_assert_null(ad_file_create("/nowhere/at/all", &error));
    cr_assert_not_null(strstr(error.text, "/nowhere/at/all"));
}

Test(base, a_folder_cannot_be_read)
{
    ad_error error = { { 0 } };
    size_t bytes = 99;
    cr_assert_null(ad_file_read("/tmp", 1 << 20, &bytes, &error));
    cr_assert_eq(bytes, 0);
    cr_assert_not_null(strstr(error.text, "/tmp"));
}

Test(base, reading_keeps_to_the_limit, .init = enter, .fini = leave)
{
    size_t bytes = 0;
    ad_error error = { { 0 } };
    cr_assert_eq(put("12345", NULL), 0);
    char *data = ad_file_read(path, 5, &bytes, &error);
    cr_assert_not_null(data);
    cr_assert_eq(bytes, 5);
    cr_assert_eq(data[5], 0);
    ad_free(data);
    cr_assert_null(ad_file_read(path, 4, &bytes, &error));
    cr_assert_eq(bytes, 0);
    cr_assert_not_null(strstr(error.text, path));
    cr_assert_not_null(strstr(error.text, "at most 4"));
}

Test(base, reading_out_of_memory_is_an_error, .init = enter, .fini = leave)
{
    size_t bytes = 99;
    ad_error error = { { 0 } };
    cr_assert_eq(put("12345", NULL), 0);
    ad_hook_allocation(1);
    cr_assert_null(ad_file_read(path, 100, &bytes, &error));
    cr_assert_eq(bytes, 0);
    cr_assert_not_null(strstr(error.text, "out of memory"));
}

Test(base, an_empty_file_and_one_with_zeros_are_read_whole, .init = enter, .fini = leave)
{
    cr_assert_eq(put("", NULL), 0);
    expect_content("");
    ad_file *file = ad_file_create(path, NULL);
    cr_assert_eq(ad_file_write(file, "a\0b", 3, NULL), 0);
    cr_assert_eq(ad_file_close(file, NULL), 0);
    size_t bytes = 0;
    char *data = ad_file_read(path, 3, &bytes, NULL);
    cr_assert_eq(bytes, 3);
    cr_assert_arr_eq(data, "a\0b", 4);
    ad_free(data);
}

/* A file that may not grow beyond 10 bytes takes the second line in part, and gives it back. */
Test(base, a_stream_has_whole_lines_only, .init = enter, .fini = leave)
{
    ad_error error = { 0 };
    ad_file *file = ad_file_stream(path, false, &error);
    cr_assert(file && ad_file_write(file, "first\n", 6, &error) == 0, "%s", error.text);
    expect_content("first\n"); /* while it grows */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 10, RLIM_INFINITY }) == 0);
    cr_assert(ad_file_write(file, "second\n", 7, &error) != 0);
    cr_assert(strstr(error.text, "cannot write: File too large"), "%s", error.text);
    cr_assert(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }) == 0);
    error.text[0] = 0;
    cr_assert(ad_file_sync(file, &error) == 0 && ad_file_close(file, &error) == 0, "%s", error.text);
    file = ad_file_stream(path, true, &error);
    cr_assert(file && ad_file_write(file, "third\n", 6, &error) == 0, "%s", error.text);
    ad_file_discard(file); /* ends it, and removes nothing */
    expect_content("first\nthird\n");
    cr_assert(!ad_file_stream("/nowhere/at/all", true, &error) && strstr(error.text, "/nowhere/at/all: cannot write"));
}

Test(base, the_word_that_was_meant)
{
    static const char *const words[] = { "relu", "leaky", "tanh", "hard_tanh", "--width", "--widths", "e", NULL };
    static const char *const rows[][2] = {
        { "relu", "relu" },
        { "rleu", "relu" },
        { "RELU", "relu" },
        { "elu", "relu" },
        { "tnah", "tanh" },
        { "leeky", "leaky" },
        { "hardtanh", "hard_tanh" },
        { "--widht", "--width" },
        { "--width", "--width" },
        { "--widt", "--width" },
        { "--widthss", "--widths" },
        { "f", "e" },
        { "nothing", NULL },
        { "", "e" },
        { "ruel", NULL },
    };
    char longer[100];
    memset(longer, 'x', 99);
    longer[99] = 0;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const char *got = ad_closest(rows[k][0], words);
        cr_expect(rows[k][1] ? got && strcmp(got, rows[k][1]) == 0 : !got, "%s: %s", rows[k][0], got ? got : "(none)");
    }
    cr_expect_null(ad_closest(longer, words));
    cr_expect_null(ad_closest("relu", words + 7));
}
