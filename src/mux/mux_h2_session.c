/* SPDX-License-Identifier: MIT */
/* mux_h2_session: an nghttp2 session as ginnel wants it: its memory, its options, its call-backs, the SETTINGS that it begins with. Made and ended by mux_h2 with
 * the connection. What nghttp2 counts by itself is switched off or made too large to be met: mux_h2_flood counts. Never moves a byte.
 */
#include "mux/mux_h2_priv.h"

#include "base/mem.h"

/* As good as no bound, in what nghttp2 counts; CONTINUATION frames that it takes for one head. */
enum { HUGE = 1 << 30, CONTINUATIONS = 64 };

/* ---- memory ---- */

/* nghttp2 1.52 frees twice what it could not queue for lack of memory (nghttp2_submit_data where priorities are off). So once it has been refused some, nothing
 * of its is freed before the session is. */
struct lib_block {
    struct lib_block *next;
    bool freed;
    _Alignas(16) char bytes[];
};

static void *lib_bytes(struct mux_h2 *m, struct lib_block *b)
{
    if (!b)
        m->refused = true;
    else
        b->freed = false;
    return b ? b->bytes : NULL;
}

static struct lib_block *lib_block(void *p)
{
    return p ? CONTAINER_OF(p, struct lib_block, bytes) : NULL;
}

static void *lib_malloc(size_t n, void *user)
{
    return lib_bytes(user, mem_alloc(sizeof(struct lib_block) + n));
}

static void lib_free(void *p, void *user)
{
    struct lib_block *b = lib_block(p);
    struct mux_h2 *m = user;

    if (!m->refused) {
        mem_free(b);
    } else if (b && !b->freed) {
        b->freed = true;
        b->next = m->freed;
        m->freed = b;
    }
}

static void *lib_calloc(size_t n, size_t size, void *user)
{
    return lib_bytes(user, n && size > SIZE_MAX / 2 / n ? NULL : mem_zalloc(sizeof(struct lib_block) + n * size));
}

static void *lib_realloc(void *p, size_t n, void *user)
{
    return lib_bytes(user, mem_grow(lib_block(p), sizeof(struct lib_block) + n));
}

/* ---- life ---- */

/* Floods are counted in one place, ours, but for what would wait inside nghttp2. */
static int set_options(nghttp2_option *o, const struct mux_h2 *m)
{
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_stream_reset_rate_limit(o, HUGE, HUGE);
    nghttp2_option_set_max_send_header_block_length(o, HUGE);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_continuations(o, CONTINUATIONS);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(o, (uint8_t)type);
    if (!m->server)
        nghttp2_option_set_peer_max_concurrent_streams(o, 100);
    return 0;
}

static int open_session(struct mux_h2 *m)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *o = NULL;
    int r = ERR_NOMEM;

    m->mem = (nghttp2_mem){.mem_user_data = m, .malloc = lib_malloc, .free = lib_free, .calloc = lib_calloc, .realloc = lib_realloc};
    if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&o))
        goto done;
    h2_recv_callbacks(cb);
    h2_send_callbacks(cb);
    set_options(o, m);
    if (m->server)
        r = nghttp2_session_server_new3(&m->session, cb, m, o, &m->mem);
    else
        r = nghttp2_session_client_new3(&m->session, cb, m, o, &m->mem);

done:
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    return r ? ERR_NOMEM : 0;
}

/* The connection's window bounds nothing, as it is returned on receipt; it only has to be larger than what is on the way. (It is returned by halves.) */
static int greet(struct mux_h2 *m)
{
    const nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HUGE}, /* what the peer is told: put_frames (mux_h2_send.c) */
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, m->conf.window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, m->conf.heads->head},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    const nghttp2_settings_entry client[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, m->conf.window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, m->conf.heads->head},
    };
    uint32_t all = m->conf.window_max < HUGE / 8 ? 4 * m->conf.window_max : HUGE / 2;
    int r;

    if (m->server)
        r = nghttp2_submit_settings(m->session, NGHTTP2_FLAG_NONE, server, ARRAY_LEN(server));
    else
        r = nghttp2_submit_settings(m->session, NGHTTP2_FLAG_NONE, client, ARRAY_LEN(client));
    if (r == 0)
        r = nghttp2_session_set_local_window_size(m->session, NGHTTP2_FLAG_NONE, 0, (int32_t)(all > 65536 ? all : 65536));
    return r ? ERR_NOMEM : 0;
}

int h2_session_open(struct mux_h2 *m)
{
    return open_session(m) < 0 ? ERR_NOMEM : greet(m);
}

void h2_session_close(struct mux_h2 *m)
{
    nghttp2_session_del(m->session);
    while (m->freed) {
        struct lib_block *b = m->freed;

        m->freed = b->next;
        mem_free(b);
    }
}
