/* SPDX-License-Identifier: MIT */
/* conf_mask: what of a configuration's text must not be shown: what stands behind `auth`, `basic` and `password` (also mistyped), and the name and password in a
 * URL. It goes by the text, not by the tree, for what is shown is what could not be understood. Pure. Thread: any. */
#ifndef APP_CONF_MASK_H
#define APP_CONF_MASK_H

#include "base/slice.h"

/* Whether anything of the line [start, end) of the text is to be hidden. mask has end - start bytes: 1 where a byte is, else 0. */
bool conf_mask_line(struct slice text, size_t start, size_t end, char *mask);
/* The same of a value that stands alone, as to what is in a URL. mask has s.n bytes. */
bool conf_mask_url(struct slice s, char *mask);

#endif
