/* Outputs destroy nothing: what stands at their name keeps its kind and its rights, nothing that a command reads is
 * overwritten, and what cannot be written is told before any work. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TOOL_SUITE(tool_outputs);

static const char kernel[] = "kernel mlp --inputs x.npy --no-check --set depth=1 --out ";

static outcome write_to(const char *name)
{
    return limn("%s%s", kernel, name);
}

static struct stat look(const char *file)
{
    struct stat found = { 0 };
    cr_assert(lstat(in(file), &found) == 0, "%s", file);
    return found;
}

static void same_bytes(const char *a, const char *b)
{
    shell("cmp %s/%s %s/%s", folder, a, folder, b);
}

Test(tool_outputs, links_pipes_and_rights_stay)
{
    put_inputs("x.npy");
    cr_assert(write_to("right.npy").status == 0);
    put_text("old.npy", "old");
    cr_assert(chmod(in("old.npy"), 0640) == 0 && symlink("old.npy", in("link.npy")) == 0);
    cr_assert(write_to("link.npy").status == 0);
    cr_expect(S_ISLNK(look("link.npy").st_mode));
    cr_expect_eq(look("old.npy").st_mode & 07777, 0640);
    same_bytes("old.npy", "right.npy");
    cr_assert(symlink("later.npy", in("dangling.npy")) == 0);
    outcome r = write_to("dangling.npy");
    cr_expect(r.status == 0 && S_ISLNK(look("dangling.npy").st_mode), "%s", r.err);
    same_bytes("later.npy", "right.npy");
    shell("mkdir %s/deep && cd %s/deep && ln -s ../second.npy first.npy && ln -s \"$PWD/made.npy\" ../second.npy",
          folder, folder);
    cr_assert(write_to("deep/first.npy").status == 0);
    cr_expect(S_ISLNK(look("deep/first.npy").st_mode) && S_ISLNK(look("second.npy").st_mode));
    same_bytes("deep/made.npy", "right.npy");
    cr_assert(symlink("nowhere/new.npy", in("lost.npy")) == 0 && symlink("turn.npy", in("round.npy")) == 0 &&
              symlink("round.npy", in("turn.npy")) == 0);
    r = write_to("lost.npy");
    cr_expect(r.status == 1 && strstr(r.err, "No such file or directory") && S_ISLNK(look("lost.npy").st_mode), "%s",
              r.err);
    r = write_to("round.npy");
    cr_expect(r.status == 1 && strstr(r.err, "levels of symbolic links") && S_ISLNK(look("round.npy").st_mode), "%s",
              r.err);

    shell("mkfifo %s/pipe.npy && (cat %s/pipe.npy >%s/read.npy &)", folder, folder, folder);
    cr_assert(write_to("pipe.npy").status == 0);
    cr_expect(S_ISFIFO(look("pipe.npy").st_mode));
    shell("for i in 1 2 3 4 5 6 7 8 9 10; do cmp -s %s/read.npy %s/right.npy && exit 0; sleep 0.3; done; exit 1",
          folder, folder);

    cr_assert(write_to("/dev/null").status == 0);
    struct stat device;
    cr_expect(stat("/dev/null", &device) == 0 && S_ISCHR(device.st_mode));
    r = write_to("/dev/full");
    cr_expect(r.status == 1 && strstr(r.err, "/dev/full: cannot write"), "%s", r.err);
}

/* A kernel that is filled tile by tile stands, too, where its link leads. */
Test(tool_outputs, links_of_tiles_stay)
{
    static const char tiles[] = "kernel mlp --inputs x.npy --no-check --dtype float --out ";
    put_inputs("x.npy");
    cr_assert(limn("%sright.npy", tiles).status == 0);
    put_text("old.npy", "old");
    cr_assert(chmod(in("old.npy"), 0640) == 0 && symlink("old.npy", in("link.npy")) == 0 &&
              symlink("later.npy", in("dangling.npy")) == 0);
    cr_assert(limn("%slink.npy", tiles).status == 0 && limn("%sdangling.npy", tiles).status == 0);
    cr_expect(S_ISLNK(look("link.npy").st_mode) && S_ISLNK(look("dangling.npy").st_mode));
    cr_expect_eq(look("old.npy").st_mode & 07777, 0640);
    same_bytes("old.npy", "right.npy");
    same_bytes("later.npy", "right.npy");
}

Test(tool_outputs, what_may_not_be_written_is_told_before_any_work)
{
    static const char *const lines[] = {
        "train " SMALL "--steps 100000000 --out %s",          "train " SMALL "--steps 100000000 --checkpoint %s",
        "train " SMALL "--steps 100000000 --drift %s",        "predict mlp --data digits --train 900 --out %s",
        "predict mlp --data digits --ridges 1e-3:1 --csv %s", "report mlp --data digits --seeds 1000 --out %s",
    };
    static const struct {
        const char *path, *told;
    } rows[] = { { "none/f", "none/f: cannot write" },
                 { "fixed", "fixed: cannot write: it is read-only" },
                 { "place", "place: cannot write: it is a folder" } };
    put_text("fixed", "kept");
    shell("chmod 444 %s/fixed && mkdir %s/place", folder, folder);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            char line[256];
            snprintf(line, sizeof line, lines[i], rows[k].path);
            fails(line, 1, rows[k].told);
        }
    fails("train " SMALL "--steps 100000000 --drift d.csv --drift-kernels none/k", 1, "cannot write");
    char *kept = slurp(in("fixed"), NULL);
    cr_expect_str_eq(kept, "kept");
    ad_free(kept);
}

Test(tool_outputs, no_input_and_no_other_output_is_overwritten)
{
    static const char *const lines[] = {
        "kernel mlp --inputs x.npy --out x.npy",
        "kernel mlp --inputs x.npy --out ./x.npy",
        "kernel mlp --inputs x.npy --out link.npy",
        "kernel mlp --inputs x.npy --out hard.npy",
        "kernel mlp --inputs x.npy --inputs2 z.npy --out z.npy",
        "kernel own.c --inputs x.npy --out own.c",
        "train own.c --data digits --steps 1 --checkpoint own.c",
        "train " SMALL "--steps 1 --out a.drift --drift a.drift",
        "train " SMALL "--steps 1 --out new --checkpoint ./new",
        "train " SMALL "--steps 1 --out new --checkpoint leads_to_new",
        "predict mlp --inputs x.npy --labels y.npy --inputs2 z.npy --out y.npy",
        "predict mlp --inputs x.npy --labels y.npy --inputs2 z.npy --out o.npy --covariance o.npy",
        "eval " SMALL "--weights x.npy --out x.npy",
    };
    put_inputs("x.npy");
    put_inputs("z.npy");
    put_inputs("y.npy");
    put_example("own.c");
    shell("cd %s && ln -s x.npy link.npy && ln -s new leads_to_new && ln x.npy hard.npy && touch a.drift && mkdir kept "
          "&& cp * kept 2>/dev/null; "
          "cd kept",
          folder);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        fails(lines[i], 2, "would overwrite");
    shell("cd %s && for f in x.npy y.npy z.npy own.c; do cmp $f kept/$f || exit 1; done", folder);
    works("train " SMALL "--steps 1 --out w.safetensors --checkpoint c.safetensors");
    works("train " SMALL "--steps 2 --resume c.safetensors --checkpoint c.safetensors --out w.safetensors");
    works("kernel mlp --inputs x.npy --no-check --out /dev/null");
}

/* A file that is opened would else get the number of a stream that was closed, and its text. */
Test(tool_outputs, closed_streams)
{
    works("train " SMALL "--steps 3 --drift right.csv --no-check");
    shell("cd %s && %s train " SMALL "--steps 3 --drift d.csv --no-check 2>&- >out", folder, LIMN_TOOL);
    same_bytes("d.csv", "right.csv");
    shell("cd %s && %s train " SMALL "--steps 3 --drift e.csv --no-check <&- 2>&- >out", folder, LIMN_TOOL);
    same_bytes("e.csv", "right.csv");
    shell("cd %s && ! %s train " SMALL "--steps 3 --drift f.csv --no-check >&- 2>.err", folder, LIMN_TOOL);
    same_bytes("f.csv", "right.csv");
    char *told = slurp(in(".err"), NULL);
    cr_expect(strstr(told, "cannot write to standard output"), "%s", told);
    ad_free(told);
}
