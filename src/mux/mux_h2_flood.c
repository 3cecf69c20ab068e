/* SPDX-License-Identifier: MIT */
/* mux_h2_flood: counts what a peer can do at no cost to itself, and ends the connection when that is more than anybody honest does (C65, FAILURES 18 to 20).
 * Called for every frame. It never judges a stream alone: that is nghttp2's and the roles'.
 */
#include "mux/mux_h2_priv.h"

enum { TINY_UPDATE = 1024, FREE_UPDATES_MAX = 1024, FREE_UPDATES_EACH = 2 /* the stream's and the connection's */ };

/* False: over. */
static bool fill(struct h2_bucket *b, uint64_t now_ms, uint32_t rate, uint32_t burst)
{
    uint64_t leaked = (now_ms - b->at_ms) * rate;

    b->milli = b->milli > leaked ? b->milli - leaked : 0;
    b->at_ms = now_ms;
    b->milli += 1000;
    return b->milli <= (uint64_t)burst * 1000;
}

void h2_flood_control(struct mux_h2 *m)
{
    if (!fill(&m->control, m->loop->now_ms, m->conf.control_rate, m->conf.control_burst))
        h2_end(m, NGHTTP2_ENHANCE_YOUR_CALM, "a flood of control frames");
}

void h2_flood_fault(struct mux_h2 *m)
{
    if (!fill(&m->resets, m->loop->now_ms, m->conf.resets_rate, m->conf.resets_burst))
        h2_end(m, NGHTTP2_ENHANCE_YOUR_CALM, "a flood of streams that are reset");
}

/* Ids that were passed over are closed (RFC 9113 5.1.1). nghttp2 takes them for streams that have ended. */
static void see_id(struct mux_h2 *m, int32_t id)
{
    if (id > m->last_id) {
        if (id > m->last_id + 2) {
            m->gap_from = m->last_id;
            m->gap_to = id;
        }
        m->last_id = id;
    } else if (id > m->gap_from && id < m->gap_to) {
        h2_end(m, NGHTTP2_PROTOCOL_ERROR, "a stream's id goes backward");
    }
}

void h2_flood_frame(struct mux_h2 *m, const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_DATA:
        if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
            h2_flood_control(m);
        return;
    case NGHTTP2_RST_STREAM:
        /* In the client role each answers a request of ours. */
        if (m->server)
            h2_flood_fault(m);
        return;
    case NGHTTP2_PRIORITY:
        /* Ignored, but not on the connection itself (RFC 9113 6.3). */
        if (hd->stream_id == 0)
            h2_end(m, NGHTTP2_PROTOCOL_ERROR, "a PRIORITY frame of no stream");
        h2_flood_control(m);
        return;
    case NGHTTP2_SETTINGS:
        if (!(hd->flags & NGHTTP2_FLAG_ACK))
            h2_flood_control(m);
        return;
    case NGHTTP2_PING:
        /* We ask when a drain begins, when there is silence, and seldom for the round trip. */
        if (!(hd->flags & NGHTTP2_FLAG_ACK) || (!m->drain && !m->ping_ms && !m->trip_us))
            h2_flood_control(m);
        return;
    case NGHTTP2_HEADERS:
        if (m->server)
            see_id(m, hd->stream_id);
        return;
    case NGHTTP2_WINDOW_UPDATE: /* h2_flood_update */
        return;
    case NGHTTP2_CONTINUATION:
        h2_flood_control(m);
        return;
    default:
        return;
    }
}

void h2_flood_update(struct mux_h2 *m, uint32_t increment)
{
    if (increment >= TINY_UPDATE)
        return;
    if (m->free_updates)
        m->free_updates--;
    else
        h2_flood_control(m);
}

/* A peer may answer each frame of content, however short it was because there was no more. One that a tiny window has made short is the peer's own doing. */
void h2_flood_sent(struct mux_h2 *m, uint32_t n, bool by_window)
{
    (void)n;
    if (!by_window && m->free_updates < FREE_UPDATES_MAX)
        m->free_updates += FREE_UPDATES_EACH;
}
