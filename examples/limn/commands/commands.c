/* commands.c: the table of commands. */
#include "examples/limn/commands/commands.h"

const tool_command *const commands[] = { &command_report,  &command_train,   &command_eval,   &command_kernel,
                                         &command_predict, &command_program, &command_regime, &command_spectrum,
                                         &command_limit,   &command_import,  &command_export, NULL };
