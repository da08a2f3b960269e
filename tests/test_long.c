/* Long work, as the tool does it: training that is killed at random moments, and training that is interrupted.
 *
 *     LIMN_KILLS=200 build/tests/test_long --filter 'long/kill*'     kills 200 times in place of 40, and tells how */
#include "datasets/datasets.h"
#include "nn/nn.h"
#include "nn/safetensors.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-long-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL && chdir(folder) == 0);
}

static void leave(void)
{
    char line[100];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    cr_assert(system(line) == 0);
}

TestSuite(long, .init = enter, .fini = leave, .timeout = 600);

/* Starts the tool in the folder; the words of the line are its arguments. */
static pid_t start(const char *format, ...)
{
    char line[1024], *words[64] = { (char *)LIMN_TOOL };
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int n = 1;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        words[n++] = word;
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        int out = open(".out", O_WRONLY | O_CREAT | O_TRUNC, 0600),
            err = open(".err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        signal(SIGINT, SIG_DFL);
        if (dup2(out, 1) < 0 || dup2(err, 2) < 0)
            _exit(99);
        execv(LIMN_TOOL, words);
        _exit(99);
    }
    return child;
}

static void pause_for(double seconds)
{
    usleep((useconds_t)(1e6 * seconds));
}

static int wait_for(pid_t child)
{
    int status;
    cr_assert(waitpid(child, &status, 0) == child);
    return status;
}

static void succeeds(pid_t child)
{
    int status = wait_for(child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

static char *slurp(const char *path, size_t *size)
{
    size_t bytes;
    ad_error error = { 0 };
    char *text = ad_file_read(path, SIZE_MAX / 4, size ? size : &bytes, &error);
    cr_assert(text, "%s", error.text);
    return text;
}

static void same_files(const char *a, const char *b)
{
    size_t sizes[2];
    char *one = slurp(a, &sizes[0]), *two = slurp(b, &sizes[1]);
    cr_assert(sizes[0] == sizes[1] && memcmp(one, two, sizes[0]) == 0, "%s and %s differ", a, b);
    ad_free(one);
    ad_free(two);
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Steps done, from a checkpoint. */
static long step_of(const char *checkpoint)
{
    ad_error error = { 0 };
    nn_tensors *file = nn_tensors_read(checkpoint, &error);
    cr_assert(file, "%s", error.text);
    const nn_tensor *counts = nn_tensors_find(file, "fit.counts");
    uint64_t step;
    cr_assert(counts != NULL);
    memcpy(&step, counts->data, sizeof step);
    nn_tensors_free(file);
    return (long)step;
}

/* Every kernel is whole. Removes what killed writes left, and counts it. */
static int look_around(void)
{
    int left = 0;
    DIR *listing = opendir(".");
    cr_assert(listing != NULL);
    for (struct dirent *entry; (entry = readdir(listing));) {
        size_t length = strlen(entry->d_name);
        if (strstr(entry->d_name, ".tmp")) {
            left++;
            cr_assert(unlink(entry->d_name) == 0);
        } else if (length > 4 && strcmp(entry->d_name + length - 4, ".npy") == 0) {
            ds_array a;
            ad_error error = { 0 };
            cr_assert(ds_npy_read(entry->d_name, &a, &error) == 0, "%s", error.text);
            cr_assert(a.rank == 2 && a.shape[0] == 8);
            ds_array_free(&a);
        }
    }
    closedir(listing);
    return left;
}

#define SMALL "train mlp --data digits --width 16 --set depth=1 --batch 16 "
#define LONG SMALL "--steps 2000 --probes 8 "

/* A life of the process ends after a time between 0 and that of the whole run, wherever it is; the next one goes on from
 * its checkpoint, or from the start if there is none. What comes out is what an unbroken run leaves, bit for bit. */
Test(long, killed_at_any_moment)
{
    const char *asked = getenv("LIMN_KILLS");
    long wanted = asked ? strtol(asked, NULL, 10) : 40, kills = 0, resumed = 0, whole = 0, left = 0, moved = 0;
    double began = ad_seconds(), u;
    succeeds(start(LONG "--drift whole.csv --drift-kernels w --checkpoint whole.ck --out whole.st"));
    double life = ad_seconds() - began;
    while (kills < wanted || whole == 0) {
        bool again = there("ck");
        long before = again ? step_of("ck") : 0;
        pid_t child =
            start(LONG "--drift d.csv --drift-kernels k --checkpoint ck --out st%s", again ? " --resume ck" : "");
        int status = 0;
        if (kills < wanted) {
            ad_uniform(7, 0, (uint64_t)(kills + whole), 1, &u);
            pause_for(u * life);
            kill(child, SIGKILL);
        }
        status = wait_for(child);
        left += look_around();
        resumed += again;
        if (WIFSIGNALED(status)) {
            kills++;
            long now = there("ck") ? step_of("ck") : 0;
            cr_assert(now >= before && now % 100 == 0, "from %ld to %ld", before, now);
            moved += now > before;
            continue;
        }
        char *err = slurp(".err", NULL);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "after %ld kills: %x, %s", kills, status, err);
        ad_free(err);
        whole++;
        same_files("whole.st", "st");
        same_files("whole.ck", "ck");
        same_files("whole.csv", "d.csv");
        same_files("w00001000.npy", "k00001000.npy");
        cr_assert(remove("ck") == 0 && remove("st") == 0 && remove("d.csv") == 0);
    }
    if (asked)
        fprintf(stderr,
                "%ld kills; %ld starts from a checkpoint, %ld killed lives moved it; %ld runs ended, all as the "
                "unbroken one; %ld temporary files were left; %.0f s\n",
                kills, resumed, moved, whole, left, ad_seconds() - began);
}

/* Until the file is there and not empty, for a minute at most. */
static void await(const char *path)
{
    struct stat s;
    for (int turn = 0; turn < 6000 && !(stat(path, &s) == 0 && s.st_size > 0); turn++)
        pause_for(0.01);
    cr_assert(there(path), "%s", path);
}

/* Until the process catches SIGINT, for a minute at most. */
static void await_handler(pid_t child)
{
    char path[64];
    unsigned long caught = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)child);
    for (int turn = 0; turn < 6000 && !(caught >> (SIGINT - 1) & 1); turn++) {
        char line[256];
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file))
            sscanf(line, "SigCgt: %lx", &caught);
        if (file)
            fclose(file);
        pause_for(0.01);
    }
    cr_assert(caught >> (SIGINT - 1) & 1);
}

Test(long, interrupted_after_a_step)
{
    static const int signals[] = { SIGINT, SIGTERM };
    for (int k = 0; k < 2; k++) {
        pid_t child = start(SMALL "--steps 100000000 --drift d.csv --drift-every 10 --probes 8 --checkpoint ck");
        await("ck");
        kill(child, signals[k]);
        int status = wait_for(child);
        char *out = slurp(".out", NULL), *err = slurp(".err", NULL);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 128 + signals[k], "%x: %s", status, err);
        long step = step_of("ck");
        char told[100];
        snprintf(told, sizeof told, "limn: interrupted after step %ld of 100000000; go on with --resume ck\n", step);
        cr_assert(strstr(err, told) && strchr(strstr(err, told), '\n')[1] == 0, "%s", err);
        cr_assert_str_empty(out);
        ad_free(out);
        ad_free(err);
        /* it goes on as if it had not been interrupted */
        succeeds(start(SMALL "--steps %ld --drift d.csv --drift-every 10 --probes 8 --resume ck --out st", step + 30));
        succeeds(start(SMALL "--steps %ld --drift whole.csv --drift-every 10 --probes 8 --out whole", step + 30));
        same_files("st", "whole");
        same_files("d.csv", "whole.csv");
        cr_assert(remove("ck") == 0 && remove("d.csv") == 0);
    }
}

/* One step over all 8,000 rows at this width takes seconds, so that both signals come in the first one. */
Test(long, the_second_interrupt_kills)
{
    pid_t child = start("train mlp --width 2048 --set depth=3 --batch 0 --steps 2 --probes 2 --drift d.csv");
    int status;
    await("d.csv");
    pause_for(0.02);
    kill(child, SIGINT);
    pause_for(0.1);
    cr_assert_eq(waitpid(child, &status, WNOHANG), 0);
    kill(child, SIGINT);
    status = wait_for(child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT, "%x", status);
}

/* A shell's background job ignores Ctrl-C, and goes on doing so. */
Test(long, an_ignored_signal_stays_ignored)
{
    char line[1024];
    snprintf(line, sizeof line,
             "trap '' INT; " LIMN_TOOL " " SMALL
             "--steps 1500 --drift d.csv --out st --probes 2 >.out 2>.err & child=$!; "
             "while ! test -s d.csv; do sleep 0.01; done; kill -INT $child; wait $child");
    cr_assert(system(line) == 0);
    cr_assert(there("st"));
}

/* With several seeds no other one is begun. */
Test(long, an_interrupt_ends_all_seeds)
{
    pid_t child = start("train mlp --data digits --width 64 --seeds 3 --steps 100000000");
    await_handler(child);
    kill(child, SIGINT);
    int status = wait_for(child);
    char *err = slurp(".err", NULL);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 130, "%x: %s", status, err);
    cr_assert(strstr(err, "there is no --checkpoint to go on from"), "%s", err);
    ad_free(err);
}
