/* SPDX-License-Identifier: MIT */
#include "app/command.h"

#include "app/completion.h"
#include "app/plain.h"
#include "app/serve.h"

#include <ctype.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BIT(id) (1u << FLAG_##id)

static struct command_call call;
static char why[COMMAND_LINE];

/* Words are divided by one blank; "_" stands for an empty one. */
static int parse(const char *line)
{
    static char text[8192], name[] = "ginnel", empty[] = "";
    char *argv[128] = {name}, *save = NULL;
    int argc = 1;

    memset(&call, 0, sizeof(call));
    why[0] = '\0';
    assert_true(strlen(line) < sizeof(text));
    strcpy(text, line);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = strcmp(w, "_") == 0 ? empty : w;
    return command_parse(argc, argv, &call, why);
}

static void assert_command(const char *line, enum command_id id)
{
    int r = parse(line);

    if (r || call.command != &command_table[id])
        fail_msg("`%s` gives %d (%s)", line, r, why);
}

static void assert_refused(const char *line, const char *part)
{
    int r = parse(line);

    if (r != EXIT_USAGE || !strstr(why, part))
        fail_msg("`%s` gives %d: %s; expected: %s", line, r, why, part);
}

/* ---- the table itself ---- */

static void test_table_is_whole(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < command_table_n; i++) {
        const struct command *c = &command_table[i];

        assert_non_null(c->name);
        assert_non_null(c->sentence);
        assert_int_equal(c->unbuilt, i >= COMMAND_BUILT);
        assert_int_equal(c->kind != COMMAND_NOTHING, c->argument != NULL);
        assert_int_equal(c->kind == COMMAND_WORDS, c->words != NULL);
        assert_true(command_takes(c, FLAG_HELP));
        assert_true(strlen(c->sentence) < PLAIN_MAX);
        if (i > 0)
            assert_ptr_equal(command_find(slice_str(c->name)), c);
    }
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        const struct command_option *o = &command_options[i];

        assert_non_null(o->name);
        assert_non_null(o->sentence);
        assert_int_equal(o->kind != COMMAND_NOTHING, o->value != NULL);
    }
}

/* Rows of one group stand together: help and completion walk them so. */
static void test_groups_stand_together(void **state)
{
    UNUSED(state);
    for (unsigned i = 2; i < command_table_n; i++)
        for (unsigned j = 1; j + 1 < i; j++)
            if (slice_eq(command_first(&command_table[i]), command_first(&command_table[j])))
                assert_true(slice_eq(command_first(&command_table[i]),
                                     command_first(&command_table[i - 1])));
}

static void test_names_are_plain_words(void **state)
{
    UNUSED(state);
    for (unsigned i = 1; i < command_table_n; i++)
        for (const char *p = command_table[i].name; *p; p++)
            assert_true(islower((unsigned char)*p) || *p == '-' || *p == ' ');
}

/* ---- commands ---- */

static void test_commands(void **state)
{
    UNUSED(state);
    assert_command("", COMMAND_SERVE);
    assert_command("check", COMMAND_CHECK);
    assert_command("config show", COMMAND_CONFIG_SHOW);
    assert_command("config schema", COMMAND_CONFIG_SCHEMA);
    assert_command("status", COMMAND_STATUS);
    assert_command("reload", COMMAND_RELOAD);
    assert_command("drain", COMMAND_DRAIN);
    assert_command("completion zsh", COMMAND_COMPLETION);
    assert_string_equal(call.argument, "zsh");
    assert_command("help", COMMAND_HELP);
}

static void test_arguments(void **state)
{
    UNUSED(state);
    assert_command("check a.yaml", COMMAND_CHECK);
    assert_string_equal(call.file, "a.yaml");
    assert_command("check -- -a.yaml", COMMAND_CHECK);
    assert_string_equal(call.file, "-a.yaml");
    assert_command("check -", COMMAND_CHECK);
    assert_refused("check a b", "`check` does not take `b`");
    assert_refused("check -c a b", "one file");
    assert_refused("status x", "`status` does not take `x`");
    assert_refused("completion", "bash|zsh|fish");
    assert_refused("completion tcsh", "bash|zsh|fish, not `tcsh`");
    assert_refused("completion bash zsh", "does not take `zsh`");
}

static void test_options_before_and_after(void **state)
{
    static const char *const lines[] = {"-c f status",          "status -c f", "--config f status",
                                        "status --config=f",    "-cf status",  "status -cf",
                                        "--config=f status --", NULL};

    UNUSED(state);
    for (unsigned i = 0; lines[i]; i++) {
        assert_command(lines[i], COMMAND_STATUS);
        assert_string_equal(call.file, "f");
        assert_int_equal(call.given, BIT(CONFIG));
    }
    assert_command("config -c f show", COMMAND_CONFIG_SHOW);
    assert_string_equal(call.file, "f");
}

static void test_options(void **state)
{
    UNUSED(state);
    assert_command("--listen a -l b -lc --listen=d", COMMAND_SERVE);
    assert_int_equal(call.n_listen, 4);
    assert_string_equal(call.listen[0], "a");
    assert_string_equal(call.listen[3], "d");
    assert_command("status --json --exchanges 20", COMMAND_STATUS);
    assert_int_equal(call.given, BIT(JSON) | BIT(EXCHANGES));
    assert_int_equal(call.exchanges, 20);
    assert_command("status --exchanges 0", COMMAND_STATUS);
    assert_int_equal(call.given, BIT(EXCHANGES));
    assert_command("config show --defaults", COMMAND_CONFIG_SHOW);
    assert_command("config show --running", COMMAND_CONFIG_SHOW);
    assert_command("--version", COMMAND_SERVE);
    assert_true(call.given & BIT(VERSION));
    assert_command("-V", COMMAND_SERVE);
}

static void test_options_refused(void **state)
{
    UNUSED(state);
    assert_refused("-l", "--listen needs its ADDRESS");
    assert_refused("status -c", "--config needs its FILE");
    assert_refused("-c a -c b", "--config was given twice");
    assert_refused("status --json=yes", "--json takes no value");
    assert_refused("status -l a", "--listen does not go with `status`");
    assert_refused("-l a status", "--listen does not go with `status`");
    assert_refused("reload --json", "--json does not go with `reload`");
    assert_refused("--json", "--json does not go with");
    assert_refused("status --exchanges -1", "a number up to 10000");
    assert_refused("status --exchanges 99999999999999999999", "a number up to 10000");
    assert_refused("status --exchanges 1x", "a number up to 10000");
    assert_refused("config show --defaults --running", "--defaults goes with neither");
    assert_refused("config show --defaults -c x", "--defaults goes with neither");
    assert_refused("-hx", "--help takes no value");
}

static void test_too_many_listeners(void **state)
{
    char line[1024] = "";

    UNUSED(state);
    for (unsigned i = 0; i < COMMAND_LISTEN_MAX; i++)
        strcat(line, "-l a ");
    assert_command(line, COMMAND_SERVE);
    assert_int_equal(call.n_listen, COMMAND_LISTEN_MAX);
    strcat(line, "-l a");
    assert_refused(line, "more than 32 --listen");
}

/* ---- what is not there ---- */

static void test_guesses(void **state)
{
    UNUSED(state);
    assert_refused("chekc", "did you mean `check`?");
    assert_refused("statsu", "did you mean `status`?");
    assert_refused("config shwo", "did you mean `config show`?");
    assert_refused("--confg x", "did you mean `--config`?");
    assert_refused("status --jsno", "did you mean `--json`?");
    assert_refused("frobnicate", "`ginnel help` lists them");
    assert_refused("status --frobnicate", "`ginnel status --help` lists them");
    assert_refused("-x", "there is no option `-x`");
    assert_refused("_", "there is no command ``");
    assert_refused("config", "`config show` `config schema`");
    assert_refused("config frobnicate", "there is no command `config frobnicate`");
}

static void test_unbuilt(void **state)
{
    static const char *const lines[] = {
        "flows", "trust", "env", "run -- ls -l", "run --frobnicate", NULL};

    UNUSED(state);
    for (unsigned i = 0; lines[i]; i++)
        assert_refused(lines[i], "is not in this build");
    assert_refused("passwd", "`passwd` needs FILE and NAME");
    assert_refused("passwd users", "`passwd` needs FILE and NAME");
    assert_refused("passwd users john x", "`passwd` does not take `x`");
}

/* U42, U40, U52: what asks about a policy; the values of options come in their order. */
static void test_questions(void **state)
{
    UNUSED(state);
    assert_command("why http://a/", COMMAND_WHY);
    assert_string_equal(call.argument, "http://a/");
    assert_int_equal(call.n_values, 0);
    assert_command("why --user jane --header a:1 -c f --header b:2 http://a/ --json", COMMAND_WHY);
    assert_int_equal(call.n_values, 4);
    assert_int_equal(call.values[0].option, FLAG_USER);
    assert_string_equal(call.values[0].value, "jane");
    assert_string_equal(call.values[3].value, "b:2");
    assert_string_equal(call.file, "f");
    assert_refused("why", "`why` needs its URL");
    assert_refused("why --user", "--user needs its NAME");
    assert_refused("why --user a --user b x", "--user was given twice");
    assert_refused("why --listen a x", "--listen does not go with `why`");
    assert_command("denied --json", COMMAND_DENIED);
    assert_refused("denied x", "does not take `x`");
    assert_command("policy from-log -", COMMAND_FROM_LOG);
    assert_string_equal(call.argument, "-");
    assert_command("policy from-log --would --suffixes --per-user", COMMAND_FROM_LOG);
    assert_null(call.argument);
    assert_refused("policy", "`policy from-log`");
    assert_command("check --test t f", COMMAND_CHECK);
    assert_string_equal(call.file, "f");
    assert_refused("check --test t --against l", "do not go together");
    assert_refused("status --test t", "--test does not go with `status`");
}

/* A terminal must not be sent what somebody put into an argument; and nothing overflows. */
static void test_hostile_words(void **state)
{
    char line[4096];

    UNUSED(state);
    assert_refused("\033[31mred", "\\x1b[31mred");
    assert_refused("--\033[31m", "\\x1b");
    assert_refused("check a \033c", "\\x1b");
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_refused(line, "there is no command `xxx");
    memcpy(line, "config ", 7);
    assert_refused(line, "there is no command `config xxx");
    memcpy(line, "help   ", 7);
    assert_command(line, COMMAND_HELP);
    assert_false(command_print_help(call.asked, stderr));
    line[0] = line[1] = '-';
    memset(line + 2, 'x', 5);
    assert_refused(line, "there is no option `--xxx");
}

/* ---- help ---- */

static char *help_text(struct slice name, bool *ret_found)
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    *ret_found = command_print_help(name, f);
    fclose(f);
    return text;
}

static void assert_help(const char *line, const char *part)
{
    bool found;
    char *text;

    assert_command(line, COMMAND_HELP);
    text = help_text(call.asked, &found);
    assert_true(found);
    if (!strstr(text, part))
        fail_msg("`%s` says\n%s\nwithout: %s", line, text, part);
    free(text);
}

static void test_help(void **state)
{
    UNUSED(state);
    assert_help("--help", "usage: ginnel [-c FILE] [-l ADDRESS]...");
    assert_help("-h", "Commands:");
    assert_help("help", "Commands:");
    assert_help("help check", "usage: ginnel check [-c FILE] [--test FILE] [--against LOG] [FILE]");
    assert_help("check --help", "usage: ginnel check [-c FILE] [--test FILE] [--against LOG] [FILE]");
    assert_help("--help check", "usage: ginnel check [-c FILE] [--test FILE] [--against LOG] [FILE]");
    assert_help("help config show", "usage: ginnel config show");
    assert_help("config show -h", "usage: ginnel config show");
    assert_help("help config", "usage: ginnel config schema");
    assert_help("config --help", "usage: ginnel config schema");
    assert_help("completion --help", "usage: ginnel completion bash|zsh|fish");
    assert_help("help why", "usage: ginnel why [-c FILE]");
    assert_help("help flows", "`flows` is not in this build");
}

static void test_help_of_nothing(void **state)
{
    bool found;

    UNUSED(state);
    assert_command("help nope", COMMAND_HELP);
    free(help_text(call.asked, &found));
    assert_false(found);
}

/* Everybody's terminal has 80 columns. */
static void test_help_is_narrow(void **state)
{
    bool found;

    UNUSED(state);
    for (unsigned i = 0; i < command_table_n; i++) {
        char *text = help_text(slice_str(command_table[i].name), &found);
        size_t column = 0;

        assert_true(found);
        for (char *p = text; *p; p++) {
            column = *p == '\n' ? 0 : column + 1;
            assert_true(column <= 80);
        }
        free(text);
    }
}

/* ---- the manual and the completions have all of it, and nothing that is refused is offered ----
 */

static char *manual(void (*print)(FILE *to))
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    print(f);
    fclose(f);
    return text;
}

static void test_manual(void **state)
{
    char *commands = manual(command_print_manual_commands),
         *synopsis = manual(command_print_manual_synopsis);
    char *options = manual(command_print_manual_options);
    const char *refused = strstr(commands, "These are known and refused");

    UNUSED(state);
    assert_non_null(refused);
    for (unsigned i = 1; i < command_table_n; i++) {
        char name[64];
        const char *hit;

        snprintf(name, sizeof(name), "\n*%s*", command_table[i].name);
        hit =
            strncmp(commands, name + 1, strlen(name + 1)) == 0 ? commands : strstr(commands, name);
        assert_non_null(hit);
        assert_int_equal(hit > refused, command_table[i].unbuilt);
        snprintf(name, sizeof(name), "*ginnel %s*", command_table[i].name);
        assert_int_equal(strstr(synopsis, name) != NULL, !command_table[i].unbuilt);
    }
    for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
        char name[64];

        snprintf(name, sizeof(name), "*--%s*", command_options[i].name);
        assert_true(strstr(options, name) || strstr(commands, name));
    }
    free(commands);
    free(synopsis);
    free(options);
}

static void test_completions_offer_what_there_is(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};

    UNUSED(state);
    for (unsigned s = 0; s < ARRAY_LEN(shells); s++) {
        char *text, word[64];
        size_t n;
        FILE *f = open_memstream(&text, &n);

        assert_true(completion_print(shells[s], f));
        fclose(f);
        for (unsigned i = 0; i < COMMAND_N_OPTIONS; i++) {
            snprintf(word, sizeof(word), s == 2 ? "-l %s" : "--%s", command_options[i].name);
            assert_int_equal(strstr(text, word) != NULL, !command_options[i].unbuilt);
        }
        assert_non_null(strstr(text, "from-log"));
        assert_non_null(strstr(text, "passwd"));
        assert_null(strstr(text, "flows"));
        assert_non_null(strstr(text, "reload"));
        free(text);
    }
    assert_false(completion_print("tcsh", stderr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_groups_stand_together),
        cmocka_unit_test(test_names_are_plain_words),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_options_before_and_after),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_too_many_listeners),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_unbuilt),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_hostile_words),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_help_of_nothing),
        cmocka_unit_test(test_help_is_narrow),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_completions_offer_what_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
