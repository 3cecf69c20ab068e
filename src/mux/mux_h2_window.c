/* SPDX-License-Identifier: MIT */
/* mux_h2_window: what a stream's peer may send. The window is returned as the content is taken, and grows while the sink takes all that the way there carries
 * (DESIGN, flow): a window's worth within two round trips means that the window is what holds it back.
 */
#include "mux/mux_h2_priv.h"

enum { GROW_WITHIN_TRIPS = 2 };

static uint64_t rtt_us(struct mux_h2 *m)
{
    if (m->rtt_us && m->loop->now_ms - m->rtt_ms < H2_RTT_MS)
        return m->rtt_us;
    m->rtt_ms = m->loop->now_ms;
    m->rtt_us = conn_rtt_us(m->wire.conn);
    if (!m->rtt_us)
        m->rtt_us = H2_RTT_UNKNOWN_US;
    if (m->rtt_us < H2_RTT_LEAST_US)
        m->rtt_us = H2_RTT_LEAST_US;
    return m->rtt_us;
}

static bool credit_take(struct h2_credit *c, uint64_t n)
{
    if (!c)
        return true;
    if (c->left < n)
        return false;
    c->left -= n;
    return true;
}

static void grow(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    uint64_t want = 2 * (uint64_t)s->window;

    if (want > m->conf.window_max)
        want = m->conf.window_max;
    if (want <= s->window || !credit_take(m->conf.credit, want - s->window))
        return;
    if (nghttp2_session_set_local_window_size(m->session, NGHTTP2_FLAG_NONE, s->id, (int32_t)want) < 0) {
        if (m->conf.credit)
            m->conf.credit->left += want - s->window;
        return;
    }
    s->window = (uint32_t)want;
}

void h2_window_drained(struct stream_h2 *s, size_t n)
{
    struct mux_h2 *m = s->mux;

    if (s->closed || s->fin_in || m->state != H2_OPEN)
        return;
    s->drained += (uint32_t)n;
    if (s->drained >= s->window) {
        if (m->loop->now_us - s->since_us <= GROW_WITHIN_TRIPS * rtt_us(m))
            grow(s);
        s->drained = 0;
        s->since_us = m->loop->now_us;
    }
    if (nghttp2_session_consume_stream(m->session, s->id, n) == NGHTTP2_ERR_NOMEM)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
    if (nghttp2_session_want_write(m->session))
        h2_flush_soon(m);
}

void h2_window_done(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;

    if (m->conf.credit && s->window > m->conf.window)
        m->conf.credit->left += s->window - m->conf.window;
    s->window = m->conf.window;
}
