/* SPDX-License-Identifier: MIT */
/* conf_mask: finds what is secret in a line that is about to be shown. Called by the report for each line of the configuration itself. It rather hides too much:
 * keys and braces stay, so that the caret still points at something.
 */
#include "app/conf_mask.h"

#include "app/conf_text.h"

enum { LINES_ABOVE = 200, KEY_MAX = 32 };

static bool is_word(char c)
{
    return (slice_lower(c) >= 'a' && slice_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- keys ---- */

/* A key at i: its end, else 0. *ret_value is behind its colon. */
static size_t key_at(struct slice line, size_t i, size_t *ret_value)
{
    size_t end = i, colon;

    if (i && is_word(line.p[i - 1]))
        return 0;
    while (end < line.n && is_word(line.p[end]))
        end++;
    colon = end;
    if (colon < line.n && (line.p[colon] == '"' || line.p[colon] == '\''))
        colon++;
    while (colon < line.n && is_blank(line.p[colon]))
        colon++;
    if (end == i || colon == line.n || line.p[colon] != ':')
        return 0;
    /* A colon inside a value has no blank behind it. */
    if (colon + 1 < line.n && !strchr(" \t\"'{[", line.p[colon + 1]))
        return 0;
    *ret_value = colon + 1;
    return end;
}

static bool is_secret(struct slice key)
{
    static const char *const keys[] = {"auth", "basic", "password", "credentials"};
    struct conf_text_guess g;

    /* Close to `auth`, and a word of `tls`. */
    if (key.n > KEY_MAX || slice_eq(key, SLICE("auto")))
        return false;
    conf_text_guess_init(&g, key);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        conf_text_guess_try(&g, keys[i]);
    return g.best != NULL;
}

/* The last key of a line. Empty: there is none. */
static struct slice last_key(struct slice line)
{
    struct slice key = SLICE_NONE;
    size_t value, end;

    for (size_t i = 0; i < line.n; i++) {
        end = key_at(line, i, &value);
        if (!end)
            continue;
        key = slice_of(line.p + i, end - i);
        i = end - 1;
    }
    return key;
}

/* ---- values ---- */

/* Behind a quoted text that begins at i. */
static size_t quoted_end(struct slice line, size_t i)
{
    char quote = line.p[i++];

    while (i < line.n && line.p[i] != quote)
        i += line.p[i] == '\\' && quote == '"' ? 2 : 1;
    return i < line.n ? i + 1 : line.n;
}

static bool stays(struct slice value)
{
    static const char *const words[] = {"yes", "no", "on", "off", "true", "false"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq(value, slice_str(words[i])))
            return true;
    return value.n == 0;
}

/* A value that begins at i, in braces or not; *ret_hidden: something of it was hidden. Where it ends. */
static size_t hide_value(struct slice line, size_t i, bool flow, char *mask, bool *ret_hidden)
{
    size_t end = i, last;

    if (line.p[i] == '"' || line.p[i] == '\'') {
        end = quoted_end(line, i);
        last = end > i + 1 && line.p[end - 1] == line.p[i] ? end - 1 : end;
        memset(mask + i + 1, 1, last - i - 1);
        *ret_hidden = true;
        return end;
    }
    while (end < line.n && !(flow && strchr(",}]", line.p[end])))
        end++;
    last = end;
    while (last > i && is_blank(line.p[last - 1]))
        last--;
    if (stays(slice_of(line.p + i, last - i)))
        return end;
    memset(mask + i, 1, last - i);
    *ret_hidden = true;
    return end;
}

/* From i on everything that is neither a key nor structure, until the value that began there is over. */
static size_t hide_from(struct slice line, size_t i, bool whole, char *mask, bool *ret_hidden)
{
    unsigned depth = 0;

    while (i < line.n) {
        size_t value, end;

        if (strchr(" \t,-", line.p[i]) && !(line.p[i] == '-' && i + 1 < line.n && !is_blank(line.p[i + 1]))) {
            if (line.p[i++] == ',' && depth == 0 && !whole)
                return i;
            continue;
        }
        if (strchr("{}[]", line.p[i])) {
            bool opens = line.p[i] == '{' || line.p[i] == '[';

            if (!opens && depth <= 1 && !whole)
                return i + 1;
            depth = opens ? depth + 1 : depth ? depth - 1 : 0;
            i++;
            continue;
        }
        end = key_at(line, i, &value);
        if (end && slice_eq(slice_of(line.p + i, end - i), SLICE("file"))) {
            i = value;
            while (i < line.n && !strchr(",}]", line.p[i]))
                i++;
            continue;
        }
        if (end) {
            i = value;
            continue;
        }
        i = hide_value(line, i, depth > 0, mask, ret_hidden);
        if (depth == 0 && !whole)
            return i;
    }
    return i;
}

static bool hide_behind_keys(struct slice line, char *mask)
{
    bool hidden = false;
    size_t value, end;

    for (size_t i = 0; i < line.n; i++) {
        end = key_at(line, i, &value);
        if (!end)
            continue;
        if (is_secret(slice_of(line.p + i, end - i)))
            end = hide_from(line, value, false, mask, &hidden);
        i = end - 1;
    }
    return hidden;
}

/* ---- lines above ---- */

static struct slice line_before(struct slice text, size_t start)
{
    size_t end = start - 1, from;

    if (end && text.p[end - 1] == '\r' && text.p[end] == '\n')
        end--;
    for (from = end; from && text.p[from - 1] != '\n' && text.p[from - 1] != '\r'; from--)
        ;
    return slice_of(text.p + from, end - from);
}

static size_t indent_of(struct slice line)
{
    size_t i = 0;

    while (i < line.n && (is_blank(line.p[i]) || (line.p[i] == '-' && i + 1 < line.n && is_blank(line.p[i + 1]))))
        i++;
    return i;
}

/* Whether one of the keys that the line stands under is secret. */
static bool is_under_secret(struct slice text, size_t start, size_t end)
{
    size_t indent = indent_of(slice_of(text.p + start, end - start));

    for (unsigned n = 0; start && indent && n < LINES_ABOVE; n++) {
        struct slice line = line_before(text, start);
        size_t at = indent_of(line);

        start = (size_t)(line.p - text.p);
        if (at == line.n || line.p[at] == '#' || at >= indent)
            continue;
        if (is_secret(last_key(line)))
            return true;
        indent = at;
    }
    return false;
}

/* ---- the whole ---- */

bool conf_mask_url(struct slice s, char *mask)
{
    bool hidden = false;

    for (size_t at = 0; at < s.n; at++) {
        size_t from = at;
        bool colon = false;

        if (s.p[at] != '@')
            continue;
        while (from && !strchr(" \t\"',[{(", s.p[from - 1]) && !(from > 1 && s.p[from - 1] == '/' && s.p[from - 2] == '/'))
            colon = s.p[--from] == ':' || colon;
        if (!colon)
            continue;
        memset(mask + from, 1, at - from);
        hidden = true;
    }
    return hidden;
}

bool conf_mask_line(struct slice text, size_t start, size_t end, char *mask)
{
    struct slice line = slice_of(text.p + start, end - start);
    bool hidden = false;

    memset(mask, 0, line.n);
    if (is_under_secret(text, start, end))
        hide_from(line, 0, true, mask, &hidden);
    hidden = hide_behind_keys(line, mask) || hidden;
    return conf_mask_url(line, mask) || hidden;
}
