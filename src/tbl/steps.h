/* SPDX-License-Identifier: MIT */
/* The life of a request: one row a step, one file each (step_NAME.c), with the question it answers. The edges beside them are all
 * there are; the runner asserts them. X(ID, name, edges) */
#ifndef STEP_X
#error "define STEP_X first"
#endif
/* is this a request that we can represent? */
STEP_X(HEAD, head, TO(AUTH) | TO(REPLY) | TO(LOG))
/* who asks? */
STEP_X(AUTH, auth, TO(POLICY) | TO(REPLY) | TO(LOG))
/* may it pass? once for what is known, again for each address that could be dialled */
STEP_X(POLICY, policy, TO(RESOLVE) | TO(ROUTE) | TO(PEEK) | TO(REPLY) | TO(LOG))
/* which addresses? */
STEP_X(RESOLVE, resolve, TO(POLICY) | TO(REPLY) | TO(LOG))
/* which way? where its connections come from; before the name is resolved, where there is a choice */
STEP_X(ROUTE, route, TO(DIAL) | TO(RESOLVE) | TO(POLICY) | TO(REPLY) | TO(LOG))
/* an upstream stream, kept or new; resolve: the next alternative is direct */
STEP_X(DIAL, dial, TO(SEND) | TO(RESOLVE) | TO(REPLY) | TO(LOG))
/* what is in the tunnel? the client's first bytes, before they go anywhere */
STEP_X(PEEK, peek, TO(POLICY) | TO(RELAY) | TO(REPLY) | TO(LOG))
/* write the request head upstream, start the upload */
STEP_X(SEND, send, TO(REPLY) | TO(LOG))
/* the response head, or a local reply: filter, write, start the download */
STEP_X(REPLY, reply, TO(RELAY) | TO(PEEK) | TO(DIAL) | TO(REPLY) | TO(LOG))
/* move bytes until both directions are done */
STEP_X(RELAY, relay, TO(LOG))
/* one record, the counters, and the streams go back to where they came from */
STEP_X(LOG, log, 0)
#undef STEP_X
