/* SPDX-License-Identifier: MIT */
/* mux_h2_window: what a stream's peer may send. The window is returned as the content is taken, and grows while the sink takes all that the way there carries
 * (DESIGN, flow): a window's worth within one round trip means that the window is what holds it back. Two and a half are counted, since TCP, in its
 * slow start, takes two.
 */
#include "mux/mux_h2_priv.h"

#include <string.h>

/* FAST: a window that went in one round trip and a half was all that held its peer back. RETURN: a window is returned in parts, since what waits to be returned is lacking
 * on the way: an eighth of a large one, two frames' worth of a small one. CREDIT: nobody has more than a quarter of what the others left, so that something is left. */
enum { GROW_HALF_TRIPS = 5, GROW = 2, FAST_HALF_TRIPS = 3, GROW_FAST = 4, RETURN_PARTS = 8, RETURN = 32768, CREDIT_PARTS = 4 };

/* ---- the round trip ---- */

/* "window" in a PING of ours; a drain's has zeros. */
static const uint8_t ping_text[8] = {'w', 'i', 'n', 'd', 'o', 'w'};

/* The kernel knows the way to the next machine only, which may be a balancer or another parent. So a PING asks, and the least of its answers counts: others waited behind what
 * the peer had to send. */
static void ask(struct mux_h2 *m)
{
    if (m->trip_us || (m->trip_ms && m->loop->now_ms - m->trip_ms < H2_PING_MS))
        return;
    m->trip_us = m->loop->now_us;
    m->trip_ms = m->loop->now_ms;
    if (nghttp2_submit_ping(m->session, NGHTTP2_FLAG_NONE, ping_text) == NGHTTP2_ERR_NOMEM)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
}

bool h2_window_pong(struct mux_h2 *m, const uint8_t *text)
{
    uint64_t took = m->loop->now_us - m->trip_us;

    if (!m->trip_us || memcmp(text, ping_text, sizeof(ping_text)) != 0)
        return false;
    m->trip_us = 0;
    if (took > H2_PONG_MOST_US)
        took = H2_PONG_MOST_US;
    if (!m->pong_us || took < m->pong_us)
        m->pong_us = took;
    return true;
}

static uint64_t rtt_us(struct mux_h2 *m)
{
    if (!m->rtt_us || m->loop->now_ms - m->rtt_ms >= H2_RTT_MS) {
        m->rtt_ms = m->loop->now_ms;
        m->rtt_us = conn_rtt_us(m->wire.conn);
        if (!m->rtt_us)
            m->rtt_us = m->pong_us ? m->pong_us : H2_RTT_UNKNOWN_US;
        if (m->rtt_us < H2_RTT_LEAST_US)
            m->rtt_us = H2_RTT_LEAST_US;
    }
    return m->rtt_us > m->pong_us ? m->rtt_us : m->pong_us;
}

/* ---- the window ---- */

static void grow(struct stream_h2 *s, unsigned times)
{
    struct h2_credit *credit = s->mux->conf.credit;
    uint64_t want = times * (uint64_t)s->window, had = s->window - s->mux->conf.window, more, most;

    if (want > s->mux->conf.window_max)
        want = s->mux->conf.window_max;
    more = want > s->window ? want - s->window : 0;
    most = credit ? (credit->left + had) / CREDIT_PARTS : UINT64_MAX;
    most = most > had ? most - had : 0;
    if (more > most)
        more = most;
    if (!more || (more < RETURN && s->window + more < s->mux->conf.window_max) ||
        nghttp2_session_set_local_window_size(s->mux->session, NGHTTP2_FLAG_NONE, s->id, (int32_t)(s->window + more)) < 0)
        return;
    if (credit)
        credit->left -= more;
    s->window += (uint32_t)more;
}

/* What was received and is in nobody's hands any more: content that was taken, and padding. */
static void give_back(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    int32_t all = nghttp2_session_get_stream_effective_recv_data_length(m->session, s->id);
    size_t taken = all > 0 && (size_t)all > s->rx.len ? (size_t)all - s->rx.len : 0;

    if (taken < min_size(max_size(s->window / RETURN_PARTS, RETURN), s->window / 2))
        return;
    if (nghttp2_submit_window_update(m->session, NGHTTP2_FLAG_NONE, s->id, (int32_t)taken) == NGHTTP2_ERR_NOMEM)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
}

/* A window's worth was drained. */
static void judge(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    uint64_t took = m->loop->now_us - s->since_us, trip = rtt_us(m);

    if (2 * took <= GROW_HALF_TRIPS * trip)
        grow(s, 2 * took <= FAST_HALF_TRIPS * trip ? GROW_FAST : GROW);
    s->drained = 0;
    s->since_us = m->loop->now_us;
    if (s->window < m->conf.window_max)
        ask(m);
}

void h2_window_drained(struct stream_h2 *s, size_t n)
{
    struct mux_h2 *m = s->mux;

    if (s->closed || s->fin_in || m->state != H2_OPEN)
        return;
    if (!s->since_us)
        s->since_us = m->loop->now_us;
    s->drained += (uint32_t)n;
    if (s->drained >= s->window)
        judge(s);
    if (m->state == H2_OPEN)
        give_back(s);
    if (m->state == H2_OPEN && nghttp2_session_want_write(m->session))
        h2_flush_soon(m);
}

void h2_window_done(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;

    if (m->conf.credit && s->window > m->conf.window)
        m->conf.credit->left += s->window - m->conf.window;
    s->window = m->conf.window;
}
