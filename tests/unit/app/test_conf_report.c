/* SPDX-License-Identifier: MIT */
#include "app/conf.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What each mistake is answered with, to the byte. */
struct golden {
    const char *yaml, *errors;
};

static const struct golden text_cases[] = {
    {"name: a\377b\n", "ginnel.yaml:1:8: this is not UTF-8\n"
                       "    1 | name: a\\xffb\n"
                       "      |        ^\n"
                       "   hint: save the file as UTF-8"},
    {"name: \"a\001b\"\n",
     "ginnel.yaml:1:9: a control character\n"
     "    1 | name: \"a\\x01b\"\n"
     "      |         ^\n"
     "   hint: in double quotes it can be written as an escape: \"\\e\", \"\\x07\""},
    {"%TAG ! x\n"
     "---\n"
     "via: on\n",
     "ginnel.yaml:1:1: a line that begins with % is a YAML directive, and none is known\n"
     "    1 | %TAG ! x\n"
     "      | ^\n"
     "   hint: remove it"},
    {"via: maybe\n"
     "name: \303(\n",
     "ginnel.yaml:1:6: `via` wants on or off, not \"maybe\"\n"
     "    1 | via: maybe\n"
     "      |      ^\n"
     "ginnel.yaml:2:7: this is not UTF-8\n"
     "    2 | name: \\xc3(\n"
     "      |       ^\n"
     "   hint: save the file as UTF-8"},
    {"clients:\n"
     "\200\n",
     "ginnel.yaml:2:1: this is not UTF-8\n"
     "    2 | \\x80\n"
     "      | ^\n"
     "   hint: save the file as UTF-8"},
};

static const struct golden decoration_cases[] = {
    {"via: &x on\n", "ginnel.yaml:1:6: anchors (&) are not part of this language\n"
                     "    1 | via: &x on\n"
                     "      |      ^\n"
                     "   hint: write the value out wherever it is needed"},
    {"via: *x\n", "ginnel.yaml:1:6: aliases (*) are not part of this language\n"
                  "    1 | via: *x\n"
                  "      |      ^\n"
                  "   hint: write the value out; everybody and everything is `any`"},
    {"via: !!bool on\n", "ginnel.yaml:1:6: tags (!) are not part of this language\n"
                         "    1 | via: !!bool on\n"
                         "      |      ^\n"
                         "   hint: remove it, or quote a value that begins with !"},
    {"log: !log {}\n", "ginnel.yaml:1:6: tags (!) are not part of this language\n"
                       "    1 | log: !log {}\n"
                       "      |      ^\n"
                       "   hint: remove it, or quote a value that begins with !"},
    {"log: &l\n"
     "  access: off\n",
     "ginnel.yaml:1:6: anchors (&) are not part of this language\n"
     "    1 | log: &l\n"
     "      |      ^\n"
     "   hint: write the value out wherever it is needed"},
    {"<<: on\n", "ginnel.yaml:1:1: merge keys (<<) are not part of this language\n"
                 "    1 | <<: on\n"
                 "      | ^\n"
                 "   hint: write the keys out"},
    {"via: on\n"
     "---\n"
     "via: off\n",
     "ginnel.yaml:2:1: a second document; a file has one\n"
     "    2 | ---\n"
     "      | ^\n"
     "   hint: remove the line, or what follows it"},
    {"log: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]\n",
     "ginnel.yaml:1:21: nested more than 16 levels deep\n"
     "    1 | log: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]\n"
     "      |                     ^\n"
     "   hint: nothing in ginnel's configuration is nested like this"},
};

static const struct golden syntax_cases[] = {
    {"timeouts:\n"
     "\tconnect: 10s\n",
     "ginnel.yaml:2:1: a tab in the indentation\n"
     "    2 | \\tconnect: 10s\n"
     "      | ^\n"
     "   hint: indent with blanks"},
    {"timeouts:\n"
     "  connect: 10s\n"
     "\tidle: 5m\n",
     "ginnel.yaml:3:1: a tab in the indentation\n"
     "    3 | \\tidle: 5m\n"
     "      | ^\n"
     "   hint: indent with blanks"},
    {"name: @x\n", "ginnel.yaml:1:7: a value cannot begin with this character\n"
                   "    1 | name: @x\n"
                   "      |       ^\n"
                   "   hint: put the value in quotes"},
    {"timeouts: connect: 10s\n",
     "ginnel.yaml:1:18: a colon that does not belong here\n"
     "    1 | timeouts: connect: 10s\n"
     "      |                  ^\n"
     "   hint: one key a line, the keys of one map in the same column; quote a value that has a "
     "colon and a blank in it"},
    {"via: on\n"
     "workers 4\n"
     "name: a\n",
     "ginnel.yaml:2:1: a key without a colon\n"
     "    2 | workers 4\n"
     "      | ^\n"
     "   hint: write `key: value`"},
    {"timeouts:\n"
     "  connect: 10s\n"
     " idle: 5m\n",
     "ginnel.yaml:3:2: neither a key nor the end of the map\n"
     "    3 |  idle: 5m\n"
     "      |  ^\n"
     "   hint: keys of one map begin in the same column, and so do the dashes of one list"},
    {"clients:\n"
     "  - 10.0.0.0/8\n"
     "  via: on\n",
     "ginnel.yaml:3:3: neither an item nor the end of the list\n"
     "    3 |   via: on\n"
     "      |   ^\n"
     "   hint: keys of one map begin in the same column, and so do the dashes of one list"},
    {"listen: - localhost:1\n",
     "ginnel.yaml:1:9: a dash that does not belong here\n"
     "    1 | listen: - localhost:1\n"
     "      |         ^\n"
     "   hint: the items of a list begin in a line of their own, or write [one, two]"},
    {"clients: [10.0.0.0/8\n"
     "via: on\n",
     "ginnel.yaml:1:10: this list is not closed, or a comma is missing in it\n"
     "    1 | clients: [10.0.0.0/8\n"
     "      |          ^\n"
     "   hint: lists look like this: [one, two]"},
    {"log: {access: off\n", "ginnel.yaml:1:6: this map is not closed, or a comma is missing in it\n"
                            "    1 | log: {access: off\n"
                            "      |      ^\n"
                            "   hint: maps look like this: {one: 1, two: 2}"},
    {"name: \"a\n", "ginnel.yaml:1:7: this quote is not closed\n"
                    "    1 | name: \"a\n"
                    "      |       ^"},
    {"name: 'a\n"
     "---\n",
     "ginnel.yaml:1:7: this quote is not closed\n"
     "    1 | name: 'a\n"
     "      |       ^"},
    {"clients: *\n",
     "ginnel.yaml:1:10: a value cannot begin with this character\n"
     "    1 | clients: *\n"
     "      |          ^\n"
     "   hint: quote it; everybody and everything is `any`, all addresses are 0.0.0.0"},
    {"clients: [,]\n", "ginnel.yaml:1:11: a value is missing here\n"
                       "    1 | clients: [,]\n"
                       "      |           ^"},
    {"name: \"\\q\"\n",
     "ginnel.yaml:1:8: an unknown escape\n"
     "    1 | name: \"\\q\"\n"
     "      |        ^\n"
     "   hint: in double quotes a backslash is written twice, in single quotes once"},
    {"via: on\n"
     "...\n"
     "name: a\n",
     "ginnel.yaml:3:1: something behind the end of the document\n"
     "    3 | name: a\n"
     "      | ^\n"
     "   hint: remove the line with the dots or what follows it"},
    {"name: |x\n"
     "  a\n",
     "ginnel.yaml:1:8: YAML: did not find expected comment or line break\n"
     "    1 | name: |x\n"
     "      |        ^"},
    {"listen: [::1]:3128\n", "ginnel.yaml:1:10: a value is missing here\n"
                             "    1 | listen: [::1]:3128\n"
                             "      |          ^\n"
                             "   hint: an IPv6 address is quoted: \"[::1]:3128\", \"::1\""},
    {"listen:\n"
     "  - [fd00::1]:3128\n",
     "ginnel.yaml:2:5: `listen` wants an address and a port, not a list\n"
     "    2 |   - [fd00::1]:3128\n"
     "      |     ^\n"
     "   hint: like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128\n"
     "ginnel.yaml:2:14: neither an item nor the end of the list\n"
     "    2 |   - [fd00::1]:3128\n"
     "      |              ^\n"
     "   hint: an IPv6 address is quoted: \"[::1]:3128\", \"::1\""},
};

static const struct golden keys_cases[] = {
    {"liste: localhost:1\n", "ginnel.yaml:1:1: \"liste\" is no key of the configuration\n"
                             "    1 | liste: localhost:1\n"
                             "      | ^\n"
                             "   hint: did you mean `listen`?"},
    {"rule: []\n", "ginnel.yaml:1:1: \"rule\" is no key of the configuration\n"
                   "    1 | rule: []\n"
                   "      | ^\n"
                   "   hint: did you mean `rules`?"},
    {"frobnicate: 1\n", "ginnel.yaml:1:1: \"frobnicate\" is no key of the configuration\n"
                        "    1 | frobnicate: 1\n"
                        "      | ^"},
    {"connect: 5s\n", "ginnel.yaml:1:1: \"connect\" is no key of the configuration\n"
                      "    1 | connect: 5s\n"
                      "      | ^\n"
                      "   hint: write `timeouts: {connect: …}`"},
    {"timeouts.connect: 5s\n",
     "ginnel.yaml:1:1: \"timeouts.connect\" is no key of the configuration\n"
     "    1 | timeouts.connect: 5s\n"
     "      | ^\n"
     "   hint: write `timeouts: {connect: …}`"},
    {"timeouts: {via: on}\n", "ginnel.yaml:1:12: \"via\" is no key of `timeouts`\n"
                              "    1 | timeouts: {via: on}\n"
                              "      |            ^\n"
                              "   hint: `via` stands at the top of the file"},
    {"address: localhost:1\n", "ginnel.yaml:1:1: \"address\" is no key of the configuration\n"
                               "    1 | address: localhost:1\n"
                               "      | ^\n"
                               "   hint: write `listen: {address: …}`"},
    {"servres: 1\n", "ginnel.yaml:1:1: \"servres\" is no key of the configuration\n"
                     "    1 | servres: 1\n"
                     "      | ^"},
    {"timeouts: {half_close: 5s}\n", "ginnel.yaml:1:12: \"half_close\" is no key of `timeouts`\n"
                                     "    1 | timeouts: {half_close: 5s}\n"
                                     "      |            ^\n"
                                     "   hint: did you mean `half-close`?"},
    {"sizes: {lines: 1}\n", "ginnel.yaml:1:9: \"lines\" is no key of `sizes`\n"
                            "    1 | sizes: {lines: 1}\n"
                            "      |         ^\n"
                            "   hint: did you mean `line`?"},
    {"tls: x\n", "ginnel.yaml:1:1: \"tls\" is no key of the configuration\n"
                 "    1 | tls: x\n"
                 "      | ^\n"
                 "   hint: write `listen: {tls: …}`"},
    {"[a]: b\n", "ginnel.yaml:1:1: a key must be a plain word\n"
                 "    1 | [a]: b\n"
                 "      | ^\n"
                 "   hint: write `key: value`"},
    {"? {a: b}\n"
     ": c\n",
     "ginnel.yaml:1:3: a key must be a plain word\n"
     "    1 | ? {a: b}\n"
     "      |   ^\n"
     "   hint: write `key: value`"},
    {"~: on\n", "ginnel.yaml:1:1: a key must be a plain word\n"
                "    1 | ~: on\n"
                "      | ^\n"
                "   hint: write `key: value`"},
    {"\"\": on\n", "ginnel.yaml:1:1: \"\" is no key of the configuration\n"
                   "    1 | \"\": on\n"
                   "      | ^"},
    {"via: on\n"
     "name: a\n"
     "via: off\n",
     "ginnel.yaml:3:1: `via` is given twice\n"
     "    3 | via: off\n"
     "      | ^\n"
     "   hint: it stands in line 1 already"},
    {"intercept: {only: any}\n", "ginnel.yaml:1:1: `intercept` is not in this build\n"
                                 "    1 | intercept: {only: any}\n"
                                 "      | ^\n"
                                 "   hint: remove it: ginnel never ignores what it is told"},
    {"\"a\\e[31m\\u202eé\\x85\": 1\n",
     "ginnel.yaml:1:1: \"a\\x1b[31m\\u202eé\\u0085\" is no key of the configuration\n"
     "    1 | \"a\\e[31m\\u202eé\\x85\": 1\n"
     "      | ^"},
};

static const struct golden kinds_cases[] = {
    {"via:\n", "ginnel.yaml:1:5: `via` has no value\n"
               "    1 | via:\n"
               "      |     ^\n"
               "   hint: write one, or remove the key"},
    {"timeouts: {connect: ~}\n", "ginnel.yaml:1:21: `connect` has no value\n"
                                 "    1 | timeouts: {connect: ~}\n"
                                 "      |                     ^\n"
                                 "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: {connect: [1s]}\n", "ginnel.yaml:1:21: `connect` wants a duration, not a list\n"
                                    "    1 | timeouts: {connect: [1s]}\n"
                                    "      |                     ^\n"
                                    "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: {connect: {a: 1s}}\n", "ginnel.yaml:1:21: `connect` wants a duration, not a map\n"
                                       "    1 | timeouts: {connect: {a: 1s}}\n"
                                       "      |                     ^\n"
                                       "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: 10s\n", "ginnel.yaml:1:11: `timeouts` wants a map of keys, not \"10s\"\n"
                        "    1 | timeouts: 10s\n"
                        "      |           ^\n"
                        "   hint: like this: `timeouts: {connect: 10s}`"},
    {"timeouts: [10s]\n", "ginnel.yaml:1:11: `timeouts` wants a map of keys, not a list\n"
                          "    1 | timeouts: [10s]\n"
                          "      |           ^\n"
                          "   hint: write one map, without dashes"},
    {"timeouts: connect:10s\n",
     "ginnel.yaml:1:11: `timeouts` wants a map of keys, not \"connect:10s\"\n"
     "    1 | timeouts: connect:10s\n"
     "      |           ^\n"
     "   hint: a blank belongs behind the colon: `connect: …`"},
    {"listen localhost:1\n",
     "ginnel.yaml:1:1: the file must be a map of keys, not \"listen localhost:1\"\n"
     "    1 | listen localhost:1\n"
     "      | ^\n"
     "   hint: write `key: value`, a line each"},
    {"via:on\n", "ginnel.yaml:1:1: the file must be a map of keys, not \"via:on\"\n"
                 "    1 | via:on\n"
                 "      | ^\n"
                 "   hint: a blank belongs behind the colon: `via: …`"},
    {"- via\n", "ginnel.yaml:1:1: the file must be a map of keys, not a list\n"
                "    1 | - via\n"
                "      | ^\n"
                "   hint: write one map, without dashes"},
    {"name: [a]\n", "ginnel.yaml:1:7: `name` wants a plain word, not a list\n"
                    "    1 | name: [a]\n"
                    "      |       ^\n"
                    "   hint: up to 63 letters, digits and !#$%&'*+-.^_`|~"},
    {"clients: {any: on}\n",
     "ginnel.yaml:1:10: `clients` wants an address range or any, not a map\n"
     "    1 | clients: {any: on}\n"
     "      |          ^\n"
     "   hint: like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7"},
    {"clients: [[any]]\n", "ginnel.yaml:1:11: `clients` wants an address range or any, not a list\n"
                           "    1 | clients: [[any]]\n"
                           "      |           ^\n"
                           "   hint: like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7"},
    {"listen:\n", "ginnel.yaml:1:8: `listen` has no value\n"
                  "    1 | listen:\n"
                  "      |        ^\n"
                  "   hint: like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128"},
    {"resolver: {servers: {a: b}}\n",
     "ginnel.yaml:1:21: `servers` wants an address, not a map\n"
     "    1 | resolver: {servers: {a: b}}\n"
     "      |                     ^\n"
     "   hint: like this: 192.0.2.53, 192.0.2.53:5353, \"[2001:db8::53]:53\""},
    {"sizes: [{line: 1KB}]\n", "ginnel.yaml:1:8: `sizes` wants a map of keys, not a list\n"
                               "    1 | sizes: [{line: 1KB}]\n"
                               "      |        ^\n"
                               "   hint: write one map, without dashes"},
    {"log: [{access: off}, stderr]\n",
     "ginnel.yaml:1:22: `log` wants a map of keys, not \"stderr\"\n"
     "    1 | log: [{access: off}, stderr]\n"
     "      |                      ^\n"
     "   hint: like this: {access: stderr}"},
    {"workers: [1]\n", "ginnel.yaml:1:10: `workers` wants a number or auto, not a list\n"
                       "    1 | workers: [1]\n"
                       "      |          ^"},
    {"sizes: {line: {}}\n", "ginnel.yaml:1:15: `line` wants a size, not a map\n"
                            "    1 | sizes: {line: {}}\n"
                            "      |               ^\n"
                            "   hint: write bytes, or a number and a unit: 512, 16KB, 20MB, 1GB"},
    {"log: {access: [], level: []}\n",
     "ginnel.yaml:1:15: `access` wants stderr, stdout, off, syslog or the path of a file, not a "
     "list\n"
     "    1 | log: {access: [], level: []}\n"
     "      |               ^\n"
     "   hint: a path begins with a slash and ends with the name of a file\n"
     "ginnel.yaml:1:26: `level` wants error, warn, info or debug, not a list\n"
     "    1 | log: {access: [], level: []}\n"
     "      |                          ^"},
};

static const struct golden values_cases[] = {
    {"timeouts:\n"
     "  head: 30s\n"
     "  connect: 10 parsecs\n",
     "ginnel.yaml:3:12: `connect` wants a duration, not \"10 parsecs\"\n"
     "    3 |   connect: 10 parsecs\n"
     "      |            ^\n"
     "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: {idle: 10}\n", "ginnel.yaml:1:18: `idle` wants a duration, not \"10\"\n"
                               "    1 | timeouts: {idle: 10}\n"
                               "      |                  ^\n"
                               "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: {idle: -1s}\n", "ginnel.yaml:1:18: `idle` wants a duration, not \"-1s\"\n"
                                "    1 | timeouts: {idle: -1s}\n"
                                "      |                  ^\n"
                                "   hint: write a number and a unit: 500ms, 10s, 5m, 1h"},
    {"timeouts: {idle: 0ms}\n", "ginnel.yaml:1:18: `idle` is out of range: \"0ms\"\n"
                                "    1 | timeouts: {idle: 0ms}\n"
                                "      |                  ^\n"
                                "   hint: from 1ms to 18h"},
    {"timeouts: {idle: 99999999999999999999d}\n",
     "ginnel.yaml:1:18: `idle` is out of range: \"99999999999999999999d\"\n"
     "    1 | timeouts: {idle: 99999999999999999999d}\n"
     "      |                  ^\n"
     "   hint: from 1ms to 18h"},
    {"resolver: {ttl-max: 8d}\n", "ginnel.yaml:1:21: `ttl-max` is out of range: \"8d\"\n"
                                  "    1 | resolver: {ttl-max: 8d}\n"
                                  "      |                     ^\n"
                                  "   hint: from 1s to 7d"},
    {"sizes: {head: 64kb}\n", "ginnel.yaml:1:15: `head` wants a size, not \"64kb\"\n"
                              "    1 | sizes: {head: 64kb}\n"
                              "      |               ^\n"
                              "   hint: write bytes, or a number and a unit: 512, 16KB, 20MB, 1GB"},
    {"sizes: {head: 2MB}\n", "ginnel.yaml:1:15: `head` is out of range: \"2MB\"\n"
                             "    1 | sizes: {head: 2MB}\n"
                             "      |               ^\n"
                             "   hint: from 1KB to 1MB"},
    {"sizes: {fields: some}\n", "ginnel.yaml:1:17: `fields` wants a number, not \"some\"\n"
                                "    1 | sizes: {fields: some}\n"
                                "      |                 ^"},
    {"sizes: {fields: 0}\n", "ginnel.yaml:1:17: `fields` is out of range: \"0\"\n"
                             "    1 | sizes: {fields: 0}\n"
                             "      |                 ^\n"
                             "   hint: from 1 to 10000"},
    {"sizes: {fields: 0x10}\n", "ginnel.yaml:1:17: `fields` wants a number, not \"0x10\"\n"
                                "    1 | sizes: {fields: 0x10}\n"
                                "      |                 ^"},
    {"workers: aut\n", "ginnel.yaml:1:10: `workers` wants a number or auto, not \"aut\"\n"
                       "    1 | workers: aut\n"
                       "      |          ^\n"
                       "   hint: did you mean `auto`?"},
    {"workers: 257\n", "ginnel.yaml:1:10: `workers` is out of range: \"257\"\n"
                       "    1 | workers: 257\n"
                       "      |          ^\n"
                       "   hint: from 1 to 64"},
    {"via: onn\n", "ginnel.yaml:1:6: `via` wants on or off, not \"onn\"\n"
                   "    1 | via: onn\n"
                   "      |      ^\n"
                   "   hint: did you mean `on`?"},
    {"via: perhaps\n", "ginnel.yaml:1:6: `via` wants on or off, not \"perhaps\"\n"
                       "    1 | via: perhaps\n"
                       "      |      ^"},
    {"via: On\n", "ginnel.yaml:1:6: `via` wants on or off, not \"On\"\n"
                  "    1 | via: On\n"
                  "      |      ^\n"
                  "   hint: did you mean `on`?"},
    {"resolver: {family: ipv4}\n",
     "ginnel.yaml:1:20: `family` wants auto, 4, 6 or prefer-4, not \"ipv4\"\n"
     "    1 | resolver: {family: ipv4}\n"
     "      |                    ^"},
    {"resolver: {family: prefer4}\n",
     "ginnel.yaml:1:20: `family` wants auto, 4, 6 or prefer-4, not \"prefer4\"\n"
     "    1 | resolver: {family: prefer4}\n"
     "      |                    ^\n"
     "   hint: did you mean `prefer-4`?"},
    {"log: {level: inof}\n",
     "ginnel.yaml:1:14: `level` wants error, warn, info or debug, not \"inof\"\n"
     "    1 | log: {level: inof}\n"
     "      |              ^\n"
     "   hint: did you mean `info`?"},
    {"log: {format: squit}\n",
     "ginnel.yaml:1:15: `format` wants json, squid, common or combined, not \"squit\"\n"
     "    1 | log: {format: squit}\n"
     "      |               ^\n"
     "   hint: did you mean `squid`?"},
    {"log: {format: xml}\n",
     "ginnel.yaml:1:15: `format` wants json, squid, common or combined, not \"xml\"\n"
     "    1 | log: {format: xml}\n"
     "      |               ^"},
    {"log: {access: access.log}\n",
     "ginnel.yaml:1:15: `access` wants stderr, stdout, off, syslog or the path of a file, not "
     "\"access.log\"\n"
     "    1 | log: {access: access.log}\n"
     "      |               ^\n"
     "   hint: a path begins with a slash and ends with the name of a file"},
    {"log: {access: sdtout}\n", "ginnel.yaml:1:15: `access` wants stderr, stdout, off, syslog or "
                                "the path of a file, not \"sdtout\"\n"
                                "    1 | log: {access: sdtout}\n"
                                "      |               ^\n"
                                "   hint: did you mean `stdout`?"},
    {"log: {access: /var/log/}\n",
     "ginnel.yaml:1:15: `access` wants stderr, stdout, off, syslog or the path of a file, not "
     "\"/var/log/\"\n"
     "    1 | log: {access: /var/log/}\n"
     "      |               ^\n"
     "   hint: a path begins with a slash and ends with the name of a file"},
    {"log: {access: \"/a\\0b\"}\n",
     "ginnel.yaml:1:15: `access` wants stderr, stdout, off, syslog or the path of a file, not "
     "\"/a\\x00b\"\n"
     "    1 | log: {access: \"/a\\0b\"}\n"
     "      |               ^\n"
     "   hint: a path begins with a slash and ends with the name of a file"},
    {"name: \"a b\"\n", "ginnel.yaml:1:7: `name` wants a plain word, not \"a b\"\n"
                        "    1 | name: \"a b\"\n"
                        "      |       ^\n"
                        "   hint: up to 63 letters, digits and !#$%&'*+-.^_`|~"},
    {"name: \"\"\n", "ginnel.yaml:1:7: `name` wants a plain word, not \"\"\n"
                     "    1 | name: \"\"\n"
                     "      |       ^\n"
                     "   hint: up to 63 letters, digits and !#$%&'*+-.^_`|~"},
    {"name: \"\\n\\t\\r\\x7f\"\n",
     "ginnel.yaml:1:7: `name` wants a plain word, not \"\\n\\t\\r\\x7f\"\n"
     "    1 | name: \"\\n\\t\\r\\x7f\"\n"
     "      |       ^\n"
     "   hint: up to 63 letters, digits and !#$%&'*+-.^_`|~"},
};

static const struct golden addresses_cases[] = {
    {"listen: 3128\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"3128\"\n"
     "    1 | listen: 3128\n"
     "      |         ^\n"
     "   hint: write the address too: 127.0.0.1:3128, or 0.0.0.0:3128 for all of IPv4"},
    {"listen: :3128\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \":3128\"\n"
     "    1 | listen: :3128\n"
     "      |         ^\n"
     "   hint: write the address too: 127.0.0.1:3128, or 0.0.0.0:3128 for all of IPv4"},
    {"listen: \"*:3128\"\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"*:3128\"\n"
     "    1 | listen: \"*:3128\"\n"
     "      |         ^\n"
     "   hint: all addresses are 0.0.0.0:3128 and \"[::]:3128\""},
    {"listen: proxy.example:3128\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"proxy.example:3128\"\n"
     "    1 | listen: proxy.example:3128\n"
     "      |         ^\n"
     "   hint: names are not looked up; write the address"},
    {"listen: 127.0.0.1\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"127.0.0.1\"\n"
     "    1 | listen: 127.0.0.1\n"
     "      |         ^\n"
     "   hint: the port is missing: 127.0.0.1:3128"},
    {"listen: ::1\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"::1\"\n"
     "    1 | listen: ::1\n"
     "      |         ^\n"
     "   hint: an IPv6 address stands in brackets, its port behind them: \"[::1]:3128\""},
    {"listen: \"[::1]\"\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"[::1]\"\n"
     "    1 | listen: \"[::1]\"\n"
     "      |         ^\n"
     "   hint: an IPv6 address stands in brackets, its port behind them: \"[::1]:3128\""},
    {"listen: localhost\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"localhost\"\n"
     "    1 | listen: localhost\n"
     "      |         ^\n"
     "   hint: the port is missing: localhost:3128"},
    {"listen: localhost:\n",
     "ginnel.yaml:1:18: a colon that does not belong here\n"
     "    1 | listen: localhost:\n"
     "      |                  ^\n"
     "   hint: one key a line, the keys of one map in the same column; quote a value that has a "
     "colon and a blank in it"},
    {"listen: localhost:65536\n", "ginnel.yaml:1:9: `listen` is out of range: \"localhost:65536\"\n"
                                  "    1 | listen: localhost:65536\n"
                                  "      |         ^\n"
                                  "   hint: ports go from 0 to 65535"},
    {"listen: http://127.0.0.1:3128\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"http://127.0.0.1:3128\"\n"
     "    1 | listen: http://127.0.0.1:3128\n"
     "      |         ^\n"
     "   hint: an address and a port only: 127.0.0.1:3128"},
    {"listen: 127.0.0.1:65536\n", "ginnel.yaml:1:9: `listen` is out of range: \"127.0.0.1:65536\"\n"
                                  "    1 | listen: 127.0.0.1:65536\n"
                                  "      |         ^\n"
                                  "   hint: ports go from 0 to 65535"},
    {"listen: 127.0.0.1:123456\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"127.0.0.1:123456\"\n"
     "    1 | listen: 127.0.0.1:123456\n"
     "      |         ^\n"
     "   hint: ports go from 0 to 65535"},
    {"listen: 127.1:80\n",
     "ginnel.yaml:1:9: `listen` wants an address and a port, not \"127.1:80\"\n"
     "    1 | listen: 127.1:80\n"
     "      |         ^\n"
     "   hint: names are not looked up; write the address"},
    {"listen: unix:ginnel.sock\n",
     "ginnel.yaml:1:9: `listen` wants the path of a socket, not \"unix:ginnel.sock\"\n"
     "    1 | listen: unix:ginnel.sock\n"
     "      |         ^\n"
     "   hint: the path is absolute: unix:/run/ginnel/proxy.sock"},
    {"listen: []\n", "ginnel.yaml:1:9: `listen` is an empty list\n"
                     "    1 | listen: []\n"
                     "      |         ^\n"
                     "   hint: like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128"},
    {"listen: {}\n", "ginnel.yaml:1:9: this item has no `address`\n"
                     "    1 | listen: {}\n"
                     "      |         ^\n"
                     "   hint: write `address: 127.0.0.1:3128`"},
    {"listen: [{name: lan}]\n", "ginnel.yaml:1:10: this item has no `address`\n"
                                "    1 | listen: [{name: lan}]\n"
                                "      |          ^\n"
                                "   hint: write `address: 127.0.0.1:3128`"},
    {"listen: {address: localhost:1, tls: {cert: a}}\n",
     "ginnel.yaml:1:44: the certificate file \"a\" cannot be read: No such file or directory\n"
     "    1 | listen: {address: localhost:1, tls: {cert: a}}\n"
     "      |                                            ^\n"
     "   hint: the path is relative to the file that names it"},
    {"listen: [{address: [localhost:1]}]\n",
     "ginnel.yaml:1:20: `address` wants an address and a port, not a list\n"
     "    1 | listen: [{address: [localhost:1]}]\n"
     "      |                    ^\n"
     "   hint: like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128"},
    {"listen: {adress: localhost:1}\n", "ginnel.yaml:1:10: \"adress\" is no key of `listen`\n"
                                        "    1 | listen: {adress: localhost:1}\n"
                                        "      |          ^\n"
                                        "   hint: did you mean `address`?"},
    {"listen: {address: localhost:1, address: localhost:2}\n",
     "ginnel.yaml:1:32: `address` is given twice\n"
     "    1 | listen: {address: localhost:1, address: localhost:2}\n"
     "      |                                ^\n"
     "   hint: it stands in line 1 already"},
    {"clients: []\n", "ginnel.yaml:1:10: `clients` is an empty list\n"
                      "    1 | clients: []\n"
                      "      |          ^\n"
                      "   hint: like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7"},
    {"clients: 10.0.0.1/8\n", "ginnel.yaml:1:10: \"10.0.0.1/8\" is not a range\n"
                              "    1 | clients: 10.0.0.1/8\n"
                              "      |          ^\n"
                              "   hint: bits behind the prefix are zero: 10.0.0.0/8"},
    {"clients: 10.0.0.0/33\n", "ginnel.yaml:1:10: \"10.0.0.0/33\" is not a range\n"
                               "    1 | clients: 10.0.0.0/33\n"
                               "      |          ^\n"
                               "   hint: a prefix goes from 0 to 32"},
    {"clients: fd00::1/8\n", "ginnel.yaml:1:10: \"fd00::1/8\" is not a range\n"
                             "    1 | clients: fd00::1/8\n"
                             "      |          ^\n"
                             "   hint: bits behind the prefix are zero: fd00::/8"},
    {"clients: fd00::/129\n", "ginnel.yaml:1:10: \"fd00::/129\" is not a range\n"
                              "    1 | clients: fd00::/129\n"
                              "      |          ^\n"
                              "   hint: a prefix goes from 0 to 128"},
    {"clients: 10.0.0.0/\n",
     "ginnel.yaml:1:10: `clients` wants an address range or any, not \"10.0.0.0/\"\n"
     "    1 | clients: 10.0.0.0/\n"
     "      |          ^\n"
     "   hint: a prefix goes from 0 to 32"},
    {"clients: 10.0.0/8\n",
     "ginnel.yaml:1:10: `clients` wants an address range or any, not \"10.0.0/8\"\n"
     "    1 | clients: 10.0.0/8\n"
     "      |          ^\n"
     "   hint: like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7"},
    {"clients: \"*\"\n", "ginnel.yaml:1:10: `clients` wants an address range or any, not \"*\"\n"
                         "    1 | clients: \"*\"\n"
                         "      |          ^\n"
                         "   hint: everybody is `any`"},
    {"clients: ANY\n", "ginnel.yaml:1:10: `clients` wants an address range or any, not \"ANY\"\n"
                       "    1 | clients: ANY\n"
                       "      |          ^\n"
                       "   hint: everybody is `any`"},
    {"clients: localhost\n",
     "ginnel.yaml:1:10: `clients` wants an address range or any, not \"localhost\"\n"
     "    1 | clients: localhost\n"
     "      |          ^\n"
     "   hint: write 127.0.0.0/8 and \"::1\""},
    {"clients: [any, 10.0.0.0/8]\n", "ginnel.yaml:1:11: `any` beside ranges: it admits everybody\n"
                                     "    1 | clients: [any, 10.0.0.0/8]\n"
                                     "      |           ^\n"
                                     "   hint: write `clients: any`, or the ranges without it"},
    {"resolver: {servers: dns.example}\n",
     "ginnel.yaml:1:21: `servers` wants an address, not \"dns.example\"\n"
     "    1 | resolver: {servers: dns.example}\n"
     "      |                     ^\n"
     "   hint: like this: 192.0.2.53, 192.0.2.53:5353, \"[2001:db8::53]:53\""},
    {"resolver: {servers: 192.0.2.1:0}\n",
     "ginnel.yaml:1:21: `servers` is out of range: \"192.0.2.1:0\"\n"
     "    1 | resolver: {servers: 192.0.2.1:0}\n"
     "      |                     ^\n"
     "   hint: ports go from 1 to 65535"},
    {"resolver: {servers: \"192.0.2.1:65536\"}\n",
     "ginnel.yaml:1:21: `servers` is out of range: \"192.0.2.1:65536\"\n"
     "    1 | resolver: {servers: \"192.0.2.1:65536\"}\n"
     "      |                     ^\n"
     "   hint: ports go from 1 to 65535"},
    {"resolver: {servers: "
     "[192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,192.0.2.6,192.0.2.7,192.0.2.8,192.0.2.9]}"
     "\n",
     "ginnel.yaml:1:102: `servers` has more than 8 addresses\n"
     "    1 | resolver: {servers: "
     "[192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,192.0.2.6,192.0.2.7,192.0.2.8,192.0.2.9]}"
     "\n"
     "      |                                                                                      "
     "                ^"},
};

static const struct golden together_cases[] = {
    {"listen: 0.0.0.0:3128\n",
     "ginnel.yaml:1:9: \"0.0.0.0:3128\" can be reached from other machines, and neither `clients` nor `users` is "
     "set\n"
     "    1 | listen: 0.0.0.0:3128\n"
     "      |         ^\n"
     "   hint: write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)"},
    {"listen:\n"
     "  - localhost:1\n"
     "  - \"[::]:3128\"\n"
     "  - {address: 192.0.2.1:3128}\n",
     "ginnel.yaml:3:5: \"[::]:3128\" can be reached from other machines, and neither `clients` nor `users` is set\n"
     "    3 |   - \"[::]:3128\"\n"
     "      |     ^\n"
     "   hint: write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)\n"
     "ginnel.yaml:4:15: \"192.0.2.1:3128\" can be reached from other machines, and neither `clients` nor `users` is "
     "set\n"
     "    4 |   - {address: 192.0.2.1:3128}\n"
     "      |               ^\n"
     "   hint: write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)"},
    {"listen: [localhost:3128, 127.0.0.1:3128, \"[::1]:3128\"]\n",
     "ginnel.yaml:1:26: 127.0.0.1:3128 is listened on twice\n"
     "    1 | listen: [localhost:3128, 127.0.0.1:3128, \"[::1]:3128\"]\n"
     "      |                          ^\n"
     "   hint: remove one of the two\n"
     "ginnel.yaml:1:42: [::1]:3128 is listened on twice\n"
     "    1 | listen: [localhost:3128, 127.0.0.1:3128, \"[::1]:3128\"]\n"
     "      |                                          ^\n"
     "   hint: remove one of the two"},
    {"listen: [localhost:1, localhost:1]\n", "ginnel.yaml:1:23: 127.0.0.1:1 is listened on twice\n"
                                             "    1 | listen: [localhost:1, localhost:1]\n"
                                             "      |                       ^\n"
                                             "   hint: remove one of the two"},
    {"listen: [127.0.0.1:1, \"[::ffff:127.0.0.1]:1\"]\n",
     "ginnel.yaml:1:23: [::ffff:127.0.0.1]:1 is listened on twice\n"
     "    1 | listen: [127.0.0.1:1, \"[::ffff:127.0.0.1]:1\"]\n"
     "      |                       ^\n"
     "   hint: remove one of the two"},
    {"sizes: {line: 64KB, head: 32KB}\n",
     "ginnel.yaml:1:15: `line` is 64KB, more than `head`, which is 32KB\n"
     "    1 | sizes: {line: 64KB, head: 32KB}\n"
     "      |               ^\n"
     "   hint: the head contains the line"},
    {"sizes: {head: 8KB}\n", "ginnel.yaml:1:15: `line` is 16KB, more than `head`, which is 8KB\n"
                             "    1 | sizes: {head: 8KB}\n"
                             "      |               ^\n"
                             "   hint: the head contains the line"},
    {"sizes: {line: 1MB}\n", "ginnel.yaml:1:15: `line` is 1MB, more than `head`, which is 64KB\n"
                             "    1 | sizes: {line: 1MB}\n"
                             "      |               ^\n"
                             "   hint: the head contains the line"},
};

/* All errors of a text as they are printed, without the last newline; the caller frees. */
static char *errors_of(const char *text, size_t n)
{
    struct conf_errors errors;
    struct conf *c;
    char *out;
    size_t out_n;
    FILE *f = open_memstream(&out, &out_n);

    assert_non_null(f);
    assert_int_equal(conf_parse("ginnel.yaml", text, n, &c, &errors), ERR_SYNTAX);
    conf_errors_print(&errors, f, false);
    conf_errors_done(&errors);
    fclose(f);
    assert_true(out_n > 0 && out[out_n - 1] == '\n');
    out[out_n - 1] = '\0';
    return out;
}

static void check_cases(const struct golden *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *errors = errors_of(cases[i].yaml, strlen(cases[i].yaml));

        assert_string_equal(errors, cases[i].errors);
        free(errors);
    }
}

#define GOLDEN_TEST(name)                                                                          \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        UNUSED(state);                                                                             \
        check_cases(name##_cases, ARRAY_LEN(name##_cases));                                        \
    }
GOLDEN_TEST(text)
GOLDEN_TEST(decoration)
GOLDEN_TEST(syntax)
GOLDEN_TEST(keys)
GOLDEN_TEST(kinds)
GOLDEN_TEST(values)
GOLDEN_TEST(addresses)
GOLDEN_TEST(together)

/* ---- what needs more than a literal ---- */

static void test_values_are_cut(void **state)
{
    char yaml[256], expected[512];
    char *errors;

    UNUSED(state);
    snprintf(yaml, sizeof(yaml), "via: %081d\n", 0);
    snprintf(expected, sizeof(expected),
             "ginnel.yaml:1:6: `via` wants on or off, not \"%080d…\"\n"
             "    1 | via: %081d\n"
             "      |      ^",
             0, 0);
    errors = errors_of(yaml, strlen(yaml));
    assert_string_equal(errors, expected);
    free(errors);

    /* 80 characters are shown whole, whatever their bytes */
    snprintf(yaml, sizeof(yaml), "via: é%078dé\n", 0);
    snprintf(expected, sizeof(expected),
             "ginnel.yaml:1:6: `via` wants on or off, not \"é%078dé\"\n"
             "    1 | via: é%078dé\n"
             "      |      ^",
             0, 0);
    errors = errors_of(yaml, strlen(yaml));
    assert_string_equal(errors, expected);
    free(errors);
}

static void test_name_too_long(void **state)
{
    char yaml[256];
    char *errors;

    UNUSED(state);
    snprintf(yaml, sizeof(yaml), "name: %064d\n", 0);
    errors = errors_of(yaml, strlen(yaml));
    assert_non_null(strstr(errors, "ginnel.yaml:1:7: `name` is out of range: \"000"));
    assert_non_null(strstr(errors, "   hint: from 1 to 63 characters"));
    free(errors);
}

static void test_long_lines_are_cut(void **state)
{
    char yaml[1024], expected[1024];
    char *errors;

    UNUSED(state);
    snprintf(yaml, sizeof(yaml), "{via: %0200d, x: %0300d}\n", 0, 0);
    snprintf(expected, sizeof(expected),
             "ginnel.yaml:1:7: `via` wants on or off, not \"%080d…\"\n"
             "    1 | {via: %0114d…\n"
             "      |       ^\n"
             "ginnel.yaml:1:209: \"x\" is no key of the configuration\n"
             "    1 | …%077d, x: %038d…\n"
             "      | %80s^",
             0, 0, 0, 0, "");
    errors = errors_of(yaml, strlen(yaml));
    assert_string_equal(errors, expected);
    free(errors);
}

static void test_listen_has_a_bound(void **state)
{
    char yaml[4096] = "listen:\n";
    char *errors;

    UNUSED(state);
    for (int i = 1; i <= 66; i++)
        snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml), "  - 127.0.0.1:%d\n", i);
    errors = errors_of(yaml, strlen(yaml));
    assert_string_equal(errors, "ginnel.yaml:66:5: `listen` has more than 64 addresses\n"
                                "   66 |   - 127.0.0.1:65\n"
                                "      |     ^\n"
                                "ginnel.yaml:67:5: `listen` has more than 64 addresses\n"
                                "   67 |   - 127.0.0.1:66\n"
                                "      |     ^");
    free(errors);
}

static void test_hundred_errors(void **state)
{
    char yaml[8192] = "";
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (int i = 1; i <= 250; i++)
        snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml), "x%d: %d\n", i, i);
    assert_int_equal(conf_parse("f", yaml, strlen(yaml), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, CONF_ERRORS_MAX);
    for (unsigned i = 0; i < errors.n; i++)
        assert_int_equal(errors.v[i].line, i + 1);
    assert_string_equal(errors.v[99].text, "f:100:1: \"x100\" is no key of the configuration\n"
                                           "  100 | x100: 100\n"
                                           "      | ^\n"
                                           "   and 150 more");
    conf_errors_done(&errors);
}

/* What is judged last may stand first in the file, and must not be lost to a hundred others. */
static void test_first_errors_by_place(void **state)
{
    char yaml[8192] = "listen: 0.0.0.0:1\n";
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (int i = 1; i <= 150; i++)
        snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml), "x%d: %d\n", i, i);
    assert_int_equal(conf_parse("f", yaml, strlen(yaml), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, CONF_ERRORS_MAX);
    assert_int_equal(errors.v[0].line, 1);
    assert_int_equal(errors.v[0].column, 9);
    assert_int_equal(errors.v[99].line, 100);
    assert_non_null(strstr(errors.v[99].text, "and 51 more"));
    conf_errors_done(&errors);
}

static void test_sorted_by_place(void **state)
{
    static const char yaml[] = "sizes: {line: 1MB, head: 2KB}\n"
                               "listen: [0.0.0.0:1, x]\n"
                               "via: &a maybe\n"
                               "timeouts: {idle: 1}\n"
                               "name: \"a b\"\n";
    static const unsigned places[][2] = {{1, 15}, {2, 10}, {2, 21}, {3, 6}, {4, 18}, {5, 7}};
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(conf_parse("f", yaml, strlen(yaml), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, ARRAY_LEN(places));
    for (unsigned i = 0; i < errors.n; i++) {
        assert_int_equal(errors.v[i].line, places[i][0]);
        assert_int_equal(errors.v[i].column, places[i][1]);
    }
    conf_errors_done(&errors);
}

static void test_line_ends(void **state)
{
    static const struct golden cases[] = {
        {"name: a\r\nvia: x\r\n",
         "ginnel.yaml:2:6: `via` wants on or off, not \"x\"\n    2 | via: x\n      |      ^"},
        {"name: a\rvia: x\r",
         "ginnel.yaml:2:6: `via` wants on or off, not \"x\"\n    2 | via: x\n      |      ^"},
        {"name: a\nvia: x",
         "ginnel.yaml:2:6: `via` wants on or off, not \"x\"\n    2 | via: x\n      |      ^"},
        {"\xef\xbb\xbfvia: x\n",
         "ginnel.yaml:1:6: `via` wants on or off, not \"x\"\n    1 | via: x\n      |      ^"},
        {"# é€😀\n\"name\": a\nlog: {level: é, format: \"€\"}\n",
         "ginnel.yaml:3:14: `level` wants error, warn, info or debug, not \"é\"\n"
         "    3 | log: {level: é, format: \"€\"}\n      |              ^\n"
         "ginnel.yaml:3:25: `format` wants json, squid, common or combined, not \"€\"\n"
         "    3 | log: {level: é, format: \"€\"}\n      |                         ^"},
    };

    UNUSED(state);
    check_cases(cases, ARRAY_LEN(cases));
}

static void test_colours(void **state)
{
    struct conf_errors errors;
    struct conf *c;
    char *out;
    size_t out_n;
    FILE *f = open_memstream(&out, &out_n);

    UNUSED(state);
    assert_int_equal(conf_parse("f", "via: onn\n", 9, &c, &errors), ERR_SYNTAX);
    conf_errors_print(&errors, f, true);
    fclose(f);
    assert_string_equal(out, "\033[1mf:1:6: `via` wants on or off, not \"onn\"\033[0m\n"
                             "    1 | via: onn\033[0m\n"
                             "\033[1;31m      |      ^\033[0m\n"
                             "\033[36m   hint: did you mean `on`?\033[0m\n");
    free(out);
    conf_errors_done(&errors);
    conf_errors_done(&errors); /* twice is fine */
}

/* A file's name is the operator's too, but it may have come from a script. */
static void test_file_name_is_escaped(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(conf_parse("a\033[2J\n", "x: 1\n", 5, &c, &errors), ERR_SYNTAX);
    assert_non_null(strstr(errors.v[0].text, "a\\x1b[2J\\n:1:1: "));
    conf_errors_done(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_decoration),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_values_are_cut),
        cmocka_unit_test(test_name_too_long),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_listen_has_a_bound),
        cmocka_unit_test(test_hundred_errors),
        cmocka_unit_test(test_first_errors_by_place),
        cmocka_unit_test(test_sorted_by_place),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_file_name_is_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
