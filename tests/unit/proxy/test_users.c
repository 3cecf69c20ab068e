/* SPDX-License-Identifier: MIT */
/* Guesses, the lines of programs, and verifying with helpers and programs: what is remembered, what is shared, what it costs. */
#include "proxy/users_verify.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/program.h"
#include "support/memfail.h"

#include <crypt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- guesses (virtual time) ---- */

static struct users_client client_of(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse(slice_str(text), &a), 0);
    return users_client(&a, 7);
}

static void test_guesses(void **state)
{
    struct board *b = board_new(256, 64);
    struct users_client c = client_of("192.0.2.1:5");
    uint64_t now = 1000, wait_ms = 0;

    UNUSED(state);
    for (unsigned i = 0; i < USERS_GUESSES; i++) {
        assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_MAY);
        users_guesses_end(b, &c, now, true);
    }
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_NONE);
    assert_int_equal(wait_ms, USERS_GUESS_MS);
    now += USERS_GUESS_MS - 1;
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_NONE);
    assert_int_equal(wait_ms, 1);
    /* one token in six seconds, no more */
    now += 1;
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_MAY);
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_HELD);
    users_guesses_end(b, &c, now, true);
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_NONE);
    /* others are not concerned */
    c = client_of("192.0.2.2:5");
    assert_int_equal(users_guesses_begin(b, &c, now, &wait_ms), USERS_GUESS_MAY);
    board_free(b);
}

/* Nobody gets more tries by asking at the same time; right ones give their token back. */
static void test_guesses_at_once(void **state)
{
    struct board *b = board_new(256, 64);
    struct users_client c = client_of("192.0.2.1:5");
    uint64_t wait_ms = 0;

    UNUSED(state);
    for (unsigned i = 0; i < USERS_GUESSES; i++)
        assert_int_equal(users_guesses_begin(b, &c, 1000, &wait_ms), USERS_GUESS_MAY);
    assert_int_equal(users_guesses_begin(b, &c, 1000, &wait_ms), USERS_GUESS_HELD);
    users_guesses_end(b, &c, 1000, false);
    assert_int_equal(users_guesses_begin(b, &c, 1000, &wait_ms), USERS_GUESS_MAY);
    for (unsigned i = 0; i < USERS_GUESSES; i++)
        users_guesses_end(b, &c, 1000, true);
    assert_int_equal(users_guesses_begin(b, &c, 1000, &wait_ms), USERS_GUESS_NONE);
    /* an end too many (the board gave the fact up in between) does no harm, nor a clock that is behind */
    users_guesses_end(b, &c, 1000, false);
    assert_int_equal(users_guesses_begin(b, &c, 500, &wait_ms), USERS_GUESS_NONE);
    board_free(b);
}

/* Where a client is: a port is nothing, IPv6 counts by /64, a mapped address is one of IPv4, users of this machine by number. */
static void test_clients(void **state)
{
    struct users_client a = client_of("192.0.2.1:5"), b = client_of("192.0.2.1:6"), m = client_of("[::ffff:192.0.2.1]:5");
    struct users_client six = client_of("[2001:db8:1:2::1]:5"), same = client_of("[2001:db8:1:2:ffff::9]:5"), other = client_of("[2001:db8:1:3::1]:5");
    struct addr file = {.sa.sa_family = AF_UNIX};
    struct users_client u7 = users_client(&file, 7), u8 = users_client(&file, 8);

    UNUSED(state);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_equal(&a, &m, sizeof(a));
    assert_memory_equal(&six, &same, sizeof(a));
    assert_memory_not_equal(&six, &other, sizeof(a));
    assert_memory_not_equal(&a, &six, sizeof(a));
    assert_memory_not_equal(&u7, &u8, sizeof(a));
}

/* ---- lines ---- */

static void assert_list(const char *p, unsigned n, const char *want)
{
    if (!slice_eq(slice_of(p, n), slice_str(want)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)n, p, want);
}

static void test_answers(void **state)
{
    static const struct {
        const char *line;
        enum users_answer_kind kind;
        const char *user, *groups, *tags;
    } rows[] = {
        {"OK", USERS_ANSWER_OK, "", "", ""},
        {"OK ", USERS_ANSWER_OK, "", "", ""},
        {"OK user=anna", USERS_ANSWER_OK, "anna", "", ""},
        {"OK user=\"anna b\" group=staff group=admin tag=red tag=prio=high", USERS_ANSWER_OK, "anna b", "staff,admin", "red,prio=high"},
        {"OK group=a,b tag=\"x,y\" message=\"hello \\\"you\\\" \\\\ there\" user=z", USERS_ANSWER_OK, "z", "a,b", "x,y"},
        {"OK user=a%2Bb", USERS_ANSWER_OK, "", "", ""}, /* no name that may be */
        {"OK user=a%20b group=c%2", USERS_ANSWER_OK, "a b", "c%2", ""},
        {"OK clt_conn_tag=x ttl=5 user=u", USERS_ANSWER_OK, "u", "", ""},
        {"OK tag=no/label tag=good", USERS_ANSWER_OK, "", "", "good"},
        {"OK user=\"anna", USERS_ANSWER_OK, "", "", ""},
        {"OK some message", USERS_ANSWER_OK, "", "", ""},
        {"ERR", USERS_ANSWER_ERR, "", "", ""},
        {"ERR message=\"no such user\" user=x", USERS_ANSWER_ERR, "", "", ""},
        {"BH Success", USERS_ANSWER_ERR, "", "", ""}, /* basic_ldap_auth without -P, of a wrong password */
        {"BH Success and more", USERS_ANSWER_BH, "", "", ""},
        {"BH message=down", USERS_ANSWER_BH, "", "", ""},
        {"", USERS_ANSWER_NONE, "", "", ""},
        {"OKAY", USERS_ANSWER_NONE, "", "", ""},
        {"ok", USERS_ANSWER_NONE, "", "", ""},
        {" OK", USERS_ANSWER_NONE, "", "", ""},
        {"ERROR", USERS_ANSWER_NONE, "", "", ""},
    };
    struct users_answer a;

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        users_answer_parse(slice_str(rows[i].line), &a);
        assert_int_equal(a.kind, rows[i].kind);
        assert_list(a.user, a.user_n, rows[i].user);
        assert_list(a.groups, a.groups_n, rows[i].groups);
        assert_list(a.tags, a.tags_n, rows[i].tags);
    }
}

static void test_questions(void **state)
{
    char out[64];
    size_t n = users_answer_ask(SLICE("jo hn%"), SLICE("a\\\"\n\xc3\xa4 "), out, sizeof(out));

    UNUSED(state);
    assert_list(out, (unsigned)n, "jo%20hn%25 a%5C%22%0A%C3%A4%20");
    for (size_t cap = 0; cap < n; cap++)
        assert_true(users_answer_ask(SLICE("jo hn%"), SLICE("a\\\"\n\xc3\xa4 "), out, cap) <= cap);
    assert_int_equal(users_answer_ask(SLICE("john"), SLICE("x"), out, 4), 0);
}

/* ---- verifying ---- */

struct asker {
    struct task task;
    struct users_wait wait;
    struct arena arena;
    struct users_who who;
    uint64_t wait_ms;
    unsigned woken;
};

static struct loop loop;
static struct board *board;
static struct helper_pool *helpers;
static struct users_desk desk;
static struct users users;
static char rows[4][512];

static void wake(struct task *t, unsigned bits)
{
    UNUSED(bits);
    CONTAINER_OF(t, struct asker, task)->woken++;
}

static void add_user(const char *name, const char *password, const char *labels)
{
    struct crypt_data data = {0};
    const char *hash = crypt_rn(password, "$5$rounds=1000$saltsalt", &data, sizeof(data));
    const struct users_row *first;
    char *p = rows[users.names.n];
    int n = snprintf(p, sizeof(rows[0]), "%s%c%s%c%s", name, '\0', hash, '\0', labels);

    assert_true(n < (int)sizeof(rows[0]));
    assert_int_equal(users_table_add(&users.names, (struct users_row){p, (uint16_t)strlen(name), (uint16_t)strlen(hash), (uint16_t)strlen(labels)},
                                     &first), 0);
}

static int setup(void **state)
{
    UNUSED(state);
    users = (struct users){.cache_ms = 1000, .timeout_ms = 10000};
    add_user("john", "secret", "red,blue");
    add_user("anna", "geheim", "");
    board = board_new(256, USERS_FACT_MAX);
    helpers = helper_pool_new(2, 64);
    if (!board || !helpers || loop_init(&loop, &world_linux) < 0)
        return -1;
    users_desk_init(&desk, &loop, board, helpers);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    helper_pool_free(helpers);
    loop_turn(&loop, 0);
    assert_true(list_empty(&desk.jobs));
    loop_done(&loop);
    board_free(board);
    users_done(&users);
    return 0;
}

static void asker_init(struct asker *k)
{
    *k = (struct asker){0};
    task_init(&k->task, &loop, "asker", wake);
    arena_init(&k->arena, NULL, 1 << 16);
}

static void asker_done(struct asker *k)
{
    users_cancel(&k->wait);
    task_cancel(&k->task);
    arena_done(&k->arena);
}

static enum users_verdict ask(struct asker *k, const char *name, const char *password)
{
    struct users_question q = {.users = &users, .name = slice_str(name), .password = slice_str(password), .client = client_of("192.0.2.1:1")};

    return users_verify(&desk, &q, &k->wait, &k->task, &k->arena, &k->who, &k->wait_ms);
}

static enum users_verdict finish(struct asker *k)
{
    for (int i = 0; i < 4000 && !k->woken; i++)
        loop_turn(&loop, 5);
    return users_verified(&users, &k->wait, &k->arena, &k->who);
}

static enum users_verdict once(const char *name, const char *password)
{
    enum users_verdict v;
    struct asker k;

    asker_init(&k);
    v = ask(&k, name, password);
    if (v == USERS_WAIT)
        v = finish(&k);
    asker_done(&k);
    return v;
}

static void test_verify(void **state)
{
    struct asker k;

    UNUSED(state);
    asker_init(&k);
    assert_int_equal(ask(&k, "john", "secret"), USERS_WAIT);
    assert_int_equal(users_verified(&users, &k.wait, &k.arena, &k.who), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_RIGHT);
    assert_list(k.who.user.p, (unsigned)k.who.user.n, "john");
    assert_list(k.who.permitted.p, (unsigned)k.who.permitted.n, "red,blue");
    /* now it is known */
    assert_int_equal(ask(&k, "john", "secret"), USERS_RIGHT);
    asker_done(&k);
    assert_int_equal(once("john", "wrong"), USERS_WRONG);
    assert_int_equal(once("john", ""), USERS_WRONG);
    assert_int_equal(once("nobody", "secret"), USERS_WRONG);
    /* an unknown name was measured against anna's or john's hash, and with the right password for that it is unknown all the same */
    assert_int_equal(once("nobody", "geheim"), USERS_WRONG);
    assert_int_equal(once("anna", "secret"), USERS_WRONG);
    assert_int_equal(once("anna", "geheim"), USERS_RIGHT);
}

/* What was right is known for as long as the line is the same, whatever else changes; then it is a new question. */
static void test_memory_of_answers(void **state)
{
    struct asker k;

    UNUSED(state);
    assert_int_equal(once("john", "secret"), USERS_RIGHT);
    assert_int_equal(once("anna", "geheim"), USERS_RIGHT);
    users_done(&users);
    add_user("anna", "geheim", "");
    add_user("john", "changed", "");
    asker_init(&k);
    assert_int_equal(ask(&k, "anna", "geheim"), USERS_RIGHT);
    assert_int_equal(ask(&k, "john", "secret"), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_WRONG);
    /* the labels are those of the file as it is now */
    k.woken = 0;
    assert_int_equal(ask(&k, "john", "changed"), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_RIGHT);
    assert_int_equal(k.who.permitted.n, 0);
    /* and after its time it is forgotten */
    loop.now_ms += 1000;
    k.woken = 0;
    assert_int_equal(ask(&k, "anna", "geheim"), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_RIGHT);
    users.cache_ms = 0;
    asker_done(&k);
}

static void test_throttle(void **state)
{
    struct asker k;

    UNUSED(state);
    assert_int_equal(once("john", "secret"), USERS_RIGHT);
    for (unsigned i = 0; i < USERS_GUESSES; i++) {
        char wrong[16];

        snprintf(wrong, sizeof(wrong), "wrong%u", i);
        assert_int_equal(once("john", wrong), USERS_WRONG);
    }
    asker_init(&k);
    /* not even the right one is verified now; but who is known goes on */
    assert_int_equal(ask(&k, "anna", "geheim"), USERS_THROTTLED);
    assert_true(k.wait_ms > 0 && k.wait_ms <= USERS_GUESS_MS);
    assert_int_equal(ask(&k, "john", "secret"), USERS_RIGHT);
    asker_done(&k);
}

/* One job for one question; each asker gets the answer; who gives up does not disturb it. */
static void test_askers_share(void **state)
{
    struct asker k[3];

    UNUSED(state);
    for (unsigned i = 0; i < 3; i++) {
        asker_init(&k[i]);
        assert_int_equal(ask(&k[i], "john", "secret"), USERS_WAIT);
    }
    assert_ptr_equal(k[0].wait.job, k[1].wait.job);
    users_cancel(&k[0].wait);
    users_cancel(&k[0].wait);
    assert_int_equal(finish(&k[1]), USERS_RIGHT);
    assert_int_equal(finish(&k[2]), USERS_RIGHT);
    assert_int_equal(k[0].woken, 0);
    for (unsigned i = 0; i < 3; i++)
        asker_done(&k[i]);
    /* nobody waits: it is remembered all the same */
    asker_init(&k[0]);
    assert_int_equal(ask(&k[0], "anna", "geheim"), USERS_WAIT);
    asker_done(&k[0]);
    for (int i = 0; i < 4000 && !list_empty(&desk.jobs); i++)
        loop_turn(&loop, 5);
    asker_init(&k[0]);
    assert_int_equal(ask(&k[0], "anna", "geheim"), USERS_RIGHT);
    asker_done(&k[0]);
}

static void test_nobody_and_no_helpers(void **state)
{
    struct users none = {.timeout_ms = 1}, kept = users;

    UNUSED(state);
    users = none;
    assert_int_equal(once("john", "secret"), USERS_WRONG);
    users = kept;
    desk.helpers = NULL;
    assert_int_equal(once("john", "secret"), USERS_UNAVAILABLE);
    desk.helpers = helpers;
    assert_int_equal(once("john", "secret"), USERS_RIGHT);
}

static void test_refused_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        enum users_verdict v = once("john", "secret");

        assert_true(v == USERS_RIGHT || (memfail_hit() && (v == USERS_NOMEM || v == USERS_UNAVAILABLE)));
        board_free(board);
        mem_set_gate(NULL);
        board = board_new(256, USERS_FACT_MAX);
        desk.board = board;
        mem_set_gate(memfail_gate);
    }
}

/* ---- users of this machine ---- */

static void test_peer(void **state)
{
    const struct passwd *me = getpwuid(geteuid());
    struct asker k;

    UNUSED(state);
    if (!me)
        skip();
    asker_init(&k);
    assert_int_equal(users_peer(&desk, &users, geteuid(), &k.wait, &k.task, &k.arena, &k.who), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_RIGHT);
    assert_list(k.who.user.p, (unsigned)k.who.user.n, me->pw_name);
    assert_int_equal(k.who.permitted.n, 0);
    assert_int_equal(users_peer(&desk, &users, geteuid(), &k.wait, &k.task, &k.arena, &k.who), USERS_RIGHT);
    k.woken = 0;
    assert_int_equal(users_peer(&desk, &users, 4123456789u, &k.wait, &k.task, &k.arena, &k.who), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_WRONG);
    assert_int_equal(users_peer(&desk, &users, 4123456789u, &k.wait, &k.task, &k.arena, &k.who), USERS_WRONG);
    /* who is from another namespace could be anybody */
    assert_int_equal(users_peer(&desk, &users, 65534, &k.wait, &k.task, &k.arena, &k.who), USERS_WRONG);
    asker_done(&k);
}

/* ---- by a program ---- */

static bool is_answer(struct slice line)
{
    return users_answer_kind(line) != USERS_ANSWER_NONE;
}

static void say(enum log_level level, const char *text)
{
    UNUSED(level);
    UNUSED(text);
}

static void test_program(void **state)
{
    static const char script[] = "while read -r u p; do case $p in s%20x) echo 'OK user=JOHN group=a,b tag=red';; down) echo BH;; plain) echo OK;; *) echo ERR;; esac; done";
    static const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct program_opts o = {.argv = argv, .children = 1, .timeout_ms = 20000, .queue_max = 8, .is_answer = is_answer, .say = say};
    struct program *p;
    struct asker k;

    UNUSED(state);
    users.by_program = true;
    users.argv = argv;
    assert_int_equal(once("john", "s x"), USERS_UNAVAILABLE); /* none runs */
    assert_int_equal(program_new(&o, &p), 0);
    users.program = p;
    asker_init(&k);
    assert_int_equal(ask(&k, "john", "s x"), USERS_WAIT);
    assert_int_equal(finish(&k), USERS_RIGHT);
    assert_list(k.who.user.p, (unsigned)k.who.user.n, "JOHN");
    assert_list(k.who.groups.p, (unsigned)k.who.groups.n, "a,b");
    assert_list(k.who.permitted.p, (unsigned)k.who.permitted.n, "red");
    k.who = (struct users_who){0};
    assert_int_equal(ask(&k, "john", "s x"), USERS_RIGHT);
    assert_list(k.who.user.p, (unsigned)k.who.user.n, "JOHN");
    assert_list(k.who.groups.p, (unsigned)k.who.groups.n, "a,b");
    asker_done(&k);
    assert_int_equal(once("john", "s y"), USERS_WRONG);
    assert_int_equal(once("john", "plain"), USERS_RIGHT);
    /* that nobody can say now is no wrong password, and is not remembered */
    for (unsigned i = 0; i < 2 * USERS_GUESSES; i++)
        assert_int_equal(once("john", "down"), USERS_UNAVAILABLE);
    program_free(p);
    users.program = NULL;
    loop_turn(&loop, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guesses), cmocka_unit_test(test_guesses_at_once), cmocka_unit_test(test_clients), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_questions), TEST(test_verify), TEST(test_memory_of_answers), TEST(test_throttle), TEST(test_askers_share),
        TEST(test_nobody_and_no_helpers), TEST(test_refused_memory), TEST(test_peer), TEST(test_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
