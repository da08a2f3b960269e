/* commands.h: the commands of the tool. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_COMMANDS_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_COMMANDS_H
#include "examples/limn/base/base.h"

/* Each in a file of its own, but for eval, which is train's. */
extern const tool_command command_report, command_train, command_eval, command_kernel, command_predict, command_program,
    command_regime, command_spectrum, command_limit, command_import, command_export;

/* All of them, in the order of the help; NULL ends it. */
extern const tool_command *const commands[];
#endif
