/* SPDX-License-Identifier: MIT */
/* access_texts: the strings of a record as a list, for whoever copies all of them. Thread: any. */
#ifndef PROXY_ACCESS_TEXTS_H
#define PROXY_ACCESS_TEXTS_H

#include "proxy/access.h"

enum {
    ACCESS_TEXTS = 16,
    ACCESS_HOST_MAX = 255,
    ACCESS_NAME_MAX = 128, /* a listener's */
    ACCESS_RULE_MAX = 256,
    ACCESS_DETAIL_MAX = 256,
    /* All of them, each as long as it may be. */
    ACCESS_TEXTS_MAX = ACCESS_METHOD_MAX + 3 * ACCESS_HOST_MAX + ACCESS_PATH_MAX + 2 * ACCESS_AGENT_MAX + ACCESS_TYPE_MAX + ACCESS_NAME_MAX +
                       2 * ACCESS_RULE_MAX + 4 * ACCESS_USER_MAX + ACCESS_DETAIL_MAX,
};

/* Where each lies, in the order of rings and folded records, and how much of it is kept where it is copied. */
struct access_text_place {
    uint16_t at, max;
};
extern const struct access_text_place access_texts[ACCESS_TEXTS];

static inline struct slice *access_text(struct access_record *r, unsigned i)
{
    return (struct slice *)(void *)((char *)r + access_texts[i].at);
}

static inline struct slice access_text_of(const struct access_record *r, unsigned i)
{
    return *(const struct slice *)(const void *)((const char *)r + access_texts[i].at);
}

#endif
