/* Long work, as the tool does it: training that is killed at random moments, training that is interrupted, and the
 * drift that it measures on its way.
 *
 *     LIMN_KILLS=200 build/tests/test_long --filter 'long/kill*'     kills 200 times in place of 40, and tells how */
#include "datasets/datasets.h"
#include "nn/safetensors/safetensors.h"
#include "nn/nn.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
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

/* A life of the process ends after a time between 0 and that of the whole run, wherever it is; the next one goes on
 * from its checkpoint, or from the start if there is none. What comes out is what an unbroken run leaves, bit for
 * bit. */
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
    pid_t child = start("train mlp --width 1024 --set depth=3 --batch 0 --steps 2 --probes 2 --drift d.csv");
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

/* ---- drift, with the tool ---- */
static double *numbers(cJSON *series, const char *name, int count)
{
    static double values[8][32];
    static int next;
    double *out = values[next++ % 8];
    cJSON *list = cJSON_GetObjectItem(series, name);
    cr_assert_eq(cJSON_GetArraySize(list), count, "%s", name);
    for (int k = 0; k < count; k++) {
        cJSON *item = cJSON_GetArrayItem(list, k);
        out[k] = cJSON_IsNull(item) ? NAN : cJSON_GetNumberValue(item);
    }
    return out;
}

static double distance(const char *a, const char *b)
{
    ds_array one, two;
    ad_error error = { 0 };
    cr_assert(ds_npy_read(a, &one, &error) == 0 && ds_npy_read(b, &two, &error) == 0, "%s", error.text);
    cr_assert_eq(one.shape[0], two.shape[0]);
    double apart = nn_distance(one.data, two.data, one.shape[0]);
    ds_array_free(&one);
    ds_array_free(&two);
    return apart;
}

/* The series is the kernels' own, the limit is that of limn kernel, and after a resumption the series is whole. */
static void check_drift(const char *net)
{
    succeeds(start("kernel %s --data digits --probes 8 --out limit.npy", net));
    succeeds(start(
        "train %s --data digits --width 16 --steps 10 --probes 8 --drift d.csv --drift-every 5 --checkpoint ck", net));
    succeeds(start("train %s --data digits --width 16 --steps 20 --probes 8 --drift d.csv --drift-every 5 --resume ck "
                   "--drift-kernels k --json",
                   net));
    succeeds(start("train %s --data digits --width 16 --steps 20 --probes 8 --drift e.csv --drift-every 5 "
                   "--drift-limit limit.npy --drift-kernels k",
                   net));
    same_files("d.csv", "e.csv");
    succeeds(
        start("train %s --data digits --width 16 --steps 20 --probes 8 --drift d.csv --drift-every 5 --json", net));
    char *out = slurp(".out", NULL);
    cJSON *root = cJSON_Parse(out), *run = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "runs"), 0);
    cJSON *drift = cJSON_GetObjectItem(run, "drift"), *series = cJSON_GetObjectItem(drift, "series");
    double *steps = numbers(series, "step", 5), *moved = numbers(series, "from_start", 5);
    double *limit = numbers(series, "from_limit", 5), *batch = numbers(series, "batch_loss", 5);
    numbers(series, "eigenvalue5", 5);
    cr_assert(isnan(batch[0]) && batch[1] > 0);
    for (int k = 0; k < 5; k++) {
        char path[32];
        snprintf(path, sizeof path, "k%08d.npy", 5 * k);
        cr_assert_float_eq(steps[k], 5 * k, 0);
        cr_assert_float_eq(moved[k], distance(path, "k00000000.npy"), 1e-9);
        cr_assert_float_eq(limit[k], distance(path, "limit.npy"), 1e-9);
    }
    double share = cJSON_GetNumberValue(cJSON_GetObjectItem(drift, "share"));
    cr_assert(share > 0 && share < 1);
    cJSON_Delete(root);
    ad_free(out);
}

Test(long, the_tool_measures_drift)
{
    check_drift("mlp");
    check_drift("rnn");
    FILE *own = fopen("own.c", "w");
    cr_assert(own &&
              fputs("#include \"limn.h\"\n"
                    "ad_var limn_network(nn_net *net, ad_var x)\n"
                    "{\n"
                    "    ad_axis n = nn_width(net, \"n\");\n"
                    "    ad_var h = nn_dense(net, \"embed\", x, n);\n"
                    "    return nn_readout(net, \"readout\", ad_tanh(ad_add(h, nn_dense(net, \"block\", ad_tanh(h), "
                    "n))));\n"
                    "}\n",
                    own) > 0 &&
              fclose(own) == 0);
    check_drift("own.c");
}

static void fails(int status, const char *told, const char *arguments)
{
    int ended = wait_for(start("%s", arguments));
    char *err = slurp(".err", NULL);
    cr_assert(WIFEXITED(ended) && WEXITSTATUS(ended) == status, "%s: %x", arguments, ended);
    cr_assert(strstr(err, told), "%s: no \"%s\" in: %s", arguments, told, err);
    ad_free(err);
}

Test(long, wrong_usage_of_drift)
{
    fails(2, "--drift F.csv is missing", "train mlp --probes 9");
    fails(2, "--drift F.csv is missing", "train mlp --drift-kernels k");
    fails(2, "no --seeds", "train mlp --drift d.csv --seeds 2");
    fails(2, "--drift-every takes log, epoch or a whole number from 1 to 1000000000, not never",
          "train mlp --drift d.csv --drift-every never");
    fails(2, "--drift-every takes log, epoch or a whole number from 1 to 1000000000, not 0",
          "train mlp --drift d.csv --drift-every 0");
    fails(2, "--drift-share is below 1", "train mlp --drift d.csv --drift-share 1");
    fails(1, "--probes 2000: there are 1437 inputs", "train mlp --data digits --drift d.csv --probes 2000");
    fails(1, "cannot write", "train mlp --data digits --drift /nowhere/d.csv");
    fails(1, "cannot write", "train mlp --data digits --drift d.csv --drift-kernels /nowhere/k");
    fails(1, "cannot read", "train mlp --data digits --drift d.csv --drift-limit nowhere.npy");
    succeeds(start("kernel mlp --data digits --probes 5 --out five.npy"));
    fails(1, "(5, 5), the kernel of the probes is (6, 6)",
          "train mlp --data digits --drift d.csv --drift-limit five.npy --probes 6");
    succeeds(start(SMALL "--steps 5 --checkpoint ck"));
    remove("d.csv");
    fails(1, "d.csv: cannot read", SMALL "--steps 9 --resume ck --drift d.csv");
}
