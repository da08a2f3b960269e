/* memo.c: values that are made of values, in whatever depth: solved for without a stack as deep as they are. */
#include "autodiff/base/base.h"
#include "tp/symbolic/symbolic.h"

/* So many values are asked for by one another on the stack. */
enum { DEEPEST = 32 };

static bool push_task(tp_algebra *algebra, tp_task task)
{
    void *tasks = algebra->tasks;
    bool room =
        ad_arena_grow(algebra->arena, &tasks, algebra->n_tasks, &algebra->tasks_capacity, sizeof *algebra->tasks);
    algebra->tasks = tasks;
    if (room)
        algebra->tasks[algebra->n_tasks++] = task;
    return room;
}

static int solve_task(tp_algebra *algebra, tp_task task)
{
    int value = algebra->memo.items[task.slot].value;
    if (value < 0) {
        algebra->depth++;
        value = task.solve(algebra, tp_table_at(&algebra->memo, task.slot)); /* which makes the memo larger */
        algebra->depth--;
        if (algebra->waits) /* whatever came of it */
            return -1;
        algebra->memo.items[task.slot].value = value;
    }
    return value;
}

/* From the outermost call: the task, after those that it turns out to wait for. */
static int solve_all(tp_algebra *algebra, tp_task task)
{
    int value = push_task(algebra, task) ? 0 : tp_lacks_memory(algebra);
    while (algebra->n_tasks > 0 && value >= 0) {
        int before = algebra->n_tasks;
        value = solve_task(algebra, algebra->tasks[before - 1]);
        if (algebra->waits && algebra->n_tasks > before)
            value = 0;
        else if (value >= 0)
            algebra->n_tasks--;
        algebra->waits = false;
    }
    algebra->n_tasks = 0;
    return value;
}

int tp_memo_solve(tp_algebra *algebra, const void *key, size_t size, tp_solve_key solve)
{
    tp_task task = { tp_intern(&algebra->memo, key, size), solve };
    if (task.slot < 0)
        return tp_lacks_memory(algebra);
    if (algebra->memo.items[task.slot].value >= 0)
        return algebra->memo.items[task.slot].value;
    if (algebra->depth == 0)
        return solve_all(algebra, task);
    if (algebra->waits)
        return -1;
    if (algebra->depth < DEEPEST)
        return solve_task(algebra, task);
    if (!push_task(algebra, task))
        return tp_lacks_memory(algebra);
    algebra->waits = true;
    return -1;
}
