/* SPDX-License-Identifier: MIT */
/* end: the table of end reasons, made from tbl/end_reasons.h. */
#include "base/end.h"

#include "base/check.h"

static const struct end_info infos[END_COUNT] = {
#define END_X(id, token, kind, status, error, text) [END_##id] = {token, END_KIND_##kind, status, error, text},
#include "tbl/end_reasons.h"
};

const struct end_info *end_info(enum end_reason r)
{
    CHECK((unsigned)r < END_COUNT);
    return &infos[r];
}
