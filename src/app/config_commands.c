/* SPDX-License-Identifier: MIT */
/* config_commands: what reads a configuration and says something about it. Nothing is started here.
 */
#include "app/config_commands.h"

#include "app/conf_schema.h"
#include "app/conf_show.h"
#include "app/remote.h"
#include "app/serve.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

static bool colour(void)
{
    return isatty(STDERR_FILENO) && !getenv("NO_COLOR");
}

int config_commands_load(const struct conf_args *args, struct conf_errors *ret_warnings,
                         struct conf **ret_conf)
{
    struct conf_errors errors = {0};
    int r = conf_load(args, ret_conf, &errors, ret_warnings);

    if (r == 0)
        return 0;
    conf_errors_print(&errors, stderr, colour());
    conf_errors_done(&errors);
    if (r == ERR_NOMEM)
        return EXIT_OSERR;
    return r == ERR_NOTFOUND ? EXIT_NOINPUT : EXIT_CONFIG;
}

int config_commands_check(const struct command_call *call)
{
    struct conf_args args = {.file = call->file};
    struct conf_errors warnings = {0};
    struct conf *c;
    int r = config_commands_load(&args, &warnings, &c);

    if (r == 0) {
        if (c->file)
            printf("%s: correct\n", c->file);
        else
            printf("no configuration file: the defaults are used\n");
        fflush(stdout);
        conf_errors_print(&warnings, stderr, colour());
        conf_free(c);
    }
    conf_errors_done(&warnings);
    return r;
}

/* Prints a text made for it, and frees it. */
static int print_made(char *text, size_t n)
{
    if (!text) {
        fprintf(stderr, "ginnel: %s\n", err_text(ERR_NOMEM));
        return EXIT_OSERR;
    }
    fwrite(text, 1, n, stdout);
    mem_free(text);
    return 0;
}

int config_commands_show(const struct command_call *call)
{
    struct conf_args args = {.file = call->file};
    char *text;
    size_t n = 0;
    struct conf *c;
    int r;

    if (call->given & 1u << FLAG_RUNNING)
        return remote_config(call);
    if (call->given & 1u << FLAG_DEFAULTS) {
        text = conf_show_defaults(&n);
        return print_made(text, n);
    }
    r = config_commands_load(&args, NULL, &c);
    if (r)
        return r;
    text = conf_show(c, &n);
    conf_free(c);
    return print_made(text, n);
}

int config_commands_schema(const struct command_call *call)
{
    size_t n = 0;
    char *text = conf_schema(&n);

    UNUSED(call);
    return print_made(text, n);
}
