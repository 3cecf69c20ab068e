/* SPDX-License-Identifier: MIT */
/* raw: tunnel mode. A FIN received becomes rx END, a FIN to send waits behind what is queued, a reset is an error and never an
 * end.
 */
#include "mux/raw.h"

enum io raw_broken(struct raw r)
{
    if (r.wire->conn && r.wire->conn->error == ERR_NOMEM)
        r.stream->fault = (struct stream_fault){END_NO_MEMORY, "out of memory"};
    else if (r.client)
        r.stream->fault = (struct stream_fault){END_CLIENT_RESET, "the client reset the connection"};
    else
        r.stream->fault = (struct stream_fault){END_UPSTREAM_RESET, "the origin reset the connection"};
    return IO_ERR;
}

enum io raw_recv(struct raw r, void *p, size_t cap, size_t *ret_n)
{
    enum io io;

    if (r.stream->rx == STREAM_END)
        return IO_EOF;
    io = wire_recv(r.wire, p, cap, ret_n);
    if (io == IO_EOF)
        r.stream->rx = STREAM_END;
    return io == IO_ERR ? raw_broken(r) : io;
}

enum io raw_send(struct raw r, const void *p, size_t n, bool last)
{
    struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};

    if (wire_send(r.wire, &v, 1) == IO_ERR)
        return raw_broken(r);
    return last ? raw_end(r) : IO_OK;
}

enum io raw_end(struct raw r)
{
    bool again = r.stream->tx == STREAM_END;

    r.stream->tx = STREAM_END;
    /* The other direction has ended before: the close that follows at once is the FIN. If it does not follow, this is called again. */
    if (r.stream->rx == STREAM_END && !again && !r.wire->out.len && !r.wire->conn->error)
        return IO_OK;
    return wire_fin(r.wire) == IO_ERR ? raw_broken(r) : IO_OK;
}

void raw_moved(struct raw r, enum stream_dir dir, uint64_t n)
{
    struct conn *c = r.wire->conn;

    if (dir == STREAM_TX && !n)
        c->ready &= (uint8_t)~CONN_TX;
    else if (dir == STREAM_TX)
        c->tx_bytes += n;
    else if (n)
        c->rx_bytes += n;
    else if (!c->error)
        c->eof = true; /* the next recv tells it as what it is */
}
