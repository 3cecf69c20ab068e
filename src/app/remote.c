/* SPDX-License-Identifier: MIT */
/* remote: from a command to a question on the control socket, and from the answer's status to an
 * exit code. Which socket, the configuration says. One that has errors must not keep people from
 * looking: the running ginnel still uses the last good one, so the default socket is tried then,
 * and this is said. But nobody is told to reload or to stop who may be another one.
 */
#include "app/remote.h"

#include "app/config_commands.h"
#include "app/control.h"
#include "app/serve.h"
#include "base/err.h"

#include <unistd.h>

static void complain(const char *why)
{
    fprintf(stderr, "ginnel: %s\n", why);
}

/* 0 and *ret_conf (NULL: the default socket), or an exit code. */
static int find_conf(const struct command_call *call, bool look_only, struct conf **ret_conf)
{
    struct conf_args args = {.file = call->file};
    struct conf_errors errors = {0};
    int r;

    if (!look_only)
        return config_commands_load(&args, NULL, ret_conf);
    r = conf_load(&args, ret_conf, &errors, NULL);
    conf_errors_done(&errors);
    if (r == 0)
        return 0;
    if (r == ERR_NOMEM || (r == ERR_NOTFOUND && call->file)) {
        fprintf(stderr, "ginnel: %s%s%s\n", call->file ? call->file : "", call->file ? ": " : "",
                r == ERR_NOMEM ? err_text(r) : "cannot be read");
        return r == ERR_NOMEM ? EXIT_OSERR : EXIT_NOINPUT;
    }
    *ret_conf = NULL;
    complain("the configuration has errors (`ginnel check` shows them); asking on the default "
             "control socket");
    return 0;
}

static int exit_of_error(int r)
{
    switch (r) {
    case -EACCES:
    case -EPERM:
        return EXIT_NOPERM;
    case ERR_NOMEM:
    case -EMFILE:
    case -ENFILE:
        return EXIT_OSERR;
    default:
        return EXIT_UNAVAILABLE;
    }
}

static int exit_of_status(int status)
{
    switch (status) {
    case 200:
    case 202:
        return 0;
    case 403:
        return EXIT_NOPERM;
    case 422:
        return EXIT_CONFIG;
    case 503:
        return EXIT_TEMPFAIL;
    default:
        return EXIT_SOFTWARE;
    }
}

static void print_reply(const struct control_reply *reply, FILE *to)
{
    if (reply->n == 0 && to == stderr)
        fprintf(to, "ginnel: the answer is %d, without a word\n", reply->status);
    fwrite(reply->body, 1, reply->n, to);
    if (reply->n && reply->body[reply->n - 1] != '\n')
        fputc('\n', to);
}

static int find_socket(const struct command_call *call, bool look_only, char path[CONTROL_PATH],
                       char why[CONTROL_WHY])
{
    struct conf *conf;
    int r = find_conf(call, look_only, &conf);

    why[0] = '\0';
    if (r)
        return r;
    r = control_path(conf, path, why);
    conf_free(conf);
    if (r < 0)
        return r == ERR_LIMIT ? EXIT_CONFIG : EXIT_UNAVAILABLE;
    return 0;
}

int remote_socket(const struct command_call *call, char ret_path[CONTROL_PATH],
                  char why[CONTROL_WHY])
{
    return find_socket(call, true, ret_path, why);
}

static int ask(const struct command_call *call, struct control_question *q)
{
    char path[CONTROL_PATH], why[CONTROL_WHY];
    struct control_reply reply;
    int r = find_socket(call, strcmp(q->method, "GET") == 0, path, why), code;

    if (r) {
        if (why[0])
            complain(why);
        return r;
    }
    q->path = path;
    q->tell = isatty(STDERR_FILENO) ? stderr : NULL;
    r = control_ask(q, &reply, why);
    if (r < 0) {
        complain(why);
        return exit_of_error(r);
    }
    code = exit_of_status(reply.status);
    print_reply(&reply, code ? stderr : stdout);
    control_reply_done(&reply);
    return code;
}

static const char *accepted(const struct command_call *call)
{
    return call->given & 1u << FLAG_JSON ? "application/json" : "text/plain";
}

static int ask_page(const struct command_call *call, const char *method, const char *target, const char *accept, uint64_t deadline_ms)
{
    struct control_question q = {.method = method, .target = target, .accept = accept, .deadline_ms = deadline_ms};

    return ask(call, &q);
}

int remote_status(const struct command_call *call)
{
    char target[64] = "/status";

    if (call->given & 1u << FLAG_EXCHANGES)
        snprintf(target, sizeof(target), "/status?exchanges=%u", (unsigned)call->exchanges);
    return ask_page(call, "GET", target, accepted(call), CONTROL_DEADLINE_MS);
}

int remote_reload(const struct command_call *call)
{
    return ask_page(call, "POST", "/reload", "text/plain", CONTROL_RELOAD_MS);
}

int remote_drain(const struct command_call *call)
{
    return ask_page(call, "POST", "/drain", "text/plain", CONTROL_DEADLINE_MS);
}

int remote_config(const struct command_call *call)
{
    return ask_page(call, "GET", "/config", "text/plain", CONTROL_DEADLINE_MS);
}

int remote_denied(const struct command_call *call)
{
    return ask_page(call, "GET", "/denied", accepted(call), CONTROL_DEADLINE_MS);
}
