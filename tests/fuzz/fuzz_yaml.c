/* SPDX-License-Identifier: MIT */
/* fuzz_yaml: any bytes as a configuration. Either a complete conf comes out, or errors that each
 * have a text, and a place unless they are about the file as a whole.
 */
#include "app/conf.h"

#include "base/err.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct conf_errors errors;
    struct conf *c;
    int r = conf_parse("fuzz.yaml", (const char *)data, n, &c, &errors);

    if (r == 0) {
        CHECK(c->n_listen > 0 && c->proxy.name[0] && c->resolve.servers);
        CHECK(errors.n == 0);
        conf_free(c);
        return 0;
    }
    CHECK(r == ERR_NOMEM || errors.n > 0);
    CHECK(errors.n <= CONF_ERRORS_MAX);
    for (unsigned i = 0; i < errors.n; i++) {
        CHECK(errors.v[i].text && errors.v[i].text[0]);
        CHECK(n > CONF_FILE_MAX || (errors.v[i].line > 0 && errors.v[i].column > 0));
    }
    conf_errors_done(&errors);
    return 0;
}
