/* SPDX-License-Identifier: MIT */
/* lookup: turns a loop until the answer is there. The resolver has its own deadline, which this trusts and, for a stuck helper, does not.
 */
#include "app/lookup.h"

#include "base/err.h"

enum { LOOKUP_FACTS = 64, LOOKUP_TURN_MS = 100, LOOKUP_MAX_MS = 30 * 1000 };

struct asker {
    struct task task;
    struct resolve_req req;
};

static void woken(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
}

const char *lookup_text(enum resolve_status s)
{
    switch (s) {
    case RESOLVE_OK:
        return NULL;
    case RESOLVE_NXDOMAIN:
        return "the name does not exist";
    case RESOLVE_NODATA:
        return "the name has no address";
    case RESOLVE_FAILED:
        return "the resolver failed";
    case RESOLVE_TIMEOUT:
        return "the resolver did not answer";
    case RESOLVE_LIMIT:
        break;
    }
    return "the lookup could not be made";
}

static void ask(struct loop *loop, struct resolver *r, struct slice name, struct resolve_answer *ret_answer)
{
    struct asker a = {0};
    uint64_t until_ms = loop->now_ms + LOOKUP_MAX_MS;

    task_init(&a.task, loop, "lookup", woken);
    resolve_start(r, name, &a.req, &a.task, ret_answer);
    while (!a.req.done && loop->now_ms < until_ms)
        loop_turn(loop, LOOKUP_TURN_MS);
    if (!a.req.done)
        ret_answer->status = RESOLVE_TIMEOUT;
    resolve_cancel(&a.req);
    task_cancel(&a.task);
}

int lookup(const struct resolve_conf *conf, struct slice name, struct resolve_answer *ret_answer)
{
    struct board *board = board_new(LOOKUP_FACTS, RESOLVE_FACT_MAX);
    struct helper_pool *helpers = helper_pool_new(1, 4);
    struct resolver *resolver;
    struct loop loop;
    int r = board && helpers ? loop_init(&loop, &world_linux) : ERR_NOMEM;

    if (r < 0)
        goto fail_pools;
    r = resolver_new(&loop, board, helpers, conf, &resolver);
    if (r == 0) {
        loop_turn(&loop, 0);
        ask(&loop, resolver, name, ret_answer);
        resolver_free(resolver);
    }
    if (helpers)
        helper_pool_free(helpers);
    helpers = NULL;
    loop_turn(&loop, 0);
    loop_done(&loop);

fail_pools:
    if (helpers)
        helper_pool_free(helpers);
    board_free(board);
    return r;
}
