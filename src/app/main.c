/* SPDX-License-Identifier: MIT */
/* main: the command line. */
#include "app/conf.h"
#include "app/serve.h"
#include "base/err.h"
#include "build_config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_MAX = 32 };

static const char usage_text[] =
    "usage: ginnel [-c FILE] [--listen ADDRESS]...\n"
    "       ginnel check [FILE]\n"
    "       ginnel --version | --help\n"
    "\n"
    "An HTTP(S) forward proxy. Without a configuration it listens on 127.0.0.1:3128 and [::1]:3128.\n"
    "\n"
    "  -c, --config FILE     the configuration (YAML); see ginnel.yaml(5)\n"
    "  -l, --listen ADDRESS  listen here instead of what the file says, e.g. 127.0.0.1:8080; may be repeated\n"
    "  check [FILE]          check a configuration and show every error\n"
    "\n"
    "Try: curl -x http://127.0.0.1:3128 http://ginnel.internal/\n";

static int usage_error(const char *what, const char *arg)
{
    fprintf(stderr, "ginnel: %s%s%s\n%s", what, arg ? ": " : "", arg ? arg : "", usage_text);
    return EXIT_USAGE;
}

/* Loads, or prints every error; *ret_conf is NULL then. Returns the exit code. */
static int load(const struct conf_args *args, struct conf **ret_conf)
{
    struct conf_errors errors = {0};
    int r = conf_load(args, ret_conf, &errors);

    if (r == 0)
        return 0;
    *ret_conf = NULL;
    conf_errors_print(&errors, stderr, isatty(STDERR_FILENO) && !getenv("NO_COLOR"));
    conf_errors_done(&errors);
    if (r == ERR_NOMEM)
        return EXIT_OSERR;
    return r == ERR_NOTFOUND ? EXIT_NOINPUT : EXIT_CONFIG;
}

static int command_check(const char *file)
{
    struct conf_args args = {.file = file};
    struct conf *c;
    int r = load(&args, &c);

    if (r)
        return r;
    if (c->file)
        printf("%s: correct\n", c->file);
    else
        printf("no configuration file: the defaults are used\n");
    conf_free(c);
    return 0;
}

static int command_serve(const struct conf_args *args)
{
    struct conf *c;
    int r = load(args, &c);

    if (r)
        return r;
    r = serve(c);
    conf_free(c);
    return r;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"listen", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *listen[LISTEN_MAX];
    struct conf_args args = {.listen = listen};
    int o;

    opterr = 0;
    while ((o = getopt_long(argc, argv, "+c:l:Vh", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            args.file = optarg;
            break;
        case 'l':
            if (args.n_listen == LISTEN_MAX)
                return usage_error("too many --listen", NULL);
            listen[args.n_listen++] = optarg;
            break;
        case 'V':
            printf("ginnel %s\n", GINNEL_VERSION);
            return 0;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default:
            return usage_error("unknown option, or one without its value", argv[optind - 1]);
        }
    }
    if (optind == argc)
        return command_serve(&args);
    if (strcmp(argv[optind], "check") == 0 && argc - optind <= 2)
        return command_check(optind + 1 < argc ? argv[optind + 1] : args.file);
    return usage_error("unknown command", argv[optind]);
}
