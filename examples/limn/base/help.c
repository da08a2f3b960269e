/* help.c: what the tool says of itself, in 80 columns, from the table in options.def. */
#include "examples/limn/base/options.h"

#include <string.h>

enum { COLUMNS = 80, HELP_AT = 27 };

static const char networks[] =
    "NET is one of these, with their settings (--set KEY=VALUE) and what they are unless given, or a C file that "
    "defines ad_var limn_network(nn_net *net, ad_var x), see nn/entry.h.\n"
    "\n"
    "  mlp        depth=3  phi=relu  sigma_w=1.41421  sigma_b=none\n"
    "             weights=gaussian (orthogonal: the hidden layers')  outputs\n"
    "  rnn        depth=1  phi=tanh  cell=vanilla (gru, lstm; torch_rnn, torch_gru,\n"
    "             torch_lstm)  readout=last (mean, last_step)  padding=none (front)\n"
    "             sigma_w=1  sigma_u=1  sigma_b=none  sigma_v=1  outputs; reads an\n"
    "             image row by row; PyTorch's cells: sigma_b=0  readout_bias=0\n"
    "             bidirectional=no (yes), and no padding\n"
    "  batchnorm  depth=3  phi=relu  eps=1e-05  affine=no (yes)  sigma_w=1.41421\n"
    "             sigma_b=none  readout_bias (sigma_b)  outputs; the inputs of a\n"
    "             kernel are one batch, and those of --inputs2 another\n"
    "  cnn        depth=3  phi=relu  filter=3  stride=1  padding=same (valid,\n"
    "             circular)  pool=1 (a window's size: averages after each layer)\n"
    "             readout=average (flatten)  sigma_w=1.41421  sigma_b=none  outputs;\n"
    "             takes images or sequences; windows that do not divide one are left\n"
    "             out at its end (7 -> 3), and channels are n\n";

void help_networks(char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s\nphi is", networks);
    for (int op = 0; op < AD_CUSTOM && used < size; op++)
        if (ad_op_facts_of((ad_op)op)->activation)
            used += (size_t)snprintf(text + used, size - used, " %s,", ad_op_name((ad_op)op));
    if (used < size)
        snprintf(text + used, size - used, " silu (swish) or hardtanh (hard_tanh).\n");
}

/* One word at *column, on a new line at `indent` if this one is full. */
static void put_word(const char *word, size_t length, int indent, int *column)
{
    char text[200];
    snprintf(text, sizeof text, "%.*s", (int)length, word);
    int wide = ad_columns(text);
    if (*column > indent && *column + 1 + wide > COLUMNS) {
        printf("\n%*s", indent, "");
        *column = indent;
    } else if (*column > indent) {
        putchar(' ');
        ++*column;
    }
    fputs(text, stdout);
    *column += wide;
}

static void put_words(const char *text, size_t length, int indent, int *column)
{
    for (const char *end = text + length; text < end;) {
        size_t blank = strspn(text, " \n"), word = strcspn(text + blank, " \n");
        if (text + blank + word > end)
            break;
        if (word)
            put_word(text + blank, word, indent, column);
        text += blank + word;
    }
}

/* Paragraphs are filled; lines that begin with a blank, and empty ones, stay. */
static void put_paragraphs(const char *text)
{
    int column = 0;
    while (*text) {
        size_t length = strcspn(text, "\n");
        bool stays = length == 0 || *text == ' ';
        if (stays)
            printf("%s%.*s\n", column ? "\n" : "", (int)length, text);
        else
            put_words(text, length, 0, &column);
        column = stays ? 0 : column;
        text += length + (text[length] == '\n');
    }
    if (column)
        putchar('\n');
}

static void put_option(const row *r)
{
    char text[80];
    int column = printf("  %s %s", r->name, option_argument(r, text, sizeof text));
    if (column >= HELP_AT - 1)
        putchar('\n');
    printf("%*s", column >= HELP_AT - 1 ? HELP_AT : HELP_AT - column, "");
    column = HELP_AT;
    put_words(r->help, strlen(r->help), HELP_AT, &column);
    putchar('\n');
}

static void put_title(const char *title)
{
    printf("\n%s:\n", title);
}

void help_print(const tool_command *const *commands, const tool_command *about)
{
    int column = 0;
    if (about) {
        printf("limn %s %s [options]\n\n", about->name, about->argument);
        put_words(about->summary, strlen(about->summary), 0, &column);
        puts(".");
        put_paragraphs(about->manual);
    } else {
        puts("limn COMMAND NET|FILE [options]\n");
        for (int k = 0; commands[k]; k++)
            printf("  %-8s %s\n", commands[k]->name, commands[k]->summary);
        printf("  %-8s %s\n", "help", "this text; limn help COMMAND: of a command alone;");
        printf("  %-8s %s\n", "", "limn help man|bash|zsh [COMMAND]: a man page, or completion");
    }
    if (!about || strstr(about->argument, "NET")) {
        char text[2000];
        help_networks(text, sizeof text);
        putchar('\n');
        put_paragraphs(text);
    }
    option_walk(about, put_title, put_option);
    puts("\nExit status: 0 done, 1 failed, 2 wrong usage, 130 or 143 ended by Ctrl-C or\nSIGTERM.");
}

void help_first(void)
{
    fputs("limn: which command? For example\n"
          "\n"
          "  limn kernel mlp --inputs x.npy --out k.npy   the NTK at n = infinity\n"
          "  limn program mlp                             its Netsor\u22a4 program\n"
          "  limn predict mlp --data digits               what training would do\n"
          "  limn report mlp                              widths beside their limit\n"
          "  limn help                                    commands, networks, options\n",
          stderr);
}
