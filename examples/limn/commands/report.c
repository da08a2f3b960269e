/* report.c: limn report: a network trained at several widths beside its limit, told on the terminal, as JSON, and as a
 * page. */
#include "examples/limn/commands/commands.h"
#include "examples/limn/report/report.h"

static int run_report(const options *o, ad_error *error)
{
    report r = { .o = o };
    const char *page = o->out ? o->out : o->json ? NULL : "limn-report.html";
    int status = page || o->plots ? report_page_possible(page, o->plots, error) : 0;
    if (!status)
        status = report_open(&r, error);
    if (!status && !o->json) {
        data_tell(o, r.data, NULL);
        status = tp_print(r.program, stdout, TP_PAPER, error);
    }
    if (!status)
        status = report_limit(&r, error);
    if (!status)
        report_learn(&r);
    if (!status && !o->json)
        report_tell_head(&r);
    for (int k = 0; k < r.n_columns && !status; k++) {
        for (long draw = 0; draw < r.draws && !status; draw++) {
            if (draw < r.seeds)
                fprintf(stderr, "width %zu: seed %ld of %ld\n", r.columns[k].n, draw + 1, r.seeds);
            status = report_draw(&r, k, draw, error);
        }
        if (!status && !o->json)
            report_tell_column(&r, &r.columns[k]);
    }
    if (!status && o->json)
        status = report_tell_json(&r, error);
    else if (!status) {
        report_tell_slopes(&r);
        report_tell_learning(&r);
    }
    if (!status && (page || o->plots)) {
        report_predict(&r);
        status = report_page(&r, page, error);
        if (!status && !o->json)
            printf("\nPlots and all that it takes to repeat this: %s\n", page);
        if (!status && !o->json && o->plots)
            printf("Each plot as SVG, PDF and CSV: %s\n", o->plots);
    }
    report_close(&r);
    return status ? -1 : 0;
}

static int settle_report(options *o)
{
    if ((o->rate_given && !(o->rate > 0)) || (o->steps_given && !o->steps))
        return option_fail("nothing moves with --rate 0 or --steps 0: nothing is to be told in", o->command);
    return 0;
}

const tool_command command_report = {
    .name = "report",
    .argument = "NET",
    .summary = "trains at several widths and compares with the limit",
    .manual =
        "Prints the network's program, then, width by width and over several seeds, accuracies and the distances of "
        "its\n"
        "tangent kernel from the limit and from its own start, with the slopes fitted to them and their intervals. A "
        "slope\n"
        "outside theory's band comes with what the measured values say of it.\n"
        "Widths 128 to 1024 (64 to 512 for more than 16 time steps), 10 seeds, 100 steps at 1/250 of the largest "
        "stable\n"
        "rate; for sequences, pictures and batch normalisation 25 steps at 1/62.5, and for the latter two 6 seeds; for "
        "pictures\n"
        "an eighth of these widths, 32 inputs and 16 probes (256 and 32 else). No two networks share\n"
        "draws: from --seed on, each width has numbers of its own, 4 times --seeds (the latter two: 2). All are "
        "drawn and\n"
        "the first --seeds trained. Accuracies of batch normalisation are in evaluation, with the running statistics.\n"
        "Where features are learned, as in --scale mup, the same networks train on up to 16 inputs beside the training "
        "at\n"
        "n = infinity and the descent by the kernel of its start: distances of outputs and kernels from both, with "
        "slopes.",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(CHECK) | TAKE(LABELS) | TAKE(SCALING) | TAKE(WIDTHS) | TAKE(SEED) |
             TAKE(SEEDS) | TAKE(OUT) | TAKE(PLOTS) | TAKE(RATE) | TAKE(STEPS) | TAKE(PROBES) | TAKE(NO_CHECK) |
             TAKE(THREADS),
    .settle = settle_report,
    .run = run_report,
};
