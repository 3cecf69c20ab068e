/* SPDX-License-Identifier: MIT */
#include "proxy/access_texts.h"

const struct access_text_place access_texts[ACCESS_TEXTS] = {
    {offsetof(struct access_record, method), ACCESS_METHOD_MAX},
    {offsetof(struct access_record, host), ACCESS_HOST_MAX},
    {offsetof(struct access_record, path), ACCESS_PATH_MAX},
    {offsetof(struct access_record, agent), ACCESS_AGENT_MAX},
    {offsetof(struct access_record, referer), ACCESS_AGENT_MAX},
    {offsetof(struct access_record, type), ACCESS_TYPE_MAX},
    {offsetof(struct access_record, listener), ACCESS_NAME_MAX},
    {offsetof(struct access_record, rule), ACCESS_RULE_MAX},
    {offsetof(struct access_record, would), ACCESS_RULE_MAX},
    {offsetof(struct access_record, user), ACCESS_USER_MAX},
    {offsetof(struct access_record, groups), ACCESS_USER_MAX},
    {offsetof(struct access_record, labels), ACCESS_USER_MAX},
    {offsetof(struct access_record, granted), ACCESS_USER_MAX},
    {offsetof(struct access_record, sni), ACCESS_HOST_MAX},
    {offsetof(struct access_record, via), ACCESS_HOST_MAX},
    {offsetof(struct access_record, detail), ACCESS_DETAIL_MAX},
};
