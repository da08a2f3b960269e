/* test_tool_data.c: the tool on files of data: what it tells of them, and one line for what it refuses. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char folder[64], said[8192];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-tool-data-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    char path[96];
    snprintf(path, sizeof path, "%s/a.csv", folder);
    FILE *stream = fopen(path, "w");
    cr_assert(stream && fputs("kind,u,v\n", stream) >= 0);
    for (int r = 0; r < 40; r++) /* apart by their sign */
        fprintf(stream, "%s,%g,%g\n", r % 2 ? "plus" : "minus", (r % 2 ? 1 : -1) * (1 + 0.1 * r), 0.5);
    cr_assert(fclose(stream) == 0);
}

static void leave(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert(system(command) == 0);
}

TestSuite(tool_data, .init = enter, .fini = leave);

/* Runs limn in the folder; its exit status, and what it says in `said`. */
static int limn(const char *arguments)
{
    char command[4096];
    snprintf(command, sizeof command, "cd %s && %s %s 2>&1", folder, LIMN_TOOL, arguments);
    FILE *stream = popen(command, "r");
    cr_assert(stream != NULL);
    said[fread(said, 1, sizeof said - 1, stream)] = 0;
    int status = pclose(stream);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(tool_data, what_it_tells)
{
#define SMALL " --width 16 --set depth=1 --epochs 1 "
    cr_assert(limn("train mlp --data a.csv --label-column kind --test-fraction 0.25" SMALL) == 0, "%s", said);
    cr_assert(strstr(said, "a.csv: 40 rows of 2 numbers, 30 to train; 2 classes: minus, plus"), "%s", said);
    cr_assert(strstr(said, "test   10 rows"), "%s", said);
    cr_assert(limn("train mlp --data a.csv --label-column kind --test-fraction 0" SMALL) == 0, "%s", said);
    cr_assert(strstr(said, "a.csv: 40 rows of 2 numbers, 40 to train;") && !strstr(said, "test "), "%s", said);
    cr_assert(limn("train mlp --data a.csv --label-column first --json" SMALL) == 0, "%s", said);
    cr_assert(strstr(said, "\"data\":{\"name\":\"a.csv\",\"rows\":40,\"train\":32,\"features\":2,"
                           "\"classes\":[\"minus\",\"plus\"]}"),
              "%s", said);
    cr_assert(limn("train mlp --data digits --resize 4x3 --grey --out w.safetensors" SMALL) == 0, "%s", said);
    cr_assert(
        limn("kernel mlp --data digits --resize 4x3 --probes 2 --width 16 --set depth=1 --weights w.safetensors") == 0,
        "%s", said);
    cr_assert(limn("kernel mlp --data a.csv --label-column 1 --probes 2") == 0, "%s", said);
}

/* How what a file leaves open was taken is a line of its own, and a member of the JSON. */
Test(tool_data, notes)
{
    char command[256];
    snprintf(command, sizeof command,
             "cd %s && awk 'BEGIN { print \",u,y\"; for (r = 0; r < 40; r++) print r \",\" r %% 2 + "
             "r / 100 \",\" r %% 2 }' >b.csv",
             folder);
    cr_assert(system(command) == 0);
    cr_assert(limn("train mlp --data b.csv" SMALL) == 0, "%s", said);
    cr_assert(strstr(said, "b.csv: 40 rows of 1 numbers, 32 to train; 2 classes\n"
                           "b.csv: column 1 is an index, left out\n"),
              "%s", said);
    cr_assert(limn("train mlp --data b.csv --json" SMALL) == 0, "%s", said);
    cr_assert(strstr(said, "\"note\":\"column 1 is an index, left out\""), "%s", said);
}

Test(tool_data, what_it_refuses)
{
    static const struct {
        const char *arguments;
        int status;
        const char *words;
    } cases[] = {
        { "train rnn --data a.csv --label-column 1", 1, "a.csv: rnn reads sequences" },
        { "train mlp --data a.csv", 1, "line 2, column 1 (kind): 'minus' is no finite number" },
        { "train mlp --data none.csv", 1, "'none.csv'" },
        { "train mlp --data a.csv --resize 4", 2, "--resize takes WxH" },
        { "train mlp --data a.csv --resize 4x0", 2, "--resize takes WxH" },
        { "train mlp --data a.csv --resize 4x4x", 2, "--resize takes WxH" },
        { "train mlp --data a.csv --test-fraction 1", 2, "--test-fraction is below 1" },
        { "train mlp --data a.csv --label-column 1 --transpose", 1, "only pictures of IDX files are transposed" },
        { "train mlp --inputs x.npy --transpose", 2, "--inputs are taken as they are" },
        { "train mlp --inputs x.npy --grey", 2, "--inputs are taken as they are" },
        { "train mlp --labels y.npy", 2, "--labels needs --inputs or --data" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(limn(cases[i].arguments), cases[i].status, "%s: %s", cases[i].arguments, said);
        cr_assert(strstr(said, cases[i].words), "%s: %s", cases[i].arguments, said);
        cr_assert(strchr(said, '\n') == said + strlen(said) - 1, "%s", said);
    }
}
