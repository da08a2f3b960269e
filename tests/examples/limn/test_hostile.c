/* Command lines that nobody would type on purpose, from the option table by seeds: valid options with values of the
 * wrong kind, huge and tiny numbers, missing arguments, options given twice or together with what excludes them, files
 * that are empty, of another kind, folders, devices, links to themselves, and names that a shell or gnuplot would read.
 * Each ends with 0, 1 or 2, with one line where it is not 0, in 10 seconds of the processor and 4 GB, and leaves no
 * temporary file; one that takes longer has told of it.
 *
 * The suite runs some hundreds; LIMN_HOSTILE=FROM:COUNT build/tests/test_hostile as many as one likes. */
#include "examples/limn/base/options.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(hostile, .init = tool_enter, .fini = tool_leave);

enum { SUITE = 300, SECONDS = 10, MOST_WORDS = 64 };

/* ---- the option table ---- */
#define MAX_WIDTH 1e7
#define MAX_WHOLE 1e9
#define MAX_REAL 1e308
static const struct {
    const char *name;
    kind kind;
    double minimum, maximum;
    const char *words[8];
} table[] = {
#define OPTION(ID, NAME, ARGUMENT, KIND, FIELD, MINIMUM, MAXIMUM, HELP) { NAME, KIND, MINIMUM, MAXIMUM, { NULL } },
#define CHOICE(ID, NAME, FIELD, HELP, ...) { NAME, WORD, 0, 0, { __VA_ARGS__ } },
#include "examples/limn/base/options.def"
};

/* ---- draws ---- */
static uint64_t state;

static size_t draw(size_t below)
{
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % below);
}

#define ONE_OF(list) list[draw(sizeof list / sizeof *list)]

/* ---- values ---- */
static const char *const paths[] = {
    "x.npy",   "y.npy",      "t.npy",       "nan.npy",        "inf.npy",     "huge.npy",   "empty.npy",
    "place",   "place/",     "missing.npy", "loop.npy",       "text.txt",    "w.st",       "own.c",
    "p.txt",   "a b.npy",    "-dash.npy",   "@at.npy",        "$(touch no)", "`touch no`", "'.npy",
    "\".npy",  "two\nlines", "/dev/null",   "/dev/full",      "/dev/zero",   "/",          ".",
    "..",      "",           "x.npy/",      "x.npz",          "x.npz:a",     "x.npz:",     "t.csv",
    "new.npy", "new.st",     "none/n.npy",  "mnist",          "digits",      "\xff\xfe.c", "bad.c",
    "dies.c",  "i.png",      "x.npy\n",     "/proc/self/mem", "cut.st",      "a.arff"
};
static const char *const numbers[] = { "0",
                                       "-1",
                                       "1",
                                       "2",
                                       "3",
                                       "7",
                                       "1000000000",
                                       "1000000001",
                                       "1e9",
                                       "nan",
                                       "inf",
                                       "-inf",
                                       "1e308",
                                       "1e999",
                                       "1e-320",
                                       "0x10",
                                       "1.5",
                                       "1e400",
                                       "99999999999999999999",
                                       " 1",
                                       "1 ",
                                       "1,2",
                                       "+3",
                                       "1e",
                                       "",
                                       "--1",
                                       "٣",
                                       "1;2",
                                       "16",
                                       "0.5",
                                       "1e-3",
                                       "2147483648",
                                       "10000000" };
static const char *const settings[] = { "depth=0",
                                        "depth=-1",
                                        "depth=3",
                                        "depth=1e9",
                                        "depth=1000000",
                                        "depth=300",
                                        "phi=none",
                                        "phi=",
                                        "phi=exp",
                                        "phi=step",
                                        "phi=relu",
                                        "sigma_w=1e200",
                                        "sigma_w=nan",
                                        "sigma_w=0",
                                        "sigma_w=1e-200",
                                        "sigma_b=0.1",
                                        "sigma_b=none",
                                        "sigma_b=-1",
                                        "outputs=100000",
                                        "outputs=0",
                                        "outputs=3",
                                        "=",
                                        "a=b",
                                        "phi",
                                        "cell=gru",
                                        "cell=lstm",
                                        "filter=0",
                                        "filter=3",
                                        "pool=9",
                                        "depth=\n",
                                        "\n=1",
                                        "norm=layer",
                                        "outputs=2147483648",
                                        "phi=square",
                                        "phi=sin" };
static const char *const words[] = { "",
                                     "-",
                                     "--",
                                     "=",
                                     "relu",
                                     "h1",
                                     "readout",
                                     "*",
                                     "[",
                                     "%s%n",
                                     "x*y",
                                     "((((((",
                                     "h1.*",
                                     "dense1.weight",
                                     "x/0",
                                     "power(x,",
                                     "NTK",
                                     "auto",
                                     "inf",
                                     "last",
                                     "none",
                                     "1e-3:1",
                                     "1:0",
                                     "0:1:3",
                                     "1e-6:1e2:100000",
                                     "0,1",
                                     "1,0",
                                     "8x8",
                                     "0x0",
                                     "99999x99999",
                                     "input=1,2,3",
                                     "*=-,-,-",
                                     "readout=nan,0,0",
                                     "a=b",
                                     "sigma_w=1,2",
                                     "depth=1,1e9",
                                     "8,16",
                                     "16,8",
                                     "8,8",
                                     "1,2",
                                     "2,10000000",
                                     "epoch",
                                     "log",
                                     "x, y",
                                     "e",
                                     "√x" };

static const char *value_of(size_t which)
{
    static char text[6000];
    switch (draw(20)) { /* of its kind or of any */
    case 0:
        return ONE_OF(paths);
    case 1:
        return ONE_OF(numbers);
    case 2:
        return ONE_OF(words);
    case 3:
        if (draw(8))
            break;
        memset(text, "a1/=,"[draw(5)], sizeof text - 1);
        text[draw(sizeof text)] = 0;
        return text;
    default:
        break;
    }
    switch (table[which].kind) {
    case WORD:
        for (size_t k = draw(8);; k = draw(8))
            if (table[which].words[k])
                return table[which].words[k];
    case WHOLE:
    case REAL:
    case AT_WIDTH:
        if (draw(2))
            return ONE_OF(numbers);
        ad_snprintf(text, sizeof text, "%.17g",
                    draw(2) ? table[which].minimum + (double)draw(4) - 1 : table[which].maximum * (draw(3) ? 1 : 2));
        return text;
    case SETTING:
        return ONE_OF(settings);
    case TEXT:
        return ONE_OF(paths);
    default:
        return draw(3) ? ONE_OF(words) : ONE_OF(numbers);
    }
}

/* ---- command lines ---- */
/* What works, at small sizes, and what is put into it. */
static const char *const bases[] = {
    "kernel mlp --inputs x.npy",
    "kernel mlp --inputs x.npy --out k.npy --no-check",
    "kernel own.c --inputs x.npy",
    "kernel batchnorm --inputs x.npy --samples 64 --runs 2",
    "kernel rnn --data digits --probes 3",
    "kernel mlp --data digits --probes 3 --width 16 --seeds 2",
    "train mlp --data digits --width 8 --steps 2 --out new.st",
    "train batchnorm --inputs x.npy --labels t.npy --width 8 --steps 2",
    "eval mlp --data digits --weights w.st",
    "predict mlp --inputs x.npy --labels y.npy --inputs2 x.npy",
    "predict mlp --data digits --train 20 --test 5",
    "report mlp --data digits --widths 8,16 --seeds 2 --steps 1 --probes 3 --out page.html",
    "program mlp",
    "program own.c --format latex",
    "limit p.txt",
    "limit p.txt --width 8 --seeds 2",
    "spectrum mlp --inputs x.npy",
    "spectrum mlp --critical",
    "spectrum mlp --degrees 3",
    "regime mlp",
    "import w.st mlp --out new.st",
    "export w.st mlp --out new.st",
    "help kernel",
    "",
};

typedef struct {
    int n;
    char *words[MOST_WORDS + 1];
} command_line;

static void add(command_line *line, const char *word)
{
    if (line->n < MOST_WORDS && !line->words[line->n])
        line->words[line->n++] = strdup(word);
}

static void drop(command_line *line, int k)
{
    free(line->words[k]);
    for (; k < line->n; k++)
        line->words[k] = line->words[k + 1];
    line->n--;
}

/* An option, mostly one that the command takes: a bit for each, from its help. */
static size_t an_option(const command_line *line)
{
    static struct {
        char name[16];
        bool takes[OPTIONS];
    } known[16];
    const char *command = line->n ? line->words[0] : "";
    if (draw(8) == 0 || !*command || strlen(command) >= sizeof known->name ||
        strspn(command, "abcdefghijklmnopqrstuvwxyz") < strlen(command))
        return draw(OPTIONS);
    int at = 0;
    while (at < 15 && known[at].name[0] && strcmp(known[at].name, command) != 0)
        at++;
    if (strcmp(known[at].name, command) != 0) {
        snprintf(known[at].name, sizeof known[at].name, "%s", command);
        outcome help = limn("help %s", command);
        for (size_t k = 0; k < OPTIONS; k++) {
            char name[40];
            snprintf(name, sizeof name, " %s ", table[k].name);
            known[at].takes[k] = help.status != 0 || strstr(help.out, name);
        }
    }
    for (int tries = 0; tries < 1000; tries++) {
        size_t which = draw(OPTIONS);
        if (known[at].takes[which])
            return which;
    }
    return draw(OPTIONS);
}

static void change(command_line *line)
{
    size_t which = an_option(line);
    int at = line->n ? (int)draw((size_t)line->n) : 0;
    const char *value = value_of(which);
    switch (draw(16)) {
    case 0: /* a word is gone */
        if (line->n)
            drop(line, at);
        break;
    case 1: /* a word is another */
        if (line->n) {
            free(line->words[at]);
            line->words[at] = strdup(value);
        }
        break;
    case 2: /* the value of an option that is there */
        for (int k = 0; k + 1 < line->n; k++)
            for (size_t o = 0; o < OPTIONS; o++)
                if (strcmp(line->words[k], table[o].name) == 0 && draw(2)) {
                    value = value_of(o);
                    free(line->words[k + 1]);
                    line->words[k + 1] = strdup(value);
                    return;
                }
        break;
    case 3: /* no value, or one that is none of a flag's */
        add(line, table[which].name);
        break;
    case 4: { /* in one word */
        char word[7000];
        snprintf(word, sizeof word, "%s=%s", table[which].name, value);
        add(line, word);
        break;
    }
    default:
        add(line, table[which].name);
        if (table[which].kind != FLAG)
            add(line, value);
    }
}

static command_line make_line(uint64_t seed)
{
    command_line line = { 0 };
    char base[256];
    state = seed * 0x2545f4914f6cdd1du + 1;
    snprintf(base, sizeof base, "%s", ONE_OF(bases));
    add(&line, LIMN_TOOL);
    for (char *rest = base, *word; (word = strsep(&rest, " "));)
        if (*word)
            add(&line, word);
    free(line.words[0]); /* changes are of what stands behind it */
    for (int k = 0; k < line.n; k++)
        line.words[k] = line.words[k + 1];
    line.n--;
    for (size_t n = 1 + draw(3); n; n--)
        change(&line);
    return line;
}

/* ---- a run ---- */
static void put_files(void)
{
    double x[12] = { 1, 0, 2, 0.5, 0.25, 1, 0, -1, 1, 1, -0.5, 0 }, y[4] = { 0.5, -1, 2, 0 }, t[4] = { 0, 1, 1, 0 };
    const double bad[3] = { (double)NAN, (double)INFINITY, 1e300 };
    static const char *const names[3] = { "nan.npy", "inf.npy", "huge.npy" };
    put_array("x.npy", x, 4, 3);
    put_array("a b.npy", x, 4, 3);
    put_array("-dash.npy", x, 4, 3);
    put_array("@at.npy", x, 4, 3);
    put_array("y.npy", y, 4, 1);
    put_array("t.npy", t, 4, 0);
    for (int k = 0; k < 3; k++) {
        x[5] = bad[k];
        put_array(names[k], x, 4, 3);
    }
    put_text("empty.npy", "");
    put_text("text.txt", "no numbers here\n");
    put_text("t.csv", "a,b,y\n1,2,cat\n3,4,dog\n5,6,cat\n7,8,dog\n9,1,cat\n");
    put_text("a.arff", "@relation r\n@attribute a numeric\n@attribute y {u, v}\n@data\n1,u\n2,v\n3,u\n4,v\n5,u\n");
    put_text("p.txt", "Input x : G(n) ~ N(0, 1)\nInput W : A(n, n) ~ N(0, 1/n)\nMatMul h := W x\nMoment e := <h, h>\n");
    put_text("bad.c", "no C\n");
    put_text("dies.c", "#include \"limn.h\"\nad_var limn_network(nn_net *n, ad_var x)\n"
                       "{\n    (void)n;\n    *(volatile int *)8 = 1;\n    return x;\n}\n");
    put_example("own.c");
}

static void limit_to(int which, rlim_t soft, rlim_t hard)
{
    struct rlimit limit = { soft, hard };
    setrlimit(which, &limit);
}

static void start(char *const *argv)
{
    char place[128];
    snprintf(place, sizeof place, "%s/.tmp", folder);
    setenv("TMPDIR", place, 1);
    int in_ = open("/dev/null", O_RDONLY), out = open(in(".out"), O_WRONLY | O_CREAT | O_TRUNC, 0600),
        err = open(in(".err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (chdir(folder) != 0 || dup2(in_, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(99);
    limit_to(RLIMIT_CPU, SECONDS, SECONDS + 2);
    limit_to(RLIMIT_CORE, 0, 0);
#ifndef SANITIZED
    limit_to(RLIMIT_AS, (rlim_t)4 << 30, (rlim_t)4 << 30);
#endif
    limit_to(RLIMIT_FSIZE, (rlim_t)1 << 30, (rlim_t)1 << 30);
    execv(LIMN_TOOL, argv);
    _exit(99);
}

static char *quoted(const command_line *line)
{
    static char text[20000];
    size_t used = 0;
    for (int k = 0; k < line->n && used + 8 < sizeof text; k++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s$'", k ? " " : "");
        for (const char *c = line->words[k]; *c && used + 8 < sizeof text; c++)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     *c == '\'' || *c == '\\' ? "\\%c"
                                     : *c >= ' ' && *c < 127  ? "%c"
                                                              : "\\x%02x",
                                     (unsigned char)*c);
        used += (size_t)snprintf(text + used, sizeof text - used, "'");
    }
    return text;
}

/* Lines that begin with "limn: ". */
static int own_lines(const char *err)
{
    int count = 0;
    for (const char *at = err; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        count += strncmp(at, "limn: ", 6) == 0;
    return count;
}

/* NULL: nothing is wrong with it. */
static const char *wrong_with(int status, const char *err)
{
    static char text[200];
    bool late = WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);
    if (late)
        return strstr(err, "left") || strstr(err, "Ctrl-C") ? NULL : "more than 10 s, without a word";
    if (strstr(err, "Sanitizer") || strstr(err, "runtime error"))
        return "the sanitizer";
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
        return text;
    }
    if (WEXITSTATUS(status) > 2) {
        snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
        return text;
    }
    if (WEXITSTATUS(status) == 0)
        return own_lines(err) ? "an error, with status 0" : NULL;
    if (own_lines(err) != 1)
        return own_lines(err) ? "several lines of error" : "no line of error";
    if (files(in(".tmp")))
        return "a temporary file";
    return NULL;
}

static bool left_half(void)
{
    shell("cd '%s' && ls -A >.all 2>/dev/null; :", folder);
    char *all = slurp(in(".all"), NULL);
    bool half = strstr(all, ".tmp") && strstr(strstr(all, ".tmp") + 4, ".tmp"); /* the first is TMPDIR */
    ad_free(all);
    return half;
}

static int ended[4]; /* with 0, 1, 2, or late and told */

static bool survives(uint64_t seed)
{
    command_line line = make_line(seed);
    char *argv[MOST_WORDS + 2] = { LIMN_TOOL };
    memcpy(argv + 1, line.words, sizeof line.words);
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        start(argv);
    cr_assert(child > 0 && waitpid(child, &status, 0) == child);
    char *err = slurp(in(".err"), NULL);
    const char *wrong = wrong_with(status, err);
    ended[WIFEXITED(status) && WEXITSTATUS(status) < 3 ? WEXITSTATUS(status) : 3]++;
    if (!wrong && WIFEXITED(status) && left_half())
        wrong = "half a file";
    if (!wrong && access(in("no"), F_OK) == 0)
        wrong = "a shell ran a name";
    if (wrong)
        fprintf(stderr, "%llu: %s: limn %s\n    %.300s\n", (unsigned long long)seed, wrong, quoted(&line), err);
    ad_free(err);
    for (int k = 0; k < line.n; k++)
        free(line.words[k]);
    return !wrong;
}

Test(hostile, command_lines_end_with_one_line)
{
    unsigned long long from = 0, count = SUITE, fallen = 0;
    const char *asked = getenv("LIMN_HOSTILE");
    cr_assert(!asked || sscanf(asked, "%llu:%llu", &from, &count) == 2, "LIMN_HOSTILE=FROM:COUNT");
    shell("mkdir -p %s/.kept && cp %s/datasets/digits.png %s/i.png", folder, LIMN_SOURCE_DIR, folder);
    put_files();
    works("train mlp --inputs x.npy --labels t.npy --width 4 --steps 1 --out w.st");
    shell("cd %s && head -c 100 w.st >cut.st && mkdir place && ln -s loop.npy loop.npy && cp -a -- * .kept/", folder);
    for (unsigned long long seed = from; seed < from + count; seed++) {
        fallen += !survives(seed);
        shell("cd %s && rm -rf -- * .tmp/* .limn* *.tmp* && cp -a .kept/. .", folder);
    }
    if (asked)
        fprintf(stderr, "%llu command lines, %llu fell; %d ended with 0, %d with 1, %d with 2, %d otherwise\n", count,
                fallen, ended[0], ended[1], ended[2], ended[3]);
    cr_expect(fallen == 0, "%llu of %llu command lines", fallen, count);
}
