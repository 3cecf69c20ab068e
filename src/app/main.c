/* SPDX-License-Identifier: MIT */
/* main: runs what the command line asks for. What there is, app/command.c knows.
 */
#include "app/check_against.h"
#include "app/check_test.h"
#include "app/command.h"
#include "app/completion.h"
#include "app/config_commands.h"
#include "app/passwd.h"
#include "app/from_log.h"
#include "app/remote.h"
#include "app/serve.h"
#include "app/why_command.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/num.h"
#include "build_config.h"

#include <stdlib.h>
#include <unistd.h>

/* systemd has listeners for us (sd_listen_fds(3)); which, and whether it says so rightly, serve
 * finds out. */
static bool sockets_wait(void)
{
    struct slice pid = slice_str(getenv("LISTEN_PID")), fds = slice_str(getenv("LISTEN_FDS"));
    uint64_t ours, n;

    return num_dec(pid, INT32_MAX, &ours) == 0 && num_dec(fds, INT32_MAX, &n) == 0 &&
           ours == (uint64_t)getpid() && n > 0;
}

static int run_serve(const struct command_call *call)
{
    struct conf_args args = {.file = call->file,
                             .listen = call->listen,
                             .n_listen = call->n_listen,
                             .sockets = sockets_wait()};
    struct conf *c;
    int r = config_commands_load(&args, NULL, &c);

    return r ? r : serve(&args, c);
}

static int run_completion(const struct command_call *call)
{
    return completion_print(call->argument, stdout)
               ? 0
               : EXIT_USAGE; /* the table has the same shells */
}

static const char *value_of(const struct command_call *call, enum command_flag option)
{
    for (unsigned i = 0; i < call->n_values; i++)
        if (call->values[i].option == option)
            return call->values[i].value;
    return NULL;
}

static int run_check(const struct command_call *call)
{
    if (call->given & 1u << FLAG_TEST)
        return check_test(call, value_of(call, FLAG_TEST));
    if (call->given & 1u << FLAG_AGAINST)
        return check_against(call, value_of(call, FLAG_AGAINST));
    return config_commands_check(call);
}

static int run_help(const struct command_call *call)
{
    if (command_print_help(call->asked, stdout))
        return 0;
    fputs("ginnel: there is no such command; `ginnel help` lists them\n", stderr);
    return EXIT_USAGE;
}

static int (*const run[COMMAND_BUILT])(const struct command_call *call) = {
    [COMMAND_SERVE] = run_serve,
    [COMMAND_CHECK] = run_check,
    [COMMAND_CONFIG_SHOW] = config_commands_show,
    [COMMAND_CONFIG_SCHEMA] = config_commands_schema,
    [COMMAND_STATUS] = remote_status,
    [COMMAND_RELOAD] = remote_reload,
    [COMMAND_DRAIN] = remote_drain,
    [COMMAND_PASSWD] = passwd_command,
    [COMMAND_WHY] = why_command,
    [COMMAND_DENIED] = remote_denied,
    [COMMAND_FROM_LOG] = from_log_command,
    [COMMAND_COMPLETION] = run_completion,
    [COMMAND_HELP] = run_help,
};

int main(int argc, char **argv)
{
    struct command_call call;
    char why[COMMAND_LINE];
    int r = command_parse(argc, argv, &call, why);

    hash_seed(); /* before a configuration's names are hashed */
    if (r) {
        fprintf(stderr, "ginnel: %s\n", why);
        return r;
    }
    if (call.given & 1u << FLAG_VERSION)
        printf("ginnel %s\n", GINNEL_VERSION);
    else
        r = run[call.command - command_table](&call);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "ginnel: cannot write to stdout: %s\n", err_text(-errno));
        return r ? r : EXIT_IOERR;
    }
    return r;
}
