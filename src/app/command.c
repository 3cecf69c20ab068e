/* SPDX-License-Identifier: MIT */
/* command: the table, and the parser that walks the arguments along it. Called by main, once.
 * Options may stand before and after the command; what belongs to the language but not to this
 * build is refused by name. Whatever is refused says what was probably meant.
 */
#include "app/command.h"

#include "app/conf_text.h"
#include "app/serve.h"
#include "base/num.h"

#include <stdarg.h>

#define BIT(id) (1u << FLAG_##id)
#define COMMON  BIT(HELP)
#define RUNNING (BIT(CONFIG) | COMMON)

const struct command_option command_options[COMMAND_N_OPTIONS] = {
    [FLAG_CONFIG] = {"config", 'c', .kind = COMMAND_FILE, .value = "FILE",
                     .sentence = "Use this configuration file, and look for no other."},
    [FLAG_LISTEN] =
        {"listen", 'l', .repeats = true, .kind = COMMAND_ADDRESS, .value = "ADDRESS",
         .sentence = "Listen here: _127.0.0.1:8080_, _[::1]:8080_ or _localhost:8080_. Replaces "
                     "*listen* of the file. May be given several times. Port 0 takes a free port."},
    [FLAG_DEFAULTS] = {"defaults", .sentence = "The defaults alone, whatever a file says."},
    [FLAG_RUNNING] = {"running",
                      .sentence =
                          "What the running ginnel uses, which may be older than the file."},
    [FLAG_JSON] = {"json", .sentence = "A JSON object instead of text."},
    [FLAG_EXCHANGES] = {"exchanges", .kind = COMMAND_NUMBER, .value = "N",
                        .sentence =
                            "Of the exchanges that are under way list up to _N_; 0 lists none."},
    [FLAG_TEST] = {"test", .kind = COMMAND_FILE, .value = "FILE",
                   .sentence = "Judge the requests of a file, and compare with what they expect."},
    [FLAG_AGAINST] = {"against", .kind = COMMAND_FILE, .value = "LOG",
                      .sentence =
                          "Judge the requests of an access log, and show what would change."},
    [FLAG_DELETE] = {"delete", 'D', .sentence = "Take the user out."},
    [FLAG_USER] = {"user", .kind = COMMAND_TEXT, .value = "NAME",
                   .sentence = "Whose request it is. No password is asked for: the user is taken to be known."},
    [FLAG_GROUPS] = {"groups", .kind = COMMAND_TEXT, .value = "NAMES",
                     .sentence = "The user's groups, commas between. Default: those that the configuration's files give."},
    [FLAG_LABELS] = {"labels", .kind = COMMAND_TEXT, .value = "LABELS",
                     .sentence = "Labels that come with the user's name, commas between."},
    [FLAG_CLIENT] = {"client", .kind = COMMAND_TEXT, .value = "ADDRESS",
                     .sentence = "Where it comes from: an address, or _unix_. Default: this machine."},
    [FLAG_METHOD] = {"method", .kind = COMMAND_TEXT, .value = "METHOD",
                     .sentence = "The method of a request to an _http:_ URL. Default: GET."},
    [FLAG_LISTENER] = {"listener", .kind = COMMAND_TEXT, .value = "NAME",
                       .sentence = "The listener that it comes in at: its name, or its address. Default: the first."},
    [FLAG_HEADER] = {"header", .repeats = true, .kind = COMMAND_TEXT, .value = "FIELD",
                     .sentence = "A field of the request, as _'name: value'_. May be given several times."},
    [FLAG_TIME] = {"time", .kind = COMMAND_TEXT, .value = "TIME",
                   .sentence = "When it happens, in local time: _2026-11-23T10:00_. Default: now."},
    [FLAG_SNI] = {"sni", .kind = COMMAND_TEXT, .value = "NAME",
                  .sentence = "The name in the ClientHello. Default: that of the URL."},
    [FLAG_ADDRESS] = {"address", .repeats = true, .kind = COMMAND_TEXT, .value = "ADDRESS",
                      .sentence = "An address of the URL's host, which is not looked up then. May be given several times."},
    [FLAG_WOULD] = {"would", .sentence = "Only what would have been refused, were it not for a report mode."},
    [FLAG_SUFFIXES] = {"suffixes", .sentence = "Write one _.name_ for many names under it."},
    [FLAG_PER_USER] = {"per-user", .sentence = "Rules of their own for each user."},
    [FLAG_VERSION] = {"version", 'V', .sentence = "Print the version and exit."},
    [FLAG_HELP] = {"help", 'h', .sentence = "Print a summary, or what a command does, and exit."},
};

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

#define UNBUILT(name_, kind_, argument_, sentence_)                                                \
    {                                                                                              \
        .name = name_, .unbuilt = true, .kind = kind_, .argument = argument_, .options = COMMON,   \
        .sentence = sentence_                                                                      \
    }

const struct command command_table[] = {
    [COMMAND_SERVE] = {"", .options = BIT(CONFIG) | BIT(LISTEN) | BIT(VERSION) | BIT(HELP),
                       .sentence = "Run the proxy in the foreground."},
    [COMMAND_CHECK] =
        {"check", .kind = COMMAND_FILE, .argument = "FILE",
         .options = RUNNING | BIT(TEST) | BIT(AGAINST),
         .sentence =
             "Read the configuration and say everything that is wrong with it, each with its "
             "file, line and column. Nothing is started. What is legal and probably not meant is "
             "said too, and is no failure."},
    [COMMAND_CONFIG_SHOW] =
        {"config show", .options = RUNNING | BIT(DEFAULTS) | BIT(RUNNING),
         .sentence =
             "Print the configuration in force, completed with the defaults, as a file that "
             "means the same."},
    [COMMAND_CONFIG_SCHEMA] =
        {"config schema", .options = COMMON,
         .sentence = "Print a JSON Schema of the configuration language, for editors."},
    [COMMAND_STATUS] =
        {"status", .options = RUNNING | BIT(JSON) | BIT(EXCHANGES),
         .sentence =
             "Say how the running ginnel is: its connections, its counters, its configuration."},
    [COMMAND_RELOAD] =
        {"reload", .options = RUNNING,
         .sentence =
             "Let the running ginnel read its configuration again, and wait for what comes of it. "
             "If anything is wrong with it, all of it stays as it was."},
    [COMMAND_DRAIN] =
        {"drain", .options = RUNNING,
         .sentence = "Let the running ginnel finish what it does, take nothing new, and stop."},
    [COMMAND_PASSWD] =
        {"passwd", .needed = true, .kind = COMMAND_FILE, .argument = "FILE", .second = "NAME",
         .options = COMMON | BIT(DELETE),
         .sentence =
             "Set the password of a user in a users' file (see USERS in ginnel.yaml(5)), or add the "
             "user. The password is asked for twice, or read from stdin, a line, where that is no "
             "terminal. Everything else in the file stays as it is; if there is none it is made, "
             "for its owner alone."},
    [COMMAND_WHY] =
        {"why", .needed = true, .kind = COMMAND_TEXT, .argument = "URL",
         .options = RUNNING | BIT(RUNNING) | BIT(JSON) | BIT(USER) | BIT(GROUPS) | BIT(LABELS) | BIT(CLIENT) | BIT(METHOD) | BIT(LISTENER) |
                    BIT(HEADER) | BIT(TIME) | BIT(SNI) | BIT(ADDRESS),
         .sentence =
             "Say what would be decided about a request, by what, and everything that is looked at on the way. "
             "Nothing is sent to the target. Asks the running ginnel; with *-c*, or when none runs, the file."},
    [COMMAND_DENIED] =
        {"denied", .options = RUNNING | BIT(JSON),
         .sentence =
             "Show what the running ginnel refused lately, by target, each with the rule that would allow it."},
    [COMMAND_FROM_LOG] =
        {"policy from-log", .kind = COMMAND_FILE, .argument = "LOG", .options = COMMON | BIT(WOULD) | BIT(SUFFIXES) | BIT(PER_USER),
         .sentence =
             "Write the smallest *rules* that allow what an access log in format _json_ has seen. "
             "Without _LOG_, or with _-_, the log is read from stdin."},
    [COMMAND_COMPLETION] = {"completion", .needed = true, .kind = COMMAND_WORDS,
                            .argument = "bash|zsh|fish", .words = shells, .options = COMMON,
                            .sentence = "Print the completions of this command line for a shell."},
    [COMMAND_HELP] = {"help", .kind = COMMAND_NAME, .argument = "COMMAND", .options = COMMON,
                      .sentence = "Print what a command does."},
    UNBUILT("flows", COMMAND_NOTHING, NULL, "Follow what passes."),
    UNBUILT("trust", COMMAND_NOTHING, NULL, "Install the certificate authority of interception."),
    UNBUILT("env", COMMAND_NOTHING, NULL,
            "Print the environment that makes programs use the proxy."),
    UNBUILT("run", COMMAND_TEXT, "-- CMD", "Run a program behind the proxy."),
};
const unsigned command_table_n = ARRAY_LEN(command_table);

_Static_assert(COMMAND_N_OPTIONS <= 32, "options are bits");

/* ---- the table ---- */

const struct command *command_find(struct slice name)
{
    for (unsigned i = COMMAND_SERVE + 1; i < command_table_n; i++)
        if (slice_eq(name, slice_str(command_table[i].name)))
            return &command_table[i];
    return NULL;
}

struct slice command_first(const struct command *c)
{
    struct slice name = slice_str(c->name);

    return slice_of(name.p, slice_find(name, ' '));
}

unsigned command_group(struct slice first)
{
    unsigned n = 0;

    for (unsigned i = COMMAND_SERVE + 1; i < command_table_n; i++)
        n += slice_eq(first, command_first(&command_table[i]));
    return n;
}

/* ---- parsing ---- */

struct parser {
    int argc, at;
    char *const *argv;
    struct command_call call;
    struct slice first; /* of two words; the second is awaited */
    bool only_words;    /* behind -- */
    char *why;
};

static int refuse(struct parser *p, const char *fmt, ...) PRINTF(2, 3);

static int refuse(struct parser *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->why, COMMAND_LINE, fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

/* What people typed may hold anything: a terminal gets it escaped and cut. */
static const char *shown(struct slice s, char out[128])
{
    size_t columns;

    conf_text_escape(out, 128, s, 60, &columns);
    return out;
}

static int unknown_command(struct parser *p, struct slice name)
{
    struct conf_text_guess g;
    char text[128];

    conf_text_guess_init(&g, name);
    for (unsigned i = COMMAND_SERVE + 1; i < command_table_n; i++)
        conf_text_guess_try(&g, command_table[i].name);
    shown(name, text);
    if (g.best)
        return refuse(p, "there is no command `%s`; did you mean `%s`?", text, g.best);
    return refuse(p, "there is no command `%s`; `ginnel help` lists them", text);
}

static int incomplete_command(struct parser *p)
{
    char text[128];
    size_t n =
        (size_t)snprintf(p->why, COMMAND_LINE, "`%s` needs a second word:", shown(p->first, text));

    for (unsigned i = COMMAND_SERVE + 1; i < command_table_n; i++)
        if (slice_eq(p->first, command_first(&command_table[i])) && n < COMMAND_LINE)
            n += (size_t)snprintf(p->why + n, COMMAND_LINE - n, " `%s`", command_table[i].name);
    return EXIT_USAGE;
}

static int chosen(struct parser *p, const struct command *c)
{
    p->call.command = c;
    p->first = SLICE_NONE;
    if (c->unbuilt)
        return refuse(p, "`%s` is not in this build", c->name);
    return 0;
}

static int second_word(struct parser *p, struct slice word)
{
    char name[64];
    int n =
        snprintf(name, sizeof(name), SLICE_FMT " " SLICE_FMT, SLICE_ARG(p->first), SLICE_ARG(word));
    struct slice whole = slice_of(name, min_size((size_t)n, sizeof(name) - 1));
    const struct command *c = command_find(whole);

    return c ? chosen(p, c) : unknown_command(p, whole);
}

static int first_word(struct parser *p, struct slice word)
{
    const struct command *c = command_find(word);

    if (c)
        return chosen(p, c);
    if (command_group(word) == 0)
        return unknown_command(p, word);
    p->first = word;
    return 0;
}

static int take_number(struct parser *p, const char *name, const char *text, uint32_t *ret_v)
{
    uint64_t v;

    if (num_dec(slice_str(text), COMMAND_NUMBER_MAX, &v) < 0)
        return refuse(p, "--%s takes a number up to %d", name, COMMAND_NUMBER_MAX);
    *ret_v = (uint32_t)v;
    return 0;
}

static int argument(struct parser *p, const char *word)
{
    const struct command *c = p->call.command;
    char text[128];

    if (c->kind == COMMAND_NAME && p->call.asked.n < sizeof(p->call.asked_text) - 1) {
        size_t room = sizeof(p->call.asked_text) - p->call.asked.n;
        int n = snprintf(p->call.asked_text + p->call.asked.n, room, "%s%s",
                         p->call.asked.n ? " " : "", word);

        p->call.asked.p = p->call.asked_text;
        p->call.asked.n += min_size((size_t)n, room - 1);
        return 0;
    }
    if (c->second && p->call.argument && !p->call.second) {
        p->call.second = word;
        return 0;
    }
    if (c->kind == COMMAND_NOTHING || p->call.argument)
        return refuse(p, "`%s` does not take `%s`", c->name, shown(slice_str(word), text));
    p->call.argument = word;
    for (unsigned i = 0; c->kind == COMMAND_WORDS; i++) {
        if (!c->words[i])
            return refuse(p, "`%s` takes %s, not `%s`", c->name, c->argument,
                          shown(slice_str(word), text));
        if (strcmp(c->words[i], word) == 0)
            break;
    }
    if (c->kind == COMMAND_FILE)
        p->call.file = word;
    return 0;
}

static int plain_word(struct parser *p, const char *word)
{
    if (p->call.command)
        return argument(p, word);
    if (p->first.n)
        return second_word(p, slice_str(word));
    return first_word(p, slice_str(word));
}

/* ---- options ---- */

static int unknown_option(struct parser *p, const char *word, struct slice name)
{
    const struct command *c = p->call.command;
    struct conf_text_guess g;
    char text[128];

    conf_text_guess_init(&g, name);
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (!c || command_takes(c, i))
            conf_text_guess_try(&g, command_options[i].name);
    shown(slice_str(word), text);
    if (g.best)
        return refuse(p, "there is no option `%s`; did you mean `--%s`?", text, g.best);
    return refuse(p, "there is no option `%s`; `ginnel%s%s --help` lists them", text, c ? " " : "",
                  c ? c->name : "");
}

static int take_listen(struct parser *p, const char *value)
{
    if (p->call.n_listen == COMMAND_LISTEN_MAX)
        return refuse(p, "there are more than %d --listen", COMMAND_LISTEN_MAX);
    p->call.listen[p->call.n_listen++] = value;
    return 0;
}

static int take_value(struct parser *p, unsigned id, const char *value)
{
    if (p->call.n_values == COMMAND_VALUES_MAX)
        return refuse(p, "there are more than %d options with a value", COMMAND_VALUES_MAX);
    p->call.values[p->call.n_values++] = (struct command_value){(enum command_flag)id, value};
    return 0;
}

static int apply(struct parser *p, unsigned id, const char *value)
{
    const struct command_option *o = &command_options[id];

    if (o->unbuilt)
        return refuse(p, "`--%s` is not in this build", o->name);
    if (!o->repeats && o->kind != COMMAND_NOTHING && p->call.given & 1u << id)
        return refuse(p, "--%s was given twice", o->name);
    p->call.given |= 1u << id;
    if (id == FLAG_CONFIG)
        p->call.file = value;
    if (id == FLAG_EXCHANGES)
        return take_number(p, o->name, value, &p->call.exchanges);
    if (id == FLAG_LISTEN)
        return take_listen(p, value);
    return value ? take_value(p, id, value) : 0;
}

/* value: what stands in the same word, or NULL. */
static int option(struct parser *p, unsigned id, const char *value)
{
    const struct command_option *o = &command_options[id];

    if (o->kind == COMMAND_NOTHING && value)
        return refuse(p, "--%s takes no value", o->name);
    if (o->kind != COMMAND_NOTHING && !value) {
        if (p->at + 1 >= p->argc && !o->unbuilt)
            return refuse(p, "--%s needs its %s", o->name, o->value);
        value = p->argv[++p->at];
    }
    return apply(p, id, value);
}

static int long_option(struct parser *p, const char *word)
{
    struct slice all = slice_str(word + 2), name = slice_of(all.p, slice_find(all, '='));

    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (slice_eq(name, slice_str(command_options[i].name)))
            return option(p, i, name.n < all.n ? all.p + name.n + 1 : NULL);
    return unknown_option(p, word, name);
}

/* -c FILE, -cFILE; letters without a value are not joined: there is nothing to join them with. */
static int short_option(struct parser *p, const char *word)
{
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (command_options[i].letter && word[1] == command_options[i].letter)
            return option(p, i, word[2] ? word + 2 : NULL);
    return unknown_option(p, word, slice_str(word + 1));
}

static int one_word(struct parser *p, const char *word)
{
    if (p->only_words || word[0] != '-' || !word[1])
        return plain_word(p, word);
    if (strcmp(word, "--") == 0) {
        p->only_words = true;
        return 0;
    }
    return word[1] == '-' ? long_option(p, word) : short_option(p, word);
}

/* ---- the whole ---- */

static int finish(struct parser *p)
{
    struct command_call *call = &p->call;
    const struct command *c;

    if (call->given & BIT(HELP)) {
        call->asked = p->first.n ? p->first : slice_str(call->command ? call->command->name : "");
        call->command = &command_table[COMMAND_HELP];
        return 0;
    }
    if (p->first.n)
        return incomplete_command(p);
    if (!call->command)
        call->command = &command_table[COMMAND_SERVE];
    c = call->command;
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++)
        if (call->given & 1u << i && !command_takes(c, i))
            return refuse(p, "--%s does not go with `%s`", command_options[i].name, c->name);
    if (c->second && !call->second)
        return refuse(p, "`%s` needs %s and %s", c->name, c->argument, c->second);
    if (c->needed && !call->argument)
        return refuse(p, c->kind == COMMAND_WORDS ? "`%s` needs one of %s" : "`%s` needs its %s", c->name, c->argument);
    if (c->kind == COMMAND_FILE && call->argument && call->given & BIT(CONFIG))
        return refuse(p, "`%s` takes one file: with -c, or without", c->name);
    if (call->given & BIT(TEST) && call->given & BIT(AGAINST))
        return refuse(p, "--test and --against do not go together");
    if (call->given & BIT(DEFAULTS) && call->given & (BIT(RUNNING) | BIT(CONFIG)))
        return refuse(p, "--defaults goes with neither --running nor -c");
    return 0;
}

int command_parse(int argc, char *const *argv, struct command_call *ret_call,
                  char ret_why[COMMAND_LINE])
{
    struct parser p = {.argc = argc, .argv = argv, .why = ret_why};
    int r;

    for (p.at = 1; p.at < argc; p.at++) {
        r = one_word(&p, argv[p.at]);
        if (r)
            return r;
    }
    r = finish(&p);
    if (r)
        return r;
    *ret_call = p.call;
    if (p.call.asked.p == p.call.asked_text)
        ret_call->asked.p = ret_call->asked_text;
    return 0;
}
