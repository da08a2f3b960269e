/* truth.c: truth [COUNT [FIRST [deep]]]: limn's exact kernels of COUNT networks, or of deep ones, of seeds from FIRST
 * on, against recursions in 77 digits (tests/support/truth.h): each error within what is stated of it. Whatever is not,
 * and whatever is refused, is told with its seed; the exit status is then 1 for the former. A table of all kinds ends
 * it. */
#include "tests/support/tally.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 50, first = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    bool deep = argc > 3 && strcmp(argv[3], "deep") == 0;
    if (argc > 4 || (argc > 3 && !deep) || count < 1 || first < 0) {
        fprintf(stderr, "usage: %s [COUNT [FIRST [deep]]]\n", argv[0]);
        return 2;
    }
    static tallies t;
    ad_error error = { 0 };
    int failures =
        tallies_run(&t, deep ? truth_deep_case_of : truth_case_of, (uint64_t)first, (int)count, stdout, &error);
    if (failures < 0)
        printf("ERROR %s\n", error.text);
    else
        tallies_print(&t, stdout);
    tallies_free(&t);
    return failures ? 1 : 0;
}
